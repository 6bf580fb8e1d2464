"""
OpenAI's files and batches, and the three endpoints whose requests a batch may hold here.

Shapes, order of fields and spacing of the JSON are those of recorded traffic of 2024-2026 in their newest
form.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.datastructures import UploadFile
from starlette.responses import Response

from batchfast.fake.ids import FRESH, letters, seeded
from batchfast.fake.openai_answers import completion, count_usage
from batchfast.fake.openai_batch import (
    batch_error,
    batch_object,
    check_input,
    id_of,
    output_expiry,
    result_line,
)
from batchfast.fake.openai_body import read_asks
from batchfast.fake.openai_embeddings import embed
from batchfast.fake.openai_wire import (
    BASE58,
    Rejected,
    bad_value,
    common_headers,
    error_response,
    error_type,
    expiry_s,
    file_error,
    file_json,
    file_object,
    indented,
    json_text,
    masked,
    no_batch,
    no_file,
    page_response,
    timed_hex,
    wrong_metadata,
    wrong_type,
)
from batchfast.fake.records import DAY_S, Batch, File
from batchfast.fake.replies import answer
from batchfast.fake.results import result_lines
from batchfast.fake.service import Endpoint, Incoming, send_file
from batchfast.fake.shapes import WrongType, as_object, as_text
from batchfast.fake.state import State

MAX_FILE_BYTES = 200_000_000
_PURPOSES = ("fine-tune", "assistants", "batch", "user_data", "vision", "evals")
_ENDPOINTS = (
    "/v1/responses", "/v1/chat/completions", "/v1/embeddings", "/v1/completions", "/v1/moderations",
    "/v1/images/generations", "/v1/images/edits", "/v1/videos",
)  # fmt: skip
_STATUS_CODES = {
    401: "invalid_api_key", 403: "permission_denied", 404: "not_found", 413: None, 429: "rate_limit_exceeded",
}  # fmt: skip

Json = dict[str, Any]


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
            Endpoint("POST", "/embeddings", "answer", self._embeddings),
        ]

    def refuse(self, call: Incoming) -> Response | None:
        scheme, _, key = call.headers.get("authorization", "").partition(" ")
        if scheme == "Bearer" and key and not key.startswith("bad-"):
            return None
        message = f"Incorrect API key provided: {masked(key)}. You can find your API key at your account page."
        if not key:
            message = "You didn't provide an API key. Provide it in an Authorization header, as a bearer token."
        response = error_response(401, message, code="invalid_api_key" if key else None)
        response.headers["www-authenticate"] = 'Bearer realm="OpenAI API"'
        return response

    def failure(self, status: int, message: str | None = None, code: str | None = None) -> Response:
        text, kind = message or f"Planned error {status}.", error_type(status, code)
        return error_response(status, text, kind=kind, code=code or _STATUS_CODES.get(status))

    # Files

    def _upload(self, call: Incoming) -> Response:
        purpose, upload = call.form.get("purpose"), call.form.get("file")
        if not isinstance(upload, UploadFile):
            return file_error(400, "'file' is a required property", None)
        if not isinstance(purpose, str):
            return file_error(400, "'purpose' is a required property", None)
        if purpose not in _PURPOSES:
            return file_error(400, f"{purpose!r} is not one of {list(_PURPOSES)} - 'purpose'", None)
        name = upload.filename or "upload"
        if purpose == "batch" and Path(name).suffix not in ("", ".json", ".jsonl"):
            return file_error(400, "Invalid file format for Batch API. Must be .jsonl", None)
        if purpose == "batch" and (upload.size or 0) > MAX_FILE_BYTES:
            return file_error(413, f"File is too large: {upload.size} bytes, the limit is {MAX_FILE_BYTES}.", None)
        given = {name: call.form.get(f"expires_after[{name}]") for name in ("anchor", "seconds")}
        try:
            kept_s = expiry_s(
                {name: one for name, one in given.items() if one is not None}, "expires_after", strings=True
            )
        except WrongType as exc:
            return file_error(400, wrong_type(exc), exc.where)
        lifetime_s = 30 * DAY_S if kept_s is None and purpose == "batch" else kept_s
        file_id = "file-" + letters(FRESH, 22, BASE58)
        size = self.state.files.write(file_id, iter(lambda: upload.file.read(1 << 18), b""))
        now = self.state.now()
        expires_at = None if lifetime_s is None else int(now) + lifetime_s
        return file_json(self.state.files.add(File(file_id, self.name, name, purpose, size, now, expires_at)))

    def _list_files(self, call: Incoming) -> Response:
        files = [one for one in self.state.files.all(self.name) if call.query.get("purpose") in (None, one.purpose)]
        if call.lag_s is not None:
            files = [one for one in files if one.created_at <= self.state.now() - call.lag_s]
        order = call.query.get("order", "desc")
        if order not in ("asc", "desc"):
            return file_error(400, f"{order!r} is not one of ['asc', 'desc'] - 'order'", None)
        if order == "asc":
            files.reverse()
        limit = call.whole("limit", 10_000, most=10_000)
        return page_response(call, files, limit, lambda one: one.id, file_object, files=True)

    def _file(self, call: Incoming) -> Response:
        file = self.state.files.get(self.name, call.path["id"])
        return no_file(call.path["id"]) if file is None else file_json(file)

    def _delete_file(self, call: Incoming) -> Response:
        if not self.state.files.delete(self.name, call.path["id"]):
            return no_file(call.path["id"])
        return indented({"object": "file", "deleted": True, "id": call.path["id"]}, final_newline="\n")

    def _content(self, call: Incoming) -> Response:
        file = self.state.files.get(self.name, call.path["id"])
        if file is None:
            return no_file(call.path["id"])
        plain = file.name.isascii() and file.name.isprintable() and not {'"', "\\"}.intersection(file.name)
        shown = f'filename="{file.name}"' if plain else f"filename*=utf-8''{quote(file.name, safe='')}"
        headers = {"content-disposition": f"attachment; {shown}", **common_headers()}
        return send_file(self.state.files.path(file.id), headers, "application/octet-stream")

    # Batches

    def _refused(self, body: Json) -> Response | None:
        """What create answers to a body it does not take. What is wrong with the file's lines shows later."""
        for name in ("input_file_id", "endpoint", "completion_window"):
            if body.get(name) is None:
                return error_response(
                    400,
                    f"Missing required parameter: '{name}'.",
                    code="missing_required_parameter",
                    param=name,
                )
        if body["endpoint"] not in _ENDPOINTS:
            return bad_value("endpoint", body["endpoint"], _ENDPOINTS)
        if body["completion_window"] != "24h":
            return bad_value("completion_window", body["completion_window"], ("24h",))
        try:
            as_text(body["input_file_id"], "input_file_id")
            expiry_s(as_object(body.get("output_expires_after"), "output_expires_after"), "output_expires_after")
        except WrongType as exc:
            return error_response(400, wrong_type(exc), code="invalid_type", param=exc.where)
        wrong = wrong_metadata(body.get("metadata"))
        if wrong:
            return error_response(400, wrong, code="invalid_metadata", param="metadata")
        file = self.state.files.get(self.name, str(body["input_file_id"]))
        if file is not None and file.purpose != "batch":
            return error_response(
                400,
                f"Invalid file purpose: expected 'batch', got '{file.purpose}'.",
                code="invalid_file_purpose",
                param="input_file_id",
            )
        return None

    def _create(self, call: Incoming) -> Response:
        body = call.json()
        refused = self._refused(body)
        if refused is not None:
            return refused
        now = self.state.now()
        file = self.state.files.get(self.name, str(body["input_file_id"]))
        detail: Json = {
            "endpoint": body["endpoint"],
            "metadata": body.get("metadata"),
            "input_file_id": body["input_file_id"],
            "output_expires_after_s": (body.get("output_expires_after") or {}).get("seconds"),
        }
        total = 0
        if file is None:
            # Such a batch is taken and fails later; the message is the one seen there.
            message = f"Cannot find file {body['input_file_id']}, or organization org-fake does not have access to it."
            detail["errors"] = [batch_error("invalid_input_file", message)]
        else:
            total, detail["model"], errors = check_input(self.state.files.path(file.id), body["endpoint"])
            limit = self.state.batches.full_queue(self.name, detail["model"], file.id)
            if errors:
                detail["errors"] = errors
            elif limit is not None:
                detail |= {"errors": [{}], "queue_tokens": limit}
        batch = self.state.batches.add(
            self.name,
            "batch_" + timed_hex(FRESH, now),
            source=str(body["input_file_id"]),
            id_of=id_of,
            total=total,
            detail=detail,
            created_at=now,
        )
        return indented(batch_object(batch, "validating", now))

    def _list(self, call: Incoming) -> Response:
        batches = self.state.batches.all(self.name)
        now = self.state.now()
        if call.lag_s is not None:
            batches = [one for one in batches if one.created_at <= now - call.lag_s]
        limit = call.whole("limit", 20, most=100)
        return page_response(call, batches, limit, lambda one: one.id, lambda one: self._seen(one, now))

    def _poll(self, call: Incoming) -> Response:
        batch = self.state.batches.get(self.name, call.path["id"])
        return no_batch(call.path["id"]) if batch is None else indented(self._seen(batch, self.state.now()))

    def _cancel(self, call: Incoming) -> Response:
        batch = self.state.batches.get(self.name, call.path["id"])
        if batch is None:
            return no_batch(call.path["id"])
        now = self.state.now()
        cancelled = self.state.batches.cancel(batch, now)
        if cancelled is None:
            return error_response(409, f"Cannot cancel a batch with status '{batch.phase(now)}'.")
        return json_text(json.dumps(batch_object(cancelled, "cancelling", now), separators=(",", ":")))

    def _seen(self, batch: Batch, now: float) -> Json:
        """The batch as it is now; the first look at an ended one writes its files."""
        if batch.ended(now) and batch.life.end != "failed":
            batch = self.settled(batch)
        return batch_object(batch, batch.phase(now), now)

    def settled(self, batch: Batch) -> Batch:
        life = batch.life
        ids = seeded(f"files:{batch.id}")
        files = {
            stream: File(
                "file-" + letters(ids, 22, BASE58), self.name, f"{batch.id}_{stream}.jsonl", "batch_output", 0,
                life.writing_at, output_expiry(batch),
            )
            for stream in ("output", "error")
        }  # fmt: skip
        started = batch.has_started(life.ended_at)
        lines = result_lines(
            batch,
            self.state.files.path(batch.source),
            id_of,
            lambda wanted: result_line(wanted, batch, started=started),
        )
        return self.state.batches.settle(batch, lines, files)

    # Answers at once

    def _chat(self, call: Incoming) -> Response:
        return self._answer_now(call, "/v1/chat/completions")

    def _responses(self, call: Incoming) -> Response:
        return self._answer_now(call, "/v1/responses")

    def _embeddings(self, call: Incoming) -> Response:
        body = call.json()
        try:
            made, read = embed(body)
        except Rejected as exc:
            return indented(exc.body, exc.status)
        self.state.count_answer(self.name, str(body["model"]), read, 0)
        return indented(made)

    def _answer_now(self, call: Incoming, endpoint: str) -> Response:
        body = call.json()
        try:
            asks = read_asks(body, endpoint)
        except Rejected as exc:
            return indented(exc.body, exc.status)
        replies = [answer(ask, seed=self.state.seed, words=self.state.words) for ask in asks]
        self.state.count_answer(self.name, str(body["model"]), *count_usage(body, replies))
        return indented(completion(body, endpoint, replies, FRESH, self.state.now()))
