"""
From a snapshot to the prompt of request i, and to how many there are: arithmetic, nothing is kept per request.

The order, slowest first: document type, topic, language, (prompt, expansion), provider entry. With P entries, request
`index` belongs to entry `index % P`, where it is number `index // P`: its position.

**Combinations.** Prompts in order; of each, every combination of the placeholders it uses, in declared order, the last
one fastest. A placeholder that a prompt does not use does not multiply it, and is null in its metadata.

**Random mode.** A *subject* is a document type, a topic and a language. All prompts' combinations, numbered as above,
are put in an order drawn from the seed and the subject's own texts; the subject gets the first `num_random_samples` of
them. After the last combination comes another order. So more draws keep the earlier ones, and subjects do not depend on
each other: a topic added elsewhere changes none of them. A topic listed twice makes two subjects that draw apart.
"""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b, shake_256
from itertools import accumulate
from math import isqrt
from typing import Any, NamedTuple

from batchfast.errors import ConfigError, StoreError
from batchfast.schema.templates import (
    GRID_VERSION,
    REQUIRED_NAMES,
    count_combinations,
    split_template,
    used_placeholders,
)

__all__ = ["GRID_VERSION", "Cell", "Grid", "Subject", "shuffle_keys", "shuffled"]


# What `Grid.filled` leaves open.
_MISSING = ("document_type", "topic")


class Cell(NamedTuple):
    """
    What one request is about.

    Attributes:
        language: Code of the language asked for.
        metadata: `document_type`, `topic`, and every declared placeholder's value, None where the prompt does not use
            it. A new dict each time.
        prompt_index: Which of the prompts, from 0.
    """

    language: str
    metadata: dict[str, str | None]
    prompt_index: int


class Subject(NamedTuple):
    """What a request is about, its prompt's own variation aside; `language` is its code."""

    language: str
    document_type: str
    topic: str


class Grid:
    """
    All requests of a snapshot, each computed from its index. Memory and time do not depend on how many there are.

    Args:
        snapshot: As `spec.snapshot` makes it, or as read back from its JSON.

    Attributes:
        entries: Provider entries (count).
        positions: Requests of each entry (count).
        consecutive: How many numbers of `filled` follow each other in one range of `topics`, at most (count).
        num_samples: Texts asked for in one request (count).

    Raises:
        StoreError: The snapshot follows the rules of another grid version.
        ConfigError: There are more than 2**63 requests.
    """

    def __init__(self, snapshot: Mapping[str, Any]) -> None:
        if snapshot["grid_version"] != GRID_VERSION:
            raise StoreError(
                f"this run was laid out by grid version {snapshot['grid_version']}, and this batchfast knows version "
                f"{GRID_VERSION}: use the batchfast that made it"
            )
        expansion = snapshot["expansion"] or {"placeholders": [], "combinatorial": True}
        placeholders = dict(expansion["placeholders"])
        self._document_types: list[str] = snapshot["document_types"]
        self._topics: list[str] = snapshot["topics"]
        self._languages: list[tuple[str, str]] = [(code, name) for code, name in snapshot["languages"]]
        self._names = tuple(placeholders)
        self._variants = _Combinations([_Prompt(template, placeholders) for template in snapshot["prompts"]])
        self._draws = None if expansion["combinatorial"] else _Draws(expansion, snapshot, self._variants.total)
        self._per_subject = self._variants.total if self._draws is None else self._draws.count
        self.entries = len(snapshot["providers"])
        self.positions = len(self._document_types) * len(self._topics) * len(self._languages) * self._per_subject
        if self.positions * self.entries > sys.maxsize:
            raise ConfigError(f"the grid has {self.positions * self.entries:,} requests: more than can be numbered")
        self.consecutive = 1 if self._draws else len(self._languages) * self._per_subject
        self.num_samples: int = snapshot["num_samples_per_prompt"]
        self._num_samples = str(self.num_samples)
        self._cut = lru_cache(maxsize=16)(_cut)  # nearly all topics are cut the same way

    def __len__(self) -> int:
        """Requests over all provider entries."""
        return self.positions * self.entries

    def prompt(self, index: int) -> str:
        """
        The user's message of request `index`.

        Raises:
            IndexError: There is no such request; negative numbers are none.
        """
        document_type, topic, language, variant = self.place(index)
        _, prompt, values = self._variants.pick(variant)
        name = self._languages[language][1]
        return prompt.render(self._num_samples, name, self._document_types[document_type], self._topics[topic], *values)

    def topics(self, positions: range, together: int) -> Iterator[tuple[str, str, Iterable[range]]]:
        """
        What consecutive positions are about, topic by topic.

        Args:
            together: How many requests are in one range at most (count).

        Yields:
            Document type, topic, and the numbers, for `filled`, of what is asked about them, in ranges.

        Raises:
            IndexError: There is no such position.
        """
        if not 0 <= positions.start <= positions.stop <= self.positions:
            raise IndexError(f"the grid has {self.positions:,} positions and not all of {positions}")
        per_topic = len(self._languages) * self._per_subject
        subject, first = divmod(positions.start, per_topic)
        left = len(positions)
        while left:
            document_type, topic = divmod(subject, len(self._topics))
            asked = range(first, min(per_topic, first + left))
            numbers = self._cut(asked, together) if self._draws is None else self._drawn(document_type, topic, asked)
            yield self._document_types[document_type], self._topics[topic], numbers
            left -= len(asked)
            subject, first = subject + 1, 0

    def _drawn(self, document_type: int, topic: int, asked: range) -> Iterator[range]:
        assert self._draws is not None
        for one in asked:
            language, draw = divmod(one, self._per_subject)
            number = language * self._variants.total + self._draws.pick(document_type, topic, language, draw)
            yield range(number, number + 1)

    def filled(self, number: int) -> list[tuple[str, int | None]]:
        """
        A prompt with its language and its placeholders' values, cut where the document type or the topic belongs: each
        piece of text with 0 for the document type behind it, or 1 for the topic; the last piece has None.

        Args:
            number: Of language and combination, the combination fastest.
        """
        language, combination = divmod(number, self._variants.total)
        _, prompt, values = self._variants.pick(combination)
        return prompt.filled({"num_samples": self._num_samples, "language_name": self._languages[language][1]}, values)

    def longest(self, size: Callable[[str], int]) -> int:
        """No prompt is larger, where the size of a text is the sum of its parts' sizes."""
        axes = ([self._num_samples], [name for _, name in self._languages], self._document_types, self._topics)
        required = [max(map(size, axis)) for axis in axes]
        return max(prompt.longest(size, required) for prompt in self._variants.prompts)

    def cell(self, index: int) -> Cell:
        """
        What request `index` is about.

        Raises:
            IndexError: There is no such request; negative numbers are none.
        """
        *place, variant = self.place(index)
        subject = self.subject(*place)
        prompt_index, values = self.variant(variant)
        about: dict[str, str | None] = {"document_type": subject.document_type, "topic": subject.topic}
        return Cell(subject.language, about | values, prompt_index)

    def subject(self, document_type: int, topic: int, language: int) -> Subject:
        """By the numbers that `place` gives."""
        return Subject(self._languages[language][0], self._document_types[document_type], self._topics[topic])

    def variant(self, number: int) -> tuple[int, dict[str, str | None]]:
        """By the number that `place` gives: the prompt's index, and the placeholders' values as in `Cell`."""
        prompt_index, _, values = self._variants.pick(number)
        return prompt_index, dict(zip(self._names, values, strict=True))

    def place(self, index: int) -> tuple[int, int, int, int]:
        """
        Numbers of the document type, the topic, the language and the combination.

        Raises:
            IndexError: There is no such request; negative numbers are none.
        """
        position = index // self.entries
        if not 0 <= position < self.positions:
            raise IndexError(f"the grid has {len(self):,} requests and none with index {index:,}")
        subject, variant = divmod(position, self._per_subject)
        document_type, topic, language = self._subject(subject)
        if self._draws is not None:
            variant = self._draws.pick(document_type, topic, language, variant)
        return document_type, topic, language, variant

    def _subject(self, subject: int) -> tuple[int, int, int]:
        rest, language = divmod(subject, len(self._languages))
        document_type, topic = divmod(rest, len(self._topics))
        return document_type, topic, language


def _cut(numbers: range, most: int) -> list[range]:
    """At multiples of `most`, so that what is cut out of the same numbers is mostly the same."""
    first = numbers.start - numbers.start % most
    return [
        range(max(start, numbers.start), min(start + most, numbers.stop)) for start in range(first, numbers.stop, most)
    ]


class _Prompt:
    """A template made ready: `render` takes the required values, then one per declared placeholder."""

    def __init__(self, template: str, placeholders: Mapping[str, Sequence[str]]) -> None:
        names = tuple(placeholders)
        self.render = _renderer(template, (*REQUIRED_NAMES, *names))
        self._pieces = split_template(template)
        self._names = names
        self._choices = placeholders
        self.size = count_combinations(template, placeholders)
        used = used_placeholders(template, placeholders)
        self._axes = [(names.index(name), placeholders[name]) for name in reversed(used)]
        self._unused: list[str | None] = [None] * len(names)

    def filled(self, known: Mapping[str, str], values: Sequence[str | None]) -> list[tuple[str, int | None]]:
        """See `Grid.filled`; `known` are required values by name."""
        filled: list[tuple[str, int | None]] = []
        text = ""
        for before, name, optional in self._pieces:
            text += before
            if name is None:
                continue
            if optional:
                text += str(values[self._names.index(name)])
            elif name in known:
                text += known[name]
            else:
                filled.append((text, _MISSING.index(name)))
                text = ""
        return [*filled, (text, None)]

    def longest(self, size: Callable[[str], int], required: Sequence[int]) -> int:
        """See `Grid.longest`; `required` are the largest sizes of the required values."""
        total = 0
        for before, name, optional in self._pieces:
            total += size(before)
            if name is not None:
                total += max(map(size, self._choices[name])) if optional else required[REQUIRED_NAMES.index(name)]
        return total

    def values(self, combination: int) -> Sequence[str | None]:
        values = self._unused.copy()
        for slot, choices in self._axes:
            combination, choice = divmod(combination, len(choices))
            values[slot] = choices[choice]
        return values


def _renderer(template: str, names: Sequence[str]) -> Callable[..., str]:
    # str.format with numbered fields is one pass in C: it never looks into a value for further fields.
    parts = []
    for text, name, _ in split_template(template):
        parts.append(text.replace("{", "{{").replace("}", "}}"))
        if name is not None:
            parts.append(f"{{{names.index(name)}}}")
    return "".join(parts).format


class _Combinations:
    """All prompts' combinations, one after another."""

    def __init__(self, prompts: Sequence[_Prompt]) -> None:
        self.prompts = prompts
        self._starts = [0, *accumulate(prompt.size for prompt in prompts)]
        self.total = self._starts[-1]

    def pick(self, number: int) -> tuple[int, _Prompt, Sequence[str | None]]:
        """Prompt index, prompt, and a value for every declared placeholder."""
        prompt_index = bisect_right(self._starts, number) - 1
        prompt = self.prompts[prompt_index]
        return prompt_index, prompt, prompt.values(number - self._starts[prompt_index])


class _Draws:
    """The combinations that a subject draws in random mode."""

    def __init__(self, expansion: Mapping[str, Any], snapshot: Mapping[str, Any], combinations: int) -> None:
        self.count: int = expansion["num_random_samples"]
        self._combinations = combinations
        self._seed = _digest(str(expansion["seed"]))
        self._document_types = _distinct_digests(snapshot["document_types"])
        self._topics = _distinct_digests(snapshot["topics"])
        self._languages = _distinct_digests([code for code, _ in snapshot["languages"]])
        # A subject's draws are mostly asked for one after another.
        self._keys = lru_cache(maxsize=16)(self._keys_of)

    def pick(self, document_type: int, topic: int, language: int, draw: int) -> int:
        """The number of the combination that a subject's draw number `draw` gives."""
        turn, place = divmod(draw, self._combinations)
        return shuffled(place, self._combinations, self._keys(document_type, topic, language, turn))

    def _keys_of(self, document_type: int, topic: int, language: int, turn: int) -> tuple[int, ...]:
        subject = self._document_types[document_type] + self._topics[topic] + self._languages[language]
        return shuffle_keys(self._seed + subject + str(turn).encode())


def _digest(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=16).digest()


def _distinct_digests(values: Sequence[str]) -> list[bytes]:
    """One digest a value; a value that comes again gets another one."""
    seen: Counter[str] = Counter()
    digests = []
    for value in values:
        seen[value] += 1
        digests.append(_digest(f"{seen[value]} {value}"))
    return digests


# Fewer rounds leave some orders of a handful of combinations measurably more frequent than others.
_ROUNDS = 12
_PRIME = 2**127 - 1


def shuffle_keys(secret: bytes) -> tuple[int, ...]:
    """Keys for `shuffled`: others for every other `secret`."""
    stream = shake_256(secret).digest(16 * _ROUNDS)
    return tuple(int.from_bytes(stream[start : start + 16], "big") for start in range(0, len(stream), 16))


def shuffled(place: int, size: int, keys: Sequence[int]) -> int:
    """
    What stands at `place` in an order of `range(size)` that `keys` choose, without making the order.

    A Feistel network over a rectangle a little larger than `size`: each round adds to one half a number made from the
    other, which can be undone, so no two places meet. What falls outside the range is sent round again.

    Args:
        keys: An even number of them, from `shuffle_keys`.
    """
    rows = isqrt(size - 1) + 1
    columns = (size - 1) // rows + 1
    mix = _cube if rows < 2**64 else _wide_hash
    while True:
        row, column = divmod(place, columns)
        for number in range(0, len(keys), 2):
            row = (row + mix(column, keys[number], rows)) % rows
            column = (column + mix(row, keys[number + 1], columns)) % columns
        place = row * columns + column
        if place < size:
            return place


def _cube(number: int, key: int, _: int) -> int:
    """A number far above 2**64 that looks unrelated to `number`; several times faster than a hash."""
    return pow(number + key, 3, _PRIME)


def _wide_hash(number: int, key: int, bound: int) -> int:
    """The same, far above any `bound`."""
    return int.from_bytes(shake_256(f"{key:x} {number:x}".encode()).digest(bound.bit_length() // 8 + 8), "big")
