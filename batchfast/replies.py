"""Replies read again from the result files, by their place on disk."""

from __future__ import annotations

from contextlib import ExitStack
from io import FileIO
from typing import Self

from batchfast.context import Context
from batchfast.records import Result
from batchfast.store import RequestRow, ShardRow

# Result files kept open at once (count).
_MAX_OPEN = 64


class Files:
    """Files by name, a bounded number of them open."""

    def __init__(self) -> None:
        self._open: dict[str, FileIO] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with ExitStack() as stack:
            for file in self._open.values():
                stack.callback(file.close)

    def line(self, path: str, offset: int, length: int) -> bytes:
        file = self._open.get(path)
        if file is None:
            if len(self._open) >= _MAX_OPEN:
                self._open.pop(next(iter(self._open))).close()
            # Lines stand in any order, so that what a buffer held beyond one would be read in vain.
            file = self._open[path] = FileIO(path)
        file.seek(offset)
        return file.read(length)


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
