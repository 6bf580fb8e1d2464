"""The JSON schema an OpenAI request asks for, and what `strict` does not allow in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from batchfast.fake.openai_wire import Rejected
from batchfast.fake.shapes import as_schema, as_text

Json = dict[str, Any]
# By whether it is chat.
_NO_WORD = {
    True: "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.",
    False: "Response input messages must contain the word 'json' in some form to use 'text.format' of type"
    " 'json_object'.",
}


def json_schema(response_format: Json, param: str, said: str, *, nested: bool) -> Mapping[str, Any] | None:
    """
    The JSON schema asked for, checked as `strict` demands; {} for any JSON object, None for text.

    Args:
        param: Where the format stands in the body.
        said: The texts of the messages: any JSON object is given only to who speaks of JSON in them.
        nested: As in chat, where the schema is a member of its own.

    Raises:
        Rejected, WrongType: The service would refuse it.
    """
    kind = as_text(response_format.get("type"), f"{param}.type") or "text"
    if kind == "text":
        return None
    if kind == "json_object":
        if "json" not in said.lower():
            raise Rejected(400, _NO_WORD[nested], param="messages" if nested else param)
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
    problem = strict_problem(schema) if given.get("strict") else None
    if problem:
        message = f"Invalid schema for response_format '{given['name']}': {problem}"
        raise Rejected(400, message, code=None if nested else "invalid_json_schema", param=param)
    return schema


def strict_problem(schema: Any, context: tuple[str, ...] = ()) -> str | None:
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
        problem = strict_problem(inner, context + path)
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
