"""
What an OpenAI request body asks for, what is wrong with it, and the body that answers it: chat and responses.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from batchfast.fake.ids import ALPHANUMERIC, letters
from batchfast.fake.openai_wire import wrong_type
from batchfast.fake.replies import Ask, Reply
from batchfast.fake.shapes import WrongType, as_number, as_object, as_objects, as_parts, as_schema, as_text, as_whole

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


class Rejected(Exception):
    """A request body the service would not take: status, and the fields of the error."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = {
            "error": {"message": message, "type": kind, "param": param, "code": code},
        }


def read_asks(body: Json, endpoint: str) -> list[Ask]:
    """What a request body asks for, one `Ask` per choice. Raises Rejected."""
    if endpoint not in _ANSWERED:
        raise Rejected(400, f"The fake answers only {', '.join(_ANSWERED)}.", code="unsupported_endpoint")
    chat = endpoint == "/v1/chat/completions"
    for name in ("model", "messages" if chat else "input"):
        if not body.get(name):
            raise Rejected(400, f"Missing required parameter: '{name}'.", code="missing_required_parameter", param=name)
    try:
        return _checked_asks(body, chat=chat)
    except WrongType as exc:
        raise Rejected(400, wrong_type(exc), code="invalid_type", param=exc.where) from None


def _checked_asks(body: Json, *, chat: bool) -> list[Ask]:
    model = as_text(body["model"], "model") or ""
    if model.startswith("no-such-"):
        message = f"The model `{model}` does not exist or you do not have access to it."
        raise Rejected(404, message, code="model_not_found")
    if body.get("stream"):
        raise Rejected(400, "The fake does not stream, and a batch cannot.", code="unsupported_value", param="stream")
    for name in body:
        if name not in (_CHAT_PARAMETERS if chat else _RESPONSES_PARAMETERS):
            raise Rejected(400, f"Unknown parameter: '{name}'.", code="unknown_parameter", param=name)
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
    schema = _schema(as_object(body.get("response_format"), "response_format"), "response_format", nested=True)
    older = as_whole(body.get("max_tokens"), "max_tokens")
    limit = as_whole(body.get("max_completion_tokens", older), "max_completion_tokens")
    seed = as_whole(body.get("seed"), "seed", least=-(1 << 63))
    as_number(body.get("temperature"), "temperature")
    choices = range(as_whole(body.get("n"), "n", most=_MAX_CHOICES) or 1)
    return [Ask(model, system, user, schema, limit, seed, choice) for choice in choices]


def _responses_ask(body: Json, model: str) -> Ask:
    messages = body["input"]
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    system, user = _split_roles(messages, "input")
    system = "\n".join(filter(None, (as_text(body.get("instructions"), "instructions"), system)))
    wanted = as_object(as_object(body.get("text"), "text").get("format"), "text.format")
    schema = _schema(wanted, "text.format", nested=False)
    as_object(body.get("reasoning"), "reasoning")
    as_number(body.get("temperature"), "temperature")
    return Ask(model, system, user, schema, as_whole(body.get("max_output_tokens"), "max_output_tokens"))


def _split_roles(messages: Any, param: str) -> tuple[str, str]:
    """The texts of the instructions, and of the rest."""
    texts: dict[bool, list[str]] = {True: [], False: []}
    for index, one in enumerate(as_objects(messages, param)):
        role = as_text(one.get("role"), f"{param}[{index}].role")
        texts[role in ("system", "developer")].append(as_parts(one.get("content"), f"{param}[{index}].content"))
    return "\n".join(texts[True]), "\n".join(texts[False])


def _schema(response_format: Json, param: str, *, nested: bool) -> Mapping[str, Any] | None:
    """The JSON schema asked for, checked as `strict` demands; {} for any JSON object, None for text."""
    kind = as_text(response_format.get("type"), f"{param}.type") or "text"
    if kind == "text":
        return None
    if kind == "json_object":
        return {}
    given = response_format.get("json_schema") if nested else response_format
    if kind != "json_schema" or not isinstance(given, dict):
        raise Rejected(400, f"Invalid value for '{param}.type': {kind!r}.", code="invalid_value", param=param)
    for name in ("name", "schema"):
        if name not in given:
            where = f"{param}.json_schema.{name}" if nested else f"{param}.{name}"
            raise Rejected(
                400, f"Missing required parameter: '{where}'.", code="missing_required_parameter", param=where
            )
    where = f"{param}.json_schema" if nested else param
    as_text(given["name"], f"{where}.name")
    schema = as_schema(given["schema"], f"{where}.schema")
    problem = _strict_problem(schema, ()) if given.get("strict") else None
    if problem:
        message = f"Invalid schema for response_format '{given['name']}': {problem}"
        raise Rejected(400, message, code=None if nested else "invalid_json_schema", param=param)
    return schema


def _strict_problem(schema: Any, context: tuple[str, ...]) -> str | None:
    """The first thing in a schema that `strict` does not allow, in the service's words."""
    if not isinstance(schema, dict):
        return None
    where = f"In context={context}"
    properties = schema.get("properties")
    if schema.get("type") == "object" or properties is not None:
        if schema.get("additionalProperties") is not False:
            return f"{where}, 'additionalProperties' is required to be supplied and to be false."
        missing = [name for name in properties or () if name not in schema.get("required", ())]
        if missing:
            return (
                f"{where}, 'required' is required to be supplied and to be an array including every key in properties."
                f" Missing '{missing[0]}'."
            )
    for path, inner in _inner_schemas(schema):
        problem = _strict_problem(inner, context + path)
        if problem:
            return problem
    return None


def _inner_schemas(schema: Json) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key in ("properties", "$defs", "definitions"):
        for name, inner in (schema.get(key) or {}).items():
            yield (key, name), inner
    if "items" in schema:
        yield ("items",), schema["items"]
    for number, inner in enumerate(schema.get("anyOf") or ()):
        yield ("anyOf", str(number)), inner


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
    read, written = count_usage(replies)
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
                "reasoning_tokens": 0,
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
    text = body.get("text") or {}
    read, written = count_usage([reply])
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
        "output": [message],
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
        "tools": body.get("tools", []),
        "top_logprobs": body.get("top_logprobs", 0),
        "top_p": body.get("top_p", 1.0),
        "truncation": body.get("truncation", "disabled"),
        "usage": {
            "input_tokens": read,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": written,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": read + written,
        },
        "user": body.get("user"),
        "metadata": body.get("metadata") or {},
    }


def count_usage(replies: Sequence[Reply]) -> tuple[int, int]:
    """Tokens read and written: several choices share one prompt."""
    return replies[0].input_tokens, sum(reply.output_tokens for reply in replies)


def snapshot(model: str) -> str:
    """The dated model behind an alias."""
    return _SNAPSHOTS.get(model, model)
