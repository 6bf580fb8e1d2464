"""Whether the raw results that a run's outcomes point into are on disk as they were when they were collected."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from batchfast.store import ShardRow, Store


def collected_files(
    store: Store, run_no: int, result_file: Callable[[ShardRow, str], Path]
) -> Iterator[tuple[Path, str | None]]:
    """
    Every raw file that collected lines point into, and what is wrong with it: None where it is as long as they say.

    Args:
        result_file: As `Context.result_file`.
    """
    shards = {row.id: row for row in store.shards(run_no)}
    for shard_id, kind, end in store.extents(run_no):
        path = result_file(shards[shard_id], kind)
        if not path.is_file():
            yield path, "is missing, and with it answers that were paid for"
        elif path.stat().st_size < end:
            yield path, "is shorter than what was collected from it"
        else:
            yield path, None
