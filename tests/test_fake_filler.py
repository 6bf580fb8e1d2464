"""The fake's JSON: whatever schema is sent, the answer satisfies it, as a validator of others sees it."""

from __future__ import annotations

import enum
import json
import math
import re
from typing import Annotated, Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import BaseModel, Field

from batchfast.fake.replies import Ask, answer
from batchfast.fake.shapes import WrongType, as_schema

Json = dict[str, Any]
NAMES = st.sampled_from(["a", "b", "title", "x-1", "x-2", "é", "a/b", "c~d", "type", "enum"])


def filled(schema: Json, seed: int = 0, user: str = "Write 3 texts about snow.") -> Any:
    return json.loads(answer(Ask("m", "", user, as_schema(schema, "schema")), seed=seed).text)


def check(schema: Json, seed: int = 0) -> Any:
    value = filled(schema, seed)
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(value)
    return value


# Schemas that can be satisfied, by construction


def some(draw: st.DrawFn, options: Json) -> Json:
    return {key: options[key] for key in draw(st.sets(st.sampled_from(sorted(options))))}


@st.composite
def strings(draw: st.DrawFn) -> Json:
    least = draw(st.integers(0, 400))
    if draw(st.booleans()):
        return {"type": "string", **some(draw, {"minLength": least, "maxLength": least + draw(st.integers(0, 90))})}
    if draw(st.booleans()):
        return {"type": "string", **some(draw, {"format": draw(st.sampled_from(FORMATS)), "minLength": 9})}
    low = draw(st.integers(0, 40))
    pattern = draw(st.sampled_from(["^[A-Z][a-z]*$", r"^\d+$", r"[^\s<>]", "^(ab|c)*$", "^.*$", "x+"]))
    return {"type": "string", "pattern": pattern, "minLength": max(1, low), "maxLength": low + 3}


@st.composite
def numbers(draw: st.DrawFn) -> Json:
    low = draw(st.integers(-500, 500))
    high = low + draw(st.integers(10, 400))
    if draw(st.booleans()):
        step = draw(st.sampled_from([1, 2, 5, 0.5, 0.25, 1.0]))
        bounds = {"minimum": low, "maximum": high, "exclusiveMinimum": low - 1, "exclusiveMaximum": high + 1}
        return {"type": draw(st.sampled_from(["integer", "number"])), "multipleOf": step, **some(draw, bounds)}
    floats = {"minimum": low / 7, "exclusiveMaximum": low / 7 + draw(st.sampled_from([1e-6, 0.01, 5]))}
    return {"type": "number", **some(draw, floats)}


@st.composite
def objects(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> Json:
    properties = draw(st.dictionaries(NAMES, inner, max_size=4))
    required = [name for name in properties if draw(st.booleans())]
    schema: Json = {"type": "object", "properties": properties, "required": required}
    if draw(st.booleans()):
        more = draw(st.sampled_from(["additionalProperties", "patternProperties", "both", "names"]))
        if more in ("additionalProperties", "both"):
            schema["additionalProperties"] = draw(inner)
        if more in ("patternProperties", "both"):
            schema["patternProperties"] = {"^y-[a-z]{2,9}$": draw(inner)}
        if more == "names":
            schema["propertyNames"] = {"minLength": 1, "maxLength": 30}
        schema["minProperties"] = draw(st.integers(0, 8))
    elif draw(st.booleans()):
        schema["additionalProperties"] = False
        schema["maxProperties"] = draw(st.integers(len(required), 4))
    elif len(properties) > 1:
        one, other = list(properties)[:2]
        schema |= some(draw, {"dependentRequired": {one: [other]}, "dependentSchemas": {other: {"required": [one]}}})
    return schema


@st.composite
def arrays(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> Json:
    low = draw(st.integers(0, 5))
    schema: Json = {"type": "array", "items": draw(inner)}
    schema |= some(draw, {"minItems": low, "maxItems": low + draw(st.integers(0, 3))})
    kind = draw(st.sampled_from(["plain", "tuple", "contains", "unique"]))
    if kind == "tuple":
        schema["prefixItems"] = draw(st.lists(inner, min_size=1, max_size=3))
    elif kind == "contains":
        schema = {"type": "array", "contains": {"const": {"is": "there"}}}
        schema |= some(draw, {"minContains": low, "maxContains": low + 1, "minItems": low})
        if schema.get("maxContains") == 0:
            del schema["maxContains"]
    elif kind == "unique":
        values = draw(st.sampled_from(UNIQUE))
        schema |= {"items": values, "uniqueItems": True, "minItems": low}
    return schema


@st.composite
def combined(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> Json:
    kind = draw(st.sampled_from(["anyOf", "oneOf", "allOf", "if", "not", "ref"]))
    if kind == "anyOf":
        # One of the ways contradicts what stands beside.
        return {"type": "object", "required": ["k"], "properties": {"k": draw(inner)},
                "anyOf": [{"required": ["k"]}, {"type": "string"}, {"properties": {"k": False}}]}  # fmt: skip
    if kind == "oneOf":
        options = draw(st.lists(inner, min_size=1, max_size=3))
        return {"oneOf": [{"type": "object", "properties": {"tag": {"const": number}, "value": one},
                           "required": ["tag", "value"]} for number, one in enumerate(options)]}  # fmt: skip
    if kind == "allOf":
        one, other = {"p": draw(inner)}, {"q": draw(inner)}
        return {"type": "object", "properties": one, "allOf": [{"properties": other}, {"required": ["q"]}, True]}
    if kind == "if":
        return {"type": "object", "properties": {"kind": {"enum": ["a", "b"]}}, "required": ["kind"],
                "if": {"properties": {"kind": {"const": "a"}}}, "then": {"required": ["v"]},
                "else": {"properties": {"w": draw(inner)}, "required": ["w"]}}  # fmt: skip
    if kind == "not":
        return {"type": ["boolean", "string", "null"], "not": draw(st.sampled_from(
            [{"const": True}, {"type": "string"}, {"enum": [False, None]}]))}  # fmt: skip
    return {
        "$ref": draw(st.sampled_from(["#/$defs/leaf", "#/$defs/with~1slash%20", "#/$defs/box/properties/in", "#ank"]))
    }


UNIQUE: list[Json] = [
    {"enum": [1, "1", True, None, [1]]},
    {"type": "integer", "minimum": 3, "maximum": 7},
    {"type": "string", "maxLength": 9},
    {"type": "number", "minimum": 0},
]
DEFS: Json = {
    "leaf": {"type": "integer", "minimum": 3, "exclusiveMaximum": 5},
    "with/slash ": {"$anchor": "ank", "type": "array", "prefixItems": [{"const": None}], "minItems": 1, "items": False},
    "box": {"type": "object", "properties": {"in": {"type": ["string", "null"]}, "self": {"$ref": "#/$defs/box"}}},
}
FORMATS = ["date", "date-time", "time", "duration", "email", "hostname", "ipv4", "ipv6", "uri", "uuid", "unheard-of"]
LEAVES = st.one_of(
    strings(), numbers(), st.sampled_from([{"type": "boolean"}, {"type": "null"}, {}, True, {"$ref": "#/$defs/box"}]),
    st.sampled_from([{"const": None}, {"const": {"type": "STRING"}}, {"enum": [1, "b", None, 2.5], "type": "string"},
                     {"enum": ["a", "bb", "ccc"], "minLength": 2, "maxLength": 2}, {"enum": [{"a": 1}, []]}]),
)  # fmt: skip
SCHEMAS = st.recursive(LEAVES, lambda inner: objects(inner) | arrays(inner) | combined(inner), max_leaves=8)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(SCHEMAS, st.integers(0, 3))
def test_any_schema_is_satisfied(schema: Json | bool, seed: int) -> None:
    """All keywords of draft 2020-12 which can meet in one schema without contradiction."""
    check({"$defs": DEFS, "properties": {"made": schema}, "type": "object", "required": ["made"]}, seed)


NOISE_KEYS = ["properties", "patternProperties", "additionalProperties", "propertyNames", "required", "minProperties",
              "maxProperties", "dependentRequired", "dependentSchemas", "items", "prefixItems", "contains", "minItems",
              "maxItems", "minContains", "maxContains", "uniqueItems", "minLength", "maxLength", "pattern", "format",
              "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "enum", "const", "anyOf",
              "oneOf", "allOf", "not", "if", "then", "else", "$ref", "type", "nullable", "propertyOrdering",
              "description", "unevaluatedProperties", "$anchor", "$id"]  # fmt: skip
NOISE = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 6) | st.floats(-9, 9) | st.just(["a"]) | st.just({"a": ["b"]})
    | st.sampled_from(["a", "string", "array", "OBJECT", "number", "^a+$", "#/properties/a", "#", "3", "(", "email"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from([*NOISE_KEYS, "a", "b"]), inner, max_size=5),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(NOISE_KEYS), NOISE, max_size=6))
def test_schema_that_is_let_pass_is_answered(schema: Json) -> None:
    """However little sense it makes: refused at the door, or answered."""
    try:
        as_schema(schema, "schema")
    except WrongType:
        return
    assert answer(Ask("m", "", "Write of snow.", schema), seed=0).text


# Schemas as they are met


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = Field(ge=1, le=9)


class Dog(BaseModel):
    kind: Literal["dog"]
    tricks: list[str] = Field(min_length=1, max_length=3)


class Node(BaseModel):
    name: str = Field(pattern=r"^[A-Z][a-z]{2,10}$")
    children: list[Node] = []
    left: Node | None = None


class Everything(BaseModel):
    title: str = Field(min_length=5, max_length=20)
    note: str | None
    colour: Colour
    ratio: Annotated[float, Field(gt=0, lt=1)]
    step: float = Field(multiple_of=0.1, ge=0)
    pair: tuple[int, Literal["x"]]
    scores: dict[str, int] = Field(min_length=2)
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]
    pets: list[Cat | Dog]
    unique: set[Colour] = Field(min_length=2)
    tree: Node


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("model", [Everything, Node, Cat])
def test_pydantic_models_read_their_answers(model: type[BaseModel], seed: int) -> None:
    """Optional, Literal, Enum, constraints, discriminated unions, mappings, tuples, sets and recursion."""
    model.model_validate(check(model.model_json_schema(), seed))


EMPLOYEE: Json = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "reports": {"type": "array", "items": {"$ref": "#"}}},
    "required": ["name", "reports"],
    "additionalProperties": False,
}
PAIRS = {"$defs": {"n": {"anyOf": [{"type": "number"}, {"$ref": "#/$defs/pair"}]},
                   "pair": {"type": "object", "properties": {"l": {"$ref": "#/$defs/n"}, "r": {"$ref": "#/$defs/n"}},
                            "required": ["l", "r"], "additionalProperties": False}},
         "$ref": "#/$defs/pair"}  # fmt: skip


@pytest.mark.parametrize(
    "schema",
    [
        EMPLOYEE,
        PAIRS,
        {"type": "array", "items": {"anyOf": [EMPLOYEE | {"properties": {}, "required": []}, {"type": "null"}]}},
        {"allOf": [{"minimum": 3}, {"maximum": 4, "type": "integer"}, {"exclusiveMinimum": 3}]},
        {"allOf": [{"multipleOf": 6}, {"multipleOf": 4}, {"minimum": 1, "maximum": 13}], "type": "integer"},
        {"type": "integer", "maximum": -1, "multipleOf": 500},
        {"type": "number", "minimum": 0.3, "maximum": 0.7, "multipleOf": 0.1},
        {"type": "string", "pattern": r"^(?=.*\d)(?=.*[a-z])[a-z0-9]{8,12}$"},
        {"type": "string", "pattern": r"^\+?[1-9]\d{1,14}$"},
        {"type": "string", "pattern": r"^(?P<q>['\"]).{3}(?P=q)$"},
        {"type": "string", "pattern": "needle", "minLength": 300, "maxLength": 310},
        {"type": "string", "allOf": [{"pattern": "^a"}, {"pattern": "^[a-c]{4}$"}]},
        {"type": "array", "items": {"type": "boolean"}, "uniqueItems": True, "minItems": 2},
        {"type": "array", "items": {"type": "integer", "minimum": 1}, "uniqueItems": True, "minItems": 300},
        {"type": "array", "allOf": [{"contains": {"const": 1}}, {"contains": {"const": 2}}],
         "items": {"enum": [1, 2, 3]}},
        {"type": "object", "properties": {"a": {"type": "string"}}, "not": {"required": ["a"]}},
        {"type": "object", "propertyNames": {"pattern": "^[a-z]{3}$"}, "minProperties": 4,
         "properties": {"long": True}},
        {"type": "object", "patternProperties": {"^n_": {"type": "integer"}}, "additionalProperties": False,
         "minProperties": 2},
        {"$id": "https://example.com/root", "$ref": "https://example.com/root#/$defs/a", "$defs": {"a": {"const": 7}}},
        {"oneOf": [{"type": "integer", "multipleOf": 3}, {"type": "integer", "multipleOf": 5}]},
    ],
)  # fmt: skip
def test_schemas_as_they_are_met(schema: Json) -> None:
    """Recursive ones end, and keywords in several places hold together."""
    for seed in range(4):
        check(schema, seed)


@pytest.mark.parametrize(
    "name", [name for name in FORMATS if name not in ("unheard-of", "duration", "hostname", "uri")]
)
def test_formats_are_kept(name: str) -> None:
    """Also where a minimum length stretches them."""
    for least in (0, 36) if name in ("email", "date-time") else (0,):
        schema = {"type": "string", "format": name, "minLength": least}
        value = filled(schema)
        Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(value)


def test_geminis_spelling_is_read() -> None:
    """Upper-case types, counts as strings, nullable, and its order of properties."""
    schema = {
        "type": "OBJECT",
        "properties": {
            "texts": {"type": "ARRAY", "items": {"type": "STRING"}, "minItems": "2", "maxItems": "2"},
            "grade": {"type": "INTEGER", "minimum": 1, "maximum": 3, "nullable": True},
        },
        "required": ["texts", "grade"],
        "propertyOrdering": ["grade", "texts"],
    }
    value = filled(schema)
    assert list(value) == ["grade", "texts"]
    assert len(value["texts"]) == 2 and value["grade"] in (1, 2, 3)


def test_draft_7_tuples_are_read() -> None:
    """Its `items` array, its `additionalItems`, and references into them."""
    schema = {"$schema": "http://json-schema.org/draft-07/schema#", "type": "array", "additionalItems": False,
              "items": [{"const": 1}, {"$ref": "#/items/0"}], "definitions": {}}  # fmt: skip
    assert filled(schema) == [1, 1]


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "enum": [1, 2]},
        {"type": "object", "properties": {"a": False}, "required": ["a"]},
        {"type": "integer", "minimum": 5, "maximum": 4},
        {"type": "string", "minLength": 9, "maxLength": 3},
        {"type": "string", "allOf": [{"pattern": "^a$"}, {"pattern": "^b$"}]},
        {"type": "string", "pattern": r"^\p{Lu}\p{Ll}+$"},
        {"type": "string", "pattern": "("},
        {"type": "string", "pattern": "((a{999}){999}){999}"},
        {"type": "array", "items": {"type": "boolean"}, "minItems": 5, "uniqueItems": True},
        {"type": "array", "prefixItems": [{"type": "null"}], "items": False, "minItems": 3},
        {"not": {}},
        {"type": "object", "required": ["l", "r"], "properties": {"l": {"$ref": "#"}, "r": {"$ref": "#"}}},
        {"type": "array", "items": {"$ref": "#"}, "minItems": 1},
        {"type": "array", "items": {"not": {}}, "minItems": 50},
        {"type": "object", "minProperties": 9, "additionalProperties": False},
    ],
)
def test_what_cannot_be_satisfied_is_answered_all_the_same(schema: Json) -> None:
    """Contradictions, patterns only JavaScript knows, and recursion without end."""
    answered = answer(Ask("m", "", "Write of snow.", as_schema(schema, "schema")), seed=0)
    assert answered.text


def test_recursion_does_not_multiply() -> None:
    """The number a prompt asks for is that of the outermost array."""
    assert len(filled(EMPLOYEE, user="Write 50 employees.")["reports"]) == 50
    assert len(json.dumps(filled(EMPLOYEE, user="Write 50 employees."))) < 3_000_000


def test_deep_nests_are_filled() -> None:
    """As deep as the fake takes them."""
    schema: Json = {"type": "integer", "minimum": 7, "maximum": 7}
    for _ in range(40):
        schema = {"type": "object", "properties": {"in": schema}, "required": ["in"]}
    value = check(schema)
    for _ in range(40):
        value = value["in"]
    assert value == 7


BOOLEAN: Json = {"type": "boolean"}
PAIR: Json = {"type": "object", "properties": {"a": BOOLEAN, "b": BOOLEAN}, "required": ["a", "b"]}


@pytest.mark.parametrize(
    ("items", "count"),
    [
        ({"type": "string", "maxLength": 2}, 30),
        ({"type": "string", "pattern": "^[0-9]$"}, 10),
        (PAIR, 4),
        ({"type": "array", "items": BOOLEAN, "minItems": 2, "maxItems": 2}, 4),
        ({"type": ["boolean", "null"]}, 3),
        ({"enum": [1, 1.0, 2]}, 2),
        ({"enum": [True, 1]}, 2),
        ({"type": "number", "multipleOf": 0.5, "minimum": 0, "exclusiveMaximum": 4}, 8),
        ({**PAIR, "not": {"properties": {"a": {"const": True}}}}, 2),
    ],
)
def test_unique_items_are_found_while_there_are_any(items: Json, count: int) -> None:
    """Where chance finds no more, all values are gone through; 1 and 1.0 are one of them."""
    for seed in range(5):
        values = check({"type": "array", "uniqueItems": True, "minItems": count, "items": items}, seed)
        assert len(values) >= count


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "number", "multipleOf": 0.1, "exclusiveMinimum": 0, "exclusiveMaximum": 0.2},
        {"type": "object", "required": ["a"], "dependentRequired": {"a": ["b"]}},
        {"type": "object", "required": ["a"], "dependentRequired": {"c": ["d"], "b": ["c"], "a": ["b"]}},
    ],
)
def test_schemas_with_few_values(schema: Json) -> None:
    """The bounds are tenths, not the floats beside them; a name that is required requires others."""
    for seed in range(10):
        check(schema, seed)


def test_decimals_are_taken_as_written() -> None:
    """0.3 is three tenths, whatever floats lie beside them."""
    assert filled({"type": "number", "multipleOf": 0.1, "minimum": 0.3, "maximum": 0.3}) == 0.3


def test_numbers_are_of_their_type() -> None:
    """An integer is written without a fraction, whatever the bounds are written like."""
    assert re.fullmatch(r"[34]", json.dumps(filled({"type": "integer", "minimum": 3.0, "maximum": 4.0})))
    assert math.isclose(filled({"type": "number", "minimum": 1e-7, "maximum": 1.1e-7}), 1e-7, rel_tol=0.2)
