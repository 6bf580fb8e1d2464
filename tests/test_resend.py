"""`retry`: what ended without a row is asked again, because a person says so."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from batchfast.cli import execute
from batchfast.engine import cancel_run
from batchfast.errors import ConfigError, StoreError
from batchfast.fake import FakeServer, Fault
from batchfast.records import Request, Shard
from batchfast.resend import ask_again, give_up_the_question
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


# -- a shard of which nobody knows whether it was accepted


@pytest.fixture
def uncertain(server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunRow:
    """A run whose only shard is uncertain: its create was done but not answered, and its batch has no results yet."""
    monkeypatch.setenv("SOME_KEY", "any")
    server.plan(Fault("lose", provider="anthropic", route="create", nth=1))
    model = provider("anthropic", base_url=server.base_urls["anthropic"], api_key_env="SOME_KEY")
    with session(server, tmp_path) as home:
        run, _ = home.enter(spec(model, output_file=str(tmp_path / "out.jsonl")), fake=False)
        with home.work(run) as engine:
            engine.send_all()
        assert [row.state for row in home.store.shards(run.no)] == ["uncertain"]
    return run


def test_a_shard_sent_again_on_a_persons_word_is_counted_once(
    server: FakeServer, uncertain: RunRow, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The batch was ours after all: it is paid, its answers are not used, and `doctor` lists it."""
    (candidate,) = server.batches("anthropic")
    assert execute(["retry", "--resend", "0-0-1", "--yes"]) == 0
    out, err = capsys.readouterr()
    assert out.strip() == uncertain.id
    stated, after = err.split("sent: 3 requests in 1 batch")
    assert f"batch {candidate.id} may be this shard" in stated
    assert re.search(r"3 requests will be paid twice \([\d.,]+ USD at most\)", stated)
    assert "next: batchfast watch" in after
    server.finish_all()
    with session(server, tmp_path) as home:
        ledger, data, failures = settle(home, home.store.run(uncertain.id))
        (shard,) = home.store.shards(uncertain.no)
        events = [event["message"] for event in home.store.events(uncertain.no) if event["kind"] == "resend"]
    assert (ledger.succeeded, ledger.total, failures) == (3, 3, None)
    assert len(data.splitlines()) == 6
    bill = server.ledger()["anthropic"]
    assert bill["batches"]["ended"] == 2
    assert shard.cost_usd * 2 == pytest.approx(bill["charged_usd"], abs=1e-9)
    assert candidate.id in events[0]
    capsys.readouterr()
    execute(["doctor"])
    assert f"batch {candidate.id} (ended) of run {uncertain.id}: no shard owns it" in capsys.readouterr().out


def test_one_last_look_comes_before_the_question(
    server: FakeServer, uncertain: RunRow, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the results have come meanwhile, they tell, and nothing is sent a second time."""
    server.finish_all()
    assert execute(["retry", "--resend", "0-0-1"]) == 0
    assert "the question has been answered" in capsys.readouterr().err
    assert len(server.batches("anthropic")) == 1
    with session(server, tmp_path) as home:
        assert settle(home, home.store.run(uncertain.id))[0].succeeded == 3


def test_without_a_terminal_nothing_is_sent_unasked(
    server: FakeServer, uncertain: RunRow, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The double cost is stated and --yes is named; the shard stays as it was."""
    assert execute(["retry", "--resend", "0-0-1"]) == 2
    err = capsys.readouterr().err
    assert err.index("paid twice") < err.index("--yes")
    with session(server, tmp_path) as home:
        assert [row.state for row in home.store.shards(uncertain.no)] == ["uncertain"]
    assert len(server.batches("anthropic")) == 1


@pytest.mark.parametrize(("answer", "code", "batches"), [("n", 1, 1), ("", 1, 1), ("y", 0, 2)])
@pytest.mark.usefixtures("uncertain")
def test_on_a_terminal_a_person_is_asked(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch, answer: str, code: int, batches: int
) -> None:
    """Only yes sends it again."""
    terminal = io.StringIO(f"{answer}\n")
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", terminal)
    assert execute(["retry", "--resend", "0-0-1"]) == code
    assert len(server.batches("anthropic")) == batches


def test_only_an_uncertain_shard_can_be_sent_again(
    server: FakeServer, uncertain: RunRow, capsys: pytest.CaptureFixture[str]
) -> None:
    """An unknown name and a shard that runs are errors that name the uncertain ones."""
    assert execute(["retry", "--resend", "0-7-1", "--yes"]) == 1
    err = capsys.readouterr().err
    assert f"run {uncertain.id} has no shard 0-7-1" in err
    assert "uncertain: 0-0-1" in err
    assert execute(["retry", "--resend", "0-0-1", "--yes"]) == 0
    capsys.readouterr()
    assert execute(["retry", "--resend", "0-0-1", "--yes"]) == 1
    assert f"shard 0-0-1 of run {uncertain.id} is running" in capsys.readouterr().err
    assert execute(["retry", "--yes"]) == 2
    assert len(server.batches("anthropic")) == 2


def test_doctor_names_the_batch_that_was_given_up_while_it_runs(
    server: FakeServer, uncertain: RunRow, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It has no results yet, and may cost: with the command that ends it. Others' running batches are only counted."""
    (ours,) = server.batches("anthropic")
    assert execute(["retry", "--resend", "0-0-1", "--yes"]) == 0
    with session(server, tmp_path) as home:
        stranger = home.context(uncertain).providers[0]
        (tmp_path / "theirs").write_bytes(
            stranger.encode(Request("theirs", "A haiku.", 1))
            + b"\n"
            + stranger.encode(Request("more", "One.", 1))
            + b"\n"
        )
        stranger.create(Shard("", "", tmp_path / "theirs", 2, (tmp_path / "theirs").stat().st_size), None)
    capsys.readouterr()
    assert execute(["doctor"]) == 0
    said = capsys.readouterr().out
    assert f"anthropic batch {ours.id} may be a shard that was sent again, and runs and costs" in said
    assert f"/v1/messages/batches/{ours.id}/cancel" in said
    assert "anthropic: 1 running batch without a name" in said


def test_a_cancel_while_a_person_thought_stands(server: FakeServer, uncertain: RunRow, tmp_path: Path) -> None:
    """The answer was to another question."""
    with session(server, tmp_path) as home, home.work(uncertain) as engine:
        (shard,) = home.store.shards(uncertain.no)
        cancel_run(engine.ctx)
        with pytest.raises(ConfigError, match="was cancelled meanwhile; nothing was sent again"):
            give_up_the_question(engine.ctx, shard, lifts_cancel=False)
        assert home.store.shards(uncertain.no) == [shard]
    assert len(server.batches("anthropic")) == 1


def test_without_a_key_nothing_is_asked_again(
    fake: FakeServer, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Said before anything is changed: with the key the same command then sends."""
    plan(Fault("error", custom_id="-0-1$", status=400))
    monkeypatch.setenv("SOME_KEY", "any")
    model = provider(base_url=fake.base_urls["openai"], api_key_env="SOME_KEY")
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(model, output_file=str(tmp_path / "out.jsonl")), fake=False)
        settle(home, run)
        before = home.store.shards(run.no)
    monkeypatch.delenv("SOME_KEY")
    assert execute(["retry"]) == 1
    assert "no API key for openai" in capsys.readouterr().err
    with session(fake, tmp_path) as home:
        assert home.store.shards(run.no) == before
    monkeypatch.setenv("SOME_KEY", "any")
    assert execute(["retry"]) == 0
    assert "1 request will be sent again" in capsys.readouterr().err


def test_a_shard_that_moved_on_while_a_person_thought_is_left_alone(
    server: FakeServer, uncertain: RunRow, tmp_path: Path
) -> None:
    """One compare-and-set: whoever comes second changes nothing."""
    with session(server, tmp_path) as home, home.work(uncertain) as engine:
        (stale,) = home.store.shards(uncertain.no)
        server.finish_all()
        assert engine.one_pass(everything=True).settled
        with pytest.raises(ConfigError, match="moved on meanwhile"):
            give_up_the_question(engine.ctx, stale, lifts_cancel=False)
    assert len(server.batches("anthropic")) == 1


def test_a_cancelled_run_is_one_no_more(server: FakeServer, uncertain: RunRow, tmp_path: Path) -> None:
    """As with every retry: what a person asks for is sent."""
    with session(server, tmp_path) as home:
        home.store.update_run(uncertain.no, cancel_requested=1)
        assert execute(["retry", "--resend", "0-0-1", "--yes"]) == 0
        assert len(server.batches("anthropic")) == 2


def test_status_names_the_shard_and_the_command(
    server: FakeServer,
    uncertain: RunRow,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Why it is uncertain stands there in full, in the table's text, in the JSON, and once the run is held as next."""
    command = f"batchfast retry {uncertain.id} --resend 0-0-1"
    assert execute(["status", "--json", "latest"]) == 0
    status = json.loads(capsys.readouterr().out)
    (batch,) = status["batches"]
    assert (batch["name"], batch["shard"], batch["attempt"]) == ("0-0-1", 0, 1)
    assert batch["note"].endswith(command)
    assert status["next_command"] == f"batchfast watch {uncertain.id}"
    assert execute(["status"]) == 0
    out = capsys.readouterr().out
    assert "shard 0-0-1 is uncertain: batch msgbatch_" in out
    assert command in out
    with session(server, tmp_path) as home, home.work(uncertain) as engine:
        engine.ctx.hold("uncertain", "it cannot be told")
    assert execute(["status"]) == 0
    assert f"next: {command}" in capsys.readouterr().out
    monkeypatch.chdir("/")
    assert execute(["--home", str(tmp_path / ".batchfast"), "status"]) == 0
    elsewhere = f"batchfast retry {uncertain.id} --home {tmp_path / '.batchfast'} --resend 0-0-1"
    assert capsys.readouterr().out.count(elsewhere) == 2


def test_a_question_that_stays_open_is_noted_once(server: FakeServer, uncertain: RunRow, tmp_path: Path) -> None:
    """Looking again and again fills neither the log nor the events; a look that fails keeps the question."""
    with session(server, tmp_path) as home, home.work(uncertain) as engine:
        engine.one_pass(everything=True)
        engine.one_pass(everything=True)
        server.plan(Fault("status", route="list", status=500))
        engine.one_pass(everything=True)
        (shard,) = home.store.shards(uncertain.no)
        kinds = [event["kind"] for event in home.store.events(uncertain.no)]
    assert kinds.count("uncertain") == 1
    assert "may be this shard" in (shard.note or "")
