"""The home from inside: the database, every run's files, and what is due when. No network."""

from __future__ import annotations

from collections.abc import Iterator

from batchfast.clock import seconds_of
from batchfast.context import Context
from batchfast.deadlines import LOUD_H, WINDOW_S, earliest_deadline, overdue
from batchfast.doctor.finding import Finding
from batchfast.errors import BatchfastError
from batchfast.jsonl import sha256_of
from batchfast.rawfiles import collected_files
from batchfast.session import Session
from batchfast.store import BatchRow, RunRow, ShardRow, Store
from batchfast.views import count

_FROM_A_BACKUP = "restore it from a backup of the home"


def check_home(store: Store) -> list[Finding]:
    """Whether the database can be relied on; an error where nothing else in it is worth a look."""
    damage = store.damage()
    if damage:
        message = f"{store.path} is damaged: {'; '.join(damage)}"
        return [Finding("home", "error", message, _FROM_A_BACKUP + "; what runs at the providers goes on")]
    return [Finding("home", "ok", f"{store.path} is intact, with {count(len(store.runs()), 'run')}")]


def check_runs(session: Session) -> list[Finding]:
    """Every run's ledger and files, then what needs a person, newest run first."""
    runs = session.store.runs()
    damage = [finding for run in runs for finding in _damage(session, run)]
    if runs and not damage:
        damage = [Finding("home", "ok", "every ledger adds up, and every request and result file is as recorded")]
    return damage + [finding for run in runs for finding in _conduct(session, run)]


# -- files


def _damage(session: Session, run: RunRow) -> Iterator[Finding]:
    if not session.store.ledger(run).adds_up():
        message = f"run {run.id}: its ledger does not add up: {session.store.ledger(run)}"
        yield Finding("home", "error", message, "a defect in batchfast: please report it; nothing more is sent")
    try:
        ctx = session.context(run, offline=True)
    except BatchfastError as exc:
        yield Finding("home", "error", str(exc), _FROM_A_BACKUP)
        return
    shards = session.store.shards(run.no)
    yield from (Finding("home", "error", one, _FROM_A_BACKUP) for one in _request_files(ctx, shards))
    for path, problem in collected_files(session.store, run.no, ctx.result_file):
        if problem:
            yield Finding("home", "error", f"run {run.id}: {path} {problem}", _FROM_A_BACKUP)


def _request_files(ctx: Context, shards: list[ShardRow]) -> Iterator[str]:
    for row in shards:
        path = ctx.sent_file(row)
        if not path.is_file():
            yield f"run {ctx.run.id}: {path} is missing"
        elif sha256_of(path) != row.sha256:
            yield f"run {ctx.run.id}: {path} is not what was written there first"


# -- what is due


def _conduct(session: Session, run: RunRow) -> Iterator[Finding]:
    store, now = session.store, session.clock.now()
    shards, batches = store.shards(run.no), store.batches(run.no)
    if run.state == "held":
        message = f"run {run.id} is held: {run.reason}"
        yield Finding("runs", "error", message, f"mend that, then: batchfast collect {run.id}")
    for row in shards:
        if row.state == "uncertain":
            message = (
                f"run {run.id}, {row.provider} shard {row.name}: {row.note or 'may or may not have been accepted'}"
            )
            yield Finding("runs", "warning", message, f"look again with: batchfast collect {run.id}")
        elif row.state == "running" and row.id in batches:
            yield from _overdue(run, row, batches[row.id], now)
    deadline = earliest_deadline(shards, batches)
    if deadline is not None:
        yield _deadline(run, deadline, seconds_of(deadline) - now)
    for outcome, kind, number in store.failure_reasons(run.no):
        if kind == "results_gone":
            message = (
                f"run {run.id}: {count(number, 'answer')} {outcome}: not collected before the provider deleted them"
            )
            yield Finding("runs", "warning", message, f"ask, and pay, for them again: batchfast retry {run.id}")


def _deadline(run: RunRow, deadline: str, left_s: float) -> Finding:
    until = f"{deadline[:16]} UTC"
    advice = f"batchfast collect {run.id}"
    if left_s < 0:
        message = f"run {run.id}: results should have been collected by {until}; some may be gone"
        return Finding("runs", "error", message, f"now: {advice}")
    hours = f"in {left_s / 3600:,.0f} h" if left_s >= 3600 else f"in {left_s / 60:,.0f} min"
    message = f"run {run.id}: results are to be collected by {until}, {hours}"
    if left_s < LOUD_H * 3600:
        return Finding(
            "runs", "warning", f"{message}: then the provider deletes them", f"as soon as it has ended: {advice}"
        )
    return Finding("runs", "ok", message)


def _overdue(run: RunRow, row: ShardRow, batch: BatchRow, now: float) -> Iterator[Finding]:
    """A batch that its provider should have ended long ago, as far as anybody asked."""
    if overdue(row, batch, now):
        message = (
            f"run {run.id}: {row.provider} batch {batch.remote_id} was {batch.remote_state or 'accepted'} when last "
            f"asked, sent {row.intent_at}; {row.provider} ends batches after {WINDOW_S[row.provider] / 3600:.0f} h"
        )
        advice = f"batchfast collect {run.id}; if that changes nothing: batchfast cancel {run.id}"
        yield Finding("runs", "warning", message, advice)
    if batch.failures:
        message = (
            f"run {run.id}: {batch.remote_id} could not be polled {batch.failures} times in a row: {batch.last_error}"
        )
        yield Finding("runs", "warning", message)
