"""
JSON lines as bytes: read, write, replace atomically.

Lines are cut on `b"\\n"` before anything is decoded: text may hold other line separators (U+2028, U+0085).
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from glob import escape
from io import BufferedWriter, FileIO, RawIOBase
from operator import methodcaller
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self

from batchfast.errors import ConfigError, StoreError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

# How much is read at once of a file that is read through (bytes): the usual 8 KiB hold three lines.
READ_AHEAD = 1 << 18

# Files of which lines are read, kept open at once (count).
_MAX_OPEN = 64

# How much of a new file waits in memory before the disk is asked to begin (bytes).
_WRITE_ALONG = 1 << 24


def lines_of(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Non-empty lines, without their newline, of a file that arrives in chunks of any size."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from filter(None, map(_without_cr, lines))
    if _without_cr(rest):
        yield _without_cr(rest)


without_end = methodcaller("rstrip", b"\r\n")


def _without_cr(line: bytes) -> bytes:
    return line.rstrip(b"\r")


def located_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """`(offset in bytes, line)` of each non-empty line of a file."""
    offset = 0
    with path.open("rb", buffering=READ_AHEAD) as file:
        for raw in file:
            line = raw.rstrip(b"\r\n")
            if line:
                yield offset, line
            offset += len(raw)


class Files:
    """Lines by their place in files, of which a bounded number is open."""

    def __init__(self) -> None:
        self._open: dict[str, FileIO] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with ExitStack() as stack:
            for file in self._open.values():
                stack.callback(file.close)

    def line(self, path: str, offset: int, length: int) -> bytes:
        """
        Raises:
            StoreError: The file is gone, or ends before.
        """
        file = self._open.get(path)
        if file is None:
            if len(self._open) >= _MAX_OPEN:
                self._open.pop(next(iter(self._open))).close()
            file = self._open[path] = _opened(path)
        file.seek(offset)
        data = file.read(length)
        if len(data) < length:
            raise StoreError(f"{path} is shorter than it was; restore it from a backup")
        return data


def _opened(path: str) -> FileIO:
    try:
        # Lines stand in any order, so that what a buffer held beyond one would be read in vain.
        return FileIO(path)
    except FileNotFoundError as exc:
        raise StoreError(f"{path} is missing; restore it from a backup") from exc


def sha256_of(path: Path) -> str:
    """Hash of a file's bytes, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _WrittenAlong(RawIOBase):
    """A new file that the disk takes while it is written: to make it durable at the end then takes no time."""

    def __init__(self, file: FileIO) -> None:
        self._file = file
        self._begun = self._size = 0

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._file.fileno()

    def close(self) -> None:
        self._file.close()
        super().close()

    def write(self, data: ReadableBuffer) -> int:
        written = self._file.write(data)
        self._size += written
        if self._size - self._begun >= _WRITE_ALONG and sys.platform == "linux":
            with suppress(OSError):  # it is only advice: begin to write what memory alone holds, and do not wait
                os.posix_fadvise(self.fileno(), self._begun, self._size - self._begun, os.POSIX_FADV_DONTNEED)
            self._begun = self._size
        return written


@contextmanager
def replacing(path: Path, *, instead: str | None = None) -> Iterator[BinaryIO]:
    """
    Write a file that appears at `path` whole or not at all, and is on the disk when the block ends.

    Args:
        instead: What a person can do where the folder cannot be written: makes that a ConfigError.
    """
    _remove_left_over(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        file = BufferedWriter(_WrittenAlong(part.open("wb", buffering=0)))
    except OSError as exc:
        if instead is None:
            raise
        raise ConfigError(f"cannot write {path}: {exc.strerror or exc}; {instead}") from exc
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    fsync_folder(path.parent)


def _remove_left_over(path: Path) -> None:
    """What a process that was killed had begun to write."""
    for part in path.parent.glob(f".{escape(path.name)}.*.part"):
        pid = part.name.split(".")[-2]
        if pid.isdecimal() and not _is_alive(int(pid)):
            part.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    if os.name == "nt":  # where signal 0 would end it
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def make_durable(path: Path) -> None:
    """A file, whoever wrote it, and its name in its folder are on the disk when this returns."""
    _fsync(path)
    fsync_folder(path.parent)


def fsync_folder(folder: Path) -> None:
    """Make a rename in `folder` durable."""
    _fsync(folder)


def _fsync(path: Path) -> None:
    if os.name == "nt":  # neither folders nor files opened for reading can be synced there
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
