"""
Where pure functions from files to files run: here, in processes of this machine, or on an executor that was given, also
one whose workers are other machines that see the same folder.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Literal, TypeAlias, TypeVar

from batchfast.cluster import DaskCluster
from batchfast.errors import ExecutorError
from batchfast.terminal import one_line

A = TypeVar("A")
T = TypeVar("T")

Work: TypeAlias = Literal["write requests", "read answers"]

# With fewer requests than this, starting processes takes longer than they save (count); to read an answer and to write
# its row takes twenty times as long as to write a request.
_WORTH_PROCESSES: dict[Work, int] = {"write requests": 200_000, "read answers": 50_000}


@contextmanager
def workers(given: Executor | DaskCluster | None, work: Work, requests: int, most: int) -> Iterator[Executor | None]:
    """
    What to run so many requests' tasks on; None where that is this process alone.

    Args:
        given: An executor is used, and left open. A cluster is connected to where that is worth it; without either,
            processes of this machine are started where they are worth it.
        most: More processes than this would have nothing to do (count).

    Raises:
        ExecutorError: The workers died, or as `DaskCluster.connected`.
    """
    try:
        with _chosen(given, work, requests, most) as executor:
            yield executor
    except _gone() as exc:
        raise ExecutorError(
            f"a worker process ended before its work was done ({one_line(str(exc), 200)}); nothing is lost: "
            "the same command continues"
        ) from exc


def _gone() -> tuple[type[Exception], ...]:
    """What executors raise when their workers are no more; asked once something was raised."""
    distributed = sys.modules.get("distributed")
    return (BrokenExecutor, CancelledError, *([distributed.KilledWorker] if distributed else []))


def _chosen(
    given: Executor | DaskCluster | None, work: Work, requests: int, most: int
) -> AbstractContextManager[Executor | None]:
    if isinstance(given, Executor):
        return nullcontext(given)
    if given is not None and not isinstance(given, DaskCluster):
        raise ExecutorError(
            f"executor must be a concurrent.futures.Executor, not {type(given).__name__}; "
            "of a Dask client it is client.get_executor(pure=False)"
        )
    processes = min(os.cpu_count() or 1, most)
    if requests < _WORTH_PROCESSES[work] or most < 2:
        return nullcontext(None)
    if given is not None:
        return given.connected()
    if processes < 2:
        return nullcontext(None)
    return _processes(processes)


@contextmanager
def _processes(count: int) -> Iterator[Executor]:
    from loky import ProcessPoolExecutor  # unlike the standard library's it does not run a user's script once more

    # Of its own for each step: loky's reusable one may be the caller's, and hangs in a process forked since.
    with ProcessPoolExecutor(count) as pool:
        with _without_interrupts():
            pool.submit(int)  # starts all of them
        yield pool


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Processes that start meanwhile ignore Ctrl-C: this one ends them, and says so without their tracebacks."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is None:
        yield  # not ours to change
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def in_order(pool: Executor | None, function: Callable[[A], T], tasks: Iterable[A], ahead: int) -> Iterator[T]:
    """
    A result for each task, in their order.

    Args:
        ahead: How many more tasks are begun at most while one is waited for (count).
    """
    if pool is None:
        yield from map(function, tasks)
        return
    for begun in looking_ahead((pool.submit(function, task) for task in tasks), ahead):
        yield begun.result()


def looking_ahead(items: Iterable[T], ahead: int) -> Iterator[T]:
    """The items, so many of them (count) made before the first is handed out."""
    made: deque[T] = deque()
    for item in items:
        made.append(item)
        if len(made) > ahead:
            yield made.popleft()
    yield from made
