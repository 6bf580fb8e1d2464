"""How `state.db` comes to its present tables, one step after another; `user_version` is the number of steps."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from filelock import FileLock
from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

migrations = Migrations("batchfast")


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the database at `path`, also an empty one, to the present tables; one process at a time."""
    with FileLock(path.with_suffix(".lock")):
        connection.execute("PRAGMA journal_mode=WAL")
        migrations.apply(Database(connection))


@migrations()
def m001_first_tables(db: Database) -> None:
    """Runs, shards, batches, requests, events."""
    db.table("home").create({"key": str, "value": str}, pk="key")
    db.table("runs").create(
        {
            "no": int,
            "id": str,
            "fake": int,
            "snapshot_id": str,
            "endpoints": str,
            "conduct": str,
            "spec_path": str,
            "output_file": str,
            "requests": int,
            "state": str,
            "reason": str,
            "cancel_requested": int,
            "created_at": str,
            "settled_at": str,
        },
        pk="no",
        defaults={"cancel_requested": 0},
    )
    db.table("runs").create_index(["id"], unique=True)
    db.table("shards").create(
        {
            "id": int,
            "run_no": int,
            "entry": int,
            "number": int,
            "attempt": int,
            "uncounted": int,
            "provider": str,
            "model_id": str,
            "positions": str,
            "requests": int,
            "size_bytes": int,
            "sha256": str,
            "state": str,
            "fence": str,
            "intent_at": str,
            "absent_at": str,
            "not_before": str,
            "file_id": str,
            "succeeded": int,
            "failed": int,
            "expired": int,
            "cancelled": int,
            "resent": int,
            "rows": int,
            "cost_usd": float,
            "unpriced": int,
            "cost_assumed": int,
            "note": str,
        },
        pk="id",
        foreign_keys=[("run_no", "runs", "no")],
        defaults={"state": "waiting"}
        | dict.fromkeys(
            ("succeeded", "failed", "expired", "cancelled", "resent", "rows", "cost_usd", "unpriced", "cost_assumed"), 0
        ),
    )
    db.table("shards").create_index(["run_no", "entry", "number", "attempt"], unique=True)
    db.table("batches").create(
        {
            "id": int,
            "shard_id": int,
            "remote_id": str,
            "entered_at": str,
            "remote_state": str,
            "counts": str,
            "created_at": str,
            "ended_at": str,
            "collect_by": str,
            "polled_at": str,
            "failures": int,
            "last_error": str,
            "cancel_sent": int,
        },
        pk="id",
        foreign_keys=[("shard_id", "shards", "id")],
        defaults={"counts": "{}", "failures": 0, "cancel_sent": 0},
    )
    db.table("batches").create_index(["shard_id"])
    # Without rowid and in grid order: collecting walks it once, and a row costs its own bytes and no index's.
    db.execute(
        "CREATE TABLE requests (run_no INTEGER, idx INTEGER, attempt INTEGER, shard_id INTEGER, final INTEGER, "
        "outcome TEXT, texts INTEGER, finish_reason TEXT, model TEXT, input_tokens INTEGER, output_tokens INTEGER, "
        "cached_input_tokens INTEGER, cache_write_tokens INTEGER, reasoning_tokens INTEGER, cost_usd REAL, "
        "error_type TEXT, error_message TEXT, status_code INTEGER, file TEXT, offset INTEGER, length INTEGER, "
        "PRIMARY KEY (run_no, idx, attempt)) WITHOUT ROWID"
    )
    db.table("events").create(
        {"id": int, "run_no": int, "shard_id": int, "at": str, "kind": str, "message": str}, pk="id"
    )
    db.table("events").create_index(["run_no"])
    db.table("outputs").create(
        {"run_no": int, "path": str, "sha256": str}, pk=("run_no", "path", "sha256"), not_null={"run_no"}
    )
    db.execute("PRAGMA user_version = 1")


@migrations()
def m002_room_and_longer_replies(db: Database) -> None:
    """What a shard needs to wait for room, to fit a budget, and to be asked again for longer replies."""
    for column in ("doublings", "refusals", "largest_bytes"):
        db.table("shards").add_column(column, int, not_null_default=0)
    # Only answers that were cut short and asked again are in it: next to nothing, and found at once.
    db.execute("CREATE INDEX idx_requests_kept ON requests (run_no, idx) WHERE final = 0 AND texts > 0")
    db.table("queue_limits").create(
        {"provider": str, "model_id": str, "tokens": int, "at": str}, pk=("provider", "model_id")
    )
    db.execute("PRAGMA user_version = 2")
