"""
What came from outside, read as JSON and checked to be of the shape that is looked for. Knows no provider's words.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

Json = dict[str, Any]

# As deep as protocol buffers go; Python's own recursion ends not far behind it.
MAX_NESTING = 100
_MAX_COUNT = 100_000  # of items or characters a schema may demand: the fake writes them all
_MAX_NUMBER = 1e15
_MAX_SCHEMAS = 5000
# Where in a schema there are schemas: by name, and as they are.
SCHEMA_MAPS = ("properties", "patternProperties", "dependentSchemas", "$defs", "definitions")
_SCHEMAS = (
    "items", "additionalItems", "unevaluatedItems", "contains", "additionalProperties", "unevaluatedProperties",
    "propertyNames", "not", "if", "then", "else",
)  # fmt: skip
# These hold values and names, which may look like schemas.
LITERALS = ("const", "enum", "default", "examples", "example", "dependentRequired")
_COUNTS = (
    "minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties", "minContains", "maxContains",
)  # fmt: skip
_NUMBERS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")


class WrongType(Exception):
    """A member is not what it must be. `where` is its path, `expected` what belongs there, like "an object"."""

    def __init__(self, where: str, expected: str) -> None:
        super().__init__(f"{where}: expected {expected}")
        self.where = where
        self.expected = expected


def parse_json(raw: str | bytes) -> Any:
    """A JSON value. ValueError also for what Python's parser takes and services do not: see `check_json`."""
    try:
        value = json.loads(raw, parse_constant=refuse_constant)
    except RecursionError as exc:
        raise ValueError("nested too deeply") from exc
    check_json(value)
    return value


def refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def check_json(value: Any) -> None:
    """
    Raises ValueError for nesting beyond `MAX_NESTING`, and for what no answer could repeat: lone surrogates, and
    numbers like 1e999 that no float holds.
    """
    if _is_deeper(value, MAX_NESTING):
        raise ValueError("nested too deeply")
    if r"\ud" in json.dumps(value, allow_nan=False):
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as exc:
            raise ValueError("a string is not valid Unicode") from exc


def _is_deeper(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(one, levels - 1) for one in inner)


# One member. Absent and null are the same here: None gives the empty one, or None.


def as_object(value: Any, where: str) -> Json:
    if value is not None and not isinstance(value, dict):
        raise WrongType(where, "an object")
    return value or {}


def as_list(value: Any, where: str) -> list[Any]:
    if value is not None and not isinstance(value, list):
        raise WrongType(where, "an array")
    return value or []


def as_objects(value: Any, where: str) -> list[Json]:
    objects = as_list(value, where)
    for index, one in enumerate(objects):
        if not isinstance(one, dict):
            raise WrongType(f"{where}[{index}]", "an object")
    return objects


def as_text(value: Any, where: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise WrongType(where, "a string")
    return value


def as_whole(value: Any, where: str, *, least: int = 1, most: int = 1 << 62, strings: bool = False) -> int | None:
    """
    A whole number within bounds.

    Args:
        strings: Digits in a string are taken too, as protocol buffers write an int64.
    """
    if strings and isinstance(value, str) and value.removeprefix("-").isdecimal() and len(value) < 20:
        value = int(value)
    if value is None:
        return None
    if type(value) is not int:
        raise WrongType(where, "an integer")
    if not least <= value <= most:
        raise WrongType(where, f"an integer of at least {least}" if value < least else f"an integer up to {most}")
    return value


def as_number(value: Any, where: str, *, least: float = -_MAX_NUMBER, most: float = _MAX_NUMBER) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _MAX_NUMBER:
        raise WrongType(where, "a number")
    if not least <= value <= most:
        raise WrongType(where, f"a number between {least:g} and {most:g}")
    return value


def as_parts(value: Any, where: str) -> str:
    """The text of a message: a string, or an array of objects some of which have a `text`."""
    if value is None or isinstance(value, str):
        return value or ""
    if not isinstance(value, list):
        raise WrongType(where, "a string or an array of objects")
    parts = as_objects(value, where)
    return "\n".join(as_text(one.get("text"), f"{where}[{index}].text") or "" for index, one in enumerate(parts))


# JSON schemas


def as_schema(value: Any, where: str) -> Json:
    """
    A JSON schema, in the usual spelling or Gemini's, that an answer can be made for; {} for none.

    Raises:
        WrongType: A keyword has a value of the wrong type or size, or a reference leads nowhere or back to itself.
    """
    schema = as_object(value, where)
    _check_schema(json.dumps(schema), where)
    return schema


@lru_cache(maxsize=256)  # all lines of a batch have the same one, as a rule
def _check_schema(schema_json: str, where: str) -> None:
    schema = json.loads(schema_json)
    _SchemaCheck(schema).check(schema, where, ())


def find_reference(root: Mapping[str, Any], reference: str) -> Json | bool:
    """The schema a `$ref` means. Raises KeyError if it is none in this document."""
    place, _, pointer = reference.partition("#")
    target: Any = root if place in ("", root.get("$id")) else _named_schema(root, "$id", place)
    if pointer and not pointer.startswith("/"):
        target = _named_schema(target, "$anchor", pointer)
        pointer = ""
    for part in unquote(pointer).split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(target, list) and name.isdecimal() and int(name) < len(target):
            target = target[int(name)]
        elif isinstance(target, dict):
            target = target[name]
        else:
            raise KeyError(reference)
    if not isinstance(target, dict | bool):
        raise KeyError(reference)
    return target


def _named_schema(root: Any, keyword: str, name: str) -> Any:
    """The first schema of that `$anchor` or `$id`. Raises KeyError if there is none."""
    queue = [root]
    while queue:
        node = queue.pop()
        if isinstance(node, dict) and node.get(keyword) == name:
            return node
        if isinstance(node, dict | list):
            queue.extend(node.values() if isinstance(node, dict) else node)
    raise KeyError(name)


class _SchemaCheck:
    def __init__(self, root: Json) -> None:
        self._root = root
        self._seen: set[int] = set()

    def check(self, schema: Any, where: str, around: tuple[int, ...]) -> None:
        """`around` are the schemas that stand in for each other here, without a level of the answer between."""
        if isinstance(schema, bool):
            return
        if not isinstance(schema, dict):
            raise WrongType(where, "a schema")
        if id(schema) in around or len(around) > MAX_NESTING:
            raise WrongType(where, "a schema that does not refer to itself")
        if id(schema) in self._seen:
            return
        for name, inner in self._same_level(schema, where):
            self.check(inner, name, (*around, id(schema)))
        self._seen.add(id(schema))
        if len(self._seen) > _MAX_SCHEMAS:
            raise WrongType(where, "a smaller schema")
        self._check_values(schema, where)
        for name, inner in self._next_level(schema, where):
            self.check(inner, name, ())

    def _same_level(self, schema: Json, where: str) -> Iterator[tuple[str, Any]]:
        if "$ref" in schema:
            reference = schema["$ref"]
            if not isinstance(reference, str):
                raise WrongType(f"{where}.$ref", "a string")
            try:
                yield f"{where}.$ref", find_reference(self._root, reference)
            except KeyError:
                raise WrongType(f"{where}.$ref", "a reference within the schema") from None
        for key in ("anyOf", "oneOf", "allOf"):
            for index, one in enumerate(_present_list(schema, key, where)):
                yield f"{where}.{key}[{index}]", one
        for key in ("if", "then", "else"):
            if key in schema:
                yield f"{where}.{key}", schema[key]
        for name, one in _present_object(schema, "dependentSchemas", where).items():
            yield f"{where}.dependentSchemas.{name}", one

    def _next_level(self, schema: Json, where: str) -> Iterator[tuple[str, Any]]:
        for key in SCHEMA_MAPS:
            for name, one in _present_object(schema, key, where).items():
                yield f"{where}.{key}.{name}", one
        for key in _SCHEMAS:
            # Draft 7 writes the schemas of a tuple where later drafts have the one of the rest.
            if key == "items" and isinstance(schema.get(key), list):
                yield from ((f"{where}.items[{index}]", one) for index, one in enumerate(schema[key]))
            elif key in schema:
                yield f"{where}.{key}", schema[key]
        for index, one in enumerate(_present_list(schema, "prefixItems", where)):
            yield f"{where}.prefixItems[{index}]", one

    def _check_values(self, schema: Json, where: str) -> None:
        kind = schema.get("type", "")
        if not all(isinstance(one, str) for one in (kind if isinstance(kind, list) else [kind])):
            raise WrongType(f"{where}.type", "a string or an array of strings")
        _present_list(schema, "enum", where)
        dependent = _present_object(schema, "dependentRequired", where)
        for key, names in (("required", schema.get("required", [])), *dependent.items()):
            if not isinstance(names, list) or not all(isinstance(one, str) for one in names):
                raise WrongType(f"{where}.{key}", "an array of strings")
        for key in ("pattern", "format", "$id", "$anchor"):
            if not isinstance(schema.get(key, ""), str):
                raise WrongType(f"{where}.{key}", "a string")
        for key in _COUNTS:
            least_only = key.startswith("min")
            if key in schema and schema[key] is None:
                raise WrongType(f"{where}.{key}", "an integer")
            as_whole(
                schema.get(key), f"{where}.{key}", least=0, most=_MAX_COUNT if least_only else 1 << 62, strings=True
            )
        for key in _NUMBERS:
            if key in schema and schema[key] is None:
                raise WrongType(f"{where}.{key}", "a number")
            as_number(schema.get(key), f"{where}.{key}")
        if "multipleOf" in schema and not schema["multipleOf"] >= 1e-9:
            raise WrongType(f"{where}.multipleOf", "a number above 0")


def _present_list(schema: Json, key: str, where: str) -> list[Any]:
    if key not in schema:
        return []
    if not isinstance(schema[key], list):
        raise WrongType(f"{where}.{key}", "an array")
    return list(schema[key])


def _present_object(schema: Json, key: str, where: str) -> Json:
    found = schema.get(key, {})
    if not isinstance(found, dict):
        raise WrongType(f"{where}.{key}", "an object")
    return found
