"""
What all benchmarks work on: one grid of prompts, and the replies to it. Loads nothing beyond the standard library, so
that other packages' environments can import it too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any

MODELS = {"openai": "gpt-4.1-mini", "anthropic": "claude-haiku-4-5", "gemini": "gemini-2.5-flash"}
MAX_TOKENS = 2000
SYSTEM = (
    "You write teaching material that experts would sign. Be concrete: name the quantities, their units and where they "
    "were measured. Prefer short sentences. Never mention these instructions, never apologise, and never write about "
    "yourself. Where a claim is disputed, say by whom and on what grounds. Close each section with one question that a "
    "careful reader can now answer, and could not before."
)
TEMPLATE = (
    "Generate {num_samples} section of a {document_type} in {language_name} about {topic} for {{level}}.\n\n"
    "The section has between 200 and 300 words, opens with an observation from practice, and explains the mechanism "
    'behind it before any formula is shown. Introduce each technical term once, "in quotation marks", and use it from '
    "then on. Give one worked example with realistic numbers, and one way in which it is often misunderstood. Do not "
    "use lists, headings or emphasis. Write for somebody who will read it once, on paper, without looking anything up."
)
DOCUMENT_TYPES = ("textbook", "personal blog", "field guide", "lecture script")
LANGUAGES = {"en": "English", "fr": "French", "de": "German", "es": "Spanish", "ja": "Japanese"}
LEVELS = ("executives", "senior engineers", "PhD candidates", "hobbyists", "teachers")

# Requests for each topic (count): sizes are multiples of it.
PER_TOPIC = len(DOCUMENT_TYPES) * len(LANGUAGES) * len(LEVELS)

_SENTENCE = (
    "orbit vacuum thermal coolant über café sensor lattice drift signal, measured against the reference of last year, "
    "while the crew noted «small» changes in pressure and temperature that no model had foreseen 観測 データ"
)
_WORDS = _SENTENCE.split()
_REPLY_WORDS = 270


def topics(rows: int) -> list[str]:
    """As many topics as make a grid of so many requests."""
    if rows < PER_TOPIC or rows % PER_TOPIC:
        raise ValueError(f"{rows} requests: sizes are multiples of {PER_TOPIC}")
    return [f"the “quiet” failure of part n° {number}" for number in range(rows // PER_TOPIC)]


def cells(rows: int) -> Iterator[tuple[str, str, str, str]]:
    """Document type, topic, language code and level of each request, in grid order."""
    return product(DOCUMENT_TYPES, topics(rows), LANGUAGES, LEVELS)


def prompts(rows: int) -> Iterator[str]:
    """The prompt of each request, in grid order."""
    fill = TEMPLATE.replace("{{level}}", "{level}").format
    for document_type, topic, language, level in cells(rows):
        name = LANGUAGES[language]
        yield fill(num_samples=1, document_type=document_type, topic=topic, language_name=name, level=level)


def conversations(rows: int) -> Iterator[list[dict[str, Any]]]:
    """Each request as OpenAI's messages."""
    for prompt in prompts(rows):
        yield [{"role": "system", "content": SYSTEM}, {"role": "user", "content": prompt}]


def set_request(provider: str, line: dict[str, Any], name: str, prompt: str) -> None:
    """Make an object that stands for a line of a submission file the one of another request."""
    if provider == "openai":
        line["custom_id"] = name
        line["body"]["messages"][-1]["content"] = prompt
    elif provider == "anthropic":
        line["custom_id"] = name
        line["params"]["messages"][-1]["content"] = prompt
    else:
        line["key"] = name
        line["request"]["contents"][-1]["parts"][-1]["text"] = prompt


# -- replies


def _text(number: int) -> str:
    words = [_WORDS[(number + step * step) % len(_WORDS)] for step in range(_REPLY_WORDS)]
    return json.dumps({"texts": [" ".join(words) + '. "Why?"\nBecause of it.']}, ensure_ascii=False)


def _openai(name: str, text: str) -> dict[str, Any]:
    usage = {
        "prompt_tokens": 310,
        "completion_tokens": 412,
        "total_tokens": 722,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }
    message = {"role": "assistant", "content": text, "refusal": None, "annotations": []}
    body = {
        "id": "chatcmpl-" + "a" * 29,
        "object": "chat.completion",
        "created": 1_760_000_000,
        "model": "gpt-4.1-mini-2025-04-14",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": usage,
        "service_tier": "default",
        "system_fingerprint": "fp_0123456789",
    }
    response = {"status_code": 200, "request_id": "0123456789abcdef" * 2, "body": body}
    return {"id": "batch_req_" + "b" * 32, "custom_id": name, "response": response, "error": None}


def _anthropic(name: str, text: str) -> dict[str, Any]:
    usage = {
        "input_tokens": 310,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": 412,
        "service_tier": "batch",
    }
    message = {
        "id": "msg_" + "c" * 24,
        "type": "message",
        "role": "assistant",
        "model": "claude-haiku-4-5-20251001",
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": usage,
    }
    return {"custom_id": name, "result": {"type": "succeeded", "message": message}}


def _gemini(name: str, text: str) -> dict[str, Any]:
    usage = {"promptTokenCount": 310, "candidatesTokenCount": 412, "totalTokenCount": 722}
    content = {"parts": [{"text": text}], "role": "model"}
    response = {
        "candidates": [{"content": content, "finishReason": "STOP", "index": 0}],
        "usageMetadata": usage,
        "modelVersion": "gemini-2.5-flash",
        "responseId": "d" * 22,
    }
    return {"key": name, "response": response}


_RESULTS: dict[str, Callable[[str, str], dict[str, Any]]] = {
    "openai": _openai,
    "anthropic": _anthropic,
    "gemini": _gemini,
}


def result_lines(provider: str, names: Sequence[str]) -> Iterator[bytes]:
    """A result line of about 2.6 kB for each request, in another order than they were asked in."""
    mark = "NAME-OF-THE-REQUEST"
    ready = []
    for number in range(64):
        line = json.dumps(_RESULTS[provider](mark, _text(number)), ensure_ascii=provider == "gemini")
        before, _, after = line.partition(mark)
        ready.append((before.encode(), f"{after}\n".encode()))
    step = next(step for step in (7919, 7927, 1) if len(names) % step)
    for number in range(len(names)):
        name = names[number * step % len(names)]
        before, after = ready[number % len(ready)]
        yield before + name.encode() + after


# Of a result line as an object: whose it is, and the reply's text.
READERS: dict[str, tuple[Callable[[Any], str], Callable[[Any], str]]] = {
    "openai": (
        lambda line: line["custom_id"],
        lambda line: line["response"]["body"]["choices"][0]["message"]["content"],
    ),
    "anthropic": (lambda line: line["custom_id"], lambda line: line["result"]["message"]["content"][0]["text"]),
    "gemini": (
        lambda line: line["key"],
        lambda line: line["response"]["candidates"][0]["content"]["parts"][0]["text"],
    ),
}


def row_of(provider: str, number: int, text: str, asked: tuple[str, str, str, str]) -> dict[str, Any]:
    """A row of the dataset as batchfast writes it, but for its uuid."""
    document_type, topic, language, level = asked
    metadata = {
        "document_type": document_type,
        "topic": topic,
        "level": level,
        "provider": provider,
        "prompt_index": 0,
        "request_index": number,
        "sample_index": 0,
    }
    return {
        "text": text,
        "text_source": "synthetic",
        "model_id": MODELS[provider],
        "language": language,
        "metadata": metadata,
    }
