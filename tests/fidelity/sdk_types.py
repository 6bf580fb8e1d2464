"""Which type of its SDK every answer has, and what the SDKs do not know of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from anthropic.pagination import SyncPage, SyncPageCursor
from anthropic.types import DeletedFile, FileMetadata, Message
from anthropic.types.messages import DeletedMessageBatch, MessageBatch, MessageBatchIndividualResponse
from google.genai import types as genai
from openai.pagination import SyncCursorPage
from openai.types import Batch, CreateEmbeddingResponse, FileDeleted, FileObject
from openai.types.chat import ChatCompletion
from openai.types.responses import Response

from tests.fidelity.facts import Answer, Table, parse
from tests.fidelity.sdk import misfits

Typed = Iterable[tuple[Any, Any]]
Reader = Callable[[bytes], Typed]


def whole(kind: Any) -> Reader:
    return lambda body: [(parse(body), kind)]


def each_line(read: Callable[[Any], Typed]) -> Reader:
    return lambda body: [pair for line in body.split(b"\n") if line for pair in read(parse(line))]


def _openai_line(line: Any) -> Typed:
    body = (line.get("response") or {}).get("body", {})
    kinds = {"chat.completion": ChatCompletion, "response": Response, "list": CreateEmbeddingResponse}
    return [(body, kinds[body["object"]])] if "object" in body else []


def _gemini_line(line: Any) -> Typed:
    kind = genai.InlinedEmbedContentResponse if "embedding" in line.get("response", {}) else genai.InlinedResponse
    return [({name: line[name] for name in ("response", "error") if name in line}, kind)]


def _job(operation: Any) -> tuple[Any, Any]:
    """An operation as the job the SDK makes of it, what it leaves out included."""
    metadata = {name: value for name, value in operation["metadata"].items() if name != "output"}
    metadata["state"] = metadata["state"].replace("BATCH_STATE_", "JOB_STATE_")
    output = operation["metadata"].get("output", {})
    dest = {"fileName": output["responsesFile"]} if "responsesFile" in output else {}
    if "inlinedResponses" in output:
        dest = output["inlinedResponses"]
    if "inlinedEmbedContentResponses" in output:
        dest = {"inlinedEmbedContentResponses": output["inlinedEmbedContentResponses"]["inlinedResponses"]}
    return {**metadata, **({"dest": dest} if output else {})}, genai.BatchJob


def _empty(body: bytes) -> Typed:
    assert parse(body) == {}
    return []


READERS: dict[str, dict[str, Reader]] = {
    "openai": {
        "POST /v1/files": whole(FileObject),
        "GET /v1/files/{id}": whole(FileObject),
        "GET /v1/files": whole(SyncCursorPage[FileObject]),
        "DELETE /v1/files/{id}": whole(FileDeleted),
        "GET /v1/files/{id}/content": each_line(_openai_line),
        "POST /v1/batches": whole(Batch),
        "GET /v1/batches/{id}": whole(Batch),
        "GET /v1/batches": whole(SyncCursorPage[Batch]),
        "POST /v1/batches/{id}/cancel": whole(Batch),
        "POST /v1/chat/completions": whole(ChatCompletion),
        "POST /v1/responses": whole(Response),
        "POST /v1/embeddings": whole(CreateEmbeddingResponse),
    },
    "anthropic": {
        "POST /v1/messages/batches": whole(MessageBatch),
        "GET /v1/messages/batches/{id}": whole(MessageBatch),
        "GET /v1/messages/batches": whole(SyncPage[MessageBatch]),
        "POST /v1/messages/batches/{id}/cancel": whole(MessageBatch),
        "DELETE /v1/messages/batches/{id}": whole(DeletedMessageBatch),
        "GET /v1/messages/batches/{id}/results": each_line(lambda line: [(line, MessageBatchIndividualResponse)]),
        "POST /v1/messages": whole(Message),
        "POST /v1/files": whole(FileMetadata),
        "GET /v1/files/{id}": whole(FileMetadata),
        "GET /v1/files": whole(SyncPageCursor[FileMetadata]),
        "DELETE /v1/files/{id}": whole(DeletedFile),
    },
    "gemini": {
        "PUT /upload/{version}/files": lambda body: [(parse(body)["file"], genai.File)] if body else [],
        "GET /{version}/files/{id}": whole(genai.File),
        "GET /{version}/files": whole(genai.ListFilesResponse),
        "DELETE /{version}/files/{id}": _empty,
        "GET /{version}/files/{id}:download": each_line(_gemini_line),
        "POST /{version}/models/{model}:batchGenerateContent": lambda body: [_job(parse(body))],
        "GET /{version}/batches/{id}": lambda body: [_job(parse(body))],
        "GET /{version}/batches": lambda body: [_job(one) for one in parse(body).get("operations", [])],
        "POST /{version}/batches/{id}:cancel": _empty,
        "DELETE /{version}/batches/{id}": _empty,
        "POST /{version}/models/{model}:generateContent": whole(genai.GenerateContentResponse),
        "POST /{version}/models/{model}:asyncBatchEmbedContent": lambda body: [_job(parse(body))],
        "POST /{version}/models/{model}:embedContent": lambda body: [
            (parse(body)["embedding"], genai.ContentEmbedding)
        ],
        "POST /{version}/models/{model}:batchEmbedContents": whole(genai.EmbedContentResponse),
    },
}


def unknown_to_the_sdk(table: Table, answer: Answer) -> set[str]:
    """What an answer has, lacks or calls otherwise than its SDK's type; errors have no type."""
    fact = table.fact(answer)
    if fact is None or answer.status >= 400:
        return set()
    pairs = READERS[table.provider][fact.call](answer.body)
    return {one for value, kind in pairs for one in misfits(value, kind)}


_PAGE = "in real lists; the SDK's pages go by `data` and `has_more` alone"
_BODY = "in real bodies of 2026; the SDK has no such field"
_DETAILS = "in real result lines of 2026; the SDK models the type and the message"
_JOB = "in real operations; the SDK drops it on the way to its BatchJob"

# What the services say and the SDKs' types do not know, and why that is right.
KNOWN = {
    "Embedding.embedding: is not List": "packed where base64 is asked for; the SDK's client unpacks it",
    "SyncCursorPage.object: extra": _PAGE,
    "SyncCursorPage.first_id: extra": _PAGE,
    "SyncCursorPage.last_id: extra": _PAGE,
    "Response.billing: extra": _BODY,
    "Response.frequency_penalty: extra": _BODY,
    "Response.presence_penalty: extra": _BODY,
    "Response.store: extra": _BODY,
    "InvalidRequestErrorObject.details: extra": _DETAILS,
    "NotFoundErrorObject.details: extra": _DETAILS,
    "BatchJob.@type: extra": _JOB,
    "BatchJob.batchStats: extra": _JOB,
    "BatchJob.inputConfig: extra": _JOB,
    "GenerateContentResponseUsageMetadata.serviceTier: extra": "in real answers of 2026; the SDK has no such field",
}
