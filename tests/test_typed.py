"""What is read by its shape means what reading it any other way says."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchfast.fake import FakeServer
from batchfast.jsonl import located_lines
from batchfast.llms import PROVIDERS, anthropic, gemini, openai
from tests.conftest import RECORDED
from tests.helpers import provider, session, spec

ADAPTERS: dict[str, ModuleType] = {"openai": openai, "anthropic": anthropic, "gemini": gemini}

CHAT = {
    "id": "batch_req_1",
    "custom_id": "run-home-0-1",
    "response": {
        "status_code": 200,
        "body": {
            "object": "chat.completion",
            "model": "gpt-x-2026",
            "choices": [{"index": 0, "message": {"content": "a é 😀", "refusal": None}, "finish_reason": "stop"}],
            "usage": {
                "prompt_tokens": 20,
                "completion_tokens": 30,
                "prompt_tokens_details": {"cached_tokens": 5, "cache_write_tokens": 1},
                "completion_tokens_details": {"reasoning_tokens": 7},
            },
        },
    },
    "error": None,
}


def message_line(block: dict[str, Any], stop: str) -> dict[str, Any]:
    usage = {
        "input_tokens": 20,
        "cache_creation_input_tokens": 1,
        "cache_read_input_tokens": 2,
        "output_tokens": 30,
        "output_tokens_details": {"thinking_tokens": 7},
    }
    blocks = [{"type": "thinking", "thinking": "hm", "signature": "s"}, block]
    message = {"model": "claude-x", "content": blocks, "stop_reason": stop, "usage": usage}
    return {"custom_id": "run-home-0-1", "result": {"type": "succeeded", "message": message}}


TEXT = message_line({"type": "text", "text": "a é 😀"}, "end_turn")
TOOL = message_line(
    {"type": "tool_use", "name": "write_samples", "input": {"texts": ['\x7f\x1f "é\u2028']}}, "tool_use"
)
GENERATED = {
    "key": "run-home-0-1",
    "response": {
        "candidates": [
            {"content": {"parts": [{"text": "hm", "thought": True}, {"text": "a é 😀"}]}, "finishReason": "STOP"}
        ],
        "modelVersion": "gemini-x",
        "usageMetadata": {
            "promptTokenCount": 20,
            "candidatesTokenCount": 30,
            "thoughtsTokenCount": 7,
            "cachedContentTokenCount": 5,
            "toolUsePromptTokenCount": 2,
        },
    },
}
LINES = [("openai", CHAT), ("anthropic", TEXT), ("anthropic", TOOL), ("gemini", GENERATED)]
NAMES = ["chat", "text", "tool", "generated"]

# Fields of the shapes, and some that change what a line means.
FIELDS = st.sampled_from(
    [
        "object",
        "output",
        "error",
        "text",
        "content",
        "refusal",
        "thought",
        "input",
        "name",
        "type",
        "status_code",
        "input_tokens",
        "input_tokens_details",
        "candidates",
        "parts",
        "promptFeedback",
        "blockReason",
        "unheard_of",
    ]
)
_PLAIN = [None, True, False, 0, -1, 1.0, 2**63, 10**30, 201, 404, "", "7", "x", "\ud800", "response", "length"]
_NESTED: list[Any] = [
    *([], [{}], [None], [{"type": "text", "text": None}], [{"text": "y"}, {"text": None, "thought": None}]),
    *({}, {"texts": ["y"]}, {"texts": ["y"], "more": 1}, {"cached_tokens": 9}, {"code": None}, {"code": "x"}),
]
VALUES = st.sampled_from([*_PLAIN, *_NESTED])
CHANGES = st.lists(
    st.tuples(st.integers(0, 200), st.sampled_from(["set", "add", "delete"]), FIELDS, VALUES), max_size=3
)


def agrees(name: str, line: bytes) -> bool:
    """Whether the line fits its shapes; where it does, all readings are the same."""
    usual = ADAPTERS[name].decode_usual(line)
    try:
        any_ = ADAPTERS[name].decode_any(line)
    except ValueError:
        assert usual is None
        return False
    assert usual is None or usual == any_
    said = PROVIDERS[name]("any").said(line) if any_.outcome == "succeeded" else None
    assert said is None or said == (any_.text, any_.ending)
    return usual is not None and said is not None


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every `(container, key)` in a JSON value."""
    inner = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    return [place for key, one in inner for place in [(value, key), *places(one)]]


def change(line: dict[str, Any], where: int, how: str, field: str, value: Any) -> None:
    found = places(line)
    if not found:
        return
    holder, key = found[where % len(found)]
    if how == "add" and isinstance(holder, dict):
        holder[field] = copy.deepcopy(value)
    elif how == "delete":
        del holder[key]
    else:
        holder[key] = copy.deepcopy(value)


@pytest.mark.parametrize(("name", "line"), LINES, ids=NAMES)
def test_plain_answers_fit_their_shape(name: str, line: dict[str, Any]) -> None:
    """Otherwise nothing is gained; spaces, and escapes for what is not ASCII, change nothing."""
    assert agrees(name, json.dumps(line).encode())
    assert agrees(name, json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode())


@settings(max_examples=400)
@given(changes=CHANGES)
@pytest.mark.parametrize(("name", "line"), LINES, ids=NAMES)
def test_other_values_anywhere_are_read_alike(name: str, line: dict[str, Any], changes: list[Any]) -> None:
    """A value of another type or meaning does not fit the shape, or means the same."""
    changed = copy.deepcopy(line)
    for one in changes:
        change(changed, *one)
    agrees(name, json.dumps(changed).encode())


@settings(max_examples=400)
@given(
    where=st.floats(0, 1), removed=st.integers(0, 3), added=st.binary(max_size=3) | st.sampled_from([b'"', b"}", b","])
)
@pytest.mark.parametrize(("name", "line"), LINES, ids=NAMES)
def test_damaged_lines_are_read_alike(
    name: str, line: dict[str, Any], where: float, removed: int, added: bytes
) -> None:
    """What is no JSON, or no UTF-8, fits no shape, wherever in the line it stands."""
    data = json.dumps(line, ensure_ascii=False).encode()
    at = round(where * len(data))
    damaged = data[:at] + added + data[at + removed :]
    if ADAPTERS[name].decode_usual(damaged) is not None:
        assert agrees(name, damaged)


@pytest.mark.parametrize(("name", "line"), LINES, ids=NAMES)
def test_bytes_that_are_no_utf8_fit_no_shape(name: str, line: dict[str, Any]) -> None:
    """Also in a field that is not looked at: such a line was damaged on its way."""
    data = json.dumps({**line, "unheard_of": "?"}).encode().replace(b'"?"', b'"\xff"')
    assert ADAPTERS[name].decode_usual(data) is None
    with pytest.raises(ValueError, match="JSON"):
        ADAPTERS[name].decode_any(data)


@pytest.mark.skipif(not RECORDED.is_dir(), reason="no recorded traffic beside the checkout")
@pytest.mark.parametrize("name", ADAPTERS)
def test_recorded_lines_fit_or_are_failures(name: str) -> None:
    """Every genuine answer is read the fast way."""
    for path in sorted((RECORDED / name).glob("*.results.jsonl")):
        for _, line in located_lines(path):
            fits = agrees(name, line)
            assert fits == (ADAPTERS[name].decode_any(line).outcome == "succeeded")


def test_what_the_fake_answers_fits(fake: FakeServer, tmp_path: Path) -> None:
    """With a schema, and through the tool that older models are forced to use."""
    entries = [provider("openai"), provider("anthropic"), provider("gemini")]
    old = provider("anthropic", model_id="claude-3-5-haiku-20241022")
    with session(fake, tmp_path) as work:
        run, _ = work.enter(spec(*entries, old), fake=True)
        with work.work(run) as engine:
            engine.drive()
        for path in sorted((work.home.run(run.id) / "results").glob("*.output.jsonl")):
            lines = [line for _, line in located_lines(path)]
            assert lines
            assert all(agrees(path.name.split("-")[1], line) for line in lines)
