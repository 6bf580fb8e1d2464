"""Gemini's JSON: answers, errors, pages, file objects and times."""

from __future__ import annotations

import base64
import hashlib
import json
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from starlette.responses import Response

from batchfast.fake.ids import seeded
from batchfast.fake.records import File
from batchfast.fake.service import Incoming, read_chunks

GRPC = {
    400: (3, "INVALID_ARGUMENT"), 401: (16, "UNAUTHENTICATED"), 403: (7, "PERMISSION_DENIED"), 404: (5,
    "NOT_FOUND"), 409: (6, "ALREADY_EXISTS"), 413: (3, "INVALID_ARGUMENT"), 429: (8, "RESOURCE_EXHAUSTED"),
    499: (1, "CANCELLED"), 500: (13, "INTERNAL"), 503: (14, "UNAVAILABLE"), 504: (4, "DEADLINE_EXCEEDED"),
}  # fmt: skip
JSON_TYPE = "application/json; charset=UTF-8"
MAX_FILE_BYTES = 2_000_000_000
_ALT_SVC = 'h3=":443"; ma=2592000,h3-29=":443"; ma=2592000'

Json = dict[str, Any]


# Files, as JSON


def file_object(file: File, call: Incoming) -> Json:
    detail, ids = file.detail, seeded(f"times:{file.name}:{file.created_at}")
    created = f"{datetime.fromtimestamp(file.created_at, UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
    made: Json = {"name": f"files/{detail['id']}"}
    if detail["display_name"] is not None:
        made["displayName"] = detail["display_name"]
    made |= {
        "mimeType": detail["mime_type"],
        "sizeBytes": str(file.size),
        "createTime": created,
        "updateTime": created,
        "expirationTime": nanos(file.expires_at or 0.0, ids),
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


def sha256_of(path: Path) -> str:
    """Base64 of the hexadecimal digest: that is what the service gives, not base64 of the bytes."""
    digest = hashlib.sha256()
    for chunk in read_chunks(path):
        digest.update(chunk)
    return base64.b64encode(digest.hexdigest().encode()).decode()


def compact(body: Json) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def indented(body: Json) -> str:
    return json.dumps(body, indent=2, ensure_ascii=False) + "\n"


def common_headers() -> dict[str, str]:
    """The headers of every answer but those to uploads. None of them tells one call from another."""
    return {
        "vary": "Origin, Referer, X-Origin",
        "server-timing": "gfet4t7; dur=12",
        "x-xss-protection": "0",
        "x-frame-options": "SAMEORIGIN",
        "x-content-type-options": "nosniff",
        "alt-svc": _ALT_SVC,
        "server": "scaffolding on HTTPServer2",
    }


def json_response(body: Json, status: int = 200) -> Response:
    return Response(indented(body), status, common_headers(), media_type=JSON_TYPE)


def error_response(
    status: int, message: str, *, kind: str | None = None, details: list[Json] | None = None
) -> Response:
    default = "INVALID_ARGUMENT" if status < 500 else "INTERNAL"
    error: Json = {"code": status, "message": message, "status": kind or GRPC.get(status, (0, default))[1]}
    if details:
        error["details"] = details
    return json_response({"error": error}, status)


def upload_response(upload_id: str, status: str, *, answer: Response | None = None) -> Response:
    """
    What the upload server says, which is another one than that of the API.

    Args:
        status: active, final or cancelled. The SDK takes an answer without it for a lost one and sends the piece again.
        answer: Its status and body; None is an empty 200.
    """
    made = Response(b"", media_type="text/plain")
    if answer is not None:
        made = Response(answer.body, answer.status_code, media_type=JSON_TYPE)
        made.headers["vary"] = "Origin, X-Origin, Referer"
    made.headers["x-goog-upload-status"] = status
    if upload_id:
        made.headers["x-guploader-uploadid"] = upload_id
    made.headers["alt-svc"] = _ALT_SVC
    made.headers["server"] = "UploadServer"
    return made


def too_large(size: int) -> str:
    return f"File is too large: {size} bytes, the limit is {MAX_FILE_BYTES}."


def no_batch(call: Incoming) -> Response:
    return error_response(404, f"Batch not found: batches/{call.path['id']}")


def no_file(name: str) -> Response:
    # The service does not tell a file that is not there from one of somebody else.
    return error_response(403, f"You do not have permission to access the File {name} or it may not exist.")


def no_model(call: Incoming, method: str) -> Response:
    version, model = call.path["version"], call.path["model"]
    message = f"models/{model} is not found for API version {version}, or is not supported for {method}."
    return error_response(404, message)


def page_of(call: Incoming, default: int, *, most: int) -> tuple[int, int] | None:
    """Size and start of the page a list is asked for; None if that is no page. A size of zero is the default."""
    size = call.whole("pageSize", default, least=0, most=most)
    token = call.query.get("pageToken") or "0"
    if size is None or not token.isdecimal() or len(token) > 12:
        return None
    return size or default, int(token)


def page_body(name: str, items: list[Json], end: int, count: int) -> Json:
    body: Json = {name: items} if items else {}
    if end < count:
        body["nextPageToken"] = str(end)
    return body


def nanos(seconds: float, source: random.Random) -> str:
    """Nine digits of a second; a float holds six of them, the last three are made up."""
    micros = f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S.%f}"
    return f"{micros}{source.randint(1, 999):03}Z"
