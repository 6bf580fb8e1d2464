"""
One pass over everything that can move, and the loop that repeats it: the only caller of submit, poll and collect.

`submit`, `collect`, `watch`, `run` and `generate` are this pass, called differently.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from batchfast.admission import LONGEST_WAIT_S, Admission
from batchfast.budget import worst_request
from batchfast.clock import seconds_of
from batchfast.collect import collect, give_up_cancelled
from batchfast.context import Context
from batchfast.errors import ProviderError, StoreError
from batchfast.outcomes import Absent, split, without_results
from batchfast.poll import cancel, refresh
from batchfast.records import BatchSnapshot, RequestError
from batchfast.sender import Sender
from batchfast.store import IN_FLIGHT, OPEN, Ledger, ShardRow, ShardState
from batchfast.submit import recover

FIRST_POLL_S = 0.5
POLL_FACTOR = 1.5
LONGEST_POLL_S = 300.0

# Polls of a cancelled run's batch that failed in a row, before a 404 is believed: one alone passes (count).
GONE_AFTER = 20

# After this a batch that could prove what became of a create has ended, at any of the providers (seconds).
PROOF_S = 3 * 86_400.0


@dataclass(frozen=True, slots=True)
class Progress:
    """
    Where a run stands after a pass.

    Attributes:
        settled: Every request has its outcome.
        moves: Something can still move without a person.
        held: Why nothing more is sent, or None.
        running: Batches that have not ended (count).
        wait_s: Until the next thing is due (seconds); 0 where something is due now.
    """

    ledger: Ledger
    settled: bool
    moves: bool
    held: str | None
    running: int
    wait_s: float


class Engine:
    """
    Drives one run in one process.

    Args:
        jitter: A number around 1 by which each wait is multiplied, so that many runs do not poll in step.
    """

    def __init__(self, ctx: Context, *, jitter: Callable[[], float] | None = None) -> None:
        self.ctx = ctx
        self._jitter = jitter or (lambda: random.uniform(0.9, 1.1))  # noqa: S311
        self._due: dict[int, float] = {}
        self._interval: dict[int, float] = {}

    def one_pass(self, *, sends: bool = True, everything: bool = False) -> Progress:
        """
        Look for creates of unknown outcome, send what waits, poll what runs, collect what ended.

        Args:
            sends: False never spends: nothing is sent, also nothing again.
            everything: Poll also what is not due yet.

        Raises:
            StoreError: The ledger does not add up, which is a defect; nothing more is done.
        """
        if self.ctx.store.cancel_requested(self.ctx.run.no):
            cancel_waiting(self.ctx)
        for row in self._shards("submitting", "uncertain"):
            if everything or self._is_due(row):
                self._put_off(row, at_least_s=recover(self.ctx, row))
        if sends:
            self._send()
        due = [row for row in self._shards("running") if everything or self._is_due(row)]
        ended = [(row, answer) for row in due if (answer := self._look_at(row)) is not None]
        for row, wait_s in collect(self.ctx, ended):
            if wait_s is not None:
                self._put_off(row, at_least_s=wait_s)
        return self._progress(sends)

    def send_all(self) -> Progress:
        """
        Send what may be sent now, and stay a little for creates that got no clear answer.

        Returns as soon as the rest can only wait: for a quota, for a provider that is out of reach, or for a person.
        """
        patience = self.ctx.clock.now() + 2 * self.ctx.recheck_after_s
        while True:
            for row in self._shards("submitting", "uncertain"):
                recover(self.ctx, row)
            self._send()
            if not self._shards("submitting") or self.ctx.clock.now() > patience:
                self._look_at_what_is_new()
                return self._progress(sends=True)
            self.ctx.clock.sleep(self.ctx.recheck_after_s / 4)

    def drive(self, after_pass: Callable[[Progress], None] = lambda _: None) -> Progress:
        """Repeat the pass, waiting in between, until nothing can move by itself."""
        while True:
            progress = self.one_pass()
            after_pass(progress)
            if progress.settled or not progress.moves:
                return progress
            self.ctx.clock.sleep(progress.wait_s)

    def _shards(self, *states: ShardState) -> list[ShardRow]:
        return self.ctx.store.shards(self.ctx.run.no, *states)

    def _send(self) -> None:
        """Send what there is room for; where there is none for anything, make the smallest shard smaller."""
        sender = Sender(self.ctx)
        while True:
            sender.send(self._shards("waiting"))
            too_large = [row for row in self._shards("waiting") if sender.admission.judge(row) == "too large"]
            if not too_large:
                return
            smallest = min(too_large, key=lambda row: row.requests)
            split(self.ctx, smallest, "more than the provider's queue, or the budget, has room for")

    def _look_at_what_is_new(self) -> None:
        """Poll each batch once after its create: that tells until when it must be collected."""
        batches = self.ctx.store.batches(self.ctx.run.no)
        for row in self._shards("running"):
            if self.ctx.store.cancel_requested(self.ctx.run.no) and not batches[row.id].cancel_sent:
                cancel(self.ctx, row, batches[row.id])
            if batches[row.id].polled_at is None:
                refresh(self.ctx, row, batches[row.id])

    def _look_at(self, row: ShardRow) -> BatchSnapshot | None:
        """Poll a running batch; what it is where it has ended."""
        batch = self.ctx.store.batches(self.ctx.run.no)[row.id]
        cancelled = self.ctx.store.cancel_requested(self.ctx.run.no)
        if cancelled and not batch.cancel_sent:
            cancel(self.ctx, row, batch)
        answer = refresh(self.ctx, row, batch)
        if isinstance(answer, ProviderError):
            if cancelled and answer.kind == "not_found" and batch.failures >= GONE_AFTER:
                give_up_cancelled(self.ctx, row, batch.remote_id)
            else:
                self._put_off(row, at_least_s=answer.retry_after_s)
            return None
        if answer.outcome is None:
            self._put_off(row)
            return None
        return answer

    # -- when to look again

    def _is_due(self, row: ShardRow) -> bool:
        # Where it looks further away than any wait, the clock was set back.
        return not 0 < self._due.get(row.id, 0.0) - self.ctx.clock.now() <= LONGEST_WAIT_S

    def _put_off(self, row: ShardRow, at_least_s: float | None = None) -> None:
        """Polling starts fast and gets slower, up to five minutes."""
        interval = self._interval.get(row.id, FIRST_POLL_S)
        self._interval[row.id] = min(interval * POLL_FACTOR, LONGEST_POLL_S)
        self._due[row.id] = self.ctx.clock.now() + max(interval * self._jitter(), at_least_s or 0.0)

    def _progress(self, sends: bool) -> Progress:
        rows = self._shards(*OPEN)
        ledger = self.ctx.store.ledger(self.ctx.run)
        if not ledger.adds_up():
            raise StoreError(f"run {self.ctx.run.id}: the ledger does not add up ({ledger}); please report this")
        self._hold_what_cannot_be_proven(rows)
        if sends:
            self._hold_what_is_too_dear(rows)
        in_flight = [row for row in rows if row.state in IN_FLIGHT and row.entry not in self.ctx.locked_out]
        if self.ctx.held == "uncertain":
            in_flight = [row for row in in_flight if row.state != "uncertain"]
        waiting = [] if self.ctx.held or not sends else [row for row in rows if row.state == "waiting"]
        now = self.ctx.clock.now()
        due = [self._due.get(row.id, now) for row in in_flight]
        due += [seconds_of(row.not_before) if row.not_before else now for row in self._may_become_due(waiting)]
        if rows and not self.ctx.held:
            self.ctx.store.update_run(self.ctx.run.no, state="submitting" if waiting else "running", reason=None)
        return Progress(
            ledger=ledger,
            settled=not rows,
            moves=bool(in_flight or waiting),
            held=self.ctx.held,
            running=sum(row.state in IN_FLIGHT for row in rows),
            wait_s=min(max(0.0, min(due, default=now) - now), LONGEST_POLL_S),
        )

    def _may_become_due(self, waiting: list[ShardRow]) -> list[ShardRow]:
        """Without those that wait for others of ours to end: looking at these in time is all that they need."""
        admission = Admission(self.ctx)
        return [row for row in waiting if admission.judge(row) != "no room"]

    def _hold_what_cannot_be_proven(self, rows: list[ShardRow]) -> None:
        """Nothing but uncertain shards is left, and what may be theirs has had time to end: a person must decide."""
        if self.ctx.held or not rows or any(row.state != "uncertain" for row in rows):
            return
        oldest = min(seconds_of(row.intent_at) for row in rows if row.intent_at)
        if self.ctx.clock.now() - oldest > PROOF_S:
            self.ctx.hold("uncertain", f"it cannot be told whether {len(rows)} shards were accepted: {rows[0].note}")

    def _hold_what_is_too_dear(self, rows: list[ShardRow]) -> None:
        """Nothing is in flight, and no waiting shard fits into what is left of the budget, not even split."""
        ctx = self.ctx
        if ctx.max_cost_usd is None or ctx.held or not rows or any(row.state in IN_FLIGHT for row in rows):
            return
        admission = Admission(ctx)
        if all(admission.judge(row) == "over budget" for row in rows):
            need = min(worst_request(ctx.provider(row), row) for row in rows)
            ctx.hold(
                "over budget",
                f"{admission.spent_usd:.4f} of {ctx.max_cost_usd:.4f} USD are spent, and one request more may cost "
                f"up to {need:.4f}: raise max_cost_usd",
            )


def cancel_run(ctx: Context) -> list[str]:
    """
    Send nothing more, and ask the providers for the end of what runs; what finished is kept.

    Needs no lock: the flag is obeyed by whoever works on the run, before its next send.

    Returns:
        The batches that could not be cancelled: those run on, and cost, until it is tried again.
    """
    ctx.store.update_run(ctx.run.no, cancel_requested=1)
    ctx.note("cancel", "cancel was asked for")
    cancel_waiting(ctx)
    batches = ctx.store.batches(ctx.run.no)
    return [
        batches[row.id].remote_id
        for row in ctx.store.shards(ctx.run.no, "running")
        if not batches[row.id].cancel_sent and not cancel(ctx, row, batches[row.id])
    ]


def cancel_waiting(ctx: Context) -> None:
    """What was never sent ends as cancelled."""
    never_sent = Absent("cancelled", RequestError("cancelled", "the run was cancelled before this request was sent"))
    for row in ctx.store.shards(ctx.run.no, "waiting"):
        without_results(ctx, row, never_sent)
