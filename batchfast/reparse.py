"""
A run's dataset made anew from the files under `runs/<id>/`: what was asked for, what was sent, what came back.

No key, no network, and nothing is sent. The files become the rows of a database of their own, which is thrown away, and
the ordinary export runs over it: where nothing has changed, the bytes are those that `collect` wrote. The home's
database is asked only for what no file tells: how requests without a result line ended, what still runs, and which
dataset files are the run's.
"""

from __future__ import annotations

import json
import logging
import re
import tempfile
from array import array
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from batchfast.answers import Answers
from batchfast.clock import Clock, iso
from batchfast.cluster import DaskCluster
from batchfast.collect import MISSING
from batchfast.context import Context
from batchfast.errors import StoreError
from batchfast.export import Written, dataset_sha256, failures_sha256, write_dataset
from batchfast.grid import Grid
from batchfast.home import Home, stem_of
from batchfast.jsonl import located_lines
from batchfast.llms.base import Provider
from batchfast.meter import BYTES, Meter, Step
from batchfast.outcomes import Absent, end_shard, result_files
from batchfast.rawfiles import collected_files
from batchfast.records import Positions, ShardPlan, split_custom_id
from batchfast.runs import is_fake, snapshot_of
from batchfast.snapshot import providers_of, snapshot_id
from batchfast.store import ShardRow
from batchfast.store.rebuilt import Known, RebuiltStore

log = logging.getLogger(__name__)

_STEM = re.compile(r"(\d+)-.+-(\d+)-(\d+)", re.ASCII)

# Every adapter's line begins with its id.
_ID = re.compile(rb'\{"(?:custom_id|key)":"([A-Za-z0-9_-]+)"')


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """
    What came of it.

    Attributes:
        requests: Of the run (count).
        open: Requests whose last batch has not ended as far as the database knows; without one, has left no result
            file (count).
        reasons: Why requests gave no row, as `Store.failure_reasons`.
        lost: What the database knows to have been on disk, and is not, a line each.
    """

    written: Written
    requests: int
    open: int
    reasons: list[tuple[str, str, int]]
    lost: list[str]


def reparse(
    home: Home,
    run_id: str,
    target: Path,
    clock: Clock,
    *,
    known: Known | None,
    force: bool = False,
    executor: Executor | DaskCluster | None = None,
    meter: Meter | None = None,
) -> Rebuilt:
    """
    Write the dataset of a run, and its failures file, from the run's files.

    Args:
        known: What the home's database knows of the run; None where it is lost.
        target, force: As in `write_dataset`.
        executor: Where the rows are made, as in `Session`; the files are read here.
        meter: Told of all that takes long.

    Raises:
        StoreError: A file that is needed is gone or damaged, or `target` may hold rows that the files no longer give.
        ConfigError: As in `write_dataset`.
    """
    with (
        tempfile.TemporaryDirectory(prefix="batchfast-") as folder,
        RebuiltStore(Path(folder) / "rebuilt.db", known) as store,
    ):
        ctx = _context(home, run_id, target, clock, store, known, meter or Meter())
        ctx.executor = executor
        lost = list(_lost(ctx, known)) if known else []
        own = known is not None and target.resolve() == Path(known.run.output_file).resolve()
        if lost and (own or (target.exists() and not force)):  # rows may stand there that no file gives any more
            raise StoreError(
                f"run {run_id}: {lost[0]}, so {target} was left as it is; restore the file from a backup, or write "
                "what is left to a new file with -o FILE"
            )
        last_words = _LastWords(ctx)
        for row in store.shards(ctx.run.no):
            last_words.add(row, is_open=_take_in(ctx, row, known))
        open_requests = sum(1 for _ in last_words.open())
        # Where nobody knows better, an open request has failed: each is in one of the two files.
        store.choose_finals(ctx.run.no, last_words.open() if known else ())
        if known is None:  # nothing tells whose a file is, but one with the same content is the same file
            for sha256 in (dataset_sha256(ctx), failures_sha256(ctx)):
                store.record_output(ctx.run.no, target, sha256)
        written = write_dataset(ctx, target, force=force)
        return Rebuilt(written, ctx.run.requests, open_requests, store.failure_reasons(ctx.run.no), lost)


def _lost(ctx: Context, known: Known) -> Iterator[str]:
    """What the database knows to have been on disk, and is not."""
    for path, problem in collected_files(known.store, known.run.no, ctx.result_file):
        if problem:
            yield f"{path} {problem}"
    found = {row.name for row in ctx.store.shards(ctx.run.no)}
    for row in known.store.shards(known.run.no):
        if row.name not in found:
            yield f"{ctx.sent_file(row)} is missing"


def _context(
    home: Home, run_id: str, target: Path, clock: Clock, store: RebuiltStore, known: Known | None, meter: Meter
) -> Context:
    """The run with all its shards, waiting, in a store of its own."""
    snapshot = snapshot_of(home, run_id)
    providers = providers_of(snapshot, [{}] * len(snapshot["providers"]))
    grid = Grid(snapshot)
    sent = list(_request_files(home, run_id, providers))
    id_prefix = _id_prefix(run_id, sent)
    plans = (
        _plan(one, providers[one.entry], id_prefix, len(providers))
        for one in sent
        if not _left_behind(home, run_id, one, known)
    )
    run = {
        "id": run_id,
        "fake": int(is_fake(run_id)),
        "snapshot_id": snapshot_id(snapshot),
        "endpoints": json.dumps([""] * len(providers)),
        "conduct": "{}",
        "output_file": str(target),
        "requests": len(grid),
        "state": "running",
        # Nothing is asked again: each attempt's outcome stands as it came.
        "cancel_requested": 1,
        "created_at": iso(clock.now()),
    }
    with meter.step("reading requests", BYTES, sum(one.path.stat().st_size for one in sent)) as step:
        row = store.add_run(run, _counted(plans, step))
    return Context(
        store=store,
        home=home,
        run=row,
        providers=providers,
        grid=grid,
        nonce=id_prefix.removeprefix(f"{run_id}-"),
        clock=clock,
        max_attempts=1,
        recheck_after_s=0,
        meter=meter,
    )


def _counted(plans: Iterator[ShardPlan], step: Step) -> Iterator[ShardPlan]:
    for plan in plans:
        yield plan
        step.advance(plan.size_bytes)


class _Sent(NamedTuple):
    """A request file, and which shard its name says it is."""

    path: Path
    entry: int
    number: int
    attempt: int

    @property
    def name(self) -> str:
        return f"{self.entry}-{self.number}-{self.attempt}"


def _request_files(home: Home, run_id: str, providers: Sequence[Provider]) -> Iterator[_Sent]:
    for path in sorted((home.run(run_id) / "requests").glob("*.jsonl")):
        match = _STEM.fullmatch(path.stem)
        entry, number, attempt = map(int, match.groups()) if match else (-1, 0, 0)
        provider = providers[entry] if 0 <= entry < len(providers) else None
        if provider and path.stem == stem_of(entry, provider.name, provider.model_id, number, attempt):
            yield _Sent(path, entry, number, attempt)
        else:
            log.warning("run %s: %s is none of its request files; ignored", run_id, path)


def _id_prefix(run_id: str, sent: Sequence[_Sent]) -> str:
    """
    How each id of the run begins: with its name, and the mark of the home it was made in.

    Raises:
        StoreError: There is no request to read it from.
    """
    for path in (one.path for one in sent):
        for _, line in located_lines(path):
            prefix = _sent_id(path, line)[0]
            if prefix.startswith(f"{run_id}-"):
                return prefix
            raise _not_ours(path)
    raise StoreError(f"run {run_id}: none of its request files is there; restore runs/ from a backup")


def _left_behind(home: Home, run_id: str, sent: _Sent, known: Known | None) -> bool:
    """Whether a crash left the file behind before its shard was entered: it was never sent."""
    if known is None or sent.name in known.open | known.ended:
        return False
    return not any(home.results(run_id, sent.path.stem, kind).is_file() for kind in ("output", "error"))


def _plan(sent: _Sent, provider: Provider, id_prefix: str, entries: int) -> ShardPlan:
    """
    Raises:
        StoreError: A line is not what the file's name says.
    """
    path, entry, number, attempt = sent
    positions = array("Q")
    for _, line in located_lines(path):
        prefix, index, found_attempt = _sent_id(path, line)
        position, found_entry = divmod(index, entries)
        if (prefix, found_entry, found_attempt) != (id_prefix, entry, attempt):
            raise _not_ours(path)
        positions.append(position)
    return ShardPlan(
        entry=entry,
        number=number,
        attempt=attempt,
        uncounted=0,
        doublings=0,
        refusals=0,
        provider=provider.name,
        model_id=provider.model_id,
        positions=Positions.of(positions).text,
        requests=len(positions),
        size_bytes=path.stat().st_size,
        largest_bytes=0,
        sha256="",
    )


def _sent_id(path: Path, line: bytes) -> tuple[str, int, int]:
    match = _ID.match(line)
    found = split_custom_id(match[1].decode()) if match else None
    if found is None:
        raise _not_ours(path)
    return found


def _not_ours(path: Path) -> StoreError:
    return StoreError(f"{path} is not as it was sent; restore it from a backup")


def _take_in(ctx: Context, row: ShardRow, known: Known | None) -> bool:
    """Enter what a shard's result files hold; whether the shard is still open."""
    absent = known.lineless.get(row.name) if known else None
    end_shard(ctx, row, Answers.read(result_files(ctx, row)), Absent(*absent) if absent else MISSING)
    if known and row.name in known.open | known.ended:
        return row.name in known.open
    return not any(ctx.result_file(row, kind).is_file() for kind in ("output", "error"))


class _LastWords:
    """For each request whether its last attempt is still open: one byte a request."""

    def __init__(self, ctx: Context) -> None:
        self._open = [bytearray(ctx.grid.positions) for _ in ctx.providers]

    def add(self, row: ShardRow, *, is_open: bool) -> None:
        """Shards come by attempt, so that the last one stays."""
        for numbers in Positions(row.positions).ranges():
            self._open[row.entry][numbers.start : numbers.stop] = bytes([is_open]) * len(numbers)

    def open(self) -> Iterator[int]:
        """Indices of the requests."""
        for entry, marks in enumerate(self._open):
            position = marks.find(1)
            while position >= 0:
                yield position * len(self._open) + entry
                position = marks.find(1, position + 1)
