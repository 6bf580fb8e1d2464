"""The shape of a reply."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class Samples(BaseModel):
    """What a model is asked to reply: a list of texts. Its JSON schema goes out with every request."""

    model_config = ConfigDict(extra="forbid", strict=True)

    texts: list[str]


def samples_schema(num_samples: int) -> dict[str, Any]:
    """
    JSON schema of a reply with `num_samples` texts, as plain as all three providers take it.

    The count stands in a description, not in minItems: Anthropic refuses bounds above 1, and a model
    that gives fewer texts than asked for shall still be heard.
    """
    schema = Samples.model_json_schema()
    texts = schema["properties"]["texts"]
    texts["description"] = f"Exactly {num_samples} {'text' if num_samples == 1 else 'texts'}, one string each."
    return {
        "type": "object",
        "properties": {"texts": {key: value for key, value in texts.items() if key != "title"}},
        "required": schema["required"],
        "additionalProperties": False,
    }
