"""
Requests to submission files within a provider's limits.

Lines come in blocks of consecutive requests, spliced where `encode` agrees with that and encoded one by one where it
does not; a block is written and hashed at once.
"""

from __future__ import annotations

import hashlib
import logging
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

from batchfast.errors import RequestTooLarge
from batchfast.grid import Grid
from batchfast.jsonl import replacing
from batchfast.llms.base import Provider
from batchfast.llms.splice import Splice
from batchfast.records import Limits, Positions, Request, ShardPlan, custom_id
from batchfast.walk import BLOCK_BYTES, Block, Walk

log = logging.getLogger(__name__)

# In how many places of a compilation spliced lines are compared with encoded ones, and lines in each (count).
_COMPARED = 16
_TOGETHER = 3


class File(NamedTuple):
    """A submission file on disk: which requests, how large, its largest line, and its hash."""

    number: int
    positions: Positions
    requests: int
    size_bytes: int
    largest_bytes: int
    sha256: str


def compile_shards(
    grid: Grid,
    provider: Provider,
    entry: int,
    positions: Iterable[int],
    id_prefix: str,
    attempt: int,
    path_of: Callable[[int], Path],
    numbers: Iterator[int],
    uncounted: int = 0,
    *,
    max_requests: int | None = None,
    doublings: int = 0,
    refusals: int = 0,
) -> Iterator[ShardPlan]:
    """
    Requests of one provider entry into files that the provider will accept.

    Args:
        positions: Which of the entry's requests, ascending.
        id_prefix: `<run>-<home nonce>`: how each custom_id begins.
        path_of: Shard number to file.
        numbers: The shards' numbers, in order.
        max_requests: Fewer requests per file than the provider takes (count).
        uncounted, doublings, refusals: As in `ShardPlan`.

    Yields:
        Shards in order, each on disk. Same input, same bytes.

    Raises:
        RequestTooLarge: One request alone exceeds the provider's limit.
        OSError: The folder cannot be written.
    """
    ranges = [positions] if isinstance(positions, range) else list(Positions.of(positions).ranges())
    lines = Lines(grid, provider, entry, id_prefix, attempt, doublings)
    limits = provider.limits
    if max_requests is not None:
        limits = replace(limits, max_requests=min(max_requests, limits.max_requests))
    for file in write_files(lines.blocks(ranges), limits, path_of, numbers, lines.name_of):
        yield ShardPlan(
            entry=entry,
            number=file.number,
            attempt=attempt,
            uncounted=uncounted,
            doublings=doublings,
            refusals=refusals,
            provider=provider.name,
            model_id=provider.model_id,
            positions=file.positions.text,
            requests=file.requests,
            size_bytes=file.size_bytes,
            largest_bytes=file.largest_bytes,
            sha256=file.sha256,
        )


class Lines:
    """The encoded requests of one attempt of one provider entry."""

    def __init__(
        self, grid: Grid, provider: Provider, entry: int, id_prefix: str, attempt: int, doublings: int
    ) -> None:
        self._grid = grid
        self._provider = provider
        self._entry = entry
        self._id_prefix = id_prefix
        self._attempt = attempt
        self._doublings = doublings

    def name_of(self, position: int) -> str:
        """Its custom_id."""
        return custom_id(self._id_prefix, self._index(position), self._attempt)

    def blocks(self, ranges: list[range]) -> Iterator[Block]:
        """The requests of some ranges of positions, in their order."""
        make = self._maker(ranges)
        for positions in ranges:
            yield from make(positions)

    def _index(self, position: int) -> int:
        return position * self._grid.entries + self._entry

    def _encoded(self, positions: range) -> Iterator[Block]:
        lines: list[bytes] = []
        size, start = 0, positions.start
        for position in positions:
            lines.append(self._encode(position) + b"\n")
            size += len(lines[-1])
            if size >= BLOCK_BYTES or position == positions[-1]:
                yield Block.of(range(start, position + 1), lines)
                lines, size, start = [], 0, position + 1

    def _encode(self, position: int) -> bytes:
        prompt = self._grid.prompt(self._index(position))
        return self._provider.encode(Request(self.name_of(position), prompt, self._grid.num_samples, self._doublings))

    def _maker(self, ranges: list[range]) -> Callable[[range], Iterator[Block]]:
        """What makes the lines: splicing, where that gives what `encode` writes."""
        splice = Splice.of(self._provider.encode, self._grid.num_samples, self._doublings)
        if splice is not None:
            walk = Walk(self._grid, splice, self._entry, self._id_prefix, self._attempt)
            make = partial(self._spliced, walk)
            if all(_bytes(make(few)) == _bytes(self._encoded(few)) for few in _some_of(ranges)):
                return make
        log.warning("lines of %s are encoded one by one: splicing does not fit them", self._provider.model_id)
        return self._encoded

    def _spliced(self, walk: Walk, positions: range) -> Iterator[Block]:
        done = positions.start
        try:
            for block in walk.blocks(positions):
                yield block
                done = block.positions.stop
        except UnicodeEncodeError:
            yield from self._encoded(range(done, positions.stop))  # which says where half of a character stands


def _bytes(blocks: Iterable[Block]) -> bytes:
    return b"".join(block.data for block in blocks)


def _some_of(ranges: list[range]) -> Iterator[range]:
    """A few positions here and there, evenly between the first and the last."""
    total = sum(map(len, ranges))
    wanted = sorted({number * (total - 1) // max(_COMPARED - 1, 1) for number in range(_COMPARED)}) if total else []
    passed = 0
    for positions in ranges:
        while wanted and wanted[0] < passed + len(positions):
            first = wanted.pop(0) - passed
            yield positions[first : first + _TOGETHER]
        passed += len(positions)


def write_files(
    blocks: Iterable[Block],
    limits: Limits,
    path_of: Callable[[int], Path],
    numbers: Iterator[int],
    name_of: Callable[[int], str] = str,
) -> Iterator[File]:
    """
    Stream encoded requests into files within `limits`, holding a block of them in memory at a time.

    Args:
        name_of: What to call the request at a position that is too large for any file.

    Raises:
        RequestTooLarge: One line alone exceeds `limits`; names it and both sizes.
        OSError: The folder cannot be written.
    """
    feed = _Feed(blocks)
    with ThreadPoolExecutor(1) as thread:
        while not feed.is_empty():
            number = next(numbers)
            path = path_of(number)
            path.parent.mkdir(parents=True, exist_ok=True)
            feed.check_next(limits, name_of)
            yield _write_one(number, path, feed, limits, _Hash(thread))


def _write_one(number: int, path: Path, feed: _Feed, limits: Limits, sha256: _Hash) -> File:
    """Fill one file."""
    ranges: list[range] = []
    requests = size = largest = 0
    with replacing(path) as file:
        while block := feed.take(limits.requests_in(number) - requests, limits.room_bytes - size):
            sha256.update(block.data)
            file.write(block.data)
            ranges.append(block.positions)
            requests += len(block.positions)
            size += len(block.data)
            largest = max(largest, block.largest_bytes)
    return File(number, Positions.of_ranges(ranges), requests, size, largest, sha256.hexdigest())


class _Feed:
    """Blocks, and what is left of one that did not fit into a file as a whole."""

    def __init__(self, blocks: Iterable[Block]) -> None:
        self._blocks = iter(blocks)
        self._next = next(self._blocks, None)

    def is_empty(self) -> bool:
        return self._next is None

    def check_next(self, limits: Limits, name_of: Callable[[int], str]) -> None:
        """A file that cannot hold even one line is no file: see `write_files`."""
        if self._next is None:
            return
        size, name = self._next.data.index(b"\n") + 1, name_of(self._next.positions[0])
        if size + limits.envelope_bytes > limits.max_bytes:
            raise RequestTooLarge(name, size + limits.envelope_bytes, limits.max_bytes)
        if size > limits.room_bytes:
            raise RequestTooLarge(name, size, limits.room_bytes, max_tokens=limits.max_tokens)

    def take(self, max_requests: int, max_bytes: int) -> Block | None:
        """The next block, or so much of it; None where no line fits or there is none."""
        block = self._next
        if block is None or (len(block.positions) <= max_requests and len(block.data) <= max_bytes):
            self._next = next(self._blocks, None)
            return block
        lines = block.lines()
        fitting = min(max_requests, bisect_right(list(accumulate(map(len, lines))), max_bytes))
        if not fitting:
            return None
        self._next = Block.of(block.positions[fitting:], lines[fitting:])
        return Block.of(block.positions[:fitting], lines[:fitting])


class _Hash:
    """SHA-256 in a thread beside: it takes longer than making and writing the lines, and lets them go on meanwhile."""

    def __init__(self, thread: Executor) -> None:
        self._thread = thread
        self._sha256 = hashlib.sha256()
        self._last: Future[None] | None = None

    def update(self, data: bytes) -> None:
        self._settle()  # few blocks wait in memory
        self._last = self._thread.submit(self._sha256.update, data)

    def hexdigest(self) -> str:
        self._settle()
        return self._sha256.hexdigest()

    def _settle(self) -> None:
        if self._last is not None:
            self._last.result()
