"""Batches to fresh snapshots in the store. A poll that fails changes nothing but the count of failures."""

from __future__ import annotations

import dataclasses

from batchfast.context import Context
from batchfast.deadlines import overdue
from batchfast.errors import ProviderError
from batchfast.records import BatchSnapshot
from batchfast.store import BatchRow, ShardRow

# Polls that failed in a row before it is said aloud, and again each time that many more have (count).
_LOUD_AFTER = 5


def refresh(ctx: Context, row: ShardRow, batch: BatchRow) -> BatchSnapshot | ProviderError:
    """Ask the provider where a batch stands; its error where it did not say."""
    try:
        provider = ctx.provider(row)
        snapshot = provider.poll(batch.remote_id)
    except ProviderError as exc:
        ctx.store.record_failed_poll(batch.id, str(exc), ctx.now())
        if (batch.failures + 1) % _LOUD_AFTER == 0:
            ctx.note(
                "warning", f"{batch.remote_id} could not be polled {batch.failures + 1} times in a row: {exc}", row
            )
        if exc.kind == "bad_key":
            ctx.hold("bad key", str(exc), row)
        _point_out_overdue(ctx, row)
        return exc
    snapshot = dataclasses.replace(snapshot, errors=tuple(map(provider.without_key, snapshot.errors)))
    ctx.store.record_poll(batch.id, snapshot, ctx.now())
    if not snapshot.known_state:
        unknown = (
            f"{batch.remote_id} is {snapshot.remote_state}, a state batchfast does not know: taken as still running"
        )
        _warn_once(ctx, row, unknown)
    elif batch.remote_state != snapshot.remote_state:
        ctx.note("remote", f"{batch.remote_id} is {snapshot.remote_state}", row)
    if snapshot.outcome is None:
        _point_out_overdue(ctx, row)
    return snapshot


def _point_out_overdue(ctx: Context, row: ShardRow) -> None:
    batch = ctx.store.batches(row.run_no)[row.id]
    if overdue(row, batch, ctx.clock.now()):
        late = f"{batch.remote_id} still runs a day after {row.provider} should have ended it: look at it there"
        _warn_once(ctx, row, f"{late}, or cancel the run and keep what finished")


def _warn_once(ctx: Context, row: ShardRow, message: str) -> None:
    if not ctx.store.noted(row.run_no, message):
        ctx.note("warning", message, row)


def cancel(ctx: Context, row: ShardRow, batch: BatchRow) -> bool:
    """Ask the provider to end a batch; False where it could not be asked."""
    try:
        ctx.provider(row).cancel(batch.remote_id)
    except ProviderError as exc:
        ctx.note("warning", f"{batch.remote_id} could not be cancelled yet: {exc}", row)
        return False
    ctx.store.record_cancel(batch.id)
    ctx.note("cancel", f"asked for the end of {batch.remote_id}", row)
    return True
