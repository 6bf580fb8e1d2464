"""What OpenAI's models answer: a chat completion, a response and vectors, the same in a batch and at once."""

from __future__ import annotations

import re
from typing import Any

from tests.fidelity.shapes import Map, Where

CALL_ID = re.compile("call_[A-Za-z0-9]{24}")
_FUNCTION = {"name": str, "arguments": str}
_CHAT = {
    "id": re.compile(r"chatcmpl-[A-Za-z0-9]+"),
    "object": "chat.completion",
    "created": int,
    "model": str,
    "choices": [
        {
            "index": int,
            "message": {
                "role": "assistant",
                "content": (str, None),
                "tool_calls optional": [{"id": CALL_ID, "type": "function", "function": _FUNCTION}],
                "refusal": (str, None),
                "annotations since 2025-03": [object],
            },
            "logprobs": None,
            "finish_reason": re.compile("stop|length|content_filter|tool_calls"),
        }
    ],
    "usage": {
        "prompt_tokens": int,
        "completion_tokens": int,
        "total_tokens": int,
        "prompt_tokens_details": {"cached_tokens": int, "cache_write_tokens optional": int, "audio_tokens": int},
        "completion_tokens_details": {
            "reasoning_tokens": int,
            "audio_tokens": int,
            "accepted_prediction_tokens": int,
            "rejected_prediction_tokens": int,
        },
    },
    "service_tier": "default",  # also in a batch
    "system_fingerprint": (str, None),
}


def _says_one_thing(choice: Any) -> bool:
    message = choice["message"]
    return sum(message.get(name) is not None for name in ("content", "tool_calls", "refusal")) == 1


CHAT = Where(
    _CHAT,
    {
        "each choice is a text, a refusal or calls": lambda one: all(map(_says_one_thing, one["choices"])),
        # Not the other way round: a call asked for by name ends with an ordinary stop.
        "who ends with calls has made some": lambda one: all(
            choice["message"].get("tool_calls") for choice in one["choices"] if choice["finish_reason"] == "tool_calls"
        ),
    },
)
_TEXT = {"type": "output_text", "annotations": [object], "logprobs": [object], "text": str}
_REFUSAL = {"type": "refusal", "refusal": str}
_MESSAGE = {
    "id": re.compile("msg_[0-9a-f]+"),
    "type": "message",
    "status": str,
    "content": [(_TEXT, _REFUSAL)],
    "phase optional": str,
    "role": "assistant",
}
_REASONING = {
    "id": re.compile("rs_[0-9a-f]+"),
    "type": "reasoning",
    "content optional": [object],
    "encrypted_content optional": (str, None),
    "summary": [object],
}
# As a published answer of 2025 has it, in this order.
_FUNCTION_CALL = {
    "id": re.compile("fc_[0-9a-f]+"),
    "type": "function_call",
    "status": re.compile("completed|incomplete"),
    "arguments": str,
    "call_id": CALL_ID,
    "name": str,
}
_KINDS = {"image_tokens": int, "text_tokens": int}
_IMAGES = {
    "input_tokens": int,
    "input_tokens_details": _KINDS,
    "output_tokens": int,
    "output_tokens_details": _KINDS,
    "total_tokens": int,
}
RESPONSE = {
    "id": re.compile("resp_[0-9a-f]+"),
    "object": "response",
    "created_at": int,
    "status": re.compile("completed|incomplete|failed"),
    "access_programs optional": Map(str),
    "background": bool,
    "billing": {"payer": "developer"},
    "completed_at since 2026": (int, None),
    "error": (None, {"code": str, "message": str}),
    "frequency_penalty since 2026": float,
    "incomplete_details": (None, {"reason": str}),
    "instructions": (str, None),
    "max_output_tokens": (int, None),
    "max_tool_calls": (int, None),
    "model": str,
    "moderation since 2026": None,
    "output": [(_MESSAGE, _REASONING, _FUNCTION_CALL)],
    "parallel_tool_calls": bool,
    "presence_penalty since 2026": float,
    "previous_response_id": (str, None),
    "prompt_cache_key": (str, None),
    "prompt_cache_retention": (str, None),
    "reasoning": {
        "context optional": (str, None),
        "effort": (str, None),
        "mode optional": (str, None),
        "summary": (str, None),
    },
    "safety_identifier": (str, None),
    "service_tier": "default",
    "store": bool,
    "temperature": (float, None),
    "text": {"format": Map(object), "verbosity": str},
    "tool_choice": (str, Map(object)),
    "tool_usage since 2026-08": {"image_gen": _IMAGES, "web_search": {"num_requests": int}},
    "tools": [Map(object)],
    "top_logprobs": int,
    "top_p": (float, None),
    "truncation": str,
    "usage": {
        "input_tokens": int,
        "input_tokens_details": {"cached_tokens": int, "cache_write_tokens optional anywhere": int},
        "output_tokens": int,
        "output_tokens_details": {"reasoning_tokens": int},
        "total_tokens": int,
    },
    "user": (str, None),
    "metadata": Map(str),
}
# No recorded traffic has vectors: the fields are those of the SDK's types.
EMBEDDINGS = Where(
    {
        "object": "list",
        "data": [{"object": "embedding", "embedding": ([float], str), "index": int}],
        "model": str,
        "usage": {"prompt_tokens": int, "total_tokens": int},
    },
    {"its vectors are in the order of the input": lambda one: [v["index"] for v in one["data"]] == _counted(one)},
)


def _counted(one: Any) -> list[int]:
    return list(range(len(one["data"])))
