"""
All SQLite of batchfast: tables, migrations, transactions. Open `state.db` with sqlite-utils or Datasette to look.

Tables: `home` (the nonce), `runs`, `shards` (what is to be sent: written before any money is spent), `batches`
(what the providers made of it), `requests` (one row per request and attempt, written when its result is collected),
`events` (what happened when) and `outputs` (what each run wrote, by hash).

Counts are kept per shard, so that a run's ledger costs a few rows and not a million.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, Self

from batchfast.errors import StoreError
from batchfast.records import BatchSnapshot, ShardPlan
from batchfast.store.outcomes_file import attached, insert
from batchfast.store.rows import (
    IN_FLIGHT,
    OPEN,
    Answer,
    BatchRow,
    Kept,
    Ledger,
    RequestRow,
    RunRow,
    RunState,
    ShardRow,
    ShardState,
    Tally,
)
from batchfast.trouble import is_damaged

__all__ = [
    "IN_FLIGHT",
    "OPEN",
    "Answer",
    "BatchRow",
    "Kept",
    "Ledger",
    "RequestRow",
    "RunRow",
    "RunState",
    "ShardRow",
    "ShardState",
    "Store",
    "Tally",
]


SCHEMA_VERSION = 2

_RESTORE = (
    "restore it from a backup, or make a dataset of the raw results with: batchfast collect RUN --reparse -o FILE"
)


class Store:
    """
    One connection to a home's database.

    Raises:
        StoreError: Not a database, or one of a newer batchfast.
    """

    def __init__(self, path: Path, *, create: bool = True) -> None:
        self.path = path
        if not create and not path.is_file():
            if any((path.parent / "runs").glob("*/spec.json")):
                raise StoreError(f"{path} is lost: {_RESTORE}")
            raise StoreError(
                f"no home at {path.parent}: name it with --home DIR, or start a run with: batchfast run SPEC --fake"
            )
        try:
            self.connection = sqlite3.connect(path, isolation_level=None, timeout=30)
            self.connection.row_factory = sqlite3.Row
            self._prepare()
        except sqlite3.DatabaseError as exc:
            if not is_damaged(exc):
                raise  # in use, or a full disk: nothing is wrong with what the database holds
            raise StoreError(
                f"{path} cannot be read as batchfast's database ({exc}); restore it from a backup, or "
                "move the whole folder away to start afresh (what was paid for would be paid again); "
                "what has come is made a dataset with: batchfast collect RUN --reparse -o FILE"
            ) from exc

    def close(self) -> None:
        self.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _prepare(self) -> None:
        version = self.connection.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"{self.path} was made by a newer batchfast (schema {version}, this one knows {SCHEMA_VERSION}); "
                "upgrade with: pip install -U batchfast"
            )
        if version < SCHEMA_VERSION:
            if version == 0 and any((self.path.parent / "runs").glob("*/spec.json")):
                raise StoreError(
                    f"{self.path} is empty or of no version, but runs/ beside it holds runs: {_RESTORE}, or move runs/ "
                    "away to start afresh (what was paid for would be paid again)"
                )
            from batchfast.store.migrations import migrate  # brings sqlite-utils, which `status` has no time for

            migrate(self.connection, self.path)
        self.connection.execute("PRAGMA synchronous=FULL")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, and on the disk when the block ends."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.connection.execute("COMMIT")
        except BaseException:
            if self.connection.in_transaction:  # SQLite itself has rolled back where the disk is full
                self.connection.execute("ROLLBACK")
            raise

    def damage(self) -> list[str]:
        """What SQLite finds wrong with the file, at most five things; empty where it is intact."""
        try:
            found = [str(row[0]) for row in self.connection.execute("PRAGMA integrity_check(5)")]
        except sqlite3.DatabaseError as exc:
            if not is_damaged(exc):
                raise
            return [str(exc)]
        return [] if found == ["ok"] else found

    # -- home

    def nonce(self) -> str:
        """Eight hex digits that tell this home's requests from another's; made once."""
        query = "SELECT value FROM home WHERE key = 'nonce'"
        row = self.connection.execute(query).fetchone()
        if row is None:
            self.connection.execute("INSERT OR IGNORE INTO home VALUES ('nonce', ?)", (secrets.token_hex(4),))
            row = self.connection.execute(query).fetchone()
        return str(row[0])

    # -- runs

    def add_run(self, run: dict[str, Any], shards: Iterable[ShardPlan]) -> RunRow:
        """Enter a run with all its shards, waiting. This comes before anything is sent."""
        with self.transaction():
            cursor = self.connection.execute(*_insert("runs", run))
            run_no = cursor.lastrowid
            if run_no is None:
                raise StoreError(f"{self.path}: the run {run['id']} could not be entered")
            self._add_shards(run_no, shards)
        return self.run(run["id"])

    def _add_shards(self, run_no: int, shards: Iterable[ShardPlan]) -> None:
        for shard in shards:
            self.connection.execute(*_insert("shards", {"run_no": run_no, **_columns(shard)}))

    def runs(self) -> list[RunRow]:
        """All runs, newest first."""
        return [_run(row) for row in self.connection.execute("SELECT * FROM runs ORDER BY no DESC")]

    def run(self, run_id: str) -> RunRow:
        """
        Raises:
            StoreError: No such run.
        """
        row = self.connection.execute("SELECT * FROM runs WHERE id = ?", (run_id,)).fetchone()
        if row is None:
            raise StoreError(f"no run {run_id} in {self.path.parent}; see: batchfast status")
        return _run(row)

    def resolve(self, name: str | None, *, fake: bool | None = None) -> RunRow:
        """
        The run a person means: its id, an unambiguous beginning of it, "latest", or None for the only one.

        Args:
            fake: Look only among fake runs, or only among others.

        Raises:
            StoreError: None or several fit; names them.
        """
        runs = [run for run in self.runs() if fake is None or run.fake == fake]
        if not runs:
            raise StoreError(f"no runs in {self.path.parent} yet; start one with: batchfast run SPEC")
        if name == "latest":
            return runs[0]
        matches = [run for run in runs if run.id == name] or [run for run in runs if run.id.startswith(name or "")]
        if len(matches) == 1:
            return matches[0]
        if not matches:
            raise StoreError(f"no run {name} in {self.path.parent}; see: batchfast status")
        names = ", ".join(run.id for run in matches[:5]) + (", ..." if len(matches) > 5 else "")
        what = f"{name} is ambiguous" if name else "there are several runs"
        raise StoreError(f"{what}: say which of {names}, or latest")

    def update_run(self, run_no: int, **columns: object) -> None:
        names = ", ".join(f"{name} = ?" for name in columns)
        self.connection.execute(f"UPDATE runs SET {names} WHERE no = ?", (*columns.values(), run_no))  # noqa: S608

    def cancel_requested(self, run_no: int) -> bool:
        """Whether someone, maybe in another process, asked for the run's end."""
        row = self.connection.execute("SELECT cancel_requested FROM runs WHERE no = ?", (run_no,)).fetchone()
        return bool(row[0])

    # -- shards

    def shards(self, run_no: int, *states: ShardState) -> list[ShardRow]:
        """A run's shards in the order they are sent; all of them where no state is named."""
        rows = self.connection.execute(
            "SELECT * FROM shards WHERE run_no = ? ORDER BY attempt, number, entry", (run_no,)
        )
        return [ShardRow(**row) for row in map(dict, rows) if not states or row["state"] in states]

    def shard(self, shard_id: int) -> ShardRow:
        return ShardRow(**dict(self.connection.execute("SELECT * FROM shards WHERE id = ?", (shard_id,)).fetchone()))

    def update_shard(self, shard_id: int, expected: ShardState, **columns: object) -> bool:
        """Set columns of a shard that is in state `expected`; False where another process has moved it."""
        names = ", ".join(f"{name} = ?" for name in columns)
        cursor = self.connection.execute(
            f"UPDATE shards SET {names} WHERE id = ? AND state = ?",  # noqa: S608
            (*columns.values(), shard_id, expected),
        )
        return cursor.rowcount == 1

    def move(self, shard_id: int, old: ShardState, new: ShardState, **columns: object) -> bool:
        """One compare-and-set: False where the shard is not in state `old` any more."""
        return self.update_shard(shard_id, old, state=new, **columns)

    def put_off(self, run_no: int, entry: int, until: str, note: str, believed: str) -> None:
        """
        No shard of an entry that waits, or will wait again, is sent before `until`, nor before a later time that it was
        put off to already; one after `believed` only shows that the clock was set back.
        """
        self.connection.execute(
            "UPDATE shards SET not_before = CASE WHEN not_before BETWEEN ? AND ? THEN not_before ELSE ? END, "
            "note = CASE state WHEN 'waiting' THEN ? ELSE note END "
            "WHERE run_no = ? AND entry = ? AND state IN ('waiting', 'submitting')",
            (until, believed, until, note, run_no, entry),
        )

    def accept(self, shard_id: int, old: ShardState, remote_id: str, at: str) -> bool:
        """The provider has the shard as batch `remote_id`: it runs. False where another process was first."""
        with self.transaction():
            moved = self.move(shard_id, old, "running", note=None, not_before=None)
            if moved:
                self.connection.execute(
                    "INSERT INTO batches (shard_id, remote_id, entered_at) VALUES (?, ?, ?)", (shard_id, remote_id, at)
                )
        return moved

    def next_number(self, run_no: int, entry: int) -> int:
        """The first shard number that an entry has not used."""
        row = self.connection.execute(
            "SELECT max(number) FROM shards WHERE run_no = ? AND entry = ?", (run_no, entry)
        ).fetchone()
        return 0 if row[0] is None else int(row[0]) + 1

    def end_shard(
        self,
        shard: ShardRow,
        new: Literal["ended", "failed"],
        results: Iterable[RequestRow],
        tally: Tally,
        again: Iterable[ShardPlan] = (),
        note: str | None = None,
        revived: Sequence[Kept] = (),
        outcomes: Path | None = None,
    ) -> bool:
        """
        Enter every outcome of a shard, its counts and what is sent again, all or nothing.

        Args:
            results: One row per request, but for those in `outcomes`; consumed before the transaction begins.
            tally: Filled while `results` is consumed, read afterwards.
            again: Shards that ask again for what may yet succeed; consumed after `results`.
            revived: Earlier attempts that turned out to be the last word; filled while `results` is consumed.
            outcomes: More rows, in a file that `write_outcomes` made.

        Returns:
            False where another process has ended it; nothing is changed then.

        Raises:
            StoreError: The rows or the counts do not cover the shard: nothing is changed.
        """
        plans = self._take_in(results, again)
        with attached(self.connection, outcomes) as table, self.transaction():
            if self.shard(shard.id).state != shard.state:
                return False
            # Results come in any order, and in grid order each page of the table is written once.
            entered = 0
            for source in filter(None, ("temp.incoming", table)):
                insertion = f"INSERT INTO requests SELECT * FROM {source} ORDER BY idx"  # noqa: S608
                entered += self.connection.execute(insertion).rowcount
            counted = tally.succeeded + tally.failed + tally.expired + tally.cancelled + tally.resent
            if not entered == counted == shard.requests:
                raise StoreError(
                    f"shard {shard.id}: {entered} outcomes, {counted} counted, for {shard.requests} requests; "
                    "nothing was entered"
                )
            self.move(shard.id, shard.state, new, note=note, not_before=None, **_columns(tally))
            self._revive(shard.run_no, revived)
            self._add_shards(shard.run_no, plans)
        return True

    def _revive(self, run_no: int, revived: Sequence[Kept]) -> None:
        self.connection.executemany(
            "UPDATE requests SET final = 1 WHERE run_no = ? AND idx = ? AND attempt = ?",
            ((run_no, kept.idx, kept.attempt) for kept in revived),
        )
        self.connection.executemany(
            "UPDATE shards SET resent = resent - 1, succeeded = succeeded + 1, rows = rows + ? WHERE id = ?",
            ((kept.texts, kept.shard_id) for kept in revived),
        )

    def _take_in(self, results: Iterable[RequestRow], again: Iterable[ShardPlan]) -> list[ShardPlan]:
        """
        Consume `results` into a temporary table of this connection, then `again`: reading replies takes time, in
        which other processes shall not have to wait for the database.
        """
        self.connection.execute("CREATE TEMP TABLE IF NOT EXISTS incoming AS SELECT * FROM main.requests WHERE 0")
        self.connection.execute("BEGIN")
        try:
            self.connection.execute("DELETE FROM temp.incoming")
            insert(self.connection, "temp.incoming", results)
        finally:
            self.connection.execute("COMMIT")
        return list(again)

    # -- batches

    def batches(self, run_no: int) -> dict[int, BatchRow]:
        """The newest batch of each shard of a run, by shard id."""
        rows = self.connection.execute(
            "SELECT b.* FROM batches b JOIN shards s ON s.id = b.shard_id WHERE s.run_no = ? ORDER BY b.id", (run_no,)
        )
        return {row["shard_id"]: _batch(row) for row in rows}

    def had_company(self, shard: ShardRow) -> bool:
        """
        Whether, while the newest batch of a shard was looked at by its provider, other batches of this home, of any
        run, were there with the same model. Those that failed as a whole took no room.
        """
        row = self.connection.execute(
            "SELECT 1 FROM batches mine, batches b JOIN shards s ON s.id = b.shard_id "
            "WHERE mine.id = (SELECT max(id) FROM batches WHERE shard_id = ?) AND b.shard_id != mine.shard_id "
            "AND s.provider = ? AND s.model_id = ? AND coalesce(b.remote_state, '') NOT LIKE '%failed%' "
            "AND coalesce(b.created_at, b.entered_at) <= mine.ended_at "
            "AND (b.ended_at IS NULL OR b.ended_at >= mine.created_at) LIMIT 1",
            (shard.id, shard.provider, shard.model_id),
        ).fetchone()
        return row is not None

    def others_in_flight(self, shard: ShardRow, fake: bool, since: str) -> bool:
        """Whether other shards of this home, of any run, were sent to the same provider after `since` and still run."""
        row = self.connection.execute(
            "SELECT 1 FROM shards s JOIN runs r ON r.no = s.run_no WHERE s.id != ? AND s.provider = ? AND r.fake = ? "
            "AND s.state IN ('submitting', 'uncertain', 'running') AND s.intent_at >= ? LIMIT 1",
            (shard.id, shard.provider, int(fake), since),
        ).fetchone()
        return row is not None

    def queue_limit(self, provider: str, model_id: str, since: str) -> int | None:
        """How many tokens of a model may be in its queue, as the provider has said after `since`."""
        row = self.connection.execute(
            "SELECT tokens FROM queue_limits WHERE provider = ? AND model_id = ? AND at >= ?",
            (provider, model_id, since),
        ).fetchone()
        return None if row is None else int(row[0])

    def remember_queue_limit(self, provider: str, model_id: str, tokens: int, at: str) -> None:
        self.connection.execute(
            "INSERT OR REPLACE INTO queue_limits (provider, model_id, tokens, at) VALUES (?, ?, ?, ?)",
            (provider, model_id, tokens, at),
        )

    def owned_remote_ids(self, provider: str) -> set[str]:
        """Batches at a provider that some shard of this home has already."""
        rows = self.connection.execute(
            "SELECT b.remote_id FROM batches b JOIN shards s ON s.id = b.shard_id WHERE s.provider = ?", (provider,)
        )
        return {row[0] for row in rows}

    def record_poll(self, batch_id: int, snapshot: BatchSnapshot, at: str) -> None:
        self.connection.execute(
            "UPDATE batches SET remote_state = ?, counts = ?, created_at = coalesce(?, created_at), ended_at = ?, "
            "collect_by = coalesce(?, collect_by), polled_at = ?, failures = 0, last_error = NULL WHERE id = ?",
            (
                snapshot.remote_state,
                json.dumps(snapshot.counts),
                snapshot.created_at,
                snapshot.ended_at,
                snapshot.collect_by,
                at,
                batch_id,
            ),
        )

    def deadlines(self) -> dict[int, str]:
        """By run, until when the first results of its running batches must be collected (UTC ISO 8601)."""
        rows = self.connection.execute(
            "SELECT s.run_no, min(b.collect_by) FROM shards s JOIN batches b ON b.shard_id = s.id "
            "WHERE s.state = 'running' AND b.collect_by IS NOT NULL "
            "AND b.id = (SELECT max(id) FROM batches WHERE shard_id = s.id) GROUP BY 1"
        )
        return {row[0]: row[1] for row in rows}

    def record_failed_poll(self, batch_id: int, message: str, at: str) -> None:
        """A poll that failed changes nothing but the count of failures."""
        self.connection.execute(
            "UPDATE batches SET failures = failures + 1, last_error = ?, polled_at = ? WHERE id = ?",
            (message, at, batch_id),
        )

    def record_cancel(self, batch_id: int) -> None:
        self.connection.execute("UPDATE batches SET cancel_sent = 1 WHERE id = ?", (batch_id,))

    # -- requests

    def answers(self, run_no: int) -> Iterator[Answer]:
        """Of each request that gave rows its last word, in grid order, streamed."""
        cursor = self.connection.cursor()
        cursor.row_factory = None
        cursor.execute(
            "SELECT idx, shard_id, file, offset, length FROM requests "
            "WHERE run_no = ? AND final = 1 AND outcome = 'succeeded' ORDER BY idx, attempt",
            (run_no,),
        )
        return cursor

    def failures(self, run_no: int) -> Iterator[RequestRow]:
        """Of each request that ended for good without a row its last word, in grid order, streamed."""
        cursor = self.connection.cursor()
        cursor.row_factory = _as_request
        yield from cursor.execute(
            "SELECT * FROM requests WHERE run_no = ? AND final = 1 AND outcome != 'succeeded' ORDER BY idx, attempt",
            (run_no,),
        )

    def attempts(self, run_no: int, index: int) -> list[RequestRow]:
        """All outcomes of one request, first attempt first."""
        cursor = self.connection.cursor()
        cursor.row_factory = _as_request
        return list(
            cursor.execute("SELECT * FROM requests WHERE run_no = ? AND idx = ? ORDER BY attempt", (run_no, index))
        )

    def kept(self, run_no: int, first: int, last: int) -> Iterator[Kept]:
        """Samples of earlier attempts whose requests were asked again, by request (`first` to `last`) and attempt."""
        query = (
            "SELECT idx, attempt, shard_id, texts FROM requests "
            "WHERE run_no = ? AND idx BETWEEN ? AND ? AND final = 0 AND texts > 0 ORDER BY idx, attempt"
        )
        return map(Kept._make, self.connection.execute(query, (run_no, first, last)))

    def rowless(self, run_no: int) -> Iterator[int]:
        """Indices of the requests that ended for good without a row, in grid order."""
        query = "SELECT idx FROM requests WHERE run_no = ? AND final = 1 AND outcome != 'succeeded' ORDER BY idx"
        for row in self.connection.execute(query, (run_no,)):
            yield row[0]

    def reopen(self, run_no: int, plans: Iterable[ShardPlan]) -> None:
        """
        Count every request that ended without a row as asked again, by the shards of `plans`; all or nothing.

        Raises:
            StoreError: The plans are not for exactly those requests: nothing is changed.
        """
        plans = list(plans)
        with self.transaction():
            groups = self.connection.execute(
                "SELECT shard_id, outcome, count(*) FROM requests "
                "WHERE run_no = ? AND final = 1 AND outcome != 'succeeded' GROUP BY 1, 2",
                (run_no,),
            ).fetchall()
            if sum(group[2] for group in groups) != sum(plan.requests for plan in plans):
                raise StoreError("other requests have failed in the meantime; nothing was changed: try again")
            for shard_id, outcome, number in groups:
                self.connection.execute(
                    f"UPDATE shards SET {outcome} = {outcome} - ?, resent = resent + ? WHERE id = ?",  # noqa: S608
                    (number, number, shard_id),
                )
            self.connection.execute(
                "UPDATE requests SET final = 0 WHERE run_no = ? AND final = 1 AND outcome != 'succeeded'", (run_no,)
            )
            self._add_shards(run_no, plans)
            self.update_run(run_no, state="submitting", reason=None, cancel_requested=0, settled_at=None)

    def failure_reasons(self, run_no: int) -> list[tuple[str, str, int]]:
        """`(outcome, error type, count)` of what failed for good, most frequent first."""
        rows = self.connection.execute(
            "SELECT outcome, coalesce(error_type, ''), count(*) FROM requests "
            "WHERE run_no = ? AND final = 1 AND outcome != 'succeeded' GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2",
            (run_no,),
        )
        return [(row[0], row[1], row[2]) for row in rows]

    def extents(self, run_no: int) -> list[tuple[int, str, int]]:
        """`(shard id, "output" or "error", end)`: how far into each raw file its collected lines reach (bytes)."""
        rows = self.connection.execute(
            "SELECT shard_id, file, max(offset + length) FROM requests "
            "WHERE run_no = ? AND file IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2",
            (run_no,),
        )
        return [(row[0], row[1], row[2]) for row in rows]

    # -- ledger

    def ledger(self, run: RunRow) -> Ledger:
        sums = self.connection.execute(
            "SELECT coalesce(sum(succeeded), 0), coalesce(sum(failed), 0), coalesce(sum(expired), 0), "
            "coalesce(sum(cancelled), 0), "
            "coalesce(sum(CASE WHEN state IN ('submitting', 'uncertain', 'running') THEN requests END), 0), "
            "coalesce(sum(CASE WHEN state = 'waiting' THEN requests END), 0) FROM shards WHERE run_no = ?",
            (run.no,),
        ).fetchone()
        return Ledger(run.requests, *sums)

    def rows(self, run_no: int) -> int:
        """How many samples a run has so far."""
        return int(
            self.connection.execute("SELECT coalesce(sum(rows), 0) FROM shards WHERE run_no = ?", (run_no,)).fetchone()[
                0
            ]
        )

    # -- events and outputs

    def event(self, run_no: int, at: str, kind: str, message: str, shard_id: int | None = None) -> None:
        """Note what happened, for whoever reads it in the morning."""
        self.connection.execute(
            "INSERT INTO events (run_no, shard_id, at, kind, message) VALUES (?, ?, ?, ?, ?)",
            (run_no, shard_id, at, kind, message),
        )

    def noted(self, run_no: int, message: str) -> bool:
        """Whether this was said of a run before."""
        found = self.connection.execute("SELECT 1 FROM events WHERE run_no = ? AND message = ?", (run_no, message))
        return found.fetchone() is not None

    def events(self, run_no: int) -> list[sqlite3.Row]:
        return list(self.connection.execute("SELECT * FROM events WHERE run_no = ? ORDER BY id", (run_no,)))

    def record_output(self, run_no: int, path: Path, sha256: str) -> None:
        """Say what is about to stand at `path`, so that it is known as ours even after a crash."""
        self.connection.execute("INSERT OR IGNORE INTO outputs VALUES (?, ?, ?)", (run_no, str(path), sha256))

    def wrote(self, run_no: int, sha256: str) -> bool:
        """Whether the run once wrote exactly this content: here, or before the folder was moved."""
        found = self.connection.execute("SELECT 1 FROM outputs WHERE run_no = ? AND sha256 = ?", (run_no, sha256))
        return found.fetchone() is not None

    def outputs(self, run_no: int, sha256: str) -> list[Path]:
        """Where the run once wrote exactly this content."""
        rows = self.connection.execute(
            "SELECT path FROM outputs WHERE run_no = ? AND sha256 = ? ORDER BY path", (run_no, sha256)
        )
        return [Path(row[0]) for row in rows]

    def record_deleted(self, run_no: int, shard_id: int, at: str, ref: str) -> None:
        """A file or a batch of a shard, by its id there, needs no more looking after at its provider."""
        self.event(run_no, at, "deleted", ref, shard_id)

    def deleted(self, run_no: int) -> set[str]:
        """Ids of files and batches that `record_deleted` was told of."""
        rows = self.connection.execute("SELECT message FROM events WHERE run_no = ? AND kind = 'deleted'", (run_no,))
        return {row[0] for row in rows}

    def batches_of(self, shard_id: int) -> list[str]:
        """Every batch that a provider ever made of a shard, by remote_id, oldest first."""
        rows = self.connection.execute("SELECT remote_id FROM batches WHERE shard_id = ? ORDER BY id", (shard_id,))
        return [row[0] for row in rows]


def _columns(record: ShardPlan | Tally) -> dict[str, Any]:
    return {field.name: getattr(record, field.name) for field in fields(record)}


def _insert(table: str, values: dict[str, Any]) -> tuple[str, tuple[Any, ...]]:
    names = ", ".join(values)
    marks = ", ".join("?" * len(values))
    return f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(values.values())  # noqa: S608


def _run(row: sqlite3.Row) -> RunRow:
    values = dict(row)
    return RunRow(
        **values
        | {
            "fake": bool(values["fake"]),
            "endpoints": tuple(json.loads(values["endpoints"])),
            "conduct": json.loads(values["conduct"]),
            "cancel_requested": bool(values["cancel_requested"]),
        }
    )


def _batch(row: sqlite3.Row) -> BatchRow:
    values = dict(row)
    del values["entered_at"]
    return BatchRow(**values | {"counts": json.loads(values["counts"]), "cancel_sent": bool(values["cancel_sent"])})


def _as_request(_cursor: sqlite3.Cursor, row: tuple[Any, ...]) -> RequestRow:
    return RequestRow._make(row)
