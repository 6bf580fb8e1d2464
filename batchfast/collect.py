"""
Ended batches to results in the store. Raw bytes first: they are on the disk under their final name before a line of
them is parsed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from batchfast.admission import refused_by_queue
from batchfast.answers import Answers, answers_to_file
from batchfast.clock import seconds_of
from batchfast.context import Context
from batchfast.errors import ProviderError
from batchfast.handover import handover
from batchfast.jsonl import located_lines, replacing
from batchfast.meter import BYTES
from batchfast.outcomes import Absent, Incomplete, end_shard, result_files, split
from batchfast.records import BatchSnapshot, RemoteFile, RequestError
from batchfast.store import ShardRow
from batchfast.workers import looking_ahead, workers

# What a request of a completed batch is that has no result line.
MISSING = Absent(
    "failed",
    RequestError("missing", "the provider completed the batch without a result for this request", None, True),
)

# How long after its end a batch's file may still be unreadable before it counts as gone, where the provider
# names no time until which it can be collected (seconds).
_GRACE_S = 86_400.0

# How long a batch that has ended may take to name its output (seconds).
_LATE_S = 600.0

# With these a batch fails before any of it ran: there was no room for it.
_QUEUE_WORDS = frozenset({"token_limit_exceeded", "rate_limit_exceeded"})

_NAMED_LIMIT = re.compile(r"limit:\s*([\d,]+)\s+enqueued\s+tokens", re.IGNORECASE)

# Shards whose files are read ahead of the one that is entered (count).
_AHEAD = 4

# No text has more tokens than this makes of its file; most have half as many (bytes).
_LEAST_BYTES_PER_TOKEN = 2.0


class _Fetched(NamedTuple):
    """A shard whose result files are on the disk: what a request is that has no line, and whether all must have one."""

    row: ShardRow
    snapshot: BatchSnapshot
    absent: Absent
    strict: bool
    complete: bool


class _Helpers(NamedTuple):
    """Who reads result files, and where they leave what they found."""

    pool: Executor
    folder: Path


def collect(ctx: Context, ended: Sequence[tuple[ShardRow, BatchSnapshot]]) -> Iterator[tuple[ShardRow, float | None]]:
    """
    Download what ended batches produced and enter every outcome. Where that is much, files are read side by side.

    Yields:
        Each shard with None once it has ended or waits to be sent again; else with how long the provider asked to wait
        before the next try (seconds), and nothing has changed.
    """
    requests = sum(row.requests for row, _ in ended)
    with (
        handover(ctx.home.run(ctx.run.id)) as folder,
        workers(ctx.executor, "read answers", requests, len(ended)) as pool,
        ctx.meter.step("collecting", "requests", requests) as step,
    ):
        helpers = _Helpers(pool, folder) if pool is not None and folder is not None else None
        begun = ((row, _begin(ctx, row, snapshot, helpers)) for row, snapshot in ended)
        for row, finish in looking_ahead(begun, 0 if helpers is None else _AHEAD):
            yield row, finish()
            step.advance(row.requests)


def _begin(
    ctx: Context, row: ShardRow, snapshot: BatchSnapshot, helpers: _Helpers | None
) -> Callable[[], float | None]:
    """Download, and have helpers begin to read; what is returned enters the outcomes and says what `collect` yields."""
    fetched = _fetched(ctx, row, snapshot)
    if isinstance(fetched, _Fetched):
        return partial(_enter, ctx, fetched, _begin_reading(ctx, row, helpers))
    return lambda: fetched


def _fetched(ctx: Context, row: ShardRow, snapshot: BatchSnapshot) -> _Fetched | float | None:
    """What an ended batch produced, on the disk; otherwise as `collect`."""
    if _refused_for_now(ctx, row, snapshot) or _expired_empty(ctx, row, snapshot):
        return None
    if snapshot.late and not _past(ctx, snapshot.ended_at, _LATE_S):
        return 0.0
    problem = _fetch(ctx, row, snapshot)
    if problem is None:
        complete = snapshot.outcome == "completed" and bool(snapshot.files)
        return _Fetched(row, snapshot, absent_of(snapshot), strict=True, complete=complete)
    if problem.kind == "not_found" and _too_late(ctx, snapshot):
        message = f"the provider no longer has the results of {snapshot.remote_id}: {problem}"
        ctx.note("failed", message, row)
        gone = Absent("failed", RequestError("results_gone", message))
        return _Fetched(row, snapshot, gone, strict=False, complete=False)
    ctx.note("warning", f"results could not be downloaded yet: {problem}", row)
    if problem.kind == "bad_key":
        ctx.hold("bad key", str(problem), row)
    return problem.retry_after_s or 0.0


def _begin_reading(ctx: Context, row: ShardRow, helpers: _Helpers | None) -> Callable[[], Answers]:
    """Have a shard's files read, by helpers where there are some; what is returned waits for the answers."""
    files = result_files(ctx, row)
    if helpers is None:
        return partial(Answers.read, files)
    path = helpers.folder / f"{row.name}.db"
    reading = helpers.pool.submit(answers_to_file, files, str(path))
    return lambda: Answers(reading.result(), iter(()), path)


def _enter(ctx: Context, fetched: _Fetched, answers: Callable[[], Answers]) -> float | None:
    """Enter the outcomes of a shard; returns as `collect` yields."""
    row, snapshot, absent, strict, complete = fetched
    found = answers()
    try:
        end_shard(ctx, row, found, absent, strict=strict, complete=complete)
    except Incomplete as exc:
        ctx.note("warning", f"{exc}; downloading once more", row)
        problem = _fetch_again(ctx, row, snapshot)
        if problem is not None and problem.kind != "not_found":
            return problem.retry_after_s or 0.0
        end_shard(ctx, row, Answers.read(result_files(ctx, row)), absent)
    finally:
        if found.outcomes is not None:
            found.outcomes.unlink(missing_ok=True)
    return None


def give_up_cancelled(ctx: Context, row: ShardRow, remote_id: str) -> None:
    """The provider no longer knows a cancelled run's batch: what is on disk is kept, the rest ends as cancelled."""
    gone = RequestError("cancelled", f"the run was cancelled, and the provider knows no {remote_id}")
    end_shard(ctx, row, Answers.read(result_files(ctx, row)), Absent("cancelled", gone))


def _refused_for_now(ctx: Context, row: ShardRow, snapshot: BatchSnapshot) -> bool:
    """
    A batch that failed as a whole for a passing reason, a full queue: nothing ran and nothing was billed. Its shard
    waits, longer each time, and is sent again as the same attempt. Refused while nothing of ours was in the queue, it
    is too large for it, and is split.
    """
    passing = bool(snapshot.errors) and all(error.type in _QUEUE_WORDS for error in snapshot.errors)
    if snapshot.outcome != "failed" or not passing or snapshot.files or ctx.store.cancel_requested(ctx.run.no):
        return False
    message = snapshot.errors[0].message
    found = _NAMED_LIMIT.search(message)
    limit = int(found[1].replace(",", "")) if found else None
    if limit is not None:
        ctx.store.remember_queue_limit(row.provider, row.model_id, limit, ctx.now())
    if _too_large_for_the_queue(ctx, row, limit):
        split(ctx, row, f"larger than the provider's queue: {message}")
    else:
        refused_by_queue(ctx, row, message)
    return True


def _too_large_for_the_queue(ctx: Context, row: ShardRow, limit: int | None) -> bool:
    """Refused though none of ours was in the queue; a limit that is named, and that it cannot reach, clears it."""
    if row.requests == 1 or ctx.store.had_company(row):
        return False
    return limit is None or row.size_bytes / _LEAST_BYTES_PER_TOKEN > limit


def _expired_empty(ctx: Context, row: ShardRow, snapshot: BatchSnapshot) -> bool:
    """A batch that expired and gave nothing (Gemini's): smaller ones may come through, and nothing was billed."""
    empty = snapshot.outcome == "expired" and not snapshot.files and not snapshot.late
    if not empty or row.requests == 1 or ctx.store.cancel_requested(ctx.run.no):
        return False
    split(ctx, row, f"batch {snapshot.remote_id} expired without results")
    return True


def _fetch(ctx: Context, row: ShardRow, snapshot: BatchSnapshot) -> ProviderError | None:
    """Download what is not on disk yet; the last error, where there was one. One lost file does not lose the other."""
    problem = None
    for file in snapshot.files:
        path = ctx.result_file(row, file.kind)
        if path.is_file():
            continue  # a file has its final name only once it is complete
        try:
            _download(ctx, row, file, path)
        except ProviderError as exc:
            problem = exc
    return problem


def _fetch_again(ctx: Context, row: ShardRow, snapshot: BatchSnapshot) -> ProviderError | None:
    """A second download, kept only where it has more readable lines than the first."""
    for file in snapshot.files:
        path = ctx.result_file(row, file.kind)
        second = path.with_suffix(".second")
        try:
            _download(ctx, row, file, second)
        except ProviderError as exc:
            return exc
        if _readable(ctx, row, second) > _readable(ctx, row, path):
            second.replace(path)
        else:
            second.unlink()
    return None


def _download(ctx: Context, row: ShardRow, file: RemoteFile, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as out, ctx.meter.step(f"downloading {row.name}", BYTES) as step:
        for chunk in ctx.provider(row).download(file):
            out.write(chunk)
            step.advance(len(chunk))


def _readable(ctx: Context, row: ShardRow, path: Path) -> int:
    """How many lines can be read (count)."""
    count = 0
    for _, data in located_lines(path):
        with suppress(ValueError):
            ctx.provider(row).decode(data)
            count += 1
    return count


def absent_of(snapshot: BatchSnapshot) -> Absent:
    """What a request without a result line is, by how its batch ended."""
    if snapshot.outcome == "expired":
        return Absent("expired", RequestError("expired", "the batch expired before this request was done", None, True))
    if snapshot.outcome == "cancelled":
        return Absent("cancelled", RequestError("cancelled", "the batch was cancelled before this request was done"))
    if snapshot.outcome == "failed":
        unnamed = RequestError("batch_failed", "the provider failed the batch without giving a reason")
        return Absent("failed", snapshot.errors[0] if snapshot.errors else unnamed)
    return MISSING


def _too_late(ctx: Context, snapshot: BatchSnapshot) -> bool:
    """A 404 soon after the end only means that the file is not there yet."""
    if snapshot.collect_by:
        return _past(ctx, snapshot.collect_by, 0.0)
    return _past(ctx, snapshot.ended_at, _GRACE_S)


def _past(ctx: Context, time: str | None, seconds: float) -> bool:
    return time is not None and ctx.clock.now() > seconds_of(time) + seconds
