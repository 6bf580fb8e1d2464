"""Whatever happens in whatever order: the ledger adds up, nothing is billed twice, and every answer is kept once."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from batchfast.engine import cancel_run
from batchfast.fake import FakeServer, Fault
from batchfast.jsonl import located_lines
from batchfast.llms import PROVIDERS
from batchfast.records import split_custom_id
from batchfast.resend import ask_again
from batchfast.session import Session
from batchfast.spec import Conduct
from batchfast.store import RunRow
from tests.helpers import MODELS, FakeClock, provider, read, session, spec, uploads_end

REQUESTS = 5
_ROUTES = st.sampled_from(["create", "poll", "list", "results", "upload"])
_CALL_FAULTS = st.one_of(
    st.builds(Fault, st.sampled_from(["lose", "cut", "garble"]), route=_ROUTES, nth=st.integers(1, 2)),
    st.builds(
        Fault, st.sampled_from(["status", "deny"]), route=_ROUTES, nth=st.integers(1, 2),
        status=st.sampled_from([429, 500, 503]),
    ),
)  # fmt: skip
_REQUEST_FAULTS = st.one_of(
    st.builds(Fault, st.sampled_from(["expire", "refuse", "malform", "duplicate", "empty"]), share=st.just(0.5)),
    st.builds(Fault, st.just("error"), status=st.sampled_from([400, 429, 500]), share=st.just(0.5)),
)


class Nights(RuleBasedStateMachine):
    """One run of one provider through crashes, faults, cancels and retries."""

    fake: ClassVar[FakeServer]

    def __init__(self) -> None:
        super().__init__()
        self.fake.reset()
        self.folder = Path(tempfile.mkdtemp(prefix="nights-"))
        self.clock = FakeClock(self.fake)
        self.home: Session = session(self.fake, self.folder, self.clock)
        self.run: RunRow | None = None
        self.name = ""
        self.doubled = False

    def teardown(self) -> None:
        if self.run is not None:
            self.end()
        self.home.__exit__()
        shutil.rmtree(self.folder)

    @initialize(name=st.sampled_from(sorted(MODELS)), at_once=st.sampled_from([1, 3]))
    def enter(self, name: str, at_once: int) -> None:
        wanted = spec(
            provider(name, max_requests_per_batch=2),
            topics=REQUESTS,
            output_file=str(self.folder / "out.jsonl"),
            conduct=Conduct(max_attempts=2, max_parallel_uploads=at_once),
        )
        self.name = name
        self.run, _ = self.home.enter(wanted, fake=True)

    def engine(self) -> Any:
        assert self.run is not None
        self.run = self.home.store.run(self.run.id)
        return self.home.work(self.run)

    @rule()
    def submit(self) -> None:
        with self.engine() as engine:
            engine.send_all()

    @rule(sends=st.booleans(), everything=st.booleans())
    def one_pass(self, sends: bool, everything: bool) -> None:
        before = len(self.fake.batches(self.name))
        with self.engine() as engine:
            engine.one_pass(sends=sends, everything=everything)
        assert sends or len(self.fake.batches(self.name)) == before

    @rule(seconds=st.sampled_from([1, 30, 600, 3_600]))
    def wait(self, seconds: int) -> None:
        self.clock.sleep(seconds)

    @rule()
    def finish_batches(self) -> None:
        self.fake.finish_all()

    @rule(fault=st.one_of(_CALL_FAULTS, _REQUEST_FAULTS))
    def plan(self, fault: Fault) -> None:
        self.doubled |= fault.does == "duplicate"
        self.fake.plan(fault)

    @rule()
    def faults_end(self) -> None:
        self.fake.forget_faults()

    @rule(after=st.sampled_from(["newest", "upload", "create", "poll", "find"]))
    def crash(self, after: str) -> None:
        """The process ends right after a call to the provider; another one opens the same home."""
        kind = PROVIDERS[self.name]
        original = getattr(kind, after)

        def dies(*args: Any) -> Any:
            original(*args)
            raise Died

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(kind, after, dies)
            try:
                with self.engine() as engine:
                    engine.one_pass(everything=True)
            except Died:
                uploads_end()
        self.home.__exit__()
        self.home = session(self.fake, self.folder, self.clock)

    @precondition(lambda self: self.run is not None)
    @rule()
    def cancel(self) -> None:
        with self.engine() as engine:
            cancel_run(engine.ctx)

    @rule()
    def retry(self) -> None:
        with self.engine() as engine:
            ask_again(engine.ctx)

    @invariant()
    def the_ledger_adds_up(self) -> None:
        if self.run is not None:
            assert self.home.store.ledger(self.run).adds_up()

    @invariant()
    def nothing_is_billed_twice(self) -> None:
        """Each batch is of a shard of its own, and no two batches hold a request of the same attempt."""
        if self.run is not None:
            shards = self.home.store.shards(self.run.no)
            assert len(self.fake.batches(self.name)) <= len(shards)

    @invariant()
    def each_answer_is_on_disk_at_most_once(self) -> None:
        if self.run is not None:
            assert self.doubled or set(self.answers().values()) <= {1}

    def answers(self) -> Counter[str]:
        """How often each answer is in the raw results, by custom_id."""
        assert self.run is not None
        decode = PROVIDERS[self.name]("any").decode
        found: Counter[str] = Counter()
        for path in (self.home.home.run(self.run.id) / "results").glob("*.jsonl"):
            for _, line in located_lines(path):
                try:
                    result = decode(line)
                except ValueError:
                    continue  # garbled on its way
                found[result.custom_id] += result.outcome == "succeeded"
        return +found

    def end(self) -> None:
        """Nothing goes wrong any more: every answer that was billed is on disk, every request in one file."""
        self.fake.forget_faults()
        self.fake.advance(hours=25)
        with self.engine() as engine:
            progress = engine.drive(lambda seen: _assert(seen.ledger.adds_up()))
            written = self.home.settle(engine.ctx, progress)
        self.nothing_is_billed_twice()
        answers = self.answers()
        assert all(split_custom_id(name) for name in answers)
        assert len(answers) == self.fake.ledger()[self.name]["requests"]["succeeded"]
        assert written is not None
        kept = {row["metadata"]["request_index"] for row in read(written.path)}
        failed = [line["metadata"]["request_index"] for line in read(written.failures)] if written.failures else []
        assert sorted([*kept, *failed]) == list(range(REQUESTS))


class Died(Exception):
    """Stands for the end of the process."""


def _assert(true: bool) -> None:
    assert true


def test_whatever_happens_in_whatever_order(fake: FakeServer) -> None:
    """Submits, passes, waits, faults, crashes, cancels and retries."""
    from hypothesis.stateful import run_state_machine_as_test

    Nights.fake = fake
    run_state_machine_as_test(
        Nights, settings=settings(max_examples=25, stateful_step_count=15, derandomize=True, deadline=None)
    )
