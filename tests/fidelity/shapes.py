"""
A small language for the shape of JSON.

```
str, int, bool          a value of exactly this type; `float` is any number, `object` anything at all
"list", 200, None       exactly this value
re.compile("...")       a string that matches as a whole
(a, b)                  one of these; what is reported is what keeps a value from the nearest
[a]                     an array of a
{"key": a}              an object with these keys, in this order, and no others
Map(a)                  an object with any keys
Unordered(a)            a, with the keys of its objects in any order, at any depth
Since("2026", a, b)     a in answers from that day on, b in older ones
Where(a, {"it ends after it begins": rule})     an a that keeps the rules, each a function of the value
```

A key of an object may be followed by words: "key optional" may be absent; "key since 2025-10-27" is there from that
day on, and absent before; "key anywhere" has no known place among the others.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Shape = Any
NEWEST = "9999"  # later than any day a table names


@dataclass(frozen=True)
class Map:
    values: Shape


@dataclass(frozen=True)
class Unordered:
    shape: Shape


@dataclass(frozen=True)
class Since:
    day: str
    now: Shape
    before: Shape


@dataclass(frozen=True)
class Where:
    shape: Shape
    rules: Mapping[str, Callable[[Any], bool]]


@dataclass(frozen=True)
class _Key:
    name: str
    optional: bool
    anywhere: bool
    since: str

    @classmethod
    def read(cls, text: str) -> _Key:
        name, *words = text.split(" ")
        since = words[words.index("since") + 1] if "since" in words else ""
        unknown = set(words) - {"optional", "anywhere", "since", since}
        assert not unknown, f"{text!r}: no such words: {unknown}"
        return cls(name, "optional" in words, "anywhere" in words, since)


def divergences(value: Any, shape: Shape, when: str = NEWEST, at: str = "$", *, ordered: bool = True) -> list[str]:
    """
    Everything in which a value differs from its shape, each with its path.

    Args:
        when: The day of the answer, ISO; tables know what it looked like then.
    """

    def inner(value: Any, shape: Shape, at: str = at, ordered: bool = ordered) -> list[str]:
        return divergences(value, shape, when, at, ordered=ordered)

    match shape:
        case Since():
            return inner(value, shape.now if when >= shape.day else shape.before)
        case Unordered():
            return inner(value, shape.shape, ordered=False)
        case tuple():
            # Another kind of value altogether is farther away than any number of wrong members.
            return min((inner(value, one) for one in shape), key=lambda found: (_is_at(found, at), len(found)))
        case Where():
            broken = (f"{at}.*: not so that {says}" for says, holds in shape.rules.items() if not holds(value))
            return inner(value, shape.shape) or list(broken)
        case Map() if isinstance(value, dict):
            return [one for name, member in value.items() for one in inner(member, shape.values, f"{at}.{name}")]
        case [each] if isinstance(value, list):
            return [one for index, item in enumerate(value) for one in inner(item, each, f"{at}[{index}]")]
        case dict() if isinstance(value, dict):
            return list(_in_object(value, shape, when, at, ordered))
        case re.Pattern() if isinstance(value, str) and shape.fullmatch(value):
            return []
        case type() if _is(value, shape):
            return []
        case _ if type(value) is type(shape) and value == shape:
            return []
    return [f"{at}: {_short(value)} is not {_name(shape)}"]


def _is_at(found: list[str], at: str) -> bool:
    return bool(found) and found[0].startswith(f"{at}: ")


def _in_object(value: dict[str, Any], shape: dict[str, Shape], when: str, at: str, ordered: bool) -> Iterator[str]:
    known = {key.name: (key, member) for key, member in ((_Key.read(text), shape[text]) for text in shape)}
    there = {name: pair for name, pair in known.items() if when >= pair[0].since}
    yield from (f"{at}.{name}: missing" for name, (key, _) in there.items() if name not in value and not key.optional)
    yield from (f"{at}.{name}: extra" for name in value if name not in there)
    if ordered:
        placed = [name for name, (key, _) in there.items() if name in value and not key.anywhere]
        found = [name for name in value if name in placed]
        if found != placed:
            yield f"{at}.*: the keys come as {found}, not as {placed}"
    for name in value:
        if name in there:
            yield from divergences(value[name], there[name][1], when, f"{at}.{name}", ordered=ordered)


def _is(value: Any, kind: type) -> bool:
    if kind is object:
        return True
    return type(value) in (int, float) if kind is float else type(value) is kind


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) < 60 else text[:56] + " ..."


def _name(shape: Shape) -> str:
    match shape:
        case re.Pattern():
            return f"like {shape.pattern}"
        case type():
            return shape.__name__
        case dict() | Map():
            return "such an object"
        case list():
            return "an array"
    return repr(shape)
