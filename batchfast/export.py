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
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from operator import methodcaller
from pathlib import Path
from typing import Any, TypeVar

from batchfast.context import Context
from batchfast.errors import ConfigError, StoreError
from batchfast.jsonl import replacing, sha256_of
from batchfast.llms.typed import to_json
from batchfast.meter import Step
from batchfast.records import custom_id
from batchfast.replies import Given, Replies, texts_of
from batchfast.store import RequestRow
from batchfast.workers import workers

Settled = TypeVar("Settled", Given, RequestRow)

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:batchfast:row").bytes

# A row, as `json.dumps` would write it: uuid, text, model_id, language, placeholders and the like, provider, numbers.
_ROW = (
    b'{"uuid": "%b", "text": %b, "text_source": "synthetic", "model_id": %b, "language": %b, "metadata": {%b, '
    b'"provider": %b, "prompt_index": %d, "request_index": %d, "sample_index": %d}}\n'
)

# More keep the one process that writes no busier (count).
_MOST_PROCESSES = 3

# Lines that are written together (count).
_BLOCK = 256


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
    with ctx.meter.step("checking rows", "rows", ctx.store.rows(ctx.run.no)) as step:
        return _sha256(step.counted(_rows(ctx)))


def failures_sha256(ctx: Context) -> str:
    """As `dataset_sha256`, of the failures file."""
    return _sha256(_failures(ctx))


def _sha256(lines: Iterator[bytes]) -> str:
    digest = hashlib.sha256()
    for line in lines:
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


def _write(ctx: Context, path: Path, lines: Iterator[bytes], step: Step) -> int:
    """Write lines; returns how many. The hash is recorded before the file appears."""
    digest = hashlib.sha256()
    count = 0
    with replacing(path, instead="choose another place with output_file or -o") as out:
        while lines_at_once := list(islice(lines, _BLOCK)):
            block = b"".join(lines_at_once)
            digest.update(block)
            out.write(block)
            count += len(lines_at_once)
            step.advance(len(lines_at_once), size_bytes=len(block))
        ctx.store.record_output(ctx.run.no, path, digest.hexdigest())
    return count


def _has_failures(ctx: Context) -> bool:
    return next(ctx.store.rowless(ctx.run.no), None) is not None


# -- rows


def _rows(ctx: Context) -> Iterator[bytes]:
    occurrences = _Occurrences(ctx.run.requests)
    headings = [f"{provider.name}\n{provider.model_id}\n".encode() for provider in ctx.providers]
    with workers(ctx.executor, ctx.run.requests, _MOST_PROCESSES) as pool:
        for index, line, given in asked(ctx, texts_of(ctx, pool)):
            asked_for = _identity(ctx, index, line, headings[index % len(headings)])
            occurrence = occurrences.count(int.from_bytes(asked_for[:8], "big"))
            if given is None:
                continue
            about = _about_json(ctx, index)
            for sample, text in enumerate(given.texts):
                row_uuid = _uuid5(b"%b\n%d\n%d" % (asked_for.hex().encode(), occurrence, sample))
                yield _ROW % (row_uuid, text, *about, sample)


def _identity(ctx: Context, index: int, line: bytes, heading: bytes) -> bytes:
    """Hash of what was asked of whom: provider, model, and the line without the id that says who asked."""
    own_id = custom_id(ctx.id_prefix, index, 1).encode()
    return hashlib.sha256(heading + line.replace(own_id, b"", 1)).digest()


def _uuid5(name: bytes) -> bytes:
    """As `uuid.uuid5` in the namespace of rows, in a tenth of its time."""
    digits = hashlib.sha1(_NAMESPACE + name, usedforsecurity=False).hexdigest()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-5{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:32]}".encode()


def _about_json(ctx: Context, index: int) -> tuple[bytes, bytes, bytes, bytes, int, int]:
    """As `_about`, in the order of a row's template."""
    cell, provider = ctx.grid.cell(index), ctx.provider_of(index)
    named = b", ".join([b"%b: %b" % (to_json(name), to_json(value)) for name, value in cell.metadata.items()])
    model_id, language = to_json(provider.model_id), to_json(cell.language)
    return model_id, language, named, to_json(provider.name), cell.prompt_index, index


# -- failures


def _failures(ctx: Context) -> Iterator[bytes]:
    with Replies(ctx) as replies:
        for index, line, outcome in asked(ctx, ctx.store.failures(ctx.run.no)):
            if outcome is None:
                continue
            provider = ctx.provider_of(index)
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
            yield json.dumps(record | _about(ctx, index), ensure_ascii=False).encode() + b"\n"


def _about(ctx: Context, index: int) -> dict[str, Any]:
    """What a row of the same request would say about itself."""
    cell = ctx.grid.cell(index)
    provider = ctx.provider_of(index)
    named = {"provider": provider.name, "prompt_index": cell.prompt_index, "request_index": index}
    return {"model_id": provider.model_id, "language": cell.language, "metadata": cell.metadata | named}


# -- walking a run


def asked(ctx: Context, outcomes: Iterator[Settled]) -> Iterator[tuple[int, bytes, Settled | None]]:
    """
    Every request of the run in grid order: its index, its line as it was first sent, and its outcome.

    Args:
        outcomes: In the same order; a request without one has None.
    """
    sent = [_sent_lines(ctx, entry) for entry in range(len(ctx.providers))]
    outcome = next(outcomes, None)
    for index in range(ctx.run.requests):
        line = next(sent[index % len(sent)], None)
        if line is None:
            raise StoreError(
                f"run {ctx.run.id}: the request files of {ctx.provider_of(index).model_id} end before request {index}; "
                "restore runs/ from a backup"
            )
        if outcome is not None and outcome.idx == index:
            yield index, line, outcome
            outcome = next(outcomes, None)
        else:
            yield index, line, None


def _sent_lines(ctx: Context, entry: int) -> Iterator[bytes]:
    for row in ctx.store.shards(ctx.run.no):
        if row.entry == entry and row.attempt == 1:
            with ctx.sent_file(row).open("rb") as file:
                yield from filter(None, map(_without_end, file))


_without_end = methodcaller("rstrip", b"\r\n")


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
