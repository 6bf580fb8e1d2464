"""Encoded requests to submission files within a provider's limits."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from batchfast.errors import RequestTooLarge
from batchfast.jsonl import replacing
from batchfast.records import Limits, Positions


class Line(NamedTuple):
    """One encoded request, and where it stands among its provider entry's requests."""

    position: int
    custom_id: str
    data: bytes


@dataclass(frozen=True, slots=True)
class CompiledShard:
    """A submission file on disk; `sha256` and `size_bytes` are the file's."""

    number: int
    path: Path
    positions: Positions
    requests: int
    size_bytes: int
    sha256: str


def write_shards(
    lines: Iterable[Line], limits: Limits, path_of: Callable[[int], Path], first_number: int = 0
) -> Iterator[CompiledShard]:
    """
    Stream requests into files that one provider will accept, holding one request in memory at a time.

    Args:
        lines: Ascending positions, none twice. Read once.
        limits: Requests per file (count) and size of the body really sent (bytes).
        path_of: Shard number to file.
        first_number: The number of the first shard.

    Yields:
        Non-empty shards in input order, each on disk. Same input, same bytes.

    Raises:
        RequestTooLarge: One request alone exceeds `limits.max_bytes`; names it and both sizes.
        ConfigError: The folder cannot be written.
    """
    pending = iter(lines)
    number = first_number
    line = next(pending, None)
    while line is not None:
        path = path_of(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        shard, line = _write_one(number, path, line, pending, limits)
        yield shard
        number += 1


def _write_one(
    number: int, path: Path, first: Line, rest: Iterator[Line], limits: Limits
) -> tuple[CompiledShard, Line | None]:
    """Fill one file; returns it and the line that no longer fitted."""
    alone = len(first.data) + 1 + limits.envelope_bytes
    if alone > limits.max_bytes:
        raise RequestTooLarge(first.custom_id, alone, limits.max_bytes)
    digest = hashlib.sha256()
    room = limits.max_bytes - limits.envelope_bytes
    size = 0
    positions = array("Q")
    left_over: Line | None = None
    with replacing(path) as file:
        for line in chain((first,), rest):
            data = line.data + b"\n"
            if len(positions) == limits.max_requests or size + len(data) > room:
                left_over = line
                break
            file.write(data)
            digest.update(data)
            size += len(data)
            positions.append(line.position)
    shard = CompiledShard(number, path, Positions.of(positions), len(positions), size, digest.hexdigest())
    return shard, left_over
