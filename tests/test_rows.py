"""Replies to rows, and result files to outcomes, here or in other processes: pure functions of files."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from loky import ProcessPoolExecutor

from batchfast import blocks, export, jsonl
from batchfast.errors import StoreError
from batchfast.export import write_dataset
from batchfast.fake import FakeServer, Fault
from batchfast.jsonl import located_lines
from batchfast.session import Session
from batchfast.spec import Spec
from batchfast.store import RequestRow
from tests.helpers import MODELS, provider, read, session, spec

Plan = Callable[..., None]


class Watched(Executor):
    """Another executor, and how often it was given which function."""

    def __init__(self, other: Executor) -> None:
        self.other = other
        self.given: Counter[str] = Counter()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.given[fn.__name__] += 1
        return self.other.submit(fn, *args, **kwargs)


@pytest.fixture(scope="module")
def processes() -> Iterator[Executor]:
    with ProcessPoolExecutor(2) as executor:
        yield executor


@pytest.fixture
def pool(processes: Executor) -> Watched:
    return Watched(processes)


def finished(home: Session, wanted: Spec) -> tuple[bytes, list[RequestRow]]:
    """The dataset of a run, and its outcomes as they stand in the database, but for the places of the lines."""
    run, _ = home.enter(wanted, fake=True)
    with home.work(run) as engine:
        written = home.settle(engine.ctx, engine.drive())
    assert written is not None
    outcomes = home.store.connection.execute("SELECT * FROM requests ORDER BY idx, attempt").fetchall()
    return written.path.read_bytes(), [RequestRow._make(row)._replace(offset=None) for row in outcomes]


def test_other_processes_write_the_same_rows(
    fake: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pool: Watched
) -> None:
    """In grid order, in whatever blocks they come, over several shards and providers, without what gave no row."""
    monkeypatch.setattr(blocks, "_BLOCK", 7)
    monkeypatch.setattr(blocks, "_BLOCK_BYTES", 3_000)
    monkeypatch.setattr(export, "_AHEAD", 1)
    with session(fake, tmp_path) as home:
        wanted = spec(provider("openai", max_requests_per_batch=20), provider("gemini"), topics=30)
        run, _ = home.enter(wanted, fake=True)
        with home.work(run) as engine:
            assert engine.drive().settled
            home.store.connection.execute("UPDATE requests SET outcome = 'failed' WHERE idx IN (5, 6, 7)")
            here = write_dataset(engine.ctx, tmp_path / "here.jsonl")
            engine.ctx.executor = pool
            there = write_dataset(engine.ctx, tmp_path / "there.jsonl")
            assert list(home.home.run(run.id).glob(".*")) == []
    assert pool.given["rows_to_file"] > 3
    assert there.path.read_bytes() == here.path.read_bytes()
    wanted_indices = [index for index in range(60) if index not in (5, 6, 7) for _ in range(2)]
    assert [row["metadata"]["request_index"] for row in read(here.path)] == wanted_indices


@pytest.mark.parametrize("name", sorted(MODELS))
def test_other_processes_find_the_same_outcomes(
    fake: FakeServer, plan: Plan, tmp_path: Path, name: str, pool: Watched
) -> None:
    """Whatever stands in the result files: failures, doubled, missing, cut and unreadable replies, other attempts."""

    def mishaps() -> None:
        plan(
            Fault("error", custom_id=r"-0-1$", status=400),
            Fault("error", custom_id=r"-1-1$", status=500),
            Fault("drop", custom_id=r"-2-\d$"),
            Fault("truncate", custom_id=r"-3-[12]$"),
            Fault("malform", custom_id=r"-4-1$"),
            Fault("refuse", custom_id=r"-5-1$"),
            Fault("too_few", custom_id=r"-6-1$"),
            Fault("duplicate", custom_id=r"-[78]-1$"),
            Fault("fence", custom_id=r"-9-1$"),
            Fault("shuffle"),
        )

    wanted = spec(
        provider(name, max_requests_per_batch=6, max_completion_tokens=400),
        topics=18,
        output_file=str(tmp_path / "out.jsonl"),
    )
    mishaps()
    with session(fake, tmp_path / "here") as home:
        here = finished(home, wanted)
    (tmp_path / "out.jsonl").unlink()
    fake.reset()
    mishaps()
    with session(fake, tmp_path / "there", executor=pool) as home:
        there = finished(home, wanted)
        left = list(home.home.path.rglob(".handover-*"))
    assert pool.given["answers_to_file"] > 3
    assert there == here
    assert {row.outcome for row in here[1]} == {"succeeded", "failed"}
    assert left == []


def test_an_unreadable_line_that_another_process_met_is_downloaded_again(
    fake: FakeServer, plan: Plan, tmp_path: Path, pool: Watched
) -> None:
    """What a worker could not read counts as here: a second download, and nothing is lost."""
    plan(Fault("garble", route="results", nth=1))
    with session(fake, tmp_path, executor=pool) as home:
        data, _ = finished(home, spec(output_file=str(tmp_path / "out.jsonl")))
    assert data.count(b"\n") == 6
    assert pool.given["answers_to_file"] == 1


def test_a_raw_file_that_was_cut_or_lost_is_named(fake: FakeServer, tmp_path: Path) -> None:
    """With what to do: the answers in it were paid for."""
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(), fake=True)
        with home.work(run) as engine:
            engine.drive()
            path = engine.ctx.result_file(home.store.shards(run.no)[0], "output")
            path.write_bytes(path.read_bytes()[:-100])
            with pytest.raises(StoreError, match=r"output\.jsonl is shorter than it was; restore it from a backup"):
                write_dataset(engine.ctx, tmp_path / "rows.jsonl")
            path.unlink()
            with pytest.raises(StoreError, match=r"output\.jsonl is missing; restore it from a backup"):
                write_dataset(engine.ctx, tmp_path / "rows.jsonl")


def test_a_row_is_named_by_what_was_asked(fake: FakeServer, tmp_path: Path) -> None:
    """uuid5 of provider, model and the line without its id, of how often it was asked before, and of the sample."""
    with session(fake, tmp_path) as home:
        wanted = spec(provider(), provider(), topics=2, output_file=str(tmp_path / "out.jsonl"))
        run, _ = home.enter(wanted, fake=True)
        with home.work(run) as engine:
            home.settle(engine.ctx, engine.drive())
            ctx = engine.ctx
        sent = [ctx.sent_file(row) for row in home.store.shards(run.no)]
    namespace = uuid.uuid5(uuid.NAMESPACE_URL, "urn:batchfast:row")
    names = []
    for topic in range(2):
        for entry, path in enumerate(sorted(sent)):
            line = [line for _, line in located_lines(path)][topic]
            own_id = f"{ctx.id_prefix}-{topic * 2 + entry}-1".encode()
            identity = sha256(b"openai\ngpt-4.1-mini\n" + line.replace(own_id, b"", 1)).hexdigest()
            names += [str(uuid.uuid5(namespace, f"{identity}\n{entry}\n{sample}")) for sample in range(2)]
    assert [row["uuid"] for row in read(tmp_path / "out.jsonl")] == names


def test_more_files_than_may_be_open_are_read(
    fake: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is opened again where it was closed for another."""
    monkeypatch.setattr(jsonl, "_MAX_OPEN", 1)
    with session(fake, tmp_path) as home:
        wanted = spec(provider("openai"), provider("gemini"), output_file=str(tmp_path / "out.jsonl"))
        data, _ = finished(home, wanted)
    assert data.count(b"\n") == 12
