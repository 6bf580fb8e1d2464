"""Consecutive prompts of a grid, as the bytes they are in a submission line: several times faster than one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from operator import itemgetter

from batchfast.grid import Grid
from batchfast.llms.splice import escaped

# Escaped values, and templates with their placeholders filled in, that are kept (count).
_KEPT_VALUES = 65_536
_KEPT_TEMPLATES = 4_096


class Walk:
    """The prompts of a grid as `escaped(grid.prompt(index))`, each value and each piece of a template escaped once."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._escaped = lru_cache(_KEPT_VALUES)(escaped)
        self._template = lru_cache(_KEPT_TEMPLATES)(self._make_template)

    def prompts(self, positions: range) -> Iterator[bytes]:
        """
        Of consecutive positions.

        Raises:
            UnicodeEncodeError: A value holds half of a character (a lone surrogate).
        """
        for values, combinations in self._grid.subjects(positions):
            known = tuple(map(self._escaped, values))
            for combination in combinations:
                template, pick = self._template(combination)
                yield template % pick(known)

    def _make_template(self, combination: int) -> tuple[bytes, Callable[[tuple[bytes, ...]], tuple[bytes, ...]]]:
        """A prompt in which only the required values are missing, and which of them it takes, in order."""
        pieces = self._grid.filled(combination)
        template = b"%b".join(escaped(text).replace(b"%", b"%%") for text, _ in pieces)
        # Every prompt has all four, so that the picked values are always a tuple.
        return template, itemgetter(*(slot for _, slot in pieces if slot is not None))

    def longest(self) -> int:
        """No prompt is longer (bytes)."""
        return self._grid.longest(lambda text: len(escaped(text)))
