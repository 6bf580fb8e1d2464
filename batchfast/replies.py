"""Replies read again from the result files, by their place on disk."""

from __future__ import annotations

from typing import Self

from batchfast.context import Context
from batchfast.jsonl import Files
from batchfast.records import Result
from batchfast.store import RequestRow, ShardRow


class Replies:
    """Result lines of a run, read one by one."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._shards: dict[int, ShardRow] = {row.id: row for row in ctx.store.shards(ctx.run.no)}
        self._files = Files()

    def __enter__(self) -> Self:
        self._files.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._files.__exit__(*exc)

    def result(self, outcome: RequestRow) -> Result:
        shard = self._shards[outcome.shard_id]
        path = self._ctx.result_file(shard, outcome.file or "output")
        return self._ctx.provider(shard).decode(self._files.line(str(path), outcome.offset or 0, outcome.length or 0))
