"""
The functions an OpenAI request offers, and the one its answer must call.

A request that leaves the choice to the model is answered with text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from batchfast.fake.openai_schema import strict_problem
from batchfast.fake.openai_wire import Rejected
from batchfast.fake.shapes import WrongType, as_object, as_objects, as_schema, as_text

Json = dict[str, Any]


@dataclass(frozen=True)
class Tool:
    """
    A function to be called.

    Args:
        named: The request asks for it by name, rather than for any of its functions.
    """

    name: str
    parameters: Mapping[str, Any]
    named: bool


def forced_tool(body: Json, *, nested: bool) -> Tool | None:
    """
    The function an answer must call, None where it may be text.

    Args:
        nested: As in chat, where what a tool says of its function is a member of its own.

    Raises:
        Rejected, WrongType: The tools are not well-formed, or the choice names none of them.
    """
    offered = dict(_functions(body, nested=nested))
    choice = body.get("tool_choice")
    left_open = choice in ("none", "auto")
    if choice is None or (left_open and not nested):
        return None
    if not body.get("tools"):
        message = "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified."
        raise Rejected(400, message, param="tool_choice")
    if left_open:
        return None
    if choice == "required":
        return _any_of(offered, offered)
    kind = choice.get("type") if isinstance(choice, dict) else None
    if not isinstance(kind, str):
        raise Rejected(400, f"Invalid value for 'tool_choice': {choice!r}.", code="invalid_value", param="tool_choice")
    if kind == "allowed_tools":
        allowed = as_object(choice.get(kind), f"tool_choice.{kind}") if nested else choice
        names = [_name(one, nested=nested) for one in as_objects(allowed.get("tools"), "tool_choice.tools")]
        return _any_of(names, offered) if allowed.get("mode") == "required" else None
    return _named(choice, offered, nested=nested) if kind == "function" else None


def _any_of(names: Iterable[str], offered: Mapping[str, Mapping[str, Any]]) -> Tool | None:
    """The first of the names that is a function; None where there are only tools of other kinds."""
    return next((Tool(name, offered[name], named=False) for name in names if name in offered), None)


def _named(choice: Json, offered: Mapping[str, Mapping[str, Any]], *, nested: bool) -> Tool:
    name = _name(choice, nested=nested)
    if not name:
        raise WrongType("tool_choice.function.name" if nested else "tool_choice.name", "a string")
    if name not in offered:
        raise Rejected(400, f"Tool choice '{name}' not found in 'tools' parameter.", param="tool_choice")
    return Tool(name, offered[name], named=True)


def _name(choice: Json, *, nested: bool) -> str:
    """What a choice calls its function; "" where it names none."""
    name = as_object(choice.get("function"), "tool_choice.function").get("name") if nested else choice.get("name")
    return name if isinstance(name, str) else ""


def _functions(body: Json, *, nested: bool) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Name and parameters of every function among the tools."""
    for index, tool in enumerate(as_objects(body.get("tools"), "tools")):
        if tool.get("type") != "function":
            continue
        where = f"tools[{index}].function" if nested else f"tools[{index}]"
        function = as_object(tool.get("function"), where) if nested else tool
        name = as_text(function.get("name"), f"{where}.name")
        if not name:
            missing = f"{where}.name"
            message = f"Missing required parameter: '{missing}'."
            raise Rejected(400, message, code="missing_required_parameter", param=missing)
        schema = as_schema(function.get("parameters"), f"{where}.parameters")
        problem = strict_problem(schema) if function.get("strict") else None
        if schema and schema.get("type") != "object":
            problem = f"schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{schema.get('type')}\"'."
        if problem:
            message = f"Invalid schema for function '{name}': {problem}"
            raise Rejected(400, message, code="invalid_function_parameters", param=f"{where}.parameters")
        # Without parameters there is nothing to call it with.
        yield name, schema or {"type": "object"}
