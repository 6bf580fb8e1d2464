"""Random numbers, from a seed where an answer must be the same in every process, and the ids made of them."""

from __future__ import annotations

import random
import string

ALPHANUMERIC = string.ascii_letters + string.digits

FRESH = random.SystemRandom()


def seeded(seed: object) -> random.Random:
    """The same numbers for the same seed, compared by its text."""
    return random.Random(str(seed))  # noqa: S311 - stand-in data, nothing to guard


def letters(source: random.Random, count: int, alphabet: str) -> str:
    return "".join(source.choices(alphabet, k=count))
