"""A run's rows made anew from its files, and what the home's database still tells about them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from batchfast.records import Outcome, RequestError
from batchfast.store import OPEN, RunRow, Store
from batchfast.trouble import is_closed


@dataclass(frozen=True, slots=True)
class Known:
    """
    What a database that can be read knows of a run and no file tells.

    Attributes:
        open: Shards that have not ended, by name; `ended`: those that have.
        lineless: What the requests of a shard became that have no result line, by the shard's name.
    """

    store: Store
    run: RunRow
    open: frozenset[str]
    ended: frozenset[str]
    lineless: dict[str, tuple[Outcome, RequestError]]

    @classmethod
    def of(cls, store: Store, run: RunRow) -> Known:
        shards = store.shards(run.no)
        names = {row.id: row.name for row in shards}
        # All requests of a shard that have no line share one outcome: any of its rows tells it.
        query = (
            "SELECT shard_id, outcome, coalesce(error_type, ''), coalesce(error_message, ''), status_code "
            "FROM requests WHERE run_no = ? AND file IS NULL GROUP BY shard_id"
        )
        found = store.connection.execute(query, (run.no,))
        return cls(
            store,
            run,
            open=frozenset(row.name for row in shards if row.state in OPEN),
            ended=frozenset(row.name for row in shards if row.state not in OPEN),
            lineless={names[row[0]]: (row[1], RequestError(row[2], row[3], row[4])) for row in found},
        )


class RebuiltStore(Store):
    """
    A database of its own for one run; which dataset files are the run's is asked of, and told to, the home's.

    Args:
        known: What the home's database knows of the run; None where there is none.
    """

    def __init__(self, path: Path, known: Known | None) -> None:
        super().__init__(path)
        self._known = known

    def record_output(self, run_no: int, path: Path, sha256: str) -> None:
        if self._known is None:
            super().record_output(run_no, path, sha256)
            return
        try:
            self._known.store.record_output(self._known.run.no, path, sha256)
        except sqlite3.OperationalError as exc:
            # A home that can only be read keeps no record of it: the next time the file counts as another's.
            if not is_closed(exc):
                raise

    def wrote(self, run_no: int, sha256: str) -> bool:
        return self._known.store.wrote(self._known.run.no, sha256) if self._known else super().wrote(run_no, sha256)

    def choose_finals(self, run_no: int, open_requests: Iterable[int]) -> None:
        """
        Of each request's attempts the one with the most samples is its last word, the later one among equals.

        Args:
            open_requests: Requests that are asked again just now: they have no last word without samples.
        """
        with self.transaction():
            self.connection.execute(
                "UPDATE requests AS worse SET final = 0 WHERE run_no = ? AND EXISTS (SELECT 1 FROM requests AS better "
                "WHERE better.run_no = worse.run_no AND better.idx = worse.idx "
                "AND (better.texts, better.attempt) > (worse.texts, worse.attempt))",
                (run_no,),
            )
            self.connection.executemany(
                "UPDATE requests SET final = 0 WHERE run_no = ? AND idx = ? AND texts = 0",
                ((run_no, index) for index in open_requests),
            )
