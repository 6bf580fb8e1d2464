"""Long work counts what it does: every step of a run's life, with the totals it announced."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from batchfast import meter as meters
from batchfast.clean import clean
from batchfast.errors import RequestTooLarge
from batchfast.fake import FakeServer, Fault
from batchfast.home import Home
from batchfast.meter import BYTES, Meter, Step
from batchfast.reparse import reparse
from batchfast.runs import compile_files
from batchfast.session import Session
from batchfast.store.rebuilt import Known
from tests.helpers import FakeClock, provider, spec


class Recorder(Meter):
    """Keeps the steps that have ended."""

    def __init__(self) -> None:
        self.under_way: list[Step] = []
        self.over: list[Step] = []

    def began(self, step: Step) -> None:
        self.under_way.append(step)

    def ended(self, step: Step) -> None:
        self.under_way.remove(step)
        self.over.append(step)

    def of(self, doing: str) -> list[Step]:
        return [step for step in self.over if step.doing.startswith(doing)]

    def sums(self, doing: str) -> tuple[int, int]:
        """What was done and what was announced, in all (count)."""
        return sum(step.done for step in self.of(doing)), sum(step.total or 0 for step in self.of(doing))


def opened(fake: FakeServer, folder: Path, meter: Meter) -> Session:
    return Session(Home(folder / ".batchfast"), clock=FakeClock(fake), fake_server=fake, meter=meter)


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def test_each_step_of_a_run_counts_what_it_announced(fake: FakeServer, tmp_path: Path) -> None:
    """Requests, rows and the bytes of every file, at all three services: from the spec to clean."""
    meter = Recorder()
    models = [provider("openai"), provider("anthropic"), provider("gemini", max_requests_per_batch=200)]
    with opened(fake, tmp_path, meter) as home:
        run, _ = home.enter(spec(*models, topics=300), fake=True)
        with home.work(run) as engine:
            written = home.settle(engine.ctx, engine.drive())
            assert written is not None
        with home.work(home.store.run(run.id)) as engine:
            clean(engine.ctx)
        folder = home.home.run(run.id)
        sent, came = size_of(folder / "requests"), size_of(folder / "results")
    assert meter.under_way == []
    assert (meter.sums("compiling"), meter.of("compiling")[0].size_bytes) == ((900, 900), sent)
    assert meter.sums("uploading") == (sent - 1, sent)  # a bracket takes the place of Anthropic's last newline
    names = ["0-0-1", "1-0-1", "2-0-1", "2-1-1"]
    assert sorted(step.doing for step in meter.of("uploading")) == [f"uploading {name}" for name in names]
    assert meter.sums("downloading") == (came, 0)
    assert meter.sums("entering results") == (900, 900)
    assert (meter.sums("writing rows"), meter.of("writing rows")[0].size_bytes) == (
        (1800, 1800),
        written.path.stat().st_size,
    )
    assert meter.sums("checking rows") == (1800, 1800)


def test_reparse_counts_what_it_reads(fake: FakeServer, tmp_path: Path, plan: Callable[..., None]) -> None:
    """Request files by their bytes, also those of what was sent again; results of each attempt; rows and failures."""
    plan(Fault("error", status=500, nth=1, custom_id=r"-[12]-1$"), Fault("refuse", nth=1, custom_id=r"-3-1$"))
    with opened(fake, tmp_path, Meter()) as home:
        run, _ = home.enter(spec(topics=5), fake=True)
        with home.work(run) as engine:
            home.settle(engine.ctx, engine.drive())
        meter = Recorder()
        known = Known.of(home.store, home.store.run(run.id))
        reparse(home.home, run.id, tmp_path / "again.jsonl", FakeClock(fake), known=known, meter=meter)
        sent = size_of(home.home.run(run.id) / "requests")
    assert meter.sums("reading requests") == (sent, sent)
    assert meter.sums("entering results") == (7, 7)
    assert meter.sums("writing rows") == (8, 8)
    assert meter.sums("writing failures") == (1, 0)


def test_what_a_request_that_is_too_large_interrupts_is_over(fake: FakeServer, tmp_path: Path) -> None:
    """A step ends where its work fails, and says nothing of it."""
    meter = Recorder()
    with opened(fake, tmp_path, meter) as home:
        too_large = spec(provider(max_enqueued_tokens=10), topics=3)
        with pytest.raises(RequestTooLarge):
            home.enter(too_large, fake=True)
        with pytest.raises(RequestTooLarge):
            list(compile_files(too_large, home.store, tmp_path / "files", fake=True, meter=meter))
    assert (meter.under_way, len(meter.over)) == ([], 2)


def test_what_took_long_is_one_line_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """For `-v` in a cron job, and for Python: once it is done, and only then."""
    caplog.set_level(logging.INFO, "batchfast")
    meter = Meter()
    with meter.step("compiling", "requests", 3) as quick:
        quick.advance(3)
    assert caplog.messages == []
    monkeypatch.setattr(meters, "_WORTH_A_LINE_S", -1.0)
    with meter.step("compiling", "requests", 1_000_000) as long:
        long.advance(1_000_000, size_bytes=1_461_000_000)
    with meter.step("downloading 0-0-1", BYTES) as file:
        file.advance(2_500_000)
    with pytest.raises(OSError, match="full"), meter.step("writing rows", "rows"):
        raise OSError("disk full")
    assert [line.rsplit(" in ", 1)[0] for line in caplog.messages] == [
        "compiling: 1,000,000 requests, 1,461.0 MB",
        "downloading 0-0-1: 2.5 MB",
    ]


def test_several_threads_may_advance_a_step() -> None:
    """Files that are uploaded side by side lose no count."""
    step = Step("uploading", "requests")
    start = threading.Barrier(4)

    def work() -> None:
        start.wait()
        for _ in range(20_000):
            step.advance(1, size_bytes=2)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (step.done, step.size_bytes) == (80_000, 160_000)


def test_what_is_read_twice_counts_once(tmp_path: Path) -> None:
    """An SDK may look at a file's size, and begin anew after an error."""
    path = tmp_path / "shard.jsonl"
    path.write_bytes(b"x" * 1000)
    meter = Recorder()
    with meter.reading(path, "uploading") as file:
        (step,) = meter.under_way
        assert (file.seek(0, 2), file.seek(0), step.done, step.total) == (1000, 0, 0, 1000)
        assert len(file.read(600)) == step.done == 600
        file.seek(0)
        assert len(file.read(600)) == step.done == 600
        assert len(file.read()) == 400
    assert (step.done, file.closed, meter.under_way) == (1000, True, [])


def test_a_block_is_counted_once_it_was_taken() -> None:
    """Hundreds at a time, in their order, the last ones too."""
    step = Step("entering", "requests", 600)
    taken = [(item, step.done) for item in step.counted(range(600))]
    assert [item for item, _ in taken] == list(range(600))
    assert (taken[255][1], taken[256][1], step.done) == (0, 256, 600)
