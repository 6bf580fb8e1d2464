"""One request from prompt to raw reply to rows, for a person who wants to know what happened."""

from __future__ import annotations

from typing import Any

from batchfast.context import Context
from batchfast.errors import StoreError
from batchfast.parse import parse_reply
from batchfast.replies import Replies


def show(ctx: Context, index: int) -> dict[str, Any]:
    """
    The answer of `show RUN N --json`. No network.

    Raises:
        StoreError: The run has no such request.
    """
    if not 0 <= index < ctx.run.requests:
        raise StoreError(f"run {ctx.run.id} has requests 0 to {ctx.run.requests - 1}, not {index}")
    cell = ctx.grid.cell(index)
    provider = ctx.provider_of(index)
    return {
        "run": ctx.run.id,
        "request": index,
        "provider": provider.name,
        "model_id": provider.model_id,
        "language": cell.language,
        "metadata": cell.metadata | {"prompt_index": cell.prompt_index},
        "prompt": ctx.grid.prompt(index),
        "attempts": _attempts(ctx, index),
    }


def _attempts(ctx: Context, index: int) -> list[dict[str, Any]]:
    batches = ctx.store.batches(ctx.run.no)
    attempts = []
    with Replies(ctx) as replies:
        for row in ctx.store.attempts(ctx.run.no, index):
            result = replies.result(row) if row.file else None
            batch = batches.get(row.shard_id)
            attempts.append(
                {
                    "attempt": row.attempt,
                    "batch": batch.remote_id if batch else None,
                    "outcome": row.outcome,
                    "finish_reason": row.finish_reason,
                    "error": {"type": row.error_type, "message": row.error_message} if row.error_type else None,
                    "usage": result.usage._asdict() if result and result.usage else None,
                    "cost_usd": row.cost_usd,
                    "raw_text": result.text if result else None,
                    "texts": list(parse_reply(result, ctx.grid.num_samples).texts) if result else [],
                }
            )
    return attempts
