"""What failed for good, asked again because a person says so: `batchfast retry`."""

from __future__ import annotations

from array import array
from itertools import count

from batchfast.compiler import compile_shards
from batchfast.context import Context
from batchfast.records import ShardPlan


def ask_again(ctx: Context) -> int:
    """
    Put every request that ended without a row into new shards, waiting to be sent; nothing is sent yet.

    Those cancelled are among them, and the run is no longer cancelled. Each request has all its tries again; what was
    collected before stays where it is.

    Returns:
        How many requests that is (count).
    """
    wanted = [array("Q") for _ in ctx.providers]
    for index in ctx.store.rowless(ctx.run.no):
        position, entry = divmod(index, len(ctx.providers))
        wanted[entry].append(position)
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
