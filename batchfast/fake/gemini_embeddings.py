"""Gemini's `embedContent`, `batchEmbedContents` and the requests of `asyncBatchEmbedContent`."""

from __future__ import annotations

from typing import Any

from batchfast.fake.gemini_body import check_contents, find_unknown, texts_of, wrong_value
from batchfast.fake.replies import count_tokens
from batchfast.fake.shapes import WrongType, as_object, as_text, as_whole
from batchfast.fake.vectors import unit_vector

_FIELDS = frozenset({"model", "content", "taskType", "title", "outputDimensionality"})
_DIMENSIONS = {"text-embedding-004": 768, "embedding-001": 768}

Json = dict[str, Any]


def find_problem(request: Json, model: str) -> str | None:
    """The message the service would refuse this request with; None if it is good."""
    unknown = find_unknown(request, _FIELDS, "request")
    if unknown:
        return unknown
    try:
        content = as_object(request.get("content"), "content")
        check_contents([content], "content")
        for name in ("taskType", "title"):
            as_text(request.get(name), name)
        _dimensions(request, model)
    except WrongType as exc:
        return wrong_value(exc)
    return None if content.get("parts") else "* EmbedContentRequest.content: contents is not specified"


def embedding(request: Json, model: str) -> tuple[Json, int]:
    """The vector for a good request, and the tokens read for it."""
    text = "\n".join(texts_of([request["content"]]))
    return {"values": unit_vector(text, _dimensions(request, model))}, count_tokens(text)


def _dimensions(request: Json, model: str) -> int:
    most = _DIMENSIONS.get(model, 3072)
    return as_whole(request.get("outputDimensionality"), "output_dimensionality", most=most, strings=True) or most
