"""
The shards of a run compiled side by side: each is a pure function from a snapshot to a file, so that any executor, also
one on other machines that see the folder, can do it. The bytes are those of one process.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from batchfast.cluster import DaskCluster
from batchfast.compiler import compile_shards
from batchfast.grid import Grid
from batchfast.handover import not_shared
from batchfast.home import stem_of
from batchfast.llms import Provider
from batchfast.llms.splice import Splice
from batchfast.records import ShardPlan, custom_id
from batchfast.snapshot import conduct_of, providers_of
from batchfast.walk import longest_prompt
from batchfast.workers import workers


class Task(NamedTuple):
    """
    One shard to compile; picklable, and without a key.

    Attributes:
        plan: A file as `_plan` writes it: what all shards of a run have in common.
        positions: Consecutive.
    """

    plan: str
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
    executor: Executor | DaskCluster | None = None,
) -> Iterator[ShardPlan]:
    """
    Every request of a snapshot into files `<folder>/<stem>.jsonl`, in shards that their providers take.

    Args:
        executor: Where shards are compiled; its workers must see `folder` under the same path. A cluster is used for
            large runs only. Default: large runs use processes of this machine, others none.

    Yields:
        Shards by entry and number, each on disk.

    Raises:
        RequestTooLarge: One request alone exceeds its provider's limit.
        OSError: The folder cannot be written.
        ExecutorError: Workers died, cannot be had, or do not see the folder.
    """
    grid = Grid(snapshot)
    cuts = [_cut(grid, entry, provider, id_prefix) for entry, provider in enumerate(providers)]
    most = sum(len(cut) for cut in cuts if cut is not None)
    with workers(executor, "write requests", len(grid), most) as pool, ExitStack() as stack:
        plan = stack.enter_context(_plan(folder, snapshot, providers)) if pool is not None else None
        for entry, (provider, cut) in enumerate(zip(providers, cuts, strict=True)):

            def path_of(number: int, entry: int = entry, provider: Provider = provider) -> Path:
                return folder / f"{stem_of(entry, provider.name, provider.model_id, number, 1)}.jsonl"

            if pool is None or cut is None:
                yield from compile_shards(grid, provider, entry, range(grid.positions), id_prefix, 1, path_of, count())
                continue
            tasks = [
                Task(str(plan), entry, number, positions, id_prefix, str(path_of(number).absolute()))
                for number, positions in enumerate(cut)
            ]
            yield from pool.map(compile_task, tasks)


@contextmanager
def _plan(folder: Path, snapshot: dict[str, Any], providers: Sequence[Provider]) -> Iterator[Path]:
    """
    A file for as long as the block lasts: JSON of the snapshot, and of what `conduct_of` says of each provider entry.

    Its name is new each time: a worker that sees another folder under the same path does not find it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".plan-", dir=folder) as place:
        path = Path(place).absolute() / "plan.json"
        path.write_text(json.dumps([snapshot, [conduct_of(one) for one in providers]]), encoding="utf-8")
        yield path


def compile_task(task: Task) -> ShardPlan:
    """
    A shard of a run that is cut by count.

    Raises:
        ExecutorError: This machine does not see the run's folder.
    """
    grid, providers = _prepared(task.plan)
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
def _prepared(plan: str) -> tuple[Grid, list[Provider]]:
    try:
        text = Path(plan).read_text(encoding="utf-8")
    except FileNotFoundError as exc:
        raise not_shared(Path(plan).parents[1]) from exc
    snapshot, conduct = json.loads(text)
    return Grid(snapshot), providers_of(snapshot, conduct)


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
