"""
The shapes that nearly all result lines have, for msgspec to read: several times as fast as reading any JSON and asking
of each value what it is.

What fits a shape means the same to an adapter's reading of any line. So the shapes are narrow, and a field that would
change the meaning is in them as `Nothing` or `Absent`: a line that has it does not fit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, TypeAlias, TypeVar

from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.json import Decoder, Encoder

from batchfast.llms.wire import MAX_COUNT

T = TypeVar("T")

Count = Annotated[int, Meta(ge=0, le=MAX_COUNT)]
Word = Annotated[str, Meta(min_length=1)]
Nothing: TypeAlias = None  # null, or not there
Absent: TypeAlias = UnsetType

to_json = Encoder().encode


def read(decode: Callable[[bytes], T], line: bytes) -> T | None:
    """The line in its shape, or None where it does not fit, or is no JSON at all."""
    try:
        found = decode(line)
        if not line.isascii():
            line.decode()  # msgspec does not look into what it leaves out
    except (ValueError, RecursionError):
        return None
    return found


def read_again(decode: Callable[[bytes], T], line: bytes) -> T | None:
    """As `read`, for a line that is known to be JSON."""
    try:
        return decode(line)
    except (ValueError, RecursionError):
        return None


# OpenAI: a chat completion


class _Cached(Struct, gc=False):
    cached_tokens: Count | None = None
    cache_write_tokens: Count | None = None


class _Reasoned(Struct, gc=False):
    reasoning_tokens: Count | None = None


class _ChatUsage(Struct, gc=False):
    prompt_tokens: Count
    completion_tokens: Count
    prompt_tokens_details: _Cached | None = None
    completion_tokens_details: _Reasoned | None = None
    input_tokens_details: Nothing = None
    output_tokens_details: Nothing = None


class _ChatMessage(Struct, gc=False):
    content: str
    refusal: Nothing = None


class _Choice(Struct, gc=False):
    message: _ChatMessage
    finish_reason: Word


class _ChatSaid(Struct, gc=False, kw_only=True):
    object: Literal["chat.completion"]
    choices: Annotated[list[_Choice], Meta(min_length=1)]
    output: Absent = UNSET


class _Chat(_ChatSaid, gc=False, kw_only=True):
    model: Word
    usage: _ChatUsage


class _ChatResponse(Struct, gc=False):
    status_code: Literal[200]
    body: _Chat


class ChatLine(Struct, gc=False):
    custom_id: Word
    response: _ChatResponse
    error: Nothing = None


class _ChatResponseSaid(Struct, gc=False):
    body: _ChatSaid


class ChatSaid(Struct, gc=False):
    """Of a chat completion that was read before, what its texts depend on."""

    response: _ChatResponseSaid


# Anthropic: a message, whose text may be the input of the tool that it was forced to use


class _Samples(Struct, gc=False, forbid_unknown_fields=True):
    texts: list[str]


class _Block(Struct, gc=False):
    type: str
    text: str | None = None
    name: str | None = None
    input: _Samples | None = None


class _Thought(Struct, gc=False):
    thinking_tokens: Count | None = None


class _MessageUsage(Struct, gc=False):
    input_tokens: Count
    output_tokens: Count
    cache_read_input_tokens: Count | None = None
    cache_creation_input_tokens: Count | None = None
    output_tokens_details: _Thought | None = None


class MessageContent(Struct, gc=False, kw_only=True):
    content: list[_Block]
    stop_reason: Word


class _Message(MessageContent, gc=False, kw_only=True):
    model: Word
    usage: _MessageUsage


class _MessageResult(Struct, gc=False):
    type: Literal["succeeded"]
    message: _Message


class MessageLine(Struct, gc=False):
    custom_id: Word
    result: _MessageResult


class _MessageResultSaid(Struct, gc=False):
    message: MessageContent


class MessageSaid(Struct, gc=False):
    """Of a message that was read before, what its texts depend on."""

    result: _MessageResultSaid


# Gemini: a response of generateContent


class _Part(Struct, gc=False):
    text: str | None = None
    thought: bool | None = None


class _Content(Struct, gc=False):
    parts: list[_Part]


class Candidate(Struct, gc=False, rename="camel"):
    content: _Content
    finish_reason: Word


class _GeminiUsage(Struct, gc=False, rename="camel"):
    prompt_token_count: Count
    candidates_token_count: Count = 0
    thoughts_token_count: Count = 0
    cached_content_token_count: Count = 0
    tool_use_prompt_token_count: Count = 0


class _GeneratedSaid(Struct, gc=False, rename="camel"):
    candidates: Annotated[list[Candidate], Meta(min_length=1)]


class _Generated(_GeneratedSaid, gc=False, rename="camel"):
    model_version: Word
    usage_metadata: _GeminiUsage


class GeneratedLine(Struct, gc=False):
    key: Word
    response: _Generated
    error: Nothing = None


class GeneratedSaid(Struct, gc=False):
    """Of a response that was read before, what its texts depend on."""

    response: _GeneratedSaid


chat_line = Decoder(ChatLine).decode
chat_said = Decoder(ChatSaid).decode
message_line = Decoder(MessageLine).decode
message_said = Decoder(MessageSaid).decode
generated_line = Decoder(GeneratedLine).decode
generated_said = Decoder(GeneratedSaid).decode
