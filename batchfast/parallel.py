"""
The shards of a run compiled side by side: each is a pure function from a snapshot to a file, so that any executor, also
one on other machines that see the folder, can do it. The bytes are those of one process.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from batchfast.compiler import compile_shards
from batchfast.grid import Grid
from batchfast.home import stem_of
from batchfast.llms import Provider
from batchfast.llms.splice import Splice
from batchfast.records import ShardPlan, custom_id
from batchfast.spec import conduct_of, providers_of, snapshot_bytes
from batchfast.walk import longest_prompt
from batchfast.workers import workers


class Task(NamedTuple):
    """
    One shard to compile; picklable, and without a key.

    Attributes:
        snapshot, conduct: JSON: the run's snapshot, and what `spec.conduct_of` says of each provider entry.
        positions: Consecutive.
    """

    snapshot: bytes
    conduct: str
    entry: int
    number: int
    positions: range
    id_prefix: str
    path: str


def compile_run(
    snapshot: dict[str, Any],
    providers: Sequence[Provider],
    id_prefix: str,
    folder: Path,
    *,
    executor: Executor | None = None,
) -> Iterator[ShardPlan]:
    """
    Every request of a snapshot into files `<folder>/<stem>.jsonl`, in shards that their providers take.

    Args:
        executor: Where shards are compiled; its workers must see `folder` under the same path. Default: large runs use
            processes of this machine, others none.

    Yields:
        Shards by entry and number, each on disk.

    Raises:
        RequestTooLarge: One request alone exceeds its provider's limit.
        OSError: The folder cannot be written.
    """
    grid = Grid(snapshot)
    cuts = [_cut(grid, entry, provider, id_prefix) for entry, provider in enumerate(providers)]
    with workers(executor, len(grid), sum(len(cut) for cut in cuts if cut is not None)) as pool:
        for entry, (provider, cut) in enumerate(zip(providers, cuts, strict=True)):

            def path_of(number: int, entry: int = entry, provider: Provider = provider) -> Path:
                return folder / f"{stem_of(entry, provider.name, provider.model_id, number, 1)}.jsonl"

            if pool is None or cut is None:
                yield from compile_shards(grid, provider, entry, range(grid.positions), id_prefix, 1, path_of, count())
                continue
            shared = snapshot_bytes(snapshot), json.dumps([conduct_of(one) for one in providers])
            tasks = [
                Task(*shared, entry, number, positions, id_prefix, str(path_of(number)))
                for number, positions in enumerate(cut)
            ]
            yield from pool.map(compile_task, tasks)


def compile_task(task: Task) -> ShardPlan:
    """A shard of a run that is cut by count."""
    grid, providers = _prepared(task.snapshot, task.conduct)
    path = Path(task.path)
    (plan,) = compile_shards(
        grid,
        providers[task.entry],
        task.entry,
        task.positions,
        task.id_prefix,
        1,
        lambda _: path,
        iter((task.number,)),
    )
    return plan


@lru_cache(maxsize=2)
def _prepared(snapshot: bytes, conduct: str) -> tuple[Grid, list[Provider]]:
    made = json.loads(snapshot)
    return Grid(made), providers_of(made, json.loads(conduct))


def _cut(grid: Grid, entry: int, provider: Provider, id_prefix: str) -> list[range] | None:
    """
    The shards of an entry, where it is certain without looking at a single request: where so many of the longest line
    that there can be fit into a file. None where only the lines themselves can tell.
    """
    limits = provider.limits
    splice = Splice.of(provider.encode, grid.num_samples, 0)
    if splice is None:
        return None
    longest_id = len(custom_id(id_prefix, len(grid) + entry, 1))
    if splice.longest_line(longest_id, longest_prompt(grid)) * limits.max_requests > limits.room_bytes:
        return None
    cut: list[range] = []
    start = 0
    while start < grid.positions:
        stop = min(start + limits.requests_in(len(cut)), grid.positions)
        cut.append(range(start, stop))
        start = stop
    return cut
