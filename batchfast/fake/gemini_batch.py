"""A Gemini batch from its input to its result lines, and the operation in between."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from batchfast.fake import gemini_embeddings
from batchfast.fake.gemini_body import camel_case, content_body, find_problem, find_unknown, read_asks, written_tokens
from batchfast.fake.gemini_inline import stored
from batchfast.fake.gemini_wire import GRPC, compact, nanos
from batchfast.fake.ids import seeded
from batchfast.fake.records import Batch, Line
from batchfast.fake.results import Wanted
from batchfast.fake.shapes import as_object, as_objects, parse_json

Json = dict[str, Any]
_TYPE_PREFIX = "type.googleapis.com/google.ai.generativelanguage.v1main."


def batch_state(batch: Batch, now: float) -> str:
    """
    The state without its prefix. One that is being cancelled shows nothing of it, and neither does one that writes its
    results; cancelled after its start, it succeeds with an error in place of each answer it had not got to.
    """
    if batch.ended(now):
        end = "completed" if _gives_results(batch) else batch.life.end
        return {"completed": "SUCCEEDED", "failed": "FAILED", "cancelled": "CANCELLED", "expired": "EXPIRED"}[end]
    return "RUNNING" if batch.has_started(now) else "PENDING"


def _gives_results(batch: Batch) -> bool:
    end = batch.life.end
    return end == "completed" or (end == "cancelled" and batch.has_started(batch.life.ended_at))


def operation(batch: Batch, state: str, output: Json | None = None) -> Json:
    """
    A batch as create, get and list give it.

    Args:
        state: Without its prefix. An argument because create answers with the state it brings about.
        output: What came out, if it can be had by now.
    """
    over = state not in ("PENDING", "RUNNING")
    ids = seeded(f"times:{batch.id}")
    created, ended, updated = (nanos(at, ids) for at in (batch.created_at, batch.life.ended_at, batch.life.ended_at))
    kind = _TYPE_PREFIX + ("EmbedContentBatch" if _embeds(batch) else "GenerateContentBatch")
    metadata: Json = {"@type": kind, "model": batch.detail["model"]}
    if batch.detail["display_name"]:
        metadata["displayName"] = batch.detail["display_name"]
    if "file" in batch.detail:
        metadata["inputConfig"] = {"fileName": batch.detail["file"]}
    if output is not None:
        metadata["output"] = output
    metadata["createTime"] = created
    if over:
        metadata["endTime"] = ended
    metadata["updateTime"] = updated if over else created
    metadata |= {"batchStats": _stats(batch), "state": f"BATCH_STATE_{state}", "name": batch.id}
    made: Json = {"name": batch.id, "metadata": metadata}
    if over:
        made["done"] = True
    if output is not None:
        made["response"] = {"@type": f"{kind}Output", **output}
    elif over and state != "SUCCEEDED":
        made["error"] = _operation_error(batch, state)
    return made


def output_of(batch: Batch, items: list[str] | None = None) -> Json:
    """
    Where the results are, or the results themselves if the requests came inline.

    Args:
        items: What stands for those; None leaves them out, as lists do.
    """
    if "file" in batch.detail:
        return {"responsesFile": f"files/{results_id(batch)}"} if results_file(batch) else {}
    member = "inlinedEmbedContentResponses" if _embeds(batch) else "inlinedResponses"
    return {} if items is None else {member: {"inlinedResponses": items}}


def results_file(batch: Batch) -> str | None:
    """Where the results lie in the state's folder; None if there are none."""
    return None if batch.outcome is None else batch.outcome.files.get("output")


def results_id(batch: Batch) -> str:
    return f"batch-{batch.id.removeprefix('batches/')}"


def _stats(batch: Batch) -> Json:
    done, failed = 0, 0
    if batch.outcome is not None and _gives_results(batch):
        done, failed = batch.reported
        failed += batch.outcome.counts.get("cancelled", 0)
    stats = {
        "requestCount": batch.total,
        "pendingRequestCount": batch.total - done - failed,
        "successfulRequestCount": done,
        "failedRequestCount": failed,
    }
    return {name: str(count) for name, count in stats.items() if count}


def _operation_error(batch: Batch, state: str) -> Json:
    if state == "FAILED":
        given = batch.detail["errors"][0]["message"]
        return {"code": 3, "message": given or "The batch could not be processed."}
    if state == "EXPIRED":
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
    if not _gives_results(batch):
        return Line(b"", batch.life.end, copies=0)
    line = camel_case(wanted.line)
    inline = "file" not in batch.detail
    encoded = stored if inline else compact
    echo = {"metadata": wanted.line["metadata"]} if "metadata" in wanted.line else {}
    if not inline:
        echo = {"key": wanted.line["key"]} if "key" in wanted.line else {}
    if wanted.fate != "answered":
        return Line(encoded({"error": {"code": GRPC[499][0]}, **echo}), wanted.fate)
    request = line.get("request")
    problem = find_unknown(line, ("request", "metadata" if inline else "key"), "the line")
    model = batch.detail["model"].removeprefix("models/")
    if problem is None and not isinstance(request, dict):
        problem = "The request is missing."
    elif problem is None:
        problem = gemini_embeddings.find_problem(request, model) if _embeds(batch) else find_problem(request)
    error = {"code": 3, "message": problem}
    if wanted.error is not None:
        fault = wanted.error
        problem = fault.message or f"Planned error {fault.status}."
        error = {"code": GRPC.get(fault.status, (13, ""))[0], "message": problem}
    if problem is not None:
        return Line(encoded({"error": error, **echo}), "errored")
    assert isinstance(request, dict)
    if _embeds(batch):
        vector, read = gemini_embeddings.embedding(request, model)
        body, written = {"tokenCount": str(read), "embedding": vector}, 0
    else:
        replies = [wanted.reply(ask) for ask in read_asks(request, model)]
        body = content_body(request, replies, model, wanted.ids)
        read, written = replies[0].input_tokens, written_tokens(body)
    if not inline:
        body = _shuffled(body, wanted.ids)  # in files the order of the keys differs from line to line
    return Line(encoded({"response": body, **echo}), "succeeded", "output", read, written, model)


def _embeds(batch: Batch) -> bool:
    return bool(batch.detail.get("embeds"))


def _shuffled(value: Any, source: random.Random) -> Any:
    """The same JSON with the keys of its objects in another order."""
    if isinstance(value, list):
        return [_shuffled(one, source) for one in value]
    if not isinstance(value, dict):
        return value
    return {name: _shuffled(value[name], source) for name in source.sample(list(value), len(value))}
