"""Things that go wrong in the night, one at a time: nothing paid twice, nothing thrown away, and a way on."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from batchfast.engine import cancel_run
from batchfast.fake import FakeServer, Fault
from batchfast.llms import OpenAIProvider
from batchfast.records import RemoteFile, Shard
from batchfast.spec import Conduct
from batchfast.status import cost
from tests.helpers import MODELS, FakeClock, provider, send, session, spec

DAY = 86_400
Plan = Callable[..., None]


class Died(Exception):
    """Stands for the end of the process."""


def test_one_lost_file_does_not_lose_the_other(fake: FakeServer, plan: Plan, tmp_path: Path) -> None:
    """The error file is gone for good: what the output file holds is kept, and nothing is bought again."""
    plan(Fault("error", custom_id=r"-1-1$", status=400))
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(), fake=True)
        with home.work(run) as engine:
            engine.send_all()
            batch = next(iter(home.store.batches(run.no).values()))
            snapshot = engine.ctx.providers[0].poll(batch.remote_id)
            engine.ctx.providers[0].delete(next(file.ref for file in snapshot.files if file.kind == "error"))
            home.clock.sleep(3 * DAY)
            ledger = engine.drive().ledger
        assert (ledger.succeeded, ledger.failed) == (2, 1)
        assert home.store.failure_reasons(run.no) == [("failed", "results_gone", 1)]
    assert len(fake.batches("openai")) == 1


@pytest.mark.parametrize("name", sorted(MODELS))
def test_results_on_disk_count_although_the_provider_has_removed_them(
    fake: FakeServer, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Downloaded, then the process died; collected again 31 days later."""
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(provider(name)), fake=True)
        with home.work(run) as engine, monkeypatch.context() as patch:
            engine.send_all()

            def dies(*_: object, **__: object) -> bool:
                raise Died

            patch.setattr(home.store, "end_shard", dies)
            with pytest.raises(Died):
                engine.one_pass(everything=True)
        home.clock.sleep(31 * DAY)
        with home.work(run) as engine:
            assert engine.drive().ledger.succeeded == 3


def test_a_second_download_that_is_worse_is_not_kept(
    fake: FakeServer, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first has five lines of six, the second two: five answers are kept."""
    plan(Fault("drop", custom_id=r"-2-\d$"))
    download = OpenAIProvider.download
    sizes: list[int] = []

    def shorter(self: OpenAIProvider, file: RemoteFile) -> Iterator[bytes]:
        lines = b"".join(download(self, file)).splitlines(keepends=True)
        sizes.append(len(lines))
        yield b"".join(lines[:2] if len(sizes) == 2 else lines)

    monkeypatch.setattr(OpenAIProvider, "download", shorter)
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(topics=6, conduct=Conduct(max_attempts=1)), fake=True)
        with home.work(run) as engine:
            ledger = engine.drive().ledger
    assert (ledger.succeeded, ledger.failed, sizes) == (5, 1, [5, 5])


def test_a_doubled_line_does_not_hide_a_missing_one(fake: FakeServer, plan: Plan, tmp_path: Path) -> None:
    """As many lines as requests, but one twice and one not at all: there is a second download before that counts."""
    plan(Fault("drop", custom_id=r"-2-1$"), Fault("duplicate", custom_id=r"-3-1$"))
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(topics=6), fake=True)
        with home.work(run) as engine:
            engine.send_all()
            engine.one_pass(everything=True)
        said = [event["message"] for event in home.store.events(run.no)]
    assert [call.route for call in fake.calls].count("results") == 2
    assert "1 result lines came a second time and were ignored" in said


def test_a_late_output_is_waited_for_and_not_bought_again(
    fake: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Completed, with answers counted, but the output file is named only at the third look."""
    poll = OpenAIProvider.poll
    looks: list[str] = []

    def late(self: OpenAIProvider, remote_id: str) -> Any:
        snapshot = poll(self, remote_id)
        looks.append(remote_id)
        if len(looks) > 2:
            return snapshot
        return type(snapshot)(
            remote_id, "completed", "completed", counts=snapshot.counts, late=True, ended_at=snapshot.ended_at
        )

    monkeypatch.setattr(OpenAIProvider, "poll", late)
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(), fake=True)
        with home.work(run) as engine:
            assert engine.drive().ledger.succeeded == 3
    assert len(fake.batches("openai")) == 1


def test_watching_ends_when_the_key_turns_bad(fake: FakeServer, plan: Plan, tmp_path: Path) -> None:
    """Batches run, the key is refused: a person must act, so the loop returns; nothing is lost."""
    plan(Fault("stick", nth=1))
    good, bad = (provider(base_url=fake.base_urls["openai"], api_key=key) for key in ("good", "bad-key"))
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(good), fake=False)
        with home.work(run, [good]) as engine:
            engine.send_all()
        with home.work(run, [bad]) as engine:
            progress = engine.drive()
        assert (progress.held, progress.moves, progress.ledger.in_flight) == ("bad key", False, 3)
        fake.advance(hours=25)
        with home.work(run, [good]) as engine:
            assert engine.drive().settled


@pytest.mark.parametrize(("route", "status"), [("upload", 400), ("upload", 413), ("list", 400), ("list", 404)])
def test_a_refusal_for_good_ends_or_holds(
    fake: FakeServer, plan: Plan, tmp_path: Path, route: str, status: int
) -> None:
    """An upload that is refused fails its requests; a provider that cannot list holds the run. Neither is repeated."""
    plan(Fault("status", provider="openai", route=route, status=status))
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(), fake=True)
        with home.work(run) as engine:
            progress = engine.drive()
    assert progress.held == ("refused" if route == "list" else None)
    assert progress.ledger.failed == (0 if route == "list" else 3)
    assert [call.route for call in fake.calls].count(route) == 1


def test_a_cancel_during_an_upload_stops_the_create(
    fake: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upload takes minutes; who cancels meanwhile pays nothing."""
    upload = OpenAIProvider.upload
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(), fake=True)

        def cancelled_meanwhile(self: OpenAIProvider, shard: Shard) -> str:
            assert cancel_run(home.context(run)) == []
            return upload(self, shard)

        monkeypatch.setattr(OpenAIProvider, "upload", cancelled_meanwhile)
        with home.work(run) as engine:
            assert engine.drive().ledger.cancelled == 3
    assert fake.batches("openai") == []


def test_what_cannot_be_cancelled_is_named(fake: FakeServer, plan: Plan, tmp_path: Path) -> None:
    """The provider is out of reach: the batch runs on, and cancel says which."""
    plan(Fault("stick"), Fault("status", provider="openai", route="cancel", nth=1, status=503))
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(), fake=True)
        with home.work(run) as engine:
            engine.send_all()
            ctx = engine.ctx
        assert cancel_run(ctx) == [batch.id for batch in fake.batches("openai")]


def test_retry_after_of_one_shard_holds_back_its_siblings(fake: FakeServer, plan: Plan, tmp_path: Path) -> None:
    """Five shards, 429 with 90 seconds: one create until then."""
    plan(Fault("status", provider="openai", route="create", nth=1, status=429, retry_after=90))
    clock = FakeClock(fake)
    with session(fake, tmp_path, clock) as home:
        run, _ = home.enter(spec(provider(max_requests_per_batch=1), topics=5), fake=True)
        with home.work(run) as engine:
            for _ in range(4):
                progress = engine.one_pass()
                clock.sleep(20)
            assert progress.ledger.waiting == 5
            assert [call.route for call in fake.calls].count("create") == 1
            assert engine.drive().settled


def test_retry_after_of_a_download_is_honoured(fake: FakeServer, plan: Plan, tmp_path: Path) -> None:
    """429 with 90 seconds on the results."""
    plan(Fault("status", provider="openai", route="results", nth=1, status=429, retry_after=90))
    clock = FakeClock(fake)
    with session(fake, tmp_path, clock) as home:
        run, _ = home.enter(spec(), fake=True)
        with home.work(run) as engine:
            assert engine.drive().settled
    assert max(clock.slept) >= 89


def test_a_clock_set_back_by_a_day_delays_nothing(fake: FakeServer, plan: Plan, tmp_path: Path) -> None:
    """While a batch is watched, and while a shard waits."""
    plan(Fault("stick", nth=1), Fault("status", provider="openai", route="create", nth=2, status=429))
    clock = FakeClock(fake)
    with session(fake, tmp_path, clock) as home:
        run, _ = home.enter(spec(provider(max_requests_per_batch=2)), fake=True)
        with home.work(run) as engine:
            engine.one_pass()
            engine.one_pass()
            clock.time -= DAY
            assert engine.one_pass().wait_s <= 300
            assert len(fake.batches("openai")) == 2


def test_a_hold_uses_up_no_attempt(fake: FakeServer, plan: Plan, tmp_path: Path) -> None:
    """Twice no credit and once a real failure: the fourth try is the second that counts."""
    broke = {"status": 429, "code": "insufficient_quota", "message": "You exceeded your current quota"}
    plan(Fault("error", nth=1, **broke), Fault("error", nth=2, **broke), Fault("error", nth=3, status=500))
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(conduct=Conduct(max_attempts=2)), fake=True)
        held = []
        for _ in range(3):
            with home.work(home.store.run(run.id)) as engine:
                progress = engine.drive()
                held.append(progress.held)
    assert held == ["no credit", "no credit", None]
    assert progress.ledger.succeeded == 3


def test_a_cancelled_run_whose_batch_is_gone_settles(fake: FakeServer, plan: Plan, tmp_path: Path) -> None:
    """The provider knows the batch no more: nothing is sent again, and the run ends as cancelled."""
    plan(Fault("status", provider="openai", route="poll", status=404))
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(), fake=True)
        with home.work(run) as engine:
            engine.send_all()
            home.store.update_run(run.no, cancel_requested=1)
            assert engine.drive().ledger.cancelled == 3
    assert len(fake.batches("openai")) == 1


def test_a_passing_404_costs_a_cancelled_run_no_answer(fake: FakeServer, plan: Plan, tmp_path: Path) -> None:
    """Two polls in a row say 404 although the batch is there: what it finished before the cancel is kept."""
    missing = [Fault("status", provider="openai", route="poll", nth=number, status=404) for number in (2, 3)]
    plan(*missing)
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(), fake=True)
        with home.work(run) as engine:
            engine.send_all()
            home.store.update_run(run.no, cancel_requested=1)
            assert engine.drive().ledger.succeeded == 3


def test_what_can_never_be_proven_asks_a_person(fake: FakeServer, plan: Plan, tmp_path: Path) -> None:
    """An Anthropic batch of our size never shows results: after three days the run is held as uncertain."""
    plan(Fault("stick", nth=1), Fault("status", provider="anthropic", route="create", nth=2))
    with session(fake, tmp_path / "other") as other:
        run, _ = other.enter(spec(provider("anthropic")), fake=True)
        with other.work(run) as engine:
            engine.send_all()
    clock = FakeClock(fake)
    with session(fake, tmp_path, clock) as home:
        run, _ = home.enter(spec(provider("anthropic")), fake=True)
        with home.work(run) as engine:
            engine.one_pass()
            row = home.store.shards(run.no)[0]
            home.store.update_shard(row.id, "submitting", fence=None)
            engine.one_pass(everything=True)
            clock.time += 4 * DAY  # ours alone: to the provider no time has passed
            progress = engine.drive()
        assert (progress.held, progress.settled) == ("uncertain", False)
        assert home.store.run(run.id).state == "held"
    assert len(fake.batches("anthropic")) == 1


def test_a_request_file_changed_in_place_is_not_sent(fake: FakeServer, tmp_path: Path) -> None:
    """Same size, another byte: the hash tells."""
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(), fake=True)
        ctx = home.context(run)
        row = home.store.shards(run.no)[0]
        path = ctx.sent_file(row)
        path.write_bytes(path.read_bytes().replace(b"topic 1", b"topic 9"))
        assert not send(ctx, row)
        assert ctx.held == "changed file"
    assert fake.batches("openai") == []


def test_a_full_disk_under_the_database_loses_nothing(fake: FakeServer, tmp_path: Path) -> None:
    """SQLite refuses to grow while outcomes are entered: its own error comes out, and the next pass finishes."""
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(topics=200), fake=True)
        with home.work(run) as engine:
            engine.send_all()
            pages = home.store.connection.execute("PRAGMA page_count").fetchone()[0]
            home.store.connection.execute(f"PRAGMA max_page_count = {pages}")
            with pytest.raises(sqlite3.OperationalError, match="full"):
                engine.drive()
            home.store.connection.execute("PRAGMA max_page_count = 1000000")
            assert engine.drive().ledger.succeeded == 200
    assert len(fake.batches("openai")) == 1


def test_a_cancelled_run_sends_nothing_again(fake: FakeServer, plan: Plan, tmp_path: Path) -> None:
    """Requests that failed for a passing reason after the cancel stay failed."""
    plan(Fault("error", status=500))
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(), fake=True)
        with home.work(run) as engine:
            engine.send_all()
            home.store.update_run(run.no, cancel_requested=1)
            assert engine.drive().ledger.failed == 3
    assert len(fake.batches("openai")) == 1


def test_a_hold_stops_the_shards_behind_it(fake: FakeServer, plan: Plan, tmp_path: Path) -> None:
    """No credit at the first create: the other shards are not even tried."""
    plan(Fault("status", provider="openai", route="create", status=429, code="insufficient_quota"))
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(provider(max_requests_per_batch=1)), fake=True)
        with home.work(run) as engine:
            progress = engine.drive()
    assert (progress.held, progress.ledger.waiting) == ("no credit", 3)
    assert [call.route for call in fake.calls].count("create") == 1


def test_the_cost_is_that_of_every_answer(fake: FakeServer, tmp_path: Path) -> None:
    """Shard totals are the sum of their requests, by the price given; tokens are the provider's own."""
    model = provider(price={"input": 1.0, "output": 10.0}, max_requests_per_batch=2)
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(model), fake=True)
        with home.work(run) as engine:
            engine.drive()
        answers = [home.store.attempts(run.no, index)[0] for index in range(3)]
        expected = sum((row.input_tokens or 0) * 1e-6 + (row.output_tokens or 0) * 1e-5 for row in answers)
        spent = cost(home.store.shards(run.no))
    assert expected > 0
    assert spent == {"usd": pytest.approx(expected, abs=1e-6), "unpriced": 0, "assumed": False}


def test_an_unknown_price_is_unknown_and_not_nothing(fake: FakeServer, tmp_path: Path) -> None:
    """A model that no table knows."""
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(provider(model_id="my-own-model")), fake=True)
        with home.work(run) as engine:
            engine.drive()
        assert cost(home.store.shards(run.no)) == {"usd": None, "unpriced": 3, "assumed": False}
