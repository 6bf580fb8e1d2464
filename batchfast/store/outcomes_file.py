"""Outcomes on their way from the process that read them to the database: a file, made and taken in once."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from itertools import chain, islice
from pathlib import Path

from batchfast.store.rows import RequestRow

COLUMNS = ", ".join(RequestRow._fields)
_MARKS = f"({', '.join('?' * len(RequestRow._fields))})"

# Rows in one statement (count): a statement each takes as long again.
_BLOCK = 16


def write_outcomes(path: Path, rows: Iterable[RequestRow]) -> None:
    """
    Args:
        path: A new file. It need not survive a crash: whoever asked for it then asks again.
    """
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=OFF")
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute(f"CREATE TABLE incoming ({COLUMNS})")
        connection.execute("BEGIN")
        insert(connection, "incoming", rows)
        connection.execute("COMMIT")


def insert(connection: sqlite3.Connection, table: str, rows: Iterable[RequestRow]) -> None:
    """Outcomes into a table with the columns of `requests`."""
    pending = iter(rows)
    while block := list(islice(pending, _BLOCK)):
        values = ", ".join([_MARKS] * len(block))
        connection.execute(f"INSERT INTO {table} VALUES {values}", list(chain.from_iterable(block)))  # noqa: S608


@contextmanager
def attached(connection: sqlite3.Connection, path: Path | None) -> Iterator[str | None]:
    """The table that `write_outcomes` made, by the name that `connection` knows it under; None without a file."""
    if path is None:
        yield None
        return
    connection.execute("ATTACH DATABASE ? AS outcomes", (str(path),))
    try:
        yield "outcomes.incoming"
    finally:
        connection.execute("DETACH DATABASE outcomes")
