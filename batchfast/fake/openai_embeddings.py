"""OpenAI's `/v1/embeddings`, live and in a batch."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

from batchfast.fake.openai_body import check_members
from batchfast.fake.openai_wire import Rejected, wrong_type
from batchfast.fake.replies import count_tokens
from batchfast.fake.shapes import WrongType, as_text, as_whole
from batchfast.fake.vectors import unit_vector

_PARAMETERS = frozenset({"model", "input", "dimensions", "encoding_format", "user"})
_DIMENSIONS = {"text-embedding-3-large": 3072}
_MAX_INPUTS = 2048

Json = dict[str, Any]


def embed(body: Json) -> tuple[Json, int]:
    """The answer to a body, and the tokens read for it. Raises Rejected."""
    try:
        model = check_members(body, "input", _PARAMETERS)
        most = _DIMENSIONS.get(model, 1536)
        dimensions = as_whole(body.get("dimensions"), "dimensions", most=most) or most
        form = as_text(body.get("encoding_format"), "encoding_format") or "float"
    except WrongType as exc:
        raise Rejected(400, wrong_type(exc), code="invalid_type", param=exc.where) from None
    if form not in ("float", "base64"):
        raise Rejected(400, f"Invalid value for 'encoding_format': {form!r}.", param="encoding_format")
    inputs = _inputs(body["input"])
    # Text counts as in every answer here; who sends tokens has counted them.
    read = sum(count_tokens(one) if isinstance(one, str) else len(one) for one in inputs)
    vectors = (unit_vector(json.dumps(one), dimensions) for one in inputs)
    data = [
        {"object": "embedding", "embedding": _packed(vector) if form == "base64" else vector, "index": index}
        for index, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": read, "total_tokens": read}
    return {"object": "list", "data": data, "model": model, "usage": usage}, read


def _inputs(given: Any) -> list[str | list[int]]:
    """One text, several, the tokens of one, or those of several; as a list of what is one input each."""
    inputs = [given] if isinstance(given, str) or _are_tokens(given) else given
    if not isinstance(inputs, list) or not all(one and (isinstance(one, str) or _are_tokens(one)) for one in inputs):
        raise Rejected(400, "'$.input' is invalid: expected text or tokens, none of them empty.", param="input")
    if len(inputs) > _MAX_INPUTS:
        raise Rejected(400, f"'$.input' is invalid: at most {_MAX_INPUTS} inputs are taken at once.", param="input")
    return inputs


def _are_tokens(given: Any) -> bool:
    return isinstance(given, list) and bool(given) and all(type(one) is int for one in given)


def _packed(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
