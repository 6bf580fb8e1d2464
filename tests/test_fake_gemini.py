"""The fake's Gemini, through the official SDK over a real socket."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from google import genai
from google.genai import errors, types

from batchfast.fake import FakeServer, Fault
from batchfast.fake import gemini as service

MODEL = "gemini-2.5-flash"
SCHEMA = {
    "type": "OBJECT",
    "properties": {"texts": {"type": "ARRAY", "items": {"type": "STRING"}, "minItems": "2"}},
    "required": ["texts"],
}


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

    first = send("upload", 0, b"abc")
    assert first.headers["x-goog-upload-status"] == "active" and first.content == b""
    assert send("query").headers["x-goog-upload-size-received"] == "3"
    assert send("upload, finalize", 1, b"bcd").status_code == 400
    assert send("upload, finalize", 6).status_code == 400
    final = send("upload, finalize", 3, b"def")
    assert final.headers["x-goog-upload-status"] == "final"
    assert final.json()["file"]["sizeBytes"] == "6"
    over = send("query").headers
    assert (over["x-goog-upload-status"], over["x-goog-upload-size-received"]) == ("final", "6")
    assert send("upload, finalize", 6).status_code == 400
    for answer in (start, first, final):
        assert answer.headers["server"] == "UploadServer"
        assert "server-timing" not in answer.headers and "x-goog-upload-size-received" not in answer.headers
        assert answer.headers["x-guploader-uploadid"] == httpx2.URL(url).params["upload_id"]
    assert (start.content, start.headers["content-type"]) == (b"", "text/plain; charset=utf-8")
    assert start.headers["x-goog-upload-chunk-granularity"] == "8388608"
    assert start.headers["x-goog-upload-control-url"] == url
    assert final.headers["content-type"] == "application/json; charset=UTF-8"
    assert httpx2.put(url.replace("upload-", "upload-0"), content=b"").status_code == 404


def test_name_goes_to_the_upload_that_ends_first(server: FakeServer) -> None:
    """A name is taken when a file is there, not when its upload starts; a second one of it is 409."""
    url, headers = server.base_urls["gemini"] + "/upload/v1beta/files", {"x-goog-api-key": "k"}
    start = {**headers, "x-goog-upload-command": "start"}
    body = {"file": {"name": "files/mine"}}
    urls = [httpx2.post(url, headers=start, json=body).headers["x-goog-upload-url"] for _ in range(2)]
    end = {"x-goog-upload-command": "upload, finalize", "x-goog-upload-offset": "0"}
    assert [httpx2.post(one, headers=end, content=b"{}").status_code for one in urls] == [200, 409]


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


def test_result_files_cannot_be_deleted(server: FakeServer, client: genai.Client) -> None:
    """A delete takes names of 40 characters at most, and theirs have 42: they stay until they expire."""
    name = submit(client, line("a"))
    server.finish(name)
    dest = client.batches.get(name=name).dest
    assert dest and dest.file_name
    with pytest.raises(errors.ClientError, match="cannot be more than 40 characters"):
        client.files.delete(name=dest.file_name)
    assert results(client, name)
    server.advance(hours=48)
    with pytest.raises(errors.ClientError, match="PERMISSION_DENIED"):
        client.files.download(file=dest.file_name)


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


def test_headers_are_those_of_real_traffic(server: FakeServer, client: genai.Client) -> None:
    """JSON indented by two with a final newline, the same headers everywhere, and no request id anywhere."""
    name, file_name = submit(client, line("a")), upload(client, line("a"))
    for path in (f"/v1beta/{name}", "/v1/batches", f"/v1/{file_name}", "/v1beta/files", "/v1/batches/none"):
        answer = httpx2.get(server.base_urls["gemini"] + path, headers={"x-goog-api-key": "k"})
        assert answer.text.startswith("{\n  ") and answer.text.endswith("}\n")
        headers = answer.headers
        assert headers["content-type"] == "application/json; charset=UTF-8"
        assert headers["vary"] == "Origin, Referer, X-Origin" and headers["server-timing"].startswith("gfet4t7; dur=")
        assert headers["server"] == "scaffolding on HTTPServer2"
        assert (headers["x-xss-protection"], headers["x-frame-options"]) == ("0", "SAMEORIGIN")
        assert not [name for name in headers if "request-id" in name]


def test_batch_cancelled_before_its_start_has_an_error(server: FakeServer, client: genai.Client) -> None:
    """It stays PENDING while it is being cancelled, then is CANCELLED with error 13 and every request still pending."""
    name = submit(client, line("a"), line("b"))
    client.batches.cancel(name=name)
    server.advance(seconds=150)
    assert raw_get(server, f"/v1beta/{name}")["metadata"]["state"] == "BATCH_STATE_PENDING"
    server.advance(seconds=100)
    operation = raw_get(server, f"/v1beta/{name}")
    assert list(operation) == ["name", "metadata", "done", "error"]
    assert (operation["metadata"]["state"], operation["error"]["code"]) == ("BATCH_STATE_CANCELLED", 13)
    assert operation["metadata"]["batchStats"] == {"requestCount": "2", "pendingRequestCount": "2"}
    assert "output" not in operation["metadata"] and operation["metadata"]["endTime"]


def test_batch_cancelled_after_its_start_succeeds_with_errors(server: FakeServer, client: genai.Client) -> None:
    """What was answered is kept; each request that was cut off has error 1, by its key or with its metadata."""
    name = submit(client, *(line(str(n)) for n in range(10)))
    source: Any = [{"contents": "Hello", "metadata": {"id": str(n)}} for n in range(10)]
    inline = client.batches.create(model=MODEL, src=source).name or ""
    server.advance(seconds=525)
    for one in (name, inline):
        client.batches.cancel(name=one)
        assert raw_get(server, f"/v1beta/{one}")["metadata"]["state"] == "BATCH_STATE_RUNNING"
    server.advance(seconds=200)
    operation = raw_get(server, f"/v1beta/{name}")
    assert (operation["done"], operation["metadata"]["state"]) == (True, "BATCH_STATE_SUCCEEDED")
    assert operation["metadata"]["batchStats"] == {
        "requestCount": "10",
        "successfulRequestCount": "5",
        "failedRequestCount": "5",
    }
    got = results(client, name)
    assert [got[str(n)] for n in range(5, 10)] == [{"error": {"code": 1}, "key": str(n)} for n in range(5, 10)]
    assert all("response" in got[str(n)] for n in range(5))
    items = raw_get(server, f"/v1beta/{inline}")["response"]["inlinedResponses"]["inlinedResponses"]
    assert items[9] == {"error": {"code": 1}, "metadata": {"id": "9"}}
    assert [list(item) for item in items[4:6]] == [["response", "metadata"], ["error", "metadata"]]
    dest = client.batches.get(name=inline).dest
    assert dest and dest.inlined_responses and dest.inlined_responses[9].error


def test_what_is_empty_is_left_out(server: FakeServer, client: genai.Client) -> None:
    """No display name, no field for it; and a page with nothing on it is an empty object."""
    file_name = upload(client, line("a"))
    assert "displayName" not in raw_get(server, f"/v1beta/{file_name}")
    name = client.batches.create(model=MODEL, src=file_name).name or ""
    assert "displayName" not in raw_get(server, f"/v1beta/{name}")["metadata"]
    assert raw_get(server, "/v1beta/files?pageToken=5") == {} and raw_get(server, "/v1/batches?pageToken=5") == {}


def test_result_lines_differ_in_the_order_of_their_keys(server: FakeServer, client: genai.Client) -> None:
    """The key comes last; inside a response no order can be relied on, at any depth."""
    name = submit(client, *(line(str(n)) for n in range(20)))
    server.finish(name)
    got = results(client, name).values()
    assert {tuple(one) for one in got} == {("response", "key")}
    assert len({tuple(one["response"]) for one in got}) > 1
    assert len({tuple(one["response"]["usageMetadata"]) for one in got}) > 1
    assert len({tuple(one["response"]["candidates"][0]) for one in got}) > 1


def test_page_sizes_and_tokens(server: FakeServer, client: genai.Client) -> None:
    """A size of zero is the default; one below, one too large, and a token that is none are refused."""
    for _ in range(11):
        upload(client, line("a"))
    assert len(raw_get(server, "/v1beta/files?pageSize=0")["files"]) == 10
    page = raw_get(server, "/v1beta/files?pageSize=6")
    rest = raw_get(server, f"/v1beta/files?pageSize=6&pageToken={page['nextPageToken']}")
    assert len(rest["files"]) == 5 and "nextPageToken" not in rest
    for query in ("pageSize=-1", "pageSize=x", "pageSize=101", "pageToken=x", f"pageToken={'9' * 5000}"):
        assert raw_get(server, f"/v1beta/files?{query}")["error"]["status"] == "INVALID_ARGUMENT"
    for query in ("pageSize=-1", "pageSize=1001", "pageToken=-1"):
        assert raw_get(server, f"/v1beta/batches?{query}")["error"]["code"] == 400


@pytest.mark.parametrize("version", ["v1", "v1beta"])
def test_both_spellings_of_a_create_are_taken(server: FakeServer, client: genai.Client, version: str) -> None:
    """Fields may be in camelCase or snake_case; metadata is the user's own, at any depth."""
    metadata = {"row_id": "1", "deep": {"inner_key": "x"}}
    contents = [{"role": "user", "parts": [{"text": "Hello"}]}]
    request = {"contents": contents, "generation_config": {"max_output_tokens": 2}}
    inline = {"requests": {"requests": [{"request": request, "metadata": metadata}]}}
    bodies = [
        {"batch": {"input_config": inline, "display_name": "run"}},
        {"batch": {"inputConfig": {"file_name": upload(client, line("a"))}, "displayName": "run"}},
    ]
    url = f"{server.base_urls['gemini']}/{version}/models/{MODEL}:batchGenerateContent"
    made = [httpx2.post(url, headers={"x-goog-api-key": "k"}, json=body).json() for body in bodies]
    assert [one["metadata"]["displayName"] for one in made] == ["run", "run"]
    server.finish_all()
    (item,) = raw_get(server, f"/{version}/{made[0]['name']}")["response"]["inlinedResponses"]["inlinedResponses"]
    assert item["metadata"] == metadata
    assert item["response"]["candidates"][0]["finishReason"] == "MAX_TOKENS"
    assert results(client, made[1]["name"]).keys() == {"a"}


@pytest.mark.parametrize("chunked", [False, True])
def test_inline_body_over_the_limit_is_refused(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch, chunked: bool
) -> None:
    """The limit holds for what was sent, whether or not its length was announced."""
    monkeypatch.setattr(service, "MAX_INLINE_BYTES", 300)

    def send(text: str) -> httpx2.Response:
        requests = [{"request": {"contents": [{"parts": [{"text": text}]}]}}]
        data = json.dumps({"batch": {"inputConfig": {"requests": {"requests": requests}}}}).encode()
        url = f"{server.base_urls['gemini']}/v1/models/{MODEL}:batchGenerateContent"
        return httpx2.post(url, headers={"x-goog-api-key": "k"}, content=iter([data]) if chunked else data)

    assert send("x").status_code == 200
    assert send("x" * 300).status_code == 400


def test_async_client_goes_the_same_way(server: FakeServer) -> None:
    """Upload, create, get, pages and download through the SDK's asynchronous client."""

    async def run() -> tuple[list[str], bytes]:
        async with connect(server).aio as client:
            data = io.BytesIO(json.dumps(line("a")).encode())
            file = await client.files.upload(file=data, config={"mime_type": "application/jsonl"})
            made = [(await client.batches.create(model=MODEL, src=file.name or "")).name or "" for _ in range(3)]
            server.finish_all()
            listed = [job.name async for job in await client.batches.list(config={"page_size": 2})]
            job = await client.batches.get(name=made[0])
            assert job.dest and job.dest.file_name
            return [str(made.index(name or "")) for name in listed], await client.files.download(
                file=job.dest.file_name
            )

    order, content = asyncio.run(run())
    assert order == ["2", "1", "0"] and json.loads(content)["key"] == "a"


def test_embeddings_at_once(client: genai.Client) -> None:
    """Vectors of length one, the same for the same text, of as many dimensions as asked for."""
    made = client.models.embed_content(model="gemini-embedding-001", contents=["a", "b"]).embeddings or []
    vectors = [one.values or [] for one in made]
    assert [len(vector) for vector in vectors] == [3072, 3072] and vectors[0] != vectors[1]
    assert sum(number * number for number in vectors[0]) == pytest.approx(1, abs=1e-5)
    config = types.EmbedContentConfig(output_dimensionality=8)
    short = client.models.embed_content(model="gemini-embedding-001", contents="a", config=config).embeddings or []
    assert len(short[0].values or []) == 8
    for model, dimensions in (("gemini-embedding-001", 3073), ("no-such-model", 8)):
        with pytest.raises(errors.ClientError):
            wrong = types.EmbedContentConfig(output_dimensionality=dimensions)
            client.models.embed_content(model=model, contents="a", config=wrong)


def test_single_embedding(server: FakeServer) -> None:
    """`embedContent` answers one vector under `embedding`; without a text it is 400."""
    url = server.base_urls["gemini"] + "/v1beta/models/gemini-embedding-001:embedContent"
    body = {"content": {"parts": [{"text": "a"}]}, "output_dimensionality": 8}
    made = httpx2.post(url, headers={"x-goog-api-key": "k"}, json=body).json()
    assert list(made) == ["embedding"] and len(made["embedding"]["values"]) == 8
    assert httpx2.post(url, headers={"x-goog-api-key": "k"}, json={"content": {}}).status_code == 400


@pytest.mark.filterwarnings("ignore:batches.create_embeddings")
def test_embeddings_in_a_batch(server: FakeServer, client: genai.Client) -> None:
    """A batch of embeddings is an operation of types of its own; a line holds the vector and its token count."""
    model, config = "gemini-embedding-001", types.EmbedContentConfig(output_dimensionality=8)
    contents: Any = ["Hello", "Good bye"]
    inline = client.batches.create_embeddings(
        model=model,
        src=types.EmbeddingsBatchJobSource(inlined_requests=types.EmbedContentBatch(contents=contents, config=config)),
    )
    good = {"key": "a", "request": {"content": {"parts": [{"text": "Hello"}]}, "outputDimensionality": 8}}
    source = types.EmbeddingsBatchJobSource(file_name=upload(client, good, {"key": "bad", "request": {}}))
    by_file = client.batches.create_embeddings(model=model, src=source).name or ""
    server.finish_all()
    dest = client.batches.get(name=inline.name or "").dest
    assert dest and dest.inlined_embed_content_responses
    first, second = (one.response and one.response.embedding for one in dest.inlined_embed_content_responses)
    assert first and second and len(first.values or []) == 8 and first.values != second.values
    got = results(client, by_file)
    assert got["a"]["response"]["embedding"]["values"] == first.values
    assert got["a"]["response"]["tokenCount"].isdecimal() and got["bad"]["error"]["code"] == 3
    operation = raw_get(server, f"/v1beta/{by_file}")
    assert operation["metadata"]["@type"].endswith(".EmbedContentBatch")
    assert operation["response"]["@type"].endswith(".EmbedContentBatchOutput")


def test_a_name_is_free_again_when_its_file_has_expired(server: FakeServer, client: genai.Client) -> None:
    """Taken for two days, then given to the next upload."""
    upload(client, line("a"), name="files/mine")
    with pytest.raises(errors.ClientError, match="ALREADY_EXISTS"):
        upload(client, line("b"), name="files/mine")
    server.advance(hours=48)
    assert upload(client, line("b"), name="files/mine") == "files/mine"
