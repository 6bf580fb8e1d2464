"""The loop: when it looks again, when it stops, and that the ledger always adds up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchfast.engine import Engine
from batchfast.errors import StoreError
from batchfast.fake import FakeServer, Fault
from batchfast.spec import Conduct
from tests.helpers import MODELS, FakeClock, provider, read, session, spec

Plan = Callable[..., None]


def test_polling_starts_fast_and_slows_down_to_five_minutes(fake: FakeServer, plan: Plan, tmp_path: Path) -> None:
    """0.5 s, then 1.5 times as long each time, at most 300 s; the jitter here is none."""
    plan(Fault("stick", nth=1))
    clock = FakeClock(fake)
    with session(fake, tmp_path, clock) as home:
        run, _ = home.enter(spec(), fake=True)
        with home.work(run) as quick:
            engine = Engine(quick.ctx, jitter=lambda: 1.0)
            assert engine.drive().settled
    waits = clock.slept[:25]
    assert waits[:4] == pytest.approx([0.5, 0.75, 1.125, 1.6875])
    assert max(waits) == pytest.approx(300.0)
    assert waits[1:] == pytest.approx([min(sooner * 1.5, 300.0) for sooner in waits[:-1]])


def test_jitter_stays_around_one(fake: FakeServer, plan: Plan, tmp_path: Path) -> None:
    """Many runs shall not poll in step: waits differ, by at most a tenth."""
    plan(Fault("stick", nth=1))
    clock = FakeClock(fake)
    with session(fake, tmp_path, clock) as home:
        run, _ = home.enter(spec(), fake=True)
        with home.work(run) as engine:
            assert engine.drive().settled
    waits = clock.slept[:14]
    exact = [min(0.5 * 1.5**number, 300.0) for number in range(14)]
    assert all(0.9 * good - 1e-3 <= wait <= 1.1 * good + 1e-3 for wait, good in zip(waits, exact, strict=True))
    assert waits != pytest.approx(exact)


def test_a_pass_without_sending_never_spends(fake: FakeServer, plan: Plan, tmp_path: Path) -> None:
    """`--no-send`: what runs is collected, what failed is not sent again, and the run is not settled."""
    plan(Fault("error", custom_id="-0-1$", status=500))
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(), fake=True)
        with home.work(run) as engine:
            engine.send_all()
            progress = engine.one_pass(sends=False, everything=True)
            progress = engine.one_pass(sends=False, everything=True)
    assert (progress.ledger.succeeded, progress.ledger.waiting, progress.settled) == (2, 1, False)
    assert len(fake.batches("openai")) == 1


def test_a_ledger_that_does_not_add_up_stops_everything(fake: FakeServer, tmp_path: Path) -> None:
    """A defect, or a database that someone edited: no further step is taken on false counts."""
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(), fake=True)
        home.store.update_shard(home.store.shards(run.no)[0].id, "waiting", requests=2)
        with home.work(run) as engine, pytest.raises(StoreError, match="does not add up"):
            engine.one_pass(sends=False)


_some = {"share": st.sampled_from([0.3, 0.6, 1.0]), "nth": st.integers(1, 3)}
_calls = {"route": st.sampled_from(["create", "poll", "list", "results", "upload"]), "nth": st.integers(1, 4)}
_faults = st.one_of(
    st.builds(
        Fault,
        st.sampled_from(["expire", "refuse", "truncate", "malform", "fence", "too_few", "empty", "drop", "duplicate"]),
        **_some,
    ),
    st.builds(Fault, st.just("error"), status=st.sampled_from([0, 400, 429, 500]), **_some),
    st.builds(Fault, st.sampled_from(["lose", "cut"]), **_calls),
    st.builds(Fault, st.just("status"), status=st.sampled_from([429, 500, 503]), **_calls),
    st.builds(Fault, st.sampled_from(["shuffle", "miscount", "late"]), nth=st.integers(1, 3)),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(sorted(MODELS)),
    at_once=st.sampled_from([1, 4]),
    faults=st.lists(_faults, max_size=4, unique=True),
)
def test_whatever_happens_every_request_is_in_one_file_once(
    fake: FakeServer, tmp_path_factory: pytest.TempPathFactory, name: str, at_once: int, faults: list[Fault]
) -> None:
    """Any mix of faults: the run settles, the ledger adds up, each request is in dataset or failures, never in both."""
    fake.reset()
    fake.plan(*faults)
    folder = tmp_path_factory.mktemp("run")
    out = str(folder / "out.jsonl")
    with session(fake, folder) as home:
        conduct = Conduct(max_attempts=2, max_parallel_uploads=at_once)
        wanted = spec(provider(name, max_requests_per_batch=4), topics=6, output_file=out, conduct=conduct)
        run, _ = home.enter(wanted, fake=True)
        with home.work(run) as engine:
            progress = engine.drive(lambda seen: _assert(seen.ledger.adds_up()))
            written = home.settle(engine.ctx, progress)
        needed = len(home.store.shards(run.no))
    assert written is not None
    kept = {row["metadata"]["request_index"] for row in read(written.path)}
    failed = [line["metadata"]["request_index"] for line in read(written.failures)] if written.failures else []
    assert sorted([*kept, *failed]) == list(range(6))
    assert len(fake.batches(name)) == needed


def _assert(true: bool) -> None:
    assert true
