"""
Gemini's files, batches and `generateContent`, under any version segment.

Shapes, order of fields, strings in place of int64 and fields left out when zero are those of recorded traffic
of 2025-2026. Bodies may come in camelCase or snake_case, or a mixture: the service takes both.
"""

from __future__ import annotations

import json
import re
import secrets
import string
from typing import Any

from starlette.responses import Response

from batchfast.fake.gemini_batch import check_input, inlined, operation_error, request_id, result_line, stats, too_large
from batchfast.fake.gemini_body import camel_case, content_body, find_problem, read_ask, wrong_value
from batchfast.fake.gemini_wire import (
    MAX_FILE_BYTES,
    error_response,
    file_object,
    json_response,
    nanos,
    no_batch,
    no_file,
    no_model,
    page_body,
    page_start,
    sha256_of,
    upload_status,
)
from batchfast.fake.ids import FRESH, letters, seeded
from batchfast.fake.records import DAY_S, Batch, File, Upload
from batchfast.fake.replies import answer
from batchfast.fake.results import result_lines
from batchfast.fake.service import Endpoint, Incoming, send_file
from batchfast.fake.shapes import WrongType, as_object, as_text
from batchfast.fake.state import State

FILE_LIFETIME_S = 2 * DAY_S
BATCH_WINDOW_S = 2 * DAY_S
MAX_INLINE_BYTES = 20_000_000
_CHUNK_GRANULARITY = 8_388_608
_LOWER = string.ascii_lowercase + string.digits
_TYPE_PREFIX = "type.googleapis.com/google.ai.generativelanguage.v1main."
_FILE_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")

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
            return error_response(
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
        return error_response(400, message, details=[info, localized])

    def failure(self, status: int, message: str | None = None, code: str | None = None) -> Response:
        response = error_response(status, message or f"Planned error {status}.", kind=code)
        # Without this header the SDK takes the failure of a piece for a lost answer, and sends the piece
        # again.
        response.headers["x-goog-upload-status"] = "final"
        return response

    # Files

    def _upload(self, call: Incoming) -> Response:
        command = call.headers.get("x-goog-upload-command", "")
        if "upload_id" not in call.query:
            return self._start_upload(call) if command == "start" else error_response(400, "No upload_id.")
        upload = self.state.upload(self.name, call.query["upload_id"])
        if upload is None:
            return upload_status(error_response(404, "Upload not found."), "final", 0)
        if command == "query":
            status = "active" if upload.file_id is None else "final"
            return upload_status(Response(b"", media_type="text/plain"), status, upload.received)
        if upload.file_id is not None:
            return upload_status(error_response(400, "Upload has already been finalized."), "final", upload.received)
        if "upload" in command and call.headers.get("x-goog-upload-offset") != str(upload.received):
            message = f"Invalid upload offset: expected {upload.received}."
            return upload_status(error_response(400, message), "active", upload.received)
        received = upload.received
        if "upload" in command:
            received = self.state.append_upload(upload, call.body)
            if received > MAX_FILE_BYTES:
                return upload_status(error_response(400, too_large(received)), "final", received)
        if "finalize" not in command:
            return upload_status(Response(b"", media_type="text/plain"), "active", received)
        file = self._finished(upload, received)
        return upload_status(json_response({"file": file_object(file, call)}), "final", received)

    def _start_upload(self, call: Incoming) -> Response:
        try:
            given = as_object(camel_case(call.json()).get("file"), "file")
            name = (as_text(given.get("name"), "file.name") or "").removeprefix("files/")
            for member in ("displayName", "mimeType"):
                as_text(given.get(member), f"file.{member}")
        except WrongType as exc:
            return upload_status(error_response(400, wrong_value(exc)), "final", 0)
        announced = call.headers.get("x-goog-upload-header-content-length", "0")
        if announced.isdecimal() and len(announced) < 20 and int(announced) > MAX_FILE_BYTES:
            return upload_status(error_response(400, too_large(int(announced))), "final", 0)
        if name and not _FILE_NAME.fullmatch(name):
            return upload_status(error_response(400, f"Invalid file name: 'files/{name}'."), "final", 0)
        if name and self.state.file(self.name, f"files-{name}") is not None:
            return upload_status(error_response(409, f"File 'files/{name}' already exists."), "final", 0)
        upload_id = "upload-" + secrets.token_hex(6)
        mime_type = given.get("mimeType") or call.headers.get("x-goog-upload-header-content-type") or "text/plain"
        detail = {"id": name, "display_name": given.get("displayName"), "mime_type": mime_type}
        self.state.start_upload(self.name, upload_id, detail)
        address = f"{call.origin}/upload/{call.path['version']}/files?upload_id={upload_id}&upload_protocol=resumable"
        response = Response(b"", media_type="text/plain")
        response.headers["x-goog-upload-url"] = address
        response.headers["x-goog-upload-control-url"] = address
        response.headers["x-goog-upload-chunk-granularity"] = str(_CHUNK_GRANULARITY)
        return upload_status(response, "active", None)

    def _finished(self, upload: Upload, received: int) -> File:
        now = self.state.now()
        name = upload.detail["id"] or letters(FRESH, 12, _LOWER)
        digest = sha256_of(self.state.path(f"{upload.id}.part"))
        detail = {**upload.detail, "id": name, "sha256": digest, "source": "UPLOADED"}
        file = File(f"files-{name}", self.name, name, "batch", received, now, now + FILE_LIFETIME_S, detail)
        return self.state.finish_upload(upload, file)

    def _list_files(self, call: Incoming) -> Response:
        files = [one for one in self.state.files(self.name) if one.detail["source"] == "UPLOADED"]
        if call.lag_s is not None:
            files = [one for one in files if one.created_at <= self.state.now() - call.lag_s]
        size, start = call.whole("pageSize", 10, most=100), page_start(call)
        if size is None or start is None:
            return error_response(400, "Invalid page size or page token.")
        objects = [file_object(one, call) for one in files[start : start + size]]
        return json_response(page_body("files", objects, start + size, len(files)))

    def _found(self, call: Incoming) -> File | None:
        return self.state.file(self.name, f"files-{call.path['id']}")

    def _file(self, call: Incoming) -> Response:
        file = self._found(call)
        return no_file(call.path["id"]) if file is None else json_response(file_object(file, call))

    def _delete_file(self, call: Incoming) -> Response:
        if not self.state.delete_file(self.name, f"files-{call.path['id']}"):
            return no_file(call.path["id"])
        return json_response({})

    def _download(self, call: Incoming) -> Response:
        file = self._found(call)
        if file is None:
            return no_file(call.path["id"])
        if file.detail["source"] == "UPLOADED":
            return error_response(400, "Only generated files can be downloaded.")
        return send_file(self.state.path(file.id), {}, "application/octet-stream")

    # Batches

    def _create(self, call: Incoming) -> Response:
        model = call.path["model"]
        if model.startswith("no-such-"):
            return no_model(call, "batchGenerateContent")
        body = camel_case(call.json())
        try:
            batch = as_object(body.get("batch"), "batch")
            source = as_object(batch.get("inputConfig"), "batch.input_config")
            as_text(batch.get("displayName"), "batch.display_name")
            as_text(source.get("fileName"), "batch.input_config.file_name")
            requests = inlined(source)
        except WrongType as exc:
            return error_response(400, wrong_value(exc))
        now = self.state.now()
        batch_id = letters(FRESH, 36, _LOWER)
        detail: Json = {"model": f"models/{model}", "display_name": batch.get("displayName") or ""}
        if source.get("fileName") is not None:
            name = str(source["fileName"]).removeprefix("files/")
            file = self.state.file(self.name, f"files-{name}")
            if file is None:
                return no_file(name)
            detail["file"] = f"files/{name}"
            stored = file.id
            total, problem = check_input(self.state.path(stored))
            if problem:
                detail["errors"] = [{"code": None, "message": problem}]
        else:
            if not requests:
                return error_response(400, "* BatchGenerateContentRequest.batch.input_config: is required")
            if int(call.headers.get("content-length", 0)) > MAX_INLINE_BYTES:
                return error_response(400, f"Request payload size exceeds the limit: {MAX_INLINE_BYTES} bytes.")
            stored, total = f"{batch_id}.requests", len(requests)
            self.state.write(stored, (json.dumps(one).encode() + b"\n" for one in requests))
        accepted = self.state.add_batch(
            self.name, f"batches/{batch_id}", source=stored, total=total, detail=detail, created_at=now,
            window_s=BATCH_WINDOW_S,
        )  # fmt: skip
        return json_response(self._operation(accepted, "BATCH_STATE_PENDING"))

    def _list(self, call: Incoming) -> Response:
        now = self.state.now()
        batches = self.state.batches(self.name)
        if call.lag_s is not None:
            batches = [one for one in batches if one.created_at <= now - call.lag_s]
        size, start = call.whole("pageSize", 50, most=1000), page_start(call)
        if size is None or start is None:
            return error_response(400, "Invalid page size or page token.")
        operations = [self._seen(one, now, inline=False) for one in batches[start : start + size]]
        return json_response(page_body("operations", operations, start + size, len(batches)))

    def _poll(self, call: Incoming) -> Response:
        batch = self.state.batch(self.name, f"batches/{call.path['id']}")
        return no_batch(call) if batch is None else json_response(self._seen(batch, self.state.now()))

    def _cancel(self, call: Incoming) -> Response:
        batch = self.state.batch(self.name, f"batches/{call.path['id']}")
        if batch is None:
            return no_batch(call)
        now = self.state.now()
        if batch.ended(now):
            return error_response(400, f"Batch {batch.id} is already finished.", kind="FAILED_PRECONDITION")
        self.state.cancel(batch, now)
        return json_response({})

    def _delete(self, call: Incoming) -> Response:
        batch = self.state.batch(self.name, f"batches/{call.path['id']}")
        if batch is None:
            return no_batch(call)
        self.state.delete_batch(batch)
        return json_response({})

    def _answer(self, call: Incoming) -> Response:
        if call.path["model"].startswith("no-such-"):
            return no_model(call, "generateContent")
        request = camel_case(call.json())
        problem = find_problem(request)
        if problem:
            return error_response(400, problem)
        ids = FRESH
        reply = answer(read_ask(request, call.path["model"]), seed=self.state.seed)
        return json_response(content_body(request, reply, call.path["model"], ids))

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
            request_id,
            lambda wanted: result_line(wanted, batch),
        )
        return self.state.settle(batch, lines, {"output": file})

    def _operation(self, batch: Batch, state: str, *, over: bool = False, inline: bool = True) -> Json:
        """`state` is an argument because create answers with the state it brings about."""
        life, ids = batch.life, seeded(f"times:{batch.id}")
        created = nanos(batch.created_at, ids)
        ended = nanos(life.ended_at, ids)
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
        metadata["batchStats"] = stats(batch)
        metadata["state"] = state
        metadata["name"] = batch.id
        operation: Json = {"name": batch.id, "metadata": metadata}
        if over:
            operation["done"] = True
        if output is not None:
            operation["response"] = {"@type": _TYPE_PREFIX + "GenerateContentBatchOutput", **output}
        elif over:
            operation["error"] = operation_error(batch, state)
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
