"""OpenAI's JSON: answers, errors, pages, file objects and ids."""

from __future__ import annotations

import json
import random
import secrets
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from starlette.responses import Response

from batchfast.fake.records import File
from batchfast.fake.service import Incoming
from batchfast.fake.shapes import WrongType, as_whole

_Item = TypeVar("_Item")

BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

Json = dict[str, Any]


class Rejected(Exception):
    """A request body the service would not take: status, and the fields of the error."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = {
            "error": {"message": message, "type": kind, "param": param, "code": code},
        }


# What an answer to a call without a good key cannot name.
_OWNER = {"openai-organization": "org-fake", "openai-project": "proj_fake"}


def common_headers(*, owner: bool = True) -> dict[str, str]:
    """The headers of every answer; without `owner` those of one to a stranger."""
    return {
        "openai-version": "2020-10-01",
        **(_OWNER if owner else {}),
        "openai-processing-ms": "12",
        "x-request-id": f"req_{secrets.token_hex(16)}",
        "x-envoy-upstream-service-time": "15",
        "x-openai-proxy-wasm": "v0.1",
        "x-content-type-options": "nosniff",
        "strict-transport-security": "max-age=31536000; includeSubDomains; preload",
        "cf-cache-status": "DYNAMIC",
        "cf-ray": f"{secrets.token_hex(8)}-CDG",
        "alt-svc": 'h3=":443"; ma=86400',
        "server": "cloudflare",
    }


def json_text(text: str, status: int = 200) -> Response:
    return Response(text, status, headers=common_headers(owner=status != 401), media_type="application/json")


def indented(body: Json, status: int = 200, *, final_newline: str = "") -> Response:
    return json_text(json.dumps(body, indent=2, ensure_ascii=False) + final_newline, status)


def spaced(line: Json) -> bytes:
    """Result files have Python's separators, unlike the API's own JSON."""
    return json.dumps(line).encode()


def error_response(
    status: int,
    message: str,
    *,
    kind: str = "invalid_request_error",
    code: str | None = None,
    param: str | None = None,
) -> Response:
    return indented({"error": {"message": message, "type": kind, "param": param, "code": code}}, status)


def error_type(status: int, code: str | None) -> str:
    """The `type` of an error of this status."""
    if status == 429:
        return "insufficient_quota" if code == "insufficient_quota" else "requests"
    return "invalid_request_error" if status < 500 else "server_error"


def bad_value(name: str, value: object, allowed: Sequence[str]) -> Response:
    listed = ", ".join(f"'{one}'" for one in allowed)
    message = f"Invalid value: '{value}'. Supported values are: {listed}."
    return error_response(400, message, code="invalid_value", param=name)


def wrong_metadata(metadata: object) -> str | None:
    if metadata is None:
        return None
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        return "Invalid 'metadata': expected an object with string values."
    if len(metadata) > 16:
        return f"Invalid 'metadata': too many properties. Expected at most 16, but got {len(metadata)} instead."
    if any(len(key) > 64 or len(value) > 512 for key, value in metadata.items()):
        return "Invalid 'metadata': keys have at most 64 characters and values at most 512."
    return None


def no_batch(batch_id: str) -> Response:
    return error_response(404, f"No batch found with id '{batch_id}'.")


def no_file(file_id: str) -> Response:
    return file_error(404, f"No such File object: {file_id}", "id")


def file_error(status: int, message: str, param: str | None) -> Response:
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": None}
    return indented({"error": error, "detail": {"message": message, "code": None}}, status, final_newline="\n")


def file_object(file: File) -> Json:
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


def file_json(file: File) -> Response:
    return indented(file_object(file), final_newline="\n")


def expiry_s(given: Json, where: str, *, strings: bool = False) -> int | None:
    """
    Seconds a file is kept, from `{"anchor": "created_at", "seconds": ...}`; None where nothing is given.

    Raises:
        WrongType: Another anchor, or seconds that are missing or outside an hour to 30 days.
    """
    if not given:
        return None
    if given.get("anchor") != "created_at":
        raise WrongType(f"{where}.anchor", "'created_at'")
    seconds = as_whole(given.get("seconds"), f"{where}.seconds", least=3600, most=2_592_000, strings=strings)
    if seconds is None:
        raise WrongType(f"{where}.seconds", "an integer")
    return seconds


def wrong_type(exc: WrongType) -> str:
    return f"Invalid type for '{exc.where}': expected {exc.expected}."


def page_response(
    call: Incoming,
    items: list[_Item],
    limit: int | None,
    id_of: Callable[[_Item], str],
    as_json: Callable[[_Item], Json],
    *,
    files: bool = False,
) -> Response:
    """One page of a list: what comes after the item with the id `after`. Lists of files are written as files are."""
    ids = [id_of(one) for one in items]
    after = call.query.get("after")
    if limit is None:
        return _bad_query(call, "limit", files=files)
    if after is not None and after not in ids:
        return _bad_query(call, "after", files=files)
    start = 0 if after is None else ids.index(after) + 1
    page = [as_json(one) for one in items[start : start + limit]]
    body = {
        "object": "list",
        "data": page,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
        "has_more": start + limit < len(items),
    }
    return indented(body, final_newline="\n" if files else "")


def _bad_query(call: Incoming, name: str, *, files: bool) -> Response:
    message = f"Invalid '{name}': {call.query.get(name)!r}."
    if files:
        return file_error(400, message, name)
    return error_response(400, message, code="invalid_value", param=name)


def timed_hex(source: random.Random, when: float) -> str:
    """The 32 hex digits of batch ids: the seconds first, the rest random but for a fixed piece."""
    return f"{int(when):08x}{source.getrandbits(16):04x}8190{source.getrandbits(64):016x}"


def uuid(source: random.Random) -> str:
    digits = f"{source.getrandbits(128):032x}"
    return "-".join((digits[:8], digits[8:12], "4" + digits[13:16], "8" + digits[17:20], digits[20:]))


def masked(key: str) -> str:
    return key[:4] + "*" * max(0, len(key) - 8) + key[-4:] if len(key) > 8 else "*" * len(key)
