"""A Gemini batch from its input to its result lines, and the operation in between."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from batchfast.fake.gemini_body import camel_case, content_body, find_problem, find_unknown, read_ask
from batchfast.fake.gemini_wire import GRPC, MAX_FILE_BYTES, compact
from batchfast.fake.records import Batch, Line
from batchfast.fake.results import Wanted
from batchfast.fake.shapes import as_object, as_objects, parse_json

Json = dict[str, Any]


def stats(batch: Batch) -> Json:
    outcome = batch.outcome
    done, failed = 0, 0
    if outcome is not None and batch.life.end == "completed":
        done, failed = outcome.counts.get("succeeded", 0), outcome.counts.get("errored", 0)
    stats = {
        "requestCount": batch.total,
        "pendingRequestCount": batch.total - done - failed,
        "successfulRequestCount": done,
        "failedRequestCount": failed,
    }
    return {name: str(count) for name, count in stats.items() if count}


def operation_error(batch: Batch, state: str) -> Json:
    if state == "BATCH_STATE_FAILED":
        given = batch.detail["errors"][0]["message"]
        return {"code": 3, "message": given or "The batch could not be processed."}
    if state == "BATCH_STATE_EXPIRED":
        return {"code": 4, "message": f"Batch {batch.id} expired before it was finished."}
    return {"code": 13, "message": f"Batch {batch.id} was cancelled."}


def inlined(source: Json) -> list[Json]:
    """The requests a create call brings along. Raises WrongType."""
    where = "batch.input_config.requests.requests"
    requests = as_objects(as_object(source.get("requests"), "batch.input_config.requests").get("requests"), where)
    for index, one in enumerate(requests):
        as_object(one.get("request"), f"{where}[{index}].request")
        as_object(one.get("metadata"), f"{where}[{index}].metadata")
    return requests


def too_large(size: int) -> str:
    return f"File is too large: {size} bytes, the limit is {MAX_FILE_BYTES}."


def check_input(path: Path) -> tuple[int, str | None]:
    """How many requests a file holds, and why the whole batch fails, if it does."""
    total = 0
    with path.open("rb") as source:
        for number, raw in enumerate(source, 1):
            if not raw.strip():
                continue
            total += 1
            try:
                parsed = parse_json(raw)
            except ValueError:
                return total, f"Failed to parse line {number} of the input file as JSON."
            if not isinstance(parsed, dict):
                return total, f"Line {number} of the input file is not a JSON object."
    return total, None if total else "The input file holds no requests."


def request_id(line: Json) -> str:
    """The `key` of a line, in a file or as metadata of a request sent inline; "" if it has none."""
    metadata = line.get("metadata")
    return str(line.get("key") or (metadata.get("key") if isinstance(metadata, dict) else None) or "")


def result_line(wanted: Wanted, batch: Batch) -> Line:
    if batch.life.end != "completed":
        return Line(b"", wanted.fate, copies=0)  # nothing comes out of a batch that did not finish
    line = camel_case(wanted.line)
    inline = "file" not in batch.detail
    echo = {"metadata": wanted.line["metadata"]} if "metadata" in wanted.line else {}
    if not inline:
        echo = {"key": wanted.line["key"]} if "key" in wanted.line else {}
    request = line.get("request")
    problem = find_unknown(line, ("request", "metadata" if inline else "key"), "the line")
    if problem is None:
        problem = find_problem(request) if isinstance(request, dict) else "The request is missing."
    error = {"code": 3, "message": problem}
    if wanted.error is not None:
        fault = wanted.error
        problem = fault.message or f"Planned error {fault.status}."
        error = {"code": GRPC.get(fault.status, (13, ""))[0], "message": problem}
    if problem is not None:
        return Line(compact({"error": error, **echo}), "errored")
    assert isinstance(request, dict)
    model = batch.detail["model"].removeprefix("models/")
    reply = wanted.reply(read_ask(request, model))
    body = content_body(request, reply, model, wanted.ids)
    if not inline:
        # In files the order of the keys differs from line to line.
        names = wanted.ids.sample(list(body), len(body))
        body = {name: body[name] for name in names}
    usage = body["usageMetadata"]
    written = usage["candidatesTokenCount"] + usage.get("thoughtsTokenCount", 0)
    return Line(compact({"response": body, **echo}), "succeeded", "output", reply.input_tokens, written)
