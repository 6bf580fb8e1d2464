"""
Gemini's files, batches and `generateContent`, under any version segment.

Shapes, order of fields, strings in place of int64 and fields left out when zero are those of recorded traffic
of 2025-2026. Bodies may come in camelCase or snake_case, or a mixture: the service takes both.
"""

from __future__ import annotations

import base64
import hashlib
import json
import random
import re
import secrets
import string
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from starlette.responses import Response

from batchfast.fake.gemini_body import camel_case, content_body, find_problem, find_unknown, read_ask, wrong_value
from batchfast.fake.ids import FRESH, letters, seeded
from batchfast.fake.replies import answer
from batchfast.fake.results import Wanted, result_lines
from batchfast.fake.service import Endpoint, Incoming, read_chunks, send_file
from batchfast.fake.shapes import WrongType, as_object, as_objects, as_text, parse_json
from batchfast.fake.state import DAY_S, Batch, File, Line, State, Upload

FILE_LIFETIME_S = 2 * DAY_S
BATCH_WINDOW_S = 2 * DAY_S
MAX_INLINE_BYTES = 20_000_000
MAX_FILE_BYTES = 2_000_000_000
_CHUNK_GRANULARITY = 8_388_608
_LOWER = string.ascii_lowercase + string.digits
_TYPE_PREFIX = "type.googleapis.com/google.ai.generativelanguage.v1main."
_FILE_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
_GRPC = {
    400: (3, "INVALID_ARGUMENT"), 401: (16, "UNAUTHENTICATED"), 403: (7, "PERMISSION_DENIED"), 404: (5,
    "NOT_FOUND"), 409: (6, "ALREADY_EXISTS"), 413: (3, "INVALID_ARGUMENT"), 429: (8, "RESOURCE_EXHAUSTED"),
    499: (1, "CANCELLED"), 500: (13, "INTERNAL"), 503: (14, "UNAVAILABLE"), 504: (4, "DEADLINE_EXCEEDED"),
}  # fmt: skip

Json = dict[str, Any]


class Gemini:
    """The routes under `/gemini`."""

    name = "gemini"

    def __init__(self, state: State, prefix: str) -> None:
        self.state = state
        self.prefix = prefix

    def endpoints(self) -> list[Endpoint]:
        return [
            Endpoint("POST", "/upload/{version}/files", "upload", self._upload),
            Endpoint("PUT", "/upload/{version}/files", "upload", self._upload),
            Endpoint("GET", "/{version}/files", "list_files", self._list_files),
            Endpoint("GET", "/{version}/files/{id}:download", "results", self._download),
            Endpoint("GET", "/{version}/files/{id}", "file", self._file),
            Endpoint("DELETE", "/{version}/files/{id}", "delete_file", self._delete_file),
            Endpoint("POST", "/{version}/models/{model}:batchGenerateContent", "create", self._create),
            Endpoint("POST", "/{version}/models/{model}:generateContent", "answer", self._answer),
            Endpoint("GET", "/{version}/batches", "list", self._list),
            Endpoint("GET", "/{version}/batches/{id}", "poll", self._poll),
            Endpoint("POST", "/{version}/batches/{id}:cancel", "cancel", self._cancel),
            Endpoint("DELETE", "/{version}/batches/{id}", "delete", self._delete),
        ]

    def refuse(self, call: Incoming) -> Response | None:
        if "upload_id" in call.query:
            return None  # the address is the permission: pieces of an upload come without a key
        key = call.headers.get("x-goog-api-key") or call.query.get("key")
        if not key:
            return _error(
                403, "Method doesn't allow unregistered callers (callers without established identity). Please use API"
                " Key or other form of API consumer identity to call this API.",
            )  # fmt: skip
        if not key.startswith("bad-"):
            return None
        message = "API key not valid. Please pass a valid API key."
        info = {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "API_KEY_INVALID",
            "domain": "googleapis.com",
            "metadata": {"service": "generativelanguage.googleapis.com"},
        }
        localized = {
            "@type": "type.googleapis.com/google.rpc.LocalizedMessage",
            "locale": "en-US",
            "message": message,
        }
        return _error(400, message, details=[info, localized])

    def failure(self, status: int, message: str | None = None, code: str | None = None) -> Response:
        response = _error(status, message or f"Planned error {status}.", kind=code)
        # Without this header the SDK takes the failure of a piece for a lost answer, and sends the piece
        # again.
        response.headers["x-goog-upload-status"] = "final"
        return response

    # Files

    def _upload(self, call: Incoming) -> Response:
        command = call.headers.get("x-goog-upload-command", "")
        if "upload_id" not in call.query:
            return self._start_upload(call) if command == "start" else _error(400, "No upload_id.")
        upload = self.state.upload(self.name, call.query["upload_id"])
        if upload is None:
            return _upload_status(_error(404, "Upload not found."), "final", 0)
        if command == "query":
            status = "active" if upload.file_id is None else "final"
            return _upload_status(Response(b"", media_type="text/plain"), status, upload.received)
        if upload.file_id is not None:
            return _upload_status(_error(400, "Upload has already been finalized."), "final", upload.received)
        if "upload" in command and call.headers.get("x-goog-upload-offset") != str(upload.received):
            message = f"Invalid upload offset: expected {upload.received}."
            return _upload_status(_error(400, message), "active", upload.received)
        received = upload.received
        if "upload" in command:
            received = self.state.append_upload(upload, call.body)
            if received > MAX_FILE_BYTES:
                return _upload_status(_error(400, _too_large(received)), "final", received)
        if "finalize" not in command:
            return _upload_status(Response(b"", media_type="text/plain"), "active", received)
        file = self._finished(upload, received)
        return _upload_status(_json({"file": _file_object(file, call)}), "final", received)

    def _start_upload(self, call: Incoming) -> Response:
        try:
            given = as_object(camel_case(call.json()).get("file"), "file")
            name = (as_text(given.get("name"), "file.name") or "").removeprefix("files/")
            for member in ("displayName", "mimeType"):
                as_text(given.get(member), f"file.{member}")
        except WrongType as exc:
            return _upload_status(_error(400, wrong_value(exc)), "final", 0)
        announced = call.headers.get("x-goog-upload-header-content-length", "0")
        if announced.isdecimal() and len(announced) < 20 and int(announced) > MAX_FILE_BYTES:
            return _upload_status(_error(400, _too_large(int(announced))), "final", 0)
        if name and not _FILE_NAME.fullmatch(name):
            return _upload_status(_error(400, f"Invalid file name: 'files/{name}'."), "final", 0)
        if name and self.state.file(self.name, f"files-{name}") is not None:
            return _upload_status(_error(409, f"File 'files/{name}' already exists."), "final", 0)
        upload_id = "upload-" + secrets.token_hex(6)
        mime_type = given.get("mimeType") or call.headers.get("x-goog-upload-header-content-type") or "text/plain"
        detail = {"id": name, "display_name": given.get("displayName"), "mime_type": mime_type}
        self.state.start_upload(self.name, upload_id, detail)
        address = f"{call.origin}/upload/{call.path['version']}/files?upload_id={upload_id}&upload_protocol=resumable"
        response = Response(b"", media_type="text/plain")
        response.headers["x-goog-upload-url"] = address
        response.headers["x-goog-upload-control-url"] = address
        response.headers["x-goog-upload-chunk-granularity"] = str(_CHUNK_GRANULARITY)
        return _upload_status(response, "active", None)

    def _finished(self, upload: Upload, received: int) -> File:
        now = self.state.now()
        name = upload.detail["id"] or letters(FRESH, 12, _LOWER)
        digest = _sha256(self.state.path(f"{upload.id}.part"))
        detail = {**upload.detail, "id": name, "sha256": digest, "source": "UPLOADED"}
        file = File(f"files-{name}", self.name, name, "batch", received, now, now + FILE_LIFETIME_S, detail)
        return self.state.finish_upload(upload, file)

    def _list_files(self, call: Incoming) -> Response:
        files = [one for one in self.state.files(self.name) if one.detail["source"] == "UPLOADED"]
        if call.lag_s is not None:
            files = [one for one in files if one.created_at <= self.state.now() - call.lag_s]
        size, start = call.whole("pageSize", 10, most=100), _page_start(call)
        if size is None or start is None:
            return _error(400, "Invalid page size or page token.")
        objects = [_file_object(one, call) for one in files[start : start + size]]
        return _json(_page("files", objects, start + size, len(files)))

    def _found(self, call: Incoming) -> File | None:
        return self.state.file(self.name, f"files-{call.path['id']}")

    def _file(self, call: Incoming) -> Response:
        file = self._found(call)
        return _no_file(call.path["id"]) if file is None else _json(_file_object(file, call))

    def _delete_file(self, call: Incoming) -> Response:
        if not self.state.delete_file(self.name, f"files-{call.path['id']}"):
            return _no_file(call.path["id"])
        return _json({})

    def _download(self, call: Incoming) -> Response:
        file = self._found(call)
        if file is None:
            return _no_file(call.path["id"])
        if file.detail["source"] == "UPLOADED":
            return _error(400, "Only generated files can be downloaded.")
        return send_file(self.state.path(file.id), {}, "application/octet-stream")

    # Batches

    def _create(self, call: Incoming) -> Response:
        model = call.path["model"]
        if model.startswith("no-such-"):
            return _no_model(call, "batchGenerateContent")
        body = camel_case(call.json())
        try:
            batch = as_object(body.get("batch"), "batch")
            source = as_object(batch.get("inputConfig"), "batch.input_config")
            as_text(batch.get("displayName"), "batch.display_name")
            as_text(source.get("fileName"), "batch.input_config.file_name")
            requests = _inlined(source)
        except WrongType as exc:
            return _error(400, wrong_value(exc))
        now = self.state.now()
        batch_id = letters(FRESH, 36, _LOWER)
        detail: Json = {"model": f"models/{model}", "display_name": batch.get("displayName") or ""}
        if source.get("fileName") is not None:
            name = str(source["fileName"]).removeprefix("files/")
            file = self.state.file(self.name, f"files-{name}")
            if file is None:
                return _no_file(name)
            detail["file"] = f"files/{name}"
            stored = file.id
            total, problem = _check_input(self.state.path(stored))
            if problem:
                detail["errors"] = [{"code": None, "message": problem}]
        else:
            if not requests:
                return _error(400, "* BatchGenerateContentRequest.batch.input_config: is required")
            if int(call.headers.get("content-length", 0)) > MAX_INLINE_BYTES:
                return _error(400, f"Request payload size exceeds the limit: {MAX_INLINE_BYTES} bytes.")
            stored, total = f"{batch_id}.requests", len(requests)
            self.state.write(stored, (json.dumps(one).encode() + b"\n" for one in requests))
        accepted = self.state.add_batch(
            self.name, f"batches/{batch_id}", source=stored, total=total, detail=detail, created_at=now,
            window_s=BATCH_WINDOW_S,
        )  # fmt: skip
        return _json(self._operation(accepted, "BATCH_STATE_PENDING"))

    def _list(self, call: Incoming) -> Response:
        now = self.state.now()
        batches = self.state.batches(self.name)
        if call.lag_s is not None:
            batches = [one for one in batches if one.created_at <= now - call.lag_s]
        size, start = call.whole("pageSize", 50, most=1000), _page_start(call)
        if size is None or start is None:
            return _error(400, "Invalid page size or page token.")
        operations = [self._seen(one, now, inline=False) for one in batches[start : start + size]]
        return _json(_page("operations", operations, start + size, len(batches)))

    def _poll(self, call: Incoming) -> Response:
        batch = self.state.batch(self.name, f"batches/{call.path['id']}")
        return _no_batch(call) if batch is None else _json(self._seen(batch, self.state.now()))

    def _cancel(self, call: Incoming) -> Response:
        batch = self.state.batch(self.name, f"batches/{call.path['id']}")
        if batch is None:
            return _no_batch(call)
        now = self.state.now()
        if batch.ended(now):
            return _error(400, f"Batch {batch.id} is already finished.", kind="FAILED_PRECONDITION")
        self.state.cancel(batch, now)
        return _json({})

    def _delete(self, call: Incoming) -> Response:
        batch = self.state.batch(self.name, f"batches/{call.path['id']}")
        if batch is None:
            return _no_batch(call)
        self.state.delete_batch(batch)
        return _json({})

    def _answer(self, call: Incoming) -> Response:
        if call.path["model"].startswith("no-such-"):
            return _no_model(call, "generateContent")
        request = camel_case(call.json())
        problem = find_problem(request)
        if problem:
            return _error(400, problem)
        ids = FRESH
        reply = answer(read_ask(request, call.path["model"]), seed=self.state.seed)
        return _json(content_body(request, reply, call.path["model"], ids))

    def _seen(self, batch: Batch, now: float, *, inline: bool = True) -> Json:
        """The operation as it is now; the first look at one that is over writes its results."""
        phase = batch.phase(now)
        if not batch.ended(now):
            # A batch that is being cancelled shows nothing of it, and neither does one that writes its
            # results.
            started = phase != "validating" and now >= batch.life.started_at
            return self._operation(batch, "BATCH_STATE_RUNNING" if started else "BATCH_STATE_PENDING")
        states = {
            "completed": "SUCCEEDED",
            "failed": "FAILED",
            "cancelled": "CANCELLED",
            "expired": "EXPIRED",
        }
        if phase != "failed":
            batch = self._settled(batch)
        return self._operation(batch, f"BATCH_STATE_{states[phase]}", over=True, inline=inline)

    def _settled(self, batch: Batch) -> Batch:
        short = batch.id.removeprefix("batches/")
        name, ended_at = f"batch-{short}", batch.life.ended_at
        detail = {"id": name, "display_name": None, "mime_type": "application/jsonl", "source": "GENERATED"}
        file = File(f"files-{name}", self.name, name, "results", 0, ended_at, ended_at + FILE_LIFETIME_S, detail)
        lines = result_lines(
            batch,
            self.state.path(batch.source),
            _request_id,
            lambda wanted: _result_line(wanted, batch),
        )
        return self.state.settle(batch, lines, {"output": file})

    def _operation(self, batch: Batch, state: str, *, over: bool = False, inline: bool = True) -> Json:
        """`state` is an argument because create answers with the state it brings about."""
        life, ids = batch.life, seeded(f"times:{batch.id}")
        created = _nanos(batch.created_at, ids)
        ended = _nanos(life.ended_at, ids)
        output = self._output(batch, inline=inline) if state == "BATCH_STATE_SUCCEEDED" else None
        metadata: Json = {
            "@type": _TYPE_PREFIX + "GenerateContentBatch",
            "model": batch.detail["model"],
            "displayName": batch.detail["display_name"],
        }
        if "file" in batch.detail:
            metadata["inputConfig"] = {"fileName": batch.detail["file"]}
        if output is not None:
            metadata["output"] = output
        metadata["createTime"] = created
        if over:
            metadata["endTime"] = ended
        metadata["updateTime"] = ended if over else created
        metadata["batchStats"] = _stats(batch)
        metadata["state"] = state
        metadata["name"] = batch.id
        operation: Json = {"name": batch.id, "metadata": metadata}
        if over:
            operation["done"] = True
        if output is not None:
            operation["response"] = {"@type": _TYPE_PREFIX + "GenerateContentBatchOutput", **output}
        elif over:
            operation["error"] = _operation_error(batch, state)
        return operation

    def _output(self, batch: Batch, *, inline: bool) -> Json | None:
        assert batch.outcome is not None
        name = batch.outcome.files.get("output")
        if "file" in batch.detail:
            return {"responsesFile": "files/" + f"batch-{batch.id.removeprefix('batches/')}"} if name else {}
        if not inline:
            return {}
        raw = self.state.path(name).read_bytes().splitlines() if name else []
        return {"inlinedResponses": {"inlinedResponses": [json.loads(line) for line in raw]}}


# Batches, as JSON


def _stats(batch: Batch) -> Json:
    outcome = batch.outcome
    done, failed = 0, 0
    if outcome is not None and batch.life.end == "completed":
        done, failed = outcome.counts.get("succeeded", 0), outcome.counts.get("errored", 0)
    stats = {
        "requestCount": batch.total,
        "pendingRequestCount": batch.total - done - failed,
        "successfulRequestCount": done,
        "failedRequestCount": failed,
    }
    return {name: str(count) for name, count in stats.items() if count}


def _operation_error(batch: Batch, state: str) -> Json:
    if state == "BATCH_STATE_FAILED":
        given = batch.detail["errors"][0]["message"]
        return {"code": 3, "message": given or "The batch could not be processed."}
    if state == "BATCH_STATE_EXPIRED":
        return {"code": 4, "message": f"Batch {batch.id} expired before it was finished."}
    return {"code": 13, "message": f"Batch {batch.id} was cancelled."}


def _inlined(source: Json) -> list[Json]:
    """The requests a create call brings along. Raises WrongType."""
    where = "batch.input_config.requests.requests"
    requests = as_objects(as_object(source.get("requests"), "batch.input_config.requests").get("requests"), where)
    for index, one in enumerate(requests):
        as_object(one.get("request"), f"{where}[{index}].request")
        as_object(one.get("metadata"), f"{where}[{index}].metadata")
    return requests


def _too_large(size: int) -> str:
    return f"File is too large: {size} bytes, the limit is {MAX_FILE_BYTES}."


def _check_input(path: Path) -> tuple[int, str | None]:
    """How many requests a file holds, and why the whole batch fails, if it does."""
    total = 0
    with path.open("rb") as source:
        for number, raw in enumerate(source, 1):
            if not raw.strip():
                continue
            total += 1
            try:
                parsed = parse_json(raw)
            except ValueError:
                return total, f"Failed to parse line {number} of the input file as JSON."
            if not isinstance(parsed, dict):
                return total, f"Line {number} of the input file is not a JSON object."
    return total, None if total else "The input file holds no requests."


# Result lines


def _request_id(line: Json) -> str:
    """The `key` of a line, in a file or as metadata of a request sent inline; "" if it has none."""
    metadata = line.get("metadata")
    return str(line.get("key") or (metadata.get("key") if isinstance(metadata, dict) else None) or "")


def _result_line(wanted: Wanted, batch: Batch) -> Line:
    if batch.life.end != "completed":
        return Line(b"", wanted.fate, copies=0)  # nothing comes out of a batch that did not finish
    line = camel_case(wanted.line)
    inline = "file" not in batch.detail
    echo = {"metadata": wanted.line["metadata"]} if "metadata" in wanted.line else {}
    if not inline:
        echo = {"key": wanted.line["key"]} if "key" in wanted.line else {}
    request = line.get("request")
    problem = find_unknown(line, ("request", "metadata" if inline else "key"), "the line")
    if problem is None:
        problem = find_problem(request) if isinstance(request, dict) else "The request is missing."
    error = {"code": 3, "message": problem}
    if wanted.error is not None:
        fault = wanted.error
        problem = fault.message or f"Planned error {fault.status}."
        error = {"code": _GRPC.get(fault.status, (13, ""))[0], "message": problem}
    if problem is not None:
        return Line(_compact({"error": error, **echo}), "errored")
    assert isinstance(request, dict)
    model = batch.detail["model"].removeprefix("models/")
    reply = wanted.reply(read_ask(request, model))
    body = content_body(request, reply, model, wanted.ids)
    if not inline:
        # In files the order of the keys differs from line to line.
        names = wanted.ids.sample(list(body), len(body))
        body = {name: body[name] for name in names}
    usage = body["usageMetadata"]
    written = usage["candidatesTokenCount"] + usage.get("thoughtsTokenCount", 0)
    return Line(_compact({"response": body, **echo}), "succeeded", "output", reply.input_tokens, written)


# What is wrong with one request


# Files, as JSON


def _file_object(file: File, call: Incoming) -> Json:
    detail, ids = file.detail, seeded(f"times:{file.id}:{file.created_at}")
    created = f"{datetime.fromtimestamp(file.created_at, UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
    made: Json = {"name": f"files/{detail['id']}"}
    if detail["display_name"] is not None:
        made["displayName"] = detail["display_name"]
    made |= {
        "mimeType": detail["mime_type"],
        "sizeBytes": str(file.size),
        "createTime": created,
        "updateTime": created,
        "expirationTime": _nanos(file.expires_at or 0.0, ids),
    }
    if "sha256" in detail:
        made["sha256Hash"] = detail["sha256"]
    made |= {
        "uri": f"{call.origin}/v1beta/files/{detail['id']}",
        "state": "ACTIVE",
        "source": detail["source"],
    }
    if detail["source"] == "GENERATED":
        made["downloadUri"] = f"{call.origin}/v1beta/files/{detail['id']}:download?alt=media"
    return made


def _sha256(path: Path) -> str:
    """Base64 of the hexadecimal digest: that is what the service gives, not base64 of the bytes."""
    digest = hashlib.sha256()
    for chunk in read_chunks(path):
        digest.update(chunk)
    return base64.b64encode(digest.hexdigest().encode()).decode()


# Small JSON answers


def _compact(body: Json) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def _json(body: Json, status: int = 200) -> Response:
    text = json.dumps(body, indent=2, ensure_ascii=False) + "\n"
    headers = {"vary": "Origin, X-Origin, Referer", "server-timing": "gfet4t7; dur=12"}
    return Response(text, status, headers, media_type="application/json; charset=UTF-8")


def _error(status: int, message: str, *, kind: str | None = None, details: list[Json] | None = None) -> Response:
    default = "INVALID_ARGUMENT" if status < 500 else "INTERNAL"
    error: Json = {"code": status, "message": message, "status": kind or _GRPC.get(status, (0, default))[1]}
    if details:
        error["details"] = details
    return _json({"error": error}, status)


def _upload_status(response: Response, status: str, received: int | None) -> Response:
    response.headers["x-goog-upload-status"] = status
    if received is not None:
        response.headers["x-goog-upload-size-received"] = str(received)
    return response


def _no_batch(call: Incoming) -> Response:
    return _error(404, f"Batch not found: batches/{call.path['id']}")


def _no_file(name: str) -> Response:
    # The service does not tell a file that is not there from one of somebody else.
    return _error(403, f"You do not have permission to access the File {name} or it may not exist.")


def _no_model(call: Incoming, method: str) -> Response:
    version, model = call.path["version"], call.path["model"]
    message = f"models/{model} is not found for API version {version}, or is not supported for {method}."
    return _error(404, message)


def _page_start(call: Incoming) -> int | None:
    return int(token) if (token := call.query.get("pageToken") or "0").isdecimal() else None


def _page(name: str, items: list[Json], end: int, count: int) -> Json:
    body: Json = {name: items} if items else {}
    if end < count:
        body["nextPageToken"] = str(end)
    return body


# Ids and times


def _nanos(seconds: float, source: random.Random) -> str:
    """Nine digits of a second; a float holds six of them, the last three are made up."""
    micros = f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S.%f}"
    return f"{micros}{source.randint(1, 999):03}Z"
