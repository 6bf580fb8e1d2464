"""Driving a run from the command line: what a person hears before, during and after, and the exit code."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchfast.cli.codes import DONE, ERROR, NOT_READY
from batchfast.cli.finding import target_of
from batchfast.cli.options import current, say, say_waiting
from batchfast.deadlines import deadline_line, hours_left, is_loud
from batchfast.errors import ConfigError
from batchfast.hints import cron_command, runnable
from batchfast.status import run_status
from batchfast.store import RunRow
from batchfast.terminal import is_terminal, json_line, one_line
from batchfast.views import count, failures_line, ledger_line, money, run_view

if TYPE_CHECKING:
    from batchfast.context import Context
    from batchfast.engine import Progress
    from batchfast.export import Written
    from batchfast.session import Session
    from batchfast.spec import Spec


def announce(session: Session, run: RunRow, new: bool) -> None:
    ledger = session.store.ledger(run)
    where = "FAKE " if run.fake else ""
    if new:
        files = count(len(session.store.shards(run.no)), "file")
        say(f"{where}run {run.id}: {count(ledger.total, 'request')} in {files}")
    else:
        say(f"{where}run {run.id} goes on: {ledger_line(asdict(ledger))}")


def check_output(ctx: Context, target: Path, instead: str = "use -o FILE or --force", *, force: bool = False) -> None:
    """
    Before money is spent: can the rows be written, and will they land where a person looks for them?

    Raises:
        ConfigError: They could be written nowhere.
    """
    from batchfast.export import choose_path
    from batchfast.runs import check_writable

    check_writable(target)
    if force or not (others := _others(ctx, target)):
        return
    try:
        path = choose_path(ctx, target)
    except ConfigError as exc:
        raise ConfigError(
            f"{others}, and the file that would take its place, hold something else than this run's rows; "
            f"nothing was sent: {instead}"
        ) from exc
    say(f"{others} holds something else and will be left alone: the rows will go to {path}")


def _others(ctx: Context, target: Path) -> str:
    """Which of the dataset's files hold what this run did not write; empty where none does."""
    from batchfast.export import failures_path, ours

    return " and ".join(str(path) for path in (target, failures_path(target)) if not ours(ctx, path))


def say_held(run: RunRow, reason: str) -> None:
    say(runnable(f"batchfast: run {run.id} is held: {one_line(reason, 600)}", current().used))
    say(runnable(f"mend that, then: batchfast collect {run.id}", current().used))


def sent(session: Session, run: RunRow, progress: Progress, folder: Path) -> int:
    """Say what was sent, and what a person does next; the exit code that goes with it."""
    status = typed(run_status(session.store, session.store.run(run.id), session.clock.now()))
    click.echo(json_line(status) if current().json else run.id)
    _say_what_was_sent(status)
    if progress.held:
        say_held(run, status["reason"] or progress.held)
        return ERROR
    _say_what_comes_next(status, folder)
    return DONE if progress.running or not progress.ledger.waiting else NOT_READY


def _say_what_was_sent(status: dict[str, Any]) -> None:
    ledger = status["requests"]
    batches = sum(batch["state"] == "running" for batch in status["batches"])
    sent = f"{count(ledger['in_flight'], 'request')} in {count(batches, 'batch', 'batches')}"
    say(f"sent: {sent}; waiting: {ledger['waiting']:,}")
    for batch in status["batches"]:
        if batch["note"] and batch["state"] != "running":
            say(f"{batch['provider']} {batch['model_id']} shard {batch['name']}: {one_line(batch['note'], 300)}")
    _say_deadline(status)


def _say_deadline(status: dict[str, Any], *, only_loud: bool = False) -> None:
    line = deadline_line(status["collect_by"], status["collect_within_h"])
    if line is not None and is_loud(line):
        click.secho(line, err=True, fg="red", bold=True)
    elif line is not None and not only_loud:
        say(line)


def _say_what_comes_next(status: dict[str, Any], folder: Path) -> None:
    name = status["run"]
    say(runnable(f"next: batchfast watch {name}   (or, later: batchfast collect {name})", current().used))
    if status["requests"]["waiting"]:
        say(f"or by cron: */15 * * * *  {cron_command(name, folder, current().used)}")


def typed(status: dict[str, Any]) -> dict[str, Any]:
    """A run's status, with commands that work as they stand where the reader stands."""
    batches = [batch | {"note": _runnable(batch["note"])} for batch in status["batches"]]
    return status | {"next_command": _runnable(status["next_command"]), "batches": batches}


def fitted_view(status: dict[str, Any]) -> str:
    width = shutil.get_terminal_size().columns if is_terminal(sys.stdout) else None
    lines = run_view(status, width)
    return "\n".join(click.style(line, fg="red", bold=True) if is_loud(line) else line for line in lines.split("\n"))


def _runnable(text: str | None) -> str | None:
    return text and runnable(text, current().used)


def drive(session: Session, run: RunRow, output: Path | None, force: bool, wait: bool, spec: Spec | None = None) -> int:
    with session.work(run, spec.providers if spec else None, waits=say_waiting if wait else None) as engine:
        target = target_of(engine.ctx.run, output)
        check_output(engine.ctx, target, force=force)
        with _live(session, run) as show_progress:
            progress = engine.drive(show_progress)
        written = session.settle(engine.ctx, progress, output=target, force=force)
    return finish(session, engine.ctx, progress, written, target)


@contextmanager
def _live(session: Session, run: RunRow) -> Iterator[Callable[[Progress], None]]:
    """A display that follows the run; off a terminal only its deadline: when it is known, and when it is near."""
    if not is_terminal(sys.stderr):
        yield _DeadlineSayer(session, run)
        return
    from batchfast.live import LiveView

    display = current().display
    with display.lent(), LiveView(session.store, run, display.lasting) as view:
        yield view


class _DeadlineSayer:
    def __init__(self, session: Session, run: RunRow) -> None:
        self._session = session
        self._run = run
        self._said: set[bool] = set()

    def __call__(self, progress: Progress) -> None:
        collect_by = self._session.store.deadlines().get(self._run.no)
        line = deadline_line(collect_by, hours_left(collect_by, self._session.clock.now()))
        if line is not None and progress.moves and is_loud(line) not in self._said:
            self._said.add(is_loud(line))
            say(line)


def finish(session: Session, ctx: Context, progress: Progress, written: Written | None, target: Path) -> int:
    """Say how a pass or a loop ended; the exit code that goes with it."""
    from batchfast.session import not_ready

    run = session.store.run(ctx.run.id)
    status = typed(run_status(session.store, run, session.clock.now()))
    if current().json:
        click.echo(json_line(status))
    _say_deadline(status, only_loud=True)
    if written is None:
        if not progress.held:
            raise not_ready(run, progress)
        say_held(run, status["reason"] or progress.held)
        return ERROR
    if not current().json:
        click.echo(str(written.path))
    _say_what_came(session, ctx, status, written)
    if written.path != target:
        say(f"({_others(ctx, target) or target} holds something else and was left alone)")
    return DONE if written.rows else ERROR


def _say_what_came(session: Session, ctx: Context, status: dict[str, Any], written: Written) -> None:
    run = ctx.run
    fake = "FAKE " if run.fake else ""
    say(f"{fake}run {run.id} {status['state']}: {count(written.rows, 'row')} in {written.path}")
    if written.failures:
        reasons = failures_line(session.store.failure_reasons(run.no))
        say(f"{count(written.failed, 'request')} gave no row: {reasons}; see {written.failures}")
    if not run.fake:
        say(f"cost: {money(status['cost'])}")
