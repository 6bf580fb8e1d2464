"""What a service answers to a call in some state, and the check of an answer against it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from tests.fidelity.shapes import NEWEST, Shape, divergences

_STRING_OR_NUMBER = re.compile(r'"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*')


def parse(text: str | bytes) -> Any:
    """JSON as Python's values. Raises ValueError, also for an object that has a key twice."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            raise ValueError(f"a key comes twice: {[name for name, _ in pairs]}")
        return made

    return json.loads(text, object_pairs_hook=unique)


@dataclass(frozen=True)
class Layout:
    """How a JSON text is set: indented or with its separators, and what comes after it."""

    indent: int | None = None
    separators: tuple[str, str] = (",", ": ")
    end: str = ""

    def divergences(self, text: str, value: Any) -> list[str]:
        wanted = json.dumps(value, indent=self.indent, separators=self.separators) + self.end
        # What is inside of strings is no layout, and neither is how a number is written.
        ours, theirs = (_STRING_OR_NUMBER.sub("x", one) for one in (wanted, text))
        return [] if ours == theirs else [f"layout: {theirs[:30]!r} ... {theirs[-8:]!r} is not set like {self}"]


INDENTED = Layout(indent=2)
INDENTED_NEWLINE = Layout(indent=2, end="\n")
COMPACT = Layout(separators=(",", ":"))
SPACED = Layout(separators=(", ", ": "))


@dataclass(frozen=True)
class Lines:
    """
    A body of one JSON value a line.

    Args:
        kinds: What a line may be, by name.
        kind_of: Says which of the names a line goes by.
        end: What comes after the last line; a shape, as it may have changed over the years.
    """

    kinds: Mapping[str, Shape]
    kind_of: Callable[[Any], str]
    layout: Layout
    end: Shape = "\n"

    def read(self, body: bytes, when: str = NEWEST) -> Iterator[tuple[str, list[str]]]:
        """Each line's kind and divergences."""
        raw = body.decode().split("\n")
        end = "" if raw[-1] else "\n"
        for number, text in enumerate(raw if raw[-1] else raw[:-1], 1):
            line = parse(text)
            kind, at = self.kind_of(line), f"line {number}"
            if kind not in self.kinds:
                yield kind, [f"{at}: there are no lines of kind {kind!r} here: {text[:200]}"]
                continue
            found = divergences(line, self.kinds[kind], when, at) + self.layout.divergences(text, line)
            yield kind, found
        yield "", divergences(end, self.end, when, "after the last line")


@dataclass(frozen=True)
class Answer:
    """One answer of a service. The names of `headers` are in lower case; `when` is the day it was given."""

    method: str
    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes
    when: str = NEWEST

    def json(self) -> Any:
        """The body, or None where it is no JSON."""
        try:
            return parse(self.body)
        except ValueError:
            return None


@dataclass(frozen=True)
class Fact:
    """
    What comes back from one call in one state.

    Args:
        call: Method and path, like "GET /v1/batches/{id}"; "* *" is any call. "PUT" is POST too: the pieces of an
            upload come by either.
        state: As the table's `state_of` names it; "" where there are no states to tell apart.
        body: A shape, `Lines`, or None where the body is empty.
        layout: None where it is not known.
        headers: Shapes by name; None is a header that is never there, and "x-*" is all those that begin so.
            Headers that are not named are not looked at: those of the connection and of the edge servers.
    """

    call: str
    body: Shape | Lines
    state: str = ""
    status: int = 200
    layout: Layout | None = None
    headers: Mapping[str, Shape] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return " ".join(filter(None, (self.call, str(self.status), self.state)))

    @property
    def entries(self) -> set[str]:
        """Names of what can be seen of this fact."""
        return {f"{self.name}: {kind}" for kind in self.body.kinds} if isinstance(self.body, Lines) else {self.name}

    def answers(self, answer: Answer, state: str) -> bool:
        """Whether this is the fact for an answer that tells of `state`."""
        called = f"{answer.method} {urlsplit(answer.url).path}"
        return (answer.status, state) == (self.status, self.state) and bool(_pattern(self.call).fullmatch(called))


@cache
def _pattern(call: str) -> re.Pattern[str]:
    method, path = call.split(" ")
    if path == "*":
        return re.compile(".*")
    parts = re.split(r"(\{\w+\})", path)
    # What comes before is where somebody put the service.
    return re.compile(
        ("(POST|PUT)" if method == "PUT" else method)
        + " .*"
        + "".join("[^/:]+" if part.startswith("{") else re.escape(part) for part in parts)
    )


@dataclass(frozen=True)
class Table:
    """
    The facts of one provider.

    Args:
        state_of: Names the state an answer tells of, from its JSON (None if it is none) and the answer itself.
    """

    provider: str
    facts: Sequence[Fact]
    state_of: Callable[[Any, Answer], str]

    @property
    def entries(self) -> set[str]:
        return {entry for fact in self.facts for entry in fact.entries}

    def fact(self, answer: Answer) -> Fact | None:
        """The fact an answer is to be held against."""
        state = self.state_of(answer.json(), answer)
        return next((one for one in self.facts if one.answers(answer, state)), None)

    def check(self, answer: Answer, *, ignored_headers: frozenset[str] = frozenset()) -> tuple[set[str], list[str]]:
        """The entries of the table that were seen in an answer, and everything in which it differs from them."""
        fact = self.fact(answer)
        where = f"{answer.method} {urlsplit(answer.url).path} {answer.status}"
        if fact is None:
            return set(), [f"{where}: no fact tells of this: {answer.body[:300]!r}"]
        where = f"{where} {fact.state}".strip()
        found = list(_wrong_headers(fact, answer, ignored_headers))
        entries = {fact.name}
        if isinstance(fact.body, Lines):
            lines = list(fact.body.read(answer.body, answer.when))
            entries = {f"{fact.name}: {kind}" for kind, _ in lines if kind in fact.body.kinds}
            found += [one for _, wrong in lines for one in wrong]
        elif fact.body is None:
            found += [f"a body where there is none: {answer.body[:100]!r}"] if answer.body else []
        else:
            value = parse(answer.body)
            found += divergences(value, fact.body, answer.when)
            found += fact.layout.divergences(answer.body.decode(), value) if fact.layout else []
        return entries, [f"{where}: {one}" for one in found]


def _wrong_headers(fact: Fact, answer: Answer, ignored: frozenset[str]) -> Iterator[str]:
    for name, shape in fact.headers.items():
        if name in ignored:
            continue
        values = [value for header, value in answer.headers.items() if fnmatch(header, name)]
        for value in values or [None]:
            yield from divergences(value, shape, answer.when, f"header {name}")
