"""Result lines to results, batch objects to snapshots: pure."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchfast.llms import PROVIDERS, AnthropicProvider, GeminiProvider, OpenAIProvider, Provider, wire
from batchfast.llms import anthropic as anthropic_adapter
from batchfast.llms import gemini as gemini_adapter
from batchfast.llms import openai as openai_adapter
from batchfast.records import OUTCOMES, BatchSnapshot, RemoteFile, Result, Usage
from batchfast.retry import HOLD_NO_CREDIT, decide

all_providers = pytest.mark.parametrize("make", PROVIDERS.values(), ids=PROVIDERS)
SNAPSHOTS = [openai_adapter.snapshot_of, anthropic_adapter.snapshot_of, gemini_adapter.snapshot_of]


def decode(make: type[Provider], line: dict[str, Any]) -> Result:
    return make("m").decode(json.dumps(line).encode())


def short(result: Result) -> tuple[Any, ...]:
    """What most cases are about."""
    return result.outcome, result.text, result.finish_reason, result.ending


# OpenAI


def chat(message: Any = None, finish: Any = "stop", **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": message, "finish_reason": finish}
    body = {"object": "chat.completion", "model": "gpt-x-2026", "choices": [choice], **more}
    return ok(body)


def ok(body: Any, status: Any = 200) -> dict[str, Any]:
    response = {"status_code": status, "request_id": "r", "body": body}
    return {"id": "batch_req_1", "custom_id": "c", "response": response, "error": None}


ANSWER = {"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]}


def responses(content: Any, status: str = "completed", **more: Any) -> dict[str, Any]:
    output = [{"type": "reasoning", "summary": []}, {"type": "message", "content": content}]
    return ok({"object": "response", "model": "gpt-x-2026", "status": status, "output": output, **more})


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (chat({"content": "hi", "refusal": None}), ("succeeded", "hi", "stop", "complete")),
        (chat({"content": "hi"}, "length"), ("succeeded", "hi", "length", "truncated")),
        (chat({"content": None, "refusal": "No."}), ("succeeded", "No.", "refusal", "refused")),
        (chat({"content": None}, "content_filter"), ("succeeded", None, "content_filter", "blocked")),
        (chat({"content": None}, "tool_calls"), ("succeeded", None, "tool_calls", "other")),
        (chat({"content": ""}), ("succeeded", "", "stop", "complete")),
        (chat({"content": "hi", "reasoning": "..."}, "eos"), ("succeeded", "hi", "eos", "other")),
        (chat({"content": "hi"}, None), ("succeeded", "hi", None, "other")),
        (chat({"content": [{"type": "text", "text": "a"}, {"text": "b"}]}), ("succeeded", "ab", "stop", "complete")),
        (chat("text where an object belongs"), ("succeeded", None, "stop", "complete")),
        (ok({"choices": []}), ("succeeded", None, None, "other")),
        (ok({"choices": [{"text": "old", "finish_reason": "stop"}]}), ("succeeded", "old", "stop", "complete")),
        (ok({"object": "list", "data": [{"embedding": [0.1]}]}), ("succeeded", None, None, "other")),
        ({**chat({"content": "hi"}), "error": {}}, ("succeeded", "hi", "stop", "complete")),
        (
            {**chat({"content": "hi"}), "error": {"code": None, "message": None}},
            ("succeeded", "hi", "stop", "complete"),
        ),
        ({**chat({"content": "hi"}), "error": {"code": "", "data": []}}, ("succeeded", "hi", "stop", "complete")),
        (ok(ANSWER, None), ("succeeded", "hi", "stop", "complete")),
        (ok({**ANSWER, "error": {"code": None}}, "OK"), ("succeeded", "hi", "stop", "complete")),
        (ok({"status": "completed", "output": []}, None), ("succeeded", None, "completed", "complete")),
        (responses([{"type": "output_text", "text": "a"}] * 2), ("succeeded", "aa", "completed", "complete")),
        (responses([{"type": "refusal", "refusal": "No."}]), ("succeeded", "No.", "refusal", "refused")),
        (
            responses(
                [{"type": "output_text", "text": "a"}], "incomplete", incomplete_details={"reason": "max_output_tokens"}
            ),
            ("succeeded", "a", "max_output_tokens", "truncated"),
        ),
        (
            responses([], "incomplete", incomplete_details={"reason": "content_filter"}),
            ("succeeded", None, "content_filter", "blocked"),
        ),
        (responses([], "incomplete"), ("succeeded", None, "incomplete", "other")),
        (responses("no list", "in_progress"), ("succeeded", None, "in_progress", "other")),
        (responses([], "cancelled"), ("cancelled", None, None, None)),
    ],
)
def test_openai_answers(line: dict[str, Any], expected: tuple[Any, ...]) -> None:
    """Truncation, refusal and filtering arrive as HTTP 200: succeeded, with the provider's word and ours."""
    assert short(decode(OpenAIProvider, line)) == expected


def http_error(status: Any, **error: Any) -> dict[str, Any]:
    return ok({"error": error}, status)


def never_ran(error: Any) -> dict[str, Any]:
    return {"id": "batch_req_1", "custom_id": "c", "response": None, "error": error}


@pytest.mark.parametrize(
    ("line", "outcome", "error"),
    [
        (
            http_error(400, message="Bad.", type="invalid_request_error", code="unsupported_parameter"),
            "failed",
            ("unsupported_parameter", 400, False),
        ),
        (
            http_error(400, message="Long.", type="invalid_request_error"),
            "failed",
            ("invalid_request_error", 400, False),
        ),
        (http_error(404, code="model_not_found"), "failed", ("model_not_found", 404, False)),
        (http_error(429, code="rate_limit_exceeded"), "failed", ("rate_limit_exceeded", 429, True)),
        (http_error(429, code="insufficient_quota"), "failed", ("insufficient_quota", 429, False)),
        (http_error(429, type="insufficient_quota", code="x"), "failed", ("insufficient_quota", 429, False)),
        (http_error(408), "failed", ("http_408", 408, True)),
        (http_error(409), "failed", ("http_409", 409, True)),
        (http_error("500", type="server_error"), "failed", ("server_error", 500, True)),
        (http_error(503), "failed", ("http_503", 503, True)),
        (ok(None, 0), "failed", ("no_response", 0, True)),
        (ok(ANSWER, 0), "failed", ("no_response", 0, True)),
        (ok({**ANSWER, "error": {"code": "server_error"}}, None), "failed", ("server_error", 0, True)),
        (never_ran({"code": "x", "type": "billing_not_active"}), "failed", ("billing_not_active", None, False)),
        (
            responses([], "failed", error={"code": "x", "type": "insufficient_quota"}),
            "failed",
            ("insufficient_quota", None, False),
        ),
        (ok(None), "failed", ("no_body", 200, True)),
        (ok("text", 200), "failed", ("no_body", 200, True)),
        (ok("Bad gateway", 502), "failed", ("http_502", 502, True)),
        ({"custom_id": "c", "response": None, "error": None}, "failed", ("no_response", 0, True)),
        ({"custom_id": "c", "response": None}, "failed", ("no_response", 0, True)),
        ({"custom_id": "c", "response": "oops"}, "failed", ("no_response", 0, True)),
        (never_ran({"code": "batch_expired", "message": "Too late."}), "expired", ("batch_expired", None, True)),
        (never_ran({"code": "batch_cancelled"}), "cancelled", ("batch_cancelled", None, False)),
        (never_ran({"code": "server_error"}), "failed", ("server_error", None, True)),
        (never_ran({"code": "invalid_request"}), "failed", ("invalid_request", None, False)),
        (never_ran("boom"), "failed", ("unknown", None, False)),
        (
            responses([], "failed", error={"code": "server_error", "message": "Sorry."}),
            "failed",
            ("server_error", None, True),
        ),
    ],
)
def test_openai_failures(line: dict[str, Any], outcome: str, error: tuple[str, int | None, bool]) -> None:
    """A request's HTTP error is in response.body, what never ran in the top-level error; 429 and 5xx may pass."""
    result = decode(OpenAIProvider, line)
    assert result.error is not None
    found = (result.error.type, result.error.status_code, result.error.retryable)
    assert (result.outcome, found) == (outcome, error)
    assert (result.text, result.finish_reason, result.ending) == (None, None, None)


def test_openai_usage_is_normalised() -> None:
    """Both APIs count cached input and reasoning inside the totals, under different names."""
    usage = {
        "prompt_tokens": 20,
        "completion_tokens": 30,
        "total_tokens": 50,
        "prompt_tokens_details": {"cached_tokens": 5, "cache_write_tokens": 2},
        "completion_tokens_details": {"reasoning_tokens": 7},
    }
    assert decode(OpenAIProvider, chat({"content": "x"}, usage=usage)).usage == Usage(20, 30, 5, 2, 7)
    usage = {
        "input_tokens": 20,
        "output_tokens": 30,
        "input_tokens_details": {"cached_tokens": 5},
        "output_tokens_details": {"reasoning_tokens": 7},
    }
    assert decode(OpenAIProvider, responses([], usage=usage)).usage == Usage(20, 30, 5, None, 7)
    assert decode(OpenAIProvider, ok({"data": [], "usage": {"prompt_tokens": 3}})).usage == Usage(3)
    for nothing in (None, {}, "many", {"prompt_tokens": -1, "completion_tokens": True}):
        assert decode(OpenAIProvider, chat({"content": "x"}, usage=nothing)).usage is None


# Anthropic


def message(*content: Any, stop: Any = "end_turn", **more: Any) -> dict[str, Any]:
    body = {"model": "claude-x-2026", "content": list(content), "stop_reason": stop, **more}
    return {"custom_id": "c", "result": {"type": "succeeded", "message": body}}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def tool(value: Any, name: str = "write_samples") -> dict[str, Any]:
    return {"type": "tool_use", "id": "toolu_1", "name": name, "input": value}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (message(text("a"), text("b")), ("succeeded", "ab", "end_turn", "complete")),
        (message({"type": "thinking", "thinking": "hm"}, text("a")), ("succeeded", "a", "end_turn", "complete")),
        (message(text("a"), stop="stop_sequence"), ("succeeded", "a", "stop_sequence", "complete")),
        (message(text("a"), stop="max_tokens"), ("succeeded", "a", "max_tokens", "truncated")),
        (
            message(text("a"), stop="model_context_window_exceeded"),
            ("succeeded", "a", "model_context_window_exceeded", "truncated"),
        ),
        (message(stop="refusal"), ("succeeded", None, "refusal", "refused")),
        (message(text("I"), stop="refusal"), ("succeeded", "I", "refusal", "refused")),
        (message(text("a"), stop="pause_turn"), ("succeeded", "a", "pause_turn", "other")),
        (message(text("a"), stop=None), ("succeeded", "a", None, "other")),
        (
            message(text("Here:"), tool({"texts": ["é", 1]}), stop="tool_use"),
            ("succeeded", '{"texts":["é",1]}', "tool_use", "complete"),
        ),
        (
            message(tool({"texts": ["a"]}), stop="max_tokens"),
            ("succeeded", '{"texts":["a"]}', "max_tokens", "truncated"),
        ),
        (message(tool({}, "search"), stop="tool_use"), ("succeeded", None, "tool_use", "other")),
        (message("not a block", 5, None), ("succeeded", None, "end_turn", "complete")),
    ],
)
def test_anthropic_answers(line: dict[str, Any], expected: tuple[Any, ...]) -> None:
    """Text blocks in a row; of the forced tool its input as compact JSON."""
    assert short(decode(AnthropicProvider, line)) == expected


SPENT = "enforced_spend_limit_reached"


def errored(inner: Any) -> dict[str, Any]:
    return {
        "custom_id": "c",
        "result": {"type": "errored", "error": {"type": "error", "error": inner, "request_id": None}},
    }


@pytest.mark.parametrize(
    ("line", "outcome", "error"),
    [
        (errored({"type": "invalid_request_error", "message": "no"}), "failed", ("invalid_request_error", 400, False)),
        (errored({"type": "overloaded_error", "message": "no"}), "failed", ("overloaded_error", 529, True)),
        (errored({"type": "rate_limit_error"}), "failed", ("rate_limit_error", 429, True)),
        (errored({"type": "api_error", "details": None}), "failed", ("api_error", 500, True)),
        (errored({"type": "timeout_error"}), "failed", ("timeout_error", 504, True)),
        (errored({"type": "billing_error"}), "failed", ("billing_error", 402, False)),
        (errored({"type": "authentication_error"}), "failed", ("authentication_error", 401, False)),
        (
            errored({"type": "rate_limit_error", "details": {"error_code": "enforced_spend_limit_reached"}}),
            "failed",
            ("enforced_spend_limit_reached", 429, False),
        ),
        (
            errored({"type": "rate_limit_error", "details": {"error_code": "tokens_a_minute"}}),
            "failed",
            ("tokens_a_minute", 429, True),
        ),
        (errored({"type": "brand_new_error"}), "failed", ("brand_new_error", None, False)),
        (errored("just text"), "failed", ("error", None, False)),
        (
            {"custom_id": "c", "result": {"type": "errored", "error": {"type": "api_error"}}},
            "failed",
            ("api_error", 500, True),
        ),
        ({"custom_id": "c", "result": {"type": "canceled"}}, "cancelled", ("canceled", None, False)),
        ({"custom_id": "c", "result": {"type": "expired"}}, "expired", ("expired", None, True)),
        ({"custom_id": "c", "result": {"type": "postponed"}}, "failed", ("postponed", None, False)),
        ({"custom_id": "c", "result": {"type": "succeeded"}}, "failed", ("succeeded", None, False)),
        ({"custom_id": "c", "result": None}, "failed", ("no_result", None, False)),
        ({"custom_id": "c", "result": None}, "failed", ("no_result", None, False)),
    ],
)
def test_anthropic_failures(line: dict[str, Any], outcome: str, error: tuple[str, int | None, bool]) -> None:
    """The error is nested twice; its type says what the HTTP status would."""
    result = decode(AnthropicProvider, line)
    assert result.error is not None
    found = (result.error.type, result.error.status_code, result.error.retryable)
    assert (result.outcome, found) == (outcome, error)


def test_anthropic_usage_counts_cached_input() -> None:
    """input_tokens leaves out what went through a cache; ours is all input."""
    usage = {
        "input_tokens": 10,
        "cache_creation_input_tokens": 100,
        "cache_read_input_tokens": 1000,
        "output_tokens": 7,
        "output_tokens_details": {"thinking_tokens": 3},
    }
    assert decode(AnthropicProvider, message(usage=usage)).usage == Usage(1110, 7, 1000, 100, 3)
    usage = {"input_tokens": 10, "output_tokens": 7, "cache_read_input_tokens": None}
    assert decode(AnthropicProvider, message(usage=usage)).usage == Usage(10, 7)
    assert decode(AnthropicProvider, message()).usage is None


@pytest.mark.parametrize("count", [10**12, 10**12 + 1, 2**62, 2**63 - 1, 2**63])
def test_absurd_counts_are_unknown_rather_than_too_large_to_keep(count: int) -> None:
    """Sums of counts, over a million requests too, stay within what SQLite holds."""
    usage = {"input_tokens": count, "output_tokens": count, "cache_read_input_tokens": count}
    found = decode(AnthropicProvider, message(usage=usage)).usage or Usage()
    assert all(1_000_000 * tokens < 2**63 for tokens in found if tokens is not None)


# Gemini


def candidate(*parts: Any, finish: Any = "STOP", **more: Any) -> dict[str, Any]:
    content = {"role": "model", "parts": list(parts)}
    return {"response": {"candidates": [{"content": content, "finishReason": finish}], **more}, "key": "c"}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (candidate({"text": "a"}, {"text": "b"}), ("succeeded", "ab", "STOP", "complete")),
        (candidate({"text": "hm", "thought": True}, {"text": "b"}), ("succeeded", "b", "STOP", "complete")),
        (candidate({"text": "a"}, finish="MAX_TOKENS"), ("succeeded", "a", "MAX_TOKENS", "truncated")),
        (candidate(finish="SAFETY"), ("succeeded", None, "SAFETY", "blocked")),
        (candidate(finish="RECITATION"), ("succeeded", None, "RECITATION", "blocked")),
        (candidate(finish="PROHIBITED_CONTENT"), ("succeeded", None, "PROHIBITED_CONTENT", "blocked")),
        (candidate({"text": "a"}, finish="OTHER"), ("succeeded", "a", "OTHER", "other")),
        (
            candidate({"text": "a"}, finish="MALFORMED_FUNCTION_CALL"),
            ("succeeded", "a", "MALFORMED_FUNCTION_CALL", "other"),
        ),
        (candidate({"text": "a"}, finish=None), ("succeeded", "a", None, "other")),
        (
            {"key": "c", "response": {"candidates": [{"finishReason": "MAX_TOKENS"}]}},
            ("succeeded", None, "MAX_TOKENS", "truncated"),
        ),
        (
            {"key": "c", "response": {"promptFeedback": {"blockReason": "BLOCKLIST"}}},
            ("succeeded", None, "BLOCKLIST", "blocked"),
        ),
        ({"key": "c", "response": {"candidates": []}}, ("succeeded", None, None, "other")),
        ({"key": "c", "response": {"candidates": "none"}}, ("succeeded", None, None, "other")),
    ],
)
def test_gemini_answers(line: dict[str, Any], expected: tuple[Any, ...]) -> None:
    """Thoughts are no text; a blocked prompt has no candidate and says why in promptFeedback."""
    assert short(decode(GeminiProvider, line)) == expected


@pytest.mark.parametrize(
    ("error", "outcome", "expected"),
    [
        ({"code": 3, "message": "no", "status": "INVALID_ARGUMENT"}, "failed", ("INVALID_ARGUMENT", 400, False)),
        ({"code": 3, "message": "no"}, "failed", ("INVALID_ARGUMENT", 400, False)),
        ({"code": 13, "message": "internal"}, "failed", ("INTERNAL", 500, True)),
        ({"code": 8}, "failed", ("RESOURCE_EXHAUSTED", 429, True)),
        ({"code": 4}, "failed", ("DEADLINE_EXCEEDED", 504, True)),
        ({"code": 14}, "failed", ("UNAVAILABLE", 503, True)),
        ({"code": 5}, "failed", ("NOT_FOUND", 404, False)),
        ({"code": 12}, "failed", ("UNIMPLEMENTED", 501, False)),
        ({"code": 16}, "failed", ("UNAUTHENTICATED", 401, False)),
        ({"code": 429, "message": "slow"}, "failed", ("http_429", 429, True)),
        ({"code": 77}, "failed", ("unknown", None, False)),
        ({"status": "UNAVAILABLE"}, "failed", ("UNAVAILABLE", 503, True)),
        ("boom", "failed", ("unknown", None, False)),
        ({"code": 1}, "cancelled", ("CANCELLED", 499, False)),
    ],
)
def test_gemini_failures(error: Any, outcome: str, expected: tuple[str, int | None, bool]) -> None:
    """Error lines carry a google.rpc code, mostly without its name: 1 is a cancelled request."""
    result = decode(GeminiProvider, {"error": error, "key": "c"})
    assert result.error is not None
    found = (result.error.type, result.error.status_code, result.error.retryable)
    assert (result.outcome, found) == (outcome, expected)


def test_gemini_line_without_answer_may_be_sent_again() -> None:
    """Neither response nor error: nothing says that the request was at fault."""
    for line in ({"key": "c"}, {"key": "c", "response": None}, {"key": "c", "response": "x", "error": {}}):
        result = decode(GeminiProvider, line)
        assert result.outcome == "failed"
        assert result.error is not None
        assert result.error.retryable


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (
            {
                "promptTokenCount": 8,
                "candidatesTokenCount": 11,
                "thoughtsTokenCount": 829,
                "cachedContentTokenCount": 2,
            },
            Usage(8, 840, 2, None, 829),
        ),
        ({"promptTokenCount": 8}, Usage(8, 0, 0, None, 0)),
        ({"promptTokenCount": "8", "toolUsePromptTokenCount": 3}, Usage(11, 0, 0, None, 0)),
        ({"candidatesTokenCount": 5}, Usage(None, 5)),
        ({"promptTokenCount": 8, "candidatesTokenCount": "many"}, Usage(8, None, 0, None, 0)),
        ({}, None),
        ("none", None),
    ],
)
def test_gemini_usage_fills_in_the_zeros(usage: Any, expected: Usage | None) -> None:
    """Zeros are left out; where not even the prompt is counted, what is missing is unknown. Thoughts are output."""
    assert decode(GeminiProvider, candidate(usageMetadata=usage)).usage == expected


# all three


@all_providers
@pytest.mark.parametrize(
    "line", [b"", b"{", b"[]", b'"text"', b"null", b"{}", b'{"custom_id": 5, "key": []}', b"\xff\xfe", b"[" * 100_000]
)
def test_a_line_that_is_none_raises_value_error(make: type[Provider], line: bytes) -> None:
    """Not JSON, not an object, or without an id: the caller decides what a broken file means."""
    with pytest.raises(ValueError):
        make("m").decode(line)


@all_providers
def test_unknown_fields_change_nothing(make: type[Provider]) -> None:
    """Services add fields all the time."""
    line = {OpenAIProvider: chat({"content": "x"}), AnthropicProvider: message(text("x"))}.get(
        make, candidate({"text": "x"})
    )
    assert decode(make, {**line, "new": {"deep": [1]}, "object": None}) == decode(make, line)


@all_providers
def test_results_can_be_written_as_utf8(make: type[Provider]) -> None:
    """JSON may spell half a surrogate pair, which no file and no database takes: it becomes U+FFFD."""
    half = "a\ud83db"
    lines: dict[type[Provider], dict[str, Any]] = {
        OpenAIProvider: chat({"content": half}),
        AnthropicProvider: message(tool({"texts": [half]})),
        GeminiProvider: candidate({"text": half}),
    }
    found = decode(make, lines[make]).text
    assert found is not None
    assert "a\ufffdb" in found
    found.encode()


@all_providers
def test_keys_in_a_providers_message_are_scrubbed(make: type[Provider]) -> None:
    """Error messages are stored; a provider may quote the key it was given."""
    about = {
        "message": "Incorrect key: sk-abc***wxyz, mine****5678 or AIzaSyA123456789.",
        "code": 3,
        "type": "api_error",
    }
    lines: dict[type[Provider], dict[str, Any]] = {
        OpenAIProvider: http_error(401, **about),
        AnthropicProvider: errored(about),
        GeminiProvider: {"key": "c", "error": about},
    }
    error = decode(make, lines[make]).error
    assert error is not None
    assert error.message == "Incorrect key: [key], [key] or [key]."


# Names the adapters look for, so that odd values land where they are read.
NAMES = re.findall(
    r"\w+",
    """
    id custom_id key response error status_code body object output choices message content text refusal finish_reason
    usage prompt_tokens prompt_tokens_details cached_tokens code type result stop_reason tool_use name input parts
    candidates finishReason promptFeedback blockReason usageMetadata promptTokenCount model modelVersion status data
    errors incomplete_details reason metadata state batchStats responsesFile createTime endTime created_at line
    request_counts processing_status results_url details
    """,
)
WORDS = ["c", "succeeded", "errored", "failed", "message", "output_text", "text", "ended", "BATCH_STATE_SUCCEEDED"]
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(WORDS)
    | st.just(200),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6),
    max_leaves=25,
)
objects = st.dictionaries(st.sampled_from(NAMES), anything, max_size=8)


@all_providers
@given(line=objects, wrapped=st.booleans())
@settings(max_examples=150)
def test_any_object_gives_a_result_or_value_error(make: type[Provider], line: dict[str, Any], wrapped: bool) -> None:
    """A string where an object is expected, or the reverse, costs at most that one line."""
    if wrapped:
        line = {"custom_id": "c", "key": "c", "response": {"status_code": 200, "body": line, **line}, "result": line}
    try:
        result = decode(make, line)
    except ValueError:
        return
    assert result.outcome in OUTCOMES
    assert (result.error is None) is (result.outcome == "succeeded")
    assert (result.ending is not None) is (result.outcome == "succeeded")
    for found in (result.custom_id, result.text, result.finish_reason, result.model):
        assert found is None or isinstance(found, str)


@pytest.mark.parametrize("snapshot_of", SNAPSHOTS)
@given(batch=objects)
@settings(max_examples=150)
def test_any_object_gives_a_snapshot(snapshot_of: Any, batch: dict[str, Any]) -> None:
    """An odd batch object is one that still runs, never a crash that loses the others."""
    assert isinstance(snapshot_of(batch), BatchSnapshot)


# batch objects


@pytest.mark.parametrize(
    ("status", "outcome", "known"),
    [
        ("validating", None, True),
        ("in_progress", None, True),
        ("finalizing", None, True),
        ("cancelling", None, True),
        ("completed", "completed", True),
        ("failed", "failed", True),
        ("expired", "expired", True),
        ("cancelled", "cancelled", True),
        ("canceled", "cancelled", True),
        ("COMPLETED", "completed", True),
        ("pre_schedule", None, False),
        (None, None, False),
    ],
)
def test_openai_states(status: Any, outcome: str | None, known: bool) -> None:
    """Whatever a batch produced is there in every terminal state; an unknown word means that it runs."""
    batch = {
        "id": "batch_1",
        "status": status,
        "output_file_id": "file-o",
        "error_file_id": "",
        "created_at": 1_700_000_000,
    }
    snapshot = openai_adapter.snapshot_of(batch)
    assert (snapshot.outcome, snapshot.known_state) == (outcome, known)
    assert snapshot.files == ((RemoteFile("output", "file-o"),) if outcome else ())
    assert snapshot.created_at == "2023-11-14T22:13:20.000Z"


@pytest.mark.parametrize(
    ("counts", "files", "late"),
    [
        ({"total": 2, "completed": 2, "failed": 0}, {}, True),
        ({"total": 2, "completed": 1, "failed": 1}, {"error_file_id": "file-e"}, True),
        ({"total": 2, "completed": 2, "failed": 0}, {"output_file_id": "file-o"}, False),
        ({"total": 2, "completed": 0, "failed": 2}, {"error_file_id": "file-e"}, False),
        ({"total": 0, "completed": 0, "failed": 0}, {}, False),
        (None, {}, False),
    ],
)
def test_openai_answers_without_a_file_are_waited_for(counts: Any, files: dict[str, str], late: bool) -> None:
    """Collected now, the answers that were counted and paid for would be missing, and be sent again."""
    batch = {"id": "batch_1", "status": "completed", "request_counts": counts, "output_file_id": None, **files}
    snapshot = openai_adapter.snapshot_of({**batch, "completed_at": 1_700_000_000})
    assert (snapshot.outcome, snapshot.known_state, snapshot.late) == ("completed", True, late)
    assert len(snapshot.files) == len(files)


def test_openai_batch_errors_name_their_line() -> None:
    """Of the batch's own errors only a full queue is worth sending again."""
    data = [
        {"code": "token_limit_exceeded", "message": "Enqueued token limit reached", "param": None, "line": None},
        {"code": "invalid_json_line", "message": "This line is not parseable", "line": 3},
        "nonsense",
    ]
    batch = {"status": "failed", "errors": {"object": "list", "data": data}, "failed_at": 1_700_000_000}
    snapshot = openai_adapter.snapshot_of(batch)
    assert [(error.type, error.retryable) for error in snapshot.errors] == [
        ("token_limit_exceeded", True),
        ("invalid_json_line", False),
        ("unknown", False),
    ]
    assert snapshot.errors[1].message == "line 3: This line is not parseable"
    assert snapshot.ended_at == "2023-11-14T22:13:20.000Z"
    assert openai_adapter.snapshot_of({"status": "failed", "errors": data}).errors == snapshot.errors


ENDED = {
    "id": "msgbatch_1",
    "processing_status": "ended",
    "request_counts": {"processing": 0, "succeeded": 2},
    "created_at": "2026-08-19T14:30:00.123456+00:00",
    "ended_at": "2026-08-19T14:31:00+00:00",
    "results_url": "https://elsewhere.example/results",
}


@pytest.mark.parametrize(
    ("change", "outcome", "files"),
    [
        ({}, "completed", 1),
        ({"processing_status": "in_progress", "results_url": None}, None, 0),
        ({"processing_status": "canceling"}, None, 0),
        ({"processing_status": "paused"}, None, 0),
        ({"cancel_initiated_at": "2026-08-19T14:30:30+00:00"}, "cancelled", 1),
        ({"request_counts": {"succeeded": 1, "expired": 1}}, "expired", 1),
        ({"results_url": None}, None, 0),
        ({"results_url": None, "archived_at": "2026-09-17T14:30:00+00:00"}, "failed", 0),
    ],
)
def test_anthropic_states(change: dict[str, Any], outcome: str | None, files: int) -> None:
    """There is one word for the end; who cancelled and what expired says how it came. Results last 29 days."""
    snapshot = anthropic_adapter.snapshot_of({**ENDED, **change})
    assert snapshot.outcome == outcome
    assert snapshot.files == (RemoteFile("output", "msgbatch_1"),) * files
    assert snapshot.known_state is (change.get("processing_status") != "paused")
    assert snapshot.collect_by == "2026-09-17T14:30:00.123Z"


def operation(state: Any, **more: Any) -> dict[str, Any]:
    metadata = {
        "displayName": "label",
        "state": state,
        "createTime": "2026-08-19T14:34:12.267870162Z",
        "batchStats": {"requestCount": "2", "pendingRequestCount": "x"},
    }
    return {"name": "batches/1", "metadata": metadata, **more}


OUTPUT = {"responsesFile": "files/batch-1"}


@pytest.mark.parametrize(
    ("batch", "outcome", "known", "files"),
    [
        (operation("BATCH_STATE_PENDING"), None, True, 0),
        (operation("BATCH_STATE_RUNNING", response=OUTPUT), None, True, 0),
        (operation("BATCH_STATE_SUCCEEDED", response=OUTPUT, done=True), "completed", True, 1),
        (operation("JOB_STATE_SUCCEEDED", response=OUTPUT), "completed", True, 1),
        (operation("BATCH_STATE_SUCCEEDED"), "completed", True, 0),
        (operation("BATCH_STATE_SUCCEEDED", response={"@type": "x"}, done=True), "completed", True, 0),
        (operation("BATCH_STATE_PARTIALLY_SUCCEEDED", response={"@type": "x"}), "completed", True, 0),
        (operation("BATCH_STATE_PARTIALLY_SUCCEEDED", response=OUTPUT), "completed", True, 1),
        (operation("BATCH_STATE_FAILED", error={"code": 3}), "failed", True, 0),
        (operation("BATCH_STATE_CANCELLED", error={"code": 13}), "cancelled", True, 0),
        (operation("BATCH_STATE_CANCELLED", response=OUTPUT), "cancelled", True, 1),
        (operation("BATCH_STATE_EXPIRED"), "expired", True, 0),
        (operation("BATCH_STATE_DREAMING", done=True), None, False, 0),
        (operation(None), None, False, 0),
    ],
)
def test_gemini_states(batch: dict[str, Any], outcome: str | None, known: bool, files: int) -> None:
    """A batch that succeeded before its output can be seen is late: its file is waited for."""
    snapshot = gemini_adapter.snapshot_of(batch)
    assert snapshot.late is (outcome == "completed" and not files)
    assert (snapshot.outcome, snapshot.known_state) == (outcome, known)
    assert snapshot.files == (RemoteFile("output", "files/batch-1"),) * files
    assert snapshot.counts == {"requestCount": 2}
    assert snapshot.collect_by == "2026-08-21T14:34:12.267Z"


def test_gemini_batch_says_why_it_failed_and_when_it_goes() -> None:
    """The reason is in the operation's error; results last 48 hours from the end, or from the start before it."""
    batch = operation("BATCH_STATE_FAILED", error={"code": 3, "message": "line 2: unknown field"})
    batch["metadata"]["endTime"] = "2026-08-20T00:00:00Z"
    snapshot = gemini_adapter.snapshot_of(batch)
    assert [(error.type, error.message) for error in snapshot.errors] == [("INVALID_ARGUMENT", "line 2: unknown field")]
    assert snapshot.collect_by == "2026-08-22T00:00:00.000Z"


# reading


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "10"}, 10),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "10", "retry-after-ms": "250"}, 0.25),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after-ms": "nan", "retry-after": "10"}, 10),
        ({"retry-after-ms": "-1"}, None),
        ({"retry-after": "3600"}, 3600),
        ({"retry-after": "86400"}, 3600),
        ({"retry-after": "1e300"}, 3600),
        ({"retry-after-ms": "86400000"}, 3600),
        ({"retry-after": "Fri, 31 Dec 2999 23:59:59 GMT"}, 3600),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_every_form(headers: dict[str, str], seconds: float | None) -> None:
    """Seconds, milliseconds or a date, an hour at most; anything else is no wish."""
    assert wire.retry_after_s(headers) == seconds


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *((status, "server") for status in (201, 204, 304, 408, 409, 499, 500)),
        (400, "refused"),
        (402, "no_credit"),
        (422, "refused"),
        (None, "network"),
    ],
)
def test_the_status_says_whether_something_was_done(status: int | None, kind: str) -> None:
    """Below 400 nothing was refused, and 408, 409 and 499 come of waiting: the batch may be there."""
    error = wire.provider_error(
        ValueError("odd"), provider="openai", operation="create", remote_id=None, key=None, status_code=status
    )
    assert (error.kind, error.maybe_accepted) == (kind, kind in ("server", "network"))


def test_a_short_key_is_not_cut_out_of_words() -> None:
    """Keys of local servers are words such as "x" or "none": no message would be left."""
    assert wire.scrubbed("exit code 1", "x") == "exit code 1"
    assert wire.scrubbed("the key of-eight is bad", "of-eight") == "the key [key] is bad"


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (AnthropicProvider, errored({"type": "rate_limit_error", "details": {"error_code": SPENT}})),
        (OpenAIProvider, http_error(429, type="insufficient_quota", code="x")),
        (OpenAIProvider, http_error(400, code="billing_hard_limit_reached", type="invalid_request_error")),
        (OpenAIProvider, never_ran({"code": "billing_not_active"})),
    ],
)
def test_a_line_that_wants_money_holds_the_run(make: type[Provider], line: dict[str, Any]) -> None:
    """The word for it reaches the error's type, whatever status and other words stand beside it."""
    result = decode(make, line)
    assert decide(result.outcome, result.error, 1) == HOLD_NO_CREDIT


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        ("2026-08-19T16:30:00+02:00", "2026-08-19T14:30:00.000Z"),
        ("2026-08-19T14:34:12.267870162Z", "2026-08-19T14:34:12.267Z"),
        ("2026-08-10", "2026-08-10T00:00:00.000Z"),
        (10**30, None),
        (float("nan"), None),
        ("yesterday", None),
        (True, None),
        (None, None),
    ],
)
def test_times_are_utc_or_unknown(value: object, expected: str | None) -> None:
    """Seconds since 1970 or ISO 8601 of any precision and zone; without a zone it is UTC."""
    assert wire.utc(value) == expected
