"""`collect --reparse`: which run is meant, also without a database, and what a person hears."""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack
from pathlib import Path

import click

from batchfast.cli.codes import DONE, ERROR, NOT_READY
from batchfast.cli.finding import cluster, find_home, resolve, target_of
from batchfast.cli.options import current, say, say_waiting
from batchfast.clock import Clock, SystemClock
from batchfast.errors import StoreError
from batchfast.home import Home, run_folders
from batchfast.lock import run_lock
from batchfast.reparse import Rebuilt, reparse
from batchfast.runs import is_fake
from batchfast.store import RunRow, Store
from batchfast.store.rebuilt import Known
from batchfast.terminal import json_line
from batchfast.trouble import is_closed, is_damaged, is_read_only
from batchfast.views import count, failures_line


def rebuild(name: str | None, output: Path | None, *, force: bool, wait: bool, scheduler: str | None = None) -> int:
    """Make the dataset anew from the run's files; the exit code that goes with it."""
    home, clock = find_home(), SystemClock()
    with ExitStack() as stack:
        store = _store(home, stack)
        run = _run(home, store, name) if store else None
        run_id = run.id if run else _run_without_database(home, name)
        if run is None and output is None:
            raise click.UsageError("the output file stood in the database: say where to write, with -o FILE")
        target = target_of(run, output) if run else Path(output or "").absolute()
        _hold(home, run_id, clock, stack, wait=wait)
        known = _known(home, store, run) if store and run else None
        executor, meter = cluster(scheduler, home.runs), current().display
        rebuilt = reparse(home, run_id, target, clock, known=known, force=force, executor=executor, meter=meter)
    return _report(home, run_id, rebuilt, target)


def _store(home: Home, stack: ExitStack) -> Store | None:
    """The database, or None where it is lost or cannot be opened and there are files to go by."""
    try:
        return stack.enter_context(Store(home.database, create=False))
    except StoreError:
        if not run_folders(home):
            raise
    except sqlite3.DatabaseError as exc:
        if not is_closed(exc):
            raise
    _say_alone(home)
    return None


def _hold(home: Home, run_id: str, clock: Clock, stack: ExitStack, *, wait: bool) -> None:
    """Keep others off the run, where its home can be written."""
    try:
        stack.enter_context(run_lock(home, run_id, clock, say_waiting if wait else None))
    except OSError as exc:
        if not is_read_only(exc):
            raise
        say(f"{home.path} cannot be written: its files are read as they are, without its lock")


def _run(home: Home, store: Store, name: str | None) -> RunRow | None:
    """The run as the database knows it, or None where it knows no run of a folder's name or cannot be read."""
    try:
        return resolve(store, name)
    except StoreError:
        if name not in run_folders(home):
            raise
    except sqlite3.DatabaseError as exc:
        if not is_damaged(exc) and not is_closed(exc):
            raise
    _say_alone(home)
    return None


def _known(home: Home, store: Store, run: RunRow) -> Known | None:
    try:
        return Known.of(store, store.run(run.id))
    except sqlite3.DatabaseError as exc:
        if not is_damaged(exc) and not is_closed(exc):
            raise
    _say_alone(home)
    return None


def _say_alone(home: Home) -> None:
    runs = home.path / "runs"
    say(f"{home.database} is lost, cannot be read or knows no such run: going by the files in {runs} alone")


def _run_without_database(home: Home, name: str | None) -> str:
    """
    Raises:
        StoreError: None or several fit; names them.
    """
    folders = run_folders(home)
    matches = [one for one in folders if one == name] or [one for one in folders if one.startswith(name or "")]
    if len(matches) == 1:
        return matches[0]
    what = f"no run {name}" if not matches else f"{name} is ambiguous" if name else "there are several runs"
    raise StoreError(f"{what} in {home.path / 'runs'}: say which of {', '.join((matches or folders)[:5])}")


def _report(home: Home, run_id: str, rebuilt: Rebuilt, target: Path) -> int:
    written = rebuilt.written
    click.echo(json_line(_as_json(run_id, rebuilt)) if current().json else str(written.path))
    fake = "FAKE " if is_fake(run_id) else ""
    say(f"{fake}run {run_id} made anew from {home.run(run_id)}: {count(written.rows, 'row')} in {written.path}")
    if written.failures:
        say(f"{count(written.failed, 'request')} gave no row: {failures_line(rebuilt.reasons)}; see {written.failures}")
    if written.path != target:
        say(f"({target}, or its failures file, holds something else and was left alone)")
    for line in rebuilt.lost:
        say(f"lost: {line}")
    if rebuilt.lost:
        return NOT_READY
    if rebuilt.open:
        say(f"{rebuilt.open:,} of {count(rebuilt.requests, 'request')} are still open, as far as anybody knows")
        return NOT_READY
    return DONE if written.rows else ERROR


def _as_json(run_id: str, rebuilt: Rebuilt) -> dict[str, object]:
    written = rebuilt.written
    return {
        "run": run_id,
        "fake": is_fake(run_id),
        "requests": rebuilt.requests,
        "rows": written.rows,
        "failed": written.failed,
        "open": rebuilt.open,
        "output_file": str(written.path),
        "failures_file": str(written.failures) if written.failures else None,
    }
