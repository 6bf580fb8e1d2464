"""
Anthropic's extended thinking: what a request may say of it, and the block that comes before its answer.

Where it is `adaptive` the model decides, and this one does not think.
"""

from __future__ import annotations

import base64
import random
from typing import Any

from batchfast.fake.replies import count_tokens
from batchfast.fake.shapes import WrongType, as_object, as_whole

Json = dict[str, Any]
_KINDS = ("adaptive", "disabled", "enabled")
_LEAST_BUDGET = 1024  # tokens
_THOUGHT = (
    "What is it about, and who will read it? I keep to the language and the length that were asked for, begin with what"
    " matters most, give an example or two, and say nothing of these considerations in the answer itself."
)
_SIGNATURE_BYTES = 231


def check_thinking(params: Json) -> str | None:
    """The message the service would refuse this with. Raises WrongType."""
    if params.get("thinking") is None:
        return None
    thinking = as_object(params["thinking"], "thinking")
    kind = thinking.get("type")
    if kind not in _KINDS:
        listed = ", ".join(f"'{one}'" for one in _KINDS)
        return f"thinking: Input tag {kind!r} found using 'type' does not match any of the expected tags: {listed}"
    if kind != "enabled":
        return None
    where = "thinking.enabled.budget_tokens"
    budget = as_whole(thinking.get("budget_tokens"), where, least=-(1 << 62))
    if budget is None:
        return f"{where}: Field required"
    if budget < _LEAST_BUDGET:
        raise WrongType(where, f"greater than or equal to {_LEAST_BUDGET}")
    if budget >= params["max_tokens"]:
        return "`max_tokens` must be greater than `thinking.budget_tokens`."
    if params.get("temperature") not in (None, 1):
        return "`temperature` may only be set to 1 when thinking is enabled."
    if as_object(params.get("tool_choice"), "tool_choice").get("type") in ("any", "tool"):
        return "Thinking may not be enabled when tool_choice forces tool use."
    return None


def thinking_tokens(params: Json) -> int:
    """Tokens that go into thinking; they are output, and count towards `max_tokens`."""
    return count_tokens(_THOUGHT) if _is_enabled(params) else 0


def thinking_blocks(params: Json, ids: random.Random) -> list[Json]:
    """What comes before the answer: nothing, or one block, signed and without its text where that is to be omitted."""
    if not _is_enabled(params):
        return []
    thought = "" if params["thinking"].get("display") == "omitted" else _THOUGHT
    # The first bytes are those of recorded signatures.
    signature = b"\x12\xe6\x01" + ids.getrandbits(8 * _SIGNATURE_BYTES).to_bytes(_SIGNATURE_BYTES, "big")
    return [{"type": "thinking", "thinking": thought, "signature": base64.b64encode(signature).decode()}]


def _is_enabled(params: Json) -> bool:
    return (params.get("thinking") or {}).get("type") == "enabled"
