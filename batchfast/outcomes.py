"""
The end of a shard: every one of its requests gets exactly one outcome, and what may yet succeed goes into a new shard.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, count
from typing import NamedTuple

from batchfast.compiler import compile_shards
from batchfast.context import Context
from batchfast.parse import parse_reply
from batchfast.prices import Rates, cost, rates_of
from batchfast.records import Outcome, Positions, RequestError, Result, ShardPlan, Usage, split_custom_id
from batchfast.retry import decide
from batchfast.store import Kept, RequestRow, ShardRow, Tally

_MAX_MESSAGE = 500
_NO_USAGE = Usage()
_NO_LINE = (None, None, None)


class Line(NamedTuple):
    """A decoded result line and where it stands: "output" or "error", offset and length in bytes."""

    result: Result
    file: str
    offset: int
    length: int


class Absent(NamedTuple):
    """What a request is that has no result line."""

    outcome: Outcome
    error: RequestError


class Again(NamedTuple):
    """How requests are asked again together: see `ShardPlan`."""

    uncounted: int
    doublings: int


class Incomplete(Exception):
    """A result file has an unreadable line, or too few."""


def end_shard(
    ctx: Context,
    row: ShardRow,
    lines: Iterable[Line],
    absent: Absent,
    *,
    refused: bool = False,
    complete: bool = False,
    halve: bool = False,
) -> bool:
    """
    Enter the outcome of every request of a shard, whatever the order of the lines.

    Args:
        lines: Read once. A second line for a request is ignored; so is one with a foreign custom_id.
        absent: What requests without a line are.
        refused: The provider never took the shard: its state is then *failed*, not *ended*.
        complete: Every request must have its line.
        halve: It was too much at once: every request is asked again, in two shards, as the same try.

    Returns:
        False where another process was first; nothing is changed then.

    Raises:
        Incomplete: With `complete`, a request has no line; nothing is changed.
    """
    ending = _Ending(ctx, row, absent, complete, halve)
    note = absent.error.message if refused or halve else None
    with ctx.meter.step(f"entering results {row.name}", "requests", row.requests) as step:
        ended = ctx.store.end_shard(
            row,
            "failed" if refused else "ended",
            ending.rows(step.counted(lines)),
            ending.tally,
            ending.again(),
            note,
            ending.revived,
        )
    if ended:
        ending.report()
    return ended


def split(ctx: Context, row: ShardRow, why: str) -> None:
    """A shard that is too much at once becomes two, waiting to be sent as the same try."""
    ctx.note("waits", f"{row.requests} requests of {row.model_id} are split in half: {why}", row)
    end_shard(ctx, row, (), Absent("failed", RequestError("split", f"split in half: {why}", None, True)), halve=True)


@dataclass(slots=True)
class _Ending:
    """Counts and verdicts while the rows of a shard are made."""

    ctx: Context
    row: ShardRow
    absent: Absent
    complete: bool
    halve: bool
    tally: Tally = field(default_factory=Tally)
    repeat: defaultdict[Again, array[int]] = field(default_factory=lambda: defaultdict(lambda: array("Q")))
    kept: dict[int, Kept] = field(default_factory=dict)
    revived: list[Kept] = field(default_factory=list)
    rates: dict[str | None, Rates | None] = field(default_factory=dict)
    foreign: int = 0
    doubled: int = 0
    hold: tuple[str, str] | None = None

    def rows(self, lines: Iterable[Line]) -> Iterator[RequestRow]:
        slots = _Slots(self.row)
        self._find_kept(slots)
        seen = bytearray(self.row.requests)
        for line in lines:
            slot = self._slot(slots, line.result.custom_id)
            if slot is None:
                self.foreign += 1
            elif seen[slot]:
                self.doubled += 1
            else:
                seen[slot] = 1
                yield self._answered(slots.position(slot), line)
        if self.complete and not all(seen):
            raise Incomplete(f"{sum(seen)} of {self.row.requests} requests have a result line")
        for slot, was_seen in enumerate(seen):
            if not was_seen:
                result = Result(custom_id="", outcome=self.absent.outcome, error=self.absent.error)
                yield self._outcome(slots.position(slot), result, self.absent.error, 0, None)

    def _find_kept(self, slots: _Slots) -> None:
        """Of each request the earlier attempt with the most samples, the later one among equals."""
        if self.row.attempt == 1:
            return
        first, last = (self._index(slots.position(slot)) for slot in (0, self.row.requests - 1))
        for found in self.ctx.store.kept(self.row.run_no, first, last):
            best = self.kept.get(found.idx)
            if best is None or found.texts >= best.texts:
                self.kept[found.idx] = found

    def _index(self, position: int) -> int:
        return position * len(self.ctx.providers) + self.row.entry

    def _slot(self, slots: _Slots, custom_id: str) -> int | None:
        found = split_custom_id(custom_id)
        if found is None:
            return None
        prefix, index, attempt = found
        position, entry = divmod(index, len(self.ctx.providers))
        if prefix != self.ctx.id_prefix or attempt != self.row.attempt or entry != self.row.entry:
            return None
        return slots.slot(position)

    def _answered(self, position: int, line: Line) -> RequestRow:
        reply = parse_reply(line.result, self.ctx.grid.num_samples)
        return self._outcome(position, line.result, reply.error, len(reply.texts), line)

    def _outcome(
        self, position: int, result: Result, error: RequestError | None, texts: int, line: Line | None
    ) -> RequestRow:
        if error is not None and line is not None:  # words of the provider's, which may quote the key
            error = self.ctx.provider(self.row).without_key(error)
        outcome: Outcome = "failed" if result.outcome == "succeeded" and not texts else result.outcome
        final = not self._asks_again(position, outcome, error, self._cut_after(result, texts))
        index = self._index(position)
        kept = self.kept.get(index)
        if final and kept is not None and kept.texts > texts:
            self.revived.append(kept)
            final = False
        if final:
            setattr(self.tally, outcome, getattr(self.tally, outcome) + 1)
            self.tally.rows += texts
        else:
            self.tally.resent += 1
        # In the order of its fields: naming them takes twice as long, a million times.
        return RequestRow(
            self.row.run_no,
            index,
            self.row.attempt,
            self.row.id,
            int(final),
            outcome,
            texts,
            result.finish_reason,
            result.model,
            *(result.usage or _NO_USAGE),
            self._price(result),
            error.type if error else None,
            error.message[:_MAX_MESSAGE] if error else None,
            error.status_code if error else None,
            *((line.file, line.offset, line.length) if line else _NO_LINE),
        )

    def _cut_after(self, result: Result, texts: int) -> int | None:
        """As in `retry.decide`."""
        short = result.ending == "truncated" and texts < self.ctx.grid.num_samples
        return self.row.doublings if short and self.ctx.provider(self.row).token_limit() is not None else None

    def _asks_again(self, position: int, outcome: Outcome, error: RequestError | None, cut_after: int | None) -> bool:
        row = self.row
        if self.halve:
            self.repeat[Again(row.uncounted + 1, row.doublings)].append(position)
            return True
        if outcome == "succeeded" and cut_after is None:
            return False
        attempt = row.attempt - row.uncounted
        verdict = decide(outcome, error, attempt, self.ctx.max_attempts, cut_after=cut_after)
        if verdict.action == "give_up" or self.ctx.store.cancel_requested(row.run_no):
            return False
        if verdict.reason is not None:
            self.hold = (verdict.reason, error.message if error else verdict.reason)
        again = Again(row.uncounted + (verdict.action == "hold"), row.doublings + (verdict.action == "send_longer"))
        self.repeat[again].append(position)
        return True

    def _price(self, result: Result) -> float | None:
        """USD of one answer at batch prices; what gave no answer is not billed and has no price."""
        if result.outcome != "succeeded":
            return None
        if result.model not in self.rates:
            override = self.ctx.provider(self.row).price
            self.rates[result.model] = rates_of(self.row.provider, self.row.model_id, result.model, override=override)
        rates = self.rates[result.model]
        usd = cost(result.usage, rates)
        if usd is None or rates is None:
            self.tally.unpriced += 1
            return None
        self.tally.cost_usd += usd
        self.tally.cost_assumed |= rates.assumed
        return usd

    def again(self) -> Iterator[ShardPlan]:
        """Shards for what is asked again, compiled when the store asks for them: after the last row."""
        ctx, row = self.ctx, self.row
        attempt = row.attempt + 1
        numbers = chain((row.number,), count(ctx.store.next_number(row.run_no, row.entry)))
        for how, positions in sorted(self.repeat.items()):
            yield from compile_shards(
                ctx.grid,
                ctx.provider(row),
                row.entry,
                sorted(positions),
                ctx.id_prefix,
                attempt,
                lambda number: ctx.request_file(row.entry, number, attempt),
                numbers,
                how.uncounted,
                max_requests=(row.requests + 1) // 2 if self.halve else None,
                doublings=how.doublings,
                refusals=row.refusals if self.halve else 0,
            )

    def report(self) -> None:
        """Say what the store now knows."""
        done = self.tally
        parts = [
            f"{count} {name}"
            for name, count in (
                ("succeeded", done.succeeded),
                ("failed", done.failed),
                ("expired", done.expired),
                ("cancelled", done.cancelled),
                ("to be sent again", done.resent),
            )
            if count
        ]
        self.ctx.note("ended", ", ".join(parts), self.row)
        if self.foreign:
            self.ctx.note("warning", f"{self.foreign} result lines with a foreign custom_id were ignored", self.row)
        if self.doubled:
            self.ctx.note("warning", f"{self.doubled} result lines came a second time and were ignored", self.row)
        if self.hold:
            self.ctx.hold(*self.hold, row=self.row)


class _Slots:
    """Positions of a shard to 0, 1, 2, ... and back, without a table of them all."""

    def __init__(self, row: ShardRow) -> None:
        self._ranges = list(Positions(row.positions).ranges())
        self._firsts = [numbers.start for numbers in self._ranges]
        self._offsets = [0]
        for numbers in self._ranges:
            self._offsets.append(self._offsets[-1] + len(numbers))

    def slot(self, position: int) -> int | None:
        at = bisect_right(self._firsts, position) - 1
        if at < 0 or position not in self._ranges[at]:
            return None
        return self._offsets[at] + position - self._firsts[at]

    def position(self, slot: int) -> int:
        at = bisect_right(self._offsets, slot) - 1
        return self._firsts[at] + slot - self._offsets[at]
