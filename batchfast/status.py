"""What a run looks like from outside, from the store alone: no network, no SDK, a few rows however large the run."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from batchfast.deadlines import earliest_deadline, hours_left, overdue
from batchfast.store import OPEN, BatchRow, RunRow, ShardRow, Store


def run_status(store: Store, run: RunRow, now: float | None = None) -> dict[str, Any]:
    """
    The answer of `status RUN --json`.

    Args:
        now: Seconds since 1970; None asks the machine's clock.
    """
    now = time.time() if now is None else now
    shards = store.shards(run.no)
    batches = store.batches(run.no)
    collect_by = earliest_deadline(shards, batches)
    return {
        "run": run.id,
        "fake": run.fake,
        "state": run.state,
        "reason": run.reason,
        "requests": asdict(store.ledger(run)),
        "rows": sum(row.rows for row in shards),
        "collect_by": collect_by,
        "collect_within_h": hours_left(collect_by, now),
        "next_command": next_command(run, shards),
        "output_file": run.output_file,
        "created_at": run.created_at,
        "settled_at": run.settled_at,
        "batches": [_batch(row, batches.get(row.id), now) for row in shards],
        "cost": cost(shards) | {"max_usd": run.conduct.get("max_cost_usd")},
    }


def next_command(run: RunRow, shards: list[ShardRow]) -> str | None:
    """What a person would type next; None where nothing is left to do."""
    uncertain = next((row for row in shards if row.state == "uncertain"), None)
    if run.state == "held" and uncertain and (run.reason or "").startswith("uncertain"):
        return resend_command(run.id, uncertain)
    if run.state == "held":
        return f"batchfast collect {run.id}"
    if any(row.state in OPEN for row in shards):
        return f"batchfast watch {run.id}"
    return None if run.settled_at else f"batchfast collect {run.id}"


def resend_command(run_id: str, row: ShardRow) -> str:
    """What sends an uncertain shard again, which may be paid twice."""
    return f"batchfast retry {run_id} --resend {row.name}"


def cost(shards: list[ShardRow]) -> dict[str, Any]:
    """
    What the answers so far cost at batch prices, from the providers' own usage numbers.

    Returns:
        `usd` is None while nothing is known; `unpriced` counts answers whose price is unknown, and which are then
        not in `usd`; `assumed` says that a batch price was derived from a list price.
    """
    answered = sum(row.succeeded for row in shards)
    unpriced = sum(row.unpriced for row in shards)
    usd = sum(row.cost_usd for row in shards)
    return {
        "usd": round(usd, 6) if usd or answered > unpriced else None,
        "unpriced": unpriced,
        "assumed": any(row.cost_assumed for row in shards),
    }


def _batch(row: ShardRow, batch: BatchRow | None, now: float) -> dict[str, Any]:
    return {
        "provider": row.provider,
        "model_id": row.model_id,
        "name": row.name,
        "entry": row.entry,
        "shard": row.number,
        "attempt": row.attempt,
        "remote_id": batch.remote_id if batch else None,
        "state": row.state,
        "remote_state": batch.remote_state if batch else None,
        "requests": row.requests,
        "succeeded": row.succeeded,
        "failed": row.failed,
        "expired": row.expired,
        "cancelled": row.cancelled,
        "resent": row.resent,
        "rows": row.rows,
        "created_at": batch.created_at if batch else None,
        "collect_by": batch.collect_by if batch else None,
        "overdue": overdue(row, batch, now),
        "not_before": row.not_before,
        "note": row.note or (batch.last_error if batch else None),
    }
