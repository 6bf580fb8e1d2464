"""
A fixed answer for a given request: the same words for the same prompt, model and seed, in every process.

The services turn their bodies into an `Ask`, and the `Reply` back into theirs. Answers are prose from the
prompt's own words, in the language it asks for, or JSON that satisfies the schema it sends.
"""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

from batchfast.fake.ids import seeded
from batchfast.fake.languages import Language, asked_language, word_pool
from batchfast.fake.shapes import find_reference

# An answer without a limit ends here all the same: a schema may refer to itself without end.
MAX_DEPTH = 8
_CHARS_PER_TOKEN = 4
_WORDS_PER_SENTENCE = 12
_SHORT_NAMES = frozenset({"title", "name", "label", "id", "key", "category", "tag", "heading", "author", "language"})
_REFUSAL = "I'm sorry, but I can't help with that request."

_STOPS = r"\n.,;:!?\"”("
_TOPIC = re.compile(
    rf"\b(?:about|on|regarding)\s+(?:the topic of\s+)?[\"'“]?([^{_STOPS}]+?)"
    rf"(?=\s+(?:for|in|with|as|written|that)\b|[{_STOPS}]|$)"
)
_KIND = re.compile(
    rf"\b(?:of|write|generate)\s+(?:an?|the)\s+([^{_STOPS}]{{3,60}}?)\s+(?:in|about|on|for|with)\b", re.IGNORECASE
)

Finish = Literal["stop", "length", "refusal"]
Schema = Mapping[str, Any]


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
        words: Least and most words of a text, roughly; a schema's own bounds come first.
    """
    key = json.dumps([seed, ask.model, ask.system, ask.user, ask.json_schema, ask.seed, ask.variant])
    rng = seeded(key)
    writer = _Writer(ask, rng, words)
    if ask.json_schema is None:
        return _reply(ask, writer.prose(), None)
    schema = ask.json_schema or {
        "type": "object",
        "properties": {"text": {"type": "string"}},
        "required": ["text"],
    }
    value = _Filler(schema, writer).fill(schema)
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


@lru_cache(maxsize=4096)
def _subject(user: str) -> tuple[str, str]:
    """The topic and the kind of document a prompt names, as far as it does so in the usual words."""
    topic, kind = _TOPIC.search(user), _KIND.search(user)
    words = re.findall(r"[^\W\d_]{5,}", user)
    longest = max(words, key=len, default="the subject")
    return (topic[1] if topic else longest)[:80], kind[1] if kind else "text"


class _Writer:
    """Writes texts for one request, each different."""

    def __init__(self, ask: Ask, rng: random.Random, words: tuple[int, int]) -> None:
        self.ask = ask
        self.rng = rng
        self._words = words
        self._language: Language = asked_language(ask.user, ask.system)
        self._pool = word_pool(self._language)
        self._topic, self._kind = _subject(ask.user)

    def prose(self) -> str:
        sentences = max(2, self.rng.randint(*self._words) // _WORDS_PER_SENTENCE)
        parts = [self.rng.choice(self._language.openings)]
        bodies = self._language.sentences
        parts += self.rng.sample(bodies, min(sentences - 1, len(bodies)))
        parts += self.rng.choices(bodies, k=max(0, sentences - 1 - len(bodies)))
        return self._language.joiner.join(map(self._say, parts))

    def phrase(self) -> str:
        return f"{self._topic} {' '.join(self.rng.choices(self._pool, k=2))}"

    def _say(self, sentence: str) -> str:
        a, b, c = self.rng.choices(self._pool, k=3)
        said = sentence.format(topic=self._topic, kind=self._kind, a=a, b=b, c=c)
        return said[0].upper() + said[1:]


class _Filler:
    """Makes a value that satisfies a JSON schema, in JSON Schema's spelling or Gemini's."""

    def __init__(self, root: Schema, writer: _Writer) -> None:
        self._root = root
        self._writer = writer
        self._rng = writer.rng
        found = re.search(r"(?<![\w.])\d{1,3}(?![\w%]|\.\d)", writer.ask.user)
        self._asked_items = int(found[0]) if found else 1

    def fill(self, schema: Schema | bool, name: str = "", depth: int = 0) -> Any:
        schema = self._resolved(schema)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self._rng.choice(schema["enum"])
        for key in ("anyOf", "oneOf"):
            if schema.get(key):
                return self.fill(self._choose(schema[key], depth), name, depth)
        kind = self._kind(schema)
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            return self._array(schema, name, depth)
        if kind in ("integer", "number"):
            return self._number(schema, whole=kind == "integer")
        if kind == "boolean":
            return self._rng.random() < 0.5
        return None if kind == "null" else self._string(schema, name)

    def _resolved(self, schema: Schema | bool) -> Schema:
        """Follow references, and read `allOf` as one schema."""
        if isinstance(schema, bool):
            return {}
        for _ in range(MAX_DEPTH * 4):
            if "$ref" not in schema:
                break
            target = find_reference(self._root, schema["$ref"])
            schema = {**{key: value for key, value in schema.items() if key != "$ref"}, **target}
        merged: dict[str, Any] = {}
        for part in schema.get("allOf", ()):
            part = self._resolved(part)
            for key, value in part.items():
                if key == "properties":
                    value = {**merged.get("properties", {}), **value}
                elif key == "required":
                    value = [*merged.get("required", ()), *value]
                merged[key] = value
        return {**merged, **schema} if merged else schema

    def _kind(self, schema: Schema) -> str:
        kind = schema.get("type")
        if isinstance(kind, list):
            kind = next((one for one in kind if one.lower() != "null"), "null")
        if isinstance(kind, str):
            return kind.lower()
        if "properties" in schema or "required" in schema:
            return "object"
        return "array" if "items" in schema or "prefixItems" in schema else "string"

    def _choose(self, options: list[Schema], depth: int) -> Schema:
        resolved = [self._resolved(option) for option in options]
        if depth >= MAX_DEPTH:
            return min(resolved, key=lambda option: self._kind(option) in ("object", "array"))
        return self._rng.choice([one for one in resolved if self._kind(one) != "null"] or resolved)

    def _object(self, schema: Schema, depth: int) -> dict[str, Any]:
        properties: Mapping[str, Any] = schema.get("properties") or {}
        required = schema.get("required") or ()
        names = [name for name in properties if depth < MAX_DEPTH or name in required]
        names += [name for name in required if name not in properties]
        return {name: self.fill(properties.get(name, {}), name, depth + 1) for name in names}

    def _array(self, schema: Schema, name: str, depth: int) -> list[Any]:
        # Gemini writes its int64 bounds as strings.
        least, most = int(schema.get("minItems", 0)), int(schema.get("maxItems", 1 << 30))
        said = re.search(r"\d{1,4}", str(schema.get("description", "")))
        count = int(said[0]) if said else self._asked_items
        count = min(max(count if depth < MAX_DEPTH else 0, least), most)
        first = [self.fill(one, name, depth + 1) for one in schema.get("prefixItems", ())][:count]
        items = schema.get("items", {})
        values = first
        while len(values) < count:
            value = self.fill(items, name, depth + 1)
            if schema.get("uniqueItems") and value in values:
                choices = self._resolved(items).get("enum", ())
                value = next((one for one in choices if one not in values), value)
            values.append(value)
        return values

    def _number(self, schema: Schema, *, whole: bool) -> int | float:
        least, most = _bounds(schema, whole=whole)
        step: int | float = schema.get("multipleOf") or 0
        if step:
            low, high = math.ceil(least / step), math.floor(most / step)
            return self._rng.randint(low, max(low, high)) * step
        if whole:
            return self._rng.randint(math.ceil(least), max(math.ceil(least), math.floor(most)))
        value = round(self._rng.uniform(least, most), 3)
        return value if least <= value <= most else (least + most) / 2

    def _string(self, schema: Schema, name: str) -> str:
        least, most = int(schema.get("minLength", 0)), int(schema.get("maxLength", 1 << 30))
        made = self._formatted(str(schema.get("format", "")))
        if made is not None:
            return made
        text = self._writer.phrase() if name.lower() in _SHORT_NAMES or most < 60 else self._writer.prose()
        while len(text) < least:
            text += " " + self._writer.prose()
        return text[:most]

    def _formatted(self, name: str) -> str | None:
        day = f"2026-{self._rng.randint(1, 12):02}-{self._rng.randint(1, 28):02}"
        return {
            "date": day,
            "date-time": f"{day}T{self._rng.randint(0, 23):02}:00:00Z",
            "time": f"{self._rng.randint(0, 23):02}:00:00Z",
            "email": f"reader{self._rng.randint(1, 999)}@example.com",
            "uri": f"https://example.com/{self._rng.randint(1, 999)}",
            "uuid": f"{self._rng.getrandbits(32):08x}-0000-4000-8000-{self._rng.getrandbits(48):012x}",
        }.get(name)


def _bounds(schema: Schema, *, whole: bool) -> tuple[float, float]:
    """Least and greatest value allowed; a side left open lies near the other, or gives 0 to 100."""
    step = 1 if whole else 0.001
    least, most = schema.get("minimum"), schema.get("maximum")
    if isinstance(schema.get("exclusiveMinimum"), int | float):
        least = max(schema["exclusiveMinimum"] + step, -math.inf if least is None else least)
    if isinstance(schema.get("exclusiveMaximum"), int | float):
        most = min(schema["exclusiveMaximum"] - step, math.inf if most is None else most)
    if least is None:
        least = 0 if most is None or most >= 0 else most - 100
    return least, max(least, least + 100 if most is None else most)
