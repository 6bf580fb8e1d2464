"""The planned faults of a fake, and how often each was seen and fired."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable

from batchfast.fake.database import Database
from batchfast.fake.faults import Fault
from batchfast.fake.records import Bound


class Plan:
    """What shall go wrong, the same for every process that serves the folder."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def add(self, faults: Iterable[Fault]) -> None:
        with self._db.writing() as db:
            for fault in faults:
                db.execute("insert into faults (fault) values (?)", (json.dumps(fault.as_dict()),))

    def clear(self) -> None:
        with self._db.writing() as db:
            db.execute("delete from faults")

    def remove(self, faults: Iterable[Fault]) -> None:
        with self._db.writing() as db:
            for fault in faults:
                db.execute("delete from faults where fault = ?", (json.dumps(fault.as_dict()),))

    def fired(self, fault: Fault) -> int:
        """
        How often a planned fault did something, in calls, batches or requests. KeyError if it was not planned.
        """
        planned = json.dumps(fault.as_dict())
        (row,) = self._db.rows("select count(*) as plans, total(fired) as fired from faults where fault = ?", planned)
        if not row["plans"]:
            raise KeyError(fault)
        return int(row["fired"])

    def all(self) -> list[tuple[Fault, int]]:
        """The plan: each fault, and how often it did something."""
        return [(_fault(row), row["fired"]) for row in self._db.rows("select * from faults order by id")]

    def of_kind(self, does: str, provider: str) -> list[tuple[int, Fault]]:
        planned = [(row["id"], _fault(row)) for row in self._db.rows("select * from faults order by id")]
        return [(number, one) for number, one in planned if one.does == does and one.provider in (None, provider)]

    def for_call(self, provider: str, route: str) -> list[Fault]:
        """The faults for this call of a route. Asking counts the call."""
        if not self._db.rows("select 1 from faults limit 1"):
            return []
        with self._db.writing() as db:
            bound = self._count_match(db, provider, route)
            # A call has one status: that of the fault planned first.
            first = next((one for one in bound if one.fault.does == "status"), None)
            bound = [one for one in bound if one.fault.does != "status" or one is first]
            count_fired(db, Counter(one.id for one in bound))
        return [one.fault for one in bound]

    def for_batch(self, db: sqlite3.Connection, provider: str) -> list[Bound]:
        """The faults for a batch that is being created. Asking counts the batch."""
        return [one for one in self._count_match(db, provider, None) if one.fault.does != "queue"]

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


def count_fired(db: sqlite3.Connection, fired: Counter[int]) -> None:
    for fault_id, times in fired.items():
        db.execute("update faults set fired = fired + ? where id = ?", (times, fault_id))


def _fault(row: sqlite3.Row) -> Fault:
    return Fault.from_dict(json.loads(row["fault"]))
