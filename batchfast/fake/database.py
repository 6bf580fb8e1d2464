"""The fake's SQLite database: one connection, its transactions, and the fake's clock."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from batchfast.errors import ConfigError

_TABLES = """
create table if not exists clock (id integer primary key check (id = 1), offset_s real not null);
insert or ignore into clock values (1, 0);
create table if not exists files (
    seq integer primary key autoincrement, id text not null unique, provider text not null, name text not
    null, purpose text not null, size integer not null, created_at real not null, expires_at real, detail text
    not null);
create table if not exists uploads (
    id text primary key, provider text not null, size integer not null, detail text not null, file_id text);
create table if not exists batches (
    seq integer primary key autoincrement, id text not null unique, provider text not null, created_at real
    not null, duration_s real not null, ends_at real not null, expires_at real not null, cancelled_at real,
    finished_at real, total integer not null, seed integer not null, source text not null, detail text not
    null, faults text not null, outcome text, deleted integer not null default 0);
create table if not exists answers (
    provider text not null, model text not null, requests integer not null, input_tokens integer not null,
    output_tokens integer not null, primary key (provider, model));
create table if not exists faults (
    id integer primary key autoincrement, fault text not null, seen integer not null default 0,
    fired integer not null default 0);
"""


class Database:
    """
    `state.db` in the fake's folder (WAL), which several processes may have open.

    Args:
        clock: Unix seconds; `advance` adds to it, for every process.

    Raises:
        ConfigError: What lies there is no database, or a damaged one.
    """

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        # One connection, guarded by the lock: calls are short, and the work on results happens outside of it.
        self._connection = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        try:
            self._prepare()
        except sqlite3.DatabaseError as exc:
            self._connection.close()
            raise ConfigError(
                f"{path} cannot be read as the fake's database ({exc}): delete the folder {path.parent}, which holds "
                "nothing but the fake's own batches"
            ) from exc

    def _prepare(self) -> None:
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("pragma journal_mode = wal")
        self._connection.execute("pragma synchronous = normal")
        with self.writing() as db:
            for statement in _TABLES.split(";"):
                db.execute(statement)

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that no other writer, of this or another process, runs beside."""
        with self._lock:
            self._connection.execute("begin immediate")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("rollback")
                raise
            self._connection.execute("commit")

    def rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        with self._lock:
            return self._connection.execute(query, values).fetchall()

    @staticmethod
    def insert(db: sqlite3.Connection, table: str, **values: Any) -> None:
        """Add a row, within a transaction."""
        marks = ", ".join("?" * len(values))
        query = f"insert into {table} ({', '.join(values)}) values ({marks})"  # noqa: S608 - our own names
        db.execute(query, tuple(values.values()))

    def clear(self) -> None:
        """Forget everything, time moved forward included."""
        with self.writing() as db:
            for table in ("files", "uploads", "batches", "answers", "faults"):
                db.execute(f"delete from {table}")  # noqa: S608 - our own names
            db.execute("update clock set offset_s = 0")

    def now(self) -> float:
        """The fake's time: the clock and what `advance` added, in any process."""
        (row,) = self.rows("select offset_s from clock")
        return self._clock() + float(row["offset_s"])

    def advance(self, seconds: float) -> None:
        with self.writing() as db:
            db.execute("update clock set offset_s = offset_s + ?", (seconds,))
