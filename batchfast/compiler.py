"""
Requests to submission files within a provider's limits.

Lines come in blocks of consecutive requests, spliced where `encode` agrees with that and encoded one by one where it
does not; a block is written and hashed at once.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from batchfast.errors import RequestTooLarge
from batchfast.grid import Grid
from batchfast.jsonl import replacing
from batchfast.llms.base import Provider
from batchfast.llms.splice import Splice
from batchfast.records import Limits, Positions, Request, ShardPlan, custom_id
from batchfast.walk import Walk

log = logging.getLogger(__name__)

# Requests in a block, at most; fewer where lines are long, so that a block has about so many bytes.
_BLOCK_REQUESTS = 1_024
_BLOCK_BYTES = 1 << 20

# Requests of a compilation whose spliced line is compared with the encoded one (count).
_COMPARED = 16


class Block(NamedTuple):
    """Encoded requests of consecutive positions, a newline behind each."""

    positions: range
    lines: list[bytes]


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
        size = _BLOCK_REQUESTS
        for positions in ranges:
            rest = positions
            while rest:
                block, rest = rest[:size], rest[size:]
                lines = make(block)
                yield Block(block, lines)
                size = max(1, min(_BLOCK_REQUESTS, _BLOCK_BYTES * len(lines) // sum(map(len, lines))))

    def _index(self, position: int) -> int:
        return position * self._grid.entries + self._entry

    def _encoded(self, positions: range) -> list[bytes]:
        return [self._encode(position) + b"\n" for position in positions]

    def _encode(self, position: int) -> bytes:
        prompt = self._grid.prompt(self._index(position))
        return self._provider.encode(Request(self.name_of(position), prompt, self._grid.num_samples, self._doublings))

    def _maker(self, ranges: list[range]) -> Callable[[range], list[bytes]]:
        """What makes a block's lines: splicing, where that gives what `encode` writes."""
        splice = Splice.of(self._provider.encode, self._grid.num_samples, self._doublings)
        if splice is not None:
            make = partial(self._spliced, splice, Walk(self._grid))
            if all(make(range(one, one + 1)) == self._encoded(range(one, one + 1)) for one in _some_of(ranges)):
                return make
        log.warning("lines of %s are encoded one by one: splicing does not fit them", self._provider.model_id)
        return self._encoded

    def _spliced(self, splice: Splice, walk: Walk, positions: range) -> list[bytes]:
        indices = range(self._index(positions.start), self._index(positions.stop), self._grid.entries)
        try:
            return splice.lines(self._id_prefix, self._attempt, indices, walk.prompts(positions))
        except UnicodeEncodeError:
            return self._encoded(positions)  # which says where half of a character stands


def _some_of(ranges: list[range]) -> Iterator[int]:
    """A few positions: first and last, and others evenly between them."""
    total = sum(map(len, ranges))
    wanted = sorted({number * (total - 1) // max(_COMPARED - 1, 1) for number in range(_COMPARED)}) if total else []
    passed = 0
    for positions in ranges:
        while wanted and wanted[0] < passed + len(positions):
            yield positions[wanted.pop(0) - passed]
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
    pending = iter(blocks)
    block = next(pending, None)
    while block is not None:
        number = next(numbers)
        path = path_of(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        _check_first(block, limits, name_of)
        file, block = _write_one(number, path, block, pending, limits)
        yield file


def _check_first(block: Block, limits: Limits, name_of: Callable[[int], str]) -> None:
    """A file that cannot hold even one line is no file."""
    size, name = len(block.lines[0]), name_of(block.positions[0])
    if size + limits.envelope_bytes > limits.max_bytes:
        raise RequestTooLarge(name, size + limits.envelope_bytes, limits.max_bytes)
    if size > limits.room_bytes:
        raise RequestTooLarge(name, size, limits.room_bytes, max_tokens=limits.max_tokens)


def _write_one(
    number: int, path: Path, first: Block, rest: Iterator[Block], limits: Limits
) -> tuple[File, Block | None]:
    """Fill one file; returns it and what no longer fitted."""
    digest = hashlib.sha256()
    ranges: list[range] = []
    requests = size = largest = 0
    block: Block | None = first
    with replacing(path) as file:
        while block is not None:
            fitting = _fitting(block.lines, limits.requests_in(number) - requests, limits.room_bytes - size)
            if fitting:
                data = b"".join(block.lines[:fitting])
                file.write(data)
                digest.update(data)
                size += len(data)
                requests += fitting
                largest = max(largest, *map(len, block.lines[:fitting]))
                ranges.append(block.positions[:fitting])
            if fitting < len(block.lines):
                block = Block(block.positions[fitting:], block.lines[fitting:])
                break
            block = next(rest, None)
    positions = Positions.of_ranges(ranges)
    return File(number, positions, requests, size, largest, digest.hexdigest()), block


def _fitting(lines: list[bytes], max_requests: int, room_bytes: int) -> int:
    """How many of the lines fit into what is left of a file (count)."""
    if len(lines) <= max_requests and sum(map(len, lines)) <= room_bytes:
        return len(lines)
    size = 0
    for number, line in enumerate(lines[:max_requests]):
        size += len(line)
        if size > room_bytes:
            return number
    return min(max_requests, len(lines))
