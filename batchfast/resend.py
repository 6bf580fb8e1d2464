"""What failed for good, or may never have been accepted, sent again because a person says so: `batchfast retry`."""

from __future__ import annotations

from array import array
from itertools import count

from batchfast.budget import worst_case
from batchfast.compiler import compile_shards
from batchfast.context import Context
from batchfast.errors import ConfigError
from batchfast.records import ShardPlan
from batchfast.store import RunRow, ShardRow, Store
from batchfast.submit import recover


def ask_again(ctx: Context) -> int:
    """
    Put every request that ended without a row into new shards, waiting to be sent; nothing is sent yet.

    Those cancelled are among them, and the run is no longer cancelled. Each request has all its tries again; what was
    collected before stays where it is.

    Returns:
        How many requests that is (count).

    Raises:
        MissingKey: One of the providers has no key; nothing was changed.
    """
    wanted = [array("Q") for _ in ctx.providers]
    for index in ctx.store.rowless(ctx.run.no):
        position, entry = divmod(index, len(ctx.providers))
        wanted[entry].append(position)
    for entry, positions in enumerate(wanted):
        if positions:
            ctx.providers[entry].key()  # before anything is changed: without a key nothing could be sent
    plans = [plan for entry, positions in enumerate(wanted) if positions for plan in _shards(ctx, entry, positions)]
    if plans:
        ctx.store.reopen(ctx.run.no, plans)
        ctx.note("retry", f"{sum(plan.requests for plan in plans)} requests are asked again")
    return sum(plan.requests for plan in plans)


def _shards(ctx: Context, entry: int, positions: array[int]) -> list[ShardPlan]:
    attempt = 1 + max(row.attempt for row in ctx.store.shards(ctx.run.no) if row.entry == entry)
    plans = compile_shards(
        ctx.grid,
        ctx.providers[entry],
        entry,
        positions,
        ctx.id_prefix,
        attempt,
        lambda number: ctx.request_file(entry, number, attempt),
        count(ctx.store.next_number(ctx.run.no, entry)),
        uncounted=attempt - 1,
    )
    return list(plans)


def uncertain_shard(store: Store, run: RunRow, name: str) -> ShardRow:
    """
    The shard that `status` calls `name`.

    Raises:
        ConfigError: There is none, or it is plain what became of it.
    """
    rows = store.shards(run.no)
    row = next((row for row in rows if row.name == name), None)
    if row is not None and row.state == "uncertain":
        return row
    what = f"shard {name} of run {run.id} is {row.state}" if row else f"run {run.id} has no shard {name}"
    others = ", ".join(row.name for row in rows if row.state == "uncertain") or "none"
    raise ConfigError(
        f"{what}; only an uncertain shard can be sent again (uncertain: {others}): batchfast status {run.id}"
    )


def look_once_more(ctx: Context, row: ShardRow) -> ShardRow:
    """An uncertain shard as the provider lets it be judged now: its results may have come."""
    recover(ctx, row)
    return ctx.store.shard(row.id)


def most_it_may_cost(ctx: Context, row: ShardRow) -> float | None:
    """USD, or None where nobody can say."""
    try:
        return worst_case(ctx.provider(row), row)
    except ConfigError:
        return None


def give_up_the_question(ctx: Context, row: ShardRow, *, lifts_cancel: bool) -> None:
    """
    An uncertain shard waits to be sent again, on a person's word.

    Args:
        lifts_cancel: The run was cancelled when the person was asked; otherwise a cancel came since, and stands.

    A batch that may be it is not looked at any more: should it be ours, its answers are paid for and not used, and
    nothing is counted twice. The run's events keep its id, and `doctor` finds it by its results.

    Raises:
        ConfigError: The shard is not uncertain any more, or the run was cancelled meanwhile; nothing was changed.
    """
    if ctx.store.cancel_requested(ctx.run.no) and not lifts_cancel:
        raise ConfigError(f"run {ctx.run.id} was cancelled meanwhile; nothing was sent again")
    if not ctx.store.move(row.id, "uncertain", "waiting", absent_at=None, not_before=None):
        raise ConfigError(f"shard {row.name} of run {ctx.run.id} has moved on meanwhile; nothing was changed")
    ctx.store.update_run(ctx.run.no, cancel_requested=0, settled_at=None)
    ctx.note("resend", f"shard {row.name} is sent again although it may be paid twice: {row.note}", row)
