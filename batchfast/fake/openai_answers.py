"""The body that answers an OpenAI request: a chat completion, or a response."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from batchfast.fake.ids import ALPHANUMERIC, letters
from batchfast.fake.openai_body import thought_tokens
from batchfast.fake.openai_tools import Tool, forced_tool
from batchfast.fake.replies import Reply

Json = dict[str, Any]
_SNAPSHOTS = {
    "gpt-3.5-turbo": "gpt-3.5-turbo-0125", "gpt-4o": "gpt-4o-2024-08-06", "gpt-4o-mini":
    "gpt-4o-mini-2024-07-18", "gpt-4.1": "gpt-4.1-2025-04-14", "gpt-4.1-mini": "gpt-4.1-mini-2025-04-14",
    "gpt-4.1-nano": "gpt-4.1-nano-2025-04-14", "gpt-5": "gpt-5-2025-08-07", "gpt-5-mini":
    "gpt-5-mini-2025-08-07", "gpt-5-nano": "gpt-5-nano-2025-08-07",
}  # fmt: skip
_NO_IMAGES = {
    "input_tokens": 0,
    "input_tokens_details": {"image_tokens": 0, "text_tokens": 0},
    "output_tokens": 0,
    "output_tokens_details": {"image_tokens": 0, "text_tokens": 0},
    "total_tokens": 0,
}


def completion(body: Json, endpoint: str, replies: Sequence[Reply], ids: random.Random, when: float) -> Json:
    if endpoint == "/v1/responses":
        return _response_body(body, replies[0], ids, when)
    return _chat_body(body, replies, ids, when)


def _chat_body(body: Json, replies: Sequence[Reply], ids: random.Random, when: float) -> Json:
    tool = forced_tool(body, nested=True)
    choices = [_choice(index, reply, tool, ids) for index, reply in enumerate(replies)]
    read, written = count_usage(body, replies)
    return {
        "id": "chatcmpl-" + letters(ids, 29, ALPHANUMERIC),
        "object": "chat.completion",
        "created": int(when),
        "model": snapshot(str(body["model"])),
        "choices": choices,
        "usage": {
            "prompt_tokens": read,
            "completion_tokens": written,
            "total_tokens": read + written,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": thought_tokens(body) * len(replies),
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        },
        "service_tier": "default",
        "system_fingerprint": None,
    }


def _choice(index: int, reply: Reply, tool: Tool | None, ids: random.Random) -> Json:
    refused = reply.finish == "refusal"
    message: Json = {
        "role": "assistant",
        "content": None if refused or tool is not None else reply.text,
    }
    finish = "length" if reply.finish == "length" else "stop"
    if tool is not None and not refused:
        function = {"name": tool.name, "arguments": reply.text}
        message["tool_calls"] = [{"id": _call_id(ids), "type": "function", "function": function}]
        # Who asked for it by name hears of an ordinary stop.
        finish = "tool_calls" if finish == "stop" and not tool.named else finish
    message |= {"refusal": reply.text if refused else None, "annotations": []}
    return {"index": index, "message": message, "logprobs": None, "finish_reason": finish}


def _response_body(body: Json, reply: Reply, ids: random.Random, when: float) -> Json:
    cut = reply.finish == "length"
    status = "incomplete" if cut else "completed"
    text = body.get("text") or {}
    read, written = count_usage(body, [reply])
    return {
        "id": f"resp_{ids.getrandbits(200):050x}",
        "object": "response",
        "created_at": int(when),
        "status": status,
        "background": False,
        "billing": {"payer": "developer"},
        "completed_at": None if cut else int(when) + 1,
        "error": None,
        "frequency_penalty": 0.0,
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "max_tool_calls": body.get("max_tool_calls"),
        "model": snapshot(str(body["model"])),
        "moderation": None,
        "output": _output(body, reply, status, ids),
        "parallel_tool_calls": body.get("parallel_tool_calls") is not False,
        "presence_penalty": 0.0,
        "previous_response_id": body.get("previous_response_id"),
        "prompt_cache_key": body.get("prompt_cache_key"),
        "prompt_cache_retention": body.get("prompt_cache_retention"),
        "reasoning": {"effort": None, "summary": None, **(body.get("reasoning") or {})},
        "safety_identifier": body.get("safety_identifier"),
        "service_tier": "default",
        "store": body.get("store", True),
        "temperature": body.get("temperature", 1.0),
        "text": {
            "format": text.get("format") or {"type": "text"},
            "verbosity": text.get("verbosity") or "medium",
        },
        "tool_choice": body.get("tool_choice") or "auto",
        "tool_usage": {"image_gen": _NO_IMAGES, "web_search": {"num_requests": 0}},
        "tools": body.get("tools") or [],
        "top_logprobs": body.get("top_logprobs", 0),
        "top_p": body.get("top_p", 1.0),
        "truncation": body.get("truncation", "disabled"),
        "usage": {
            "input_tokens": read,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": written,
            "output_tokens_details": {"reasoning_tokens": thought_tokens(body)},
            "total_tokens": read + written,
        },
        "user": body.get("user"),
        "metadata": body.get("metadata") or {},
    }


def _output(body: Json, reply: Reply, status: str, ids: random.Random) -> list[Json]:
    """What a response consists of: its reasoning, then a call of a function or a message."""
    thought: Json = {"id": _item_id("rs", ids), "type": "reasoning", "summary": []}
    tool = forced_tool(body, nested=False)
    part: Json = {"type": "output_text", "annotations": [], "logprobs": [], "text": reply.text}
    if reply.finish == "refusal":
        part = {"type": "refusal", "refusal": reply.text}
    said: Json = {
        "id": _item_id("msg", ids),
        "type": "message",
        "status": status,
        "content": [part],
        "role": "assistant",
    }
    if tool is not None and reply.finish != "refusal":
        said = {
            "id": _item_id("fc", ids),
            "type": "function_call",
            "status": status,
            "arguments": reply.text,
            "call_id": _call_id(ids),
            "name": tool.name,
        }
    return [thought, said] if thought_tokens(body) else [said]


def _item_id(kind: str, ids: random.Random) -> str:
    return f"{kind}_{ids.getrandbits(200):050x}"


def _call_id(ids: random.Random) -> str:
    return "call_" + letters(ids, 24, ALPHANUMERIC)


def count_usage(body: Json, replies: Sequence[Reply]) -> tuple[int, int]:
    """Tokens read and written, reasoning among them: several choices share one prompt."""
    return replies[0].input_tokens, sum(reply.output_tokens + thought_tokens(body) for reply in replies)


def snapshot(model: str) -> str:
    """The dated model behind an alias."""
    return _SNAPSHOTS.get(model, model)
