"""The language of the tables in `tests/fidelity`: what it finds, and what it lets pass."""

from __future__ import annotations

import re
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from tests.fidelity.facts import COMPACT, INDENTED, INDENTED_NEWLINE, SPACED, Answer, Fact, Layout, Lines, Table, parse
from tests.fidelity.sdk import misfits
from tests.fidelity.shapes import Map, Shape, Since, Unordered, Where, divergences

PAIR = {"a": int, "b": str}


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        (1, int), ("x", str), (True, bool), (1, float), (1.5, float), (None, None), ("list", "list"), ({}, {}),
        ("ab", re.compile("[a-z]+")), (None, (str, None)), ([1, 2], [int]), ([], [int]), ({"k": "v"}, Map(str)),
        ({"z": 1}, object), ("x", Since("2026", str, int)), ({"a": 1, "b": ""}, Where(PAIR, {})),
        ({"a": 1, "b": ""}, Where(PAIR, {"a is odd": lambda pair: pair["a"] % 2 == 1})),
        ({"a": 1, "b": ""}, PAIR), ({"b": "", "a": 1}, Unordered(PAIR)), ([{"b": "", "a": 1}], Unordered([PAIR])),
        ({}, {"a optional": int}), ({"b": 1, "a": 2}, {"a anywhere": int, "b": int}),
    ],
)  # fmt: skip
def test_what_fits_has_no_divergences(value: Any, shape: Shape) -> None:
    """Each word of the language, met."""
    assert divergences(value, shape) == []


@pytest.mark.parametrize(
    ("value", "shape", "found"),
    [
        (True, int, "$: true is not int"),
        (1.5, int, "$: 1.5 is not int"),
        ("1", int, '$: "1" is not int'),
        (1, True, "$: 1 is not True"),
        (None, str, "$: null is not str"),
        ("", None, '$: "" is not None'),
        ("ab1", re.compile("[a-z]+"), '$: "ab1" is not like [a-z]+'),
        ([1, "x"], [int], '$[1]: "x" is not int'),
        ({}, [int], "$: {} is not an array"),
        ([], {}, "$: [] is not such an object"),
        ({"k": 1}, Map(str), "$.k: 1 is not str"),
        ({"a": 1}, PAIR, "$.b: missing"),
        ({"a": 1, "b": "", "c": 1}, PAIR, "$.c: extra"),
        ({"b": "", "a": 1}, PAIR, "$.*: the keys come as ['b', 'a'], not as ['a', 'b']"),
        ({"o": [{"a": 1, "b": None}]}, {"o": [PAIR]}, "$.o[0].b: null is not str"),
        ({"a": 2, "b": ""}, Where(PAIR, {"a is odd": lambda pair: pair["a"] % 2 == 1}), "$.*: not so that a is odd"),
        ({"a": 2}, Where(PAIR, {"a is odd": lambda pair: pair["a"] % 2 == 1}), "$.b: missing"),
        # Of several shapes, the nearest is the one that tells.
        ({"a": 1, "b": 2}, (None, PAIR, {"z": str}), "$.b: 2 is not str"),
    ],
)
def test_what_does_not_fit_is_reported_with_its_path(value: Any, shape: Shape, found: str) -> None:
    """Each word of the language, missed."""
    assert divergences(value, shape) == [found]


def test_a_fact_knows_since_when() -> None:
    """A newer key is required from its day on and extra before; so is the newer of two shapes."""
    shape = {"a": Since("2026", int, str), "b since 2025-10-27": int}
    assert divergences({"a": "x"}, shape, "2025-10-26") == []
    assert divergences({"a": "x", "b": 1}, shape, "2025-10-27") == []
    assert divergences({"a": 1, "b": 1}, shape) == []
    assert divergences({"a": 1}, shape) == ["$.b: missing"]
    assert divergences({"a": "x", "b": 1}, shape, "2025") == ["$.b: extra"]


def test_a_key_that_comes_twice_is_no_json() -> None:
    """Python would keep the last; a client in another language may not."""
    with pytest.raises(ValueError, match="twice"):
        parse('{"a": 1, "a": 2}')


def test_a_word_the_language_lacks_is_refused() -> None:
    """A slip in a table is no fact."""
    with pytest.raises(AssertionError, match="no such words"):
        divergences({}, {"a optinal": int})


@pytest.mark.parametrize("layout", [INDENTED, INDENTED_NEWLINE, COMPACT, SPACED])
def test_layouts_are_told_apart(layout: Layout) -> None:
    """By their spaces and line ends, not by what the strings and numbers in them look like."""
    text = {
        INDENTED: '{\n  "a": [\n    1.0,\n    "b: \\u00e9\\""\n  ]\n}',
        INDENTED_NEWLINE: '{\n  "a": [\n    1.0,\n    "b: é\\""\n  ]\n}\n',
        COMPACT: '{"a":[1.0,"b: é\\""]}',
        SPACED: '{"a": [1e0, "b: \\u00e9\\""]}',
    }
    value = {"a": [1, 'b: é"']}
    assert [one for one in text if not one.divergences(text[layout], value)] == [layout]


def answer(**changes: Any) -> Answer:
    made = {"method": "GET", "url": "http://host/v1/x/1?y=2", "status": 200, "headers": {"z": "1"}, "body": b'{"a":1}'}
    return Answer(**{**made, **changes})


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, []),
        ({"url": "http://host/prefix/v1/x/1"}, []),
        ({"headers": {}}, ["GET /v1/x/1 200 s: header z: null is not '1'"]),
        ({"headers": {"z": "1", "w-1": "2"}}, ['GET /v1/x/1 200 s: header w-*: "2" is not None']),
        ({"body": b'{"a":"1"}'}, ['GET /v1/x/1 200 s: $.a: "1" is not int']),
        ({"status": 404}, ["GET /v1/x/1 404: no fact tells of this: b'{\"a\":1}'"]),
        ({"url": "http://host/v1/x"}, ["GET /v1/x 200: no fact tells of this: b'{\"a\":1}'"]),
    ],
)
def test_an_answer_is_held_against_its_fact(changes: dict[str, Any], found: list[str]) -> None:
    """The fact is found by method, path, status and state; headers count as the body does."""
    fact = Fact("GET /v1/x/{id}", {"a": int}, "s", layout=COMPACT, headers={"z": "1", "w-*": None})
    table = Table("p", [fact], lambda *_: "s")
    entries, wrong = table.check(answer(**changes))
    assert wrong == found
    assert entries == (table.entries if "no fact" not in "".join(found) else set())


def test_every_line_is_held_against_its_kind() -> None:
    """Unknown kinds, wrong lines and a missing last newline are found, and kinds are entries."""
    lines = Lines({"i": {"i": int}, "s": {"s": str}}, lambda line: next(iter(line)), COMPACT)
    table = Table("p", [Fact("GET /v1/x/{id}", lines)], lambda *_: "")
    assert table.check(answer(body=b'{"i":1}\n{"s":"x"}\n')) == (table.entries, [])
    seen, wrong = table.check(answer(body=b'{"i":"1"}\n{"q":1}'))
    assert seen == {"GET /v1/x/{id} 200: i"}
    assert [one.partition(" 200: ")[2].split(":")[0] for one in wrong] == ["line 1.i", "line 2", "after the last line"]


class Model(BaseModel):
    kind: Literal["a", "b"]
    count: int | None = None
    items: list[str] = []


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({"kind": "a"}, []),
        ({"kind": "a", "count": None, "items": ["x"]}, []),
        ({}, ["Model.kind: missing"]),
        ({"kind": "c"}, ["Model.kind: 'c' is none of its words"]),
        ({"kind": "a", "count": "1"}, ["Model.count: is not int"]),
        ({"kind": "a", "count": True}, ["Model.count: is not int"]),
        ({"kind": "a", "items": [1]}, ["Model.items: is not str"]),
        ({"kind": "a", "more": 1}, ["Model.more: extra"]),
    ],
)
def test_a_model_is_taken_at_its_word(value: dict[str, Any], found: list[str]) -> None:
    """Pydantic would convert, and the SDKs do not even look; here it counts."""
    assert misfits(value, Model) == found
