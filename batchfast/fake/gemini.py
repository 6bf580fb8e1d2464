"""
Gemini's files, batches, `generateContent` and embeddings, under any version segment.

Shapes, order of fields, strings in place of int64 and fields left out when zero are those of recorded traffic
of 2025-2026. Bodies may come in camelCase or snake_case, or a mixture: the service takes both.
"""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

from starlette.responses import Response

from batchfast.fake import gemini_embeddings
from batchfast.fake.gemini_batch import (
    batch_state,
    check_input,
    inlined,
    operation,
    output_of,
    request_id,
    result_line,
    results_file,
    results_id,
)
from batchfast.fake.gemini_body import camel_case, content_body, find_problem, read_asks, written_tokens, wrong_value
from batchfast.fake.gemini_inline import filled
from batchfast.fake.gemini_upload import FILE_LIFETIME_S, LOWER, Uploads
from batchfast.fake.gemini_wire import (
    common_headers,
    error_response,
    file_object,
    json_response,
    no_batch,
    no_file,
    no_model,
    page_body,
    page_of,
)
from batchfast.fake.ids import FRESH, letters
from batchfast.fake.records import DAY_S, Batch, File
from batchfast.fake.replies import answer
from batchfast.fake.results import result_lines
from batchfast.fake.service import Endpoint, Incoming, send_file
from batchfast.fake.shapes import WrongType, as_object, as_objects, as_text
from batchfast.fake.state import State

BATCH_WINDOW_S = 2 * DAY_S
MAX_INLINE_BYTES = 20_000_000
MAX_FILE_NAME = 40  # characters


Json = dict[str, Any]


class Gemini:
    """The routes under `/gemini`."""

    name = "gemini"

    def __init__(self, state: State, prefix: str) -> None:
        self.state = state
        self.prefix = prefix
        self._uploads = Uploads(state, self.name)

    def endpoints(self) -> list[Endpoint]:
        return [
            Endpoint("POST", "/upload/{version}/files", "upload", self._uploads.take),
            Endpoint("PUT", "/upload/{version}/files", "upload", self._uploads.take),
            Endpoint("GET", "/{version}/files", "list_files", self._list_files),
            Endpoint("GET", "/{version}/files/{id}:download", "results", self._download),
            Endpoint("GET", "/{version}/files/{id}", "file", self._file),
            Endpoint("DELETE", "/{version}/files/{id}", "delete_file", self._delete_file),
            Endpoint("POST", "/{version}/models/{model}:batchGenerateContent", "create", self._create),
            Endpoint("POST", "/{version}/models/{model}:asyncBatchEmbedContent", "create", self._create_embeddings),
            Endpoint("POST", "/{version}/models/{model}:generateContent", "answer", self._answer),
            Endpoint("POST", "/{version}/models/{model}:embedContent", "answer", self._embed),
            Endpoint("POST", "/{version}/models/{model}:batchEmbedContents", "answer", self._embed_several),
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
        # Without this header the SDK takes the failure of a piece for a lost answer, and sends the piece again.
        response.headers["x-goog-upload-status"] = "final"
        return response

    # Files

    def _list_files(self, call: Incoming) -> Response:
        files = [one for one in self.state.files.all(self.name) if one.detail["source"] == "UPLOADED"]
        if call.lag_s is not None:
            files = [one for one in files if one.created_at <= self.state.now() - call.lag_s]
        page = page_of(call, 10, most=100)
        if page is None:
            return error_response(400, "Invalid page size or page token.")
        size, start = page
        objects = [file_object(one, call) for one in files[start : start + size]]
        return json_response(page_body("files", objects, start + size, len(files)))

    def _found(self, call: Incoming) -> File | None:
        return self.state.files.named(self.name, call.path["id"])

    def _file(self, call: Incoming) -> Response:
        file = self._found(call)
        return no_file(call.path["id"]) if file is None else json_response(file_object(file, call))

    def _delete_file(self, call: Incoming) -> Response:
        if len(call.path["id"]) > MAX_FILE_NAME:
            # Only a delete looks at this, and what batches answer has 42: such files stay until they expire.
            limit = f"File ID (name excluding 'files/') cannot be more than {MAX_FILE_NAME} characters."
            return error_response(400, f"* DeleteFileRequest.name: {limit}\n")
        file = self._found(call)
        if file is None:
            return no_file(call.path["id"])
        self.state.files.delete(self.name, file.id)
        return json_response({})

    def _download(self, call: Incoming) -> Response:
        file = self._found(call)
        if file is None:
            return no_file(call.path["id"])
        if file.detail["source"] == "UPLOADED":
            return error_response(400, "Only generated files can be downloaded.")
        return send_file(self.state.files.path(file.id), common_headers(), "application/octet-stream")

    # Batches

    def _create(self, call: Incoming) -> Response:
        return self._accept(call, "batchGenerateContent")

    def _create_embeddings(self, call: Incoming) -> Response:
        return self._accept(call, "asyncBatchEmbedContent", embeds=True)

    def _accept(self, call: Incoming, method: str, *, embeds: bool = False) -> Response:
        model = call.path["model"]
        if model.startswith("no-such-"):
            return no_model(call, method)
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
        batch_id = letters(FRESH, 36, LOWER)
        detail: Json = {"model": f"models/{model}", "display_name": batch.get("displayName"), "embeds": embeds}
        if source.get("fileName") is not None:
            name = str(source["fileName"]).removeprefix("files/")
            file = self.state.files.named(self.name, name)
            if file is None:
                return no_file(name)
            detail["file"] = f"files/{name}"
            stored = file.id
            total, problem = check_input(self.state.files.path(stored))
            if problem:
                detail["errors"] = [{"code": None, "message": problem}]
        else:
            if not requests:
                return error_response(400, "* BatchGenerateContentRequest.batch.input_config: is required")
            if call.body.tell() > MAX_INLINE_BYTES:
                return error_response(400, f"Request payload size exceeds the limit: {MAX_INLINE_BYTES} bytes.")
            stored, total = f"{batch_id}.requests", len(requests)
            self.state.files.write(stored, (json.dumps(one).encode() + b"\n" for one in requests))
        limit = self.state.batches.full_queue(self.name, detail["model"], stored)
        if limit is not None:
            return error_response(429, f"You exceeded your current quota: {limit:,} enqueued tokens for the model.")
        accepted = self.state.batches.add(
            self.name, f"batches/{batch_id}", source=stored, id_of=request_id, total=total, detail=detail,
            created_at=now, window_s=BATCH_WINDOW_S,
        )  # fmt: skip
        return json_response(operation(accepted, "PENDING"))

    def _list(self, call: Incoming) -> Response:
        now = self.state.now()
        batches = self.state.batches.all(self.name)
        if call.lag_s is not None:
            batches = [one for one in batches if one.created_at <= now - call.lag_s]
        page = page_of(call, 50, most=1000)
        if page is None:
            return error_response(400, "Invalid page size or page token.")
        size, start = page
        operations = [self._shown(self._as_of(one, now), now) for one in batches[start : start + size]]
        return json_response(page_body("operations", operations, start + size, len(batches)))

    def _poll(self, call: Incoming) -> Response:
        batch = self.state.batches.get(self.name, f"batches/{call.path['id']}")
        if batch is None:
            return no_batch(call)
        now = self.state.now()
        batch = self._as_of(batch, now)
        results = results_file(batch)
        if "file" in batch.detail or results is None:
            return json_response(self._shown(batch, now, []))
        place = uuid4().hex
        return filled(self._shown(batch, now, [place]), place, self.state.files.path(results))

    def _cancel(self, call: Incoming) -> Response:
        batch = self.state.batches.get(self.name, f"batches/{call.path['id']}")
        if batch is None:
            return no_batch(call)
        if self.state.batches.cancel(batch, self.state.now()) is None:
            return error_response(400, f"Batch {batch.id} is already finished.", kind="FAILED_PRECONDITION")
        return json_response({})

    def _delete(self, call: Incoming) -> Response:
        batch = self.state.batches.get(self.name, f"batches/{call.path['id']}")
        if batch is None:
            return no_batch(call)
        self.state.batches.delete(batch)
        return json_response({})

    def _answer(self, call: Incoming) -> Response:
        if call.path["model"].startswith("no-such-"):
            return no_model(call, "generateContent")
        request = camel_case(call.json())
        problem = find_problem(request)
        if problem:
            return error_response(400, problem)
        model, seed, words = call.path["model"], self.state.seed, self.state.words
        replies = [answer(ask, seed=seed, words=words) for ask in read_asks(request, model)]
        body = content_body(request, replies, model, FRESH)
        self.state.count_answer(self.name, model, replies[0].input_tokens, written_tokens(body))
        return json_response(body)

    def _embed(self, call: Incoming) -> Response:
        vectors = self._vectors(call, "embedContent", [camel_case(call.json())])
        return vectors if isinstance(vectors, Response) else json_response({"embedding": vectors[0]})

    def _embed_several(self, call: Incoming) -> Response:
        try:
            requests = as_objects(camel_case(call.json()).get("requests"), "requests")
        except WrongType as exc:
            return error_response(400, wrong_value(exc))
        vectors = self._vectors(call, "batchEmbedContents", requests)
        return vectors if isinstance(vectors, Response) else json_response({"embeddings": vectors})

    def _vectors(self, call: Incoming, method: str, requests: list[Json]) -> list[Json] | Response:
        """A vector for each request, or what is answered instead."""
        model = call.path["model"]
        if model.startswith("no-such-"):
            return no_model(call, method)
        problem = next(filter(None, (gemini_embeddings.find_problem(one, model) for one in requests)), None)
        if problem:
            return error_response(400, problem)
        made = [gemini_embeddings.embedding(one, model) for one in requests]
        self.state.count_answer(self.name, model, sum(read for _, read in made), 0)
        return [vector for vector, _ in made]

    def _as_of(self, batch: Batch, now: float) -> Batch:
        """The first look at one that is over writes its results."""
        return self.settled(batch) if batch.ended(now) and batch.life.end != "failed" else batch

    def _shown(self, batch: Batch, now: float, items: list[str] | None = None) -> Json:
        """The operation as it is now. `items` as in `output_of`."""
        state = batch_state(batch, now)
        gives = state == "SUCCEEDED" and batch.gives_output(now)
        return operation(batch, state, output_of(batch, items) if gives else None)

    def settled(self, batch: Batch) -> Batch:
        name, ended_at = results_id(batch), batch.life.ended_at
        detail = {"id": name, "display_name": None, "mime_type": "application/jsonl", "source": "GENERATED"}
        file = File(f"files-{name}", self.name, name, "results", 0, ended_at, ended_at + FILE_LIFETIME_S, detail)
        lines = result_lines(
            batch,
            self.state.files.path(batch.source),
            request_id,
            lambda wanted: result_line(wanted, batch),
        )
        return self.state.batches.settle(batch, lines, {"output": file})
