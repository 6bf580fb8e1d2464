"""The fake's Anthropic, through the official SDK over a real socket."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx2
import pytest

from batchfast.fake import FakeServer, Fault
from batchfast.fake import anthropic as service

SCHEMA = {
    "type": "object",
    "properties": {"texts": {"type": "array", "items": {"type": "string"}}},
    "required": ["texts"],
    "additionalProperties": False,
}

THINKING = {"type": "enabled", "budget_tokens": 1024}


@pytest.fixture
def client(server: FakeServer) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=server.base_urls["anthropic"], api_key="any", max_retries=0) as client:
        yield client


def request(name: str, **params: Any) -> Any:
    messages = [{"role": "user", "content": "Write 2 texts about snow."}]
    base = {"model": "claude-haiku-4-5", "max_tokens": 2000, "messages": messages}
    return {"custom_id": name, "params": {**base, **params}}


def submit(client: anthropic.Anthropic, *requests: Any) -> str:
    return client.messages.batches.create(requests=list(requests)).id


def results(client: anthropic.Anthropic, batch_id: str) -> dict[str, Any]:
    return {line.custom_id: line.result for line in client.messages.batches.results(batch_id)}


def test_batch_ends_and_gives_results(server: FakeServer, client: anthropic.Anthropic) -> None:
    """While it runs all requests stay in `processing`; once ended there is one line per request, out of order."""
    batch_id = submit(client, *(request(f"r{n}") for n in range(20)))
    server.advance(seconds=900)
    running = client.messages.batches.retrieve(batch_id)
    assert (running.processing_status, running.request_counts.processing, running.results_url) == (
        "in_progress",
        20,
        None,
    )
    server.advance(seconds=100)
    ended = client.messages.batches.retrieve(batch_id)
    assert (ended.processing_status, ended.request_counts.succeeded) == ("ended", 20)
    assert ended.results_url == f"{server.base_urls['anthropic']}/v1/messages/batches/{batch_id}/results"
    lines = list(client.messages.batches.results(batch_id))
    names = [line.custom_id for line in lines]
    assert sorted(names) == sorted(f"r{n}" for n in range(20)) and names != sorted(names)
    assert lines[0].result.type == "succeeded"
    assert lines[0].result.message.model == "claude-haiku-4-5-20251001"
    assert lines[0].result.message.usage.service_tier == "batch"


def test_batch_object_and_headers_are_those_of_real_traffic(server: FakeServer, client: anthropic.Anthropic) -> None:
    """Compact JSON in this order, microseconds with +00:00; Retry-After only while it runs."""
    raw = client.messages.batches.with_raw_response
    created = raw.create(requests=[request("a")])
    body = json.loads(created.text())
    assert list(body) == [
        "id", "type", "processing_status", "request_counts", "ended_at", "created_at", "expires_at", "archived_at",
        "cancel_initiated_at", "results_url",
    ]  # fmt: skip
    assert created.text().startswith('{"id":"msgbatch_01') and len(body["id"]) == 33
    assert body["created_at"].endswith("+00:00") and len(body["created_at"]) == 32
    assert "retry-after" not in created.headers
    assert raw.retrieve(body["id"]).headers["retry-after"] == "10"
    server.finish(body["id"])
    assert "retry-after" not in raw.retrieve(body["id"]).headers


def test_wrong_parameters_are_results_not_refusals(server: FakeServer, client: anthropic.Anthropic) -> None:
    """Parameters are looked at after create; each wrong request is an errored line, nested twice."""
    bounded = {**SCHEMA, "properties": {"texts": {"type": "array", "items": {"type": "string"}, "maxItems": 3}}}
    form = {"type": "json_schema", "schema": SCHEMA}
    no_limit = request("no-limit")
    del no_limit["params"]["max_tokens"]
    batch_id = submit(
        client,
        request("warm", temperature=0.5),
        request("unknown", model="no-such-model"),
        request("old", model="claude-3-5-haiku-20241022", output_config={"format": form}),
        request("bounded", output_config={"format": {"type": "json_schema", "schema": bounded}}),
        request("named", output_config={"format": {**form, "name": "x"}}),
        request("extra", frequency_penalty=1),
        no_limit,
        request("good", output_config={"format": form}),
    )
    server.finish(batch_id)
    got = results(client, batch_id)
    assert got["good"].type == "succeeded"
    assert len(json.loads(got["good"].message.content[0].text)["texts"]) == 2
    errors = {name: one.error.error for name, one in got.items() if one.type == "errored"}
    assert errors.keys() == {"warm", "unknown", "old", "bounded", "named", "extra", "no-limit"}
    assert errors["unknown"].type == "not_found_error"
    assert errors["no-limit"].message == "max_tokens: Field required"
    assert {errors[name].type for name in errors if name != "unknown"} == {"invalid_request_error"}
    assert got["warm"].error.request_id.startswith("workerreq_01")
    counts = client.messages.batches.retrieve(batch_id).request_counts
    assert (counts.succeeded, counts.errored) == (1, 7)


def test_sampling_parameters_depend_on_the_version(server: FakeServer, client: anthropic.Anthropic) -> None:
    """The first version of the API takes a temperature, newer ones do not."""
    old = client.with_options(default_headers={"anthropic-version": "2023-06-01"})
    batch_id = submit(old, request("warm", temperature=0.5))
    server.finish(batch_id)
    assert results(client, batch_id)["warm"].type == "succeeded"


def test_thinking_comes_before_the_answer(server: FakeServer, client: anthropic.Anthropic) -> None:
    """A signed block of its own, and its tokens are output that is charged; the answer is as it is without."""
    server.plan(Fault("refuse", custom_id="refused"))
    thinking = {"plain": None, "deep": THINKING, "hidden": {**THINKING, "display": "omitted"}}
    made = [request(name, **({"thinking": one} if one else {})) for name, one in thinking.items()]
    batch_id = submit(client, *made, request("refused", thinking=THINKING))
    server.finish(batch_id)
    got = {name: one.message for name, one in results(client, batch_id).items()}
    thought, text = got["deep"].content
    assert isinstance(thought, anthropic.types.ThinkingBlock)
    assert thought.thinking
    assert base64.b64decode(thought.signature, validate=True)
    assert got["plain"].content == [text]
    assert (got["hidden"].content[0].thinking, got["hidden"].content[1]) == ("", text)
    assert [one.type for one in got["refused"].content] == ["thinking"]
    tokens = {name: one.usage.output_tokens_details.thinking_tokens for name, one in got.items()}
    assert tokens["plain"] == 0 < tokens["deep"] == tokens["hidden"]
    assert got["deep"].usage.output_tokens == got["plain"].usage.output_tokens + tokens["deep"]
    assert server.ledger()["anthropic"]["output_tokens"] == sum(one.usage.output_tokens for one in got.values())


def test_thinking_takes_its_part_of_the_limit(server: FakeServer, client: anthropic.Anthropic) -> None:
    """The answer is cut where both together reach it; a live message is counted as one of a batch."""
    messages: Any = [{"role": "user", "content": "Write 4000 words about snow."}]
    message = client.messages.create(
        model="claude-haiku-4-5",
        max_tokens=1025,
        messages=messages,
        thinking=THINKING,  # type: ignore[arg-type]
    )
    assert (message.stop_reason, message.usage.output_tokens) == ("max_tokens", 1025)
    assert server.ledger()["anthropic"]["output_tokens"] == 1025


@pytest.mark.parametrize("kind", ["disabled", "adaptive"])
def test_thinking_is_not_forced_on_anybody(client: anthropic.Anthropic, kind: str) -> None:
    """Only where it is enabled; left to the model, this one answers at once, also through a tool it must use."""
    params = request("a", thinking={"type": kind}, tools=[{"name": "save"}], tool_choice={"type": "any"})["params"]
    (block,) = client.messages.create(**params).content
    assert block.type == "tool_use"


def test_forced_tool_is_called(server: FakeServer, client: anthropic.Anthropic) -> None:
    """A forced tool gives a tool_use block whose input satisfies the tool's schema."""
    tool = {"name": "save", "input_schema": SCHEMA}
    batch_id = submit(client, request("a", tools=[tool], tool_choice={"type": "tool", "name": "save"}))
    server.finish(batch_id)
    message = results(client, batch_id)["a"].message
    assert (message.stop_reason, message.content[0].type) == ("tool_use", "tool_use")
    assert len(message.content[0].input["texts"]) == 2


@pytest.mark.parametrize(
    ("requests", "message"),
    [
        ([], "at least 1 item"),
        ([request("a b")], "match pattern"),
        ([request("x" * 65)], "at most 64 characters"),
        ([request("a"), request("a")], "custom_id"),
        ([{"custom_id": "a"}], "params: Field required"),
    ],
)
def test_wrong_envelope_is_refused_at_once(
    server: FakeServer, client: anthropic.Anthropic, requests: list[Any], message: str
) -> None:
    """What is wrong with the list itself is 400, and no batch is made."""
    with pytest.raises(anthropic.BadRequestError, match=message):
        client.messages.batches.create(requests=requests)
    assert server.batches("anthropic") == []


def test_cancel_keeps_what_was_done(server: FakeServer, client: anthropic.Anthropic) -> None:
    """Cancel answers `canceling` with its counts unmoved, twice the same; every request has a line in the end."""
    batch_id = submit(client, *(request(f"r{n}") for n in range(10)))
    server.advance(seconds=525)
    canceling = client.messages.batches.cancel(batch_id)
    assert (canceling.processing_status, canceling.request_counts.processing) == ("canceling", 10)
    assert client.messages.batches.cancel(batch_id).cancel_initiated_at == canceling.cancel_initiated_at
    server.finish(batch_id)
    ended = client.messages.batches.retrieve(batch_id)
    assert (ended.request_counts.succeeded, ended.request_counts.canceled) == (5, 5)
    assert len(results(client, batch_id)) == 10
    with pytest.raises(anthropic.BadRequestError):
        client.messages.batches.cancel(batch_id)


def test_stuck_batch_expires_after_a_day(server: FakeServer, client: anthropic.Anthropic) -> None:
    """Requests not reached within 24 hours have the result `expired`."""
    server.plan(Fault("stick"))
    batch_id = submit(client, request("a"), request("b"))
    server.advance(hours=24)
    assert client.messages.batches.retrieve(batch_id).request_counts.expired == 2
    assert {result.type for result in results(client, batch_id).values()} == {"expired"}


def test_results_are_archived_after_29_days(server: FakeServer, client: anthropic.Anthropic) -> None:
    """The batch stays in the list, its results_url is null again, and the results are 404."""
    batch_id = submit(client, request("a"))
    server.finish(batch_id)
    server.advance(hours=24 * 29)
    (batch,) = client.messages.batches.list()
    assert batch.archived_at is not None and batch.results_url is None
    with pytest.raises(anthropic.AnthropicError):
        client.messages.batches.results(batch_id)


def test_early_results_are_not_found(client: anthropic.Anthropic) -> None:
    """Before the end there are no results, and the answer says not to try again."""
    batch_id = submit(client, request("a"))
    with pytest.raises(anthropic.NotFoundError, match="has no available results") as caught:
        client.get(f"/v1/messages/batches/{batch_id}/results", cast_to=object)
    assert caught.value.response.headers["x-should-retry"] == "false"


def test_lists_are_paged_both_ways(client: anthropic.Anthropic) -> None:
    """after_id goes to older batches; before_id gives the page directly before, has_more telling of newer ones."""
    made = [submit(client, request("a")) for _ in range(5)][::-1]
    assert [batch.id for batch in client.messages.batches.list(limit=2)] == made
    page = client.messages.batches.list(limit=2, before_id=made[3])
    assert ([batch.id for batch in page.data], page.has_more) == (made[1:3], True)
    page = client.messages.batches.list(limit=2, before_id=made[2])
    assert ([batch.id for batch in page.data], page.has_more) == (made[:2], False)


def test_delete_only_after_the_end(server: FakeServer, client: anthropic.Anthropic) -> None:
    """A running batch cannot be deleted; a deleted one is gone."""
    batch_id = submit(client, request("a"))
    with pytest.raises(anthropic.BadRequestError):
        client.messages.batches.delete(batch_id)
    server.finish(batch_id)
    assert client.messages.batches.delete(batch_id).type == "message_batch_deleted"
    with pytest.raises(anthropic.NotFoundError):
        client.messages.batches.retrieve(batch_id)


def test_keys_and_version(client: anthropic.Anthropic) -> None:
    """Either key header is taken, a bad key is 401, and a call without a version is 400."""
    with pytest.raises(anthropic.AuthenticationError):
        client.with_options(api_key="bad-key").messages.batches.list()
    legacy = client.with_options(default_headers={"authorization": anthropic.omit, "x-api-key": "k"})
    legacy.messages.batches.list()
    with pytest.raises(anthropic.BadRequestError) as caught:
        client.messages.batches.list(extra_headers={"anthropic-version": anthropic.omit})  # type: ignore[dict-item]
    assert caught.value.type == "invalid_request_error"


def test_answers_at_once(client: anthropic.Anthropic) -> None:
    """A live message is cut at its limit; wrong parameters are an HTTP error here."""
    params = request("x", max_tokens=5)["params"]
    message = client.messages.create(**params)
    assert (message.stop_reason, message.usage.service_tier) == ("max_tokens", "standard")
    with pytest.raises(anthropic.NotFoundError):
        client.messages.create(**{**params, "model": "no-such-model"})


def raw_get(server: FakeServer, path: str = "", **headers: str) -> httpx2.Response:
    given = {"x-api-key": "k", "anthropic-version": "2023-06-01", **headers}
    return httpx2.get(server.base_urls["anthropic"] + "/v1/messages/batches" + path, headers=given)


def test_headers_are_those_of_real_traffic(server: FakeServer, client: anthropic.Anthropic) -> None:
    """A request id on everything, in the body of errors too; who owns the key on all but the answer to a bad key."""
    batch_id = submit(client, request("a"))
    for answer in (raw_get(server), raw_get(server, f"/{batch_id}"), raw_get(server, "/msgbatch_none")):
        headers = answer.headers
        assert re.fullmatch(r"req_01[0-9a-zA-Z]{22}", headers["request-id"])
        assert headers["anthropic-organization-id"] and headers["anthropic-workspace-id"].startswith("wrkspc_01")
        assert headers["content-type"] == "application/json" and headers["x-robots-tag"] == "none"
        assert headers["server-timing"].startswith("x-originResponse;dur=") and "cloudflare" in headers.get_list(
            "server"
        )
        assert not [name for name in headers if name.startswith("anthropic-ratelimit")]
    unknown, refused = raw_get(server, "/msgbatch_none"), raw_get(server, **{"x-api-key": "bad-key"})
    for answer in (unknown, refused):
        assert list(answer.json()) == ["type", "error", "request_id"]
        assert answer.json()["request_id"] == answer.headers["request-id"]
        assert answer.headers["x-should-retry"] == "false"
    assert (refused.status_code, refused.json()["error"]["message"]) == (401, "invalid x-api-key")
    assert "anthropic-organization-id" not in refused.headers


def test_results_are_a_jsonl_attachment(server: FakeServer, client: anthropic.Anthropic) -> None:
    """Results come as application/x-jsonl under the batch's name, compact, with a newline at the end."""
    batch_id = submit(client, request("a"))
    server.finish(batch_id)
    answer = raw_get(server, f"/{batch_id}/results")
    assert answer.headers["content-type"] == "application/x-jsonl"
    assert answer.headers["content-disposition"] == f"attachment; filename*=utf-8''{batch_id}_results.jsonl"
    assert answer.text.startswith('{"custom_id":"a","result":{"type":"succeeded",') and answer.text.endswith("}\n")


@pytest.mark.parametrize("chunked", [False, True])
def test_body_over_the_limit_is_refused(server: FakeServer, monkeypatch: pytest.MonkeyPatch, chunked: bool) -> None:
    """The limit holds for what was sent, whether or not its length was announced."""
    monkeypatch.setattr(service, "MAX_BODY_BYTES", 300)
    small, large = (json.dumps({"requests": [request("a", system="x" * n)]}).encode() for n in (1, 300))
    headers = {"x-api-key": "k", "anthropic-version": "2023-06-01"}

    def send(data: bytes) -> httpx2.Response:
        url = server.base_urls["anthropic"] + "/v1/messages/batches"
        return httpx2.post(url, headers=headers, content=iter([data]) if chunked else data)

    assert send(small).status_code == 200
    refused = send(large)
    assert (refused.status_code, refused.json()["error"]["type"]) == (413, "request_too_large")


def test_one_request_over_the_limit_is_refused(client: anthropic.Anthropic) -> None:
    """100,000 requests are taken, 100,001 are not."""
    requests: list[Any] = [{"custom_id": str(n), "params": {}} for n in range(100_001)]
    with pytest.raises(anthropic.BadRequestError, match="at most 100000"):
        client.messages.batches.create(requests=requests)
    assert client.messages.batches.create(requests=requests[:-1]).request_counts.processing == 100_000


def test_cancel_takes_no_body_or_an_empty_object(server: FakeServer, client: anthropic.Anthropic) -> None:
    """The SDKs differ in what they send; both cancel."""
    headers = {"x-api-key": "k", "anthropic-version": "2023-06-01"}
    for body in (b"", b"{}"):
        url = f"{server.base_urls['anthropic']}/v1/messages/batches/{submit(client, request('a'))}/cancel"
        assert httpx2.post(url, headers=headers, content=body).json()["processing_status"] == "canceling"


def test_beta_client_goes_the_same_way(server: FakeServer, client: anthropic.Anthropic) -> None:
    """`client.beta.messages.batches` adds a query and a header, which change nothing."""
    batches = client.beta.messages.batches
    batch_id = batches.create(requests=[request("a")]).id
    assert batches.cancel(batch_id).processing_status == "canceling"
    server.finish(batch_id)
    assert [line.custom_id for line in batches.results(batch_id)] == ["a"]
    assert [batch.id for batch in batches.list()] == [batch_id]
    assert batches.delete(batch_id).type == "message_batch_deleted"


def test_async_client_goes_the_same_way(server: FakeServer) -> None:
    """Create, retrieve, pages and results through the SDK's asynchronous client."""

    async def run() -> tuple[list[str], list[str]]:
        base_url = server.base_urls["anthropic"]
        async with anthropic.AsyncAnthropic(base_url=base_url, api_key="any", max_retries=0) as client:
            batches = client.messages.batches
            made = [(await batches.create(requests=[request(name)])).id for name in ("a", "b", "c")]
            server.finish_all()
            listed = [batch.id async for batch in batches.list(limit=2)]
            names = [line.custom_id async for line in await batches.results(made[0])]
            return [str(made.index(one)) for one in listed], names

    assert asyncio.run(run()) == (["2", "1", "0"], ["a"])


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"temperature": 5}, "temperature: Input should be a number between 0 and 1"),
        ({"temperature": "x"}, "temperature"),
        ({"top_p": 2}, "top_p"),
        ({"top_k": "x"}, "top_k"),
        ({"stop_sequences": "a"}, "stop_sequences: Input should be a valid list of strings"),
        ({"thinking": "x"}, "thinking"),
        ({"thinking": {}}, "'adaptive', 'disabled', 'enabled'"),
        ({"thinking": {"type": "enabled"}}, "thinking.enabled.budget_tokens: Field required"),
        ({"thinking": {**THINKING, "budget_tokens": 1023}}, "Input should be greater than or equal to 1024"),
        ({"thinking": THINKING, "max_tokens": 1024}, "`max_tokens` must be greater than `thinking.budget_tokens`"),
        ({"thinking": THINKING, "temperature": 0.5}, "`temperature` may only be set to 1 when thinking is enabled"),
        (
            {"thinking": THINKING, "tools": [{"name": "save"}], "tool_choice": {"type": "any"}},
            "Thinking may not be enabled when tool_choice forces tool use",
        ),
    ],
)
def test_parameters_out_of_range_are_that_requests_error(
    server: FakeServer, client: anthropic.Anthropic, params: dict[str, Any], message: str
) -> None:
    """The batch is taken; the request fails. (Sampling parameters exist in the older version of the API.)"""
    made = [request("bad", **params), request("good")]
    headers = {"anthropic-version": "2023-06-01"}
    batch_id = client.messages.batches.create(requests=made, extra_headers=headers).id
    server.finish(batch_id)
    got = results(client, batch_id)
    assert got["good"].type == "succeeded"
    assert (got["bad"].type, got["bad"].error.error.type) == ("errored", "invalid_request_error")
    assert message in got["bad"].error.error.message


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("{}", "requests: Field required"),
        ('{"requests": "x"}', "requests: Input should be a valid list"),
        ('{"requests": []}', "at least 1 item"),
        ('{"requests": [REQUEST]}xx', "JSON"),
        ('{"requests": [REQUEST], "requests": [REQUEST]}', "twice"),
    ],
)
def test_a_body_that_is_no_list_of_requests_is_refused(server: FakeServer, body: str, message: str) -> None:
    """At once, and nothing is made of it."""
    headers = {"x-api-key": "any", "anthropic-version": "2023-06-01"}
    content = body.replace("REQUEST", json.dumps(request("a")))
    answer = httpx2.post(f"{server.base_urls['anthropic']}/v1/messages/batches", headers=headers, content=content)
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
    assert message in answer.json()["error"]["message"]
    assert server.batches("anthropic") == []


def test_archived_results_cannot_be_had_by_their_address_either(
    server: FakeServer, client: anthropic.Anthropic
) -> None:
    """A client that kept the URL finds nothing after 29 days."""
    batch_id = submit(client, request("a"))
    server.finish(batch_id)
    url = client.messages.batches.retrieve(batch_id).results_url
    assert url is not None
    headers = {"x-api-key": "any", "anthropic-version": "2023-06-01"}
    assert httpx2.get(url, headers=headers).status_code == 200
    server.advance(days=29)
    assert httpx2.get(url, headers=headers).status_code == 404
