"""
Ended batches to results in the store. Raw bytes first: they are on the disk under their final name before a line of
them is parsed.
"""

from __future__ import annotations

from collections.abc import Iterator

from batchfast.clock import iso, seconds_of
from batchfast.context import Context
from batchfast.errors import ProviderError
from batchfast.jsonl import located_lines, replacing
from batchfast.outcomes import Absent, Line, end_shard
from batchfast.records import BatchSnapshot, RemoteFile, RequestError
from batchfast.store import ShardRow

# How long after its end a batch's file may still be unreadable before it counts as gone, where the provider
# names no time until which it can be collected (seconds).
_GRACE_S = 86_400.0

# How long a shard waits that the provider's queue had no room for: at first, and at most (seconds).
_QUEUE_WAIT_S = 60.0
_LONGEST_QUEUE_WAIT_S = 1_800.0


class _Incomplete(Exception):
    """A result file has an unreadable line, or too few."""


def collect(ctx: Context, row: ShardRow, snapshot: BatchSnapshot) -> bool:
    """
    Download what an ended batch produced and enter every outcome.

    Returns:
        True if the shard has ended; False if it could not be collected yet, which changes nothing.
    """
    if _refused_for_now(ctx, row, snapshot):
        return False
    try:
        _fetch(ctx, row, snapshot)
        try:
            return end_shard(ctx, row, _lines(ctx, row, snapshot, tolerant=False), absent_of(snapshot))
        except _Incomplete as exc:
            ctx.note("warning", f"{exc}; downloading once more", row)
            _fetch(ctx, row, snapshot, again=True)
            return end_shard(ctx, row, _lines(ctx, row, snapshot, tolerant=True), absent_of(snapshot))
    except ProviderError as exc:
        return _cannot_collect(ctx, row, snapshot, exc)


def _refused_for_now(ctx: Context, row: ShardRow, snapshot: BatchSnapshot) -> bool:
    """
    A batch that failed as a whole for a passing reason, a full queue: nothing ran and nothing was billed. Its shard
    waits, longer each time, and is sent again as the same attempt.
    """
    passing = bool(snapshot.errors) and all(error.retryable for error in snapshot.errors)
    if snapshot.outcome != "failed" or not passing or snapshot.files or ctx.store.cancel_requested(ctx.run.no):
        return False
    wait_s = min(_QUEUE_WAIT_S * 2 ** (ctx.store.times_accepted(row.id) - 1), _LONGEST_QUEUE_WAIT_S)
    message = snapshot.errors[0].message
    if ctx.store.move(row.id, "running", "waiting", not_before=iso(ctx.clock.now() + wait_s), note=message):
        ctx.note("waits", f"refused for now, next try in {wait_s:.0f} s: {message}", row)
    return True


def _fetch(ctx: Context, row: ShardRow, snapshot: BatchSnapshot, *, again: bool = False) -> None:
    for file in snapshot.files:
        path = ctx.result_file(row, file.kind)
        if path.is_file() and not again:
            continue  # a file has its final name only once it is complete
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as out:
            for chunk in ctx.provider(row).download(file):
                out.write(chunk)


def _lines(ctx: Context, row: ShardRow, snapshot: BatchSnapshot, *, tolerant: bool) -> Iterator[Line]:
    """
    Decoded lines of all result files, successes first.

    Raises:
        _Incomplete: Unless `tolerant`: a line is unreadable, or a completed batch has fewer lines than requests.
    """
    provider = ctx.provider(row)
    count = unreadable = 0
    for file in sorted(snapshot.files, key=_output_first):
        for offset, data in located_lines(ctx.result_file(row, file.kind)):
            try:
                result = provider.decode(data)
            except ValueError as exc:
                if not tolerant:
                    raise _Incomplete(f"an unreadable line in the {file.kind} file ({exc})") from exc
                unreadable += 1
                continue
            count += 1
            yield Line(result, file.kind, offset, len(data))
    if snapshot.outcome == "completed" and count < row.requests and not tolerant:
        raise _Incomplete(f"{count} result lines for {row.requests} requests")
    if unreadable:
        ctx.note("warning", f"{unreadable} result lines are unreadable, also after a second download", row)


def _output_first(file: RemoteFile) -> bool:
    return file.kind != "output"


def absent_of(snapshot: BatchSnapshot) -> Absent:
    """What a request without a result line is, by how its batch ended."""
    if snapshot.outcome == "expired":
        return Absent("expired", RequestError("expired", "the batch expired before this request was done", None, True))
    if snapshot.outcome == "cancelled":
        return Absent("cancelled", RequestError("cancelled", "the batch was cancelled before this request was done"))
    if snapshot.outcome == "failed":
        unnamed = RequestError("batch_failed", "the provider failed the batch without giving a reason")
        return Absent("failed", snapshot.errors[0] if snapshot.errors else unnamed)
    message = "the provider completed the batch without a result for this request"
    return Absent("failed", RequestError("missing", message, None, True))


def _cannot_collect(ctx: Context, row: ShardRow, snapshot: BatchSnapshot, exc: ProviderError) -> bool:
    if exc.kind == "bad_key":
        ctx.hold("bad key", str(exc))
    if exc.kind != "not_found" or not _too_late(ctx, snapshot):
        ctx.note("warning", f"results could not be downloaded yet: {exc}", row)
        return False
    message = f"the provider no longer has the results of {snapshot.remote_id}: {exc}"
    ctx.note("failed", message, row)
    return end_shard(ctx, row, (), Absent("failed", RequestError("results_gone", message)))


def _too_late(ctx: Context, snapshot: BatchSnapshot) -> bool:
    """A 404 soon after the end only means that the file is not there yet."""
    if snapshot.collect_by:
        return ctx.clock.now() > seconds_of(snapshot.collect_by)
    return snapshot.ended_at is not None and ctx.clock.now() > seconds_of(snapshot.ended_at) + _GRACE_S
