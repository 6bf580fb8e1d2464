"""Requests to submission files within a provider's limits."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from batchfast.errors import RequestTooLarge
from batchfast.grid import Grid
from batchfast.jsonl import replacing
from batchfast.llms.base import Provider
from batchfast.records import Limits, Positions, Request, ShardPlan, custom_id


class Line(NamedTuple):
    """One encoded request, and where it stands among its provider entry's requests."""

    position: int
    custom_id: str
    data: bytes


class File(NamedTuple):
    """A submission file on disk: which requests, how large, its largest line, and its hash."""

    number: int
    positions: array[int]
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
    lines = _encoded(grid, provider, entry, positions, id_prefix, attempt, doublings)
    limits = provider.limits
    if max_requests is not None:
        limits = replace(limits, max_requests=min(max_requests, limits.max_requests))
    for file in write_files(lines, limits, path_of, numbers):
        yield ShardPlan(
            entry=entry,
            number=file.number,
            attempt=attempt,
            uncounted=uncounted,
            doublings=doublings,
            refusals=refusals,
            provider=provider.name,
            model_id=provider.model_id,
            positions=Positions.of(file.positions).text,
            requests=len(file.positions),
            size_bytes=file.size_bytes,
            largest_bytes=file.largest_bytes,
            sha256=file.sha256,
        )


def _encoded(
    grid: Grid,
    provider: Provider,
    entry: int,
    positions: Iterable[int],
    id_prefix: str,
    attempt: int,
    doublings: int,
) -> Iterator[Line]:
    for position in positions:
        index = position * grid.entries + entry
        name = custom_id(id_prefix, index, attempt)
        yield Line(position, name, provider.encode(Request(name, grid.prompt(index), grid.num_samples, doublings)))


def write_files(
    lines: Iterable[Line], limits: Limits, path_of: Callable[[int], Path], numbers: Iterator[int]
) -> Iterator[File]:
    """
    Stream encoded requests into files within `limits`, holding one request in memory at a time.

    Raises:
        RequestTooLarge: One line alone exceeds `limits`; names it and both sizes.
        OSError: The folder cannot be written.
    """
    pending = iter(lines)
    line = next(pending, None)
    while line is not None:
        number = next(numbers)
        path = path_of(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        file, line = _write_one(number, path, line, pending, limits)
        yield file


def _write_one(number: int, path: Path, first: Line, rest: Iterator[Line], limits: Limits) -> tuple[File, Line | None]:
    """Fill one file; returns it and the line that no longer fitted."""
    alone = len(first.data) + 1 + limits.envelope_bytes
    if alone > limits.max_bytes:
        raise RequestTooLarge(first.custom_id, alone, limits.max_bytes)
    room = limits.room_bytes
    if len(first.data) + 1 > room:
        raise RequestTooLarge(first.custom_id, len(first.data) + 1, room, max_tokens=limits.max_tokens)
    digest = hashlib.sha256()
    max_requests = limits.requests_in(number)
    size = largest = 0
    positions = array("Q")
    left_over: Line | None = None
    with replacing(path) as file:
        for line in chain((first,), rest):
            data = line.data + b"\n"
            if len(positions) == max_requests or size + len(data) > room:
                left_over = line
                break
            file.write(data)
            digest.update(data)
            size += len(data)
            largest = max(largest, len(data))
            positions.append(line.position)
    return File(number, positions, size, largest, digest.hexdigest()), left_over
