"""Text that others wrote, made harmless for a terminal."""

from __future__ import annotations

import json
import unicodedata
from typing import Any, TextIO

# Control and format characters (ESC and C1 sequences, bidi overrides), line and paragraph separators.
_HARMFUL = ("Cc", "Cf", "Zl", "Zp")


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a person reads along; a program that was started without the stream has None in its place."""
    return stream is not None and stream.isatty()


def is_utf8(text: str) -> bool:
    """False for a file's name that is no text, of which Python keeps the odd bytes as lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def plain(text: str) -> str:
    """Without the control characters by which untrusted text could move a terminal's cursor or forge lines."""
    if text.isprintable():
        return text
    return "".join("\ufffd" if _is_harmful(character) and character not in "\n\t" else character for character in text)


def one_line(text: str, width: int | None = 100) -> str:
    """A text on one line, its beginning where it is longer than `width` (characters; None: all of it)."""
    flat = " ".join(plain(text).split())
    return flat if width is None or len(flat) <= width else flat[: width - 1] + "…"


def json_line(value: Any) -> str:
    """JSON on one line that says the same and holds no such character: within it they are all escaped."""
    text = json.dumps(value, ensure_ascii=False)
    if text.isprintable():
        return text
    return "".join(json.dumps(one)[1:-1] if _is_harmful(one) else one for one in text)


def _is_harmful(character: str) -> bool:
    return not character.isprintable() and unicodedata.category(character) in _HARMFUL
