"""The batches that the services accepted, from their create to their results."""

from __future__ import annotations

import json
import math
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from batchfast.fake.database import Database
from batchfast.fake.fault_plan import Plan, count_fired
from batchfast.fake.faults import Fault
from batchfast.fake.files import Files, insert_file
from batchfast.fake.records import DAY_S, Batch, Bound, File, Line, Outcome


@dataclass(frozen=True)
class Habits:
    """
    How batches created here run and answer. Each keeps them for life.

    Args:
        batch_seconds: From create to end.
        seed: What the answers follow from.
        words: Least and most words of a text.
    """

    batch_seconds: float
    seed: int
    words: tuple[int, int]


class Batches:
    """The batches of all services."""

    def __init__(self, db: Database, files: Files, plan: Plan, habits: Habits) -> None:
        self._db = db
        self._files = files
        self._plan = plan
        self._habits = habits
        # One at a time: they would only take turns at the interpreter, and two looks at one batch make it once.
        self._settling = threading.Lock()

    def add(
        self,
        provider: str,
        batch_id: str,
        *,
        source: str,
        id_of: Callable[[dict[str, Any]], str],
        total: int,
        detail: Mapping[str, Any],
        created_at: float,
        window_s: float = DAY_S,
        can_fail: bool = True,
    ) -> Batch:
        """
        Accept a batch, and bind the planned faults that are for it.

        Args:
            source: Name of its JSONL input, already written (`Files.path`).
            id_of: Finds a request's id in its line of the input.
            detail: The service's own. With a key `errors` the batch fails at the end of its validation.
            window_s: When it expires.
            can_fail: The service has a state for batches that fail as a whole.
        """
        detail = {**detail, "words": self._habits.words}
        with self._db.writing() as db:
            bound = [one for one in self._plan.for_batch(db, provider) if can_fail or one.fault.does != "fail"]
            if "errors" not in detail:
                bound = [one for one in bound if one.fault.does != "expire" or self._meets(one.fault, source, id_of)]
            fails = [one.fault for one in bound if one.fault.does == "fail"]
            if fails:
                detail.setdefault("errors", [{"code": fails[0].code, "message": fails[0].message}])
            stuck = any(one.fault.does == "stick" for one in bound)
            self._db.insert(
                db,
                "batches",
                id=batch_id,
                provider=provider,
                created_at=created_at,
                duration_s=self._habits.batch_seconds,
                ends_at=math.inf if stuck else created_at + self._habits.batch_seconds,
                expires_at=created_at + window_s,
                total=total,
                seed=self._habits.seed,
                source=source,
                detail=json.dumps(detail),
                faults=json.dumps([[one.id, one.fault.as_dict()] for one in bound]),
            )
            # A batch that fails meets no other fault of a batch.
            met = [one for one in bound if not one.fault.on_requests]
            met = [one for one in met if one.fault.does == "fail" or "errors" not in detail]
            count_fired(db, Counter(one.id for one in met))
            return _batch(_row(db, batch_id))

    def _meets(self, fault: Fault, source: str, id_of: Callable[[dict[str, Any]], str]) -> bool:
        """Whether a batch holds a request that a fault is for: one that does not must not end as if it did."""
        with self._files.path(source).open("rb") as lines:
            requests = (json.loads(line) for line in lines if line.strip())
            return any(fault.takes(self._habits.seed, at, id_of(line)) for at, line in enumerate(requests))

    def get(self, provider: str, batch_id: str) -> Batch | None:
        query = "select * from batches where provider = ? and id = ? and not deleted"
        return next(iter(self._present(self._db.rows(query, provider, batch_id))), None)

    def all(self, provider: str) -> list[Batch]:
        """All batches that the service knows of, newest first."""
        query = "select * from batches where provider = ? and not deleted order by seq desc"
        return self._present(self._db.rows(query, provider))

    def accepted(self, provider: str) -> list[Batch]:
        """All batches it ever accepted, those deleted since and those that vanished among them."""
        return [_batch(row) for row in self._db.rows("select * from batches where provider = ?", provider)]

    def _present(self, rows: list[sqlite3.Row]) -> list[Batch]:
        now = self._db.now()
        return [batch for batch in map(_batch, rows) if not batch.vanished(now)]

    def full_queue(self, provider: str, model: str | None, source: str) -> int | None:
        """
        The planned limit of input tokens in the queue that one more batch would go over, None if it would not.

        Args:
            model: Whose queue; None where batches name no model, all of which share one.
            source: The batch's input. A token is four bytes of it.
        """
        planned = self._plan.of_kind("queue", provider)
        if not planned:
            return None
        now = self._db.now()
        open_ones = [one for one in self.all(provider) if not one.ended(now) and "errors" not in one.detail]
        waiting = [one for one in open_ones if one.detail.get("model") == model]
        tokens = sum(self._files.path(name).stat().st_size for name in (source, *(one.source for one in waiting))) // 4
        over = {number: fault for number, fault in planned if tokens > fault.tokens}
        with self._db.writing() as db:
            count_fired(db, Counter(over.keys()))
        return min((fault.tokens for fault in over.values()), default=None)

    def cancel(self, batch: Batch, now: float) -> Batch | None:
        """Cancel a batch; a second cancel changes nothing. None if it has ended, maybe since it was looked up."""
        with self._db.writing() as db:
            current = _batch(_row(db, batch.id))
            if current.ended(now) or current.outcome is not None:
                return None
            db.execute("update batches set cancelled_at = coalesce(cancelled_at, ?) where id = ?", (now, batch.id))
            return _batch(_row(db, batch.id))

    def finish(self, batch_id: str) -> None:
        """Let a batch end now. One that is over stays as it is; raises KeyError if there is none."""
        now = self._db.now()
        rows = self._db.rows("select * from batches where id = ? and not deleted", batch_id)
        if not rows:
            raise KeyError(batch_id)
        if not _batch(rows[0]).ended(now):
            with self._db.writing() as db:
                db.execute("update batches set finished_at = ? where id = ? and outcome is null", (now, batch_id))

    def finish_all(self) -> None:
        for row in self._db.rows("select id from batches where not deleted"):
            self.finish(row["id"])

    def delete(self, batch: Batch) -> None:
        with self._db.writing() as db:
            db.execute("update batches set deleted = 1 where id = ?", (batch.id,))

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """While no results are being written."""
        with self._settling:
            yield

    def settle(self, batch: Batch, lines: Iterable[Line], files: Mapping[str, File]) -> Batch:
        """
        Write the results of an ended batch, once.

        Another process may do the same at the same moment: the lines follow from the batch alone, so both write the
        same bytes, and one of them gets to say so.

        Args:
            lines: Read once, as they are written.
            files: By stream, the file its lines go to. A stream without lines gives no file.
        """
        with self._settling:
            rows = self._db.rows("select * from batches where id = ?", batch.id)
            if not rows:
                return batch  # reset in the meantime
            known = _batch(rows[0])
            return self._settle(batch, lines, files) if known.outcome is None else known

    def _settle(self, batch: Batch, lines: Iterable[Line], files: Mapping[str, File]) -> Batch:
        tally = _Tally()
        sizes = self._write(tally.counted(lines), files)
        outcome = {**tally.as_dict(), "files": {stream: files[stream].id for stream in sizes}}
        with self._db.writing() as db:
            query = "update batches set outcome = ? where id = ? and outcome is null"
            if db.execute(query, (json.dumps(outcome), batch.id)).rowcount:
                for stream, size in sizes.items():
                    insert_file(db, replace(files[stream], size=size))
                count_fired(db, tally.fired)
            row = _row(db, batch.id)
        return _batch(row) if row is not None else batch  # None: reset in the meantime

    def _write(self, lines: Iterable[Line], files: Mapping[str, File]) -> dict[str, int]:
        """Write the lines of each stream to its file. Returns the sizes of those that are not empty."""
        sizes: Counter[str] = Counter()
        temporary = {stream: self._files.path(f"{uuid4().hex}.tmp") for stream in files}
        try:
            with ExitStack() as opened:
                outs = {stream: opened.enter_context(path.open("wb")) for stream, path in temporary.items()}
                for line in lines:
                    sizes[line.stream] += outs[line.stream].write((line.data + b"\n") * line.copies)
            written = {stream: size for stream, size in sizes.items() if size}
            for stream in written:
                temporary[stream].replace(self._files.path(files[stream].id))
        finally:
            for path in temporary.values():
                path.unlink(missing_ok=True)
        return written


class _Tally:
    """What the lines of a batch add up to."""

    def __init__(self) -> None:
        self.fired: Counter[int] = Counter()
        self._counts: Counter[str] = Counter()
        self._read: Counter[str] = Counter()
        self._written: Counter[str] = Counter()

    def counted(self, lines: Iterable[Line]) -> Iterator[Line]:
        for line in lines:
            self.fired.update(line.faults)
            self._counts[line.kind] += 1
            if line.model:
                self._read[line.model] += line.input_tokens
                self._written[line.model] += line.output_tokens
            yield line

    def as_dict(self) -> dict[str, Any]:
        tokens = {model: (self._read[model], self._written[model]) for model in self._read}
        return {"counts": self._counts, "tokens": tokens}


def _row(db: sqlite3.Connection, batch_id: str) -> Any:
    return db.execute("select * from batches where id = ?", (batch_id,)).fetchone()


def _batch(row: sqlite3.Row) -> Batch:
    values = dict(row)
    del values["seq"], values["deleted"]
    bound = tuple(Bound(number, Fault.from_dict(fault)) for number, fault in json.loads(row["faults"]))
    outcome = Outcome(**json.loads(row["outcome"])) if row["outcome"] else None
    return Batch(**values | {"detail": json.loads(row["detail"]), "faults": bound, "outcome": outcome})
