"""
Which of a run's waiting shards may go now: there must be room in the provider's queue, and in the budget.

Neither uses up a try: a shard waits until others of ours have ended, or is split where it could never go as it is.
"""

from __future__ import annotations

from collections import Counter
from typing import Literal

from batchfast.budget import worst_case, worst_request
from batchfast.clock import iso, seconds_of
from batchfast.context import Context
from batchfast.outcomes import split
from batchfast.records import tokens_in
from batchfast.store import IN_FLIGHT, ShardRow, ShardState

# The longest wait that anyone asks for: adapters cap what providers say at an hour (seconds).
LONGEST_WAIT_S = 3_600.0

# How long a shard waits that the provider had no room for: at first, doubled each time, and at most (seconds).
_FIRST_WAIT_S = 30.0
_LONGEST_ROOM_WAIT_S = 1_800.0

# How long a limit that a provider has named is believed: accounts are given higher ones (seconds).
_LIMIT_KNOWN_S = 86_400.0

# Refusals at create, in a row and with nothing of ours in flight, before a shard counts as too large for the queue
# (count): a 429 may also be about calls per minute.
_REFUSALS_BEFORE_SPLIT = 3

# A batch that was sent longer ago takes no room any more, even if nobody has looked at it since (seconds).
_IN_QUEUE_S = 2 * 86_400.0

Answer = Literal["go", "not yet", "no room", "too large", "over budget"]


class Admission:
    """
    What a run has in flight and has spent: read once, kept up with `sent` while a pass sends.

    Attributes:
        spent_usd: What answers have cost.
        reserved_usd: What is in flight may cost at most.
    """

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        # What is held sends nothing, and may be held because its budget cannot be kept.
        self._budget = None if ctx.held else ctx.max_cost_usd
        self._queued: Counter[int] = Counter()
        self._limits = [self._limit(entry) for entry in range(len(ctx.providers))]
        self.spent_usd = self.reserved_usd = 0.0
        for row in ctx.store.shards(ctx.run.no):
            self.sent(row)
            self.spent_usd += row.cost_usd
            if row.unpriced and self._budget is not None:
                self.spent_usd += row.unpriced * worst_case(ctx.provider(row), row) / row.requests

    def sent(self, row: ShardRow) -> None:
        """Take into account what is in flight."""
        if row.state not in IN_FLIGHT:
            return
        for entry in self._same_queue(row):
            self._queued[entry] += tokens_in(row.size_bytes)
        if self._budget is not None:
            self.reserved_usd += worst_case(self._ctx.provider(row), row)

    def judge(self, row: ShardRow) -> Answer:
        """
        Whether a waiting shard may go.

        Returns:
            "not yet": someone else says so, or it was told when to come again. "no room": others of ours must end
            first. "too large": not even alone, so it must be split. "over budget": even a single request of it is.
        """
        if not self._may_go(row):
            return "not yet"
        if (answer := self._room_in_queue(row)) != "go":
            return answer
        return self._room_in_budget(row)

    def _may_go(self, row: ShardRow) -> bool:
        ctx = self._ctx
        if ctx.held or ctx.store.cancel_requested(ctx.run.no):
            return False
        # No wait is longer than this: where it looks longer, the clock was set back.
        return row.not_before is None or not 0 < seconds_of(row.not_before) - ctx.clock.now() <= LONGEST_WAIT_S

    def _room_in_queue(self, row: ShardRow) -> Answer:
        limit, named = self._limits[row.entry]
        if limit is None or self._queued[row.entry] + tokens_in(row.size_bytes) <= limit:
            return "go"
        if self._queued[row.entry]:
            return "no room"
        # Our own setting decides how files are cut, and leaves those alone that were cut before.
        return "too large" if named and row.requests > 1 else "go"

    def _room_in_budget(self, row: ShardRow) -> Answer:
        if self._budget is None:
            return "go"
        left = self._budget - self.spent_usd - self.reserved_usd
        provider = self._ctx.provider(row)
        if worst_case(provider, row) <= left:
            return "go"
        if self.reserved_usd:
            return "no room"
        return "too large" if worst_request(provider, row) <= left else "over budget"

    def _limit(self, entry: int) -> tuple[int | None, bool]:
        """How many tokens may be in an entry's queue, and whether the provider has named that."""
        provider = self._ctx.providers[entry]
        since = iso(self._ctx.clock.now() - _LIMIT_KNOWN_S)
        named = self._ctx.store.queue_limit(provider.name, provider.model_id, since)
        wanted = provider.max_enqueued_tokens
        if named is None or (wanted is not None and wanted <= named):
            return wanted, False
        return named, True

    def _same_queue(self, row: ShardRow) -> list[int]:
        """Entries that share a queue with a shard: those of the same model."""
        return [
            entry
            for entry, one in enumerate(self._ctx.providers)
            if (one.name, one.model_id) == (row.provider, row.model_id)
        ]


def refused_at_create(ctx: Context, row: ShardRow, message: str, retry_after_s: float | None) -> None:
    """
    A create was answered 429: no batch was made. The shard waits, and its siblings with it; refused again and again
    with nothing of ours in flight, it is too large for the queue, and goes in two halves.
    """
    too_large = row.requests > 1 and row.refusals + 1 >= _REFUSALS_BEFORE_SPLIT and not _company(ctx, row)
    wait_s = retry_after_s or _wait_s(row)
    if not _wait(ctx, row, "submitting", wait_s, message):
        return
    if too_large:
        split(ctx, ctx.store.shard(row.id), f"refused while nothing else of ours was in flight: {message}")
    put_off(ctx, row, wait_s, message)


def put_off(ctx: Context, row: ShardRow, wait_s: float, message: str) -> None:
    """The shards of an entry wait so long, or longer where another refusal of the same moment says so."""
    now = ctx.clock.now()
    ctx.store.put_off(row.run_no, row.entry, iso(now + wait_s), message, iso(now + LONGEST_WAIT_S))


def refused_by_queue(ctx: Context, row: ShardRow, message: str) -> None:
    """A batch failed before any of it ran, because the queue was full: nothing was billed. Its shard waits."""
    _wait(ctx, row, "running", 2 * _wait_s(row), message)


def _wait_s(row: ShardRow) -> float:
    return float(min(_FIRST_WAIT_S * 2**row.refusals, _LONGEST_ROOM_WAIT_S))


def _wait(ctx: Context, row: ShardRow, old: ShardState, wait_s: float, message: str) -> bool:
    later = iso(ctx.clock.now() + wait_s)
    moved = ctx.store.move(row.id, old, "waiting", refusals=row.refusals + 1, not_before=later, note=message)
    if moved:
        ctx.note("waits", f"refused for now, next try in {wait_s:.0f} s: {message}", row)
    return moved


def _company(ctx: Context, row: ShardRow) -> bool:
    return ctx.store.others_in_flight(row, ctx.run.fake, iso(ctx.clock.now() - _IN_QUEUE_S))
