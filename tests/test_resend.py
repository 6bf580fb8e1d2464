"""`retry`: what ended without a row is asked again, because a person says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from batchfast.cli import execute
from batchfast.engine import cancel_run
from batchfast.errors import StoreError
from batchfast.fake import FakeServer, Fault
from batchfast.resend import ask_again
from batchfast.session import Session
from batchfast.spec import Conduct
from batchfast.store import Ledger, RunRow
from tests.helpers import MODELS, provider, read, session, spec

Plan = Callable[..., None]


def settle(home: Session, run: RunRow) -> tuple[Ledger, bytes, Path | None]:
    """Drive a run to its end; its ledger, the dataset's bytes and where the failures are."""
    with home.work(run) as engine:
        progress = engine.drive(lambda seen: _assert(seen.ledger.adds_up()))
        written = home.settle(engine.ctx, progress)
    assert written is not None
    return progress.ledger, written.path.read_bytes(), written.failures


def _assert(holds: bool) -> None:
    assert holds


def retry(home: Session, run: RunRow) -> int:
    with home.work(run) as engine:
        return ask_again(engine.ctx)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_only_what_failed_is_asked_again(fake: FakeServer, plan: Plan, tmp_path: Path, name: str) -> None:
    """The answers there are stay; with the others the dataset has the bytes of an undisturbed run."""
    wanted = spec(provider(name), topics=6, conduct=Conduct(max_attempts=2), output_file=str(tmp_path / "out.jsonl"))
    with session(fake, tmp_path / "undisturbed") as home:
        _, undisturbed, _ = settle(home, home.enter(wanted, fake=True)[0])
    (tmp_path / "out.jsonl").unlink()
    fake.reset()
    plan(Fault("error", custom_id=r"-[14]-\d$", status=400, nth=1))
    with session(fake, tmp_path / "disturbed") as home:
        run, _ = home.enter(wanted, fake=True)
        ledger, _, failures = settle(home, run)
        assert (ledger.succeeded, ledger.failed) == (4, 2)
        assert failures is not None and failures.is_file()
        assert retry(home, run) == 2
        assert home.store.ledger(run).waiting == 2
        ledger, again, failures = settle(home, home.store.run(run.id))
        assert (ledger.succeeded, ledger.failed, failures) == (6, 0, None)
        assert [row.requests for row in home.store.shards(run.no)] == [6, 2]
        assert retry(home, run) == 0
    assert again == undisturbed
    assert [one.requests for one in fake.batches(name)] == [2, 6]


def test_a_retry_has_all_its_tries(fake: FakeServer, plan: Plan, tmp_path: Path) -> None:
    """Two more where two are allowed; what still fails can be retried once more."""
    plan(Fault("error", custom_id=r"-1-\d$", status=500))
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(topics=3, conduct=Conduct(max_attempts=2)), fake=True)
        for attempts in (2, 4, 6):
            ledger, _, _ = settle(home, home.store.run(run.id))
            assert (ledger.succeeded, ledger.failed) == (2, 1)
            assert max(row.attempt for row in home.store.shards(run.no)) == attempts
            assert retry(home, run) == 1


def test_a_cancelled_run_goes_on_after_retry(fake: FakeServer, tmp_path: Path) -> None:
    """Cancelled requests are never sent again but by retry."""
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(topics=4), fake=True)
        cancel_run(home.context(run))
        ledger, _, _ = settle(home, home.store.run(run.id))
        assert (ledger.cancelled, fake.batches("openai")) == (4, [])
        assert retry(home, run) == 4
        ledger, _, _ = settle(home, home.store.run(run.id))
        assert ledger.succeeded == 4
        assert home.store.run(run.id).state == "done"


def test_plans_that_do_not_fit_change_nothing(fake: FakeServer, plan: Plan, tmp_path: Path) -> None:
    """The ledger would no longer add up."""
    plan(Fault("error", custom_id=r"-1-\d$", status=400))
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(topics=3), fake=True)
        before, _, _ = settle(home, run)
        with pytest.raises(StoreError, match="nothing was changed"):
            home.store.reopen(run.no, [])
        assert home.store.ledger(run) == before


def test_on_the_command_line(fake: FakeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It says what it will send and what comes next; where nothing failed it is an error that sends nothing."""
    spec_file = tmp_path / "spec.toml"
    spec_file.write_text(
        '[dataset]\ndocument_types = ["essay"]\ntopics = ["snow", "rain"]\noutput_file = "out.jsonl"\n'
        f'[[providers]]\nprovider = "openai"\nmodel_id = "gpt-4.1-mini"\nbase_url = "{fake.base_urls["openai"]}"\n'
        'api_key_env = "SOME_KEY"\n',
        "utf-8",
    )
    (tmp_path / ".env").write_text("SOME_KEY=any", "utf-8")
    fake.plan(Fault("error", custom_id=r"-1-\d$", status=400, nth=1))
    assert execute(["run", str(spec_file)]) == 0
    capsys.readouterr()
    assert execute(["retry"]) == 0
    out, err = capsys.readouterr()
    assert "1 request will be sent again" in err
    assert "sent: 1 request in 1 batch" in err
    assert "next: batchfast watch" in err
    assert execute(["collect", out.strip()]) == 0
    assert len(read(tmp_path / "out.jsonl")) == 10
    capsys.readouterr()
    assert execute(["retry"]) == 1
    assert "there is nothing to retry" in capsys.readouterr().err
    assert len(fake.batches("openai")) == 2
