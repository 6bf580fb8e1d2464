"""Batches that a provider's queue has no room for, or that are too much for it: waited for, split, and never lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from batchfast.engine import Progress
from batchfast.errors import RequestTooLarge
from batchfast.fake import FakeServer, Fault
from batchfast.records import tokens_in
from batchfast.session import Session
from batchfast.spec import Conduct, Spec
from batchfast.store import Ledger, ShardRow
from tests.helpers import MODELS, FakeClock, provider, read, session, spec

Plan = Callable[..., None]
ONCE = Conduct(max_attempts=1)


def finish(home: Session, wanted: Spec) -> tuple[Ledger, list[ShardRow], Path]:
    """Drive a run to its end; its ledger, its shards and its dataset."""
    run, _ = home.enter(wanted, fake=True)
    with home.work(run) as engine:
        progress = engine.drive()
        written = home.settle(engine.ctx, progress)
    assert written is not None
    return progress.ledger, home.store.shards(run.no), written.path


def test_a_shard_larger_than_the_queue_is_split(fake: FakeServer, plan: Plan, tmp_path: Path) -> None:
    """Refused while nothing else runs: halved until it fits, each request answered once, with one try allowed."""
    plan(Fault("queue", provider="openai", tokens=3_000))
    with session(fake, tmp_path) as home:
        ledger, shards, out = finish(home, spec(provider("openai"), topics=60, conduct=ONCE))
    assert (ledger.succeeded, ledger.total) == (60, 60)
    assert len(read(out)) == 120
    assert [row.requests for row in shards[:3]] == [60, 30, 30]
    assert fake.ledger()["openai"]["requests"]["succeeded"] == 60


def test_shards_wait_for_each_other(tmp_path: Path) -> None:
    """One fits: the others are refused while it runs, wait, and go one after the other, unsplit."""
    with FakeServer(tmp_path / "slow", batch_seconds=100) as slow, session(slow, tmp_path) as home:
        slow.plan(fault := Fault("queue", provider="openai", tokens=4_000))
        wanted = spec(provider("openai", max_requests_per_batch=10), topics=30, conduct=ONCE)
        ledger, shards, _ = finish(home, wanted)
        assert slow.fired(fault) > 0
    assert ledger.succeeded == 30
    assert [row.requests for row in shards] == [10, 10, 10]


@pytest.mark.parametrize("name", sorted(MODELS))
def test_two_million_tokens_under_a_limit_of_two_hundred_thousand(
    fake: FakeServer, plan: Plan, tmp_path: Path, name: str
) -> None:
    """They finish without a person's help, and no request is answered twice."""
    plan(Fault("queue", provider=name, tokens=200_000))
    wanted = spec(provider(name, system_prompt="word " * 3200), topics=500, conduct=ONCE)
    with session(fake, tmp_path) as home:
        ledger, shards, _ = finish(home, wanted)
    assert sum(row.size_bytes for row in shards if row.attempt == 1) > 8_000_000
    assert (ledger.succeeded, ledger.total) == (500, 500)
    assert fake.ledger()[name]["requests"]["succeeded"] == 500


@pytest.mark.parametrize("name", ["anthropic", "gemini"])
def test_a_create_that_is_refused_for_long_is_split(fake: FakeServer, plan: Plan, tmp_path: Path, name: str) -> None:
    """Three refusals with nothing of ours in flight, each waited for; then the halves go, as the same try."""
    plan(Fault("queue", provider=name, tokens=3_000))
    clock = FakeClock(fake)
    with session(fake, tmp_path, clock) as home:
        ledger, shards, _ = finish(home, spec(provider(name), topics=60, conduct=ONCE))
    assert ledger.succeeded == 60
    assert [row.requests for row in shards[:2]] == [60, 30]
    assert [row.refusals for row in shards if row.attempt == 1] == [3]
    assert max(clock.slept) <= 1_800


@pytest.mark.parametrize("name", ["anthropic", "gemini"])
def test_a_refused_create_waits_for_ours_unsplit(tmp_path: Path, name: str) -> None:
    """There is room for one at a time: the others go when it has ended, as they are."""
    with FakeServer(tmp_path / "slow", batch_seconds=3_000) as slow, session(slow, tmp_path) as home:
        slow.plan(fault := Fault("queue", provider=name, tokens=4_000))
        wanted = spec(provider(name, max_requests_per_batch=10), topics=30, conduct=ONCE)
        ledger, shards, _ = finish(home, wanted)
        assert slow.fired(fault) > 2
    assert ledger.succeeded == 30
    assert [row.requests for row in shards] == [10, 10, 10]


@pytest.mark.parametrize("name", sorted(MODELS))
def test_no_more_is_sent_at_once_than_allowed(server: FakeServer, tmp_path: Path, name: str) -> None:
    """`max_enqueued_tokens` cuts files and makes them wait for each other, so that the provider refuses none."""
    server.plan(Fault("queue", provider=name, tokens=5_000))
    most = 0

    def look(_: Progress) -> None:
        nonlocal most
        most = max(most, sum(tokens_in(row.size_bytes) for row in home.store.shards(run.no, "running")))

    with session(server, tmp_path) as home:
        run, _ = home.enter(spec(provider(name, max_enqueued_tokens=5_000), topics=100, conduct=ONCE), fake=True)
        with home.work(run) as engine:
            ledger = engine.drive(look).ledger
        shards = home.store.shards(run.no)
    assert (ledger.succeeded, {row.refusals for row in shards}) == (100, {0})
    assert 2_500 < most <= 5_000


def test_entries_of_one_model_share_its_queue(server: FakeServer, tmp_path: Path) -> None:
    """The same model twice, as with two temperatures, has one queue; another model has its own."""
    server.plan(Fault("queue", provider="openai", tokens=2_000))
    twins = [provider(temperature=heat, max_enqueued_tokens=2_000) for heat in (0.1, 0.9)]
    other = provider(model_id="gpt-4.1-nano", max_enqueued_tokens=2_000)
    with session(server, tmp_path) as home:
        run, _ = home.enter(spec(*twins, other, topics=4, conduct=ONCE), fake=True)
        with home.work(run) as engine:
            engine.send_all()
            sent = [(row.entry, row.state) for row in home.store.shards(run.no)]
            ledger = engine.drive().ledger
        refused = sum(row.refusals for row in home.store.shards(run.no))
    assert sent == [(0, "running"), (1, "waiting"), (2, "running")]
    assert (ledger.succeeded, refused) == (12, 0)


def test_a_limit_that_was_named_is_remembered_for_a_day(fake: FakeServer, plan: Plan, tmp_path: Path) -> None:
    """What would be refused is not sent: neither by this run nor by the next; then a higher one may have been given."""
    plan(Fault("queue", provider="openai", tokens=3_000))
    clock = FakeClock(fake)
    with session(fake, tmp_path, clock) as home:
        finish(home, spec(topics=60, conduct=ONCE))
        assert _refused(fake) == 1
        finish(home, spec(topics=59, output_file="b.jsonl", conduct=ONCE))
        assert _refused(fake) == 1
        clock.advance(86_401)
        finish(home, spec(topics=58, output_file="c.jsonl", conduct=ONCE))
        assert _refused(fake) == 2


def _refused(fake: FakeServer) -> int:
    return sum(one.state == "failed" for one in fake.batches("openai"))


def test_a_request_that_max_enqueued_tokens_has_no_room_for(fake: FakeServer, tmp_path: Path) -> None:
    """It could never be sent: said before anything is, with the setting's name."""
    with session(fake, tmp_path) as home, pytest.raises(RequestTooLarge, match=r"max_enqueued_tokens = 50 .*raise it"):
        home.enter(spec(provider(max_enqueued_tokens=50)), fake=True)


@pytest.mark.parametrize("topics", [1, 8])
def test_a_batch_that_expires_without_results_is_split(
    fake: FakeServer, plan: Plan, tmp_path: Path, topics: int
) -> None:
    """Gemini gives nothing back: the halves go as the same try; a single request has tried once."""
    plan(Fault("expire", provider="gemini", nth=1))
    with session(fake, tmp_path) as home:
        ledger, shards, _ = finish(home, spec(provider("gemini"), topics=topics, conduct=ONCE))
    if topics == 1:
        assert (ledger.expired, len(shards)) == (1, 1)
    else:
        assert (ledger.succeeded, [row.requests for row in shards]) == (8, [8, 4, 4])


def test_a_limit_that_was_not_reached_splits_nothing(fake: FakeServer, plan: Plan, tmp_path: Path) -> None:
    """Somebody else's batches fill the queue: ours wait as they are."""
    message = "Enqueued token limit reached for gpt-4.1-mini in org-fake. Limit: 2,000,000 enqueued tokens."
    plan(*(Fault("fail", nth=number, code="token_limit_exceeded", message=message) for number in (1, 2)))
    with session(fake, tmp_path) as home:
        ledger, shards, _ = finish(home, spec(provider("openai"), topics=6, conduct=ONCE))
    assert (ledger.succeeded, [row.requests for row in shards]) == (6, [6])
