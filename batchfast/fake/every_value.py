"""
The values a schema allows, one after the other: for an array whose items must differ, where chance finds no more.
"""

from __future__ import annotations

import math
import random
import string
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain, islice, product
from typing import Any

from batchfast.fake.patterns import all_match, compiled, matching
from batchfast.fake.schema_plans import Plan, Way, Ways

_OPEN = 1 << 30
_MAX_DEPTH = 4
_MAX_MEMBER_VALUES = 64  # of each member: together they give any number
_MATCH_ATTEMPTS = 300


def same_json(value: Any) -> Any:
    """A key that is the same for what JSON schema calls equal: 1 and 1.0 are, 1 and true are not."""
    if isinstance(value, list):
        return ("array", *map(same_json, value))
    if isinstance(value, dict):
        return ("object", frozenset((name, same_json(one)) for name, one in value.items()))
    return (isinstance(value, bool), value)


def every_value(plan: Plan, ways: Ways, rng: random.Random, depth: int = 0) -> Iterator[Any]:
    """All values of finite types, and far more strings and numbers than anybody asks for."""
    for way in ways:
        for value in _all_of(plan, way, rng, depth):
            if not way.checked or plan.accepts(way.checked, value):
                yield value


def _all_of(plan: Plan, way: Way, rng: random.Random, depth: int) -> Iterator[Any]:
    if way.values is not None:
        yield from way.values
        return
    for kind in way.kinds:
        if kind == "boolean":
            yield from (True, False)
        elif kind == "null":
            yield None
        elif kind in ("integer", "number"):
            yield from _numbers(way, whole=kind == "integer")
        elif kind == "string":
            yield from _strings(way, rng)
        elif depth < _MAX_DEPTH:
            yield from (_objects if kind == "object" else _arrays)(plan, way, rng, depth)


def _numbers(way: Way, *, whole: bool) -> Iterator[int | float]:
    step = step_of(way, whole=whole) or Fraction(1, 8)
    low, high = multiples(way, step, room=_OPEN)
    for number in range(low, high + 1):
        value = number * step
        yield int(value) if value.denominator == 1 else float(value)


def _strings(way: Way, rng: random.Random) -> Iterator[str]:
    least, most = way.most_of("minLength", 0), way.least_of("maxLength", _OPEN)
    patterns = [regex for regex in map(compiled, way.all_of("pattern")) if regex]
    if patterns:
        found = (matching(patterns, rng, least, most) for _ in range(_MATCH_ATTEMPTS))
        yield from (text for text in found if least <= len(text) <= most and all_match(patterns, text))
    elif not way.all_of("format"):
        letters = (product(string.ascii_lowercase, repeat=length) for length in range(least, min(most, least + 8) + 1))
        yield from map("".join, chain.from_iterable(letters))


def _objects(plan: Plan, way: Way, rng: random.Random, depth: int) -> Iterator[dict[str, Any]]:
    members = plan.members(way)
    names = [name for name in members.order if name in members.required or name in members.optional]
    each = [_some(plan, plan.property_ways(way, name), rng, depth) for name in names]
    yield from (dict(zip(names, values, strict=True)) for values in product(*each))


def _arrays(plan: Plan, way: Way, rng: random.Random, depth: int) -> Iterator[list[Any]]:
    least = way.most_of("minItems", 0)
    for count in range(least, min(way.least_of("maxItems", _OPEN), least + 2) + 1):
        yield from map(list, product(*(_some(plan, plan.item_ways(way, at), rng, depth) for at in range(count))))


def _some(plan: Plan, ways: Ways, rng: random.Random, depth: int) -> list[Any]:
    return list(islice(every_value(plan, ways, rng, depth + 1), _MAX_MEMBER_VALUES))


# Numbers


def exact(number: float) -> Fraction:
    """0.1 as a tenth, not as the float next to it."""
    return Fraction(str(number))


def step_of(way: Way, *, whole: bool) -> Fraction:
    """What the number must be a multiple of, 0 for nothing."""
    steps = [exact(step) for step in way.all_of("multipleOf")] + [Fraction(1)] * whole
    if not steps:
        return Fraction(0)
    return Fraction(math.lcm(*(step.numerator for step in steps)), math.gcd(*(step.denominator for step in steps)))


def multiples(way: Way, step: Fraction, room: int = 100) -> tuple[int, int]:
    """Least and greatest factor of `step` that are allowed."""
    least, most = bounds(way, max(room, math.ceil(step)))
    low, high = math.ceil(exact(least) / step), math.floor(exact(most) / step)
    above, below = way.most_of("exclusiveMinimum", None), way.least_of("exclusiveMaximum", None)
    low += above is not None and exact(above) >= low * step
    high -= below is not None and exact(below) <= high * step
    return low, high


def bounds(way: Way, room: int = 100) -> tuple[float, float]:
    """Least and greatest value allowed; a side left open lies `room` from the other, or they are 0 and `room`."""
    least = max(way.most_of("minimum", -math.inf), way.most_of("exclusiveMinimum", -math.inf))
    most = min(way.least_of("maximum", math.inf), way.least_of("exclusiveMaximum", math.inf))
    if least == -math.inf:
        least = 0 if most >= room else most - room
    return least, max(least, least + room if most == math.inf else most)
