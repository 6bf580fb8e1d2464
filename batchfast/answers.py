"""
A shard's result files, read: a pure function from files to the outcomes of its requests, for any process to run.

Nearly every line is an answer as it was asked for, and its outcome is told by the line alone. What takes more than that
to judge (how many tries are left, what an earlier attempt gave, the key that a provider's words may quote) is only
found here, and left to `outcomes`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from batchfast.handover import made_whole
from batchfast.jsonl import located_lines
from batchfast.llms import PROVIDERS, Provider
from batchfast.parse import parse_reply, plain_texts
from batchfast.prices import Rates, cost, rates_of
from batchfast.records import Positions, Result, Usage, index_of
from batchfast.store import RequestRow, ShardRow, Tally
from batchfast.store.outcomes_file import write_outcomes

NO_USAGE = Usage()


class ResultFiles(NamedTuple):
    """
    What there is to read of a shard, and all that must be known for that; picklable, and without a key.

    Attributes:
        paths: Kind ("output" or "error") and path of each file, successes first.
        id_prefix: How each custom_id begins: `<run>-<home nonce>`.
        entries: Provider entries of the run (count).
        num_samples: What each request asked for (count).
        price: The person's own rates for the model, as `Provider.price`.
        unsure: Positions whose answer is not judged here, however good it is.
    """

    row: ShardRow
    paths: tuple[tuple[str, str], ...]
    id_prefix: str
    entries: int
    num_samples: int
    price: dict[str, float] | None
    unsure: frozenset[int] = frozenset()


class Place(NamedTuple):
    """The line of a request at a position of the entry: in which file, from which byte, and how many."""

    position: int
    file: str
    offset: int
    length: int


@dataclass(slots=True)
class Reading:
    """
    What was found while a shard's files were read, beside the outcomes.

    Attributes:
        seen: For each request of the shard, in order, whether it has a line.
        tally: Of the outcomes that were told.
        others: Lines to be judged elsewhere; of each request its first.
        unreadable, foreign, doubled: Lines that are no result, not of this shard, not the first of their request
            (count); `problem`: what is wrong with the first that is unreadable.
    """

    seen: bytearray
    tally: Tally = field(default_factory=Tally)
    others: list[Place] = field(default_factory=list)
    unreadable: int = 0
    foreign: int = 0
    doubled: int = 0
    problem: str = ""

    @classmethod
    def of(cls, row: ShardRow) -> Reading:
        """Nothing is read yet."""
        return cls(bytearray(row.requests))


@dataclass(frozen=True, slots=True)
class Answers:
    """
    What a shard's files tell: the outcomes, in `rows` (read once) or already in a file, and the rest.

    Attributes:
        reading: Complete once `rows` was read to its end.
        outcomes: As `Store.end_shard` takes it.
    """

    reading: Reading
    rows: Iterator[RequestRow]
    outcomes: Path | None = None

    @classmethod
    def none(cls, row: ShardRow) -> Answers:
        """Of a shard without result files."""
        return cls(Reading.of(row), iter(()))

    @classmethod
    def read(cls, files: ResultFiles) -> Answers:
        """In this process, while the rows are asked for."""
        found = Reading.of(files.row)
        return cls(found, read_answers(files, found))


def read_answers(files: ResultFiles, found: Reading) -> Iterator[RequestRow]:
    """
    The outcomes that the lines alone tell, in the order of the lines.

    Args:
        found: Filled on the way.
    """
    price = Prices(files.row, files.price, found.tally)
    for result, place in _first_lines(files, found):
        texts = 0 if place.position in files.unsure else _texts(result, files.num_samples)
        if not texts:
            found.others.append(place)
            continue
        found.tally.succeeded += 1
        found.tally.rows += texts
        yield _answer(files, result, texts, price(result), place)


def _first_lines(files: ResultFiles, found: Reading) -> Iterator[tuple[Result, Place]]:
    """Of each request the first line that can be read."""
    slots, entry, entries = Slots(files.row), files.row.entry, files.entries
    for result, kind, offset, length in _results(files, found):
        index = index_of(result.custom_id, files.id_prefix, files.row.attempt)
        position, of_entry = (-1, -1) if index is None else divmod(index, entries)
        slot = slots.slot(position) if of_entry == entry else None
        if slot is None:
            found.foreign += 1
        elif found.seen[slot]:
            found.doubled += 1
        else:
            found.seen[slot] = 1
            yield result, Place(position, kind, offset, length)


def _results(files: ResultFiles, found: Reading) -> Iterator[tuple[Result, str, int, int]]:
    """The lines that can be read: kind of file, offset, length."""
    decode = adapter(files.row.provider).decode
    for kind, path in files.paths:
        for offset, data in located_lines(Path(path)):
            try:
                result = decode(data)
            except ValueError as exc:
                found.problem = found.problem or f"an unreadable line in the {kind} file ({exc})"
                found.unreadable += 1
            else:
                yield result, kind, offset, len(data)


def answers_to_file(files: ResultFiles, path: str) -> Reading:
    """As `read_answers`; the outcomes go to a file for `Store.end_shard`."""
    found = Reading.of(files.row)
    with made_whole(Path(path)) as part:
        write_outcomes(part, read_answers(files, found))
    return found


def _texts(result: Result, num_samples: int) -> int:
    """How many samples a reply gives that is as it was asked for; 0 for any other."""
    if result.outcome != "succeeded" or result.ending == "truncated":
        return 0
    return len(plain_texts(result.text, result.ending) or parse_reply(result, num_samples).texts)


def _answer(files: ResultFiles, result: Result, texts: int, usd: float | None, place: Place) -> RequestRow:
    """An answer that is the last word on its request, as a row of the database."""
    # In the order of its fields: naming them takes twice as long, a million times.
    return RequestRow(
        files.row.run_no,
        place.position * files.entries + files.row.entry,
        files.row.attempt,
        files.row.id,
        1,
        "succeeded",
        texts,
        result.finish_reason,
        result.model,
        *(result.usage or NO_USAGE),
        usd,
        None,
        None,
        None,
        place.file,
        place.offset,
        place.length,
    )


class Prices:
    """What each answer of a shard costs at batch prices; the sums go into its tally."""

    def __init__(self, row: ShardRow, override: dict[str, float] | None, tally: Tally) -> None:
        self._row = row
        self._override = override
        self._tally = tally
        self._rates: dict[str | None, Rates | None] = {}

    def __call__(self, result: Result) -> float | None:
        """USD; None where it is unknown, and for what gave no answer, which is not billed."""
        if result.outcome != "succeeded":
            return None
        if result.model not in self._rates:
            self._rates[result.model] = rates_of(
                self._row.provider, self._row.model_id, result.model, override=self._override
            )
        rates = self._rates[result.model]
        usd = cost(result.usage, rates)
        if usd is None or rates is None:
            self._tally.unpriced += 1
            return None
        self._tally.cost_usd += usd
        self._tally.cost_assumed |= rates.assumed
        return usd


@lru_cache
def adapter(name: str) -> Provider:
    """Reads a provider's result lines, which depends on no model."""
    return PROVIDERS[name]("any")


class Slots:
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
