"""Anthropic's message batches, their results, the endpoint whose requests they hold, and files."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

from tests.fidelity.facts import COMPACT, Answer, Fact, Lines, Table
from tests.fidelity.shapes import Map, Shape, Since, Where

BATCH_ID = re.compile("msgbatch_01[A-Za-z0-9]{22}")
MESSAGE_ID = re.compile("msg_01[A-Za-z0-9]{22}")
REQUEST_ID = re.compile("req_01[A-Za-z0-9]{22}")
WORKER_REQUEST_ID = re.compile("workerreq_01[A-Za-z0-9]{22}")
# Microseconds, and never a Z.
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00")
RESULTS_URL = re.compile(r"https?://.+/v1/messages/batches/msgbatch_\w+/results")

# Batches

WAITING = {"processing": int, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0}
DONE = {"processing": 0, "succeeded": int, "errored": int, "canceled": int, "expired": int}


def batch(status: str, counts: Shape, **known: Shape) -> Shape:
    """A batch in which everything is null but what is known in its state."""
    shape = {
        "id": BATCH_ID,
        "type": "message_batch",
        "processing_status": status,
        "request_counts": counts,
        "ended_at": known.get("ended_at"),
        "created_at": TIME,
        "expires_at": TIME,
        "archived_at": known.get("archived_at"),
        "cancel_initiated_at": known.get("cancel_initiated_at"),
        "results_url": known.get("results_url"),
    }
    return Where(shape, _RULES)


def _days(batch: Any, name: str) -> float | None:
    """How many days after the batch was made."""
    if batch[name] is None:
        return None
    return (datetime.fromisoformat(batch[name]) - datetime.fromisoformat(batch["created_at"])) / timedelta(days=1)


_RULES = {
    "it expires after a day": lambda one: _days(one, "expires_at") == 1,
    "it is archived after 29 days": lambda one: _days(one, "archived_at") in (None, 29),
    "its results are its own": lambda one: one["results_url"] is None or f"/{one['id']}/" in one["results_url"],
    "it holds requests": lambda one: sum(one["request_counts"].values()) > 0,
}


BATCHES: dict[str, Shape] = {
    # All requests are being processed until the whole batch has ended, also while it is being canceled.
    "in_progress": batch("in_progress", WAITING),
    "canceling": batch("canceling", WAITING, cancel_initiated_at=TIME),
    "ended": batch("ended", DONE, ended_at=TIME, cancel_initiated_at=(TIME, None), results_url=RESULTS_URL),
    "archived": batch("ended", DONE, ended_at=TIME, cancel_initiated_at=(TIME, None), archived_at=TIME),
}
LIST = {
    "data": [tuple(BATCHES.values())],
    "has_more": bool,
    "first_id": (BATCH_ID, None),
    "last_id": (BATCH_ID, None),
}
DELETED = {"id": BATCH_ID, "type": "message_batch_deleted"}


def error(kind: Shape) -> Shape:
    inner = {"type": kind, "message": str, "details optional": Map(object)}
    return {"type": "error", "error": inner, "request_id since 2026": REQUEST_ID}


# Messages

BLOCK = (
    {"type": "text", "text": str},
    {"type": "tool_use", "id": re.compile("toolu_01[A-Za-z0-9]{22}"), "name": str, "input": Map(object),
     "caller optional": {"type": str}},
    {"type": "thinking", "thinking": str, "signature": str},
)  # fmt: skip
STOP_DETAILS = (None, {"type": "refusal", "category": (str, None), "explanation": (str, None)})


def message(tier: str) -> Shape:
    """A message, in the order of its year."""
    usage = {
        "input_tokens": int,
        "cache_creation_input_tokens": int,
        "cache_read_input_tokens": int,
        "cache_creation since 2026": {"ephemeral_5m_input_tokens": int, "ephemeral_1h_input_tokens": int},
        "output_tokens": int,
        # Only of models that can think.
        "output_tokens_details since 2026 optional": {"thinking_tokens": int},
        "service_tier since 2026": tier,
        "inference_geo since 2026": re.compile("not_available|global|us"),
    }
    head = {"id": MESSAGE_ID, "type": "message", "role": "assistant"}
    tail = {
        "content": [BLOCK],
        "container since 2026 optional": None,
        "stop_reason": str,
        "stop_sequence": (str, None),
        "stop_details since 2026": STOP_DETAILS,
        "usage": usage,
        "diagnostics since 2026 optional": None,
    }
    return Since("2026", {"model": str, **head, **tail}, {**head, "model": str, **tail})


# Result lines


def result(shape: Shape) -> Shape:
    return {"custom_id": str, "result": shape}


RESULTS = Lines(
    {
        "succeeded": result({"type": "succeeded", "message": message("batch")}),
        "errored": result(
            {
                "type": "errored",
                "error": {
                    "type": "error",
                    "error": {"details": (None, {"error_visibility": str}), "type": str, "message": str},
                    # Null where the request was refused before any worker had it.
                    "request_id": (WORKER_REQUEST_ID, None),
                },
            }
        ),
        "canceled": result({"type": "canceled"}),
        "expired": result({"type": "expired"}),
    },
    lambda line: str(line.get("result", {}).get("type")),
    COMPACT,
    Since("2026", "\n", ""),
)

# Files: read in the SDK's types, not in recorded traffic. One published answer of 2026-08 gives the order of a file's
# fields and the form of its time; `expires_at` came after it.

FILE_ID = re.compile("file_01[A-Za-z0-9]{22}")
FILE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
FILE = Where(
    {
        "type": "file",
        "id": FILE_ID,
        "size_bytes": int,
        "created_at": FILE_TIME,
        "filename": str,
        "mime_type": str,
        "downloadable": bool,
        "expires_at": (FILE_TIME, None),
    },
    {"it is kept for an hour to ninety days": lambda one: 1 / 24 <= (_days(one, "expires_at") or 1) <= 90},
)
FILES = {"data": [FILE], "next_page": (re.compile("page_.+"), None)}

# The table

JSON = {
    "content-type": "application/json",
    "request-id": REQUEST_ID,
    "anthropic-organization-id": Since("2025-04", str, (str, None)),
    "anthropic-ratelimit-*": None,
    "retry-after": None,
}
FAILED = {**JSON, "x-should-retry": "false"}
# Whose key it is remains unknown.
REFUSED = {name: shape for name, shape in FAILED.items() if name != "anthropic-organization-id"}
DOWNLOAD = {
    **JSON,
    # For long there was no content type at all.
    "content-type": Since("2026-08", "application/x-jsonl", (str, None)),
    "content-disposition": Since(
        "2025-03",
        re.compile(r"attachment; filename\*=utf-8''msgbatch_01[A-Za-z0-9]{22}_results\.jsonl"),
        re.compile(r'attachment; filename="msgbatch_01[A-Za-z0-9]{22}_results\.jsonl"'),
    ),
}


def _state_of(value: Any, answer: Answer) -> str:
    if answer.status >= 400:
        return "bad key" if answer.status == 401 else ""
    known = value if isinstance(value, dict) else {}
    return "archived" if known.get("archived_at") else str(known.get("processing_status", ""))


def _answer(call: str, body: Shape, state: str = "", **headers: Shape) -> Fact:
    return Fact(call, body, state, layout=COMPACT, headers=JSON | headers)


def _error(call: str, status: int, kind: str) -> Fact:
    return Fact(call, error(kind), "", status, COMPACT, FAILED)


def _file_error(call: str, status: int, kind: str, code: str) -> Fact:
    """An error whose cause has a name."""
    inner = {"type": kind, "message": str, "details": {"error_code": code}}
    return Fact(call, {"type": "error", "error": inner, "request_id": REQUEST_ID}, status=status)


def _file_answer(call: str, body: Shape) -> Fact:
    return Fact(call, body, headers={"content-type": "application/json", "request-id": REQUEST_ID})


_ONE = "/v1/messages/batches/{id}"
_FILE = "/v1/files/{id}"

ANTHROPIC = Table(
    "anthropic",
    [
        _answer("POST /v1/messages/batches", BATCHES["in_progress"], "in_progress"),
        _error("POST /v1/messages/batches", 400, "invalid_request_error"),
        # Only who looks at a batch that is still running is told when to look again.
        _answer(f"GET {_ONE}", BATCHES["in_progress"], "in_progress", **{"retry-after": "10"}),
        _answer(f"GET {_ONE}", BATCHES["canceling"], "canceling", **{"retry-after": (None, "10")}),
        _answer(f"GET {_ONE}", BATCHES["ended"], "ended"),
        _answer(f"GET {_ONE}", BATCHES["archived"], "archived"),
        _error(f"GET {_ONE}", 404, "not_found_error"),
        _answer("GET /v1/messages/batches", LIST),
        _error("GET /v1/messages/batches", 400, "invalid_request_error"),
        _answer(f"POST {_ONE}/cancel", BATCHES["canceling"], "canceling"),
        _error(f"POST {_ONE}/cancel", 404, "not_found_error"),
        _answer(f"DELETE {_ONE}", DELETED),
        _error(f"DELETE {_ONE}", 404, "not_found_error"),
        Fact(f"GET {_ONE}/results", RESULTS, headers=DOWNLOAD),
        _error(f"GET {_ONE}/results", 404, "not_found_error"),
        _answer("POST /v1/messages", message("standard")),
        _error("POST /v1/messages", 400, "invalid_request_error"),
        _error("POST /v1/messages", 404, "not_found_error"),
        _file_answer("POST /v1/files", FILE),
        _error("POST /v1/files", 400, "invalid_request_error"),
        _file_answer("GET /v1/files", FILES),
        _error("GET /v1/files", 400, "invalid_request_error"),
        _file_answer(f"GET {_FILE}", FILE),
        _error(f"GET {_FILE}", 404, "not_found_error"),
        _file_answer(f"DELETE {_FILE}", {"id": FILE_ID, "type": "file_deleted"}),
        _error(f"DELETE {_FILE}", 404, "not_found_error"),
        _file_error(f"GET {_FILE}/content", 400, "invalid_request_error", "file_not_downloadable"),
        _file_error(f"GET {_FILE}/content", 404, "not_found_error", "file_expired"),
        Fact("* *", error("authentication_error"), "bad key", 401, COMPACT, REFUSED),
    ],
    _state_of,
)
