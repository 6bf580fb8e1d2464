"""What batchfast says a run cost is what the services charge, whatever went wrong on the way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from batchfast.fake import FakeServer, Fault
from batchfast.spec import Conduct
from batchfast.status import run_status
from tests.helpers import MODELS, provider, session, spec

Plan = Callable[..., None]

# Each spoils other requests, by their last digit. What a dropped line has cost nobody can know, so none is dropped.
_MISHAPS = [
    Fault("truncate", nth=(1, 2), custom_id=r"0-\d+$"),
    Fault("error", nth=(1, 2, 3), custom_id=r"1-\d+$", status=500),
    Fault("refuse", nth=1, custom_id=r"2-\d+$"),
    Fault("malform", nth=(1, 2), custom_id=r"3-\d+$"),
    Fault("empty", nth=1, custom_id=r"4-\d+$"),
    Fault("too_few", nth=1, custom_id=r"5-\d+$"),
    Fault("duplicate", nth=(1, 2), custom_id=r"[678]-\d+$"),
    Fault("expire", nth=2, custom_id=r"9-\d+$"),
    Fault("shuffle", nth=1),
    Fault("miscount", nth=1),
    Fault("lose", route="create", nth=(1, 2)),
    Fault("status", route="create", nth=3, status=503),
    Fault("cut", route="results", nth=(1, 2)),
]


@pytest.mark.parametrize("name", sorted(MODELS))
def test_the_cost_is_the_fakes_bill(fake: FakeServer, plan: Plan, tmp_path: Path, name: str) -> None:
    """Retried, cut short, refused, doubled, expired, lost on the way: every answer that is charged is counted once."""
    plan(*_MISHAPS)
    model = provider(name, max_completion_tokens=9_000, max_requests_per_batch=30)
    with session(fake, tmp_path) as home:
        wanted = spec(model, topics=60, num_samples_per_prompt=3, conduct=Conduct(max_attempts=4))
        run, _ = home.enter(wanted, fake=True)
        with home.work(run) as engine:
            progress = engine.drive()
            home.settle(engine.ctx, progress)
        status = run_status(home.store, home.store.run(run.id))
        attempts = len(home.store.shards(run.no))
    bill = fake.ledger()[name]
    assert bill["unpriced_models"] == []
    assert status["cost"]["unpriced"] == 0
    assert status["cost"]["usd"] == pytest.approx(bill["charged_usd"], abs=1e-6)
    assert bill["charged_usd"] > 0.01
    assert bill["batches"]["accepted"] == attempts
    assert progress.ledger.succeeded > 50


def test_two_models_at_two_services_are_added_up(fake: FakeServer, tmp_path: Path) -> None:
    """A run's cost is that of all its providers."""
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(*(provider(name) for name in sorted(MODELS)), topics=20), fake=True)
        with home.work(run) as engine:
            assert engine.drive().settled
        cost = run_status(home.store, home.store.run(run.id))["cost"]["usd"]
    assert cost == pytest.approx(sum(bill["charged_usd"] for bill in fake.ledger().values()), abs=1e-6)
