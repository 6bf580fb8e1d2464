"""
Reply text to texts.

A reply is read the strict way first. What is not plain JSON is looked for inside fences and prose, and mended by
`json-repair` only where its brackets are closed, and believed only where the texts are those that the reply shows. A
reply that was cut short is never mended: its complete texts are read one by one, and its last one is dropped.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

import msgspec

from batchfast.records import Ending, RequestError, Result

_EXCERPT_CHARS = 80

# json-repair takes time in proportion to (length x quotes) where quotes are stray: 1 s at about this product.
_MAX_REPAIR_WORK = 30_000_000

# Where the object begins that we asked for. `texts` is its only key, so it is the first.
_START = re.compile(r"""\{\s*["'“”]?texts["'“”]?\s*:\s*\[\s*""")
_STRING_OR_BRACKET = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|["{}\[\]]', re.DOTALL)
_NEXT_TEXT = re.compile(r'\s*,\s*(?="|\Z)')
_AFTER_TEXT = re.compile(r"\s*(?:[,\]}]|\Z)")
_ESCAPE_OR_STRAY = re.compile(r'\\["\\/bfnrt]|\\u[0-9a-fA-F]{4}|["\\]')
_CLOSED = re.compile(r"[\]}][\s`]*\Z|\]\s*\}")
_CLOSING_QUOTE = {'"': '"', "'": "'", "“": "”"}


class Reply(NamedTuple):
    """
    What one result is worth.

    Attributes:
        texts: The samples, none of them blank, byte for byte as the model wrote them; empty exactly if `error` is set.
        error: Why there is none. The types made here: "refused", "blocked", "truncated", "unparsable", "empty".
        asked: How many texts were asked for; `len(texts)` may be fewer or more.
    """

    texts: tuple[str, ...]
    error: RequestError | None
    asked: int


class _Unreadable(Exception):
    """The text of a reply gives no sample; `type` is the error's."""

    def __init__(self, type_: str, message: str) -> None:
        super().__init__(message)
        self.type = type_


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):  # a key twice: no telling which value to take
        raise _unparsable()
    return made


class _Samples(msgspec.Struct, forbid_unknown_fields=True):
    """What `schema.data_rows` asks for."""

    texts: list[str]


_decode_samples = msgspec.json.Decoder(_Samples).decode
# Where a key may stand that comes a second time, of which msgspec would take the value.
_SECOND_KEY = re.compile(r'\]\s*,\s*"')
_STRICT_DECODER = json.JSONDecoder(object_pairs_hook=_object)
# Models write newlines into strings as they are; nothing else is forgiven here.
_DECODER = json.JSONDecoder(object_pairs_hook=_object, strict=False)


def parse_reply(result: Result, num_samples: int) -> Reply:
    """
    The texts of one result, or why it has none. Never raises for what a model or provider wrote.

    Args:
        result: Any result; one that did not succeed keeps its own error.
        num_samples: How many texts the request asked for (count).
    """
    if result.outcome != "succeeded":
        return Reply((), result.error or _error_of_outcome(result), num_samples)
    if found := plain_texts(result.text, result.ending):
        return Reply(tuple(found), None, num_samples)
    try:
        texts = _read(result)
    except _Unreadable as unreadable:
        return Reply((), _error(unreadable.type, str(unreadable), result.text), num_samples)
    samples = tuple(filter(_is_full, texts))
    if not samples:
        return Reply((), _error("empty", "the reply holds no text", result.text), num_samples)
    return Reply(samples, None, num_samples)


def plain_texts(text: str | None, ending: Ending | None) -> list[str]:
    """The texts of a reply that is what was asked for and nothing else; none of any other: ask `parse_reply`."""
    if ending != "complete" or not text:
        return []
    texts = _read_fast(text) or []
    return texts if all(map(_is_full, texts)) else []


def _is_full(text: str) -> bool:
    return text != "" and not text.isspace()


def _read(result: Result) -> list[str]:
    reason = f" ({result.finish_reason})" if result.finish_reason else ""
    if result.ending == "refused":
        raise _Unreadable("refused", f"the model refused{reason}")
    if result.ending == "blocked":
        raise _Unreadable("blocked", f"the provider blocked the reply{reason}")
    text = result.text
    if result.ending == "truncated":
        texts = _texts_before_the_cut(text or "", f"the reply was cut short{reason}", by_provider=True)
        return [_writable(text) for text in texts]
    if text is None or not text.strip():
        raise _Unreadable("empty", f"the reply has no text{reason}")
    found = _read_fast(text)
    return [_writable(text) for text in _read_slowly(text)] if found is None else found


def _read_slowly(text: str) -> list[str]:
    try:
        value = _STRICT_DECODER.decode(text)
    except (ValueError, RecursionError):
        return _search(text)
    return _validated(value)


def _read_fast(text: str) -> list[str] | None:
    """The texts of a reply that is what was asked for and nothing else; None where the others must look."""
    try:
        texts = _decode_samples(text).texts
    except ValueError:
        return None
    return None if text.find("]") < text.rfind("]") and _SECOND_KEY.search(text) else texts


def _validated(value: Any) -> list[str]:
    """What `schema.data_rows` asks for, lone surrogates included, which are mended only later."""
    if type(value) is dict and value.keys() == {"texts"}:
        texts = value["texts"]
        if type(texts) is list and all(type(text) is str for text in texts):
            return texts
    raise _unparsable()


def _search(text: str) -> list[str]:
    """The one object with texts in a reply that is more, or less, than JSON."""
    start = _START.search(text)
    if start is None or not _is_balanced(text[: start.start()]):
        raise _unparsable()
    try:
        value, end = _DECODER.raw_decode(text, start.start())
    except (ValueError, RecursionError):
        return _mended(text, start)
    if _START.search(text, end):  # a draft and a final version, or one object per text: no telling which to take
        raise _unparsable()
    return _validated(value)


def _mended(text: str, start: re.Match[str]) -> list[str]:
    end = _end_of_object(text, start.start())
    if end is None:
        # What closes its brackets was not cut: a stray quote hides them, and would pass for the end of a text.
        if _CLOSED.search(text, start.end()):
            raise _unparsable()
        return _texts_before_the_cut(text, "the reply ends before its JSON does", by_provider=False)
    source, rest = text[start.start() : end], text[end:]
    # Brackets and quotes after the end: a stray quote has misled us about where the end is.
    if any(mark in rest for mark in '{}[]"') or source.count('"') * len(source) > _MAX_REPAIR_WORK:
        raise _unparsable()
    from json_repair import repair_json  # few replies need it

    try:
        value = repair_json(source, return_objects=True, skip_json_loads=True)
    except (ValueError, RecursionError):  # nested deeper than it can follow
        raise _unparsable() from None
    # At a stray quote json-repair may split a text, join two or drop a part, and it strips what ends in whitespace: so
    # it has the last word on what a list of texts is, but its texts are believed only where they are those shown.
    shown = _texts_shown(text[start.end() : end])
    if [_bare(item) for item in _validated(value)] != [_bare(item) for item in shown]:
        raise _unparsable()
    return shown


def _bare(text: str) -> str:
    return _writable(text).strip()


def _texts_shown(items: str) -> list[str]:
    """
    The texts of a malformed list as a person reads it: cut at each `", "`. `items` begins behind its bracket.

    Raises:
        _Unreadable: Two quotes have something between them that is neither a comma nor words, like `"; "`.
    """
    opening = items[:1]
    closing = _CLOSING_QUOTE.get(opening)
    body = items.rstrip(" \t\r\n,]}`")
    if closing is None or len(body) < 2 or not body.endswith(closing):
        return []
    pieces: list[str] = []
    begin = 1
    between = re.compile(rf"\\.|{closing}([^\w\\{closing}]*){opening}", re.DOTALL)
    for match in between.finditer(body, begin, len(body) - 1):
        if match[0].startswith("\\"):
            continue
        if match[1].strip() != ",":
            raise _unparsable()
        pieces.append(body[begin : match.start()])
        begin = match.end()
    pieces.append(body[begin:-1])
    return [_unescaped(piece) for piece in pieces]


def _unescaped(piece: str) -> str:
    """The inside of a JSON string, its stray quotes and backslashes taken as they are."""
    proper = _ESCAPE_OR_STRAY.sub(lambda match: match[0] if len(match[0]) > 1 else f"\\{match[0]}", piece)
    return str(_DECODER.decode(f'"{proper}"'))


def _texts_before_the_cut(text: str, message: str, *, by_provider: bool) -> list[str]:
    """
    The texts of a reply that was cut, without the last: even closed by a quote or brackets it may lack its end, since
    a provider that parses the reply itself (Anthropic's forced tool) closes what the limit left open.

    Raises:
        _Unreadable: None is left.
    """
    start = _START.search(text)
    if start is None or not _is_balanced(text[: start.start()]):
        raise _Unreadable("truncated", message) if by_provider else _unparsable()
    texts, cut = _followed_by_another(text, start.end())
    if not texts:
        raise _Unreadable("truncated", message) if by_provider or cut else _unparsable()
    return texts


def _followed_by_another(text: str, at: int) -> tuple[list[str], bool]:
    """The strings of a list up to the first that no other follows; and whether it stops like a list cut short."""
    texts: list[str] = []
    while text.startswith('"', at):
        try:
            item, at = _DECODER.raw_decode(text, at)
        except ValueError:
            return texts, True
        following = _NEXT_TEXT.match(text, at)
        if following is None:
            return texts, _AFTER_TEXT.match(text, at) is not None
        texts.append(item)
        at = following.end()
    return texts, at == len(text)


def _end_of_object(text: str, start: int) -> int | None:
    """Where the object that begins at `start` is closed; None if the text ends in a string or before that."""
    open_brackets: list[str] = []
    last = start
    for match in _STRING_OR_BRACKET.finditer(text, start):
        mark, last = match[0], match.end()
        if mark == '"':
            return None
        if mark in "{[":
            open_brackets.append(mark)
        elif mark == "]" and open_brackets[-1] == "[":
            open_brackets.pop()
        elif mark == "}":  # closes its object, also over a list left open
            while open_brackets.pop() == "[":
                pass
            if not open_brackets:
                return last
    # The list is closed and the reply goes on, so it was not cut: only the last brace is missing.
    return len(text) if open_brackets == ["{"] and text[last:].strip() else None


def _is_balanced(prose: str) -> bool:
    """Nothing is open where the object begins: it is not a part of something larger."""
    return prose.count("{") == prose.count("}") and prose.count("[") == prose.count("]")


def _writable(text: str) -> str:
    r"""The text with lone surrogates (`"\ud800"` in JSON), which UTF-8 cannot hold, as U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _unparsable() -> _Unreadable:
    return _Unreadable("unparsable", 'the reply is not {"texts": [...]}')


def _error(type_: str, message: str, text: str | None) -> RequestError:
    return RequestError(type_, _with_excerpt(message, text), retryable=type_ in ("unparsable", "empty"))


def _error_of_outcome(result: Result) -> RequestError:
    return RequestError(
        result.outcome, f"the provider says {result.outcome}, without a reason", retryable=result.outcome == "expired"
    )


def _with_excerpt(message: str, text: str | None) -> str:
    """One line: the message and how the text begins, without control characters."""
    beginning = _writable((text or "")[: 2 * _EXCERPT_CHARS])
    words = " ".join("".join(char if char.isprintable() else " " for char in beginning).split())
    if not words:
        return message
    cut = len(words) > _EXCERPT_CHARS or len(text or "") > 2 * _EXCERPT_CHARS
    return f"{message}: {words[:_EXCERPT_CHARS]}{'…' if cut else ''}"
