"""
What the services remember: files, uploads, batches, the clock, planned faults. No HTTP, no wire format.

Everything lies in one folder, `state.db` (SQLite, WAL) and `files/`, so that several processes can serve it,
at the same time or one after the other, and agree. Bytes are written beside their place and moved there
before a row names them: a process killed at any moment leaves at most an unnamed file behind.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

from batchfast.fake.faults import Fault
from batchfast.fake.records import DAY_S, Batch, Bound, File, Line, Outcome, Upload

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


class State:
    """
    The folder of the fake.

    Args:
        folder: Made if absent. May be served by other processes too.
        batch_seconds: How long a batch created here takes. The batch keeps it.
        seed: What the answers to batches created here follow from. The batch keeps it.
        words: Least and most words of a text in their answers. The batch keeps it.
        clock: Unix seconds.
    """

    def __init__(
        self,
        folder: Path,
        *,
        batch_seconds: float = 1.0,
        seed: int = 0,
        words: tuple[int, int] = (60, 150),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.seed = seed
        self.words = words
        self._batch_seconds = batch_seconds
        self._clock = clock
        self._folder = folder
        self._files = folder / "files"
        self._files.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._settling: dict[str, threading.Lock] = {}
        # One connection, guarded by the lock: calls are short, and the work on results happens outside of it.
        self._db = sqlite3.connect(folder / "state.db", timeout=30, isolation_level=None, check_same_thread=False)
        self._db.row_factory = sqlite3.Row
        self._db.execute("pragma journal_mode = wal")
        self._db.execute("pragma synchronous = normal")
        with self._writing() as db:
            for statement in _TABLES.split(";"):
                db.execute(statement)

    def close(self) -> None:
        with self._lock:
            self._db.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that no other writer, of this or another process, runs beside."""
        with self._lock:
            self._db.execute("begin immediate")
            try:
                yield self._db
            except BaseException:
                self._db.execute("rollback")
                raise
            self._db.execute("commit")

    def _rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        with self._lock:
            return self._db.execute(query, values).fetchall()

    def reset(self) -> None:
        """Forget everything: files, batches, faults, and time moved forward."""
        with self._writing() as db:
            db.execute("delete from files")
            db.execute("delete from uploads")
            db.execute("delete from batches")
            db.execute("delete from answers")
            db.execute("delete from faults")
            db.execute("update clock set offset_s = 0")
        for path in self._files.iterdir():
            path.unlink(missing_ok=True)

    # Time

    def now(self) -> float:
        """The fake's time: the clock and what `advance` added, in any process."""
        (row,) = self._rows("select offset_s from clock")
        return self._clock() + float(row["offset_s"])

    def advance(self, seconds: float) -> None:
        with self._writing() as db:
            db.execute("update clock set offset_s = offset_s + ?", (seconds,))

    # Files

    def path(self, name: str) -> Path:
        """Where the bytes of a file, or of a batch's input, lie."""
        return self._files / name

    def write(self, name: str, chunks: Iterable[bytes]) -> int:
        """Store bytes under a name, whole or not at all. Returns how many."""
        temporary = self._files / f"{uuid4().hex}.tmp"
        size = 0
        try:
            with temporary.open("wb") as out:
                for chunk in chunks:
                    size += out.write(chunk)
            temporary.replace(self._files / name)
        finally:
            temporary.unlink(missing_ok=True)
        return size

    def add_file(self, file: File) -> File:
        """Name a file whose bytes are already written."""
        with self._writing() as db:
            _insert_file(db, file)
        return file

    def file(self, provider: str, file_id: str) -> File | None:
        """The file, or None if it never was, was deleted, or has expired."""
        rows = self._rows("select * from files where provider = ? and id = ?", provider, file_id)
        return next(iter(self._living(rows)), None)

    def files(self, provider: str) -> list[File]:
        """All files that can be had, newest first."""
        return self._living(self._rows("select * from files where provider = ? order by seq desc", provider))

    def _living(self, rows: list[sqlite3.Row]) -> list[File]:
        now = self.now()
        return [_file(row) for row in rows if row["expires_at"] is None or row["expires_at"] > now]

    def delete_file(self, provider: str, file_id: str) -> bool:
        """Forget a file; False if there is none. A running batch keeps reading its input."""
        if self.file(provider, file_id) is None:
            return False
        with self._writing() as db:
            db.execute("delete from files where id = ?", (file_id,))
        return True

    # Uploads in pieces

    def start_upload(self, provider: str, upload_id: str, detail: Mapping[str, Any]) -> None:
        self.path(f"{upload_id}.part").touch()
        with self._writing() as db:
            db.execute("insert into uploads values (?, ?, 0, ?, null)", (upload_id, provider, json.dumps(detail)))

    def upload(self, provider: str, upload_id: str) -> Upload | None:
        rows = self._rows("select * from uploads where provider = ? and id = ?", provider, upload_id)
        for row in rows:
            return Upload(row["id"], row["size"], json.loads(row["detail"]), row["file_id"], row["size"])
        return None

    def append_upload(self, upload: Upload, chunk: IO[bytes]) -> int:
        """Add a piece at the end of what was received. Returns the new size."""
        with self.path(f"{upload.id}.part").open("r+b") as out:
            # Bytes of a piece whose row was never written (the process was killed) are written over.
            out.seek(upload.received)
            out.truncate()
            shutil.copyfileobj(chunk, out, 1 << 20)
            size = out.tell()
        with self._writing() as db:
            db.execute("update uploads set size = ? where id = ?", (size, upload.id))
        return size

    def finish_upload(self, upload: Upload, file: File) -> File:
        """Turn the received bytes into a file."""
        self.path(f"{upload.id}.part").replace(self.path(file.id))
        with self._writing() as db:
            _insert_file(db, file)
            db.execute("update uploads set file_id = ? where id = ?", (file.id, upload.id))
        return file

    # Batches

    def add_batch(
        self,
        provider: str,
        batch_id: str,
        *,
        source: str,
        total: int,
        detail: Mapping[str, Any],
        created_at: float,
        window_s: float = DAY_S,
        can_fail: bool = True,
    ) -> Batch:
        """
        Accept a batch, and bind the planned faults that are for it.

        Args:
            source: Name of its JSONL input, already written (`path(source)`).
            detail: The service's own. With a key `errors` the batch fails at the end of its validation.
            window_s: When it expires.
            can_fail: The service has a state for batches that fail as a whole.
        """
        detail = {**detail, "words": self.words}
        with self._writing() as db:
            bound = self._count_match(db, provider, None)
            bound = [one for one in bound if one.fault.does != "queue" and (can_fail or one.fault.does != "fail")]
            fails = [one.fault for one in bound if one.fault.does == "fail"]
            if fails:
                detail.setdefault("errors", [{"code": fails[0].code, "message": fails[0].message}])
            stuck = any(one.fault.does == "stick" for one in bound)
            fired = [one.id for one in bound if not one.fault.on_requests]
            ends_at = float("inf") if stuck else created_at + self._batch_seconds
            faults = json.dumps([[one.id, one.fault.as_dict()] for one in bound])
            values = (
                batch_id, provider, created_at, self._batch_seconds, ends_at, created_at + window_s,
                total, self.seed, source, json.dumps(detail), faults,
            )  # fmt: skip
            db.execute(
                "insert into batches (id, provider, created_at, duration_s, ends_at, expires_at, total, seed, source,"
                " detail, faults) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                values,
            )
            _count_fired(db, Counter(fired))
        batch = self.batch(provider, batch_id)
        assert batch is not None
        return batch

    def batch(self, provider: str, batch_id: str) -> Batch | None:
        query = "select * from batches where provider = ? and id = ? and not deleted"
        return next(iter(self._present(self._rows(query, provider, batch_id))), None)

    def batches(self, provider: str) -> list[Batch]:
        """All batches that the service knows of, newest first."""
        query = "select * from batches where provider = ? and not deleted order by seq desc"
        return self._present(self._rows(query, provider))

    def accepted(self, provider: str) -> list[Batch]:
        """All batches it ever accepted, those deleted since and those that vanished among them."""
        return [_batch(row) for row in self._rows("select * from batches where provider = ?", provider)]

    def _present(self, rows: list[sqlite3.Row]) -> list[Batch]:
        now = self.now()
        return [batch for batch in map(_batch, rows) if not batch.vanished(now)]

    def full_queue(self, provider: str, model: str | None, source: str) -> int | None:
        """
        The planned limit of input tokens in the queue that one more batch would go over, None if it would not.

        Args:
            model: Whose queue; None where batches name no model, all of which share one.
            source: The batch's input. A token is four bytes of it.
        """
        planned = self._planned("queue", provider)
        if not planned:
            return None
        now = self.now()
        waiting = [one for one in self.batches(provider) if not one.ended(now) and one.detail.get("model") == model]
        tokens = sum(self.path(name).stat().st_size for name in (source, *(one.source for one in waiting))) // 4
        over = {number: fault for number, fault in planned if tokens > fault.tokens}
        with self._writing() as db:
            _count_fired(db, Counter(over.keys()))
        return min((fault.tokens for fault in over.values()), default=None)

    def cancel(self, batch: Batch, now: float) -> Batch:
        """Cancel a batch that has not ended; a second cancel changes nothing."""
        return self._change(batch, "update batches set cancelled_at = coalesce(cancelled_at, ?) where id = ?", now)

    def finish(self, batch_id: str) -> None:
        """Let a batch end now. One that is over stays as it is; raises KeyError if there is none."""
        now = self.now()
        rows = self._rows("select * from batches where id = ? and not deleted", batch_id)
        if not rows:
            raise KeyError(batch_id)
        if not _batch(rows[0]).ended(now):
            self._change(_batch(rows[0]), "update batches set finished_at = ? where id = ?", now)

    def finish_all(self) -> None:
        for row in self._rows("select id from batches where not deleted"):
            self.finish(row["id"])

    def delete_batch(self, batch: Batch) -> None:
        with self._writing() as db:
            db.execute("update batches set deleted = 1 where id = ?", (batch.id,))

    def _change(self, batch: Batch, query: str, value: float) -> Batch:
        with self._writing() as db:
            db.execute(query, (value, batch.id))
            row = db.execute("select * from batches where id = ?", (batch.id,)).fetchone()
        return _batch(row)

    def settle(self, batch: Batch, lines: Iterable[Line], files: Mapping[str, File]) -> Batch:
        """
        Write the results of an ended batch, once.

        Another process may do the same at the same moment: the lines follow from the batch alone, so both write the
        same bytes, and one of them gets to say so.

        Args:
            lines: Read once, as they are written.
            files: By stream, the file its lines go to. A stream without lines gives no file.
        """
        with self._lock:
            settling = self._settling.setdefault(batch.id, threading.Lock())
        with settling:
            rows = self._rows("select * from batches where id = ? and outcome is not null", batch.id)
            return _batch(rows[0]) if rows else self._settle(batch, lines, files)

    def _settle(self, batch: Batch, lines: Iterable[Line], files: Mapping[str, File]) -> Batch:
        counts: Counter[str] = Counter()
        fired: Counter[int] = Counter()
        sizes: Counter[str] = Counter()
        read: Counter[str] = Counter()
        written: Counter[str] = Counter()
        temporary = {stream: self._files / f"{uuid4().hex}.tmp" for stream in files}
        try:
            with ExitStack() as opened:
                outs = {stream: opened.enter_context(path.open("wb")) for stream, path in temporary.items()}
                for line in lines:
                    fired.update(line.faults)
                    counts[line.kind] += 1
                    sizes[line.stream] += outs[line.stream].write((line.data + b"\n") * line.copies)
                    if line.model:
                        read[line.model] += line.input_tokens
                        written[line.model] += line.output_tokens
            for stream, path in temporary.items():
                if sizes[stream]:
                    path.replace(self.path(files[stream].id))
        finally:
            for path in temporary.values():
                path.unlink(missing_ok=True)
        named = {stream: files[stream].id for stream in files if sizes[stream]}
        tokens = {model: (read[model], written[model]) for model in read}
        outcome = {"counts": counts, "files": named, "tokens": tokens}
        with self._writing() as db:
            query = "update batches set outcome = ? where id = ? and outcome is null"
            if db.execute(query, (json.dumps(outcome), batch.id)).rowcount:
                for stream in named:
                    _insert_file(db, files[stream], size=sizes[stream])
                _count_fired(db, fired)
            row = db.execute("select * from batches where id = ?", (batch.id,)).fetchone()
        return _batch(row) if row is not None else batch

    # Answers at once

    def count_answer(self, provider: str, model: str, input_tokens: int, output_tokens: int) -> None:
        """Remember a request answered at once, for the bill."""
        with self._writing() as db:
            db.execute(
                "insert into answers values (?, ?, 1, ?, ?) on conflict do update set requests = requests + 1,"
                " input_tokens = input_tokens + excluded.input_tokens,"
                " output_tokens = output_tokens + excluded.output_tokens",
                (provider, model, input_tokens, output_tokens),
            )

    def answers(self, provider: str) -> dict[str, tuple[int, int, int]]:
        """What was answered at once: by model, requests, tokens read and tokens written."""
        rows = self._rows("select * from answers where provider = ? order by model", provider)
        return {row["model"]: (row["requests"], row["input_tokens"], row["output_tokens"]) for row in rows}

    # Faults

    def plan(self, faults: Iterable[Fault]) -> None:
        with self._writing() as db:
            for fault in faults:
                db.execute("insert into faults (fault) values (?)", (json.dumps(fault.as_dict()),))

    def forget_faults(self) -> None:
        with self._writing() as db:
            db.execute("delete from faults")

    def fired(self, fault: Fault) -> int:
        """
        How often a planned fault did something, in calls, batches or requests. KeyError if it was not planned.
        """
        planned = json.dumps(fault.as_dict())
        (row,) = self._rows("select count(*) as plans, total(fired) as fired from faults where fault = ?", planned)
        if not row["plans"]:
            raise KeyError(fault)
        return int(row["fired"])

    def faults(self) -> list[tuple[Fault, int]]:
        """The plan: each fault, and how often it did something."""
        return [(_fault(row), row["fired"]) for row in self._rows("select * from faults order by id")]

    def _planned(self, does: str, provider: str) -> list[tuple[int, Fault]]:
        planned = [(row["id"], _fault(row)) for row in self._rows("select * from faults order by id")]
        return [(number, one) for number, one in planned if one.does == does and one.provider in (None, provider)]

    def call_faults(self, provider: str, route: str) -> list[Fault]:
        """The faults for this call of a route. Asking counts the call."""
        if not self._rows("select 1 from faults limit 1"):
            return []
        with self._writing() as db:
            bound = self._count_match(db, provider, route)
            _count_fired(db, Counter(one.id for one in bound))
        return [one.fault for one in bound]

    def _count_match(self, db: sqlite3.Connection, provider: str, route: str | None) -> list[Bound]:
        """Count one more call (or batch, without a route) for every fault it concerns, and pick those it is for."""
        found = []
        for row in db.execute("select * from faults order by id").fetchall():
            fault = _fault(row)
            if not fault.concerns(provider, route):
                continue
            db.execute("update faults set seen = seen + 1 where id = ?", (row["id"],))
            if fault.is_for(row["seen"] + 1):
                found.append(Bound(row["id"], fault))
        return found


def _insert_file(db: sqlite3.Connection, file: File, *, size: int | None = None) -> None:
    values = (
        file.id, file.provider, file.name, file.purpose, file.size if size is None else size,
        file.created_at, file.expires_at, json.dumps(file.detail),
    )  # fmt: skip
    db.execute(
        "insert into files (id, provider, name, purpose, size, created_at, expires_at, detail)"
        " values (?, ?, ?, ?, ?, ?, ?, ?)",
        values,
    )


def _count_fired(db: sqlite3.Connection, fired: Counter[int]) -> None:
    for fault_id, times in fired.items():
        db.execute("update faults set fired = fired + ? where id = ?", (times, fault_id))


def _fault(row: sqlite3.Row) -> Fault:
    return Fault.from_dict(json.loads(row["fault"]))


def _file(row: sqlite3.Row) -> File:
    return File(
        row["id"], row["provider"], row["name"], row["purpose"], row["size"], row["created_at"], row["expires_at"],
        json.loads(row["detail"]),
    )  # fmt: skip


def _batch(row: sqlite3.Row) -> Batch:
    outcome = json.loads(row["outcome"]) if row["outcome"] else None
    return Batch(
        id=row["id"],
        provider=row["provider"],
        created_at=row["created_at"],
        duration_s=row["duration_s"],
        ends_at=row["ends_at"],
        expires_at=row["expires_at"],
        cancelled_at=row["cancelled_at"],
        finished_at=row["finished_at"],
        total=row["total"],
        seed=row["seed"],
        source=row["source"],
        detail=json.loads(row["detail"]),
        faults=tuple(Bound(number, Fault.from_dict(fault)) for number, fault in json.loads(row["faults"])),
        outcome=Outcome(**outcome) if outcome else None,
    )
