"""Sending: intent before the create, and a look before anything is sent a second time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batchfast.engine import Engine
from batchfast.fake import FakeServer, Fault
from batchfast.spec import Conduct
from batchfast.submit import recover
from tests.helpers import MODELS, FakeClock, provider, read, send, session, spec

PROVIDERS = sorted(MODELS)
Plan = Callable[..., None]


class Died(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize("name", PROVIDERS)
@pytest.mark.parametrize("does", ["lose", "cut", "status"])
def test_a_create_without_an_answer_is_not_paid_twice(
    fake: FakeServer, plan: Plan, tmp_path: Path, name: str, does: Any
) -> None:
    """The create was accepted, its answer did not come: the batch is found and adopted, and no second one is made."""
    # "status" refuses before the work is done: there the batch is not found, and sent once more.
    plan(Fault(does, provider=name, route="create", nth=1))
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(provider(name)), fake=True)
        with home.work(run) as engine:
            progress = engine.drive()
            written = home.settle(engine.ctx, progress)
        said = "\n".join(event["message"] for event in home.store.events(run.no))
    assert written is not None
    assert written.rows == 6
    assert len(fake.batches(name)) == 1
    assert "more than one batch" not in said


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_crash_between_create_and_its_record_is_made_good(
    fake: FakeServer, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process dies right after the provider took the batch; the next process adopts it."""
    clock = FakeClock(fake)
    with session(fake, tmp_path, clock) as home:
        run, _ = home.enter(spec(provider(name)), fake=True)

        def dies(*_: object) -> bool:
            raise Died

        with home.work(run) as engine, monkeypatch.context() as patch:
            patch.setattr(home.store, "accept", dies)
            with pytest.raises(Died):
                engine.one_pass()
        assert [row.state for row in home.store.shards(run.no)] == ["submitting"]
    with session(fake, tmp_path, clock) as home, home.work(home.store.run(run.id)) as engine:
        progress = engine.drive()
        assert home.settle(engine.ctx, progress)
        assert "found as" in " ".join(event["message"] for event in home.store.events(run.no))
    assert len(fake.batches(name)) == 1


@pytest.mark.parametrize("name", PROVIDERS)
def test_absence_is_believed_only_after_a_second_listing(
    fake: FakeServer, plan: Plan, tmp_path: Path, name: str
) -> None:
    """Listings lag: a shard is sent again only when 20 s after the intent the provider still does not list it."""
    plan(Fault("status", provider=name, route="create", nth=1))
    clock = FakeClock(fake)
    with session(fake, tmp_path, clock) as home:
        run, _ = home.enter(spec(provider(name)), fake=True)
        with home.work(run) as engine:
            engine.one_pass(everything=True)
            clock.advance(10)
            engine.one_pass(everything=True)
            assert [row.state for row in home.store.shards(run.no)] == ["submitting"]
            assert fake.batches(name) == []
            clock.advance(11)
            engine.one_pass(everything=True)
            assert len(fake.batches(name)) == 1


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_listing_that_lags_does_not_make_a_second_batch(
    fake: FakeServer, plan: Plan, tmp_path: Path, name: str
) -> None:
    """The batch is there but not listed for 15 s; it is adopted once it is."""
    plan(Fault("lose", provider=name, route="create", nth=1), Fault("lag", provider=name, route="list", seconds=15))
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(provider(name)), fake=True)
        with home.work(run) as engine:
            assert engine.drive().settled
    assert len(fake.batches(name)) == 1


@pytest.mark.parametrize("shift", [-86_400, 86_400])
def test_a_clock_set_back_or_forward_neither_blocks_nor_pays_twice(
    fake: FakeServer, plan: Plan, tmp_path: Path, shift: int
) -> None:
    """The clock jumps by a day between the lost create and the look."""
    plan(Fault("lose", route="create", nth=1), Fault("status", route="create", nth=2, status=503))
    clock = FakeClock(fake)
    with session(fake, tmp_path, clock) as home:
        run, _ = home.enter(spec(provider("openai", max_requests_per_batch=2)), fake=True)
        with home.work(run) as engine:
            engine.one_pass()
            clock.time += shift
            assert engine.drive().settled
    assert len(fake.batches("openai")) == 2
    assert sum(clock.slept) < 600


def test_other_peoples_batches_are_never_touched(fake: FakeServer, plan: Plan, tmp_path: Path) -> None:
    """A crashed create is looked for among another home's batches of the same size: none is adopted or cancelled."""
    for number in range(5):
        with session(fake, tmp_path / f"other{number}") as other:
            run, _ = other.enter(spec(provider("anthropic")), fake=True)
            with other.work(run) as engine:
                engine.send_all()
    theirs = {batch.id for batch in fake.batches("anthropic")}
    plan(Fault("status", provider="anthropic", route="create", nth=1))
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(provider("anthropic")), fake=True)
        with home.work(run) as engine:
            engine.one_pass()
            row = home.store.shards(run.no)[0]
            home.store.update_shard(row.id, "submitting", fence=None)  # as if the account had been empty
            assert engine.drive().settled
        mine = {batch.remote_id for batch in home.store.batches(run.no).values()}
    assert len(mine) == 1
    assert not mine & theirs
    assert len(fake.batches("anthropic")) == 6
    assert not any(call.route == "cancel" for call in fake.calls)


def test_an_uploaded_file_without_a_batch_is_used_again(fake: FakeServer, plan: Plan, tmp_path: Path) -> None:
    """The upload succeeded, the create did not: the second try names the same file."""
    plan(Fault("status", provider="openai", route="create", nth=1, status=500))
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(), fake=True)
        with home.work(run) as engine:
            assert engine.drive().settled
    assert [call.route for call in fake.calls].count("upload") == 1


@pytest.mark.parametrize("name", ["gemini", "openai"])
def test_an_upload_without_an_answer_is_used(fake: FakeServer, plan: Plan, tmp_path: Path, name: str) -> None:
    """The file arrived, the answer did not: it is found by its name, and not sent a second time."""
    plan(Fault("lose", provider=name, route="upload", nth=1 if name == "openai" else 2))
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(provider(name)), fake=True)
        with home.work(run) as engine:
            assert engine.drive().settled
    assert [call.route for call in fake.calls].count("upload") == (1 if name == "openai" else 2)
    assert len(fake.batches(name)) == 1


def test_a_changed_request_file_delays_no_answer(server: FakeServer, tmp_path: Path) -> None:
    """What waits is held until the file is back; what runs is collected all the same."""
    with session(server, tmp_path) as home:
        run, _ = home.enter(spec(provider(max_requests_per_batch=2), topics=4), fake=True)
        with home.work(run) as engine:
            send(engine.ctx, home.store.shards(run.no)[0])
            path = engine.ctx.sent_file(home.store.shards(run.no)[1])
            content = path.read_bytes()
            path.unlink()
            server.finish_all()
            progress = engine.one_pass(everything=True)
        assert (progress.held, progress.ledger.succeeded, progress.ledger.waiting) == ("changed file", 2, 2)
        assert str(path) in (home.store.run(run.id).reason or "")
        path.write_bytes(content)
        with home.work(home.store.run(run.id)) as engine:
            engine.one_pass()
            server.finish_all()
            assert engine.one_pass(everything=True).ledger.succeeded == 4


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_refusal_for_rate_waits_as_long_as_it_says(fake: FakeServer, plan: Plan, tmp_path: Path, name: str) -> None:
    """429 with Retry-After 90 on create: nothing was made, the shard waits 90 s, then goes."""
    plan(Fault("status", provider=name, route="create", nth=1, status=429, retry_after=90))
    clock = FakeClock(fake)
    with session(fake, tmp_path, clock) as home:
        run, _ = home.enter(spec(provider(name)), fake=True)
        with home.work(run) as engine:
            progress = engine.one_pass()
            assert (progress.ledger.waiting, progress.moves) == (3, True)
            assert 85 <= progress.wait_s <= 90
            assert engine.drive().settled
    assert len(fake.batches(name)) == 1


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_bad_key_holds_the_run_and_a_good_one_continues_it(fake: FakeServer, tmp_path: Path, name: str) -> None:
    """A refused key burns nothing: the run is held with the reason, and goes on with the key mended."""
    model = provider(name, base_url=fake.base_urls[name], api_key="bad-key")
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(model), fake=False)
        with home.work(run, [model]) as engine:
            progress = engine.drive()
        held = home.store.run(run.id)
        assert (progress.settled, progress.moves, progress.held) == (False, False, "bad key")
        assert held.state == "held"
        assert "bad key" in (held.reason or "")
        assert progress.ledger.waiting == 3
    model = provider(name, base_url=fake.base_urls[name], api_key="good-key")
    with session(fake, tmp_path) as home:
        run, new = home.enter(spec(model), fake=False)
        assert not new
        with home.work(run, [model]) as engine:
            assert engine.drive().settled


def test_a_shard_that_the_provider_refuses_fails_with_its_reason(fake: FakeServer, plan: Plan, tmp_path: Path) -> None:
    """400 on create is no loss of money and no endless loop: every request fails with the provider's words."""
    plan(Fault("status", provider="openai", route="create", status=400, message="no such endpoint"))
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(), fake=True)
        with home.work(run) as engine:
            progress = engine.drive()
            written = home.settle(engine.ctx, progress)
    assert progress.ledger.failed == 3
    assert written is not None
    assert written.failures is not None
    assert [line["outcome"] for line in read(written.failures)] == ["failed"] * 3
    assert all(line["prompt"] and line["reason"] == "refused" for line in read(written.failures))


def test_a_changed_request_file_is_not_sent(fake: FakeServer, tmp_path: Path) -> None:
    """What goes out is what was entered in the store, or nothing."""
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(), fake=True)
        ctx = home.context(run)
        row = home.store.shards(run.no)[0]
        ctx.sent_file(row).write_bytes(b"{}\n")
        assert not send(ctx, row)
        assert ctx.held == "changed file"
    assert fake.batches("openai") == []


def test_the_second_of_two_senders_does_nothing(fake: FakeServer, tmp_path: Path) -> None:
    """A state change is one compare-and-set: whoever comes second with a stale row sends nothing."""
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(), fake=True)
        ctx = home.context(run)
        stale = home.store.shards(run.no)[0]
        send(ctx, stale)
        send(ctx, stale)
    assert len(fake.batches("openai")) == 1


def test_sending_stops_at_a_cancel_from_another_process(fake: FakeServer, tmp_path: Path) -> None:
    """Cancel needs no lock: its flag is obeyed before the next send."""
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(provider(max_requests_per_batch=1)), fake=True)
        home.store.update_run(run.no, cancel_requested=1)
        with home.work(run) as engine:
            progress = engine.drive()
    assert progress.ledger.cancelled == 3
    assert fake.batches("openai") == []


def test_the_recheck_can_be_set(fake: FakeServer, plan: Plan, tmp_path: Path) -> None:
    """`recheck_after_s = 0` believes the second listing at once."""
    plan(Fault("status", provider="openai", route="create", nth=1, status=500))
    clock = FakeClock(fake)
    with session(fake, tmp_path, clock) as home:
        run, _ = home.enter(spec(conduct=Conduct(recheck_after_s=0)), fake=True)
        with home.work(run) as engine:
            assert isinstance(engine, Engine)
            assert engine.drive().settled
    assert sum(clock.slept) < 10


def test_a_batch_that_may_be_ours_is_watched_until_its_results_tell(
    fake: FakeServer, plan: Plan, tmp_path: Path
) -> None:
    """Anthropic's batches carry no name: while one of our size runs, the shard is uncertain and is not sent again."""
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
            home.store.update_shard(row.id, "submitting", fence=None)  # as if the account had been empty
            for _ in range(3):
                clock.advance(60)
                progress = engine.one_pass(everything=True)
            row = home.store.shards(run.no)[0]
            assert row.state == "uncertain"
            assert "may be this shard" in (row.note or "")
            assert (progress.ledger.in_flight, progress.moves) == (3, True)
            assert len(fake.batches("anthropic")) == 1
            fake.advance(hours=25)  # the other one expires, and its results name another home
            assert engine.drive().settled
    assert len(fake.batches("anthropic")) == 2


def test_one_late_look_is_not_enough(fake: FakeServer, plan: Plan, tmp_path: Path) -> None:
    """The morning after a crash: one listing without the batch is not believed, a second one is."""
    plan(Fault("status", provider="openai", route="create", nth=1))
    clock = FakeClock(fake)
    with session(fake, tmp_path, clock) as home:
        run, _ = home.enter(spec(), fake=True)
        send(home.context(run), home.store.shards(run.no)[0])
        clock.advance(36_000)
        ctx = home.context(run)
        states = []
        for _ in range(2):
            recover(ctx, home.store.shards(run.no)[0])
            states.append(home.store.shards(run.no)[0].state)
    assert states == ["submitting", "waiting"]


def test_the_fence_is_the_newest_batch_before_the_create(fake: FakeServer, tmp_path: Path) -> None:
    """It stands in the store before anything is sent, and so do the intent and the uploaded file."""
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(provider(max_requests_per_batch=2)), fake=True)
        ctx = home.context(run)
        for row in home.store.shards(run.no):
            send(ctx, row)
        first, second = home.store.shards(run.no)
        assert (first.fence, second.fence) == (None, home.store.batches(run.no)[first.id].remote_id)
        assert first.intent_at is not None
        assert None not in (first.file_id, second.file_id)
