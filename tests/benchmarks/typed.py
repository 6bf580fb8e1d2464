"""Result lines as msgspec structs, for the reference loop: what a row needs of them, its usage and nothing else."""

from collections.abc import Callable
from typing import Any

from msgspec import Struct, field


class Samples(Struct):
    texts: list[str]


class _Message(Struct):
    content: str


class _Choice(Struct):
    message: _Message
    finish_reason: str


class _OpenAIUsage(Struct):
    prompt_tokens: int
    completion_tokens: int


class _Completion(Struct):
    model: str
    choices: list[_Choice]
    usage: _OpenAIUsage


class _Response(Struct):
    status_code: int
    body: _Completion


class _OpenAILine(Struct):
    custom_id: str
    response: _Response


class _Block(Struct):
    type: str
    text: str


class _AnthropicUsage(Struct):
    input_tokens: int
    output_tokens: int


class _AnthropicMessage(Struct):
    model: str
    content: list[_Block]
    stop_reason: str
    usage: _AnthropicUsage


class _AnthropicResult(Struct):
    type: str
    message: _AnthropicMessage


class _AnthropicLine(Struct):
    custom_id: str
    result: _AnthropicResult


class _Part(Struct):
    text: str


class _Content(Struct):
    parts: list[_Part]


class _Candidate(Struct):
    content: _Content
    finish: str = field(name="finishReason")


class _GeminiUsage(Struct):
    prompt: int = field(name="promptTokenCount")
    candidates: int = field(name="candidatesTokenCount")


class _GeminiResponse(Struct):
    candidates: list[_Candidate]
    usage: _GeminiUsage = field(name="usageMetadata")
    model: str = field(name="modelVersion")


class _GeminiLine(Struct):
    key: str
    response: _GeminiResponse


# Of each provider: a line's type, whose it is, and the reply's text.
LINES: dict[str, tuple[type[Struct], Callable[[Any], str], Callable[[Any], str]]] = {
    "openai": (
        _OpenAILine,
        lambda line: line.custom_id,
        lambda line: line.response.body.choices[0].message.content,
    ),
    "anthropic": (_AnthropicLine, lambda line: line.custom_id, lambda line: line.result.message.content[0].text),
    "gemini": (_GeminiLine, lambda line: line.key, lambda line: line.response.candidates[0].content.parts[0].text),
}
