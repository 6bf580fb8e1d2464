"""The fake's OpenAI where a request forces a function call, speaks of JSON, or leaves little room after reasoning."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from batchfast.fake import FakeServer, Fault

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
        ({"tool_choice": "required"}, "only allowed when 'tools' are specified"),
        ({"tool_choice": "auto", "tools": []}, "only allowed when 'tools' are specified"),
        ({"tools": [CHAT_TOOL], "tool_choice": {}}, "Invalid value for 'tool_choice': {}"),
        ({"tools": [CHAT_TOOL], "tool_choice": {"type": "function"}}, r"'tool_choice\.function\.name'"),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "array"}}}]},
            """'f': schema must be a JSON Schema of 'type: "object"', got 'type: "array"'""",
        ),
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


def test_allowed_tools_may_force_one_of_them(client: openai.OpenAI) -> None:
    """The first that is allowed and offered is called where one is required; else it is left to the model."""
    tools: list[Any] = [{"type": "function", "function": {"name": "other"}}, CHAT_TOOL]
    allowed = [{"type": "function", "function": {"name": "review"}}]
    for mode, finish in (("required", "tool_calls"), ("auto", "stop")):
        choice = {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": allowed}}
        (answer,) = chat(client, tools=tools, tool_choice=choice).choices
        assert answer.finish_reason == finish
        called = [one.function.name for one in answer.message.tool_calls or [] if one.type == "function"]
        assert called == (["review"] if mode == "required" else [])
    flat = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "review"}]}
    (item,) = respond(client, tools=[{"type": "function", "name": "other"}, TOOL], tool_choice=flat).output
    assert (item.type, item.name) == ("function_call", "review")


def test_tools_that_are_no_functions_are_not_called(client: openai.OpenAI) -> None:
    """They are the service's own; the answer is a text, also where a tool is required."""
    answer = respond(client, tools=[{"type": "web_search"}], tool_choice="required")
    assert answer.output_text


def test_a_function_without_parameters_is_called_with_none(client: openai.OpenAI) -> None:
    """With an empty object, as the service does."""
    for function in ({"name": "ping"}, {"name": "ping", "parameters": {}}, {"name": "ping", "strict": True}):
        (answer,) = chat(client, tools=[{"type": "function", "function": function}], tool_choice="required").choices
        (call,) = answer.message.tool_calls or []
        assert call.type == "function"
        assert call.function.arguments == "{}"


def test_every_choice_calls_the_function(client: openai.OpenAI) -> None:
    """Each with its own id and its own arguments."""
    answer = chat(client, tools=[CHAT_TOOL], tool_choice="required", n=2)
    calls = [call for one in answer.choices for call in one.message.tool_calls or [] if call.type == "function"]
    assert len({call.id for call in calls}) == len({call.function.arguments for call in calls}) == 2


def test_a_call_is_cut_where_the_limit_ends(client: openai.OpenAI) -> None:
    """The finish says so instead of speaking of the call, and the arguments are half a JSON text."""
    (answer,) = chat(client, tools=[CHAT_TOOL], tool_choice="required", max_tokens=2).choices
    (call,) = answer.message.tool_calls or []
    assert call.type == "function"
    assert answer.finish_reason == "length"
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        json.loads(call.function.arguments)
    response = respond(client, tools=[TOOL], tool_choice="required", max_output_tokens=2)
    (item,) = response.output
    assert isinstance(item, openai.types.responses.ResponseFunctionToolCall)
    assert (response.status, item.status) == ("incomplete", "incomplete")


def test_a_batch_calls_functions_and_may_refuse(server: FakeServer, client: openai.OpenAI) -> None:
    """A line's body is that of the live answer; who refuses calls nothing; a bad tool is that line's error alone."""
    forced = {"tools": [CHAT_TOOL], "tool_choice": "required"}
    server.plan(Fault("refuse", custom_id="refused"))
    lines = {"called": forced, "refused": forced, "wrong": {"tool_choice": "required"}}
    data = "\n".join(
        json.dumps(
            {
                "custom_id": name,
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": {"model": "gpt-4.1", "messages": ASKED, **body},
            }
        )
        for name, body in lines.items()
    )
    file = client.files.create(file=("in.jsonl", data.encode()), purpose="batch")
    made = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    server.finish(made.id)
    batch = client.batches.retrieve(made.id)
    bodies = {
        line["custom_id"]: line["response"]["body"]
        for file_id in (batch.output_file_id, batch.error_file_id)
        for line in map(json.loads, client.files.content(file_id or "").iter_lines())
    }
    assert bodies["wrong"]["error"]["param"] == "tool_choice"
    called, refused = (
        openai.types.chat.ChatCompletion.model_validate(bodies[name]).choices[0] for name in ("called", "refused")
    )
    assert (called.finish_reason, refused.finish_reason) == ("tool_calls", "stop")
    (call,) = called.message.tool_calls or []
    assert call.type == "function"
    check(call.function.arguments)
    assert (refused.message.tool_calls, bool(refused.message.refusal)) == (None, True)


def test_nulls_are_as_good_as_nothing(client: openai.OpenAI) -> None:
    """A response names the defaults instead, and an older limit holds where the newer one is null."""
    answer = respond(client, tools=None, tool_choice=None, parallel_tool_calls=None, text={"format": None})
    assert (answer.tools, answer.tool_choice, answer.parallel_tool_calls) == ([], "auto", True)
    assert answer.text and answer.text.format and answer.text.format.type == "text"
    assert chat(client, max_completion_tokens=None, max_tokens=3).choices[0].finish_reason == "length"


def test_a_json_object_is_given_only_to_who_speaks_of_json(client: openai.OpenAI) -> None:
    """In any case of letters, in any message; the instructions of a response are none."""
    for_chat, for_response = {"type": "json_object"}, {"format": {"type": "json_object"}}
    with pytest.raises(openai.BadRequestError, match="must contain the word 'json'"):
        chat(client, response_format=for_chat)
    with pytest.raises(openai.BadRequestError, match="must contain the word 'json'"):
        respond(client, text=for_response)
    with pytest.raises(openai.BadRequestError, match="must contain the word 'json'"):
        respond(client, instructions="Answer in JSON.", text=for_response)
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
