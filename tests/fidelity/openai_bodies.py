"""What OpenAI's models answer: a chat completion and a response, the same in a batch and at once."""

from __future__ import annotations

import re

from tests.fidelity.shapes import Map

CHAT = {
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
    "output": [(_MESSAGE, _REASONING)],
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
