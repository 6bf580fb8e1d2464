"""Collecting: every request ends in exactly one outcome, whatever the provider sends back."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batchfast.engine import cancel_run
from batchfast.fake import FakeServer, Fault
from batchfast.sender import Sender
from batchfast.session import Session
from batchfast.spec import Conduct
from batchfast.store import Ledger, RunRow
from tests.helpers import MODELS, FakeClock, provider, read, session, spec

PROVIDERS = sorted(MODELS)
Plan = Callable[..., None]


def finish(home: Session, name: str, *, topics: int = 6, **fields: Any) -> tuple[RunRow, Ledger]:
    """Run to the end; the run and its ledger."""
    conduct = fields.pop("conduct", None)
    run, _ = home.enter(spec(provider(name), topics=topics, conduct=conduct, **fields), fake=True)
    with home.work(run) as engine:
        progress = engine.drive()
        assert home.settle(engine.ctx, progress)
    return home.store.run(run.id), progress.ledger


def outputs(run: RunRow) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows and failures."""
    rows = Path(run.output_file)
    failures = rows.with_name(f"{rows.stem}.failures.jsonl")
    return read(rows), read(failures) if failures.exists() else []


@pytest.mark.parametrize("name", PROVIDERS)
def test_rows_are_the_same_whatever_the_order_of_the_lines(
    fake: FakeServer, plan: Plan, tmp_path: Path, name: str
) -> None:
    """Results are matched by id, never by position: shuffled and doubled lines change no byte."""
    with session(fake, tmp_path / "plain") as home:
        run, _ = finish(home, name, output_file=str(tmp_path / "plain.jsonl"))
    plan(Fault("shuffle"), Fault("duplicate", share=0.5))
    with session(fake, tmp_path / "odd") as home:
        odd, ledger = finish(home, name, output_file=str(tmp_path / "odd.jsonl"))
    assert (tmp_path / "plain.jsonl").read_bytes() == (tmp_path / "odd.jsonl").read_bytes()
    assert run.id == odd.id
    assert ledger.succeeded == 6


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_request_without_a_line_is_asked_again_then_fails_as_missing(
    fake: FakeServer, plan: Plan, tmp_path: Path, name: str
) -> None:
    """Index 2 never gets a line: three attempts of that request alone, then failed (missing); the others are kept."""
    plan(Fault("drop", custom_id=r"-2-\d$"))
    with session(fake, tmp_path) as home:
        run, ledger = finish(home, name)
        sizes = [(row.attempt, row.requests) for row in home.store.shards(run.no)]
    assert (ledger.succeeded, ledger.failed) == (5, 1)
    assert sizes == [(1, 6), (2, 1), (3, 1)]
    rows, failures = outputs(run)
    assert [row["metadata"]["request_index"] for row in rows] == [0, 0, 1, 1, 3, 3, 4, 4, 5, 5]
    assert [(line["metadata"]["request_index"], line["reason"], line["attempts"]) for line in failures] == [
        (2, "missing", 3)
    ]


@pytest.mark.parametrize("name", PROVIDERS)
def test_one_rejected_request_costs_the_others_nothing(fake: FakeServer, plan: Plan, tmp_path: Path, name: str) -> None:
    """A request that the provider refuses for good fails alone, at once, with the provider's words."""
    plan(Fault("error", custom_id=r"-3-1$", status=400, message="that prompt is not allowed"))
    with session(fake, tmp_path) as home:
        run, ledger = finish(home, name)
        assert len(home.store.shards(run.no)) == 1
    assert (ledger.succeeded, ledger.failed) == (5, 1)
    _, failures = outputs(run)
    assert "that prompt is not allowed" in failures[0]["message"]
    assert failures[0]["prompt"].count("topic 3") >= 1


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_passing_error_is_sent_again_and_leaves_no_trace_in_the_rows(
    fake: FakeServer, plan: Plan, tmp_path: Path, name: str
) -> None:
    """A 500 inside the batch: the second attempt answers, and the dataset is that of an undisturbed run."""
    with session(fake, tmp_path / "plain") as home:
        finish(home, name, output_file=str(tmp_path / "plain.jsonl"))
    plan(Fault("error", custom_id=r"-1$", share=0.5, status=500))
    with session(fake, tmp_path / "odd") as home:
        run, ledger = finish(home, name, output_file=str(tmp_path / "odd.jsonl"))
        assert {row.attempt for row in home.store.shards(run.no)} == {1, 2}
    assert ledger.succeeded == 6
    assert (tmp_path / "plain.jsonl").read_bytes() == (tmp_path / "odd.jsonl").read_bytes()


def test_max_attempts_one_sends_nothing_again(fake: FakeServer, plan: Plan, tmp_path: Path) -> None:
    """`max_attempts = 1`: what failed stays failed."""
    plan(Fault("error", custom_id=r"-1-1$", status=500))
    with session(fake, tmp_path) as home:
        _, ledger = finish(home, "openai", conduct=Conduct(max_attempts=1))
    assert (ledger.succeeded, ledger.failed) == (5, 1)
    assert len(fake.batches("openai")) == 1


@pytest.mark.parametrize("name", ["openai", "anthropic"])
def test_partial_results_of_an_expired_batch_are_kept(fake: FakeServer, plan: Plan, tmp_path: Path, name: str) -> None:
    """What was answered before the expiry is kept; only the rest is sent again."""
    plan(Fault("expire", share=0.5, nth=1))
    with session(fake, tmp_path) as home:
        run, ledger = finish(home, name)
        shards = home.store.shards(run.no)
    assert ledger.succeeded == 6
    assert [row.requests for row in shards] == [6, 3]
    assert (shards[0].succeeded, shards[0].resent) == (3, 3)


def test_an_expired_gemini_batch_is_sent_again_in_halves(fake: FakeServer, plan: Plan, tmp_path: Path) -> None:
    """Gemini returns nothing of an expired batch: nothing was billed, and less at once may come through."""
    plan(Fault("expire", provider="gemini", nth=1))
    with session(fake, tmp_path) as home:
        run, ledger = finish(home, "gemini")
        assert [(row.requests, row.resent) for row in home.store.shards(run.no)] == [(6, 6), (3, 0), (3, 0)]
    assert ledger.succeeded == 6


def test_what_expired_for_good_stays_expired(fake: FakeServer, plan: Plan, tmp_path: Path) -> None:
    """The last attempt's outcome is the request's: expired, not failed."""
    plan(Fault("expire", custom_id=r"-4-\d$"))
    with session(fake, tmp_path) as home:
        run, ledger = finish(home, "anthropic")
    assert (ledger.succeeded, ledger.expired, ledger.failed) == (5, 1, 0)
    assert outputs(run)[1][0]["outcome"] == "expired"


def test_a_full_queue_is_waited_for_and_uses_up_no_attempt(fake: FakeServer, plan: Plan, tmp_path: Path) -> None:
    """`token_limit_exceeded` five times over: nothing ran, so the shard waits, ever longer, and then goes."""
    full = [
        Fault("fail", nth=number, code="token_limit_exceeded", message="Limit: 2,000,000 enqueued tokens.")
        for number in range(1, 6)
    ]
    plan(*full)
    clock = FakeClock(fake)
    with session(fake, tmp_path, clock) as home:
        run, ledger = finish(home, "openai")
        assert [(row.attempt, row.succeeded) for row in home.store.shards(run.no)] == [(1, 6)]
        assert home.store.shards(run.no)[0].refusals == 5
    assert ledger.succeeded == 6
    assert 1_859 < sum(clock.slept) < 1_870  # 60 s, then twice as long each time


def test_a_failed_batch_gives_its_error_to_every_request(fake: FakeServer, plan: Plan, tmp_path: Path) -> None:
    """OpenAI refuses the file as a whole: all requests take the batch's error, none is lost."""
    plan(Fault("fail", provider="openai", code="invalid_json_line", message="line 1 is not JSON"))
    with session(fake, tmp_path) as home:
        run, ledger = finish(home, "openai")
    assert ledger.failed == 6
    rows, failures = outputs(run)
    assert rows == []
    assert {line["reason"] for line in failures} == {"invalid_json_line"}


@pytest.mark.parametrize("name", PROVIDERS)
@pytest.mark.parametrize(
    ("does", "reason"), [("refuse", "refused"), ("truncate", "truncated"), ("empty", "empty"), ("malform", None)]
)
def test_a_reply_without_a_usable_text_keeps_its_raw_text(
    fake: FakeServer, plan: Plan, tmp_path: Path, name: str, does: Any, reason: str | None
) -> None:
    """Refused, cut short and empty replies fail with a reason; broken JSON that can be mended gives its rows."""
    plan(Fault(does, custom_id=r"-0-\d$"))
    with session(fake, tmp_path) as home:
        run, ledger = finish(home, name, num_samples_per_prompt=1)
    if reason is None:
        assert ledger.succeeded == 6
        return
    assert (ledger.succeeded, ledger.failed) == (5, 1)
    failure = outputs(run)[1][0]
    assert failure["reason"] == ("blocked" if does == "refuse" and name == "gemini" else reason)  # its only way
    assert failure["raw_text"] or does in ("empty", "refuse")


@pytest.mark.parametrize("name", PROVIDERS)
def test_fenced_json_gives_the_same_rows(fake: FakeServer, plan: Plan, tmp_path: Path, name: str) -> None:
    """A Markdown fence around the reply changes no byte of the dataset."""
    with session(fake, tmp_path / "plain") as home:
        finish(home, name, output_file=str(tmp_path / "plain.jsonl"))
    plan(Fault("fence"))
    with session(fake, tmp_path / "odd") as home:
        finish(home, name, output_file=str(tmp_path / "odd.jsonl"))
    assert (tmp_path / "plain.jsonl").read_bytes() == (tmp_path / "odd.jsonl").read_bytes()


@pytest.mark.parametrize(("does", "rows"), [("too_few", 1), ("too_many", 3)])
def test_fewer_or_more_samples_are_kept_as_they_are(
    fake: FakeServer, plan: Plan, tmp_path: Path, does: Any, rows: int
) -> None:
    """Two were asked for; what came is kept and counted, never padded or cut."""
    plan(Fault(does, custom_id=r"-0-1$"))
    with session(fake, tmp_path) as home:
        run, ledger = finish(home, "openai")
        assert home.store.rows(run.no) == 10 + rows
    assert ledger.succeeded == 6
    samples = [row["metadata"]["sample_index"] for row in outputs(run)[0] if row["metadata"]["request_index"] == 0]
    assert samples == list(range(rows))


@pytest.mark.parametrize("name", PROVIDERS)
@pytest.mark.parametrize("does", ["cut", "status", "lose"])
def test_a_disturbed_download_is_made_again(fake: FakeServer, plan: Plan, tmp_path: Path, name: str, does: Any) -> None:
    """A download that broke off leaves nothing behind and is repeated in the next pass."""
    plan(Fault(does, provider=name, route="results", nth=1))
    with session(fake, tmp_path) as home:
        _, ledger = finish(home, name)
    assert ledger.succeeded == 6
    assert len(fake.batches(name)) == 1


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_failed_poll_changes_nothing(fake: FakeServer, plan: Plan, tmp_path: Path, name: str) -> None:
    """Three polls fail, one of them with a 404: the batch is kept and its results come."""
    plan(
        Fault("status", provider=name, route="poll", nth=1, status=503, retry_after=7),
        Fault("lose", provider=name, route="poll", nth=2),
        Fault("status", provider=name, route="poll", nth=3, status=404),
    )
    with session(fake, tmp_path) as home:
        _, ledger = finish(home, name)
    assert ledger.succeeded == 6
    assert len(fake.batches(name)) == 1


def test_retry_after_of_a_failed_poll_is_honoured(fake: FakeServer, plan: Plan, tmp_path: Path) -> None:
    """A 503 that says 77 seconds is not asked again sooner."""
    plan(Fault("status", provider="openai", route="poll", nth=1, status=503, retry_after=77))
    clock = FakeClock(fake)
    with session(fake, tmp_path, clock) as home:
        finish(home, "openai")
    assert max(clock.slept) >= 77


def test_collecting_twice_writes_the_same_bytes(fake: FakeServer, tmp_path: Path) -> None:
    """Collecting is idempotent, also when the dataset was deleted in between."""
    with session(fake, tmp_path) as home:
        run, _ = finish(home, "openai")
        path = Path(run.output_file)
        first = path.read_bytes()
        for remove in (False, True):
            if remove:
                path.unlink()
            with home.work(run) as engine:
                assert home.settle(engine.ctx, engine.one_pass(everything=True))
            assert path.read_bytes() == first
    assert len(fake.batches("openai")) == 1


@pytest.mark.parametrize("name", PROVIDERS)
def test_raw_results_are_the_bytes_that_came(fake: FakeServer, plan: Plan, tmp_path: Path, name: str) -> None:
    """`results/` holds exactly what the provider sent, one line per request over both files."""
    plan(Fault("error", custom_id=r"-1-1$", status=400))
    with session(fake, tmp_path) as home:
        run, _ = finish(home, name)
        folder = home.home.run(run.id) / "results"
        files = sorted(path.name for path in folder.iterdir())
        lines = b"".join(path.read_bytes() for path in folder.iterdir()).strip().split(b"\n")
    assert len(lines) == 6
    assert [name.split(".")[-2] for name in files] == (["error", "output"] if name == "openai" else ["output"])


def test_results_that_the_provider_has_removed_are_not_bought_again(fake: FakeServer, tmp_path: Path) -> None:
    """Anthropic archives after 29 days: the requests fail as gone, loudly, and nothing is sent again by itself."""
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(provider("anthropic")), fake=True)
        with home.work(run) as engine:
            engine.send_all()
        home.clock.sleep(30 * 86_400)
        with home.work(run) as engine:
            progress = engine.drive()
            assert home.settle(engine.ctx, progress)
        assert home.store.failure_reasons(run.no) == [("failed", "results_gone", 3)]
    assert len(fake.batches("anthropic")) == 1


def test_a_gemini_file_that_is_gone_is_not_bought_again(fake: FakeServer, tmp_path: Path) -> None:
    """Gemini deletes results 48 h after the end."""
    with session(fake, tmp_path, FakeClock(fake, time.time())) as home:
        run, _ = home.enter(spec(provider("gemini")), fake=True)
        with home.work(run) as engine:
            engine.send_all()
        home.clock.sleep(3 * 86_400)
        with home.work(run) as engine:
            progress = engine.drive()
            assert home.settle(engine.ctx, progress)
        assert home.store.failure_reasons(run.no) == [("failed", "results_gone", 3)]
    assert len(fake.batches("gemini")) == 1


def test_a_cancelled_run_keeps_what_finished(fake: FakeServer, tmp_path: Path) -> None:
    """Cancel with one batch ended and two waiting: the first one's rows stay, the rest is cancelled."""
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(provider("openai", max_requests_per_batch=2), topics=6), fake=True)
        ctx = home.context(run)
        Sender(ctx).send(home.store.shards(run.no)[:1])
        cancel_run(ctx)
        with home.work(home.store.run(run.id)) as engine:
            progress = engine.drive()
            written = home.settle(engine.ctx, progress)
        assert home.store.run(run.id).state == "cancelled"
    assert written is not None
    assert (progress.ledger.succeeded, progress.ledger.cancelled) == (2, 4)
    assert written.rows == 4
    assert len(fake.batches("openai")) == 1
