"""Several shards on their way at once: only uploads overlap, and whatever happens meanwhile nothing is paid twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batchfast.budget import worst_case
from batchfast.engine import cancel_run
from batchfast.errors import ConfigError
from batchfast.fake import FakeServer, Fault
from batchfast.home import Home
from batchfast.llms import PROVIDERS, Provider
from batchfast.records import tokens_in
from batchfast.session import Session
from batchfast.spec import Conduct
from batchfast.store import IN_FLIGHT, RunRow
from tests.helpers import MODELS, FakeClock, provider, read, session, spec, uploads_end

WITH_FILES = ["gemini", "openai"]
Plan = Callable[..., None]
# Longer than any wait here: a test that goes wrong fails, and hangs nobody (seconds).
LONG_S = 60


class Died(Exception):
    """Stands for the end of the process."""


def four_shards(home: Session, *models: Provider, **conduct: Any) -> RunRow:
    """A run of four requests a model, each in a shard of its own unless the model says otherwise."""
    wanted = models or (provider(max_requests_per_batch=1),)
    return home.enter(spec(*wanted, topics=4, conduct=Conduct(**conduct)), fake=True)[0]


def watch(monkeypatch: pytest.MonkeyPatch, name: str, call: str, before: Callable[[Any], None]) -> None:
    """Have something happen before each call of the seam; it is told the shard."""
    kind = PROVIDERS[name]
    original = getattr(kind, call)

    def watched(self: Provider, shard: Any, *args: Any) -> Any:
        before(shard)
        return original(self, shard, *args)

    monkeypatch.setattr(kind, call, watched)


def states(home: Session, run: RunRow) -> list[str]:
    return [row.state for row in home.store.shards(run.no)]


def uploads(fake: FakeServer, name: str = "openai") -> int:
    """Files that were uploaded, or begun (count); Gemini's small ones take two calls."""
    calls = [call for call in fake.calls if (call.provider, call.route) == (name, "upload")]
    return len(calls) // (2 if name == "gemini" else 1)


# -- what overlaps


@pytest.mark.parametrize("name", WITH_FILES)
@pytest.mark.parametrize("at_once", [2, 4])
def test_as_many_uploads_as_allowed_are_under_way_at_once(
    fake: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, at_once: int
) -> None:
    """Each waits until so many have begun, so that fewer would never end; and never are there more."""
    meet = threading.Barrier(at_once)
    before: list[int] = []
    newest = PROVIDERS[name].newest

    def count(self: Provider) -> str | None:
        before.append(states(home, run).count("submitting"))
        return newest(self)

    watch(monkeypatch, name, "upload", lambda _: meet.wait(LONG_S))
    monkeypatch.setattr(PROVIDERS[name], "newest", count)
    with session(fake, tmp_path) as home:
        run = four_shards(home, provider(name, max_requests_per_batch=1), max_parallel_uploads=at_once)
        with home.work(run) as engine:
            engine.send_all()
        assert states(home, run) == ["running"] * 4
    assert max(before) == at_once - 1
    assert len(fake.batches(name)) == 4


@pytest.mark.parametrize(("topics", "at_once"), [(1, 4), (4, 1)])
def test_no_thread_where_nothing_could_overlap(
    fake: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, topics: int, at_once: int
) -> None:
    """One shard alone, or one at a time: everything is done in the thread that sends."""
    threads = []
    watch(monkeypatch, "openai", "upload", lambda _: threads.append(threading.current_thread()))
    with session(fake, tmp_path) as home:
        wanted = spec(provider(max_requests_per_batch=1), topics=topics, conduct=Conduct(max_parallel_uploads=at_once))
        run, _ = home.enter(wanted, fake=True)
        with home.work(run) as engine:
            engine.send_all()
    assert threads == [threading.main_thread()] * topics


def test_files_are_uploaded_while_a_body_goes_inline(
    fake: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenAI's upload ends only once Anthropic's create has begun; that one is made in the thread that sends."""
    creating = threading.Event()
    creators = set()

    def create(_: Any) -> None:
        creating.set()
        creators.add(threading.current_thread())

    watch(monkeypatch, "openai", "upload", lambda _: _assert(creating.wait(LONG_S)))
    watch(monkeypatch, "anthropic", "create", create)
    with session(fake, tmp_path) as home:
        run = four_shards(home, provider(), provider("anthropic"))
        with home.work(run) as engine:
            engine.send_all()
        assert states(home, run) == ["running"] * 2
    assert creators == {threading.main_thread()}


@pytest.mark.parametrize("name", WITH_FILES)
def test_creates_follow_the_order_of_the_shards(
    fake: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Whichever upload ends first, here the last one: shards are created as they are numbered, each once it stands
    in the store as submitting with its file."""
    ended = {number: threading.Event() for number in range(4)}
    created = []

    def upload(shard: Any) -> None:
        number = _number(shard)
        if number < 3:
            _assert(ended[number + 1].wait(LONG_S))
        ended[number].set()

    def create(shard: Any) -> None:
        row = next(row for row in home.store.shards(run.no) if shard.label.endswith(row.name))
        created.append((row.number, row.state, row.file_id is not None, threading.current_thread()))

    watch(monkeypatch, name, "upload", upload)
    watch(monkeypatch, name, "create", create)
    with session(fake, tmp_path) as home:
        run = four_shards(home, provider(name, max_requests_per_batch=1))
        with home.work(run) as engine:
            engine.send_all()
    assert created == [(number, "submitting", True, threading.main_thread()) for number in range(4)]


def _number(shard: Any) -> int:
    return int(shard.label.split("-")[-2])


def _assert(true: bool) -> None:
    assert true


@pytest.mark.parametrize("wrong", [0, 33, -1, 1.0, "2", True, None])
def test_the_setting_is_a_small_count(wrong: Any) -> None:
    """From 1, one after the other, to 32."""
    with pytest.raises(ConfigError, match="max_parallel_uploads must be a whole number from 1 to 32, not "):
        Conduct(max_parallel_uploads=wrong)
    assert Conduct(max_parallel_uploads=32).max_parallel_uploads == 32


# -- what goes wrong meanwhile

SEVERAL = (1, 2, 3)
MISHAPS = {
    "no create is answered": ("lose", "create", SEVERAL, {}),
    "no upload is answered": ("lose", "upload", (1, 2, 3, 4), {}),
    "creates are denied": ("deny", "create", SEVERAL, {"status": 503}),
    "uploads fail": ("status", "upload", (1, 2), {"status": 500}),
    "uploads are too many": ("status", "upload", (2, 3), {"status": 429, "retry_after": 40}),
    "creates are too many": ("status", "create", (2, 3), {"status": 429, "retry_after": 40}),
    "no fence is told": ("status", "list", (2, 3), {"status": 503}),
}


@pytest.mark.parametrize("name", sorted(MODELS))
@pytest.mark.parametrize("mishap", sorted(MISHAPS))
def test_several_that_go_wrong_at_once_cost_nothing(fake: FakeServer, tmp_path: Path, name: str, mishap: str) -> None:
    """
    Two entries of one model, whose batches nothing but their results tell apart at Anthropic, four shards each: eight
    batches are made, every request is answered once, and after every pass the ledger adds up.
    """
    does, route, nth, more = MISHAPS[mishap]
    fault = Fault(does, name, route, nth, **more)  # type: ignore[arg-type]
    fake.plan(fault)
    twins = [provider(name, max_requests_per_batch=1, temperature=heat) for heat in (0.1, 0.9)]
    with session(fake, tmp_path) as home:
        run = four_shards(home, *twins)
        with home.work(run) as engine:
            progress = engine.drive(lambda seen: _assert(seen.ledger.adds_up()))
            written = home.settle(engine.ctx, progress)
        assert len(home.store.shards(run.no)) == 8
    if (name, route) != ("anthropic", "upload"):
        assert fake.fired(fault) == len(nth)
    assert written is not None
    assert written.failures is None
    assert sorted(row["metadata"]["request_index"] for row in read(written.path)[::2]) == list(range(8))
    assert len(fake.batches(name)) == 8
    assert fake.ledger()[name]["requests"]["succeeded"] == 8


@pytest.mark.parametrize("name", WITH_FILES)
def test_a_refusal_for_rate_stops_what_is_on_its_way_too(
    fake: FakeServer, plan: Plan, tmp_path: Path, name: str
) -> None:
    """429 at the second create: no third is made, all wait as long as it says, and no file is sent a second time."""
    plan(Fault("status", name, "create", nth=2, status=429, retry_after=90))
    clock = FakeClock(fake)
    with session(fake, tmp_path, clock) as home:
        run = four_shards(home, provider(name, max_requests_per_batch=1))
        with home.work(run) as engine:
            assert engine.one_pass().wait_s == pytest.approx(90, abs=0.1)
            assert states(home, run) == ["ended", "waiting", "waiting", "waiting"]
            clock.advance(80)
            engine.one_pass()
            assert len(fake.batches(name)) == 1
            clock.advance(20)
            engine.one_pass()
            assert len(fake.batches(name)) == 4
    assert uploads(fake, name) == 4


@pytest.mark.parametrize("name", WITH_FILES)
def test_of_two_refusals_the_longer_wait_counts(fake: FakeServer, plan: Plan, tmp_path: Path, name: str) -> None:
    """Uploads that are under way together may be told different times: nothing goes before the last of them."""
    for nth, seconds in enumerate((3000, 90, 3000, 90), 1):
        plan(Fault("status", name, "upload", nth=nth, status=429, retry_after=seconds))
    clock = FakeClock(fake)
    with session(fake, tmp_path, clock) as home:
        run = four_shards(home, provider(name, max_requests_per_batch=1))
        with home.work(run) as engine:
            engine.one_pass()
            clock.advance(2900)
            engine.one_pass()
            assert fake.batches(name) == []
            clock.advance(110)
            assert engine.drive().ledger.succeeded == 4
    assert len(fake.batches(name)) == 4


@pytest.mark.parametrize(("status", "held"), [(401, "bad key"), (402, "no credit")])
@pytest.mark.parametrize("name", WITH_FILES)
def test_a_hold_stops_what_is_on_its_way_too(
    fake: FakeServer, plan: Plan, tmp_path: Path, name: str, status: int, held: str
) -> None:
    """The key, or the money, goes at the second create: nothing more is made; mended, no file is sent once more."""
    plan(Fault("status", name, "create", nth=2, status=status))
    with session(fake, tmp_path) as home:
        run = four_shards(home, provider(name, max_requests_per_batch=1))
        with home.work(run) as engine:
            progress = engine.one_pass()
        assert (progress.held, progress.ledger.waiting, len(fake.batches(name))) == (held, 3, 1)
        with home.work(home.store.run(run.id)) as engine:
            assert engine.drive().ledger.succeeded == 4
    assert (uploads(fake, name), len(fake.batches(name))) == (4, 4)


def test_a_hold_stops_the_other_providers_too(fake: FakeServer, plan: Plan, tmp_path: Path) -> None:
    """OpenAI's create finds no money while Gemini's file is on its way: that becomes no batch until the run goes on."""
    plan(Fault("status", "openai", "create", nth=1, status=402))
    with session(fake, tmp_path) as home:
        run = four_shards(home, provider(), provider("gemini"))
        with home.work(run) as engine:
            assert engine.one_pass().held == "no credit"
        assert (states(home, run), fake.batches("gemini")) == (["waiting"] * 2, [])
        assert home.store.shards(run.no)[1].file_id
        with home.work(home.store.run(run.id)) as engine:
            assert engine.drive().ledger.succeeded == 8
    assert (uploads(fake, "gemini"), len(fake.batches("gemini"))) == (1, 1)


@pytest.mark.parametrize("name", WITH_FILES)
def test_an_upload_that_is_refused_stops_its_entry_alone(
    fake: FakeServer, plan: Plan, tmp_path: Path, name: str
) -> None:
    """One provider is out of reach; the other's shards all go in the same pass."""
    other = next(one for one in WITH_FILES if one != name)
    plan(Fault("status", name, "upload", status=503))
    with session(fake, tmp_path) as home:
        run = four_shards(home, *(provider(one, max_requests_per_batch=1) for one in (name, other)))
        with home.work(run) as engine:
            engine.one_pass()
        assert {row.state for row in home.store.shards(run.no) if row.provider == other} == {"ended"}
    assert (len(fake.batches(name)), len(fake.batches(other))) == (0, 4)


def test_a_cancel_while_files_are_uploaded_is_obeyed(
    fake: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process cancels while four files are under way: none becomes a batch."""
    meet = threading.Barrier(4)

    def cancel(_: Any) -> None:
        if meet.wait(LONG_S) == 0:
            with Session(Home(tmp_path / ".batchfast"), clock=FakeClock(fake), fake_server=fake) as other:
                cancel_run(other.context(other.store.run(run.id)))
        meet.wait(LONG_S)

    watch(monkeypatch, "openai", "upload", cancel)
    with session(fake, tmp_path) as home:
        run = four_shards(home)
        with home.work(run) as engine:
            progress = engine.drive()
    assert progress.ledger.cancelled == 4
    assert fake.batches("openai") == []


# -- room


@pytest.mark.parametrize("limit", ["budget", "queue"])
@pytest.mark.parametrize("name", sorted(MODELS))
def test_room_for_two_is_given_to_two(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, limit: str
) -> None:
    """What is under way takes room from its intent on, whatever else is: two at most at any time, all in the end."""
    most = 0

    def look(*_: Any) -> None:
        nonlocal most
        most = max(most, sum(row.state in IN_FLIGHT for row in home.store.shards(run.no)))

    model = provider(name, max_requests_per_batch=1, max_completion_tokens=1000, price={"input": 0, "output": 1})
    conduct = {"max_cost_usd": 0.0025} if limit == "budget" else {}
    watch(monkeypatch, name, "create", look)
    with session(server, tmp_path) as home:
        run = four_shards(home, model, **conduct)
        with home.work(run) as engine:
            first = home.store.shards(run.no)[0]
            assert worst_case(model, first) == pytest.approx(0.001)
            if limit == "queue":
                engine.ctx.providers[0].max_enqueued_tokens = 2 * tokens_in(first.size_bytes) + 9
            engine.one_pass()
            assert states(home, run) == ["running", "running", "waiting", "waiting"]
            ledger = engine.drive(look).ledger
    assert (ledger.succeeded, most) == (4, 2)
    assert len(server.batches(name)) == 4


def test_room_that_a_refusal_leaves_is_used_at_once(fake: FakeServer, plan: Plan, tmp_path: Path) -> None:
    """There is room for two, and the first is refused for good: the third goes in the same pass."""
    plan(Fault("status", "openai", "create", nth=1, status=400))
    with session(fake, tmp_path) as home:
        model = provider(max_requests_per_batch=1, max_completion_tokens=1000, price={"input": 0, "output": 1})
        run = four_shards(home, model, max_cost_usd=0.0025)
        with home.work(run) as engine:
            engine.send_all()
        assert states(home, run) == ["failed", "running", "running", "waiting"]


# -- crashes


@pytest.mark.parametrize("name", WITH_FILES)
@pytest.mark.parametrize("call", ["upload", "create", "newest"])
@pytest.mark.parametrize("nth", [1, 2, 4])
def test_a_crash_while_several_are_under_way_is_made_good(
    fake: FakeServer, tmp_path: Path, name: str, call: str, nth: int
) -> None:
    """The process dies right after a call, with files uploaded and under way: the next one pays for each shard once."""
    kind = PROVIDERS[name]
    original = getattr(kind, call)
    calls: list[str] = []

    def dies(self: Provider, *args: Any) -> Any:
        result = original(self, *args)
        calls.append(call)
        if len(calls) >= nth:
            raise Died
        return result

    clock = FakeClock(fake)
    with session(fake, tmp_path, clock) as home, pytest.MonkeyPatch.context() as patch:
        run = four_shards(home, provider(name, max_requests_per_batch=1))
        patch.setattr(kind, call, dies)
        with home.work(run) as engine, pytest.raises(Died):
            engine.one_pass()
        uploads_end()
        unclear = [row for row in home.store.shards(run.no) if row.state == "submitting"]
        assert unclear or call == "newest"
        assert len(fake.batches(name)) <= len(home.store.batches(run.no)) + (call == "create")
    with session(fake, tmp_path, clock) as home, home.work(home.store.run(run.id)) as engine:
        progress = engine.drive(lambda seen: _assert(seen.ledger.adds_up()))
    assert progress.ledger.succeeded == 4
    assert len(fake.batches(name)) == 4
    assert fake.ledger()[name]["requests"]["succeeded"] == 4


@pytest.mark.parametrize("slow", ["upload", "create"])
def test_a_create_is_doubted_from_when_it_may_have_been_made(fake: FakeServer, tmp_path: Path, slow: str) -> None:
    """
    An upload took ten minutes, and the process died in the create; or the create took them, and was not answered. For
    20 s from then on, and not from the intent, its absence is not believed.
    """
    clock = FakeClock(fake)
    with session(fake, tmp_path, clock) as home:
        run, _ = home.enter(spec(), fake=True)
        with home.work(run) as engine, pytest.MonkeyPatch.context() as patch:
            watch(patch, "openai", slow, lambda _: clock.advance(600))
            if slow == "create":
                fake.plan(Fault("status", "openai", "create", nth=1))
                engine.one_pass()
            else:
                watch(patch, "openai", "create", _die)
                with pytest.raises(Died):
                    engine.one_pass()
        with home.work(run) as engine:
            for _ in range(3):
                engine.one_pass(everything=True)
                clock.advance(5)
            assert states(home, run) == ["submitting"]
            assert engine.drive().settled
    assert len(fake.batches("openai")) == 1


def _die(_: Any) -> None:
    raise Died


SPEC = """
[dataset]
document_types = ["essay"]
topics = ["Tides", "Vacuum", "Bread"]
num_samples_per_prompt = 1
output_file = "out.jsonl"

[run]
recheck_after_s = 0

[[providers]]
provider = "openai"
model_id = "gpt-4.1-mini"
max_requests_per_batch = 1
"""


def test_ctrl_c_waits_for_no_upload(fake: FakeServer, tmp_path: Path) -> None:
    """Three uploads hang for minutes: the command ends with 130 at once, and the same line pays for each shard once."""
    fake.plan(hangs := Fault("hang", "openai", "upload", seconds=600))
    (tmp_path / "spec.toml").write_text(SPEC, "utf-8")
    command = [sys.executable, "-m", "batchfast", "run", "spec.toml"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | fake.env
    )
    while uploads(fake) < 3:
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=LONG_S)[1]
    assert (process.returncode, "Traceback" in said) == (130, False), said
    assert fake.batches("openai") == []
    fake.unplan(hangs)
    subprocess.run(command, check=True, capture_output=True, env=os.environ | fake.env)
    assert len(fake.batches("openai")) == 3
    assert len(read(tmp_path / "out.jsonl")) == 3
