"""An Anthropic batch as JSON, and its result lines."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from batchfast.fake.anthropic_body import count_output, find_problem, message_body, new_id, read_ask
from batchfast.fake.anthropic_wire import compact, error_type
from batchfast.fake.records import DAY_S, Batch, Line
from batchfast.fake.results import Wanted

ARCHIVED_AFTER_S = 29 * DAY_S

Json = dict[str, Any]


def batch_object(batch: Batch, status: str, now: float, origin: str) -> Json:
    """`status` is an argument because create and cancel answer with the state they bring about."""
    counts = {"processing": batch.total, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0}
    ended = status == "ended"
    if ended and batch.outcome is not None:
        done = batch.outcome.counts
        answered, errored = batch.reported
        counts = {
            "processing": 0,
            "succeeded": answered,
            "errored": errored,
            "canceled": done.get("cancelled", 0),
            "expired": done.get("expired", 0),
        }
    archived_at = batch.created_at + ARCHIVED_AFTER_S
    archived = now >= archived_at
    shown = ended and not archived and batch.gives_output(now)
    return {
        "id": batch.id,
        "type": "message_batch",
        "processing_status": status,
        "request_counts": counts,
        "ended_at": _time(batch.life.ended_at) if ended else None,
        "created_at": _time(batch.created_at),
        "expires_at": _time(batch.created_at + DAY_S),
        "archived_at": _time(archived_at) if archived else None,
        "cancel_initiated_at": None if batch.cancelled_at is None else _time(batch.cancelled_at),
        "results_url": f"{origin}/v1/messages/batches/{batch.id}/results" if shown else None,
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")


def id_of(line: Json) -> str:
    return str(line["custom_id"])


def result_line(wanted: Wanted, version: str) -> Line:
    if wanted.fate != "answered":
        kind = "canceled" if wanted.fate == "cancelled" else "expired"
        return Line(compact({"custom_id": wanted.custom_id, "result": {"type": kind}}), wanted.fate)
    params = wanted.line["params"]
    problem = find_problem(params, version)
    kind_of_error = None
    if wanted.error is not None:
        problem = wanted.error.status, wanted.error.message or f"Planned error {wanted.error.status}."
        kind_of_error = wanted.error.code
    if problem is not None:
        status, message = problem
        error = {"details": None, "type": kind_of_error or error_type(status), "message": message}
        result: Json = {"type": "error", "error": error, "request_id": "workerreq_" + new_id(wanted.ids)}
        line = compact({"custom_id": wanted.custom_id, "result": {"type": "errored", "error": result}})
        return Line(line, "errored")
    reply = wanted.reply(read_ask(params))
    result = {"type": "succeeded", "message": message_body(params, reply, wanted.ids, tier="batch")}
    line = compact({"custom_id": wanted.custom_id, "result": result})
    return Line(line, "succeeded", "output", reply.input_tokens, count_output(params, reply), params["model"])
