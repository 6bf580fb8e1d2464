"""
The functions an OpenAI request offers, and the one its answer must call.

A request that leaves the choice to the model is answered with text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
    if choice in (None, "none", "auto"):
        return None
    if not body.get("tools"):
        raise Rejected(400, "Invalid value for 'tool_choice': it is allowed only with 'tools'.", param="tool_choice")
    if choice == "required":
        return next((Tool(name, schema, named=False) for name, schema in offered.items()), None)
    if not isinstance(choice, dict):
        raise Rejected(400, f"Invalid value for 'tool_choice': {choice!r}.", code="invalid_value", param="tool_choice")
    if choice.get("type") != "function":
        return None
    name = as_object(choice.get("function"), "tool_choice.function").get("name") if nested else choice.get("name")
    if not isinstance(name, str):
        raise WrongType("tool_choice.function.name" if nested else "tool_choice.name", "a string")
    if name not in offered:
        raise Rejected(400, f"Tool choice '{name}' not found in 'tools' parameter.", param="tool_choice")
    return Tool(name, offered[name], named=True)


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
        if problem:
            message = f"Invalid schema for function '{name}': {problem}"
            raise Rejected(400, message, code="invalid_function_parameters", param=f"{where}.parameters")
        # Without parameters there is nothing to call it with.
        yield name, schema or {"type": "object"}
