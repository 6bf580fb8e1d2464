"""OpenAI's files and batches, and the three kinds of request a batch may hold here."""

from __future__ import annotations

import re
from typing import Any

from tests.fidelity.facts import COMPACT, INDENTED, INDENTED_NEWLINE, SPACED, Answer, Fact, Layout, Lines, Table
from tests.fidelity.openai_bodies import CHAT, EMBEDDINGS, RESPONSE
from tests.fidelity.shapes import Map, Shape, Since, Where

FILE_ID = re.compile(r"file-[A-Za-z0-9]{22}([A-Za-z0-9]{2})?")
BATCH_ID = re.compile(r"batch_[0-9a-f]{12}819[01][0-9a-f]{16}")
LINE_ID = re.compile(r"batch_req_[0-9a-f]{12}819[01][0-9a-f]{16}")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
DIGITS = re.compile(r"\d+")
DAY_S = 86_400

# Errors

HTTP_ERROR = {"error": {"message": str, "type": str, "param": (str, None), "code": (str, None)}}
FILE_ERROR = {
    "error": {"message": str, "type": "invalid_request_error", "param": (str, None), "code": None},
    "detail since 2026": {"message": str, "code": None},
}
BAD_KEY = {
    "error": {"message": str, "type": "invalid_request_error", "param": None, "code": "invalid_api_key"},
}

# Files


def file(purpose: Shape, expires_at: Shape) -> Shape:
    shape = {
        "object": "file",
        "id": FILE_ID,
        "purpose": purpose,
        "filename": str,
        "bytes": int,
        "created_at": int,
        "expires_at since 2025-02": expires_at,
        "status": "processed",
        "status_details": None,
    }
    return Where(shape, {"it lives an hour to 30 days": lambda one: one.get("expires_at") is None or _lives_long(one)})


def _lives_long(one: Any) -> bool:
    return 3600 <= one["expires_at"] - one["created_at"] <= 30 * DAY_S


# In spring 2025 an upload said null, and a look at the file a second later the date.
BATCH_FILE = file("batch", Since("2025-06", int, (int, None)))
OUTPUT_FILE = file("batch_output", (int, None))
OTHER_FILE = file(re.compile("(?!batch).+"), None)


def page(item: Shape, identifier: Shape) -> Shape:
    shape = {
        "object": "list",
        "data": [item],
        "first_id": (identifier, None),
        "last_id": (identifier, None),
        "has_more": bool,
    }
    return Where(shape, {"its ids are those of its ends": lambda one: _ends(one) == (one["first_id"], one["last_id"])})


def _ends(one: Any) -> tuple[str | None, str | None]:
    return (one["data"][0]["id"], one["data"][-1]["id"]) if one["data"] else (None, None)


# Batches

NO_COUNTS = {"total": 0, "completed": 0, "failed": 0}
COUNTS = {"total": int, "completed": int, "failed": int}
COUNTS_OF_A_CUT = {"total": int, "completed": int, "failed": 0}  # what was cut off is counted nowhere


def usage(tokens: Shape) -> Shape:
    return {
        "input_tokens": tokens,
        "input_tokens_details": {"cached_tokens": tokens},
        "output_tokens": tokens,
        "output_tokens_details": {"reasoning_tokens": tokens},
        "total_tokens": tokens,
    }


def batch(status: str, *, model: Shape = str, counts: Shape = COUNTS, tokens: Shape = 0, **known: Shape) -> Shape:
    """A batch in which everything is null but what is known in its state."""
    later = (
        "in_progress_at", "expires_at", "finalizing_at", "completed_at", "failed_at", "expired_at",
        "cancelling_at", "cancelled_at",
    )  # fmt: skip
    known["expires_at"] = int
    shape = {
        "id": BATCH_ID,
        "object": "batch",
        "endpoint": str,
        "model since 2025-10-27": model,
        "errors": known.get("errors"),
        "input_file_id": FILE_ID,
        "completion_window": "24h",
        "status": status,
        "output_file_id": known.get("output_file_id"),
        "error_file_id": known.get("error_file_id"),
        "created_at": int,
        **{name: known.get(name) for name in later},
        "request_counts": counts,
        "usage since 2025-10-27": usage(tokens),
        "metadata": (Map(str), None),
    }
    return Where(shape, _RULES)


_IN_TURN = ("created_at", "in_progress_at", "finalizing_at", "completed_at", "expired_at")
_RULES = {
    "its id begins with the second it was made": lambda one: one["created_at"] - int(one["id"][6:14], 16) in (0, 1),
    "it expires a day after it was made": lambda one: one["expires_at"] == one["created_at"] + DAY_S,
    "its states come in turn": lambda one: _rises([one[name] for name in _IN_TURN if one[name] is not None]),
    "it is cancelled once it is being cancelled": lambda one: _rises(
        [one[name] for name in ("created_at", "cancelling_at", "cancelled_at") if one[name] is not None]
    ),
    "no more is done than there was to do": lambda one: (
        one["request_counts"]["completed"] + one["request_counts"]["failed"] <= one["request_counts"]["total"]
    ),
}


def _rises(times: list[int]) -> bool:
    return times == sorted(times)


BATCH_ERRORS = {"object": "list", "data": [{"code": str, "message": str, "param": (str, None), "line": (int, None)}]}
_RAN = {"in_progress_at": int, "finalizing_at": int}
_CUT = {"in_progress_at": (int, None), "cancelling_at": int}
_MAYBE_FILES = {"output_file_id": (FILE_ID, None), "error_file_id": (FILE_ID, None)}
BATCHES: dict[str, Shape] = {
    "validating": batch("validating", model=(str, None), counts=NO_COUNTS),
    "in_progress": batch("in_progress", in_progress_at=int),
    # Every request has its answer, and still there is no file.
    "finalizing": batch("finalizing", **_RAN),
    "completed": (
        batch("completed", tokens=int, completed_at=int, output_file_id=FILE_ID, error_file_id=(FILE_ID, None), **_RAN),
        # Every request failed.
        batch("completed", tokens=int, completed_at=int, output_file_id=None, error_file_id=FILE_ID, **_RAN),
    ),
    "failed": batch("failed", model=(str, None), counts=NO_COUNTS, errors=BATCH_ERRORS, failed_at=int),
    "expired": batch("expired", counts=COUNTS_OF_A_CUT, expired_at=int, **_RAN, **_MAYBE_FILES),
    "cancelling": batch("cancelling", model=(str, None), counts=COUNTS_OF_A_CUT, **_CUT),
    "cancelled": (
        # Cancelled before it started, or after; only some of the latter have files.
        batch("cancelled", model=(str, None), counts=NO_COUNTS, cancelling_at=int, cancelled_at=int,
              error_file_id=(FILE_ID, None)),
        batch("cancelled", counts=COUNTS_OF_A_CUT, in_progress_at=int, cancelling_at=int, cancelled_at=int,
              finalizing_at=(int, None), **_MAYBE_FILES),
    ),
}  # fmt: skip

# Result files


def line(response: Shape, error: Shape) -> Shape:
    return {"id": LINE_ID, "custom_id": str, "response": response, "error": error}


def answered(status_code: Shape, body: Shape) -> Shape:
    request_id = Since("2026", UUID, re.compile("[0-9a-f]{32}"))
    return line({"status_code": status_code, "request_id": request_id, "body": body}, None)


def kind_of_line(value: Any) -> str:
    if value.get("error") is not None:
        return str(value["error"].get("code"))
    body = (value.get("response") or {}).get("body", {})
    return "error" if body.get("error") else str(body.get("object"))


OUTPUT = Lines(
    {
        "chat.completion": answered(200, CHAT),
        "response": answered(200, RESPONSE),
        "list": answered(200, EMBEDDINGS),
    },
    kind_of_line, SPACED,
)  # fmt: skip
ERRORS = Lines(
    {
        # A request that was refused has no error of its own: that is inside of the response.
        "error": answered(int, HTTP_ERROR),
        "batch_expired": line(None, {"code": "batch_expired", "message": str}),
        "batch_cancelled": line(None, {"code": "batch_cancelled", "message": str}),
    },
    kind_of_line, SPACED,
)  # fmt: skip
INPUT = Lines(
    {"request": {"custom_id": str, "method": "POST", "url": str, "body": object}}, lambda _: "request", SPACED
)

# The table

JSON = {"content-type": "application/json"}
SIGNED = {
    "openai-version": "2020-10-01",
    "openai-processing-ms": DIGITS,
    "openai-organization": str,
    "x-request-id": re.compile("req_[0-9a-f]{32}"),
    # Neither is on any answer about batches and files.
    "retry-after": None,
    "x-ratelimit-*": None,
}
REFUSED = {**JSON, "www-authenticate": 'Bearer realm="OpenAI API"'}
LIVE = {name: shape for name, shape in (JSON | SIGNED).items() if shape is not None}


def download(name: str) -> dict[str, Shape]:
    disposition = re.compile(rf'attachment; filename="{name}"')
    return {**SIGNED, "content-type": "application/octet-stream", "content-disposition": disposition}


def _state_of(value: Any, answer: Answer) -> str:
    if answer.status >= 400:
        return "bad key" if answer.status == 401 else ""
    disposition = re.search(r'_(output|error)\.jsonl"$', answer.headers.get("content-disposition", ""))
    if answer.url.endswith("/content"):
        return disposition[1] if disposition else "input"
    known = value if isinstance(value, dict) else {}
    if known.get("object") == "file" and "purpose" in known:
        return str(known["purpose"]) if known["purpose"] in ("batch", "batch_output") else "other"
    return str(known.get("status")) if known.get("object") == "batch" else ""


def _answer(call: str, body: Shape, layout: Layout, state: str = "", status: int = 200) -> Fact:
    return Fact(call, body, state, status, layout, JSON | SIGNED)


OPENAI = Table(
    "openai",
    [
        _answer("POST /v1/files", BATCH_FILE, INDENTED_NEWLINE, "batch"),
        _answer("POST /v1/files", OTHER_FILE, INDENTED_NEWLINE, "other"),
        _answer("POST /v1/files", FILE_ERROR, INDENTED_NEWLINE, status=400),
        _answer("GET /v1/files", page((BATCH_FILE, OUTPUT_FILE, OTHER_FILE), FILE_ID), INDENTED_NEWLINE),
        _answer("GET /v1/files/{id}", BATCH_FILE, INDENTED_NEWLINE, "batch"),
        _answer("GET /v1/files/{id}", OUTPUT_FILE, INDENTED_NEWLINE, "batch_output"),
        _answer("GET /v1/files/{id}", OTHER_FILE, INDENTED_NEWLINE, "other"),
        _answer("GET /v1/files/{id}", FILE_ERROR, INDENTED_NEWLINE, status=404),
        _answer("DELETE /v1/files/{id}", {"object": "file", "deleted": True, "id": FILE_ID}, INDENTED_NEWLINE),
        _answer("DELETE /v1/files/{id}", FILE_ERROR, INDENTED_NEWLINE, status=404),
        Fact("GET /v1/files/{id}/content", OUTPUT, "output", headers=download(r"batch_[0-9a-f]{32}_output\.jsonl")),
        Fact("GET /v1/files/{id}/content", ERRORS, "error", headers=download(r"batch_[0-9a-f]{32}_error\.jsonl")),
        Fact("GET /v1/files/{id}/content", INPUT, "input", headers=download(".+")),
        _answer("GET /v1/files/{id}/content", FILE_ERROR, INDENTED_NEWLINE, status=404),
        _answer("POST /v1/batches", BATCHES["validating"], INDENTED, "validating"),
        Fact("POST /v1/batches", HTTP_ERROR, status=400, headers=JSON | SIGNED),
        *(_answer("GET /v1/batches/{id}", shape, INDENTED, state) for state, shape in BATCHES.items()),
        Fact("GET /v1/batches/{id}", HTTP_ERROR, status=404, headers=JSON | SIGNED),
        _answer("GET /v1/batches", page(tuple(BATCHES.values()), BATCH_ID), INDENTED),
        Fact("GET /v1/batches", HTTP_ERROR, status=400, headers=JSON | SIGNED),
        # A cancel alone answers in one line.
        _answer("POST /v1/batches/{id}/cancel", BATCHES["cancelling"], COMPACT, "cancelling"),
        Fact("POST /v1/batches/{id}/cancel", HTTP_ERROR, status=404, headers=JSON | SIGNED),
        # Of a batch that has ended; others report the status, no recording has it.
        Fact("POST /v1/batches/{id}/cancel", HTTP_ERROR, status=409, headers=JSON | SIGNED),
        Fact("POST /v1/chat/completions", CHAT, headers=LIVE),
        Fact("POST /v1/chat/completions", HTTP_ERROR, status=400, headers=JSON),
        Fact("POST /v1/chat/completions", HTTP_ERROR, status=404, headers=JSON),
        Fact("POST /v1/responses", RESPONSE, headers=LIVE),
        Fact("POST /v1/responses", HTTP_ERROR, status=400, headers=JSON),
        Fact("POST /v1/embeddings", EMBEDDINGS, headers=LIVE),
        Fact("POST /v1/embeddings", HTTP_ERROR, status=400, headers=JSON),
        Fact("* *", BAD_KEY, "bad key", 401, headers=REFUSED),
    ],
    _state_of,
)
