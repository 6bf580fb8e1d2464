"""`max_cost_usd`: nothing is sent that might go over it, and what was paid for is collected all the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from batchfast.admission import Admission
from batchfast.budget import worst_case
from batchfast.cli import execute
from batchfast.engine import Engine, Progress
from batchfast.errors import ConfigError
from batchfast.fake import FakeServer, Fault
from batchfast.session import Session
from batchfast.spec import Conduct
from batchfast.store import IN_FLIGHT
from tests.helpers import MODELS, provider, read, session, spec

Plan = Callable[..., None]


def limited(name: str = "openai", **settings: object) -> object:
    return provider(name, max_completion_tokens=1000, **settings)


def spent(home: Session, run_no: int) -> float:
    return sum(row.cost_usd for row in home.store.shards(run_no))


def whole_cost(fake: FakeServer, folder: Path, name: str, topics: int) -> float:
    """What such a run costs where nothing limits it (USD)."""
    with session(fake, folder) as home:
        run, _ = home.enter(spec(limited(name), topics=topics), fake=True)
        with home.work(run) as engine:
            assert engine.drive().settled
        paid = spent(home, run.no)
    fake.reset()
    return paid


@pytest.mark.parametrize("name", sorted(MODELS))
def test_what_is_spent_and_what_may_be_never_go_over_the_budget(
    server: FakeServer, fake: FakeServer, tmp_path: Path, name: str
) -> None:
    """The budget is twice the real cost, a third of the worst case: everything is done, in waves."""
    budget = 2 * whole_cost(fake, tmp_path / "first", name, 40)
    most = 0.0

    def look(_: Progress) -> None:
        nonlocal most
        shards = home.store.shards(run.no)
        reserved = sum(worst_case(engine.ctx.provider(row), row) for row in shards if row.state in IN_FLIGHT)
        most = max(most, spent(home, run.no) + reserved)

    with session(server, tmp_path) as home:
        run, _ = home.enter(spec(limited(name), topics=40, conduct=Conduct(max_cost_usd=budget)), fake=True)
        (whole,) = home.store.shards(run.no)
        with home.work(run) as engine:
            assert worst_case(engine.ctx.provider(whole), whole) > budget
            progress = engine.drive(look)
        batches = len(server.batches(name))
    assert (progress.ledger.succeeded, progress.held) == (40, None)
    assert budget / 4 < most <= budget
    assert 2 <= batches < 12


@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_run_over_budget_is_held_with_all_it_paid_for_and_goes_on_with_a_higher_one(
    fake: FakeServer, tmp_path: Path, name: str
) -> None:
    """Held, not failed: a few batches, no shard cut to pieces; a higher limit sends only the rest."""
    whole = whole_cost(fake, tmp_path / "first", name, 64)
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(limited(name), topics=64, conduct=Conduct(max_cost_usd=whole / 2)), fake=True)
        with home.work(run) as engine:
            progress = engine.drive()
        assert (progress.held, progress.moves, progress.ledger.in_flight) == ("over budget", False, 0)
        assert 16 <= progress.ledger.succeeded < 64
        assert progress.ledger.succeeded + progress.ledger.waiting == 64
        assert whole / 4 < spent(home, run.no) <= whole / 2
        assert len(home.store.shards(run.no)) < 64
        assert "raise max_cost_usd" in (home.store.run(run.no and run.id).reason or "")
        run, new = home.enter(spec(limited(name), topics=64, conduct=Conduct(max_cost_usd=9 * whole)), fake=True)
        assert not new
        with home.work(run) as engine:
            progress = engine.drive()
            written = home.settle(engine.ctx, progress)
        assert spent(home, run.no) == pytest.approx(whole)
    assert written is not None
    assert (progress.ledger.succeeded, written.rows) == (64, 128)
    assert fake.ledger()[name]["requests"]["succeeded"] == 64


def test_what_fits_goes_where_something_dearer_does_not(fake: FakeServer, tmp_path: Path) -> None:
    """A model that is over budget holds up no other; only when none fits the run is held."""
    dear = limited(price={"input": 1_000, "output": 1_000})
    with session(fake, tmp_path) as home:
        wanted = spec(dear, limited("anthropic"), conduct=Conduct(max_cost_usd=0.5))
        run, _ = home.enter(wanted, fake=True)
        with home.work(run) as engine:
            progress = engine.drive()
    assert (progress.held, progress.ledger.succeeded, progress.ledger.waiting) == ("over budget", 3, 3)


def test_retries_are_reserved_for_too(fake: FakeServer, plan: Plan, tmp_path: Path) -> None:
    """A second attempt is sent only if it fits as well."""
    plan(Fault("truncate", nth=1))
    with session(fake, tmp_path) as home:
        model = provider(max_completion_tokens=5_000, price={"input": 0.0, "output": 1.0})
        run, _ = home.enter(spec(model, topics=1, conduct=Conduct(max_cost_usd=0.006)), fake=True)
        with home.work(run) as engine:
            progress = engine.drive()
            (waiting,) = home.store.shards(run.no, "waiting")
            assert worst_case(engine.ctx.provider(waiting), waiting) == pytest.approx(0.01)
    assert (progress.held, progress.ledger.waiting, len(fake.batches("openai"))) == ("over budget", 1, 1)


def test_an_answer_without_a_price_counts_as_its_worst_case(fake: FakeServer, tmp_path: Path) -> None:
    """Tokens that the provider did not tell may have been as many as allowed."""
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(limited(), conduct=Conduct(max_cost_usd=5)), fake=True)
        with home.work(run) as engine:
            engine.drive()
            (row,) = home.store.shards(run.no)
            home.store.update_shard(row.id, "ended", unpriced=1, cost_usd=0)
            expected = worst_case(engine.ctx.provider(row), row) / 3
            assert Admission(engine.ctx).spent_usd == pytest.approx(expected)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (provider(), "openai gpt-4.1-mini may be of any length: set its max_completion_tokens"),
        (provider("gemini"), "gemini gemini-2.5-flash may be of any length: set its max_completion_tokens"),
        (limited(model_id="my-own"), "the price of openai my-own is not known: set its price"),
    ],
)
def test_a_budget_that_cannot_be_kept_is_an_error(fake: FakeServer, tmp_path: Path, model: object, said: str) -> None:
    """It says what to set; nothing is entered. Anthropic's requests always have a limit."""
    with session(fake, tmp_path) as home:
        with pytest.raises(ConfigError, match=said):
            home.enter(spec(model, conduct=Conduct(max_cost_usd=1)), fake=True)
        assert home.store.runs() == []
        home.enter(spec(provider("anthropic"), conduct=Conduct(max_cost_usd=1)), fake=True)


@pytest.mark.parametrize("amount", [-1, float("inf"), float("nan"), "1", True])
def test_a_budget_is_an_amount(amount: object) -> None:
    """Of USD, from 0 up."""
    with pytest.raises(ConfigError, match="max_cost_usd must be a number of USD from 0 up"):
        Conduct(max_cost_usd=amount)  # type: ignore[arg-type]


def test_a_budget_set_too_late_to_be_kept_holds_the_run(server: FakeServer, tmp_path: Path) -> None:
    """What runs was sent without a token limit: it is collected, and nothing more is sent."""
    with session(server, tmp_path) as home:
        run, _ = home.enter(spec(provider(max_requests_per_batch=2), topics=4), fake=True)
        with home.work(run) as engine:
            engine.one_pass()
        home.store.update_run(run.no, conduct='{"providers": [{}], "max_cost_usd": 1}')
        server.finish_all()
        with home.work(home.store.run(run.id)) as engine:
            assert isinstance(engine, Engine)
            progress = engine.one_pass(everything=True)
    assert (progress.held, progress.ledger.succeeded, progress.moves) == ("over budget", 4, False)


def test_the_command_line_holds_and_continues(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 1 with what to do; with a higher limit in the spec the same command finishes, and pays only for the rest."""
    text = """
    [dataset]
    document_types = ["essay"]
    topics = ["a", "b", "c", "d"]
    num_samples_per_prompt = 1
    output_file = "out.jsonl"
    [run]
    max_cost_usd = {budget}
    [[providers]]
    provider = "openai"
    model_id = "gpt-4.1-mini"
    max_completion_tokens = 1000
    price = {{ input = 0, output = 1000 }}
    """
    path = tmp_path / "spec.toml"
    path.write_text(text.format(budget=1.1))
    assert execute(["run", str(path), "--fake"]) == 1
    err = capsys.readouterr().err
    assert "is held: over budget: " in err
    assert "raise max_cost_usd" in err
    assert execute(["status"]) == 0
    assert ", of at most 1.10 USD" in capsys.readouterr().out
    path.write_text(text.format(budget=100))
    assert execute(["collect"]) == 3
    assert execute(["run", str(path), "--fake"]) == 0
    assert len(read(tmp_path / "out.jsonl")) == 4
