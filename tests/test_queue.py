"""Batches that a provider's queue has no room for, or that are too much for it: waited for, split, and never lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from batchfast.fake import FakeServer, Fault
from batchfast.session import Session
from batchfast.spec import Conduct, Spec
from batchfast.store import Ledger, ShardRow
from tests.helpers import provider, read, session, spec

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


def test_two_million_tokens_under_a_limit_of_two_hundred_thousand(fake: FakeServer, plan: Plan, tmp_path: Path) -> None:
    """They finish without a person's help, and no request is answered twice."""
    plan(Fault("queue", provider="openai", tokens=200_000))
    wanted = spec(provider("openai", system_prompt="word " * 3200), topics=500, conduct=ONCE)
    with session(fake, tmp_path) as home:
        ledger, shards, _ = finish(home, wanted)
    assert sum(row.size_bytes for row in shards if row.attempt == 1) > 8_000_000
    assert (ledger.succeeded, ledger.total) == (500, 500)
    assert fake.ledger()["openai"]["requests"]["succeeded"] == 500


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
