"""The shape of a reply."""

from __future__ import annotations

from typing import Any


def samples_schema(num_samples: int) -> dict[str, Any]:
    """
    JSON schema of a reply with `num_samples` texts, `{"texts": ["...", ...]}`, as plain as all three providers take it.

    The count stands in a description, not in minItems: Anthropic refuses bounds above 1, and a model
    that gives fewer texts than asked for shall still be heard.
    """
    texts = {
        "items": {"type": "string"},
        "type": "array",
        "description": f"Exactly {num_samples} {'text' if num_samples == 1 else 'texts'}, one string each.",
    }
    return {"type": "object", "properties": {"texts": texts}, "required": ["texts"], "additionalProperties": False}
