"""Collected results to the dataset: rows in grid order, and every request that gave none in the failures file."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from batchfast.blocks import asked, blocks
from batchfast.context import Context
from batchfast.errors import ConfigError
from batchfast.handover import handover
from batchfast.jsonl import replacing, sha256_of
from batchfast.meter import Step
from batchfast.replies import Replies
from batchfast.rows import Rows, rows_of, rows_to_file
from batchfast.workers import in_order, workers

# Lines of a file, and how many.
Chunk: TypeAlias = tuple[bytes, int]

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
    for rows in _unnumbered(ctx):
        repeated = occurrences.repeated(rows.numbers())
        yield rows.named(repeated) if repeated else rows.data, len(rows.starts)


def _unnumbered(ctx: Context) -> Iterator[Rows]:
    """All rows, those of large runs made side by side."""
    with (
        handover(ctx.home.run(ctx.run.id)) as folder,
        workers(ctx.executor, "read answers", ctx.run.requests, _MOST_PROCESSES) as pool,
    ):
        if pool is None or folder is None:
            yield from map(rows_of, blocks(ctx))
            return
        tasks = ((block, str(folder / f"{number}.jsonl")) for number, block in enumerate(blocks(ctx)))
        for rows, path in in_order(pool, rows_to_file, tasks, _AHEAD):
            yield rows._replace(data=_taken(Path(path)))


def _taken(path: Path) -> bytes:
    data = path.read_bytes()
    path.unlink()
    return data


# -- failures


def _failures(ctx: Context) -> Iterator[Chunk]:
    with Replies(ctx) as replies:
        for outcome, line in asked(ctx, ctx.store.failures(ctx.run.no)):
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
