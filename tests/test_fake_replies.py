"""The fake's answers: fixed, in the language asked for, and true to the schema."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchfast.fake.languages import LANGUAGES
from batchfast.fake.replies import Ask, answer, distort

TEXTS = {"type": "object", "properties": {"texts": {"type": "array", "items": {"type": "string"}}}}


def ask(user: str = "Write 3 texts about snow.", schema: Any = None, **options: Any) -> Ask:
    return Ask("some-model", "", user, schema, **options)


def satisfies(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> bool:
    """A validator of its own for the schemas drawn below."""
    if "$ref" in schema:
        return satisfies(value, root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root)
    if "anyOf" in schema:
        return any(satisfies(value, one, root) for one in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return value in schema.get("enum", [schema.get("const")])
    kind = schema["type"].lower()
    if kind == "object":
        keys_fit = isinstance(value, dict) and set(value) == set(schema["properties"])
        return keys_fit and all(satisfies(value[name], one, root) for name, one in schema["properties"].items())
    if kind == "array":
        fits = isinstance(value, list) and schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", 1000)
        return fits and all(satisfies(one, schema["items"], root) for one in value)
    if kind == "string":
        return isinstance(value, str) and schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 10**6)
    if kind in ("integer", "number"):
        right_type = isinstance(value, int if kind == "integer" else int | float) and not isinstance(value, bool)
        return right_type and schema.get("minimum", value) <= value <= schema.get("maximum", value)
    return isinstance(value, bool) if kind == "boolean" else value is None


@st.composite
def bounded(draw: st.DrawFn, kind: str, least: str, most: str, lowest: int, highest: int) -> dict[str, Any]:
    low = draw(st.integers(lowest, highest))
    chosen = {"type": kind, least: low, most: draw(st.integers(low, highest))}
    for name in draw(st.sets(st.sampled_from([least, most]))):
        del chosen[name]
    return chosen


LEAVES = st.one_of(
    st.sampled_from([{"type": "boolean"}, {"type": "null"}, {"type": "STRING"}, {"$ref": "#/$defs/leaf"}]),
    st.just({"const": "fixed"}),
    st.lists(st.text(max_size=5), min_size=1, max_size=3).map(lambda values: {"enum": values}),
    bounded("string", "minLength", "maxLength", 0, 300),
    bounded("integer", "minimum", "maximum", -500, 500),
    bounded("number", "minimum", "maximum", -500, 500),
)
SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.dictionaries(st.text(min_size=1, max_size=8), inner, max_size=3).map(
            lambda made: {"type": "object", "properties": made, "required": list(made)}
        ),
        st.tuples(bounded("array", "minItems", "maxItems", 0, 5), inner).map(lambda pair: pair[0] | {"items": pair[1]}),
        st.lists(inner, min_size=1, max_size=3).map(lambda options: {"anyOf": options}),
    ),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(SCHEMAS, st.integers(0, 3))
def test_any_schema_is_satisfied(schema: dict[str, Any], seed: int) -> None:
    """Nested objects, bounds, enum, const, anyOf and $ref, in either spelling of types."""
    root = {**schema, "$defs": {"leaf": {"type": "integer", "minimum": 3, "maximum": 4}}}
    reply = answer(ask(schema=root), seed=seed)
    assert satisfies(json.loads(reply.text), schema, root)
    assert reply.value == json.loads(reply.text)


def test_recursive_schema_ends() -> None:
    """A schema that refers to itself is followed to a depth, then ended."""
    node = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "children": {"type": "array", "items": {"$ref": "#/$defs/node"}}},
        "required": ["name", "children"],
    }
    reply = answer(ask("Write 1 tree.", {"$ref": "#/$defs/node", "$defs": {"node": node}}), seed=0)
    assert reply.value["children"][0]["children"][0]["name"]


def test_same_request_same_answer() -> None:
    """The answer follows from prompt, model and seed alone."""
    assert answer(ask(), seed=1) == answer(ask(), seed=1)
    different = [answer(ask(), seed=2), answer(ask("Write 3 texts about rain."), seed=1), answer(ask(seed=9), seed=1)]
    assert len({reply.text for reply in (answer(ask(), seed=1), *different)}) == 4


def test_samples_differ() -> None:
    """No two texts of one answer are alike."""
    texts = answer(ask("Write 50 texts about snow.", TEXTS), seed=0).value["texts"]
    assert len(texts) == len(set(texts)) == 50


@pytest.mark.parametrize(
    ("user", "description", "count"),
    [("Write 3 texts.", "Exactly 5 texts", 5), ("Write 3 texts.", "", 3), ("Write texts in v2.5.", "", 1)],
)
def test_number_of_items(user: str, description: str, count: int) -> None:
    """An array's description comes before the prompt, and one item is made where neither says."""
    schema = {"type": "array", "items": {"type": "string"}, "description": description}
    assert len(answer(ask(user, schema), seed=0).value) == count


@pytest.mark.parametrize("code", LANGUAGES)
def test_answer_is_in_the_language_asked_for(code: str) -> None:
    """The language's own sentences, around the prompt's own topic."""
    language = LANGUAGES[code]
    for name in language.names[:1]:
        text = answer(ask(f"Write a review of a French film in {name} about Snow for children."), seed=0).text
        assert "Snow" in text
        pieces = [sentence.split("{")[0] for sentence in language.sentences + language.openings]
        assert sum(piece in text for piece in pieces if len(piece) > 1) >= 1
        words = text.count(" ") if code not in ("ja", "zh") else len(text) / 5
        assert 30 < words < 250


def test_answer_is_cut_at_its_limit() -> None:
    """A text over max_tokens ends there, and says so."""
    reply = answer(ask(max_tokens=7), seed=0)
    assert (reply.finish, reply.output_tokens) == ("length", 7)
    assert answer(ask(), seed=0).text.startswith(reply.text)


def test_distortions() -> None:
    """Each spoils the answer in its own way, and nothing else."""
    asked = ask("Write 3 texts.", TEXTS)
    reply = answer(asked, seed=0)

    def spoiled(action: str) -> str:
        return distort(asked, reply, [action]).text

    assert len(json.loads(spoiled("too_few"))["texts"]) == 2
    assert len(json.loads(spoiled("too_many"))["texts"]) == 4
    assert spoiled("fence") == f"```json\n{reply.text}\n```"
    assert spoiled("empty") == ""
    assert reply.text.startswith(spoiled("truncate")) and spoiled("truncate").count('"') % 2 == 1
    for action in ("malform", "truncate", "refuse"):
        with pytest.raises(ValueError):
            json.loads(spoiled(action))
