"""
Collected results to the dataset: rows in grid order, and every request that gave none in the failures file.

What was sent is read in order from the request files, what came back by offset from the result files: memory does
not grow with the run.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from batchfast.context import Context
from batchfast.errors import ConfigError, StoreError
from batchfast.jsonl import READ_AHEAD, replacing, sha256_of, without_end
from batchfast.meter import Step
from batchfast.replies import Replies
from batchfast.rows import Block, Piece, rows_of
from batchfast.store import Answer, RequestRow
from batchfast.workers import in_order, workers

# Lines of a file, and how many.
Chunk: TypeAlias = tuple[bytes, int]

# Of what is read and written together: requests (count), and their result lines (bytes).
_BLOCK = 512
_BLOCK_BYTES = 1 << 20

# Blocks that wait to be written at most, and processes beyond which the one that writes is no busier (count).
_AHEAD = 8
_MOST_PROCESSES = 4


@dataclass(frozen=True, slots=True)
class Written:
    """What an export wrote: `failures` is None where every request gave rows."""

    path: Path
    rows: int
    failures: Path | None
    failed: int


def write_dataset(ctx: Context, target: Path, *, force: bool = False) -> Written:
    """
    Write the rows of all settled requests to `target`, and what gave no row beside it.

    A file that this run did not write is left alone: the rows then go to `<stem>.<run>.jsonl`, unless `force`.

    Raises:
        ConfigError: The folder cannot be written, or both files are someone else's.
    """
    path = choose_path(ctx, target, force=force)
    rows = _write_rows(ctx, path)
    bad = failures_path(path)
    failed = 0
    if _has_failures(ctx):
        with ctx.meter.step("writing failures", "requests") as step:
            failed = _write(ctx, bad, _failures(ctx), step)
    elif bad.is_file() and ours(ctx, bad):
        bad.unlink()
    return Written(path, rows, bad if failed else None, failed)


def write_partial(ctx: Context, target: Path) -> tuple[Path, int]:
    """Rows of what is settled so far, to `<stem>.partial.jsonl` beside the dataset; the file and its rows (count)."""
    path = choose_path(ctx, target.with_name(f"{target.stem}.partial.jsonl"))
    return path, _write_rows(ctx, path)


def dataset_sha256(ctx: Context) -> str:
    """Hash of the dataset as the raw files on disk give it now: of what `write_dataset` would write."""
    digest = hashlib.sha256()
    with ctx.meter.step("checking rows", "rows", ctx.store.rows(ctx.run.no)) as step:
        for data, rows in _rows(ctx):
            digest.update(data)
            step.advance(rows, size_bytes=len(data))
    return digest.hexdigest()


def failures_sha256(ctx: Context) -> str:
    """As `dataset_sha256`, of the failures file."""
    digest = hashlib.sha256()
    for line, _ in _failures(ctx):
        digest.update(line)
    return digest.hexdigest()


def failures_path(path: Path) -> Path:
    return path.with_name(f"{path.stem}.failures.jsonl")


def choose_path(ctx: Context, target: Path, *, force: bool = False) -> Path:
    """`target`, or the run's own name beside it where `target` holds something else."""
    if force or (ours(ctx, target) and ours(ctx, failures_path(target))):
        return target
    other = target.with_name(f"{target.stem}.{ctx.run.id}.jsonl")
    if ours(ctx, other) and ours(ctx, failures_path(other)):
        return other
    raise ConfigError(f"{target} and {other} hold something else than this run's rows; use -o FILE or --force")


def ours(ctx: Context, path: Path) -> bool:
    """Whether `path` may be replaced: it is absent, or holds what this run wrote there."""
    if not path.exists():
        return True
    if not path.is_file():
        return False
    return ctx.store.wrote(ctx.run.no, sha256_of(path))


def _write_rows(ctx: Context, path: Path) -> int:
    with ctx.meter.step("writing rows", "rows", ctx.store.rows(ctx.run.no)) as step:
        return _write(ctx, path, _rows(ctx), step)


def _write(ctx: Context, path: Path, chunks: Iterator[Chunk], step: Step) -> int:
    """Write lines; returns how many. The hash is recorded before the file appears."""
    digest = hashlib.sha256()
    count = 0
    with replacing(path, instead="choose another place with output_file or -o") as out:
        for data, lines in chunks:
            digest.update(data)
            out.write(data)
            count += lines
            step.advance(lines, size_bytes=len(data))
        ctx.store.record_output(ctx.run.no, path, digest.hexdigest())
    return count


def _has_failures(ctx: Context) -> bool:
    return next(ctx.store.rowless(ctx.run.no), None) is not None


# -- rows


def _rows(ctx: Context) -> Iterator[Chunk]:
    occurrences = _Occurrences(ctx.run.requests)
    blocks = _blocks(ctx)
    with workers(ctx.executor, ctx.run.requests, _MOST_PROCESSES) as pool:
        for rows in in_order(pool, rows_of, blocks, _AHEAD):
            repeated = occurrences.repeated(rows.numbers())
            yield rows.named(repeated) if repeated else rows.data, len(rows.starts)


def _blocks(ctx: Context) -> Iterator[Block]:
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
    pending = next(answers, None)
    start = 0
    while start < positions:
        stop = min(start + most, positions)
        found: list[Answer] = []
        size = 0
        while pending is not None and pending[0] < stop * entries:
            if size >= _BLOCK_BYTES and pending[0] // entries > found[-1][0] // entries:
                stop = pending[0] // entries
                break
            found.append(pending)
            size += pending[4]
            pending = next(answers, None)
        yield range(start, stop), found
        start = stop


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


# -- failures


def _failures(ctx: Context) -> Iterator[Chunk]:
    with Replies(ctx) as replies:
        for outcome, line in _asked(ctx, ctx.store.failures(ctx.run.no)):
            provider = ctx.provider_of(outcome.idx)
            result = replies.result(outcome) if outcome.file else None
            record = {
                "outcome": outcome.outcome,
                "reason": outcome.error_type,
                "message": outcome.error_message,
                "status_code": outcome.status_code,
                "finish_reason": outcome.finish_reason,
                "attempts": outcome.attempt,
                "prompt": provider.prompt_of(line),
                "raw_text": result.text if result else None,
            }
            yield json.dumps(record | _about(ctx, outcome.idx), ensure_ascii=False).encode() + b"\n", 1


def _about(ctx: Context, index: int) -> dict[str, Any]:
    """What a row of the same request would say about itself."""
    cell = ctx.grid.cell(index)
    provider = ctx.provider_of(index)
    named = {"provider": provider.name, "prompt_index": cell.prompt_index, "request_index": index}
    return {"model_id": provider.model_id, "language": cell.language, "metadata": cell.metadata | named}


# -- walking a run


def _asked(ctx: Context, outcomes: Iterator[RequestRow]) -> Iterator[tuple[RequestRow, bytes]]:
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


class _Occurrences:
    """
    How often a hash came before, in 16 to 32 bytes a request: an open-addressed table of 64-bit numbers.

    Two bodies that share 64 bits by chance only number a uuid differently, and the same way every time.
    """

    def __init__(self, requests: int) -> None:
        self._mask = (1 << (2 * requests).bit_length()) - 1
        self._slots = array("Q", bytes(8 * (self._mask + 1)))
        self._repeats: dict[int, int] = {}

    def repeated(self, numbers: Sequence[int]) -> list[tuple[int, int]]:
        """Which of these came before, by their place here, and how often."""
        counts = map(self.count, numbers)
        return [(place, count) for place, count in enumerate(counts) if count]

    def count(self, number: int) -> int:
        number = number or 1  # 0 marks an empty slot
        at = number & self._mask
        while self._slots[at]:
            if self._slots[at] == number:
                self._repeats[number] = self._repeats.get(number, 0) + 1
                return self._repeats[number]
            at = (at + 1) & self._mask
        self._slots[at] = number
        return 0
