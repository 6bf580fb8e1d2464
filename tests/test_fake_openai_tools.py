"""The fake's OpenAI where a request forces a function call, speaks of JSON, or leaves little room after reasoning."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from batchfast.fake import FakeServer

PARAMETERS = {
    "type": "object",
    "properties": {"title": {"type": "string"}, "stars": {"type": "integer", "minimum": 1, "maximum": 5}},
    "required": ["title", "stars"],
    "additionalProperties": False,
}
CHAT_TOOL = {"type": "function", "function": {"name": "review", "parameters": PARAMETERS, "strict": True}}
TOOL = {"type": "function", "name": "review", "parameters": PARAMETERS, "strict": True}
ASKED = [{"role": "user", "content": "Review a book about tides."}]


@pytest.fixture
def client(server: FakeServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.base_urls["openai"], api_key="any", max_retries=0) as client:
        yield client


def chat(client: openai.OpenAI, **body: Any) -> openai.types.chat.ChatCompletion:
    return client.chat.completions.create(**{"model": "gpt-4.1-mini", "messages": ASKED, **body})


def respond(client: openai.OpenAI, **body: Any) -> openai.types.responses.Response:
    return client.responses.create(**{"model": "gpt-4.1-mini", "input": ASKED, **body})


def check(arguments: str) -> None:
    value = json.loads(arguments)
    assert set(value) == {"title", "stars"}
    assert 1 <= value["stars"] <= 5


@pytest.mark.parametrize(
    ("choice", "finish"),
    [("required", "tool_calls"), ({"type": "function", "function": {"name": "review"}}, "stop")],
)
def test_a_forced_function_is_called(client: openai.OpenAI, choice: Any, finish: str) -> None:
    """Arguments that satisfy its parameters instead of a text; who asked for it by name hears of an ordinary stop."""
    (answer,) = chat(client, tools=[CHAT_TOOL], tool_choice=choice).choices
    assert (answer.finish_reason, answer.message.content) == (finish, None)
    (call,) = answer.message.tool_calls or []
    assert call.type == "function"
    assert (call.function.name, call.id[:5]) == ("review", "call_")
    check(call.function.arguments)


@pytest.mark.parametrize("choice", ["required", {"type": "function", "name": "review"}])
def test_a_response_calls_a_forced_function(client: openai.OpenAI, choice: Any) -> None:
    """It is an item of the output, in place of the message."""
    answer = respond(client, tools=[TOOL], tool_choice=choice)
    (item,) = answer.output
    assert isinstance(item, openai.types.responses.ResponseFunctionToolCall)
    assert (item.name, item.status, answer.output_text) == ("review", "completed", "")
    check(item.arguments)


@pytest.mark.parametrize("choice", ["auto", "none"])
def test_a_function_that_is_only_offered_is_not_called(client: openai.OpenAI, choice: str) -> None:
    """The choice is left to the model, and this one writes."""
    assert chat(client, tools=[CHAT_TOOL], tool_choice=choice).choices[0].message.content
    assert respond(client, tools=[TOOL], tool_choice=choice).output_text


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"tool_choice": "required"}, "allowed only with 'tools'"),
        ({"tools": [CHAT_TOOL], "tool_choice": "always"}, "Invalid value for 'tool_choice': 'always'"),
        (
            {"tools": [CHAT_TOOL], "tool_choice": {"type": "function", "function": {"name": "other"}}},
            "'other' not found",
        ),
        (
            {"tools": [{"type": "function", "function": {}}]},
            r"Missing required parameter: 'tools\[0\]\.function\.name'",
        ),
        (
            {
                "tools": [
                    {"type": "function", "function": {"name": "f", "strict": True, "parameters": {"type": "object"}}}
                ]
            },
            "Invalid schema for function 'f'",
        ),
    ],
)
def test_tools_that_cannot_be_are_refused(client: openai.OpenAI, body: dict[str, Any], said: str) -> None:
    """With the reason, and with status 400."""
    with pytest.raises(openai.BadRequestError, match=said):
        chat(client, **body)


def test_a_json_object_is_given_only_to_who_speaks_of_json(client: openai.OpenAI) -> None:
    """In any case of letters, in any message; a schema needs no such word."""
    for_chat, for_response = {"type": "json_object"}, {"format": {"type": "json_object"}}
    with pytest.raises(openai.BadRequestError, match="must contain the word 'json'"):
        chat(client, response_format=for_chat)
    with pytest.raises(openai.BadRequestError, match="must contain the word 'json'"):
        respond(client, text=for_response)
    asked = [{"role": "system", "content": "Answer in JSON."}, *ASKED]
    assert isinstance(
        json.loads(chat(client, messages=asked, response_format=for_chat).choices[0].message.content or ""), dict
    )
    assert isinstance(json.loads(respond(client, input=asked, text=for_response).output_text), dict)


def test_reasoning_takes_its_part_of_the_limit(client: openai.OpenAI) -> None:
    """What is left for the answer is the limit less what was spent on reasoning; at least a token of it."""
    for limit in (100, 20, 1):
        answer = chat(client, model="gpt-5-mini", max_completion_tokens=limit)
        usage = answer.usage
        assert usage is not None
        assert usage.completion_tokens <= limit
        assert answer.choices[0].finish_reason == "length"
        thought = usage.completion_tokens_details.reasoning_tokens if usage.completion_tokens_details else None
        assert thought == min(64, limit - 1)
