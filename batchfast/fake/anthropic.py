"""
Anthropic's message batches, and the endpoint whose requests they hold. Files stand in `anthropic_files`.

Shapes and order of fields are those of recorded traffic of 2025-2026 in their newest form. What is wrong with
the list of requests is refused at once; what is wrong with one request's parameters is that request's result.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from typing import Any

from starlette.responses import Response

from batchfast.fake.anthropic_batch import ARCHIVED_AFTER_S, batch_object, id_of, result_line
from batchfast.fake.anthropic_body import count_output, find_problem, message_body, new_id, read_ask
from batchfast.fake.anthropic_files import AnthropicFiles
from batchfast.fake.anthropic_wire import common_headers, error_response, json_response, no_batch
from batchfast.fake.bigjson import NoArray, iter_member
from batchfast.fake.ids import FRESH
from batchfast.fake.records import Batch, File
from batchfast.fake.replies import answer
from batchfast.fake.results import result_lines
from batchfast.fake.service import Endpoint, Incoming, send_file
from batchfast.fake.state import State

MAX_REQUESTS = 100_000
MAX_BODY_BYTES = 256_000_000
_CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")

Json = dict[str, Any]


class Envelope(Exception):
    """The list of requests as a whole is refused."""


class Anthropic:
    """The routes under `/anthropic`."""

    name = "anthropic"

    def __init__(self, state: State, prefix: str) -> None:
        self.state = state
        self.prefix = prefix

    def endpoints(self) -> list[Endpoint]:
        return [
            Endpoint("POST", "/v1/messages/batches", "create", self._create),
            Endpoint("GET", "/v1/messages/batches", "list", self._list),
            Endpoint("GET", "/v1/messages/batches/{id}", "poll", self._poll),
            Endpoint("DELETE", "/v1/messages/batches/{id}", "delete", self._delete),
            Endpoint("POST", "/v1/messages/batches/{id}/cancel", "cancel", self._cancel),
            Endpoint("GET", "/v1/messages/batches/{id}/results", "results", self._results),
            Endpoint("POST", "/v1/messages", "answer", self._answer),
            *AnthropicFiles(self.state, self.name).endpoints(),
        ]

    def refuse(self, call: Incoming) -> Response | None:
        key = call.headers.get("x-api-key")
        bearer = call.headers.get("authorization", "").removeprefix("Bearer ")
        if not key and not bearer:
            return error_response(401, "x-api-key header is required")
        if (key or bearer).startswith("bad-"):
            return error_response(401, "invalid x-api-key" if key else "Invalid bearer token")
        if "anthropic-version" not in call.headers:
            return error_response(400, "anthropic-version: header is required")
        return None

    def failure(self, status: int, message: str | None = None, code: str | None = None) -> Response:
        return error_response(status, message or f"Planned error {status}.", kind=code)

    def _create(self, call: Incoming) -> Response:
        # Measured, not read off a header: a body sent in chunks announces no length.
        if call.body.seek(0, io.SEEK_END) > MAX_BODY_BYTES:
            return error_response(413, "Request exceeds the maximum size")
        call.body.seek(0)
        now = self.state.now()
        batch_id = "msgbatch_" + new_id(FRESH)
        requests = _Requests(call)
        try:
            self.state.files.write(f"{batch_id}.requests", requests)
        except Envelope as exc:
            return error_response(400, str(exc))
        except NoArray as exc:
            return error_response(400, f"requests: {exc}")
        limit = self.state.batches.full_queue(self.name, None, f"{batch_id}.requests")
        if limit is not None:
            message = f"This request would exceed the limit of {limit:,} input tokens waiting in the processing queue."
            return error_response(429, message)
        batch = self.state.batches.add(
            self.name,
            batch_id,
            source=f"{batch_id}.requests",
            id_of=id_of,
            total=requests.count,
            detail={"version": call.headers["anthropic-version"]},
            created_at=now,
            can_fail=False,
        )
        return json_response(batch_object(batch, "in_progress", now, call.origin))

    def _list(self, call: Incoming) -> Response:
        limit = call.whole("limit", 20, most=1000)
        if limit is None:
            return error_response(400, "limit: Input should be between 1 and 1000")
        now = self.state.now()
        batches = self.state.batches.all(self.name)
        if call.lag_s is not None:
            batches = [one for one in batches if one.created_at <= now - call.lag_s]
        ids = [one.id for one in batches]
        after, before = call.query.get("after_id"), call.query.get("before_id")
        for cursor in filter(None, (after, before)):
            if cursor not in ids:
                return error_response(400, f"Invalid cursor: {cursor}")
        if before:
            # The page directly before, and whether there are newer ones still.
            end = ids.index(before)
            page, more = batches[max(0, end - limit) : end], end > limit
        else:
            start = ids.index(after) + 1 if after else 0
            page, more = batches[start : start + limit], start + limit < len(batches)
        data = [self._seen(one, now, call.origin) for one in page]
        first, last = (data[0]["id"], data[-1]["id"]) if data else (None, None)
        return json_response({"data": data, "has_more": more, "first_id": first, "last_id": last})

    def _poll(self, call: Incoming) -> Response:
        batch = self.state.batches.get(self.name, call.path["id"])
        if batch is None:
            return no_batch(call)
        now = self.state.now()
        response = json_response(self._seen(batch, now, call.origin))
        if not batch.ended(now):
            response.headers["retry-after"] = "10"
        return response

    def _delete(self, call: Incoming) -> Response:
        batch = self.state.batches.get(self.name, call.path["id"])
        if batch is None:
            return no_batch(call)
        if not batch.ended(self.state.now()):
            return error_response(400, f"Message Batch {batch.id} is still running: cancel it before deleting it.")
        self.state.batches.delete(batch)
        return json_response({"id": batch.id, "type": "message_batch_deleted"})

    def _cancel(self, call: Incoming) -> Response:
        batch = self.state.batches.get(self.name, call.path["id"])
        if batch is None:
            return no_batch(call)
        now = self.state.now()
        cancelled = self.state.batches.cancel(batch, now)
        if cancelled is None:
            return error_response(400, f"Message Batch {batch.id} has ended and cannot be canceled.")
        return json_response(batch_object(cancelled, "canceling", now, call.origin))

    def _results(self, call: Incoming) -> Response:
        batch = self.state.batches.get(self.name, call.path["id"])
        if batch is None:
            return no_batch(call)
        now = self.state.now()
        if not batch.gives_output(now) or now >= batch.created_at + ARCHIVED_AFTER_S:
            return error_response(404, f"Message Batch {batch.id} has no available results.")
        batch = self.settled(batch)
        if batch.outcome is None:
            return no_batch(call)
        name = batch.outcome.files.get("output")
        disposition = f"attachment; filename*=utf-8''{batch.id}_results.jsonl"
        headers = {"content-disposition": disposition, **common_headers()}
        if name is None:
            return Response(b"", headers=headers, media_type="application/x-jsonl")
        return send_file(self.state.files.path(name), headers, "application/x-jsonl")

    def _answer(self, call: Incoming) -> Response:
        params = call.json()
        problem = find_problem(params, call.headers["anthropic-version"])
        if problem is not None:
            return error_response(*problem)
        ids = FRESH
        reply = answer(read_ask(params), seed=self.state.seed, words=self.state.words)
        self.state.count_answer(self.name, params["model"], reply.input_tokens, count_output(params, reply))
        return json_response(message_body(params, reply, ids, tier="standard"))

    def _seen(self, batch: Batch, now: float, origin: str) -> Json:
        """The batch as it is now; the first look at an ended one writes its results."""
        if not batch.ended(now):
            status = "canceling" if batch.phase(now) == "cancelling" else "in_progress"
            return batch_object(batch, status, now, origin)
        return batch_object(self.settled(batch), "ended", now, origin)

    def settled(self, batch: Batch) -> Batch:
        file = File(f"{batch.id}.results", self.name, "", "results", 0, batch.life.writing_at, None)
        version = batch.detail["version"]
        lines = result_lines(
            batch,
            self.state.files.path(batch.source),
            id_of,
            lambda wanted: result_line(wanted, version),
            shuffled=True,
        )
        return self.state.batches.settle(batch, lines, {"output": file})


class _Requests:
    """The requests of a create call as lines, checked while they are read. Raises Envelope."""

    def __init__(self, call: Incoming) -> None:
        self.count = 0
        self._call = call

    def __iter__(self) -> Iterator[bytes]:
        seen: set[str] = set()
        for request in iter_member(self._call.body, "requests"):
            where = f"requests.{self.count}"
            self.count += 1
            if not isinstance(request, dict):
                raise Envelope(f"{where}: Input should be a valid dictionary")
            name = _checked_custom_id(request.get("custom_id"), where)
            if name in seen:
                raise Envelope(f"{where}.custom_id: Duplicate custom_id '{name}'; custom_ids must be unique")
            seen.add(name)
            if not isinstance(request.get("params"), dict):
                raise Envelope(f"{where}.params: Field required")
            extra = next((key for key in request if key not in ("custom_id", "params")), None)
            if extra is not None:
                raise Envelope(f"{where}.{extra}: Extra inputs are not permitted")
            if self.count > MAX_REQUESTS:
                raise Envelope(f"requests: List should have at most {MAX_REQUESTS} items")
            yield json.dumps(request).encode() + b"\n"
        if not self.count:
            raise Envelope("requests: List should have at least 1 item after validation, not 0")


def _checked_custom_id(name: object, where: str) -> str:
    if name is None:
        raise Envelope(f"{where}.custom_id: Field required")
    if not isinstance(name, str):
        raise Envelope(f"{where}.custom_id: Input should be a valid string")
    if len(name) > 64:
        raise Envelope(f"{where}.custom_id: String should have at most 64 characters")
    if not _CUSTOM_ID.fullmatch(name):
        raise Envelope(f"{where}.custom_id: String should match pattern '^[a-zA-Z0-9_-]{{1,64}}$'")
    return name
