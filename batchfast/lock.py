"""One process at a time works on a run. The lock goes with the process: a dead holder leaves nothing behind."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from batchfast.clock import Clock, iso
from batchfast.errors import RunBusy
from batchfast.handover import remove_left_over
from batchfast.home import Home

# Whoever has just taken the lock says its name a moment later: how often to look for it, and how long to wait between
# (count, seconds).
_NAME_LOOKS = 10
_NAME_WAIT_S = 0.02

# How often a run that another process holds is looked at (seconds).
_LOOK_AGAIN_S = 0.5


@contextmanager
def run_lock(home: Home, run_id: str, clock: Clock, waits: Callable[[str], None] | None = None) -> Iterator[None]:
    """
    Hold the run for the length of the block.

    Args:
        waits: Wait while another process holds it; called once with who that is. Otherwise nobody waits.

    Raises:
        RunBusy: Another process holds it; says which, where and since when.
    """
    runs = home.path / "runs"
    runs.mkdir(exist_ok=True)
    holder = runs / f"{run_id}.holder.json"
    lock = FileLock(runs / f"{run_id}.lock")
    if not _acquired(lock):
        busy = f"run {run_id} is being worked on by {_describe(holder)}"
        if waits is None:
            raise RunBusy(f"{busy}; try again when it is done, or add --wait")
        waits(busy)
        while not _acquired(lock):
            clock.sleep(_LOOK_AGAIN_S)
    try:
        remove_left_over(home.run(run_id))
        who = {"pid": os.getpid(), "host": socket.gethostname(), "since": iso(clock.now())}
        holder.write_text(json.dumps(who), encoding="utf-8")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _acquired(lock: FileLock) -> bool:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    return True


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
