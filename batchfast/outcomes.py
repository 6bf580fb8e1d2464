"""
The end of a shard: every one of its requests gets exactly one outcome, and what may yet succeed goes into a new shard.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, count
from typing import NamedTuple

from batchfast.answers import NO_USAGE, Answers, Place, Prices, ResultFiles, Slots, adapter
from batchfast.compiler import compile_shards
from batchfast.context import Context
from batchfast.jsonl import Files
from batchfast.parse import parse_reply
from batchfast.records import Outcome, RequestError, Result, ShardPlan
from batchfast.retry import decide
from batchfast.store import Kept, RequestRow, ShardRow, Tally

_MAX_MESSAGE = 500
_NO_LINE = (None, None, None)


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


def result_files(ctx: Context, row: ShardRow) -> ResultFiles:
    """What is on disk of a shard's results, ready to be read."""
    paths = [(kind, ctx.result_file(row, kind)) for kind in ("output", "error")]
    return ResultFiles(
        row,
        tuple((kind, str(path)) for kind, path in paths if path.is_file()),
        ctx.id_prefix,
        len(ctx.providers),
        ctx.grid.num_samples,
        ctx.provider(row).price,
        frozenset(index // len(ctx.providers) for index in _kept(ctx, row)),
    )


def end_shard(
    ctx: Context,
    row: ShardRow,
    answers: Answers,
    absent: Absent,
    *,
    refused: bool = False,
    strict: bool = False,
    complete: bool = False,
    halve: bool = False,
) -> bool:
    """
    Enter the outcome of every request of a shard, whatever the order of the lines.

    Args:
        answers: A second line for a request is ignored; so is one with a foreign custom_id.
        absent: What requests without a line are.
        refused: The provider never took the shard: its state is then *failed*, not *ended*.
        strict: Every line must be readable; otherwise one that is not is left out and said.
        complete: Every request must have its line.
        halve: It was too much at once: every request is asked again, in two shards, as the same try.

    Returns:
        False where another process was first; nothing is changed then.

    Raises:
        Incomplete: With `strict`, a line is unreadable; with `complete`, a request has no line; nothing is changed.
    """
    ending = _Ending(ctx, row, answers, absent, strict, complete, halve)
    note = absent.error.message if refused or halve else None
    with ctx.meter.step(f"entering results {row.name}", "requests", row.requests) as step:
        if answers.outcomes is not None:
            step.advance(ending.tally.succeeded)
        ended = ctx.store.end_shard(
            row,
            "failed" if refused else "ended",
            step.counted(ending.rows()),
            ending.tally,
            ending.again(),
            note,
            ending.revived,
            answers.outcomes,
        )
    if ended:
        ending.report()
    return ended


def without_results(ctx: Context, row: ShardRow, absent: Absent, *, refused: bool = False, halve: bool = False) -> None:
    """End a shard of which no line ever came; as `end_shard`."""
    end_shard(ctx, row, Answers.none(row), absent, refused=refused, halve=halve)


def _kept(ctx: Context, row: ShardRow) -> dict[int, Kept]:
    """Of each request (by index) the earlier attempt with the most samples, the later one among equals."""
    best: dict[int, Kept] = {}
    if row.attempt == 1:
        return best
    slots, entries = Slots(row), len(ctx.providers)
    first, last = (slots.position(slot) * entries + row.entry for slot in (0, row.requests - 1))
    for found in ctx.store.kept(row.run_no, first, last):
        if found.idx not in best or found.texts >= best[found.idx].texts:
            best[found.idx] = found
    return best


def split(ctx: Context, row: ShardRow, why: str) -> None:
    """A shard that is too much at once becomes two, waiting to be sent as the same try."""
    ctx.note("waits", f"{row.requests} requests of {row.model_id} are split in half: {why}", row)
    without_results(ctx, row, Absent("failed", RequestError("split", f"split in half: {why}", None, True)), halve=True)


@dataclass(slots=True)
class _Ending:
    """Counts and verdicts while the rows of a shard are made."""

    ctx: Context
    row: ShardRow
    answers: Answers
    absent: Absent
    strict: bool
    complete: bool
    halve: bool
    repeat: defaultdict[Again, array[int]] = field(default_factory=lambda: defaultdict(lambda: array("Q")))
    kept: dict[int, Kept] = field(init=False)
    revived: list[Kept] = field(default_factory=list)
    price: Prices = field(init=False)
    hold: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        self.kept = _kept(self.ctx, self.row)
        self.price = Prices(self.row, self.ctx.provider(self.row).price, self.tally)

    @property
    def tally(self) -> Tally:
        return self.answers.reading.tally

    def rows(self) -> Iterator[RequestRow]:
        yield from self.answers.rows
        yield from self._judged()
        found = self.answers.reading
        if self.strict and found.unreadable:
            raise Incomplete(found.problem)
        if self.complete and not all(found.seen):
            raise Incomplete(f"{sum(found.seen)} of {self.row.requests} requests have a result line")
        yield from self._absent()

    def _judged(self) -> Iterator[RequestRow]:
        """Lines that do not tell the outcome by themselves."""
        paths = {kind: str(self.ctx.result_file(self.row, kind)) for kind in ("output", "error")}
        with Files() as files:
            for place in self.answers.reading.others:
                result = adapter(self.row.provider).decode(files.line(paths[place.file], place.offset, place.length))
                reply = parse_reply(result, self.ctx.grid.num_samples)
                yield self._outcome(place.position, result, reply.error, len(reply.texts), place)

    def _absent(self) -> Iterator[RequestRow]:
        slots = Slots(self.row)
        for slot, was_seen in enumerate(self.answers.reading.seen):
            if not was_seen:
                result = Result(custom_id="", outcome=self.absent.outcome, error=self.absent.error)
                yield self._outcome(slots.position(slot), result, self.absent.error, 0, None)

    def _index(self, position: int) -> int:
        return position * len(self.ctx.providers) + self.row.entry

    def _outcome(
        self, position: int, result: Result, error: RequestError | None, texts: int, place: Place | None
    ) -> RequestRow:
        if error is not None and place is not None:  # words of the provider's, which may quote the key
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
            *(result.usage or NO_USAGE),
            self.price(result),
            error.type if error else None,
            error.message[:_MAX_MESSAGE] if error else None,
            error.status_code if error else None,
            *((place.file, place.offset, place.length) if place else _NO_LINE),
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
        found = self.answers.reading
        if found.unreadable:
            what = f"{found.unreadable} result lines are unreadable, also after a second download"
            self.ctx.note("warning", what, self.row)
        if found.foreign:
            self.ctx.note("warning", f"{found.foreign} result lines with a foreign custom_id were ignored", self.row)
        if found.doubled:
            self.ctx.note("warning", f"{found.doubled} result lines came a second time and were ignored", self.row)
        if self.hold:
            self.ctx.hold(*self.hold, row=self.row)
