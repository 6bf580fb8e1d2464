"""
Values that satisfy a JSON schema, filled with texts about what was asked for.

A schema that contradicts itself gets a value all the same, which then satisfies part of it.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from typing import Any, Protocol

from batchfast.fake.every_value import bounds, every_value, multiples, same_json, step_of
from batchfast.fake.patterns import all_match, compiled, formatted, matching
from batchfast.fake.schema_plans import Plan, Way, Ways

# From here on a value is made as small as its schema allows: a schema may refer to itself without end.
MAX_DEPTH = 8
_MAX_VALUES = 20_000
# What a schema demands beyond these is left out. They are beyond what `as_schema` lets pass without recursion.
_LAST_DEPTH = 110
_LAST_VALUES = 150_000
_ATTEMPTS = 40
# ASCII, as Japanese and Chinese put no space between a number and what it counts.
_COUNT = re.compile(r"(?<![\w.])\d{1,3}(?![\w%]|\.\d)", re.ASCII)
_SHORT_NAMES = frozenset({"title", "name", "label", "id", "key", "category", "tag", "heading", "author", "language"})
_OPEN = 1 << 30
_CONTAINERS = ("object", "array")


class Writer(Protocol):
    """Writes texts, each different. `asked_items` is how many the prompt asks for."""

    rng: random.Random
    asked_items: int

    def prose(self) -> str: ...
    def phrase(self) -> str: ...
    def word(self) -> str: ...


def count_in(text: str) -> int | None:
    """The first number in a text that may count items."""
    found = _COUNT.search(text)
    return int(found[0]) if found else None


def fill(plan: Plan, writer: Writer) -> Any:
    return _Filler(plan, writer).fill(plan.ways, "", 0)


class _Filler:
    def __init__(self, plan: Plan, writer: Writer) -> None:
        self._plan = plan
        self._writer = writer
        self._rng = writer.rng
        self._made = 0
        self._in_array = False

    def fill(self, ways: Ways, name: str, depth: int) -> Any:
        self._made += 1
        if depth > _LAST_DEPTH or self._made > _LAST_VALUES:
            return None
        if not ways:
            return self._writer.phrase()
        for attempt in range(_ATTEMPTS):
            way = self._choose(ways, depth, attempt)
            value = self._value(way, name, depth, attempt)
            if not way.checked or self._made > _MAX_VALUES or self._plan.accepts(way.checked, value):
                break
        return value

    def _is_ending(self, depth: int) -> bool:
        return depth >= MAX_DEPTH or self._made > _MAX_VALUES

    def _choose(self, ways: Ways, depth: int, attempt: int) -> Way:
        if len(ways) == 1:
            return ways[0]
        if self._is_ending(depth):
            return min(ways, key=self._plan.height)
        likely = [way for way in ways if way.kinds[0] != "null" and self._plan.height(way) < math.inf]
        return self._rng.choice(ways if attempt > _ATTEMPTS // 2 or not likely else likely)

    def _value(self, way: Way, name: str, depth: int, attempt: int) -> Any:
        """
        Args:
            attempt: From the second on, what the schema leaves open is left to chance.
        """
        if way.values is not None:
            return self._rng.choice(way.values)
        kind = way.kinds[0] if attempt < 2 else self._rng.choice(way.kinds)
        if self._is_ending(depth):
            kind = next((one for one in way.kinds if one not in _CONTAINERS), kind)
        if kind == "object":
            return self._object(way, depth, attempt)
        if kind == "array":
            return self._array(way, name, depth, attempt)
        if kind in ("integer", "number"):
            return self._number(way, whole=kind == "integer")
        if kind == "boolean":
            return self._rng.random() < 0.5
        return None if kind == "null" else self._string(way, name)

    def _object(self, way: Way, depth: int, attempt: int) -> dict[str, Any]:
        members = self._plan.members(way)
        optional = members.optional
        if self._is_ending(depth):
            optional = []
        elif attempt:
            optional = [name for name in optional if self._rng.random() < 0.5]
        wanted = {*members.required, *optional[: max(0, way.least_of("maxProperties", _OPEN) - len(members.required))]}
        if way.checked:
            _add_dependent(way, wanted)
        chosen = [name for name in members.order if name in wanted]
        self._add_names(way, chosen, is_ending=self._is_ending(depth))
        return {name: self.fill(self._plan.property_ways(way, name), name, depth + 1) for name in chosen}

    def _add_names(self, way: Way, chosen: list[str], *, is_ending: bool) -> None:
        """Add names the schema does not list: as many as it demands, and some where it lists none."""
        count = max(0, way.most_of("minProperties", 0) - len(chosen))
        patterns = way.names("patternProperties")
        others = [schema for schema in way.all_of("additionalProperties") if isinstance(schema, dict)]
        if not chosen and not is_ending and (patterns or others):
            count = max(count, min(self._rng.randint(1, 3), way.least_of("maxProperties", _OPEN)))
        regexes = [regex for regex in map(compiled, patterns) if regex]
        named = self._plan.ways_of(tuple(way.all_of("propertyNames")))
        for attempt in range(count + _ATTEMPTS if count else 0):
            if regexes and attempt % 2 == 0:
                name = matching([self._rng.choice(regexes)], self._rng, least=attempt)
            elif way.all_of("propertyNames"):
                name = self._value(named[0], "name", MAX_DEPTH, 0) if named else ""
            else:
                name = f"{self._writer.word()}{attempt or ''}"
            if isinstance(name, str) and name not in chosen and self._plan.may_have(way, name):
                chosen.append(name)
                count -= 1
            if not count:
                break

    def _array(self, way: Way, name: str, depth: int, attempt: int) -> list[Any]:
        count = self._count(way, depth, attempt)
        held, self._in_array = self._in_array, True
        contained = self._contained(way, count)
        unique = any(way.all_of("uniqueItems"))
        values: list[Any] = []
        seen: set[Any] = set()
        for index in range(count):
            ways = self._plan.item_ways(way, index, contained.get(index))
            value = self._unique(ways, name, depth, seen) if unique and ways else self.fill(ways, name, depth + 1)
            if (not ways or value is _NOTHING) and index >= way.most_of("minItems", 0):
                break
            values.append(None if value is _NOTHING else value)
        self._in_array = held
        return values

    def _contained(self, way: Way, count: int) -> dict[int, int]:
        """For items that satisfy a `contains`, which of them: as many of the last ones as it demands."""
        taken: dict[int, int] = {}
        for which, part in enumerate(part for part in way.parts if "contains" in part):
            free = (index for index in reversed(range(count)) if index not in taken)
            fitting = (index for index in free if self._plan.item_ways(way, index, which))
            taken.update(dict.fromkeys(islice(fitting, part.get("minContains", 1)), which))
        return taken

    def _count(self, way: Way, depth: int, attempt: int) -> int:
        said = next((count for count in map(count_in, map(str, way.all_of("description"))) if count), None)
        if said is None or attempt:
            said = self._rng.randint(1, 3) if self._in_array or attempt else self._writer.asked_items
        least = way.most_of("minItems", 0)
        least = max(least, sum(part.get("minContains", 1) for part in way.parts if "contains" in part))
        longest = max((len(one) for one in way.all_of("prefixItems")), default=0)
        most: int = way.least_of("maxItems", _OPEN)
        wanted: int = max(0 if self._is_ending(depth) else max(said, longest), least)
        return min(wanted, most)

    def _unique(self, ways: Ways, name: str, depth: int, seen: set[Any]) -> Any:
        """A value not seen yet; `_NOTHING` if none is found."""

        def candidates() -> Iterator[Any]:
            yield from (self.fill(ways, name, depth + 1) for _ in range(_ATTEMPTS // 4))
            yield from islice(every_value(self._plan, ways, self._rng), _MAX_VALUES)

        for value in candidates():
            key = same_json(value)
            if key not in seen:
                seen.add(key)
                return value
        return _NOTHING

    def _number(self, way: Way, *, whole: bool) -> int | float:
        step = step_of(way, whole=whole)
        if step:
            return self._multiple(way, step)
        least, most = bounds(way)
        value = self._rng.uniform(least, most)
        above, below = way.most_of("exclusiveMinimum", -math.inf), way.least_of("exclusiveMaximum", math.inf)
        tries = (round(value, 1), round(value, 3), value, (least + most) / 2)
        return next((one for one in tries if least <= one <= most and above < one < below), least)

    def _multiple(self, way: Way, step: Fraction) -> int | float:
        low, high = multiples(way, step)
        for _ in range(_ATTEMPTS):
            value = self._rng.randint(low, max(low, high)) * step
            if value.denominator == 1:
                return int(value)
            # 0.3 is a multiple of 0.1, but most validators, dividing floats, do not find so.
            if all((float(value) / one).is_integer() for one in way.all_of("multipleOf")):
                break
        return float(value)

    def _string(self, way: Way, name: str) -> str:
        least, most = way.most_of("minLength", 0), way.least_of("maxLength", _OPEN)
        patterns = [regex for regex in map(compiled, way.all_of("pattern")) if regex]
        for one in way.all_of("format"):
            made = formatted(one, self._rng, least)
            if made is not None and least <= len(made) <= most and all_match(patterns, made):
                return made
        text = self._writer.phrase() if name.lower() in _SHORT_NAMES or most < 60 else self._writer.prose()
        while len(text) < least:
            text += " " + self._writer.prose()
        if len(text) > most and self._rng.random() < 0.5:
            # Short texts which all began with the topic would be the same.
            text = f"{self._writer.word()} {text}"
        text = _cut(text, least, most)
        return text if all_match(patterns, text) else matching(patterns, self._rng, least, most)


_NOTHING = object()


def _add_dependent(way: Way, wanted: set[str]) -> None:
    """Add the names that `dependentRequired` asks for, and those that these ask for in turn."""
    rules = way.all_of("dependentRequired")
    size = -1
    while len(wanted) > size:
        size = len(wanted)
        wanted.update(*(needed for names in rules for name, needed in names.items() if name in wanted))


def _cut(text: str, least: int, most: int) -> str:
    """The text in so many characters, after a whole word where that leaves enough."""
    if len(text) <= most:
        return text
    whole = text[: most + 1].rpartition(" ")[0]
    return whole if len(whole) >= max(1, least) else text[:most]
