"""
Strings for the `format` and the `pattern` of a JSON schema.

The ready-made generators for regular expressions do not fit: rstr has had no release since 2023, exrex is under
the AGPL, and neither can be held to a length. Python's own parser does most of the work.
"""

from __future__ import annotations

import math
import random
import re
import string
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from re import _constants as sre  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any

_ATTEMPTS = 200
_MAX_CHARS = 100_000
_WORD = string.ascii_letters + string.digits
_ANY = _WORD + " .,:;-_!?@#%&*+=/()[]{}<>'\"\\|~^$`\t\né中"
_CATEGORIES: dict[Any, Callable[[str], bool]] = {
    sre.CATEGORY_DIGIT: str.isdigit,
    sre.CATEGORY_NOT_DIGIT: lambda char: not char.isdigit(),
    sre.CATEGORY_SPACE: str.isspace,
    sre.CATEGORY_NOT_SPACE: lambda char: not char.isspace(),
    sre.CATEGORY_WORD: lambda char: char.isalnum() or char == "_",
    sre.CATEGORY_NOT_WORD: lambda char: not (char.isalnum() or char == "_"),
}


def formatted(name: str, rng: random.Random, least: int) -> str | None:
    """A string of a known format, of at least so many characters where the format has room for them."""
    day = f"2026-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"
    time = f"{rng.randint(0, 23):02}:{rng.randint(0, 59):02}:00"
    host, number = "example.com", rng.randint(1, 999)
    if name in ("email", "uri", "hostname"):
        host = "archive." * max(0, math.ceil((least - 12) / 8)) + host
    elif name in ("date-time", "time"):
        time += f".{'0' * least}" if least > 20 else ""
    formats = {
        "date": day,
        "date-time": f"{day}T{time}Z",
        "time": f"{time}Z",
        "duration": f"P{number:0{max(1, least - 2)}}D",
        "email": f"reader{number}@{host}",
        "hostname": host,
        "ipv4": f"192.0.2.{number % 256}",
        "ipv6": f"2001:db8::{number}",
        "uri": f"https://{host}/{number}",
        "uuid": f"{rng.getrandbits(32):08x}-0000-4000-8000-{rng.getrandbits(48):012x}",
    }
    return formats.get(name)


@lru_cache(maxsize=1024)
def compiled(pattern: str) -> re.Pattern[str] | None:
    """The pattern as Python reads it; None if it cannot (JavaScript knows more), and then nothing is asked."""
    try:
        return re.compile(re.sub(r"\(\?<(?=[A-Za-z_])", "(?P<", pattern))
    except (re.error, RecursionError, OverflowError):
        return None


def all_match(patterns: Iterable[re.Pattern[str]], text: str) -> bool:
    return all(pattern.search(text) for pattern in patterns)


def matching(patterns: Sequence[re.Pattern[str]], rng: random.Random, least: int = 0, most: int = 1 << 30) -> str:
    """
    A string that matches all patterns. The last one tried if none was found, as for patterns that contradict.

    Args:
        least, most: Characters of the string.
    """
    extra, text = 3, ""
    for attempt in range(_ATTEMPTS):
        # Every other one at its longest, which soon comes near a length asked for.
        is_longest = attempt % 2 == 1
        generator = _Generator(rng, extra, is_longest=is_longest)
        text = generator.make(_parsed(patterns[attempt % len(patterns)].pattern))
        if generator.is_spent:
            if not extra:
                break
            extra = 0
            continue
        # Where the pattern has no anchors, anything may follow.
        padded = text + "".join(rng.choices(string.ascii_lowercase, k=max(0, least - len(text))))
        for made in (text, padded):
            if least <= len(made) <= most and all_match(patterns, made):
                return made
        if is_longest and len(text) < least:
            extra = min(extra + max(1, extra // 4), _MAX_CHARS)
        elif is_longest and len(text) > most:
            extra -= min(extra, max(1, extra // 8))
    return text


@lru_cache(maxsize=1024)
def _parsed(pattern: str) -> Any:
    return _parser.parse(pattern)


class _Generator:
    """Writes one string. Repetitions without end get up to `extra` more than they must have."""

    def __init__(self, rng: random.Random, extra: int, *, is_longest: bool) -> None:
        self._rng = rng
        self._extra = extra
        self._is_longest = is_longest
        self._groups: dict[int, str] = {}
        self._left = _MAX_CHARS

    @property
    def is_spent(self) -> bool:
        """Whether the string would be longer than any wanted, and so was left unfinished."""
        return self._left <= 0

    def make(self, parsed: Any) -> str:
        return "".join(self._one(code, value) for code, value in parsed)

    def _one(self, code: Any, value: Any) -> str:
        if code in (sre.LITERAL, sre.NOT_LITERAL, sre.ANY, sre.IN):
            self._left -= 1
            return self._char(code, value)
        if code is sre.BRANCH:
            return self.make(self._rng.choice(value[1]))
        if code is sre.SUBPATTERN:
            made = self.make(value[-1])
            self._groups[value[0]] = made
            return made
        if code in (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT):
            least, most, inner = value
            highest = max(least, min(most, least + self._extra))
            times = highest if self._is_longest else self._rng.randint(least, highest)
            return "".join(self.make(inner) for _ in range(times) if self._left > 0)
        if code is sre.ATOMIC_GROUP:
            return self.make(value)
        if code is sre.GROUPREF:
            return self._groups.get(value, "")
        # Anchors and assertions add nothing: whether they hold is seen in the end.
        return ""

    def _char(self, code: Any, value: Any) -> str:
        if code is sre.LITERAL:
            return chr(value)
        if code is sre.ANY:
            return self._rng.choice(_WORD)
        if code is sre.NOT_LITERAL:
            value = [(sre.NEGATE, None), (sre.LITERAL, value)]
        if value[0][0] is sre.NEGATE:
            allowed = [char for char in _ANY if not any(_holds(item, char) for item in value[1:])]
            return self._rng.choice(allowed or ["€"])
        kind, what = self._rng.choice(value)
        if kind is sre.LITERAL:
            return chr(what)
        if kind is sre.RANGE:
            return chr(self._rng.randint(*what))
        return self._rng.choice([char for char in _ANY if _CATEGORIES[what](char)])


def _holds(item: Any, char: str) -> bool:
    kind, what = item
    if kind is sre.CATEGORY:
        return _CATEGORIES[what](char)
    return bool(ord(char) == what if kind is sre.LITERAL else what[0] <= ord(char) <= what[1])
