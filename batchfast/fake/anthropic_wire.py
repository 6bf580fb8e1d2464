"""Anthropic's JSON: answers, errors and times."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import Response

from batchfast.fake.anthropic_body import new_id
from batchfast.fake.ids import FRESH
from batchfast.fake.service import Incoming

_TYPES = {
    400: "invalid_request_error", 401: "authentication_error", 402: "billing_error", 403: "permission_error",
    404: "not_found_error", 408: "timeout_error", 409: "conflict_error", 413: "request_too_large", 429:
    "rate_limit_error", 500: "api_error", 503: "api_error", 504: "timeout_error", 529: "overloaded_error",
}  # fmt: skip
# Statuses a client may try again.
_RETRYABLE = (408, 409, 429)

Json = dict[str, Any]


# Small JSON answers


def error_type(status: int) -> str:
    return _TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")


# What an answer to a call without a good key cannot name.
_OWNER = {
    "anthropic-organization-id": "00000000-0000-4000-8000-000000000000",
    "anthropic-workspace-id": "wrkspc_01fake",
}


def common_headers(request_id: str | None = None, *, owner: bool = True) -> dict[str, str]:
    """The headers of every answer; without `owner` those of one to a stranger."""
    return {
        "request-id": request_id or "req_" + new_id(FRESH),
        **(_OWNER if owner else {}),
        "server-timing": "x-originResponse;dur=12",
        "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
        "x-robots-tag": "none",
        "vary": "Accept-Encoding",
        "cf-cache-status": "DYNAMIC",
        "cf-ray": f"{FRESH.getrandbits(64):016x}-CDG",
        "server": "cloudflare",
    }


def compact(body: Json) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def json_response(body: Json, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(compact(body), status, headers=headers or common_headers(), media_type="application/json")


def error_response(status: int, message: str, *, kind: str | None = None, code: str | None = None) -> Response:
    """An error; `code` names its cause where the SDK has a name for it (`error_code` in its details)."""
    request_id = "req_" + new_id(FRESH)
    headers = common_headers(request_id, owner=status != 401)
    if 400 <= status < 500 and status not in _RETRYABLE:
        headers["x-should-retry"] = "false"
    error: Json = {"type": kind or error_type(status), "message": message}
    if code is not None:
        error["details"] = {"error_code": code}
    return json_response({"type": "error", "error": error, "request_id": request_id}, status, headers)


def no_batch(call: Incoming) -> Response:
    return error_response(404, f"Message Batch {call.path['id']} not found.")
