"""What an OpenAI request body asks for, and what is wrong with it: chat and responses."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from batchfast.fake.openai_schema import json_schema
from batchfast.fake.openai_tools import forced_tool
from batchfast.fake.openai_wire import Rejected, wrong_type
from batchfast.fake.replies import Ask
from batchfast.fake.shapes import WrongType, as_number, as_object, as_objects, as_parts, as_text, as_whole

Json = dict[str, Any]
_ANSWERED = ("/v1/responses", "/v1/chat/completions")
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


def read_asks(body: Json, endpoint: str) -> list[Ask]:
    """What a request body asks for, one `Ask` per choice. Raises Rejected."""
    if endpoint not in _ANSWERED:
        message = f"Unsupported endpoint: '{endpoint}'. Requests can go to {', '.join(_ANSWERED)} and /v1/embeddings."
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
        message = "Unsupported value: 'stream' cannot be true here."
        raise Rejected(400, message, code="unsupported_value", param="stream")
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
    wanted = as_object(body.get("response_format"), "response_format")
    schema = json_schema(wanted, "response_format", f"{system}\n{user}", nested=True)
    tool = forced_tool(body, nested=True)
    older = as_whole(body.get("max_tokens"), "max_tokens")
    limit = as_whole(body.get("max_completion_tokens"), "max_completion_tokens") or older
    as_text(body.get("reasoning_effort"), "reasoning_effort")
    seed = as_whole(body.get("seed"), "seed", least=-(1 << 63))
    choices = range(as_whole(body.get("n"), "n", most=_MAX_CHOICES) or 1)
    schema = schema if tool is None else tool.parameters
    left = None if limit is None else limit - thought_tokens(body)
    return [Ask(model, system, user, schema, left, seed, choice) for choice in choices]


def _responses_ask(body: Json, model: str) -> Ask:
    messages = body["input"]
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    system, user = _split_roles(messages, "input")
    wanted = as_object(as_object(body.get("text"), "text").get("format"), "text.format")
    schema = json_schema(wanted, "text.format", f"{system}\n{user}", nested=False)
    tool = forced_tool(body, nested=False)
    as_text(as_object(body.get("reasoning"), "reasoning").get("effort"), "reasoning.effort")
    limit = as_whole(body.get("max_output_tokens"), "max_output_tokens")
    left = None if limit is None else limit - thought_tokens(body)
    system = "\n".join(filter(None, (as_text(body.get("instructions"), "instructions"), system)))
    return Ask(model, system, user, schema if tool is None else tool.parameters, left)


def _split_roles(messages: Any, param: str) -> tuple[str, str]:
    """The texts of the instructions, and of the rest."""
    texts: dict[bool, list[str]] = {True: [], False: []}
    for index, one in enumerate(as_objects(messages, param)):
        role = as_text(one.get("role"), f"{param}[{index}].role")
        if role is not None and role not in _ROLES:
            raise WrongType(f"{param}[{index}].role", f"one of {', '.join(_ROLES)}")
        texts[role in ("system", "developer")].append(as_parts(one.get("content"), f"{param}[{index}].content"))
    return "\n".join(texts[True]), "\n".join(texts[False])


def thought_tokens(body: Json) -> int:
    """Tokens that go into reasoning before each answer; they count towards its limit."""
    effort = body.get("reasoning_effort") or (body.get("reasoning") or {}).get("effort")
    if not _REASONING.match(str(body["model"])) or effort in ("none", "minimal"):
        return 0
    limit = body.get("max_completion_tokens") or body.get("max_output_tokens")
    return _THOUGHT_TOKENS if limit is None else min(_THOUGHT_TOKENS, limit - 1)
