"""The fake's OpenAI, through the official SDK over a real socket."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from batchfast.fake import FakeServer, Fault

SCHEMA = {
    "type": "object",
    "properties": {"texts": {"type": "array", "items": {"type": "string"}, "description": "Exactly 3 texts"}},
    "required": ["texts"],
    "additionalProperties": False,
}
BATCH_KEYS = [
    "id", "object", "endpoint", "model", "errors", "input_file_id", "completion_window", "status",
    "output_file_id", "error_file_id", "created_at", "in_progress_at", "expires_at", "finalizing_at",
    "completed_at", "failed_at", "expired_at", "cancelling_at", "cancelled_at", "request_counts", "usage",
    "metadata",
]  # fmt: skip


@pytest.fixture(scope="module")
def running() -> Iterator[FakeServer]:
    with FakeServer(batch_seconds=1000) as fake:
        yield fake


@pytest.fixture
def server(running: FakeServer) -> Iterator[FakeServer]:
    running.reset()
    yield running
    assert not running.errors
    assert not running.unknown_routes


@pytest.fixture
def client(server: FakeServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.base_urls["openai"], api_key="any", max_retries=0) as client:
        yield client


def chat_line(name: str, **body: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": "Write a haiku about snow."}]
    body = {"model": "gpt-4.1-mini", "messages": messages, **body}
    return {"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": body}


def upload(client: openai.OpenAI, *lines: object, name: str = "in.jsonl") -> str:
    data = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines).encode()
    return client.files.create(file=(name, data), purpose="batch").id


def submit(client: openai.OpenAI, *lines: object, **options: Any) -> openai.types.Batch:
    options = {"endpoint": "/v1/chat/completions", "completion_window": "24h", **options}
    return client.batches.create(input_file_id=upload(client, *lines), **options)


def read(client: openai.OpenAI, file_id: str | None) -> list[dict[str, Any]]:
    assert file_id
    return [json.loads(line) for line in client.files.content(file_id).read().split(b"\n") if line]


def test_batch_goes_through_all_states(server: FakeServer, client: openai.OpenAI) -> None:
    """The state follows from the time since create: validating, in_progress, finalizing, completed."""
    batch = submit(client, chat_line("a"), chat_line("b"), metadata={"run": "7"})
    assert (batch.status, batch.model, batch.request_counts.total) == ("validating", None, 0)
    assert batch.expires_at == batch.created_at + 86_400
    server.advance(seconds=60)
    assert client.batches.retrieve(batch.id).model == "gpt-4.1-mini-2025-04-14"
    server.advance(seconds=540)
    batch = client.batches.retrieve(batch.id)
    assert (batch.status, batch.request_counts.total, batch.request_counts.completed) == ("in_progress", 2, 1)
    server.advance(seconds=360)
    batch = client.batches.retrieve(batch.id)
    assert (batch.status, batch.output_file_id, batch.usage.total_tokens) == ("finalizing", None, 0)
    server.advance(seconds=60)
    batch = client.batches.retrieve(batch.id)
    assert (batch.status, batch.error_file_id, batch.metadata) == ("completed", None, {"run": "7"})
    assert {line["custom_id"] for line in read(client, batch.output_file_id)} == {"a", "b"}
    assert batch.usage.output_tokens > 0


def test_batch_object_has_the_keys_of_real_traffic_in_order(client: openai.OpenAI) -> None:
    """Create and retrieve are indented without a final newline, cancel is one compact line."""
    raw = client.batches.with_raw_response
    batch = submit(client, chat_line("a"))
    indented = raw.retrieve(batch.id).content.decode()
    assert list(json.loads(indented)) == BATCH_KEYS
    assert indented.startswith('{\n  "id"') and indented.endswith("\n}")
    compact = raw.cancel(batch.id).content.decode()
    assert list(json.loads(compact)) == BATCH_KEYS
    assert compact.startswith('{"id":"batch_') and "\n" not in compact
    assert re.fullmatch(r"batch_[0-9a-f]{8}[0-9a-f]{4}8190[0-9a-f]{16}", batch.id)
    assert int(batch.id[6:14], 16) == batch.created_at


def test_succeeded_and_failed_lines_go_to_two_files(server: FakeServer, client: openai.OpenAI) -> None:
    """A request that fails is a line of the error file with an HTTP status inside; its `error` is null."""
    loose = {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": {"type": "object"}}}
    batch = submit(
        client,
        chat_line("good"),
        chat_line("odd", max_output_tokens=5),
        chat_line("loose", response_format=loose),
        chat_line("empty", messages=[]),
    )
    server.finish(batch.id)
    batch = client.batches.retrieve(batch.id)
    assert (batch.status, batch.request_counts.completed, batch.request_counts.failed) == ("completed", 1, 3)
    (good,) = read(client, batch.output_file_id)
    assert list(good) == ["id", "custom_id", "response", "error"]
    failed = {line["custom_id"]: line for line in read(client, batch.error_file_id)}
    assert all(line["error"] is None and line["response"]["status_code"] == 400 for line in failed.values())
    error = failed["odd"]["response"]["body"]["error"]
    assert list(error) == ["message", "type", "param", "code"] and error["param"] == "max_output_tokens"
    assert "additionalProperties" in failed["loose"]["response"]["body"]["error"]["message"]


def test_all_requests_failed_is_completed_without_output(server: FakeServer, client: openai.OpenAI) -> None:
    """A completed batch may have an error file only."""
    batch = submit(client, chat_line("a", model="no-such-model"), chat_line("b", model="no-such-model"))
    server.finish(batch.id)
    batch = client.batches.retrieve(batch.id)
    assert (batch.status, batch.output_file_id, batch.request_counts.failed) == ("completed", None, 2)
    line = read(client, batch.error_file_id)[0]
    assert line["response"]["status_code"] == 404
    assert line["response"]["body"]["error"]["code"] == "model_not_found"


def test_structured_output_satisfies_the_schema(server: FakeServer, client: openai.OpenAI) -> None:
    """Chat and Responses answer a strict schema with JSON of as many items as its description asks for."""
    chat_format = {"type": "json_schema", "json_schema": {"name": "t", "strict": True, "schema": SCHEMA}}
    text = {"format": {"type": "json_schema", "name": "t", "strict": True, "schema": SCHEMA}}
    response = {"model": "gpt-5-nano", "input": "Write in French about snow.", "text": text}
    line = {"custom_id": "r", "method": "POST", "url": "/v1/responses", "body": response}
    chat = submit(client, chat_line("c", response_format=chat_format))
    responses = submit(client, line, endpoint="/v1/responses")
    server.finish_all()
    (got,) = read(client, client.batches.retrieve(chat.id).output_file_id)
    assert len(json.loads(got["response"]["body"]["choices"][0]["message"]["content"])["texts"]) == 3
    (got,) = read(client, client.batches.retrieve(responses.id).output_file_id)
    assert len(json.loads(got["response"]["body"]["output"][0]["content"][0]["text"])["texts"]) == 3


@pytest.mark.parametrize(
    ("lines", "code", "line"),
    [
        (["{not json"], "invalid_json_line", 1),
        ([chat_line("a"), chat_line("a")], "duplicate_custom_id", 2),
        ([chat_line("a"), chat_line("b", model="gpt-4o")], "mismatched_model", 2),
        ([{"custom_id": "a", "url": "/v1/chat/completions", "body": {}}], "missing_required_parameter", 1),
        ([{**chat_line("a"), "url": "/v1/responses"}], "invalid_url", 1),
        ([""], "empty_file", None),
    ],
)
def test_bad_input_file_fails_the_batch_later(
    server: FakeServer, client: openai.OpenAI, lines: list[object], code: str, line: int | None
) -> None:
    """Create takes the file; what is wrong with it shows once validation is over, with no files."""
    batch = submit(client, *lines)
    assert (batch.status, batch.errors) == ("validating", None)
    server.finish(batch.id)
    batch = client.batches.retrieve(batch.id)
    assert (batch.status, batch.output_file_id, batch.error_file_id) == ("failed", None, None)
    assert batch.failed_at is not None and batch.request_counts.total == 0
    assert (batch.errors.data[0].code, batch.errors.data[0].line) == (code, line)


def test_cancel_keeps_what_was_done(server: FakeServer, client: openai.OpenAI) -> None:
    """Cancel answers `cancelling`; then the first part is in the output, the rest counted nowhere."""
    batch = submit(client, *(chat_line(f"r{n}") for n in range(10)))
    server.advance(seconds=525)
    batch = client.batches.cancel(batch.id)
    assert (batch.status, batch.cancelled_at) == ("cancelling", None)
    server.advance(seconds=200)
    batch = client.batches.retrieve(batch.id)
    assert (batch.status, batch.usage.total_tokens, batch.request_counts.failed) == ("cancelled", 0, 0)
    assert len(read(client, batch.output_file_id)) == 5
    errors = read(client, batch.error_file_id)
    assert [line["response"] for line in errors] == [None] * 5
    assert {line["error"]["code"] for line in errors} == {"batch_cancelled"}
    with pytest.raises(openai.ConflictError):
        client.batches.cancel(batch.id)


def test_cancel_while_validating_leaves_no_files(server: FakeServer, client: openai.OpenAI) -> None:
    """A batch that never started has counts of zero and neither file."""
    batch = submit(client, chat_line("a"))
    assert client.batches.cancel(batch.id).status == "cancelling"
    server.finish(batch.id)
    batch = client.batches.retrieve(batch.id)
    assert (batch.status, batch.output_file_id, batch.error_file_id) == ("cancelled", None, None)
    assert batch.request_counts.total == 0


def test_stuck_batch_expires_after_a_day(server: FakeServer, client: openai.OpenAI) -> None:
    """A batch that is not done when its window closes is expired; its requests say so in the error file."""
    server.plan(stuck := Fault("stick", provider="openai"))
    batch = submit(client, chat_line("a"), chat_line("b"))
    server.advance(hours=23)
    assert client.batches.retrieve(batch.id).status == "in_progress"
    server.advance(hours=1)
    batch = client.batches.retrieve(batch.id)
    assert (batch.status, batch.request_counts.completed, batch.request_counts.failed) == ("expired", 0, 0)
    assert {line["error"]["code"] for line in read(client, batch.error_file_id)} == {"batch_expired"}
    assert server.fired(stuck) == 1


def test_lists_are_paged_newest_first(client: openai.OpenAI) -> None:
    """The SDK's own paging finds every batch and file once."""
    made = [submit(client, chat_line("a")).id for _ in range(5)]
    assert [batch.id for batch in client.batches.list(limit=2)] == made[::-1]
    assert len(list(client.files.list(purpose="batch", limit=2))) == 5
    oldest, newest = (client.files.list(order=order, limit=1).data[0].id for order in ("asc", "desc"))
    assert [oldest, newest] == [client.batches.retrieve(made[n]).input_file_id for n in (0, -1)]
    with pytest.raises(openai.BadRequestError):
        client.batches.list(limit=101)


def test_file_life(server: FakeServer, client: openai.OpenAI) -> None:
    """A file can be read until it expires or is deleted; then every route answers 404."""
    file = client.files.create(
        file=("in.jsonl", b"{}"), purpose="batch", expires_after={"anchor": "created_at", "seconds": 3600}
    )
    assert file.expires_at == file.created_at + 3600
    assert client.files.content(file.id).read() == b"{}"
    server.advance(hours=1)
    with pytest.raises(openai.NotFoundError, match="No such File object"):
        client.files.content(file.id)
    kept = upload(client, chat_line("a"))
    assert client.files.retrieve(kept).expires_at == client.files.retrieve(kept).created_at + 2_592_000
    assert client.files.delete(kept).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(kept)


def test_upload_checks_purpose_and_extension(client: openai.OpenAI) -> None:
    """No extension, .json and .jsonl are taken for a batch; .txt and an unknown purpose are refused."""
    for name in ("upload", "in.json", "in.jsonl"):
        upload(client, "{}", name=name)
    with pytest.raises(openai.BadRequestError, match=r"Must be \.jsonl"):
        upload(client, "{}", name="notes.txt")
    with pytest.raises(openai.BadRequestError, match="world_domination"):
        client.files.create(file=("in.jsonl", b"{}"), purpose="world_domination")  # type: ignore[arg-type]


def test_refusals_of_create(server: FakeServer, client: openai.OpenAI) -> None:
    """A wrong endpoint or window is 400 at once; an unknown file fails the batch later."""
    for options in ({"endpoint": "/v1/nothing"}, {"completion_window": "1h"}, {"metadata": {"k": "v" * 513}}):
        with pytest.raises(openai.BadRequestError):
            submit(client, chat_line("a"), **options)
    batch = client.batches.create(input_file_id="file-none", endpoint="/v1/chat/completions", completion_window="24h")
    server.finish(batch.id)
    assert "Cannot find file" in str(client.batches.retrieve(batch.id).errors.data[0].message)


def test_bad_key_and_unknown_id(client: openai.OpenAI) -> None:
    """401 carries the realm header and the code; an unknown batch is 404."""
    stranger = client.with_options(api_key="bad-key")
    with pytest.raises(openai.AuthenticationError) as caught:
        stranger.batches.list()
    assert caught.value.code == "invalid_api_key"
    assert caught.value.response.headers["www-authenticate"] == 'Bearer realm="OpenAI API"'
    with pytest.raises(openai.NotFoundError):
        client.batches.retrieve("batch_none")


def test_answers_at_once(client: openai.OpenAI) -> None:
    """Chat and Responses answer live as in a batch, with the same errors."""
    messages: list[Any] = [{"role": "user", "content": "Write 2 lines about snow."}]
    chat = client.chat.completions.create(model="gpt-4.1", messages=messages, max_completion_tokens=5, n=2)
    assert [choice.finish_reason for choice in chat.choices] == ["length", "length"]
    assert chat.choices[0].message.content != chat.choices[1].message.content or chat.usage.completion_tokens == 10
    assert client.responses.create(model="gpt-5", input="Write about snow.").output_text
    cut = client.responses.create(model="gpt-5", input="Write about snow.", max_output_tokens=16)
    assert (cut.status, cut.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    with pytest.raises(openai.NotFoundError):
        client.responses.create(model="no-such-model", input="x")
