"""
Submission lines by splicing: what an adapter's `encode` writes the same way for every request, and holes for the rest.

Made from encoded requests, so that no format is known here; whoever uses it checks it against `encode` now and then.
"""

from __future__ import annotations

from collections.abc import Callable
from json.encoder import encode_basestring
from typing import NamedTuple

from batchfast.records import Request

# Stand in for what varies while the constant bytes are found; nothing in them is escaped in JSON.
_ID, _PROMPT = "batchfast-hole-for-the-id", "batchfast-hole-for-the-prompt"


def escaped(text: str) -> bytes:
    """
    A text as it stands between the quotes of a JSON string in UTF-8.

    Character by character: what is put together of escaped parts is escaped.

    Raises:
        UnicodeEncodeError: Half of a character (a lone surrogate).
    """
    return encode_basestring(text)[1:-1].encode()


class Splice(NamedTuple):
    """The constant bytes of a line, its newline included: before the custom_id, before the prompt, and behind it."""

    head: bytes
    middle: bytes
    tail: bytes

    @classmethod
    def of(cls, encode: Callable[[Request], bytes], num_samples: int, doublings: int) -> Splice | None:
        """From an adapter's `encode`; None where the id and the prompt do not stand once each, in this order."""
        line = encode(Request(_ID, _PROMPT, num_samples, doublings)) + b"\n"
        head, at_id, rest = line.partition(_ID.encode())
        middle, at_prompt, tail = rest.partition(_PROMPT.encode())
        if not (at_id and at_prompt) or _ID.encode() in rest or _PROMPT.encode() in tail:
            return None
        return cls(head, middle, tail)

    def template(self, id_prefix: str, attempt: int, prompt: bytes) -> bytes:
        """
        A line as `records.custom_id` and `encode` would make it, for the operator `%`: it takes the request's index,
        then what the prompt's template takes.

        Args:
            prompt: A template; its text as `escaped` and then `literal` make it.
        """
        head, tail = literal(self.head) + literal(f"{id_prefix}-".encode()), literal(self.tail)
        return b"%b%%d-%d%b%b%b" % (head, attempt, literal(self.middle), prompt, tail)

    def longest_line(self, longest_id: int, longest_prompt: int) -> int:
        """Size of a line with such an id and such a prompt (bytes)."""
        return len(self.head) + longest_id + len(self.middle) + longest_prompt + len(self.tail)


def literal(data: bytes) -> bytes:
    """Bytes as they stand in a template for the operator `%`."""
    return data.replace(b"%", b"%%")
