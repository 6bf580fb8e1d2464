"""
How far long work is: the steps that take time count what they do, and whoever wants to show it looks.

A step counts blocks (hundreds of requests, or about a megabyte), never single rows: it costs nothing to speak of.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BufferedReader, FileIO
from itertools import islice
from pathlib import Path
from typing import TypeVar

log = logging.getLogger(__name__)

Item = TypeVar("Item")

# The unit of steps that move files.
BYTES = "bytes"

# What took less is not worth a line in the log (seconds).
_WORTH_A_LINE_S = 1.0

# Items that are counted together (count).
_BLOCK = 256


class Step:
    """
    One piece of work under way. It may be advanced by several threads, and looked at by others.

    Attributes:
        doing: "compiling", "uploading 0-3-1".
        unit: What is counted: "requests", "rows", or `BYTES`.
        total: How many there will be, or None.
        done: How many there are.
        size_bytes: What was written or moved of them.
        started: By the clock of `time.monotonic` (seconds).
    """

    def __init__(self, doing: str, unit: str, total: int | None = None) -> None:
        self.doing = doing
        self.unit = unit
        self.total = total
        self.done = 0
        self.size_bytes = 0
        self.started = time.monotonic()
        self._lock = threading.Lock()

    def advance(self, count: int, *, size_bytes: int = 0) -> None:
        """So many more are done, of so many bytes; where bytes are the unit the count is enough."""
        with self._lock:
            self.done += count
            self.size_bytes += size_bytes

    def counted(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items, counted as they are taken, a block at a time."""
        rest = iter(items)
        while block := list(islice(rest, _BLOCK)):
            yield from block
            self.advance(len(block))

    def lasted_s(self) -> float:
        return time.monotonic() - self.started

    def __str__(self) -> str:
        """What was done, for a line of text."""
        size = self.done if self.unit == BYTES else self.size_bytes
        parts = [f"{self.done:,} {self.unit}"] if self.unit != BYTES else []
        if size:
            parts.append(f"{size / 1e6:,.1f} MB")
        return f"{self.doing}: {', '.join(parts)} in {self.lasted_s():.1f} s"


class Meter:
    """The steps of one process. This one shows nothing: it logs what took long, once that is done."""

    @contextmanager
    def step(self, doing: str, unit: str, total: int | None = None) -> Iterator[Step]:
        """A piece of work, for the length of the block; arguments as in `Step`."""
        step = Step(doing, unit, total)
        self.began(step)
        try:
            yield step
        finally:
            self.ended(step)
        if step.lasted_s() > _WORTH_A_LINE_S:
            log.info("%s", step)

    @contextmanager
    def reading(self, path: Path, doing: str) -> Iterator[BufferedReader]:
        """A file that is open, as a step that counts what is read of it."""
        with self.step(doing, BYTES, path.stat().st_size) as step, _CountedReader(path, step) as file:
            yield file

    def began(self, step: Step) -> None:
        """Called as a step begins, by the thread that works on it."""

    def ended(self, step: Step) -> None:
        """Called as a step ends, also where it failed."""


class _CountedReader(BufferedReader):
    """A real file to whoever asks for its size or its position; what is read twice counts once."""

    def __init__(self, path: Path, step: Step) -> None:
        super().__init__(FileIO(path))
        self._step = step

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self._step.advance(self.tell() - self._step.done)
        return data
