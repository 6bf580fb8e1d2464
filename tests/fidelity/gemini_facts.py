"""Gemini's files and batches, and `generateContent`."""

from __future__ import annotations

import re
from base64 import b64decode
from datetime import datetime, timedelta
from typing import Any

from tests.fidelity.facts import COMPACT, INDENTED_NEWLINE, Answer, Fact, Lines, Table
from tests.fidelity.shapes import Map, Shape, Unordered, Where

BATCH_NAME = re.compile("batches/[a-z0-9]{36}")
RESULTS_NAME = re.compile("files/batch-[a-z0-9]{36}")
FILE_NAME = re.compile("files/[a-z0-9]{12}")
INT64 = re.compile("[1-9][0-9]*")  # a string, and left out when zero
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3}|\.\d{6}|\.\d{9})?Z")
TYPE = "type.googleapis.com/google.ai.generativelanguage.v1main."  # v1main, whatever version was called

# Answers of the models

_PART = {"text": str, "thought optional": True, "thoughtSignature optional": str}
_CANDIDATE = {
    "content optional": {"parts optional": [_PART], "role": "model"},
    "finishReason": re.compile("[A-Z_]+"),
    "index": int,
}
RESPONSE = {
    "candidates optional": [_CANDIDATE],
    "promptFeedback optional": {"blockReason": str},
    "usageMetadata": {
        "promptTokenCount": int,
        "candidatesTokenCount optional": int,
        "totalTokenCount": int,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": int}],
        "thoughtsTokenCount optional": int,
        "serviceTier since 2026": "standard",  # also in a batch
    },
    "modelVersion": str,
    "responseId": str,
}
REQUEST_ERROR = {"code": int, "message optional": str}

# Embeddings: no answer of the service was at hand; names and types are those of its reference and SDK.

EMBEDDING = {"values": [float]}
EMBEDDED = Unordered({"tokenCount": INT64, "embedding": EMBEDDING})

# Result lines and inline items: who asked comes back after what came of it.

ITEM = ({"response": RESPONSE, "metadata": Map(object)}, Unordered({"error": REQUEST_ERROR, "metadata": Map(object)}))
INLINED = {"inlinedResponses": {"inlinedResponses": [ITEM]}}
EMBEDDED_ITEM = {"response": EMBEDDED, "metadata": Map(object)}
EMBEDDED_INLINE = {"inlinedEmbedContentResponses": {"inlinedResponses": [EMBEDDED_ITEM]}}
IN_FILE = {"responsesFile": RESULTS_NAME}
LINES = Lines(
    {
        # Inside of a line of a file no order is kept, but the key comes last.
        "response": {"response": Unordered(RESPONSE), "key": str},
        "embedding": {"response": EMBEDDED, "key": str},
        "error": Unordered({"error": REQUEST_ERROR, "key": str}),
    },
    lambda line: "error" if "error" in line else "embedding" if "embedding" in line["response"] else "response",
    COMPACT,
)

# Operations


def operation(
    state: str, *, source: Shape = None, output: Shape = None, error: Shape = None, kind: str = "GenerateContentBatch"
) -> Shape:
    """
    A batch as the operation it is.

    Args:
        source: The file the requests came in; None if they came inline, which is never echoed.
        output: There twice, once a batch has succeeded.
    """
    over = output is not None or error is not None
    done: dict[str, Shape] = {"done": True} if over else {}
    if output is not None:
        done["response"] = {"@type": f"{TYPE}{kind}Output", **output}
    elif over:
        done["error"] = error
    metadata = {
        "@type": TYPE + kind,
        "model": re.compile("models/.+"),
        "displayName": str,
        **({} if source is None else {"inputConfig": {"fileName": source}}),
        **({} if output is None else {"output": output}),
        "createTime": TIME,
        **({"endTime": TIME} if over else {}),
        "updateTime": TIME,
        "batchStats": {
            "requestCount": INT64,
            "pendingRequestCount optional anywhere": INT64,
            "successfulRequestCount optional anywhere": INT64,
            "failedRequestCount optional anywhere": INT64,
        },
        "state": f"BATCH_STATE_{state}",
        "name": BATCH_NAME,
    }
    return Where({"name": BATCH_NAME, "metadata": metadata, **done}, _RULES)


def _output(one: Any) -> Any:
    return {name: value for name, value in one["response"].items() if name != "@type"} if "response" in one else None


def _counts(one: Any) -> dict[str, int]:
    return {name: int(count) for name, count in one["metadata"]["batchStats"].items()}


_RULES = {
    "both its names are one": lambda one: one["name"] == one["metadata"]["name"],
    "its output is there twice": lambda one: _output(one) == one["metadata"].get("output"),
    "its results go by its name": lambda one: (
        (_output(one) or {}).get("responsesFile") in (None, one["name"].replace("batches/", "files/batch-"))
    ),
    "its counts add up": lambda one: 2 * _counts(one)["requestCount"] == sum(_counts(one).values()),
}


STATUS = {"code": int, "message": str}  # codes of google.rpc, not of HTTP
BATCHES: dict[str, Shape] = {
    f"{state} {source}": operation(
        state,
        source=FILE_NAME if source == "file" else None,
        output=(IN_FILE if source == "file" else INLINED) if state == "SUCCEEDED" else None,
        error=STATUS if state in ("FAILED", "CANCELLED", "EXPIRED") else None,
    )
    for state in ("PENDING", "RUNNING", "SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED")
    for source in ("file", "inline")
    # What is wrong with requests that come inline is said at once.
    if (state, source) != ("FAILED", "inline")
}
EMBED = "EmbedContentBatch"
EMBED_BATCHES: dict[str, Shape] = {
    "PENDING file": operation("PENDING", source=FILE_NAME, kind=EMBED),
    "PENDING inline": operation("PENDING", kind=EMBED),
    "SUCCEEDED file": operation("SUCCEEDED", source=FILE_NAME, output=IN_FILE, kind=EMBED),
    "SUCCEEDED inline": operation("SUCCEEDED", output=EMBEDDED_INLINE, kind=EMBED),
}
# A list leaves out what would be long.
_LONG = (operation("SUCCEEDED", output={}), operation("SUCCEEDED", output={}, kind=EMBED))
_LISTED = (*BATCHES.values(), *EMBED_BATCHES.values(), *_LONG)

# Files

_FILE = {
    "name": FILE_NAME,
    "displayName optional": str,
    "mimeType": str,
    "sizeBytes": INT64,
    "createTime": TIME,
    "updateTime": TIME,
    "expirationTime": TIME,
    "sha256Hash": re.compile("[A-Za-z0-9+/]{86}=="),  # base64 of 64 hex digits
    "uri": re.compile(r"https?://.+/v1beta/files/[a-z0-9]{12}"),
    "state": "ACTIVE",
    "source": "UPLOADED",
}


def _hours(file: Any) -> float:
    made, gone = (datetime.fromisoformat(file[name][:19]) for name in ("createTime", "expirationTime"))
    return (gone - made) / timedelta(hours=1)


FILE = Where(
    _FILE,
    {
        # Counted from a little before it is there.
        "it lives two days": lambda one: 47.9 < _hours(one) <= 48,
        "its address is its own": lambda one: one["uri"].endswith("/" + one["name"]),
        "its hash is of hex digits": lambda one: bool(re.fullmatch(b"[0-9a-f]{64}", b64decode(one["sha256Hash"]))),
    },
)

# Errors


def error(code: int, status: Shape, *details: Shape) -> Shape:
    inner = {"code": code, "message": str, "status": status}
    return {"error": {**inner, "details": [details]} if details else inner}


_INFO = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com",
         "metadata": {"service": "generativelanguage.googleapis.com"}}  # fmt: skip
_LOCALIZED = {"@type": "type.googleapis.com/google.rpc.LocalizedMessage", "locale": "en-US", "message": str}
BAD_KEY = error(400, "INVALID_ARGUMENT", _INFO, _LOCALIZED)

# The table

JSON = {
    "content-type": "application/json; charset=UTF-8",
    "vary": re.compile(r"(?=.*\bOrigin)(?=.*X-Origin)(?=.*Referer).*"),
    # There is no request id.
    "x-request-id": None,
    "request-id": None,
    "retry-after": None,
}
SERVED = {**JSON, "server": "scaffolding on HTTPServer2", "server-timing": re.compile(r"gfet4t7; dur=\d+")}
STARTED = {
    "content-type": "text/plain; charset=utf-8",
    "server": "UploadServer",
    "x-goog-upload-status": "active",
    "x-goog-upload-url": re.compile(r"https?://.+/upload/v1(beta)?/files\?upload_id=.+&upload_protocol=resumable"),
    "x-goog-upload-control-url": re.compile(r"https?://.+[?&]upload_id=.+"),
    "x-goog-upload-chunk-granularity": "8388608",
}
UPLOADED = {**JSON, "server": "UploadServer", "x-goog-upload-status": "final"}


def _state_of(value: Any, answer: Answer) -> str:
    if answer.status >= 400:
        return "bad key" if "API_KEY_INVALID" in answer.body.decode() else ""
    if "/upload/" in answer.url:
        if "upload_id" not in answer.url:
            return "start"
        return answer.headers.get("x-goog-upload-status", "") if value is None else "file"
    known = value if isinstance(value, dict) else {}
    if "metadata" not in known:
        return ""
    source = "file" if "inputConfig" in known["metadata"] else "inline"
    of = " of embeddings" if known["metadata"].get("@type") == TYPE + EMBED else ""
    return f"{known['metadata'].get('state', '')} {source}{of}".removeprefix("BATCH_STATE_")


def _answer(call: str, body: Shape, state: str = "") -> Fact:
    return Fact(call, body, state, 200, INDENTED_NEWLINE, SERVED)


def _error(call: str, status: int, kind: Shape) -> Fact:
    return Fact(call, error(status, kind), "", status, INDENTED_NEWLINE, SERVED)


_CREATE = "POST /{version}/models/{model}:batchGenerateContent"
_CREATE_EMBEDDINGS = "POST /{version}/models/{model}:asyncBatchEmbedContent"
_EMBEDDINGS = (
    *(
        _answer(_CREATE_EMBEDDINGS, EMBED_BATCHES[f"PENDING {one}"], f"PENDING {one} of embeddings")
        for one in ("file", "inline")
    ),
    *(
        _answer("GET /{version}/batches/{id}", EMBED_BATCHES[f"SUCCEEDED {one}"], f"SUCCEEDED {one} of embeddings")
        for one in ("file", "inline")
    ),
    _error(_CREATE_EMBEDDINGS, 400, "INVALID_ARGUMENT"),
    _error(_CREATE_EMBEDDINGS, 404, "NOT_FOUND"),
    _answer("POST /{version}/models/{model}:embedContent", {"embedding": EMBEDDING}),
    _error("POST /{version}/models/{model}:embedContent", 400, "INVALID_ARGUMENT"),
    _error("POST /{version}/models/{model}:embedContent", 404, "NOT_FOUND"),
    _answer("POST /{version}/models/{model}:batchEmbedContents", {"embeddings": [EMBEDDING]}),
    _error("POST /{version}/models/{model}:batchEmbedContents", 400, "INVALID_ARGUMENT"),
    _error("POST /{version}/models/{model}:batchEmbedContents", 404, "NOT_FOUND"),
)

GEMINI = Table(
    "gemini",
    [
        Fact("PUT /upload/{version}/files", None, "start", headers=STARTED),
        Fact("PUT /upload/{version}/files", None, "active", headers={"x-goog-upload-status": "active"}),
        Fact("PUT /upload/{version}/files", {"file": FILE}, "file", 200, INDENTED_NEWLINE, UPLOADED),
        _answer("GET /{version}/files/{id}", FILE),
        _error("GET /{version}/files/{id}", 403, "PERMISSION_DENIED"),
        _answer("GET /{version}/files", {"files optional": [FILE], "nextPageToken optional": str}),
        _answer("DELETE /{version}/files/{id}", {}),
        # Of a result file, whose name is longer than a delete takes: googleapis/python-genai issue 1759, 2026-09.
        _error("DELETE /{version}/files/{id}", 400, "INVALID_ARGUMENT"),
        _error("DELETE /{version}/files/{id}", 403, "PERMISSION_DENIED"),
        Fact("GET /{version}/files/{id}:download", LINES),
        _answer(_CREATE, BATCHES["PENDING file"], "PENDING file"),
        _answer(_CREATE, BATCHES["PENDING inline"], "PENDING inline"),
        _error(_CREATE, 400, "INVALID_ARGUMENT"),
        # A file that is not there and one of somebody else's are the same to the service.
        _error(_CREATE, 403, "PERMISSION_DENIED"),
        _error(_CREATE, 404, "NOT_FOUND"),
        *(_answer("GET /{version}/batches/{id}", shape, state) for state, shape in BATCHES.items()),
        _error("GET /{version}/batches/{id}", 404, "NOT_FOUND"),
        _answer("GET /{version}/batches", {"operations optional": [_LISTED], "nextPageToken optional": str}),
        _answer("POST /{version}/batches/{id}:cancel", {}),
        _error("POST /{version}/batches/{id}:cancel", 404, "NOT_FOUND"),
        _answer("DELETE /{version}/batches/{id}", {}),
        _error("DELETE /{version}/batches/{id}", 404, "NOT_FOUND"),
        _answer("POST /{version}/models/{model}:generateContent", RESPONSE),
        _error("POST /{version}/models/{model}:generateContent", 400, "INVALID_ARGUMENT"),
        _error("POST /{version}/models/{model}:generateContent", 404, "NOT_FOUND"),
        *_EMBEDDINGS,
        Fact("* *", BAD_KEY, "bad key", 400, INDENTED_NEWLINE, SERVED),
    ],
    _state_of,
)
