"""Read the elements of one array of a JSON object too large to be held in memory."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from typing import IO, Any

from batchfast.fake.service import BadBody
from batchfast.fake.shapes import check_json, refuse_constant

_CHUNK_BYTES = 1 << 20
_SPACE = " \t\r\n"


def iter_member(source: IO[bytes], name: str) -> Iterator[Any]:
    """
    Yield the elements of the array `name` of the object in `source`.

    Raises:
        BadBody: The text is no JSON object, found while reading.
        NoArray: The object has no member of that name, or another value than an array.
    """
    window = _Window(source)
    window.expect("{")
    found = False
    more = not window.take("}")
    while more:
        key = window.value()
        window.expect(":")
        if key == name:
            if found:
                raise BadBody(f"{name!r} stands there twice")
            found = True
            if not window.take("["):
                raise NoArray("Input should be a valid list")
            yield from _elements(window)
        else:
            window.value()
        more = window.take(",")
        if not more:
            window.expect("}")
    window.expect_end()
    if not found:
        raise NoArray("Field required")


def _elements(window: _Window) -> Iterator[Any]:
    if window.take("]"):
        return
    while True:
        yield window.value()
        if not window.take(","):
            break
    window.expect("]")


class NoArray(Exception):
    """There is no such array; what the service would say of it."""


class _Window:
    """The part of a text that is being read."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self._utf8 = codecs.getincrementaldecoder("utf-8")()
        self._decoder = json.JSONDecoder(parse_constant=refuse_constant)
        self._text = ""
        self._at = 0

    def take(self, token: str) -> bool:
        """Step over `token` if it comes next."""
        self._skip_space()
        found = self._text.startswith(token, self._at)
        self._at += len(token) if found else 0
        return found

    def expect(self, token: str) -> None:
        if not self.take(token):
            raise BadBody(f"expected {token!r}")

    def expect_end(self) -> None:
        self._skip_space()
        if self._at < len(self._text):
            raise BadBody("there is more after the object's end")

    def value(self) -> Any:
        """The whole JSON value that comes next."""
        self._skip_space()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except ValueError as exc:
                # Either no JSON, or its end has not been read yet.
                if not self._more():
                    raise BadBody(str(exc)) from exc
                continue
            except RecursionError as exc:
                raise BadBody("nested too deeply") from exc
            # A number at the very end of what was read may go on, also where it is cut after a point or an e.
            if isinstance(value, int | float) and not self._text[end:].strip("0123456789+-.eE") and self._more():
                continue
            self._at = end
            try:
                check_json(value)
            except ValueError as exc:
                raise BadBody(str(exc)) from exc
            return value

    def _skip_space(self) -> None:
        while True:
            while self._at < len(self._text) and self._text[self._at] in _SPACE:
                self._at += 1
            if self._at < len(self._text) or not self._more():
                return

    def _more(self) -> bool:
        chunk = self._source.read(_CHUNK_BYTES)
        if not chunk:
            return False
        try:
            self._text = self._text[self._at :] + self._utf8.decode(chunk)
        except UnicodeDecodeError as exc:
            raise BadBody(str(exc)) from exc
        self._at = 0
        return True
