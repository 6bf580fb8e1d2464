"""
Collected results to the dataset: rows in grid order, and every request that gave none in the failures file.

What was sent is read in order from the request files, what came back by offset from the result files: memory does
not grow with the run.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from array import array
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Self

from batchfast.context import Context
from batchfast.errors import ConfigError, StoreError
from batchfast.jsonl import located_lines, replacing, sha256_of
from batchfast.parse import parse_reply
from batchfast.records import Result, custom_id
from batchfast.store import RequestRow, ShardRow

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:batchfast:row")

# Result files kept open at once while rows are written in grid order (count).
_MAX_OPEN = 64


class Asked(NamedTuple):
    """Request `number` as it was sent the first time, and its outcome if it has one."""

    number: int
    line: bytes
    outcome: RequestRow | None


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
    rows = _write(ctx, path, _rows(ctx))
    bad = failures_path(path)
    failed = 0
    if _has_failures(ctx):
        failed = _write(ctx, bad, _failures(ctx))
    elif bad.is_file() and ours(ctx, bad):
        bad.unlink()
    return Written(path, rows, bad if failed else None, failed)


def write_partial(ctx: Context, target: Path) -> tuple[Path, int]:
    """Rows of what is settled so far, to `<stem>.partial.jsonl` beside the dataset; the file and its rows (count)."""
    path = choose_path(ctx, target.with_name(f"{target.stem}.partial.jsonl"))
    return path, _write(ctx, path, _rows(ctx))


def dataset_sha256(ctx: Context) -> str:
    """Hash of the dataset as the raw files on disk give it now: of what `write_dataset` would write."""
    digest = hashlib.sha256()
    for row in _rows(ctx):
        digest.update(_json_line(row))
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


def _write(ctx: Context, path: Path, records: Iterable[dict[str, Any]]) -> int:
    """Write JSON lines; returns how many. The hash is recorded before the file appears."""
    digest = hashlib.sha256()
    count = 0
    with replacing(path, instead="choose another place with output_file or -o") as out:
        for record in records:
            data = _json_line(record)
            digest.update(data)
            out.write(data)
            count += 1
        ctx.store.record_output(ctx.run.no, path, digest.hexdigest())
    return count


def _json_line(record: dict[str, Any]) -> bytes:
    return json.dumps(record, ensure_ascii=False).encode() + b"\n"


def _has_failures(ctx: Context) -> bool:
    return next(ctx.store.rowless(ctx.run.no), None) is not None


# -- rows


def _rows(ctx: Context) -> Iterator[dict[str, Any]]:
    occurrences = _Occurrences(ctx.run.requests)
    with Replies(ctx) as replies:
        for index, line, outcome in asked(ctx):
            asked_for = _identity(ctx, index, line)
            occurrence = occurrences.count(int.from_bytes(asked_for[:8], "big"))
            if outcome is None or outcome.outcome != "succeeded":
                continue
            result = replies.result(outcome)
            for sample, text in enumerate(parse_reply(result, ctx.grid.num_samples).texts):
                name = f"{asked_for.hex()}\n{occurrence}\n{sample}"
                yield row_of(ctx, index, text, sample, str(uuid.uuid5(_NAMESPACE, name)))


def row_of(ctx: Context, index: int, text: str, sample: int, row_uuid: str) -> dict[str, Any]:
    """One line of the dataset."""
    about = _about(ctx, index)
    return {
        "uuid": row_uuid,
        "text": text,
        "text_source": "synthetic",
        "model_id": about["model_id"],
        "language": about["language"],
        "metadata": about["metadata"] | {"sample_index": sample},
    }


def _about(ctx: Context, index: int) -> dict[str, Any]:
    """What a row says about itself: arithmetic on the run's snapshot."""
    cell = ctx.grid.cell(index)
    provider = ctx.provider_of(index)
    return {
        "model_id": provider.model_id,
        "language": cell.language,
        "metadata": cell.metadata
        | {"provider": provider.name, "prompt_index": cell.prompt_index, "request_index": index},
    }


def _identity(ctx: Context, index: int, line: bytes) -> bytes:
    """Hash of what was asked of whom: provider, model, and the line without the id that says who asked."""
    provider = ctx.provider_of(index)
    own_id = custom_id(ctx.id_prefix, index, 1).encode()
    asked_of = f"{provider.name}\n{provider.model_id}\n".encode()
    return hashlib.sha256(asked_of + line.replace(own_id, b"", 1)).digest()


# -- failures


def _failures(ctx: Context) -> Iterator[dict[str, Any]]:
    with Replies(ctx) as replies:
        for index, line, outcome in asked(ctx):
            if outcome is None or outcome.outcome == "succeeded":
                continue
            provider = ctx.provider_of(index)
            result = replies.result(outcome) if outcome.file else None
            yield {
                "outcome": outcome.outcome,
                "reason": outcome.error_type,
                "message": outcome.error_message,
                "status_code": outcome.status_code,
                "finish_reason": outcome.finish_reason,
                "attempts": outcome.attempt,
                "prompt": provider.prompt_of(line),
                "raw_text": result.text if result else None,
            } | _about(ctx, index)


# -- walking a run


def asked(ctx: Context) -> Iterator[Asked]:
    """Every request of the run in grid order, each as it was first sent."""
    sent = [_sent_lines(ctx, entry) for entry in range(len(ctx.providers))]
    finals = ctx.store.finals(ctx.run.no)
    outcome = next(finals, None)
    for index in range(ctx.run.requests):
        line = next(sent[index % len(sent)], None)
        if line is None:
            raise StoreError(
                f"run {ctx.run.id}: the request files of {ctx.provider_of(index).model_id} end before request {index}; "
                "restore runs/ from a backup"
            )
        if outcome is not None and outcome.idx == index:
            yield Asked(index, line, outcome)
            outcome = next(finals, None)
        else:
            yield Asked(index, line, None)


def _sent_lines(ctx: Context, entry: int) -> Iterator[bytes]:
    for row in ctx.store.shards(ctx.run.no):
        if row.entry == entry and row.attempt == 1:
            for _, line in located_lines(ctx.sent_file(row)):
                yield line


class Replies:
    """Result lines by their place on disk, with a bounded number of files open."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._shards: dict[int, ShardRow] = {row.id: row for row in ctx.store.shards(ctx.run.no)}
        self._open: dict[Path, BinaryIO] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with ExitStack() as stack:
            for file in self._open.values():
                stack.callback(file.close)

    def result(self, outcome: RequestRow) -> Result:
        shard = self._shards[outcome.shard_id]
        file = self._file(self._ctx.result_file(shard, outcome.file or "output"))
        file.seek(outcome.offset or 0)
        return self._ctx.provider(shard).decode(file.read(outcome.length or 0))

    def _file(self, path: Path) -> BinaryIO:
        file = self._open.pop(path, None)
        if file is None:
            if len(self._open) >= _MAX_OPEN:
                self._open.pop(next(iter(self._open))).close()
            file = path.open("rb")
        self._open[path] = file
        return file


class _Occurrences:
    """
    How often a hash came before, in 16 to 32 bytes a request: an open-addressed table of 64-bit numbers.

    Two bodies that share 64 bits by chance only number a uuid differently, and the same way every time.
    """

    def __init__(self, requests: int) -> None:
        self._mask = (1 << (2 * requests).bit_length()) - 1
        self._slots = array("Q", bytes(8 * (self._mask + 1)))
        self._repeats: dict[int, int] = {}

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
