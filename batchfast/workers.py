"""
Where pure functions from files to files run: here, in processes of this machine, or on an executor that was given, also
one whose workers are other machines that see the same folder.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

A = TypeVar("A")
T = TypeVar("T")

# With fewer requests than this, starting processes takes longer than they save (count).
_WORTH_PROCESSES = 200_000


def workers(given: Executor | None, requests: int, most: int) -> AbstractContextManager[Executor | None]:
    """
    What to run so many requests' tasks on; None where that is this process alone.

    Args:
        given: Is used, and left open; otherwise processes of this machine, where they are worth their start.
        most: More processes than this would have nothing to do (count).
    """
    processes = min(os.cpu_count() or 1, most)
    if given is not None or requests < _WORTH_PROCESSES or processes < 2:
        return nullcontext(given)
    from loky import ProcessPoolExecutor  # unlike the standard library's it does not run a user's script once more

    pool: AbstractContextManager[Executor | None] = ProcessPoolExecutor(processes)
    return pool


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
