"""The fake's OpenAI, through the official SDK over a real socket."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any

import httpx2
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


def raw_get(server: FakeServer, path: str, **query: str) -> httpx2.Response:
    return httpx2.get(server.base_urls["openai"] + path, headers={"authorization": "Bearer any"}, params=query)


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
    thought, message = got["response"]["body"]["output"]
    assert (thought["type"], thought["id"][:3]) == ("reasoning", "rs_")
    assert len(json.loads(message["content"][0]["text"])["texts"]) == 3


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


def test_nothing_is_written_before_the_window_closes(server: FakeServer, client: openai.OpenAI) -> None:
    """A batch that runs out of time is `in_progress` to the last second; `finalizing_at` is not before its expiry."""
    server.plan(Fault("stick", provider="openai"))
    batch = submit(client, chat_line("a"))
    server.advance(seconds=86_399)
    batch = client.batches.retrieve(batch.id)
    assert (batch.status, batch.finalizing_at) == ("in_progress", None)
    server.advance(seconds=1)
    batch = client.batches.retrieve(batch.id)
    assert (batch.finalizing_at, batch.expired_at) == (batch.expires_at, batch.expires_at)


def test_lists_are_paged_newest_first(server: FakeServer, client: openai.OpenAI) -> None:
    """The SDK's own paging finds every batch and file once."""
    made = [submit(client, chat_line("a")).id for _ in range(5)]
    assert [batch.id for batch in client.batches.list(limit=2)] == made[::-1]
    assert len(list(client.files.list(purpose="batch", limit=2))) == 5
    oldest, newest = (client.files.list(order=order, limit=1).data[0].id for order in ("asc", "desc"))
    assert [oldest, newest] == [client.batches.retrieve(made[n]).input_file_id for n in (0, -1)]
    with pytest.raises(openai.BadRequestError):
        client.batches.list(limit=101)
    for query in ({"order": "sideways"}, {"limit": "0"}, {"after": "file-none"}):
        answer = raw_get(server, "/files", **query)
        assert (answer.status_code, list(answer.json())) == (400, ["error", "detail"])


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


def test_headers_are_those_of_real_traffic(server: FakeServer, client: openai.OpenAI) -> None:
    """Who owns the key stands on every answer but that to a bad key; nothing tells of rate limits."""
    batch = submit(client, chat_line("a"))
    for path in (f"/batches/{batch.id}", "/batches", f"/files/{batch.input_file_id}", "/files/file-none"):
        headers = raw_get(server, path).headers
        assert re.fullmatch(r"req_[0-9a-f]{32}", headers["x-request-id"])
        assert (headers["openai-version"], headers["content-type"]) == ("2020-10-01", "application/json")
        assert headers["openai-organization"] and headers["openai-project"].startswith("proj_")
        assert headers["openai-processing-ms"].isdecimal() and headers["server"] == "cloudflare"
        assert not [name for name in headers if name.startswith("x-ratelimit") or name == "retry-after"]
    refused = httpx2.get(server.base_urls["openai"] + "/batches", headers={"authorization": "Bearer bad-key"})
    assert "x-request-id" in refused.headers and "openai-organization" not in refused.headers


def test_files_are_written_with_a_final_newline_and_errors_with_detail(
    server: FakeServer, client: openai.OpenAI
) -> None:
    """Everything under /files ends with a newline; its errors say their message twice."""
    file_id = upload(client, chat_line("a"))
    known, listed, unknown = (raw_get(server, f"/files{path}") for path in (f"/{file_id}", "", "/file-none"))
    assert all(one.text.startswith("{\n  ") and one.text.endswith("}\n") for one in (known, listed, unknown))
    message = "No such File object: file-none"
    assert unknown.status_code == 404
    assert unknown.json() == {
        "error": {"message": message, "type": "invalid_request_error", "param": "id", "code": None},
        "detail": {"message": message, "code": None},
    }
    base = server.base_urls["openai"] + "/files"
    data = {"file": ("in.jsonl", b"{}")}
    for form in ({}, {"purpose": "assistants", "expires_after[seconds]": "3600"}):
        refused = httpx2.post(base, headers={"authorization": "Bearer any"}, data=form, files=data)
        assert (refused.status_code, list(refused.json())) == (400, ["error", "detail"])


@pytest.mark.parametrize(
    "expiry",
    [
        {"anchor": "last_active_at", "seconds": 3600},
        {"anchor": "created_at", "seconds": 3599},
        {"anchor": "created_at", "seconds": 2_592_001},
        {"anchor": "created_at"},
        {"seconds": 3600},
    ],
)
def test_expiry_needs_its_anchor_and_an_hour_to_30_days(client: openai.OpenAI, expiry: Any) -> None:
    """Uploads and the output of batches take the same two fields, with the same bounds."""
    with pytest.raises(openai.BadRequestError, match=r"expires_after\."):
        client.files.create(file=("in.jsonl", b"{}"), purpose="batch", expires_after=expiry)
    with pytest.raises(openai.BadRequestError, match=r"output_expires_after\."):
        submit(client, chat_line("a"), output_expires_after=expiry)


def test_output_files_stay_unless_asked_otherwise(server: FakeServer, client: openai.OpenAI) -> None:
    """Output has no expiry of its own; with `output_expires_after` it goes that long after it was written."""
    kept = submit(client, chat_line("a"))
    short = submit(client, chat_line("a"), output_expires_after={"anchor": "created_at", "seconds": 3600})
    server.finish_all()
    files = [client.files.retrieve(client.batches.retrieve(one.id).output_file_id or "") for one in (kept, short)]
    assert [file.purpose for file in files] == ["batch_output"] * 2
    assert (files[0].expires_at, files[1].expires_at) == (None, files[1].created_at + 3600)
    server.advance(hours=2)
    assert client.files.content(files[0].id).read()
    with pytest.raises(openai.NotFoundError):
        client.files.content(files[1].id)


def test_downloads_are_octet_streams_named_after_the_batch(server: FakeServer, client: openai.OpenAI) -> None:
    """Output files are named after their batch and end with a newline; an input file comes back under its own name."""
    batch = submit(client, chat_line("a"), chat_line("b", model="gpt-4.1-mini", messages=[]))
    server.finish(batch.id)
    batch = client.batches.retrieve(batch.id)
    for file_id, name in (
        (batch.output_file_id, f"{batch.id}_output.jsonl"),
        (batch.error_file_id, f"{batch.id}_error.jsonl"),
        (batch.input_file_id, "in.jsonl"),
    ):
        answer = raw_get(server, f"/files/{file_id}/content")
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'
        assert answer.text.endswith("}\n") == (name != "in.jsonl")


def test_input_file_deleted_while_its_batch_runs(server: FakeServer, client: openai.OpenAI) -> None:
    """The batch has read its input: it completes. Another one can no longer be made of it."""
    batch = submit(client, chat_line("a"))
    client.files.delete(batch.input_file_id)
    server.finish(batch.id)
    assert client.batches.retrieve(batch.id).status == "completed"
    again = client.batches.create(
        input_file_id=batch.input_file_id, endpoint="/v1/chat/completions", completion_window="24h"
    )
    server.finish(again.id)
    assert client.batches.retrieve(again.id).status == "failed"


def test_one_request_over_the_limit_fails_the_batch(server: FakeServer, client: openai.OpenAI) -> None:
    """50,000 requests are taken, 50,001 are not."""
    lines = [json.dumps({**chat_line(str(n)), "body": {"model": "gpt-4.1-mini"}}) for n in range(50_001)]
    over, full = submit(client, *lines), submit(client, *lines[:-1])
    server.advance(seconds=500)
    over, full = client.batches.retrieve(over.id), client.batches.retrieve(full.id)
    assert (over.status, over.errors.data[0].code, over.errors.data[0].line) == ("failed", "too_many_tasks", None)
    assert (full.status, full.request_counts.total) == ("in_progress", 50_000)


def test_file_of_another_purpose_is_refused_at_once(client: openai.OpenAI) -> None:
    """A batch reads files of purpose `batch` only, unlike an unknown file this is told by create."""
    file = client.files.create(file=("in.jsonl", b"{}"), purpose="user_data")
    assert file.expires_at is None
    with pytest.raises(openai.BadRequestError, match="purpose"):
        client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")


def test_states_do_not_need_the_clock_to_move() -> None:
    """On a clock that stands still a batch is cancelled before its start, or ends with its model known."""
    with (
        FakeServer(batch_seconds=1000, clock=lambda: 1.8e9) as server,
        openai.OpenAI(base_url=server.base_urls["openai"], api_key="any", max_retries=0) as client,
    ):
        cancelled, completed = submit(client, chat_line("a")), submit(client, chat_line("a"))
        client.batches.cancel(cancelled.id)
        server.finish_all()
        cancelled, completed = (client.batches.retrieve(one.id) for one in (cancelled, completed))
    assert (cancelled.status, cancelled.request_counts.total, cancelled.error_file_id) == ("cancelled", 0, None)
    assert (completed.status, completed.model) == ("completed", "gpt-4.1-mini-2025-04-14")


def test_async_client_goes_the_same_way(server: FakeServer) -> None:
    """Upload, create, retrieve, pages and download through the SDK's asynchronous client."""

    async def run() -> tuple[list[str], bytes]:
        async with openai.AsyncOpenAI(base_url=server.base_urls["openai"], api_key="any", max_retries=0) as client:
            data = json.dumps(chat_line("a")).encode()
            file = await client.files.create(file=("in.jsonl", data), purpose="batch")
            made = [
                await client.batches.create(
                    input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
                )
                for _ in range(3)
            ]
            await client.batches.cancel(made[0].id)
            server.finish_all()
            states = [batch.status async for batch in client.batches.list(limit=2)]
            ended = await client.batches.retrieve(made[2].id)
            return states, (await client.files.content(ended.output_file_id or "")).content

    states, content = asyncio.run(run())
    assert states == ["completed", "completed", "cancelled"]
    assert json.loads(content)["custom_id"] == "a"


def test_embeddings_at_once(client: openai.OpenAI) -> None:
    """Vectors of length one, the same for the same text, as numbers or packed, of as many dimensions as asked for."""
    numbers = client.embeddings.create(model="text-embedding-3-small", input=["a", "b"], encoding_format="float")
    packed = client.embeddings.create(model="text-embedding-3-small", input="b")
    assert [one.index for one in numbers.data] == [0, 1] and len(numbers.data[0].embedding) == 1536
    assert packed.data[0].embedding == pytest.approx(numbers.data[1].embedding)
    assert packed.data[0].embedding != pytest.approx(numbers.data[0].embedding)
    assert sum(one * one for one in packed.data[0].embedding) == pytest.approx(1, abs=1e-5)
    raw = client.embeddings.with_raw_response.create(model="text-embedding-3-small", input="b").content
    assert len(json.loads(raw)["data"][0]["embedding"]) == 1536 * 4 * 4 // 3
    large = client.embeddings.create(model="text-embedding-3-large", input=[[1, 2, 3]], dimensions=256)
    assert (len(large.data[0].embedding), large.usage.prompt_tokens) == (256, 3)
    assert len(client.embeddings.create(model="text-embedding-3-large", input=[1, 2]).data[0].embedding) == 3072


@pytest.mark.parametrize("body", [{"input": ""}, {"input": ["a", ""]}, {"input": "a", "dimensions": 1537}, {"stop": 1}])
def test_embeddings_refuse_what_is_wrong(server: FakeServer, body: dict[str, Any]) -> None:
    """Empty input, too many dimensions and unknown parameters are 400."""
    url, headers = server.base_urls["openai"] + "/embeddings", {"authorization": "Bearer any"}
    assert httpx2.post(url, headers=headers, json={"model": "text-embedding-3-small", **body}).status_code == 400


def test_embeddings_in_a_batch(server: FakeServer, client: openai.OpenAI) -> None:
    """A line of embeddings has the body of the live answer, the vector before its index, and only tokens read."""
    body = {"model": "text-embedding-3-small", "input": ["a", "b"], "dimensions": 8}
    line = {"custom_id": "e", "method": "POST", "url": "/v1/embeddings", "body": body}
    batch = submit(client, line, {**line, "custom_id": "bad", "body": {**body, "input": []}}, endpoint="/v1/embeddings")
    server.finish(batch.id)
    batch = client.batches.retrieve(batch.id)
    (got,) = read(client, batch.output_file_id)
    made = got["response"]["body"]
    assert list(made) == ["object", "data", "model", "usage"] and len(made["data"][1]["embedding"]) == 8
    assert list(made["data"][0]) == ["object", "embedding", "index"]
    assert (batch.usage.input_tokens, batch.usage.output_tokens) == (made["usage"]["prompt_tokens"], 0)
    (failed,) = read(client, batch.error_file_id)
    assert (failed["custom_id"], failed["response"]["status_code"]) == ("bad", 400)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": "x"}, "temperature"),
        ({"top_p": 7}, "top_p"),
        ({"frequency_penalty": -3}, "frequency_penalty"),
        ({"presence_penalty": "a"}, "presence_penalty"),
        ({"messages": [{"role": "robot", "content": "Hi"}]}, "messages[0].role"),
    ],
)
def test_parameters_out_of_range_are_refused(client: openai.OpenAI, body: dict[str, Any], param: str) -> None:
    """At once for a live request; in a batch they are that line's error."""
    given: Any = chat_line("a")["body"] | body
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(**given)
    assert caught.value.param == param


def test_reasoning_is_counted_and_can_be_turned_off(client: openai.OpenAI) -> None:
    """Its tokens are part of the output; with effort none there are none."""
    usages = [
        client.responses.create(model="gpt-5-nano", input="Hi", reasoning={"effort": effort}).usage
        for effort in ("high", "none")
    ]
    assert [one.output_tokens_details.reasoning_tokens for one in usages if one] == [64, 0]
    assert usages[0].output_tokens > 64  # type: ignore[union-attr]
    chat = client.chat.completions.create(model="o4-mini", messages=[{"role": "user", "content": "Hi"}], n=2)
    assert chat.usage.completion_tokens_details.reasoning_tokens == 128  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("日本.jsonl", "filename*=utf-8''%E6%97%A5%E6%9C%AC.jsonl"),
        ('a"b.jsonl', "filename*=utf-8''a%22b.jsonl"),
        (r"a\b.jsonl", "filename*=utf-8''a%5Cb.jsonl"),
        ("a\nx-b: c/d.jsonl", "filename*=utf-8''a%0Ax-b%3A%20c%2Fd.jsonl"),
        ("a b;c=50%.jsonl", 'filename="a b;c=50%.jsonl"'),
    ],
)
def test_a_file_of_any_name_can_be_downloaded(server: FakeServer, name: str, shown: str) -> None:
    """Headers hold printable Latin letters only, and in quotes neither quotes nor backslashes: others are encoded."""
    # Clients encode some of these themselves; this is what a form may hold.
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    parts = [('name="purpose"', "batch"), (f'name="file"; filename="{escaped}"', "{}")]
    form = "".join(f"--X\r\ncontent-disposition: form-data; {head}\r\n\r\n{value}\r\n" for head, value in parts)
    headers = {"authorization": "Bearer any", "content-type": "multipart/form-data; boundary=X"}
    made = httpx2.post(
        f"{server.base_urls['openai']}/files", headers=headers, content=f"{form}--X--\r\n".encode()
    ).json()
    assert made["filename"] == name
    answer = raw_get(server, f"/files/{made['id']}/content")
    assert answer.headers["content-disposition"] == f"attachment; {shown}"


def test_a_null_input_file_is_a_missing_one(client: openai.OpenAI) -> None:
    """As if it were not there."""
    with pytest.raises(openai.BadRequestError, match="Missing required parameter: 'input_file_id'"):
        client.batches.create(
            input_file_id=None,  # type: ignore[arg-type]
            endpoint="/v1/chat/completions",
            completion_window="24h",
        )


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_only_plain_utf_8_is_read(server: FakeServer, client: openai.OpenAI, encoding: str) -> None:
    """A byte order mark makes the first line no JSON."""
    data = json.dumps(chat_line("a")).encode(encoding)
    file = client.files.create(file=("a.jsonl", data), purpose="batch")
    batch = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    server.finish(batch.id)
    errors = client.batches.retrieve(batch.id).errors
    assert errors and errors.data and errors.data[0].code == "invalid_json_line"


def test_a_page_that_ends_with_the_list_says_so(client: openai.OpenAI) -> None:
    """Exactly as many as were asked for: there is no more."""
    for _ in range(3):
        submit(client, chat_line("a"))
    pages = [client.batches.list(limit=limit) for limit in (2, 3)]
    assert [page.has_more for page in pages] == [True, False]


def test_files_are_listed_by_ten_thousand(client: openai.OpenAI) -> None:
    """Not by twenty, as batches are."""
    for _ in range(22):
        upload(client, chat_line("a"))
    assert len(client.files.list().data) == 22


def test_at_most_a_hundred_errors_are_named(server: FakeServer, client: openai.OpenAI) -> None:
    """However many lines are wrong."""
    batch = submit(client, *["no json"] * 120)
    server.finish(batch.id)
    errors = client.batches.retrieve(batch.id).errors
    assert errors and errors.data and len(errors.data) == 100


@pytest.mark.parametrize("key", ["$defs", "anyOf"])
def test_strict_looks_into_every_part_of_a_schema(client: openai.OpenAI, key: str) -> None:
    """An open object is refused wherever it stands."""
    open_object = {"type": "object", "properties": {}}
    part: Any = {"thing": open_object} if key == "$defs" else [{"type": "string"}, open_object]
    property_: Any = {"$ref": "#/$defs/thing"} if key == "$defs" else {"anyOf": part}
    schema = {"type": "object", "properties": {"a": property_}, "required": ["a"], "additionalProperties": False}
    if key == "$defs":
        schema["$defs"] = part
    form: Any = {"type": "json_schema", "json_schema": {"name": "t", "strict": True, "schema": schema}}
    with pytest.raises(openai.BadRequestError, match="additionalProperties"):
        client.chat.completions.create(
            model="gpt-4.1", messages=[{"role": "user", "content": "Hi"}], response_format=form
        )


def test_a_broken_form_is_answered_as_the_service_does(server: FakeServer) -> None:
    """With its error object, not with the web server's text."""
    headers = {"authorization": "Bearer any", "content-type": "multipart/form-data"}
    answer = httpx2.post(server.base_urls["openai"] + "/files", headers=headers, content=b"no parts")
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
