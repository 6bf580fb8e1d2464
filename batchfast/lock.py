"""One process at a time works on a run. The lock goes with the process: a dead holder leaves nothing behind."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from batchfast.clock import Clock, iso
from batchfast.errors import RunBusy
from batchfast.home import Home

# Whoever has just taken the lock says its name a moment later: how often to look for it, and how long to wait between
# (count, seconds).
_NAME_LOOKS = 10
_NAME_WAIT_S = 0.02


@contextmanager
def run_lock(home: Home, run_id: str, clock: Clock) -> Iterator[None]:
    """
    Hold the run for the length of the block.

    Raises:
        RunBusy: Another process holds it; says which, where and since when.
    """
    runs = home.path / "runs"
    runs.mkdir(exist_ok=True)
    holder = runs / f"{run_id}.holder.json"
    lock = FileLock(runs / f"{run_id}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as exc:
        raise RunBusy(f"run {run_id} is being worked on by {_describe(holder)}; try again when it is done") from exc
    try:
        who = {"pid": os.getpid(), "host": socket.gethostname(), "since": iso(clock.now())}
        holder.write_text(json.dumps(who), encoding="utf-8")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


@contextmanager
def entering(home: Home) -> Iterator[None]:
    """Only one process at a time finds out whether a spec has a run, and enters one where it has not."""
    runs = home.path / "runs"
    runs.mkdir(exist_ok=True)
    with FileLock(runs / "enter.lock"):
        yield


def _describe(holder: Path) -> str:
    for _ in range(_NAME_LOOKS):
        try:
            who = json.loads(holder.read_bytes())
            return f"process {who['pid']} on {who['host']} since {who['since']}"
        except (OSError, ValueError, KeyError):
            time.sleep(_NAME_WAIT_S)  # it has the lock but has not said its name yet
    return "another process"
