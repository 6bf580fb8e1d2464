"""
What a JSON schema comes to: at each place of an answer, the ways to satisfy all that applies there.

References, `allOf`, `anyOf`, `oneOf`, `if` and `dependentSchemas` are worked out here, once per schema; what is
left for the filler are `Way`s, lists of plain schemas which all must hold.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice, product
from typing import Any

from batchfast.fake.patterns import compiled
from batchfast.fake.shapes import LITERALS, MAX_NESTING, SCHEMA_MAPS, find_reference

Schema = Mapping[str, Any]
_MAX_WAYS = 64
_TYPES = ("string", "object", "array", "number", "integer", "boolean", "null")
_CONTAINERS = ("object", "array")
# A schema without a type says by these keywords what it is about.
_ABOUT = {
    "object": ("properties", "required", "patternProperties", "additionalProperties", "propertyNames",
               "minProperties", "maxProperties", "dependentRequired"),
    "array": ("items", "prefixItems", "contains", "minItems", "maxItems", "uniqueItems"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
}  # fmt: skip
# What is not kept by construction, and so checked in the finished value.
_CHECKED = frozenset(
    {"oneOf", "not", "if", "dependentRequired", "maxContains", "unevaluatedProperties", "unevaluatedItems"}
)
_HARMLESS = frozenset({"type", "enum", "const", "title", "description", "default", "examples"})


@dataclass(frozen=True, eq=False, slots=True)
class Way:
    """
    One way to satisfy some schemas.

    Args:
        parts: All must hold. Their combining keywords are dealt with.
        kinds: Types allowed, the likeliest first, null last.
        values: The only values allowed; None where there are others.
        checked: Those of the parts which a finished value has to be checked against.
    """

    parts: tuple[Schema, ...]
    kinds: tuple[str, ...]
    values: tuple[Any, ...] | None
    checked: tuple[Schema, ...]

    def most_of(self, key: str, default: Any) -> Any:
        """The greatest value of a keyword, which is the one to keep for lower bounds."""
        return max([part[key] for part in self.parts if key in part], default=default)

    def least_of(self, key: str, default: Any) -> Any:
        return min([part[key] for part in self.parts if key in part], default=default)

    def all_of(self, key: str) -> list[Any]:
        return [part[key] for part in self.parts if key in part]

    def names(self, key: str) -> list[str]:
        """Names in a keyword's arrays or objects, in their order, each once."""
        told = [value for value in self.all_of(key) if isinstance(value, list | dict)]
        return list(dict.fromkeys(name for value in told for name in value))


Ways = tuple[Way, ...]


@dataclass(frozen=True, slots=True)
class Members:
    """The properties an object is told to have, and those it can have, in the order to write them."""

    order: list[str]
    required: list[str]
    optional: list[str]


@lru_cache(maxsize=256)
def plan_for(schema_json: str) -> Plan:
    return Plan(_respelled(json.loads(schema_json)))


class Plan:
    """The ways of one schema, each worked out when it is first asked for."""

    def __init__(self, root: Schema) -> None:
        self._root = root
        self._ways: dict[tuple[int, ...], Ways] = {}
        self._inner: dict[tuple[Way, str | int, int | None], Ways] = {}
        self._members: dict[Way, Members] = {}
        self._heights: dict[Way, float] = {}
        self._validator: Any = None
        self.ways = self.ways_of((root,))

    def ways_of(self, schemas: tuple[Schema | bool, ...]) -> Ways:
        """Ways to satisfy all these schemas, which are part of the root; none if they contradict each other."""
        key = tuple(map(id, schemas))
        if key not in self._ways:
            combined = (sum(parts, ()) for parts in product(*(tuple(self._spread(one)) for one in schemas)))
            made = (self._way(parts) for parts in islice(combined, _MAX_WAYS))
            self._ways[key] = tuple(way for way in made if way is not None)
        return self._ways[key]

    def property_ways(self, way: Way, name: str) -> Ways:
        key = (way, name, None)
        if key not in self._inner:
            self._inner[key] = self.ways_of(tuple(_for_property(way.parts, name)))
        return self._inner[key]

    def may_have(self, way: Way, name: str) -> bool:
        """Whether an object can have a property of this name."""
        names = way.all_of("propertyNames")
        return any(self.height(one) < math.inf for one in self.property_ways(way, name)) and (
            not names or self.accepts(names, name)
        )

    def members(self, way: Way) -> Members:
        if way not in self._members:
            required = way.names("required")
            optional = [name for name in way.names("properties") if name not in required and self.may_have(way, name)]
            dependent = [
                name for names in way.all_of("dependentRequired") for needed in names.values() for name in needed
            ]
            order = list(dict.fromkeys((*way.names("properties"), *required, *dependent)))
            told = way.names("propertyOrdering")
            if told:
                order.sort(key=lambda name: told.index(name) if name in told else len(told))
            self._members[way] = Members(order, required, optional)
        return self._members[way]

    def item_ways(self, way: Way, index: int, contained: int | None = None) -> Ways:
        """
        Args:
            contained: Number of the `contains` among the parts' which the item is there to satisfy.
        """
        index = min(index, max((len(one) for one in way.all_of("prefixItems")), default=0))
        key = (way, index, contained)
        if key not in self._inner:
            more = [] if contained is None else [way.all_of("contains")[contained]]
            self._inner[key] = self.ways_of((*_for_item(way.parts, index), *more))
        return self._inner[key]

    def accepts(self, schemas: Iterable[Schema | bool], value: Any) -> bool:
        """Whether a value satisfies schemas; yes where the validator resolves their `$id`s in another way."""
        from referencing.exceptions import Unresolvable

        try:
            return all(self._checker().evolve(schema=schema).is_valid(value) for schema in schemas)
        except Unresolvable:
            return True

    def height(self, way: Way, around: frozenset[Way] = frozenset()) -> float:
        """Levels of objects and arrays the smallest value has; infinite if it needs itself."""
        if way in self._heights:
            return self._heights[way]
        if way in around:
            return math.inf
        height = 0.0
        if way.values is None and all(kind in _CONTAINERS for kind in way.kinds):
            inner = [min((self.height(one, around | {way}) for one in ways), default=0) for ways in self._needed(way)]
            height = 1 + max(inner, default=0)
        if height < math.inf or not around:
            self._heights[way] = height
        return height

    def _needed(self, way: Way) -> list[Ways]:
        if way.kinds[0] == "object":
            return [self.property_ways(way, name) for name in way.names("required")]
        longest = max((len(one) for one in way.all_of("prefixItems")), default=0)
        return [self.item_ways(way, index) for index in range(min(way.most_of("minItems", 0), longest + 1))]

    def _spread(self, schema: Schema | bool, depth: int = 0) -> Iterator[tuple[Schema, ...]]:
        """The ways through a schema's combining keywords, as the plain schemas met on each."""
        if schema is False:
            return
        if schema is True or depth > MAX_NESTING:
            yield ()
            return

        def spread(*schemas: Schema | bool) -> list[tuple[Schema, ...]]:
            ways = product(*(self._spread(one, depth + 1) for one in schemas))
            return [sum(parts, ()) for parts in islice(ways, _MAX_WAYS)]

        choices = [spread(*schema.get("allOf", ()))]
        if "$ref" in schema:
            choices.append(spread(find_reference(self._root, schema["$ref"])))
        options = [schema[key] for key in ("anyOf", "oneOf") if schema.get(key)]
        choices += [[way for one in several for way in spread(one)] for several in options]
        if "if" in schema:
            choices.append(spread(schema["if"], schema.get("then", True)) + spread(schema.get("else", True)))
        for name, inner in schema.get("dependentSchemas", {}).items():
            choices.append([({"required": [name]}, *way) for way in spread(inner)] + [({"properties": {name: False}},)])
        for parts in islice(product(*choices), _MAX_WAYS):
            yield (schema, *sum(parts, ()))

    def _way(self, parts: tuple[Schema, ...]) -> Way | None:
        """None if the parts contradict each other at first sight."""
        kinds = _kinds(parts)
        values = _values(parts)
        if values is not None:
            values = tuple(value for value in values if any(_is_kind(value, kind) for kind in kinds))
            if not all(_HARMLESS.issuperset(part) for part in parts) or len(parts) > 1:
                values = tuple(value for value in values if self.accepts(parts, value))
        forbidden = any(False in _for_property(parts, name) for part in parts for name in part.get("required", ()))
        if not kinds or values == () or (forbidden and kinds == ("object",)):
            return None
        return Way(parts, kinds, values, tuple(part for part in parts if not _CHECKED.isdisjoint(part)))

    def _checker(self) -> Any:
        if self._validator is None:
            # A tenth of a second, and few schemas need it.
            from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

            self._validator = Draft202012Validator(self._root)
        return self._validator


def _for_property(parts: Iterable[Schema], name: str) -> Iterator[Schema | bool]:
    """The schemas that apply to a property."""
    for part in parts:
        found = [part["properties"][name]] if name in part.get("properties", ()) else []
        for pattern, schema in part.get("patternProperties", {}).items():
            if re.search(pattern, name):
                found.append(schema)
        yield from found or [part.get("additionalProperties", True)]


def _for_item(parts: Iterable[Schema], index: int) -> Iterator[Schema | bool]:
    for part in parts:
        first = part.get("prefixItems", ())
        yield first[index] if index < len(first) else part.get("items", True)


def _kinds(parts: tuple[Schema, ...]) -> tuple[str, ...]:
    allowed = set(_TYPES)
    for part in parts:
        if "type" in part:
            allowed &= {*part["type"], *(["integer"] if "number" in part["type"] else [])}
    if "number" in allowed:
        allowed.discard("integer")
    about = [kind for kind, keys in _ABOUT.items() for part in parts if not part.keys().isdisjoint(keys)]
    named = [kind for part in parts for kind in part.get("type", ())]
    order = [*about, *named, *_TYPES]
    return tuple(sorted(allowed, key=lambda kind: (kind == "null", order.index(kind))))


def _values(parts: Iterable[Schema]) -> tuple[Any, ...] | None:
    for part in parts:
        if "const" in part:
            return (part["const"],)
        if "enum" in part:
            return tuple(part["enum"])
    return None


def _is_kind(value: Any, kind: str) -> bool:
    if isinstance(value, bool) or value is None:
        return kind == ("null" if value is None else "boolean")
    if isinstance(value, int | float):
        return kind == "number" or (kind == "integer" and value == int(value))
    return kind == ("string" if isinstance(value, str) else "array" if isinstance(value, list) else "object")


def _respelled(node: Any, *, is_map: bool = False) -> Any:
    """
    The schema in the spelling of JSON Schema 2020-12: without Gemini's upper-case types and digits in strings,
    OpenAPI's `nullable`, and draft 7's `items` arrays.
    """
    if isinstance(node, list):
        return [_respelled(one) for one in node]
    if not isinstance(node, dict):
        return node
    made = {
        key: value if key in LITERALS and not is_map else _respelled(value, is_map=key in SCHEMA_MAPS and not is_map)
        for key, value in node.items()
    }
    if is_map:
        return made
    made.pop("$schema", None)
    for key, value in node.items():
        if key.startswith(("min", "max")) and isinstance(value, str) and value.isdecimal():
            made[key] = int(value)
    if isinstance(made.get("type"), str | list):
        kinds = [made["type"]] if isinstance(made["type"], str) else made["type"]
        lower = [str(kind).lower() for kind in kinds]
        made["type"] = [kind for kind in lower if kind in _TYPES] or list(_TYPES)
    if isinstance(made.get("pattern"), str):
        regex = compiled(made.pop("pattern"))
        if regex is not None:
            made["pattern"] = regex.pattern
    if isinstance(made.get("patternProperties"), dict):
        regexes = {compiled(pattern): schema for pattern, schema in made["patternProperties"].items()}
        made["patternProperties"] = {regex.pattern: schema for regex, schema in regexes.items() if regex is not None}
    if isinstance(made.get("items"), list):
        made["prefixItems"] = made.pop("items")
        made["items"] = made.pop("additionalItems", True)
    if isinstance(made.get("$ref"), str):
        made["$ref"] = re.sub(r"/items/(?=\d)", "/prefixItems/", made["$ref"])
    if made.pop("nullable", False) is True:
        if "type" in made:
            made["type"] = [*made["type"], "null"]
        if isinstance(made.get("enum"), list):
            made["enum"] = [*made["enum"], None]
    return made
