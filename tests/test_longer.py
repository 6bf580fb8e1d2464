"""Replies that the token limit cut short: asked for again with a higher limit, and nothing that came is thrown away."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from batchfast.engine import cancel_run
from batchfast.fake import FakeServer, Fault
from batchfast.llms import Provider
from batchfast.session import Session
from batchfast.spec import Conduct
from batchfast.store import Ledger
from tests.helpers import MODELS, provider, read, session, spec

Plan = Callable[..., None]
_LIMITS = {
    "openai": lambda line: line["body"].get("max_completion_tokens"),
    "anthropic": lambda line: line["params"]["max_tokens"],
    "gemini": lambda line: line["request"]["generationConfig"].get("maxOutputTokens"),
}


def finish(
    home: Session, model: Provider, *, topics: int = 1, samples: int = 2, conduct: Conduct | None = None
) -> tuple[Ledger, list[int | None], Path]:
    """Drive a run to its end; its ledger, the token limit of each shard sent, and its dataset."""
    run, _ = home.enter(spec(model, topics=topics, num_samples_per_prompt=samples, conduct=conduct), fake=True)
    with home.work(run) as engine:
        progress = engine.drive()
        written = home.settle(engine.ctx, progress)
        sent = [engine.ctx.sent_file(row) for row in home.store.shards(run.no)]
    assert written is not None
    limits = [{_LIMITS[model.name](line) for line in read(path)} for path in sent]
    return progress.ledger, [limit for (limit,) in limits], written.path


def cost(home: Session) -> float:
    """What the newest run's answers cost (USD)."""
    return sum(row.cost_usd for row in home.store.shards(home.store.runs()[0].no))


@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_reply_cut_by_its_limit_is_asked_for_with_twice_as_much(fake: FakeServer, tmp_path: Path, name: str) -> None:
    """The limit is doubled until the reply fits; every answer is paid for and counted."""
    with session(fake, tmp_path) as home:
        ledger, limits, out = finish(home, provider(name, max_completion_tokens=150))
        paid = cost(home)
    assert (ledger.succeeded, ledger.failed) == (1, 0)
    assert limits == [150, 300, 600][: len(limits)]
    assert len(limits) > 1
    assert len(read(out)) == 2
    assert paid == pytest.approx(fake.ledger()[name]["charged_usd"], abs=1e-9)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_limit_is_doubled_twice_at_most(fake: FakeServer, tmp_path: Path, name: str) -> None:
    """What is cut at four times its limit as well has failed."""
    with session(fake, tmp_path) as home:
        ledger, limits, _ = finish(home, provider(name, max_completion_tokens=8), conduct=Conduct(max_attempts=9))
    assert limits == [8, 16, 32]
    assert (ledger.succeeded, ledger.failed) == (0, 1)


def test_max_attempts_bounds_longer_replies_too(fake: FakeServer, tmp_path: Path) -> None:
    """One try is one try."""
    with session(fake, tmp_path) as home:
        ledger, limits, _ = finish(home, provider(max_completion_tokens=8), conduct=Conduct(max_attempts=1))
    assert (ledger.failed, limits) == (1, [8])


@pytest.mark.parametrize("name", ["gemini", "openai"])
def test_without_a_limit_there_is_nothing_to_double(fake: FakeServer, plan: Plan, tmp_path: Path, name: str) -> None:
    """The model's own end was reached: another try would end there too. What is complete is kept."""
    plan(Fault("truncate", nth=1))
    with session(fake, tmp_path) as home:
        ledger, limits, out = finish(home, provider(name), samples=12)
    assert (ledger.succeeded, limits) == (1, [None])
    assert 0 < len(read(out)) < 12


@pytest.mark.parametrize("later", ["error", "truncate", "empty"])
@pytest.mark.parametrize("name", sorted(MODELS))
def test_samples_of_an_earlier_attempt_become_rows_where_the_last_gives_fewer(
    fake: FakeServer, plan: Plan, tmp_path: Path, name: str, later: str
) -> None:
    """Some samples came before the cut; whatever becomes of the later attempts, those are not lost."""
    plan(
        Fault("truncate", nth=1, custom_id="-0-1$"),
        Fault("error", nth=2, status=400) if later == "error" else Fault(later, nth=(2, 3)),
    )
    with session(fake, tmp_path) as home:
        model = provider(name, max_completion_tokens=9000)
        ledger, limits, out = finish(home, model, topics=2, samples=12, conduct=Conduct(max_attempts=3))
        run = home.store.runs()[0]
        first = home.store.attempts(run.no, 0)[0]
        rows_of_shards = [row.rows for row in home.store.shards(run.no)]
        paid = cost(home)
    assert 0 < first.texts < 12
    assert (ledger.succeeded, ledger.failed, ledger.adds_up()) == (2, 0, True)
    assert len(limits) == (2 if later == "error" else 3)
    rows = read(out)
    assert [row["metadata"]["request_index"] for row in rows] == [0] * first.texts + [1] * 12
    assert sum(rows_of_shards) == len(rows)
    assert paid == pytest.approx(fake.ledger()[name]["charged_usd"], abs=1e-9)


def test_the_last_attempt_counts_where_it_gives_as_many(fake: FakeServer, plan: Plan, tmp_path: Path) -> None:
    """Only fewer samples bring an earlier attempt back."""
    plan(Fault("truncate", nth=(1, 2), custom_id="-0-"))
    with session(fake, tmp_path) as home:
        finish(home, provider(max_completion_tokens=9000), samples=12, conduct=Conduct(max_attempts=2))
        attempts = home.store.attempts(home.store.runs()[0].no, 0)
    assert attempts[0].texts == attempts[1].texts
    assert [row.final for row in attempts] == [0, 1]


def test_cancelling_keeps_the_samples_that_came(server: FakeServer, tmp_path: Path) -> None:
    """The longer reply is never sent: what was complete before the cut becomes rows."""
    server.plan(Fault("truncate", nth=1))
    with session(server, tmp_path) as home:
        run, _ = home.enter(spec(provider(max_completion_tokens=9000), topics=1, num_samples_per_prompt=12), fake=True)
        with home.work(run) as engine:
            engine.send_all()
            server.finish_all()
            assert engine.one_pass(everything=True).ledger.waiting == 1
            cancel_run(engine.ctx)
            progress = engine.one_pass(everything=True)
            written = home.settle(engine.ctx, progress)
    assert written is not None
    assert (progress.ledger.succeeded, progress.ledger.cancelled, progress.settled) == (1, 0, True)
    assert 0 < written.rows < 12
    assert len(server.batches("openai")) == 1


def test_a_longer_request_asks_for_the_same(fake: FakeServer, tmp_path: Path) -> None:
    """Only the id and the limit differ between the attempts' lines, and rows keep the uuid of what was asked first."""
    with session(fake, tmp_path) as home:
        _, limits, out = finish(home, provider(max_completion_tokens=150))
        run = home.store.runs()[0]
        lines = [
            json.loads(home.context(run, offline=True).sent_file(row).read_bytes()) for row in home.store.shards(run.no)
        ]
    for line in lines:
        del line["custom_id"], line["body"]["max_completion_tokens"]
    assert len(limits) > 1
    assert all(line == lines[0] for line in lines)
    with session(fake, tmp_path / "other") as home:
        fake.plan(Fault("error", status=500, nth=1))
        _, _, again = finish(home, provider(max_completion_tokens=150), conduct=Conduct(max_attempts=4))
    assert [row["uuid"] for row in read(out)] == [row["uuid"] for row in read(again)]
