"""Errors of the disk and the database in words that tell a person what to do."""

from __future__ import annotations

import errno
import os
import sqlite3

IN_USE = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
NO_ROOM = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
_CLOSED = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def primary_code(exc: BaseException | None) -> int:
    """SQLite's error code without its extension; 0 where SQLite did not say it."""
    return int(getattr(exc, "sqlite_errorcode", 0)) & 0xFF


def is_damaged(exc: sqlite3.DatabaseError) -> bool:
    """Whether what the database holds cannot be read any more."""
    return primary_code(exc) in _DAMAGED


def is_closed(exc: sqlite3.DatabaseError) -> bool:
    """Whether SQLite may not write where the database lies, without which it often cannot read either."""
    return primary_code(exc) in _CLOSED


def is_read_only(exc: OSError) -> bool:
    """Whether a file or a folder may not be written, by its permissions or as the whole filesystem is."""
    return exc.errno in (errno.EACCES, errno.EPERM, errno.EROFS)


def database_trouble(exc: sqlite3.DatabaseError, database: object) -> str | None:
    """What is wrong with the database that a person can do something about; None where it is our own mistake."""
    code = primary_code(exc)
    if code in IN_USE:
        return f"{database} is in use by another program ({exc}); try again"
    if code in NO_ROOM:
        return f"{database}: the disk is full or fails ({exc}); free space and run the same command: nothing is lost"
    if is_closed(exc):
        return (
            f"{database} cannot be written ({exc}), which SQLite needs also to read; make the folder writable, or copy "
            "the home and name the copy with --home DIR"
        )
    if is_damaged(exc):
        return (
            f"{database} is damaged ({exc}); restore it from a backup; raw results stay in runs/, "
            "and a dataset is made of them with: batchfast collect RUN --reparse -o FILE"
        )
    return None


def system_trouble(exc: OSError) -> str:
    """What the operating system refused, with the file's name where it told one."""
    what = exc.strerror or str(exc) or type(exc).__name__
    text = f"{os.fsdecode(exc.filename)}: {what}" if isinstance(exc.filename, str | bytes) else what
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        text += "; free space and run the same command again: nothing is lost"
    return text
