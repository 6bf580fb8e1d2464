"""
Replies read again from the result files, by their place on disk.

The texts of many are a pure function of files: where a run is large, processes side by side read them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import ExitStack
from functools import lru_cache
from io import FileIO
from itertools import islice
from typing import NamedTuple, Self

from batchfast.context import Context
from batchfast.llms import PROVIDERS, Provider
from batchfast.llms.typed import to_json
from batchfast.parse import parse_reply
from batchfast.records import Result
from batchfast.store import Answer, RequestRow, ShardRow

# Replies that are read together, and how many times as many wait to be written at most (count).
_BLOCK = 500
_AHEAD = 10

# Result files kept open at once (count).
_MAX_OPEN = 64


class Place(NamedTuple):
    """Where the line of a reply stands: whose it is, in which file, from which byte, and how many."""

    provider: str
    path: str
    offset: int
    length: int


class Given(NamedTuple):
    """The texts that request `idx` was given, each as a JSON string in UTF-8."""

    idx: int
    texts: list[bytes]


def texts_of(ctx: Context, pool: Executor | None = None) -> Iterator[Given]:
    """
    Of each request that gave rows its texts, in grid order.

    Args:
        pool: Where replies are read, if not here; its workers must see the run's folder under the same path.
    """
    answers = ctx.store.answers(ctx.run.no)
    shards = {row.id: row for row in ctx.store.shards(ctx.run.no)}
    paths = lru_cache(maxsize=None)(lambda shard_id, kind: str(ctx.result_file(shards[shard_id], kind)))
    blocks = iter(lambda: list(islice(answers, _BLOCK)), [])
    asked = (
        (block, [Place(shards[one.shard_id].provider, paths(one.shard_id, one.file), *one[3:]) for one in block])
        for block in blocks
    )
    for block, texts in _read(asked, pool):
        yield from map(Given, (one.idx for one in block), texts)


Block = tuple[list[Answer], list[Place]]


def _read(blocks: Iterator[Block], pool: Executor | None) -> Iterator[tuple[list[Answer], list[list[bytes]]]]:
    if pool is None:
        yield from ((block, texts_at(places)) for block, places in blocks)
        return
    ahead: deque[tuple[list[Answer], Future[list[list[bytes]]]]] = deque()
    for block, places in blocks:
        ahead.append((block, pool.submit(texts_at, places)))
        if len(ahead) > _AHEAD:
            done, texts = ahead.popleft()
            yield done, texts.result()
    for done, texts in ahead:
        yield done, texts.result()


def texts_at(places: Sequence[Place]) -> list[list[bytes]]:
    """The texts of each reply, as JSON strings."""
    found = []
    with _Files() as files:
        for place in places:
            result = _provider(place.provider).decode(files.line(place.path, place.offset, place.length))
            found.append([to_json(text) for text in parse_reply(result, 1).texts])
    return found


@lru_cache
def _provider(name: str) -> Provider:
    return PROVIDERS[name]("any")  # how a line is read depends on no model


class _Files:
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
        file = self._open.pop(path, None)
        if file is None:
            if len(self._open) >= _MAX_OPEN:
                self._open.pop(next(iter(self._open))).close()
            # Lines stand in any order, so that what a buffer held beyond one would be read in vain.
            file = FileIO(path)
        self._open[path] = file
        file.seek(offset)
        return file.read(length)


class Replies:
    """Result lines of a run, read one by one."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._shards: dict[int, ShardRow] = {row.id: row for row in ctx.store.shards(ctx.run.no)}
        self._files = _Files()

    def __enter__(self) -> Self:
        self._files.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._files.__exit__(*exc)

    def result(self, outcome: RequestRow) -> Result:
        shard = self._shards[outcome.shard_id]
        path = self._ctx.result_file(shard, outcome.file or "output")
        return self._ctx.provider(shard).decode(self._files.line(str(path), outcome.offset or 0, outcome.length or 0))
