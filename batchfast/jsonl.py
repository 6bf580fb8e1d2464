"""
JSON lines as bytes: read, write, replace atomically.

Lines are cut on `b"\\n"` before anything is decoded: text may hold other line separators (U+2028, U+0085).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from glob import escape
from operator import methodcaller
from pathlib import Path
from typing import BinaryIO

from batchfast.errors import ConfigError

# How much is read at once of a file that is read through (bytes): the usual 8 KiB hold three lines.
READ_AHEAD = 1 << 18


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


def sha256_of(path: Path) -> str:
    """Hash of a file's bytes, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
        file = part.open("wb")
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
