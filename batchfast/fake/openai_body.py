"""
What an OpenAI request body asks for, what is wrong with it, and the body that answers it: chat and responses.
"""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Sequence
from typing import Any

from batchfast.fake.ids import ALPHANUMERIC, letters
from batchfast.fake.openai_schema import json_schema
from batchfast.fake.openai_wire import Rejected, wrong_type
from batchfast.fake.replies import Ask, Reply
from batchfast.fake.shapes import WrongType, as_number, as_object, as_objects, as_parts, as_text, as_whole

Json = dict[str, Any]
_ANSWERED = ("/v1/responses", "/v1/chat/completions")
_SNAPSHOTS = {
    "gpt-3.5-turbo": "gpt-3.5-turbo-0125", "gpt-4o": "gpt-4o-2024-08-06", "gpt-4o-mini":
    "gpt-4o-mini-2024-07-18", "gpt-4.1": "gpt-4.1-2025-04-14", "gpt-4.1-mini": "gpt-4.1-mini-2025-04-14",
    "gpt-4.1-nano": "gpt-4.1-nano-2025-04-14", "gpt-5": "gpt-5-2025-08-07", "gpt-5-mini":
    "gpt-5-mini-2025-08-07", "gpt-5-nano": "gpt-5-nano-2025-08-07",
}  # fmt: skip
_CHAT_PARAMETERS = frozenset({
    "model", "messages", "audio", "frequency_penalty", "function_call", "functions", "logit_bias",
    "logprobs", "max_completion_tokens", "max_tokens", "metadata", "modalities", "n", "parallel_tool_calls",
    "prediction", "presence_penalty", "prompt_cache_key", "prompt_cache_retention", "reasoning_effort",
    "response_format", "safety_identifier", "seed", "service_tier", "stop", "store", "stream",
    "stream_options", "temperature", "tool_choice", "tools", "top_logprobs", "top_p", "user", "verbosity",
    "web_search_options",
})  # fmt: skip
_RESPONSES_PARAMETERS = frozenset({
    "model", "input", "background", "conversation", "include", "instructions", "max_output_tokens",
    "max_tool_calls", "metadata", "parallel_tool_calls", "previous_response_id", "prompt",
    "prompt_cache_key", "prompt_cache_retention", "reasoning", "safety_identifier", "service_tier", "store",
    "stream", "stream_options", "temperature", "text", "tool_choice", "tools", "top_logprobs", "top_p",
    "truncation", "user",
})  # fmt: skip
_REASONING = re.compile(r"o[1-9]|gpt-[56](?!.*-chat)")
_MAX_CHOICES = 128
_RANGES = {"temperature": (0, 2), "top_p": (0, 1), "frequency_penalty": (-2, 2), "presence_penalty": (-2, 2)}
_ROLES = ("developer", "system", "user", "assistant", "tool", "function")
# What a model that reasons spends on it for each answer, where it is not told to spend nothing.
_THOUGHT_TOKENS = 64
_NO_IMAGES = {
    "input_tokens": 0,
    "input_tokens_details": {"image_tokens": 0, "text_tokens": 0},
    "output_tokens": 0,
    "output_tokens_details": {"image_tokens": 0, "text_tokens": 0},
    "total_tokens": 0,
}


def read_asks(body: Json, endpoint: str) -> list[Ask]:
    """What a request body asks for, one `Ask` per choice. Raises Rejected."""
    if endpoint not in _ANSWERED:
        message = f"The fake answers only {', '.join(_ANSWERED)} and /v1/embeddings."
        raise Rejected(400, message, code="unsupported_endpoint")
    chat = endpoint == "/v1/chat/completions"
    needed, known = ("messages", _CHAT_PARAMETERS) if chat else ("input", _RESPONSES_PARAMETERS)
    try:
        return _checked_asks(body, check_members(body, needed, known), chat=chat)
    except WrongType as exc:
        raise Rejected(400, wrong_type(exc), code="invalid_type", param=exc.where) from None


def check_members(body: Json, needed: str, known: Collection[str]) -> str:
    """Which model a body is for. Raises Rejected, WrongType."""
    for name in ("model", needed):
        if not body.get(name):
            raise Rejected(400, f"Missing required parameter: '{name}'.", code="missing_required_parameter", param=name)
    model = as_text(body["model"], "model") or ""
    if model.startswith("no-such-"):
        message = f"The model `{model}` does not exist or you do not have access to it."
        raise Rejected(404, message, code="model_not_found")
    for name in body:
        if name not in known:
            raise Rejected(400, f"Unknown parameter: '{name}'.", code="unknown_parameter", param=name)
    return model


def _checked_asks(body: Json, model: str, *, chat: bool) -> list[Ask]:
    if body.get("stream"):
        raise Rejected(400, "The fake does not stream, and a batch cannot.", code="unsupported_value", param="stream")
    for name, (least, most) in _RANGES.items():
        as_number(body.get(name), name, least=least, most=most)
    if _REASONING.match(model):
        _refuse_sampling(body)
    return _chat_asks(body, model) if chat else [_responses_ask(body, model)]


def _refuse_sampling(body: Json) -> None:
    """Models that reason do not take the older name of the limit, nor any temperature but the default."""
    if body.get("max_tokens") is not None:
        message = (
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
        )
        raise Rejected(400, message, code="unsupported_parameter", param="max_tokens")
    temperature = as_number(body.get("temperature"), "temperature")
    if temperature not in (None, 1):
        message = (
            f"Unsupported value: 'temperature' does not support {temperature} with this model. Only the default (1)"
            " value is supported."
        )
        raise Rejected(400, message, code="unsupported_value", param="temperature")


def _chat_asks(body: Json, model: str) -> list[Ask]:
    system, user = _split_roles(body["messages"], "messages")
    schema = json_schema(as_object(body.get("response_format"), "response_format"), "response_format", nested=True)
    older = as_whole(body.get("max_tokens"), "max_tokens")
    limit = as_whole(body.get("max_completion_tokens", older), "max_completion_tokens")
    seed = as_whole(body.get("seed"), "seed", least=-(1 << 63))
    choices = range(as_whole(body.get("n"), "n", most=_MAX_CHOICES) or 1)
    return [Ask(model, system, user, schema, limit, seed, choice) for choice in choices]


def _responses_ask(body: Json, model: str) -> Ask:
    messages = body["input"]
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    system, user = _split_roles(messages, "input")
    system = "\n".join(filter(None, (as_text(body.get("instructions"), "instructions"), system)))
    wanted = as_object(as_object(body.get("text"), "text").get("format"), "text.format")
    schema = json_schema(wanted, "text.format", nested=False)
    as_object(body.get("reasoning"), "reasoning")
    return Ask(model, system, user, schema, as_whole(body.get("max_output_tokens"), "max_output_tokens"))


def _split_roles(messages: Any, param: str) -> tuple[str, str]:
    """The texts of the instructions, and of the rest."""
    texts: dict[bool, list[str]] = {True: [], False: []}
    for index, one in enumerate(as_objects(messages, param)):
        role = as_text(one.get("role"), f"{param}[{index}].role")
        if role is not None and role not in _ROLES:
            raise WrongType(f"{param}[{index}].role", f"one of {', '.join(_ROLES)}")
        texts[role in ("system", "developer")].append(as_parts(one.get("content"), f"{param}[{index}].content"))
    return "\n".join(texts[True]), "\n".join(texts[False])


def completion(body: Json, endpoint: str, replies: Sequence[Reply], ids: random.Random, when: float) -> Json:
    if endpoint == "/v1/responses":
        return _response_body(body, replies[0], ids, when)
    return _chat_body(body, replies, ids, when)


def _chat_body(body: Json, replies: Sequence[Reply], ids: random.Random, when: float) -> Json:
    choices = []
    for index, reply in enumerate(replies):
        refused = reply.finish == "refusal"
        message: Json = {
            "role": "assistant",
            "content": None if refused else reply.text,
            "refusal": reply.text if refused else None,
            "annotations": [],
        }
        finish = "length" if reply.finish == "length" else "stop"
        choices.append({"index": index, "message": message, "logprobs": None, "finish_reason": finish})
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
                "reasoning_tokens": _thought(body) * len(replies),
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        },
        "service_tier": "default",
        "system_fingerprint": None,
    }


def _response_body(body: Json, reply: Reply, ids: random.Random, when: float) -> Json:
    cut = reply.finish == "length"
    status = "incomplete" if cut else "completed"
    part: Json = {"type": "output_text", "annotations": [], "logprobs": [], "text": reply.text}
    if reply.finish == "refusal":
        part = {"type": "refusal", "refusal": reply.text}
    message = {
        "id": f"msg_{ids.getrandbits(200):050x}",
        "type": "message",
        "status": status,
        "content": [part],
        "role": "assistant",
    }
    thought: Json = {"id": f"rs_{ids.getrandbits(200):050x}", "type": "reasoning", "summary": []}
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
        "output": [thought, message] if _thought(body) else [message],
        "parallel_tool_calls": body.get("parallel_tool_calls", True),
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
            "format": text.get("format", {"type": "text"}),
            "verbosity": text.get("verbosity", "medium"),
        },
        "tool_choice": body.get("tool_choice", "auto"),
        "tool_usage": {"image_gen": _NO_IMAGES, "web_search": {"num_requests": 0}},
        "tools": body.get("tools", []),
        "top_logprobs": body.get("top_logprobs", 0),
        "top_p": body.get("top_p", 1.0),
        "truncation": body.get("truncation", "disabled"),
        "usage": {
            "input_tokens": read,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": written,
            "output_tokens_details": {"reasoning_tokens": _thought(body)},
            "total_tokens": read + written,
        },
        "user": body.get("user"),
        "metadata": body.get("metadata") or {},
    }


def count_usage(body: Json, replies: Sequence[Reply]) -> tuple[int, int]:
    """Tokens read and written, reasoning among them: several choices share one prompt."""
    return replies[0].input_tokens, sum(reply.output_tokens + _thought(body) for reply in replies)


def _thought(body: Json) -> int:
    """Tokens that go into reasoning before each answer."""
    effort = body.get("reasoning_effort") or (body.get("reasoning") or {}).get("effort")
    return _THOUGHT_TOKENS if _REASONING.match(str(body["model"])) and effort not in ("none", "minimal") else 0


def snapshot(model: str) -> str:
    """The dated model behind an alias."""
    return _SNAPSHOTS.get(model, model)
