"""
The requests of a run in grid order, with where to find what was sent and what came back.

What was sent is read in order from the request files, what came back by offset from the result files: memory does
not grow with the run.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from itertools import islice
from operator import itemgetter
from pathlib import Path

from batchfast.context import Context
from batchfast.errors import StoreError
from batchfast.jsonl import READ_AHEAD, without_end
from batchfast.rows import Block, Piece
from batchfast.store import Answer, RequestRow

# Of a block: requests (count), and their result lines (bytes).
_BLOCK = 512
_BLOCK_BYTES = 1 << 21

_index, _length = itemgetter(0), itemgetter(4)


def blocks(ctx: Context) -> Iterator[Block]:
    """All requests of a run in grid order, with where to find what was sent and what came back."""
    spec, entries = str(ctx.home.snapshot(ctx.run.id)), len(ctx.providers)
    sent = [_SentLines(ctx, entry) for entry in range(entries)]
    shards = {row.id: row for row in ctx.store.shards(ctx.run.no)}
    for positions, answers in _cut(ctx.store.answers(ctx.run.no), ctx.grid.positions, entries):
        pieces = [lines.take(len(positions)) for lines in sent]
        for entry, found in enumerate(pieces):
            if (count := sum(piece.lines for piece in found)) < len(positions):
                raise _sent_lines_end(ctx, (positions.start + count) * entries + entry)
        results = {
            (shard_id, kind): str(ctx.result_file(shards[shard_id], kind))
            for shard_id, kind in {(shard_id, kind) for _, shard_id, kind, _, _ in answers}
        }
        indices = range(positions.start * entries, positions.stop * entries)
        yield Block(spec, ctx.id_prefix, indices, pieces, answers, results)


def _cut(answers: Iterator[Answer], positions: int, entries: int) -> Iterator[tuple[range, list[Answer]]]:
    """Positions in blocks, each with its answers, such that neither are many nor is there much to read."""
    most = max(_BLOCK // entries, 1)
    ahead: list[Answer] = []
    for start in range(0, positions, most):
        stop = min(start + most, positions)
        if not ahead or _index(ahead[-1]) < stop * entries:
            ahead += islice(answers, (stop - start) * entries)
        cut = bisect_left(ahead, stop * entries, key=_index)
        yield from _halved(range(start, stop), ahead[:cut], entries)
        del ahead[:cut]


def _halved(positions: range, answers: list[Answer], entries: int) -> Iterator[tuple[range, list[Answer]]]:
    """A block in parts that are small enough, where it can be cut."""
    if len(positions) == 1 or sum(map(_length, answers)) <= _BLOCK_BYTES:
        yield positions, answers
        return
    middle = positions[len(positions) // 2]
    cut = bisect_left(answers, middle * entries, key=_index)
    yield from _halved(range(positions.start, middle), answers[:cut], entries)
    yield from _halved(range(middle, positions.stop), answers[cut:], entries)


class _SentLines:
    """The requests of an entry as they were first sent, from the first to the last."""

    def __init__(self, ctx: Context, entry: int) -> None:
        shards = ctx.store.shards(ctx.run.no)
        self._paths = iter([ctx.sent_file(row) for row in shards if row.entry == entry and row.attempt == 1])
        self._lines: Iterator[bytes] = iter(())
        self._path = ""
        self._offset = 0

    def take(self, count: int) -> list[Piece]:
        """Where the next so many stand; fewer at the end."""
        pieces = []
        while count:
            piece = self._piece(count)
            if piece.lines:
                pieces.append(piece)
                count -= piece.lines
            elif not self._open_next():
                break
        return pieces

    def _piece(self, count: int) -> Piece:
        lines = size = 0
        for line in self._lines:
            size += len(line)
            lines += bool(without_end(line))
            if lines == count:
                break
        self._offset += size
        return Piece(self._path, self._offset - size, size, lines)

    def _open_next(self) -> bool:
        path = next(self._paths, None)
        if path is None:
            return False
        self._path, self._offset = str(path), 0
        self._lines = _lines_of(path)
        return True


def _lines_of(path: Path) -> Iterator[bytes]:
    with path.open("rb", buffering=READ_AHEAD) as file:
        yield from file


def _sent_lines_end(ctx: Context, index: int) -> StoreError:
    return StoreError(
        f"run {ctx.run.id}: the request files of {ctx.provider_of(index).model_id} end before request {index}; "
        "restore runs/ from a backup"
    )


def asked(ctx: Context, outcomes: Iterator[RequestRow]) -> Iterator[tuple[RequestRow, bytes]]:
    """Outcomes, which are in grid order, each with its request as it was first sent."""
    sent = [_sent_lines(ctx, entry) for entry in range(len(ctx.providers))]
    outcome = next(outcomes, None)
    for index in range(ctx.run.requests):
        if outcome is None:
            return
        line = next(sent[index % len(sent)], None)
        if line is None:
            raise _sent_lines_end(ctx, index)
        if outcome.idx == index:
            yield outcome, line
            outcome = next(outcomes, None)


def _sent_lines(ctx: Context, entry: int) -> Iterator[bytes]:
    for row in ctx.store.shards(ctx.run.no):
        if row.entry == entry and row.attempt == 1:
            yield from filter(None, map(without_end, _lines_of(ctx.sent_file(row))))
