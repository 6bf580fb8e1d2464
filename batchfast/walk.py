"""Consecutive requests of a grid as the lines of a submission file: many times faster than one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from operator import itemgetter
from typing import Any, NamedTuple, Self

from batchfast.grid import Grid
from batchfast.llms.splice import Splice, escaped, literal

# Lines that are handed on together (bytes, at least; one subject more, at most).
BLOCK_BYTES = 1 << 19

# Escaped values that are kept (count).
_KEPT_VALUES = 1_024

# How large a template may be, and all that are kept together (bytes, about).
_TEMPLATE_BYTES = 1 << 16
_KEPT_BYTES = 1 << 23


class Block(NamedTuple):
    """
    Encoded requests of consecutive positions, a newline behind each.

    Attributes:
        largest_bytes: Size of the largest line, or a byte more: where the ids become a digit longer.
    """

    positions: range
    data: bytes
    largest_bytes: int

    @classmethod
    def of(cls, positions: range, lines: list[bytes]) -> Self:
        return cls(positions, b"".join(lines), max(map(len, lines)))

    def lines(self) -> list[bytes]:
        return [line + b"\n" for line in self.data.split(b"\n")[:-1]]


class Walk:
    """The requests of one attempt of a provider entry; each value, and each piece of a prompt, is escaped once."""

    def __init__(self, grid: Grid, splice: Splice, entry: int, id_prefix: str, attempt: int) -> None:
        self._grid = grid
        self._splice = splice
        self._entry = entry
        self._id_prefix = id_prefix
        self._attempt = attempt
        line_bytes = len(self._line(0)[0])
        self._together = max(1, min(grid.consecutive, _TEMPLATE_BYTES // line_bytes))
        self._escaped = lru_cache(_KEPT_VALUES)(escaped)
        self._template = lru_cache(max(1, _KEPT_BYTES // (self._together * line_bytes)))(self._make_template)

    def blocks(self, positions: range) -> Iterator[Block]:
        """
        The lines of consecutive positions.

        Raises:
            UnicodeEncodeError: A value holds half of a character (a lone surrogate).
        """
        parts: list[bytes] = []
        size = largest = 0
        start, step = positions.start, self._grid.entries
        index = start * step + self._entry
        for document_type, topic, ranges in self._grid.topics(positions, self._together):
            values = self._escaped(document_type), self._escaped(topic)
            for numbers in ranges:
                template = self._template(numbers)
                indices = range(index, index + len(numbers) * step, step)
                part = template.text % template.pick((*values, *indices))
                index = indices.stop
                parts.append(part)
                size += len(part)
                if len(part) > largest:
                    largest = max(largest, template.largest_bytes(len(values[0]), len(values[1]), indices[-1]))
                if size >= BLOCK_BYTES:
                    yield Block(range(start, index // step), b"".join(parts), largest)
                    parts, size, largest, start = [], 0, 0, index // step
        if parts:
            yield Block(range(start, positions.stop), b"".join(parts), largest)

    def _make_template(self, numbers: range) -> _Template:
        """As many lines, in which only ids, document types and topics are missing."""
        lines = [self._line(number) for number in numbers]
        # Behind the two values, the index of each line.
        slots = [slot for at, (_, missing) in enumerate(lines, start=2) for slot in (at, *missing)]
        sizes: dict[tuple[int, int], int] = {}
        for text, missing in lines:
            often = missing.count(0), missing.count(1)
            constant = len(text % (0, *[b""] * len(missing))) - len("0")
            sizes[often] = max(sizes.get(often, 0), constant)
        return _Template(b"".join(text for text, _ in lines), itemgetter(*slots), sizes)

    def _line(self, number: int) -> tuple[bytes, list[int]]:
        """A line as a template, and what it takes behind its index: 0 for the document type, 1 for the topic."""
        pieces = self._grid.filled(number)
        prompt = b"%b".join(literal(escaped(text)) for text, _ in pieces)
        missing = [slot for _, slot in pieces if slot is not None]
        return self._splice.template(self._id_prefix, self._attempt, prompt), missing


class _Template(NamedTuple):
    """
    Lines about one document type and one topic.

    Attributes:
        text: For the operator `%`.
        pick: What that takes: from document type, topic, and the lines' indices.
        sizes: How often document type and topic stand in a line (count), to the most that such a line has without
            them and its index (bytes).
    """

    text: bytes
    pick: Callable[[tuple[Any, ...]], tuple[Any, ...]]
    sizes: dict[tuple[int, int], int]

    def largest_bytes(self, document_type: int, topic: int, index: int) -> int:
        """Of a line with values so large (bytes), and an index of so many digits."""
        most = max(rest + often[0] * document_type + often[1] * topic for often, rest in self.sizes.items())
        return most + len(str(index))


def longest_prompt(grid: Grid) -> int:
    """No prompt of the grid is longer, as it stands in a line (bytes)."""
    return grid.longest(lambda text: len(escaped(text)))
