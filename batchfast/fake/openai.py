"""
OpenAI's files and batches, and the two endpoints whose requests a batch may hold.

Shapes, order of fields and spacing of the JSON are those of recorded traffic of 2024-2026 in their newest
form.
"""

from __future__ import annotations

import json
import random
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from starlette.datastructures import UploadFile
from starlette.responses import Response

from batchfast.fake.faults import Fault
from batchfast.fake.ids import FRESH, letters, seeded
from batchfast.fake.openai_body import Rejected, completion, count_usage, read_asks, snapshot
from batchfast.fake.replies import answer
from batchfast.fake.results import Wanted, result_lines
from batchfast.fake.service import Endpoint, Incoming, send_file
from batchfast.fake.shapes import WrongType, as_object, as_text, as_whole, parse_json
from batchfast.fake.state import DAY_S, Batch, File, Line, State

MAX_REQUESTS = 50_000
MAX_FILE_BYTES = 200_000_000
_MAX_ERRORS = 100
_PURPOSES = ("fine-tune", "assistants", "batch", "user_data", "vision", "evals")
_ENDPOINTS = (
    "/v1/responses", "/v1/chat/completions", "/v1/embeddings", "/v1/completions", "/v1/moderations",
    "/v1/images/generations", "/v1/images/edits", "/v1/videos",
)  # fmt: skip
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_STATUS_CODES = {
    401: "invalid_api_key", 403: "permission_denied", 404: "not_found", 413: None, 429: "rate_limit_exceeded",
}  # fmt: skip

Json = dict[str, Any]
_Item = TypeVar("_Item")


class OpenAI:
    """The routes under `/openai/v1`."""

    name = "openai"

    def __init__(self, state: State, prefix: str) -> None:
        self.state = state
        self.prefix = prefix

    def endpoints(self) -> list[Endpoint]:
        return [
            Endpoint("POST", "/files", "upload", self._upload),
            Endpoint("GET", "/files", "list_files", self._list_files),
            Endpoint("GET", "/files/{id}", "file", self._file),
            Endpoint("DELETE", "/files/{id}", "delete_file", self._delete_file),
            Endpoint("GET", "/files/{id}/content", "results", self._content),
            Endpoint("POST", "/batches", "create", self._create),
            Endpoint("GET", "/batches", "list", self._list),
            Endpoint("GET", "/batches/{id}", "poll", self._poll),
            Endpoint("POST", "/batches/{id}/cancel", "cancel", self._cancel),
            Endpoint("POST", "/chat/completions", "answer", self._chat),
            Endpoint("POST", "/responses", "answer", self._responses),
        ]

    def refuse(self, call: Incoming) -> Response | None:
        scheme, _, key = call.headers.get("authorization", "").partition(" ")
        if scheme == "Bearer" and key and not key.startswith("bad-"):
            return None
        message = f"Incorrect API key provided: {_masked(key)}. You can find your API key at your account page."
        if not key:
            message = "You didn't provide an API key. Provide it in an Authorization header, as a bearer token."
        response = _error(401, message, code="invalid_api_key" if key else None)
        response.headers["www-authenticate"] = 'Bearer realm="OpenAI API"'
        return response

    def failure(self, status: int, message: str | None = None, code: str | None = None) -> Response:
        text, kind = message or f"Planned error {status}.", _kind(status, code)
        return _error(status, text, kind=kind, code=code or _STATUS_CODES.get(status))

    # Files

    def _upload(self, call: Incoming) -> Response:
        purpose, upload = call.form.get("purpose"), call.form.get("file")
        if not isinstance(upload, UploadFile):
            return _error(400, "'file' is a required property", kind="invalid_request_error")
        if not isinstance(purpose, str):
            return _error(400, "'purpose' is a required property", kind="invalid_request_error")
        if purpose not in _PURPOSES:
            return _file_error(400, f"{purpose!r} is not one of {list(_PURPOSES)} - 'purpose'", None)
        name = upload.filename or "upload"
        if purpose == "batch" and Path(name).suffix not in ("", ".json", ".jsonl"):
            return _file_error(400, "Invalid file format for Batch API. Must be .jsonl", None)
        if purpose == "batch" and (upload.size or 0) > MAX_FILE_BYTES:
            return _error(413, f"File is too large: {upload.size} bytes, the limit is {MAX_FILE_BYTES}.")
        seconds = call.form.get("expires_after[seconds]")
        lifetime_s: float | None = 30 * DAY_S if purpose == "batch" else None
        if isinstance(seconds, str):
            if not seconds.isdecimal() or not 3600 <= int(seconds) <= 2_592_000:
                return _error(400, "Invalid 'expires_after.seconds': expected 3600 to 2592000.", param="expires_after")
            lifetime_s = int(seconds)
        file_id = "file-" + letters(FRESH, 22, _BASE58)
        size = self.state.write(file_id, iter(lambda: upload.file.read(1 << 18), b""))
        now = self.state.now()
        expires_at = None if lifetime_s is None else int(now) + lifetime_s
        return _file_json(self.state.add_file(File(file_id, self.name, name, purpose, size, now, expires_at)))

    def _list_files(self, call: Incoming) -> Response:
        files = [one for one in self.state.files(self.name) if call.query.get("purpose") in (None, one.purpose)]
        if call.lag_s is not None:
            files = [one for one in files if one.created_at <= self.state.now() - call.lag_s]
        if call.query.get("order") == "asc":
            files.reverse()
        limit = call.whole("limit", 10_000, most=10_000)
        return _page(call, files, limit, lambda one: one.id, _file_object, final_newline="\n")

    def _file(self, call: Incoming) -> Response:
        file = self.state.file(self.name, call.path["id"])
        return _no_file(call.path["id"]) if file is None else _file_json(file)

    def _delete_file(self, call: Incoming) -> Response:
        if not self.state.delete_file(self.name, call.path["id"]):
            return _no_file(call.path["id"])
        return _indented({"object": "file", "deleted": True, "id": call.path["id"]}, final_newline="\n")

    def _content(self, call: Incoming) -> Response:
        file = self.state.file(self.name, call.path["id"])
        if file is None:
            return _no_file(call.path["id"])
        headers = {"content-disposition": f'attachment; filename="{file.name}"', **_headers()}
        return send_file(self.state.path(file.id), headers, "application/octet-stream")

    # Batches

    def _create(self, call: Incoming) -> Response:
        body = call.json()
        for name in ("input_file_id", "endpoint", "completion_window"):
            if name not in body:
                return _error(
                    400,
                    f"Missing required parameter: '{name}'.",
                    code="missing_required_parameter",
                    param=name,
                )
        if body["endpoint"] not in _ENDPOINTS:
            return _bad_value("endpoint", body["endpoint"], _ENDPOINTS)
        if body["completion_window"] != "24h":
            return _bad_value("completion_window", body["completion_window"], ("24h",))
        try:
            as_text(body["input_file_id"], "input_file_id")
            output_expiry = as_object(body.get("output_expires_after"), "output_expires_after").get("seconds")
            as_whole(output_expiry, "output_expires_after.seconds", least=3600, most=2_592_000)
        except WrongType as exc:
            message = f"Invalid type for '{exc.where}': expected {exc.expected}."
            return _error(400, message, code="invalid_type", param=exc.where)
        metadata = body.get("metadata")
        wrong = _wrong_metadata(metadata)
        if wrong:
            return _error(400, wrong, code="invalid_metadata", param="metadata")
        file = self.state.file(self.name, str(body["input_file_id"]))
        if file is not None and file.purpose != "batch":
            return _error(
                400,
                f"Invalid file purpose: expected 'batch', got '{file.purpose}'.",
                code="invalid_file_purpose",
                param="input_file_id",
            )
        now = self.state.now()
        detail: Json = {
            "endpoint": body["endpoint"],
            "metadata": metadata,
            "input_file_id": body["input_file_id"],
        }
        detail["output_expires_after_s"] = output_expiry
        total = 0
        if file is None:
            # Such a batch is taken and fails later; the message is the one seen there.
            message = f"Cannot find file {body['input_file_id']}, or organization org-fake does not have access to it."
            detail["errors"] = [_batch_error("invalid_input_file", message)]
        else:
            total, detail["model"], errors = _check_input(self.state.path(file.id), body["endpoint"])
            if errors:
                detail["errors"] = errors
        batch = self.state.add_batch(
            self.name,
            "batch_" + _timed_hex(FRESH, now),
            source=str(body["input_file_id"]),
            total=total,
            detail=detail,
            created_at=now,
        )
        return _indented(_batch_object(batch, "validating", now))

    def _list(self, call: Incoming) -> Response:
        batches = self.state.batches(self.name)
        now = self.state.now()
        if call.lag_s is not None:
            batches = [one for one in batches if one.created_at <= now - call.lag_s]
        limit = call.whole("limit", 20, most=100)
        return _page(call, batches, limit, lambda one: one.id, lambda one: self._seen(one, now))

    def _poll(self, call: Incoming) -> Response:
        batch = self.state.batch(self.name, call.path["id"])
        return _no_batch(call.path["id"]) if batch is None else _indented(self._seen(batch, self.state.now()))

    def _cancel(self, call: Incoming) -> Response:
        batch = self.state.batch(self.name, call.path["id"])
        if batch is None:
            return _no_batch(call.path["id"])
        now = self.state.now()
        if batch.ended(now):
            return _error(409, f"Cannot cancel a batch with status '{batch.phase(now)}'.")
        batch = self.state.cancel(batch, now)
        return _json_response(json.dumps(_batch_object(batch, "cancelling", now), separators=(",", ":")))

    def _seen(self, batch: Batch, now: float) -> Json:
        """The batch as it is now; the first look at an ended one writes its files."""
        if batch.ended(now) and batch.life.end != "failed":
            batch = self._settled(batch)
        return _batch_object(batch, batch.phase(now), now)

    def _settled(self, batch: Batch) -> Batch:
        life = batch.life
        ids = seeded(f"files:{batch.id}")
        files = {
            stream: File(
                "file-" + letters(ids, 22, _BASE58), self.name, f"{batch.id}_{stream}.jsonl", "batch_output", 0,
                life.writing_at, _output_expiry(batch),
            )
            for stream in ("output", "error")
        }  # fmt: skip
        started = batch.cancelled_at is None or batch.cancelled_at >= life.started_at
        lines = result_lines(
            batch,
            self.state.path(batch.source),
            lambda line: str(line["custom_id"]),
            lambda wanted: _result_line(wanted, batch, started=started),
        )
        return self.state.settle(batch, lines, files)

    # Answers at once

    def _chat(self, call: Incoming) -> Response:
        return self._answer_now(call, "/v1/chat/completions")

    def _responses(self, call: Incoming) -> Response:
        return self._answer_now(call, "/v1/responses")

    def _answer_now(self, call: Incoming, endpoint: str) -> Response:
        body = call.json()
        try:
            asks = read_asks(body, endpoint)
        except Rejected as exc:
            return _indented(exc.body, exc.status)
        replies = [answer(ask, seed=self.state.seed) for ask in asks]
        ids = FRESH
        return _indented(completion(body, endpoint, replies, ids, self.state.now()))


# Batches, as JSON


def _batch_object(batch: Batch, status: str, now: float) -> Json:
    """`status` is an argument because create and cancel answer with the state they bring about."""
    life = batch.life
    over = status == life.end
    outcome = batch.outcome
    cancelled = batch.cancelled_at is not None
    started = (
        status not in ("validating", "failed")
        and now >= life.started_at
        and (batch.cancelled_at is None or batch.cancelled_at >= life.started_at)
    )
    # A batch cancelled in time never writes, an expired one does before it is over.
    writing = started and not cancelled and now >= life.writing_at
    counts, usage = {"total": 0, "completed": 0, "failed": 0}, _batch_usage(0, 0)
    if started:
        counts = {"total": batch.total, "completed": batch.answered(now), "failed": 0}
    if over and outcome is not None and started:
        counts["completed"] = outcome.counts.get("succeeded", 0)
        counts["failed"] = outcome.counts.get("errored", 0)
        if status == "completed":
            usage = _batch_usage(outcome.input_tokens, outcome.output_tokens)
    files = outcome.files if over and outcome is not None else {}

    def at(when: float, happened: bool) -> int | None:
        return int(when) if happened else None

    # The model is known a moment before the batch starts.
    validated = now > (batch.created_at + life.started_at) / 2 and status != "failed"
    known = batch.detail.get("model") if validated else None
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.detail["endpoint"],
        "model": snapshot(known) if known else None,
        "errors": {"object": "list", "data": _errors(batch)} if status == "failed" else None,
        "input_file_id": batch.detail["input_file_id"],
        "completion_window": "24h",
        "status": status,
        "output_file_id": files.get("output"),
        "error_file_id": files.get("error"),
        "created_at": int(batch.created_at),
        "in_progress_at": at(life.started_at, started),
        "expires_at": int(batch.created_at) + int(DAY_S),
        "finalizing_at": at(life.writing_at, writing),
        "completed_at": at(life.ended_at, status == "completed"),
        "failed_at": at(life.ended_at, status == "failed"),
        "expired_at": at(life.ended_at, status == "expired"),
        "cancelling_at": at(batch.cancelled_at or 0, cancelled),
        "cancelled_at": at(life.ended_at, status == "cancelled"),
        "request_counts": counts,
        "usage": usage,
        "metadata": batch.detail["metadata"],
    }


def _batch_usage(input_tokens: int, output_tokens: int) -> Json:
    return {
        "input_tokens": input_tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": input_tokens + output_tokens,
    }


def _errors(batch: Batch) -> list[Json]:
    default = (
        f"Enqueued token limit reached for {batch.detail.get('model')} in organization org-fake. Limit: 2,000,000"
        " enqueued tokens. Please try again once some in_progress batches have been completed."
    )
    return [
        {
            "code": one.get("code") or "token_limit_exceeded",
            "message": one.get("message") or default,
            "param": one.get("param"),
            "line": one.get("line"),
        }
        for one in batch.detail["errors"]
    ]


def _batch_error(code: str, message: str, *, param: str | None = None, line: int | None = None) -> Json:
    return {"code": code, "message": message, "param": param, "line": line}


def _output_expiry(batch: Batch) -> float | None:
    seconds = batch.detail.get("output_expires_after_s")
    return None if seconds is None else batch.life.writing_at + float(seconds)


def _check_input(path: Path, endpoint: str) -> tuple[int, str | None, list[Json]]:
    """
    Read an input file as the service does while validating: requests, their model, and what is wrong with
    them.
    """
    errors: list[Json] = []
    seen: set[str] = set()
    model: str | None = None
    total = 0
    with path.open("rb") as source:
        for number, raw in enumerate(source, 1):
            if not raw.strip():
                continue
            total += 1
            problem, line = _check_line(raw, endpoint)
            if line is not None:
                name, asked = line["custom_id"], line["body"].get("model")
                if name in seen:
                    message = f"The custom_id '{name}' for this request is a duplicate of another request."
                    problem = ("duplicate_custom_id", message, "custom_id")
                elif isinstance(asked, str) and model is not None and asked != model:
                    message = f"The model `{asked}` for this request does not match the rest of the batch ({model})."
                    problem = ("mismatched_model", message, "body.model")
                seen.add(name)
                # A model that is no name is that line's own error.
                model = model or (asked if isinstance(asked, str) else None)
            if problem is not None and len(errors) < _MAX_ERRORS:
                errors.append(_batch_error(problem[0], problem[1], param=problem[2], line=number))
    if total == 0:
        errors.append(_batch_error("empty_file", "The input file is empty. Please upload a file with requests."))
    if total > MAX_REQUESTS:
        errors = [_batch_error("too_many_tasks", f"The batch has {total} requests, over the limit of {MAX_REQUESTS}.")]
    return total, model, errors


def _check_line(raw: bytes, endpoint: str) -> tuple[tuple[str, str, str | None] | None, Json | None]:
    """The line if it is a request, else what is wrong: code, message, parameter."""
    try:
        line = parse_json(raw)
    except ValueError:
        return ("invalid_json_line", "This line is not parseable as valid JSON.", None), None
    if not isinstance(line, dict):
        return ("invalid_json_line", "This line is not a JSON object.", None), None
    for name, kind in (("custom_id", str), ("method", str), ("url", str), ("body", dict)):
        if not isinstance(line.get(name), kind):
            return ("missing_required_parameter", f"Missing required parameter: '{name}'.", name), None
    if line["method"] != "POST":
        return ("invalid_method", f"Invalid method '{line['method']}': expected 'POST'.", "method"), line
    if line["url"] != endpoint:
        message = f"The URL provided for this request ('{line['url']}') does not match the batch endpoint."
        return ("invalid_url", message, "url"), line
    return None, line


# Result lines


def _result_line(wanted: Wanted, batch: Batch, *, started: bool) -> Line:
    ids = wanted.ids
    line: Json = {
        "id": "batch_req_" + _timed_hex(ids, batch.life.writing_at + ids.randint(0, 1)),
        "custom_id": wanted.custom_id,
        "response": None,
        "error": None,
    }
    if wanted.fate == "expired":
        message = "This request could not be executed before the completion window expired."
        line["error"] = {"code": "batch_expired", "message": message}
        return Line(_spaced(line), "expired", "error")
    if wanted.fate == "cancelled":
        line["error"] = {
            "code": "batch_cancelled",
            "message": "This request was cancelled before it was executed.",
        }
        return Line(_spaced(line), "cancelled", "error", copies=int(started))
    response = line["response"] = {"status_code": 200, "request_id": _uuid(ids), "body": {}}
    body, endpoint = wanted.line["body"], wanted.line["url"]
    try:
        if wanted.error is not None:
            raise _planned(wanted.error)
        asks = read_asks(body, endpoint)
    except Rejected as exc:
        response |= {"status_code": exc.status, "body": exc.body}
        return Line(_spaced(line), "errored", "error")
    replies = [wanted.reply(ask) for ask in asks]
    response["body"] = completion(body, endpoint, replies, ids, batch.life.started_at)
    used = count_usage(replies)
    return Line(_spaced(line), "succeeded", "output", *used)


def _planned(fault: Fault) -> Rejected:
    message = fault.message or f"Planned error {fault.status}."
    return Rejected(fault.status, message, kind=_kind(fault.status, fault.code), code=fault.code)


# Small JSON answers


def _headers() -> dict[str, str]:
    return {
        "openai-version": "2020-10-01",
        "openai-organization": "org-fake",
        "openai-processing-ms": "12",
        "x-request-id": f"req_{secrets.token_hex(16)}",
    }


def _json_response(text: str, status: int = 200) -> Response:
    return Response(text, status, headers=_headers(), media_type="application/json")


def _indented(body: Json, status: int = 200, *, final_newline: str = "") -> Response:
    return _json_response(json.dumps(body, indent=2, ensure_ascii=False) + final_newline, status)


def _spaced(line: Json) -> bytes:
    """Result files have Python's separators, unlike the API's own JSON."""
    return json.dumps(line).encode()


def _error(
    status: int,
    message: str,
    *,
    kind: str = "invalid_request_error",
    code: str | None = None,
    param: str | None = None,
) -> Response:
    return _indented({"error": {"message": message, "type": kind, "param": param, "code": code}}, status)


def _kind(status: int, code: str | None) -> str:
    """The `type` of an error of this status."""
    if status == 429:
        return "insufficient_quota" if code == "insufficient_quota" else "requests"
    return "invalid_request_error" if status < 500 else "server_error"


def _bad_value(name: str, value: object, allowed: Sequence[str]) -> Response:
    listed = ", ".join(f"'{one}'" for one in allowed)
    message = f"Invalid value: '{value}'. Supported values are: {listed}."
    return _error(400, message, code="invalid_value", param=name)


def _wrong_metadata(metadata: object) -> str | None:
    if metadata is None:
        return None
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        return "Invalid 'metadata': expected an object with string values."
    if len(metadata) > 16:
        return f"Invalid 'metadata': too many properties. Expected at most 16, but got {len(metadata)} instead."
    if any(len(key) > 64 or len(value) > 512 for key, value in metadata.items()):
        return "Invalid 'metadata': keys have at most 64 characters and values at most 512."
    return None


def _no_batch(batch_id: str) -> Response:
    return _error(404, f"No batch found with id '{batch_id}'.")


def _no_file(file_id: str) -> Response:
    return _file_error(404, f"No such File object: {file_id}", "id")


def _file_error(status: int, message: str, param: str | None) -> Response:
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": None}
    return _indented({"error": error, "detail": {"message": message, "code": None}}, status, final_newline="\n")


def _file_object(file: File) -> Json:
    return {
        "object": "file",
        "id": file.id,
        "purpose": file.purpose,
        "filename": file.name,
        "bytes": file.size,
        "created_at": int(file.created_at),
        "expires_at": None if file.expires_at is None else int(file.expires_at),
        "status": "processed",
        "status_details": None,
    }


def _file_json(file: File) -> Response:
    return _indented(_file_object(file), final_newline="\n")


def _page(
    call: Incoming,
    items: list[_Item],
    limit: int | None,
    id_of: Callable[[_Item], str],
    as_json: Callable[[_Item], Json],
    *,
    final_newline: str = "",
) -> Response:
    """One page of a list: what comes after the item with the id `after`."""
    if limit is None:
        return _error(400, f"Invalid 'limit': {call.query.get('limit')!r}.", code="invalid_value", param="limit")
    ids = [id_of(one) for one in items]
    after = call.query.get("after")
    if after is not None and after not in ids:
        return _error(400, f"Invalid 'after': no object with id '{after}'.", code="invalid_value", param="after")
    start = 0 if after is None else ids.index(after) + 1
    page = [as_json(one) for one in items[start : start + limit]]
    body = {
        "object": "list",
        "data": page,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
        "has_more": start + limit < len(items),
    }
    return _indented(body, final_newline=final_newline)


# Ids


def _timed_hex(source: random.Random, when: float) -> str:
    """The 32 hex digits of batch ids: the seconds first, the rest random but for a fixed piece."""
    return f"{int(when):08x}{source.getrandbits(16):04x}8190{source.getrandbits(64):016x}"


def _uuid(source: random.Random) -> str:
    digits = f"{source.getrandbits(128):032x}"
    return "-".join((digits[:8], digits[8:12], "4" + digits[13:16], "8" + digits[17:20], digits[20:]))


def _masked(key: str) -> str:
    return key[:4] + "*" * max(0, len(key) - 8) + key[-4:] if len(key) > 8 else "*" * len(key)
