"""Files and uploads in pieces: bytes in a folder, and the rows that name them."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

from batchfast.fake.database import Database
from batchfast.fake.records import File, Upload


class Files:
    """
    What clients uploaded, and what batches wrote.

    Bytes are written beside their place and moved there before a row names them: a process killed at any moment leaves
    at most an unnamed file behind.
    """

    def __init__(self, db: Database, folder: Path) -> None:
        self._db = db
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def clear(self) -> None:
        for path in self._folder.iterdir():
            path.unlink(missing_ok=True)

    def path(self, name: str) -> Path:
        """Where the bytes of a file, or of a batch's input, lie."""
        return self._folder / name

    def write(self, name: str, chunks: Iterable[bytes]) -> int:
        """Store bytes under a name, whole or not at all. Returns how many."""
        temporary = self._folder / f"{uuid4().hex}.tmp"
        size = 0
        try:
            with temporary.open("wb") as out:
                for chunk in chunks:
                    size += out.write(chunk)
            temporary.replace(self._folder / name)
        finally:
            temporary.unlink(missing_ok=True)
        return size

    def add(self, file: File) -> File:
        """Name a file whose bytes are already written."""
        with self._db.writing() as db:
            insert_file(db, file)
        return file

    def get(self, provider: str, file_id: str) -> File | None:
        """The file, or None if it never was, was deleted, or has expired."""
        rows = self._db.rows("select * from files where provider = ? and id = ?", provider, file_id)
        return next(iter(self._living(rows)), None)

    def named(self, provider: str, name: str) -> File | None:
        """The file that goes by a name now, where clients give the names and may give one again."""
        rows = self._db.rows("select * from files where provider = ? and name = ?", provider, name)
        return next(iter(self._living(rows)), None)

    def all(self, provider: str) -> list[File]:
        """All files that can be had, newest first."""
        return self._living(self._db.rows("select * from files where provider = ? order by seq desc", provider))

    def _living(self, rows: list[sqlite3.Row]) -> list[File]:
        now = self._db.now()
        return [_file(row) for row in rows if row["expires_at"] is None or row["expires_at"] > now]

    def delete(self, provider: str, file_id: str) -> bool:
        """Forget a file; False if there is none. A running batch keeps reading its input."""
        if self.get(provider, file_id) is None:
            return False
        with self._db.writing() as db:
            db.execute("delete from files where id = ?", (file_id,))
        return True

    def start_upload(self, provider: str, upload_id: str, detail: Mapping[str, Any]) -> None:
        self.path(f"{upload_id}.part").touch()
        with self._db.writing() as db:
            db.execute("insert into uploads values (?, ?, 0, ?, null)", (upload_id, provider, json.dumps(detail)))

    def upload(self, provider: str, upload_id: str) -> Upload | None:
        rows = self._db.rows("select * from uploads where provider = ? and id = ?", provider, upload_id)
        for row in rows:
            return Upload(row["id"], json.loads(row["detail"]), row["file_id"], row["size"])
        return None

    def cancel_upload(self, upload: Upload) -> None:
        """Forget an upload and what was received of it."""
        with self._db.writing() as db:
            db.execute("delete from uploads where id = ?", (upload.id,))
        self.path(f"{upload.id}.part").unlink(missing_ok=True)

    def append_upload(self, upload: Upload, chunk: IO[bytes]) -> int:
        """Add a piece at the end of what was received. Returns the new size."""
        with self.path(f"{upload.id}.part").open("r+b") as out:
            # Bytes of a piece whose row was never written (the process was killed) are written over.
            out.seek(upload.received)
            out.truncate()
            shutil.copyfileobj(chunk, out, 1 << 20)
            size = out.tell()
        with self._db.writing() as db:
            db.execute("update uploads set size = ? where id = ?", (size, upload.id))
        return size

    def finish_upload(self, upload: Upload, file: File) -> File:
        """Turn the received bytes into a file."""
        self.path(f"{upload.id}.part").replace(self.path(file.id))
        with self._db.writing() as db:
            insert_file(db, file)
            db.execute("update uploads set file_id = ? where id = ?", (file.id, upload.id))
        return file


def insert_file(db: sqlite3.Connection, file: File) -> None:
    Database.insert(db, "files", **{**asdict(file), "detail": json.dumps(file.detail)})


def _file(row: sqlite3.Row) -> File:
    values = {**dict(row), "detail": json.loads(row["detail"])}
    del values["seq"]
    return File(**values)
