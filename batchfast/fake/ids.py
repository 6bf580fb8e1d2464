"""Random numbers, from a seed where an answer must be the same in every process, and the ids made of them."""

from __future__ import annotations

import random
import string
from collections.abc import Iterator
from contextlib import contextmanager

ALPHANUMERIC = string.ascii_letters + string.digits


class _Fresh(random.SystemRandom):
    """New numbers every time, except within `repeatable`."""

    source: random.Random | None = None

    def random(self) -> float:
        return super().random() if self.source is None else self.source.random()

    def getrandbits(self, k: int) -> int:
        return super().getrandbits(k) if self.source is None else self.source.getrandbits(k)


FRESH = _Fresh()


@contextmanager
def repeatable(seed: object) -> Iterator[None]:
    """Let every fake of this process give the same ids again, for recordings that can be compared."""
    FRESH.source = seeded(seed)
    try:
        yield
    finally:
        FRESH.source = None


def seeded(seed: object) -> random.Random:
    """The same numbers for the same seed, compared by its text."""
    return random.Random(str(seed))  # noqa: S311 - stand-in data, nothing to guard


def letters(source: random.Random, count: int, alphabet: str) -> str:
    return "".join(source.choices(alphabet, k=count))
