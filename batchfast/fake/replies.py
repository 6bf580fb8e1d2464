# ruff: noqa: RUF001 - Chinese has its own punctuation
"""
A fixed answer for a given request: the same words for the same prompt, model and seed, in every process.

The services turn their bodies into an `Ask`, and the `Reply` back into theirs. Answers are prose from the
prompt's own words, in the language it asks for, or JSON that satisfies the schema it sends.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

from batchfast.fake.filler import count_in, fill
from batchfast.fake.ids import seeded
from batchfast.fake.languages import (
    ABOVE_BEFORE,
    BELOW_BEFORE,
    LEAST_AFTER,
    LEAST_BEFORE,
    LENGTH_UNITS,
    MOST_AFTER,
    MOST_BEFORE,
    Language,
    asked_language,
    word_pool,
)
from batchfast.fake.schema_plans import Schema, plan_for

_CHARS_PER_TOKEN = 4
# Japanese and Chinese put no spaces between words, which have about two characters.
_CHARS_PER_WORD = 2
_MAX_WORDS = 5000
_ANY_OBJECT = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
_CLOSING = ".,;:!?"
_REFUSAL = "I'm sorry, but I can't help with that request."

_STOPS = r"\n.,;:!?\"”(»」。，、"
_TOPICS = (
    re.compile(
        rf"\b(?:about|on|regarding)\s+(?:the topic of\s+)?[\"'“]?([^{_STOPS}]+?)"
        rf"(?=\s+(?:for|in|with|as|written|that)\b|[{_STOPS}]|$)"
    ),
    re.compile(
        r"\b(?:sur|au sujet de|zum Thema|über|sobre|acerca de|su|sul|sulla|sulle|sui|riguardo a|over)\s+"
        rf"[\"'“«]?\s*([^{_STOPS}]+?)"
        rf"(?=\s+(?:pour|en|für|auf|mit|para|com|con|per|in|voor|met)\b|[{_STOPS}]|$)"
    ),
    re.compile(rf"关于([^{_STOPS}的\s]+)|([^{_STOPS}\s]+?)について"),
)
_LONG_WORD = re.compile(r"[^\W\d_]{5,}")
_KIND = re.compile(
    rf"\b(?:of|write|generate)\s+(?:an?|the)\s+([^{_STOPS}]{{3,60}}?)\s+(?:in|about|on|for|with)\b", re.IGNORECASE
)
_NUMBER = r"\d{1,3}(?:,\d{3})+|\d{1,6}"
# Begins with a digit, so that the search for one is quick in a long prompt.
_LENGTH = re.compile(
    rf"(?<![A-Za-z0-9.,])({_NUMBER})(?:\s*(?:-|–|〜|to|and|or|à|et|bis|und|y|a|e|tot|en)\s*({_NUMBER}))?"
    rf"[\s-]*({LENGTH_UNITS})",
    re.IGNORECASE,
)
_BEFORE_LENGTH = re.compile(
    rf"(?:\b|(?=[^\x00-\x7f]))(?:(?P<least>{LEAST_BEFORE})|(?P<most>{MOST_BEFORE})|(?P<above>{ABOVE_BEFORE})"
    rf"|(?P<below>{BELOW_BEFORE})|about|around|roughly|some|environ|etwa|ungefähr|unas|circa|cerca de|ongeveer)\s*$",
    re.IGNORECASE,
)
_AFTER_LENGTH = re.compile(rf"[\s(]*(?:(?P<least>{LEAST_AFTER})|(?P<most>{MOST_AFTER}))", re.IGNORECASE)
_WIDEST_BEFORE = 40  # characters of the longest of those words

Finish = Literal["stop", "length", "refusal"]


@dataclass(frozen=True)
class Ask:
    """
    What a request asks for, whatever service it was sent to.

    Args:
        json_schema: What the answer must satisfy, None for plain text. `{}` is any JSON object.
        variant: Which of several answers to the same request.
    """

    model: str
    system: str
    user: str
    json_schema: Schema | None = None
    max_tokens: int | None = None
    seed: int | None = None
    variant: int = 0


@dataclass(frozen=True)
class Reply:
    """An answer. `value` is what `text` holds as JSON, None for prose."""

    text: str
    finish: Finish
    input_tokens: int
    output_tokens: int
    value: Any = None


def count_tokens(text: str) -> int:
    return max(1, len(text) // _CHARS_PER_TOKEN)


def answer(ask: Ask, *, seed: int, words: tuple[int, int] = (60, 150)) -> Reply:
    """
    Answer a request.

    Args:
        seed: Another seed gives another answer.
        words: Least and most words of a text; two characters of Japanese or Chinese count as one. A length the
            prompt names comes before it ("in about 300 words"), and the bounds of a schema before both.
    """
    schema = "" if ask.json_schema is None else json.dumps(ask.json_schema or _ANY_OBJECT)
    writer = _Writer(ask, seeded([seed, ask.model, ask.system, ask.user, schema, ask.seed, ask.variant]), words)
    if not schema:
        return _reply(ask, writer.prose(), None)
    value = fill(plan_for(schema), writer)
    return _reply(ask, json.dumps(value, ensure_ascii=False, separators=(",", ":")), value)


def distort(ask: Ask, reply: Reply, actions: Iterable[str]) -> Reply:
    """Let planned faults spoil a reply, in their order."""
    for action in actions:
        if action == "refuse":
            reply = replace(_reply(replace(ask, max_tokens=None), _REFUSAL, None), finish="refusal")
        elif action == "truncate":
            reply = replace(_retold(reply, reply.text[: _middle_of_string(reply.text)]), finish="length")
        elif action == "malform":
            reply = _retold(reply, reply.text[:-1] + ",,")
        elif action == "fence":
            reply = _retold(reply, f"```json\n{reply.text}\n```")
        elif action == "empty":
            reply = _retold(reply, "")
        elif action in ("too_few", "too_many"):
            value = _resized(reply.value, 1 if action == "too_many" else -1)
            text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
            reply = reply if value is None else _reply(replace(ask, max_tokens=None), text, value)
    return reply


def _reply(ask: Ask, text: str, value: Any) -> Reply:
    finish: Finish = "stop"
    if ask.max_tokens is not None and count_tokens(text) > ask.max_tokens:
        text, value, finish = text[: ask.max_tokens * _CHARS_PER_TOKEN], None, "length"
    return Reply(text, finish, count_tokens(ask.system + ask.user), count_tokens(text), value)


def _retold(reply: Reply, text: str) -> Reply:
    return replace(reply, text=text, value=None, output_tokens=count_tokens(text))


def _middle_of_string(text: str) -> int:
    """A place to cut: the middle of the longest JSON string, or of the whole text if it is no JSON."""
    strings = [match.span() for match in re.finditer(r'"(?:[^"\\]|\\.)*"', text)] if text[:1] in "{[" else []
    start, end = max(strings, key=lambda span: span[1] - span[0], default=(0, len(text)))
    return (start + end) // 2


def _resized(value: Any, by: int) -> Any:
    """
    The value with its first array (breadth first) one item longer or shorter; as it is if there is none.
    """
    value = json.loads(json.dumps(value))
    queue = [value]
    while queue:
        node = queue.pop(0)
        if isinstance(node, list):
            node[:] = node + [node[-1]] * by if by > 0 and node else node[:by]
            break
        if isinstance(node, dict):
            queue.extend(node.values())
    return value


@dataclass(frozen=True)
class _Wish:
    """
    What a prompt says of the texts it wants.

    Args:
        words: Least and most words of each, if it says so.
        items: How many it wants.
    """

    language: Language
    topic: str
    kind: str
    words: tuple[int, int] | None
    items: int


@lru_cache(maxsize=4096)
def _read_wish(user: str, system: str) -> _Wish:
    rest, said = _without_lengths(user)
    said = said or _without_lengths(system)[1]
    topic = next((found for found in (pattern.search(rest) for pattern in _TOPICS) if found), None)
    # The first word is the verb.
    words = _LONG_WORD.findall(rest)[1:]
    kind = _KIND.search(rest)
    return _Wish(
        asked_language(user, system),
        (topic[topic.lastindex or 0] if topic else max(words, key=len, default="the subject")).strip()[:80],
        kind[1] if kind else "text",
        said[0] if said else None,
        count_in(rest) or 1,
    )


def _without_lengths(text: str) -> tuple[str, list[tuple[int, int]]]:
    """The text without the lengths it names, and these: least and most words."""
    rest, said, at = [], [], 0
    for length in _LENGTH.finditer(text):
        # "In 2024 words changed": lengths in that region are round numbers.
        if not length[2] and 1900 < _whole(length[1]) < 2100 and _whole(length[1]) % 50:
            continue
        before = _BEFORE_LENGTH.search(text, max(at, length.start() - _WIDEST_BEFORE), length.start())
        after = _AFTER_LENGTH.match(text, length.end())
        said.append(_words_said(length, before, after))
        rest.append(text[at : before.start() if before else length.start()])
        at = after.end() if after else length.end()
    return "".join((*rest, text[at:])), said


def _words_said(length: re.Match[str], before: re.Match[str] | None, after: re.Match[str] | None) -> tuple[int, int]:
    """Least and most words: a range as it stands, a bound as one end, else a tenth to either side."""
    one, other = (_whole(length[group] or length[1]) for group in (1, 2))
    bounds = {name for found in (before, after) if found for name, text in found.groupdict().items() if text}
    low, high = one - one // 10, one + one // 10
    if length[2]:
        low, high = one, other
    elif not bounds.isdisjoint(("least", "above")):
        low, high = one + ("above" in bounds), one + one // 5 + 1
    elif bounds:
        low, high = one - one // 5 - 1, one - ("below" in bounds)
    if length[3] in ("字", "文字"):
        low, high = low // _CHARS_PER_WORD, high // _CHARS_PER_WORD
    low = min(max(low, 1), _MAX_WORDS)
    return low, min(max(low, high), _MAX_WORDS)


def _whole(number: str) -> int:
    return int(number.replace(",", ""))


class _Writer:
    """Writes texts for one request, each different."""

    def __init__(self, ask: Ask, rng: random.Random, words: tuple[int, int]) -> None:
        wish = _read_wish(ask.user, ask.system)
        self.rng = rng
        self.asked_items = wish.items
        self._words = wish.words or words
        self._language = wish.language
        self._pool = word_pool(wish.language)
        self._topic, self._kind = wish.topic, wish.kind

    def prose(self) -> str:
        least, most = self._words
        spaced = bool(self._language.joiner)
        scale = 1 if spaced else _CHARS_PER_WORD
        target, count, said = self.rng.randint(least, most) * scale, 0, []
        sentences: list[str] = [self.rng.choice(self._language.openings)]
        while count < target:
            if not sentences:
                sentences = self.rng.sample(self._language.sentences, len(self._language.sentences))
            said.append(self._say(sentences.pop()))
            count += len(said[-1].split()) if spaced else len(said[-1])
        text = self._language.joiner.join(said)
        if count <= most * scale:
            return text
        cut = " ".join(text.split()[:most]) if spaced else text[: most * scale]
        end = self._language.sentences[0][-1]
        return cut.rstrip(_CLOSING) + end if spaced else cut[:-1] + end

    def phrase(self) -> str:
        return f"{self._topic}{self._language.joiner}{self._language.joiner.join(self.rng.choices(self._pool, k=2))}"

    def word(self) -> str:
        return self.rng.choice(self._pool)

    def _say(self, sentence: str) -> str:
        draw, pool, size = self.rng.random, self._pool, len(self._pool)
        a, b, c = pool[int(draw() * size)], pool[int(draw() * size)], pool[int(draw() * size)]
        said = sentence.format(topic=self._topic, kind=self._kind, a=a, b=b, c=c)
        return said[0].upper() + said[1:]
