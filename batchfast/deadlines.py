"""Until when results can be had, and which batches should have ended long ago: from the store alone."""

from __future__ import annotations

from batchfast.clock import seconds_of
from batchfast.store import BatchRow, ShardRow

_HOUR_S = 3_600.0
_DAY_S = 24 * _HOUR_S

# With less than this left a deadline is said aloud (hours).
LOUD_H = 12.0

# After how long each provider itself ends a batch as expired (seconds). OpenAI and Anthropic reference: 24 hours from
# creation; Gemini API docs, batch mode: aims at 24 hours, expires after 48; read 2026-11.
WINDOW_S = {"openai": _DAY_S, "anthropic": _DAY_S, "gemini": 2 * _DAY_S}


def earliest_deadline(shards: list[ShardRow], batches: dict[int, BatchRow]) -> str | None:
    """Until when the next results must be collected: UTC ISO 8601."""
    times = (batches[row.id].collect_by for row in shards if row.state == "running" and row.id in batches)
    return min((time for time in times if time), default=None)


def hours_left(collect_by: str | None, now: float) -> float | None:
    """Hours until a deadline, negative after it; None where there is none."""
    return None if collect_by is None else round((seconds_of(collect_by) - now) / _HOUR_S, 2)


def deadline_line(collect_by: str | None, hours: float | None) -> str | None:
    """A deadline in words, beginning with `!!` where it is near or past; None where there is none."""
    if collect_by is None or hours is None:
        return None
    if hours < 0:
        return f"!! results should have been collected by {collect_by}: what is still there can go any time"
    if hours < LOUD_H:
        left = f"{hours:.0f} h" if hours >= 1 else f"{60 * hours:.0f} min"
        return f"!! collect within {left}: by {collect_by}, or the results are gone"
    return f"collect by: {collect_by}"


def is_loud(line: str | None) -> bool:
    return line is not None and line.startswith("!!")


def overdue(row: ShardRow, batch: BatchRow | None, now: float) -> bool:
    """Whether a batch still runs a day after its provider should have ended it."""
    if batch is None or row.state != "running" or batch.ended_at is not None:
        return False
    began = batch.created_at or row.intent_at
    return began is not None and now > seconds_of(began) + WINDOW_S[row.provider] + _DAY_S
