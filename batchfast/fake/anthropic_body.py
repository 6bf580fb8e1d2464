"""
What an Anthropic request's parameters ask for, what is wrong with them, and the message that answers them.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from typing import Any

from batchfast.fake.anthropic_thinking import check_thinking, thinking_blocks, thinking_tokens
from batchfast.fake.ids import ALPHANUMERIC, letters
from batchfast.fake.replies import Ask, Reply
from batchfast.fake.shapes import WrongType, as_number, as_object, as_objects, as_parts, as_schema, as_text, as_whole

Json = dict[str, Any]
_FIRST_VERSION = "2023-06-01"
_SNAPSHOTS = {
    "claude-haiku-4-5": "claude-haiku-4-5-20251001", "claude-sonnet-4-5": "claude-sonnet-4-5-20250929",
    "claude-opus-4-5": "claude-opus-4-5-20251101", "claude-opus-4-1": "claude-opus-4-1-20250805",
    "claude-sonnet-4-0": "claude-sonnet-4-20250514", "claude-opus-4-0": "claude-opus-4-20250514",
}  # fmt: skip
_NO_STRUCTURED_OUTPUT = re.compile(r"claude-(instant|[123]|(sonnet|opus)-4-(0|20250514))")
_PARAMETERS = frozenset({
    "model", "max_tokens", "messages", "cache_control", "container", "context_management", "inference_geo",
    "mcp_servers", "metadata", "output_config", "service_tier", "speed", "stop_sequences", "stream",
    "system", "temperature", "thinking", "tool_choice", "tools", "top_k", "top_p", "user_profile_id",
})  # fmt: skip
_SAMPLING = ("temperature", "top_p", "top_k")
_UNSUPPORTED_KEYWORDS = (
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength",
    "maxItems", "uniqueItems", "minProperties", "maxProperties",
)  # fmt: skip


Problem = tuple[int, str]


def message_body(params: Json, reply: Reply, ids: random.Random, *, tier: str) -> Json:
    refused = reply.finish == "refusal"
    stop = {"stop": "end_turn", "length": "max_tokens", "refusal": "refusal"}[reply.finish]
    answered: list[Json] = [] if refused else [{"type": "text", "text": reply.text}]
    tool = _forced_tool(params)
    if tool is not None and not refused:
        called = {"id": "toolu_" + new_id(ids), "name": tool["name"], "input": reply.value or {}}
        answered = [{"type": "tool_use", **called}]
        stop = "tool_use" if reply.finish == "stop" else stop
    return {
        "model": _SNAPSHOTS.get(params["model"], params["model"]),
        "id": "msg_" + new_id(ids),
        "type": "message",
        "role": "assistant",
        "content": [*thinking_blocks(params, ids), *answered],
        "stop_reason": stop,
        "stop_sequence": None,
        "stop_details": {"type": "refusal", "category": None, "explanation": None} if refused else None,
        "usage": {
            "input_tokens": reply.input_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
            "output_tokens": count_output(params, reply),
            "output_tokens_details": {"thinking_tokens": thinking_tokens(params)},
            "service_tier": tier,
            "inference_geo": "global",
        },
    }


def count_output(params: Json, reply: Reply) -> int:
    """Tokens written, thinking among them."""
    return reply.output_tokens + thinking_tokens(params)


def read_ask(params: Json) -> Ask:
    messages = [_text(one.get("content")) for one in params["messages"]]
    tool = _forced_tool(params)
    if tool is not None:
        schema: Mapping[str, Any] | None = tool.get("input_schema") or {}
    else:
        schema = ((params.get("output_config") or {}).get("format") or {}).get("schema")
    system = _text(params.get("system"))
    return Ask(params["model"], system, "\n".join(messages), schema, params["max_tokens"] - thinking_tokens(params))


def _text(content: object) -> str:
    if isinstance(content, list):
        return "\n".join(str(block.get("text", "")) for block in content if isinstance(block, dict))
    return content if isinstance(content, str) else ""


def _forced_tool(params: Json) -> Json | None:
    """The tool the request must be answered with, if any."""
    choice = params.get("tool_choice") or {}
    tools: list[Json] = params.get("tools") or []
    if choice.get("type") == "any" and tools:
        return tools[0]
    if choice.get("type") != "tool":
        return None
    return next((tool for tool in tools if tool.get("name") == choice.get("name")), None)


def find_problem(params: Json, version: str) -> Problem | None:
    """The status and message the service would refuse these parameters with."""
    try:
        return _find_problem(params, version)
    except WrongType as exc:
        return 400, f"{exc.where}: Input should be {exc.expected}"


def _find_problem(params: Json, version: str) -> Problem | None:
    for name in ("model", "messages", "max_tokens"):
        if params.get(name) is None:
            return 400, f"{name}: Field required"
    for name in params:
        if name not in _PARAMETERS or (name in _SAMPLING and version > _FIRST_VERSION):
            return 400, f"{name}: Extra inputs are not permitted"
    as_whole(params["max_tokens"], "max_tokens")
    if params.get("stream"):
        return 400, "stream: the fake does not stream, and a batch cannot"
    model = as_text(params["model"], "model") or ""
    as_number(params.get("temperature"), "temperature", least=0, most=1)
    as_number(params.get("top_p"), "top_p", least=0, most=1)
    as_whole(params.get("top_k"), "top_k", least=0)
    _check_stops(params.get("stop_sequences"))
    as_parts(params.get("system"), "system")
    _check_tools(params)
    if model.startswith("no-such-"):
        return 404, f"model: {model}"
    wrong = check_thinking(params) or _wrong_messages(params["messages"]) or _wrong_output(params, model)
    choice = params.get("tool_choice") or {}
    if wrong is None and choice.get("type") == "tool" and _forced_tool(params) is None:
        wrong = f"tool_choice: Tool '{choice.get('name')}' not found in provided tools"
    return (400, wrong) if wrong else None


def _check_stops(stops: object) -> None:
    if stops is not None and not (isinstance(stops, list) and all(isinstance(one, str) for one in stops)):
        raise WrongType("stop_sequences", "a valid list of strings")


def _check_tools(params: Json) -> None:
    for index, tool in enumerate(as_objects(params.get("tools"), "tools")):
        if not as_text(tool.get("name"), f"tools.{index}.name"):
            raise WrongType(f"tools.{index}.name", "a valid string")
        as_schema(tool.get("input_schema"), f"tools.{index}.input_schema")
    choice = as_object(params.get("tool_choice"), "tool_choice")
    as_text(choice.get("type"), "tool_choice.type")
    as_text(choice.get("name"), "tool_choice.name")


def _wrong_messages(messages: object) -> str | None:
    if not isinstance(messages, list) or not messages:
        return "messages: at least one message is required"
    for index, one in enumerate(messages):
        if not isinstance(one, dict) or one.get("role") not in ("user", "assistant"):
            return f"messages.{index}.role: Input should be 'user' or 'assistant'"
        if not as_parts(one.get("content"), f"messages.{index}.content") and not one.get("content"):
            return f"messages.{index}: user messages must have non-empty content"
    return None


def _wrong_output(params: Json, model: str) -> str | None:
    config = params.get("output_config")
    if config is None:
        return None
    if not isinstance(config, dict) or any(key not in ("format", "effort") for key in config):
        return "output_config: Extra inputs are not permitted"
    wanted = config.get("format")
    if wanted is None:
        return None
    if _NO_STRUCTURED_OUTPUT.match(model):
        return f"output_config.format: structured outputs are not supported by {model}"
    if not isinstance(wanted, dict) or wanted.get("type") != "json_schema" or "schema" not in wanted:
        return "output_config.format: Input should be a json_schema with a schema"
    extra = next((key for key in wanted if key not in ("type", "schema")), None)
    if extra is not None:
        return f"output_config.format.{extra}: Extra inputs are not permitted"
    problem = _wrong_schema(as_schema(wanted["schema"], "output_config.format.schema"))
    return f"output_config.format.schema: {problem}" if problem else None


def _wrong_schema(schema: object) -> str | None:
    """The first thing in a schema that the service's constrained output cannot keep."""
    if not isinstance(schema, dict):
        return None
    kind = schema.get("type", "any")
    for keyword in _UNSUPPORTED_KEYWORDS:
        if keyword in schema:
            return f"For '{kind}' type, property '{keyword}' is not supported"
    if int(schema.get("minItems", 0)) > 1:
        return f"For '{kind}' type, 'minItems' values other than 0 or 1 are not supported"
    if kind == "object" and schema.get("additionalProperties") is not False:
        return "For 'object' type, 'additionalProperties' must be explicitly set to false"
    inner: list[object] = [schema.get("items"), *schema.get("anyOf", ()), *schema.get("allOf", ())]
    for key in ("properties", "$defs", "definitions"):
        inner += (schema.get(key) or {}).values()
    return next((problem for problem in map(_wrong_schema, inner) if problem), None)


def new_id(source: random.Random) -> str:
    return "01" + letters(source, 22, ALPHANUMERIC)
