"""An OpenAI batch from its input to its result lines, and the batch object in between."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from batchfast.fake.faults import Fault
from batchfast.fake.openai_answers import completion, count_usage, snapshot
from batchfast.fake.openai_body import read_asks
from batchfast.fake.openai_embeddings import embed
from batchfast.fake.openai_wire import Rejected, error_type, spaced, timed_hex, uuid
from batchfast.fake.records import DAY_S, Batch, Line
from batchfast.fake.results import Wanted
from batchfast.fake.shapes import parse_json

MAX_REQUESTS = 50_000
_MAX_ERRORS = 100

Json = dict[str, Any]


def batch_object(batch: Batch, status: str, now: float) -> Json:
    """`status` is an argument because create and cancel answer with the state they bring about."""
    life = batch.life
    over = status == life.end
    outcome = batch.outcome
    cancelled = batch.cancelled_at is not None
    started = status not in ("validating", "failed") and batch.has_started(now)
    writing = started and not cancelled and now >= life.writing_at  # a cancelled batch never writes
    counts, usage = {"total": 0, "completed": 0, "failed": 0}, _batch_usage(0, 0)
    if started:
        counts = {"total": batch.total, "completed": batch.answered(now), "failed": 0}
    if over and outcome is not None and started:
        counts["completed"], counts["failed"] = batch.reported
        if status == "completed":
            usage = _batch_usage(outcome.input_tokens, outcome.output_tokens)
    files = outcome.files if over and outcome is not None and batch.gives_output(now) else {}

    def at(when: float, happened: bool) -> int | None:
        return int(when) if happened else None

    # The model is known a moment before the batch starts.
    validated = started or (now > (batch.created_at + life.started_at) / 2 and status != "failed")
    known = batch.detail.get("model") if validated else None
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.detail["endpoint"],
        "model": snapshot(known) if known else None,
        "errors": {"object": "list", "data": _errors(batch)} if status == "failed" else None,
        "input_file_id": batch.detail["input_file_id"],
        "completion_window": "24h",
        "status": status,
        "output_file_id": files.get("output"),
        "error_file_id": files.get("error"),
        "created_at": int(batch.created_at),
        "in_progress_at": at(life.started_at, started),
        "expires_at": int(batch.created_at) + int(DAY_S),
        "finalizing_at": at(life.writing_at, writing),
        "completed_at": at(life.ended_at, status == "completed"),
        "failed_at": at(life.ended_at, status == "failed"),
        "expired_at": at(life.ended_at, status == "expired"),
        "cancelling_at": at(batch.cancelled_at or 0, cancelled),
        "cancelled_at": at(life.ended_at, status == "cancelled"),
        "request_counts": counts,
        "usage": usage,
        "metadata": batch.detail["metadata"],
    }


def _batch_usage(input_tokens: int, output_tokens: int) -> Json:
    return {
        "input_tokens": input_tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": input_tokens + output_tokens,
    }


def _errors(batch: Batch) -> list[Json]:
    limit = batch.detail.get("queue_tokens", 2_000_000)
    default = (
        f"Enqueued token limit reached for {batch.detail.get('model')} in organization org-fake. Limit: {limit:,}"
        " enqueued tokens. Please try again once some in_progress batches have been completed."
    )
    return [
        {
            "code": one.get("code") or "token_limit_exceeded",
            "message": one.get("message") or default,
            "param": one.get("param"),
            "line": one.get("line"),
        }
        for one in batch.detail["errors"]
    ]


def batch_error(code: str, message: str, *, param: str | None = None, line: int | None = None) -> Json:
    return {"code": code, "message": message, "param": param, "line": line}


def output_expiry(batch: Batch) -> float | None:
    seconds = batch.detail.get("output_expires_after_s")
    return None if seconds is None else batch.life.writing_at + float(seconds)


def id_of(line: Json) -> str:
    return str(line["custom_id"])


def check_input(path: Path, endpoint: str) -> tuple[int, str | None, list[Json]]:
    """Read an input file as the service does while validating: requests, their model, and what is wrong with them."""
    errors: list[Json] = []
    seen: set[str] = set()
    model: str | None = None
    total = 0
    with path.open("rb") as source:
        for number, raw in enumerate(source, 1):
            if not raw.strip():
                continue
            total += 1
            problem, line = _check_line(raw, endpoint)
            if line is not None:
                name, asked = line["custom_id"], line["body"].get("model")
                if name in seen:
                    message = f"The custom_id '{name}' for this request is a duplicate of another request."
                    problem = ("duplicate_custom_id", message, "custom_id")
                elif isinstance(asked, str) and model is not None and asked != model:
                    message = f"The model `{asked}` for this request does not match the rest of the batch ({model})."
                    problem = ("mismatched_model", message, "body.model")
                seen.add(name)
                # A model that is no name is that line's own error.
                model = model or (asked if isinstance(asked, str) else None)
            if problem is not None and len(errors) < _MAX_ERRORS:
                errors.append(batch_error(problem[0], problem[1], param=problem[2], line=number))
    if total == 0:
        errors.append(batch_error("empty_file", "The input file is empty. Please upload a file with requests."))
    if total > MAX_REQUESTS:
        errors = [batch_error("too_many_tasks", f"The batch has {total} requests, over the limit of {MAX_REQUESTS}.")]
    return total, model, errors


def _check_line(raw: bytes, endpoint: str) -> tuple[tuple[str, str, str | None] | None, Json | None]:
    """The line if it is a request, else what is wrong: code, message, parameter."""
    try:
        line = parse_json(raw.decode("utf-8"))  # a byte order mark, or UTF-16, is no JSON to the service
    except ValueError:
        return ("invalid_json_line", "This line is not parseable as valid JSON.", None), None
    if not isinstance(line, dict):
        return ("invalid_json_line", "This line is not a JSON object.", None), None
    for name, kind in (("custom_id", str), ("method", str), ("url", str), ("body", dict)):
        if not isinstance(line.get(name), kind):
            return ("missing_required_parameter", f"Missing required parameter: '{name}'.", name), None
    if line["method"] != "POST":
        return ("invalid_method", f"Invalid method '{line['method']}': expected 'POST'.", "method"), line
    if line["url"] != endpoint:
        message = f"The URL provided for this request ('{line['url']}') does not match the batch endpoint."
        return ("invalid_url", message, "url"), line
    return None, line


def result_line(wanted: Wanted, batch: Batch, *, started: bool) -> Line:
    ids = wanted.ids
    line: Json = {
        "id": "batch_req_" + timed_hex(ids, batch.life.writing_at + ids.randint(0, 1)),
        "custom_id": wanted.custom_id,
        "response": None,
        "error": None,
    }
    if wanted.fate == "expired":
        message = "This request could not be executed before the completion window expired."
        line["error"] = {"code": "batch_expired", "message": message}
        return Line(spaced(line), "expired", "error")
    if wanted.fate == "cancelled":
        line["error"] = {
            "code": "batch_cancelled",
            "message": "This request was cancelled before it was executed.",
        }
        return Line(spaced(line), "cancelled", "error", copies=int(started))
    response = line["response"] = {"status_code": 200, "request_id": uuid(ids), "body": {}}
    if wanted.error is not None and wanted.error.status == 0:
        response |= {"status_code": 0, "body": None}
        return Line(spaced(line), "errored", "error")
    try:
        if wanted.error is not None:
            raise _planned(wanted.error)
        response["body"], read, written = _answer(wanted, batch)
    except Rejected as exc:
        response |= {"status_code": exc.status, "body": exc.body}
        return Line(spaced(line), "errored", "error")
    return Line(spaced(line), "succeeded", "output", read, written, model=str(wanted.line["body"]["model"]))


def _answer(wanted: Wanted, batch: Batch) -> tuple[Json, int, int]:
    """The body of an answer, tokens read and written. Raises Rejected."""
    body, endpoint = wanted.line["body"], wanted.line["url"]
    if endpoint == "/v1/embeddings":
        return *embed(body), 0
    replies = [wanted.reply(ask) for ask in read_asks(body, endpoint)]
    return completion(body, endpoint, replies, wanted.ids, batch.life.started_at), *count_usage(body, replies)


def _planned(fault: Fault) -> Rejected:
    message = fault.message or f"Planned error {fault.status}."
    return Rejected(fault.status, message, kind=error_type(fault.status, fault.code), code=fault.code)
