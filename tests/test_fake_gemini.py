"""The fake's Gemini, through the official SDK over a real socket."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from google import genai
from google.genai import errors, types

from batchfast.fake import FakeServer, Fault

MODEL = "gemini-2.5-flash"
SCHEMA = {
    "type": "OBJECT",
    "properties": {"texts": {"type": "ARRAY", "items": {"type": "STRING"}, "minItems": "2"}},
    "required": ["texts"],
}


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


def connect(server: FakeServer, key: str = "any", **options: Any) -> genai.Client:
    return genai.Client(api_key=key, http_options={"base_url": server.base_urls["gemini"], **options})


@pytest.fixture
def client(server: FakeServer) -> Iterator[genai.Client]:
    with connect(server) as client:
        yield client


def line(key: str, **request: Any) -> dict[str, Any]:
    contents = [{"role": "user", "parts": [{"text": "Write a haiku about snow."}]}]
    return {"key": key, "request": {"contents": contents, **request}}


def upload(client: genai.Client, *lines: object, **config: Any) -> str:
    data = "\n".join(one if isinstance(one, str) else json.dumps(one) for one in lines).encode()
    file = client.files.upload(file=io.BytesIO(data), config={"mime_type": "application/jsonl", **config})
    assert file.name
    return file.name


def submit(client: genai.Client, *lines: object) -> str:
    name = client.batches.create(model=MODEL, src=upload(client, *lines), config={"display_name": "run-1"}).name
    assert name
    return name


def results(client: genai.Client, name: str) -> dict[str, Any]:
    dest = client.batches.get(name=name).dest
    assert dest and dest.file_name
    raw = client.files.download(file=dest.file_name)
    return {one["key"]: one for one in map(json.loads, raw.split(b"\n")[:-1])}


def raw_get(server: FakeServer, path: str) -> Any:
    return json.loads(httpx2.get(server.base_urls["gemini"] + path, headers={"x-goog-api-key": "k"}).content)


def test_file_batch_life(server: FakeServer, client: genai.Client) -> None:
    """PENDING, RUNNING, SUCCEEDED; the results are a file of lines with the key last."""
    config = {"responseMimeType": "application/json", "responseSchema": SCHEMA}
    name = submit(client, line("a", generationConfig=config), line("b"))
    assert client.batches.get(name=name).state is types.JobState.JOB_STATE_PENDING
    server.advance(seconds=500)
    assert client.batches.get(name=name).state is types.JobState.JOB_STATE_RUNNING
    server.advance(seconds=500)
    job = client.batches.get(name=name)
    assert (job.state, job.display_name) == (types.JobState.JOB_STATE_SUCCEEDED, "run-1")
    got = results(client, name)
    assert got.keys() == {"a", "b"} and list(got["a"]) == ["response", "key"]
    text = got["a"]["response"]["candidates"][0]["content"]["parts"][0]["text"]
    assert len(json.loads(text)["texts"]) == 2


def test_operation_has_the_keys_of_real_traffic_in_order(server: FakeServer, client: genai.Client) -> None:
    """No `done` until the end; counts are strings without zeros; the output stands there twice."""
    name = submit(client, line("a"), line("b", temperature=1))
    operation = raw_get(server, f"/v1beta/{name}")
    assert list(operation) == ["name", "metadata"]
    assert list(operation["metadata"]) == [
        "@type", "model", "displayName", "inputConfig", "createTime", "updateTime", "batchStats", "state", "name",
    ]  # fmt: skip
    assert operation["metadata"]["batchStats"] == {"requestCount": "2", "pendingRequestCount": "2"}
    server.finish(name)
    operation = raw_get(server, f"/v1/{name}")
    assert list(operation) == ["name", "metadata", "done", "response"]
    metadata = operation["metadata"]
    assert list(metadata) == [
        "@type", "model", "displayName", "inputConfig", "output", "createTime", "endTime", "updateTime",
        "batchStats", "state", "name",
    ]  # fmt: skip
    assert metadata["batchStats"] == {
        "requestCount": "2",
        "successfulRequestCount": "1",
        "failedRequestCount": "1",
    }
    assert operation["response"]["responsesFile"] == metadata["output"]["responsesFile"]
    assert metadata["createTime"].endswith("Z") and len(metadata["createTime"]) == 30


def test_unknown_fields_are_errors_of_their_line(server: FakeServer, client: genai.Client) -> None:
    """SDK-style keys in a JSONL line are refused line by line; both spellings of real fields are taken."""
    name = submit(
        client,
        line("flat", temperature=1),
        {**line("odd"), "custom_id": "odd"},
        line("deep", generationConfig={"max_tokens": 5}),
        line("schema", generationConfig={"responseSchema": {"type": "OBJECT", "additionalProperties": False}}),
        line("snake", generation_config={"max_output_tokens": 2}, system_instruction={"parts": [{"text": "Be"}]}),
    )
    server.finish(name)
    got = results(client, name)
    assert got["snake"]["response"]["candidates"][0]["finishReason"] == "MAX_TOKENS"
    for key in ("flat", "odd", "deep", "schema"):
        assert got[key]["error"]["code"] == 3 and "Unknown name" in got[key]["error"]["message"]


def test_inline_batch_echoes_metadata(server: FakeServer, client: genai.Client) -> None:
    """Inline requests are answered in the operation itself, in order, and left out of the list."""
    source: Any = [
        {"contents": "Hello 1", "metadata": {"key": "a"}, "config": {"temperature": 0.5}},
        {"contents": "Hello 2", "metadata": {"key": "b"}},
    ]
    name = client.batches.create(model=MODEL, src=source).name or ""
    server.finish(name)
    inlined = (client.batches.get(name=name).dest or types.BatchJobDestination()).inlined_responses or []
    assert [one.metadata for one in inlined] == [{"key": "a"}, {"key": "b"}]
    assert all(one.response and one.response.text for one in inlined)
    (listed,) = raw_get(server, "/v1/batches")["operations"]
    assert "inlinedResponses" not in json.dumps(listed)


def test_unreadable_input_fails_the_batch(server: FakeServer, client: genai.Client) -> None:
    """The reason is only in the raw operation: the SDK drops it."""
    name = submit(client, "{not json")
    server.finish(name)
    job = client.batches.get(name=name)
    assert (job.state, job.dest) == (types.JobState.JOB_STATE_FAILED, None)
    assert raw_get(server, f"/v1/{name}")["error"]["code"] == 3


def test_cancel_and_delete(server: FakeServer, client: genai.Client) -> None:
    """A cancelled batch gives nothing; one that is over cannot be cancelled; a deleted one is gone."""
    name = submit(client, line("a"))
    client.batches.cancel(name=name)
    server.finish(name)
    job = client.batches.get(name=name)
    assert (job.state, job.dest) == (types.JobState.JOB_STATE_CANCELLED, None)
    with pytest.raises(errors.ClientError, match="FAILED_PRECONDITION"):
        client.batches.cancel(name=name)
    client.batches.delete(name=name)
    with pytest.raises(errors.ClientError, match="NOT_FOUND"):
        client.batches.get(name=name)


def test_stuck_batch_expires_after_two_days_with_nothing(server: FakeServer, client: genai.Client) -> None:
    """An expired batch has no output at all."""
    server.plan(Fault("stick", provider="gemini"))
    name = submit(client, line("a"))
    server.advance(hours=48)
    job = client.batches.get(name=name)
    assert (job.state, job.dest) == (types.JobState.JOB_STATE_EXPIRED, None)


def test_upload_in_pieces(server: FakeServer, client: genai.Client) -> None:
    """Nine megabytes come in two pieces after the start; a name is given once only."""
    data = b"x" * 9_000_000
    file = client.files.upload(file=io.BytesIO(data), config={"mime_type": "jsonl", "name": "files/my-run-1"})
    assert (file.name, file.size_bytes, file.mime_type) == ("files/my-run-1", 9_000_000, "jsonl")
    assert [call.route for call in server.calls] == ["upload"] * 3
    with pytest.raises(errors.ClientError, match="ALREADY_EXISTS"):
        client.files.upload(file=io.BytesIO(b"y"), config={"mime_type": "jsonl", "name": "files/my-run-1"})


def test_upload_tells_what_it_has(server: FakeServer) -> None:
    """`query` answers the bytes received, a wrong offset is refused, and PUT is as good as POST."""
    key = {"x-goog-api-key": "k", "x-goog-upload-command": "start", "x-goog-upload-protocol": "resumable"}
    start = httpx2.post(server.base_urls["gemini"] + "/upload/v1beta/files", headers=key, json={"file": {}})
    url = start.headers["x-goog-upload-url"]

    def send(command: str, offset: int = 0, data: bytes = b"") -> httpx2.Response:
        headers = {"x-goog-upload-command": command, "x-goog-upload-offset": str(offset)}
        return httpx2.put(url, headers=headers, content=data)

    assert send("upload", 0, b"abc").headers["x-goog-upload-status"] == "active"
    assert send("query").headers["x-goog-upload-size-received"] == "3"
    assert send("upload, finalize", 1, b"bcd").status_code == 400
    final = send("upload, finalize", 3, b"def")
    assert final.headers["x-goog-upload-status"] == "final"
    assert final.json()["file"]["sizeBytes"] == "6"


def test_file_life(server: FakeServer, client: genai.Client) -> None:
    """Uploads cannot be downloaded, are listed, and are gone after 48 hours or a delete: 403, not 404."""
    first, second = upload(client, line("a"), display_name="one"), upload(client, line("b"))
    assert [file.name for file in client.files.list(config={"page_size": 1})] == [second, first]
    assert client.files.get(name=first).display_name == "one"
    with pytest.raises(errors.ClientError):
        client.files.download(file=first)
    client.files.delete(name=first)
    server.advance(hours=48)
    for name in (first, second):
        with pytest.raises(errors.ClientError, match="PERMISSION_DENIED"):
            client.files.get(name=name)


def test_batches_are_paged_newest_first(client: genai.Client) -> None:
    """The SDK's pager follows the page token."""
    made = [submit(client, line("a")) for _ in range(3)]
    assert [job.name for job in client.batches.list(config={"page_size": 2})] == made[::-1]


def test_bad_key_unknown_model_and_file(server: FakeServer, client: genai.Client) -> None:
    """A bad key is 400 with a reason, an unknown model 404, an unknown file 403."""
    with connect(server, "bad-key") as stranger, pytest.raises(errors.ClientError, match="API_KEY_INVALID") as caught:
        stranger.batches.get(name="batches/none")
    assert caught.value.code == 400
    with pytest.raises(errors.ClientError, match="NOT_FOUND"):
        client.batches.create(model="no-such-model", src=upload(client, line("a")))
    with pytest.raises(errors.ClientError, match="PERMISSION_DENIED"):
        client.batches.create(model=MODEL, src="files/none")


def test_answers_at_once_under_any_version(server: FakeServer) -> None:
    """generateContent answers under v1 and v1beta; a thinking budget shows in the usage."""
    for version in ("v1", "v1beta"):
        with connect(server, api_version=version) as client:
            config = types.GenerateContentConfig(thinking_config=types.ThinkingConfig(thinking_budget=64))
            response = client.models.generate_content(model=MODEL, contents="Write about snow.", config=config)
        assert response.text and response.usage_metadata and response.usage_metadata.thoughts_token_count
