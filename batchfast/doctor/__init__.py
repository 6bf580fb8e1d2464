"""
What is wrong, or soon will be, with keys, endpoints, the home, its runs, and what they left at the providers:
`batchfast doctor`. Changes nothing, neither here nor there.
"""

from __future__ import annotations

import sqlite3
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchfast.clock import Clock
from batchfast.doctor.accounts import Account, accounts_of, reach, usual_accounts
from batchfast.doctor.finding import Finding
from batchfast.doctor.leftovers import look_for_leftovers
from batchfast.doctor.local import check_home, check_runs
from batchfast.errors import StoreError
from batchfast.home import Home, run_folders
from batchfast.session import Session
from batchfast.trouble import database_trouble, is_closed

if TYPE_CHECKING:
    from batchfast.fake import FakeServer

__all__ = ["Finding", "doctor"]


_RESTORE = "restore it from a backup, or make a dataset of the raw results: batchfast collect RUN --reparse -o FILE"


def doctor(
    home: Home, *, clock: Clock | None = None, fake_server: FakeServer | None = None, only_fake: bool = False
) -> dict[str, Any]:
    """
    The answer of `doctor --json`: `{"home", "errors", "warnings", "findings": [...]}`, each as `Finding` has it.

    Args:
        home: May be missing.
        only_fake: Ask no real provider anything.
    """
    findings = list(_examine(home, clock, fake_server, only_fake))
    return {
        "home": str(home.path) if home.database.is_file() else None,
        "errors": sum(one.level == "error" for one in findings),
        "warnings": sum(one.level == "warning" for one in findings),
        "findings": [asdict(one) for one in findings],
    }


def _examine(home: Home, clock: Clock | None, fake_server: FakeServer | None, only_fake: bool) -> list[Finding]:
    folders = [Path.cwd(), home.path.parent]
    session = _open(home, clock, fake_server)
    if isinstance(session, Finding):
        return [*_reach_all(usual_accounts(folders, ()), only_fake), session]
    with session:
        database = check_home(session.store)
        if any(one.level == "error" for one in database):
            return [*_reach_all(usual_accounts(folders, ()), only_fake), *database]
        ours = accounts_of(session)
        findings = _reach_all([*ours, *usual_accounts(folders, ours)], only_fake)
        findings += [*database, *check_runs(session)]
        for account in ours:
            if account.answers:
                findings += look_for_leftovers(session, account)
        return findings


def _open(home: Home, clock: Clock | None, fake_server: FakeServer | None) -> Session | Finding:
    """The home's session, or why there is none."""
    if home.path.exists() and not home.path.is_dir():
        advice = "move it away, or name the home: batchfast doctor --home DIR"
        return Finding("home", "error", f"{home.path} is no folder", advice)
    if not home.database.is_file():
        if runs := run_folders(home):
            message = f"{home.database} is lost, and with it what is known of {', '.join(runs[:5])}"
            return Finding("home", "error", message, _RESTORE)
        message = f"there is no home at {home.path}: nothing was submitted from here"
        return Finding("home", "note", message, "if it is elsewhere, name it: batchfast doctor --home DIR")
    try:
        return Session(home, clock=clock, fake_server=fake_server)
    except StoreError as exc:
        return Finding("home", "error", str(exc))
    except sqlite3.DatabaseError as exc:
        if not is_closed(exc):
            raise
        return Finding("home", "error", str(database_trouble(exc, home.database)))


def _reach_all(accounts: list[Account], only_fake: bool) -> list[Finding]:
    asked = [account for account in accounts if account.fake or not only_fake]
    findings = [reach(account) for account in asked]
    if asked and all(one.level == "note" for one in findings):
        findings.append(Finding("providers", "note", "without a key everything can be tried on the fake: add --fake"))
    return findings
