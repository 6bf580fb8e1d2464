"""Planned faults, as the SDKs see them."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import anthropic
import httpx2
import openai
import pytest
from google import genai
from google.genai import errors, types

from batchfast.fake import FakeServer, Fault
from batchfast.fake.faults import BatchAction, CallAction, RequestAction

SCHEMA = {
    "type": "object",
    "properties": {"texts": {"type": "array", "items": {"type": "string"}, "description": "3 texts"}},
    "required": ["texts"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def running() -> Iterator[FakeServer]:
    with FakeServer(batch_seconds=0) as fake:
        yield fake


@pytest.fixture
def server(running: FakeServer) -> Iterator[FakeServer]:
    running.reset()
    yield running
    assert not running.errors


@pytest.fixture
def client(server: FakeServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.base_urls["openai"], api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture
def claude(server: FakeServer) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=server.base_urls["anthropic"], api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture
def gemini(server: FakeServer) -> Iterator[genai.Client]:
    with genai.Client(api_key="any", http_options={"base_url": server.base_urls["gemini"]}) as client:
        yield client


def submit(client: openai.OpenAI, count: int = 4) -> openai.types.Batch:
    form = {"type": "json_schema", "json_schema": {"name": "t", "strict": True, "schema": SCHEMA}}
    body = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "Texts."}], "response_format": form}
    lines = [
        {"custom_id": f"r{n}", "method": "POST", "url": "/v1/chat/completions", "body": body} for n in range(count)
    ]
    file = client.files.create(file=("a.jsonl", "\n".join(map(json.dumps, lines)).encode()), purpose="batch")
    return client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")


def read(client: openai.OpenAI, file_id: str | None) -> list[dict[str, Any]]:
    return [json.loads(line) for line in client.files.content(file_id or "").read().splitlines()]


def output(client: openai.OpenAI, count: int = 4) -> list[dict[str, Any]]:
    return read(client, client.batches.retrieve(submit(client, count).id).output_file_id)


def submit_claude(claude: anthropic.Anthropic, count: int = 4) -> str:
    params: Any = {"model": "claude-haiku-4-5", "max_tokens": 900, "messages": [{"role": "user", "content": "Hi"}]}
    return claude.messages.batches.create(requests=[{"custom_id": f"r{n}", "params": params} for n in range(count)]).id


def submit_gemini(gemini: genai.Client, count: int = 4) -> str:
    lines = [{"key": f"r{n}", "request": {"contents": [{"parts": [{"text": "Hi"}]}]}} for n in range(count)]
    data = io.BytesIO("\n".join(map(json.dumps, lines)).encode())
    file = gemini.files.upload(file=data, config={"mime_type": "application/jsonl"})
    return gemini.batches.create(model="gemini-2.5-flash", src=file.name).name or ""


def test_status_with_retry_after_on_the_nth_call(server: FakeServer, client: openai.OpenAI) -> None:
    """Only the second list fails, with the service's own body."""
    server.plan(fault := Fault("status", "openai", "list", nth=2, status=429, retry_after=7))
    client.batches.list()
    with pytest.raises(openai.RateLimitError) as caught:
        client.batches.list()
    assert caught.value.response.headers["retry-after"] == "7"
    client.batches.list()
    assert server.fired(fault) == 1


def test_status_in_the_words_of_each_service(
    server: FakeServer, claude: anthropic.Anthropic, gemini: genai.Client
) -> None:
    """A planned status has the error body of the service; a body of one's own replaces it."""
    server.plan(Fault("status", "anthropic", status=529), Fault("status", "gemini", "list", status=503))
    with pytest.raises(anthropic.OverloadedError) as caught:
        claude.messages.batches.list()
    assert caught.value.type == "overloaded_error"
    with pytest.raises(errors.ServerError, match="UNAVAILABLE"):
        gemini.batches.list()
    server.reset()
    server.plan(Fault("status", "anthropic", status=413, body="<html>too large</html>"))
    with pytest.raises(anthropic.APIStatusError, match="too large"):
        claude.messages.batches.list()


def test_upload_refused_is_seen_at_once(server: FakeServer, gemini: genai.Client) -> None:
    """A refused piece of an upload is an error, not something the SDK sends again and again."""
    server.plan(Fault("status", "gemini", "upload", nth=2, status=500))
    with pytest.raises(errors.ServerError, match="INTERNAL"):
        submit_gemini(gemini)
    assert len(server.calls) == 2


def test_refused_upload_is_answered_after_its_body(server: FakeServer, client: openai.OpenAI) -> None:
    """A client in the midst of a large upload gets the status, not a broken connection."""
    server.plan(Fault("status", "openai", "upload", status=503))
    with pytest.raises(openai.InternalServerError):
        client.files.create(file=("a.jsonl", b"x" * 20_000_000), purpose="batch")


def test_lost_answer_leaves_the_work_done(
    server: FakeServer, client: openai.OpenAI, claude: anthropic.Anthropic, gemini: genai.Client
) -> None:
    """The connection drops after the batch was made: the client must look before it sends again."""
    server.plan(fault := Fault("lose", route="create"))
    with pytest.raises(openai.APIConnectionError):
        submit(client)
    with pytest.raises(anthropic.APIConnectionError):
        submit_claude(claude)
    with pytest.raises(Exception, match="disconnected"):  # an exception of the HTTP library, passed through
        submit_gemini(gemini)
    assert [len(server.batches(name)) for name in ("openai", "anthropic", "gemini")] == [1, 1, 1]
    assert server.fired(fault) == 3


def test_cut_body(server: FakeServer, client: openai.OpenAI) -> None:
    """Half of the results come, then the connection ends."""
    server.plan(Fault("cut", route="results", nth=1))
    batch = client.batches.retrieve(submit(client).id)
    with pytest.raises(openai.APIConnectionError):
        client.files.content(batch.output_file_id or "")
    assert len(read(client, batch.output_file_id)) == 4


def test_garbled_body(server: FakeServer, client: openai.OpenAI) -> None:
    """The first byte is another one: a line of the results, or the whole of an answer, is no JSON any more."""
    server.plan(Fault("garble", route="results", nth=1), Fault("garble", route="list"))
    batch = client.batches.retrieve(submit(client).id)
    spoiled, good = (client.files.content(batch.output_file_id or "").read() for _ in range(2))
    assert spoiled == b"!" + good[1:]
    with pytest.raises(json.JSONDecodeError):
        client.batches.list()


def test_denied_after_the_work_was_done(
    server: FakeServer, client: openai.OpenAI, claude: anthropic.Anthropic, gemini: genai.Client
) -> None:
    """The service says 500, 529 or 503, and yet there is a batch."""
    server.plan(Fault("deny", "openai", "create", status=500), Fault("deny", "anthropic", "create", status=529))
    server.plan(Fault("deny", "gemini", "create", status=503, retry_after=7))
    with pytest.raises(openai.InternalServerError):
        submit(client)
    with pytest.raises(anthropic.OverloadedError):
        submit_claude(claude)
    with pytest.raises(errors.ServerError, match="UNAVAILABLE"):
        submit_gemini(gemini)
    assert [len(server.batches(name)) for name in ("openai", "anthropic", "gemini")] == [1, 1, 1]


def test_list_lags(server: FakeServer, client: openai.OpenAI, claude: anthropic.Anthropic) -> None:
    """What was just made is missing from a lagging list until time has passed."""
    server.plan(Fault("lag", route="list", seconds=60))
    submit(client)
    submit_claude(claude)
    assert (client.batches.list().data, claude.messages.batches.list().data) == ([], [])
    server.advance(minutes=1)
    assert (len(client.batches.list().data), len(claude.messages.batches.list().data)) == (1, 1)


def test_delay(server: FakeServer, client: openai.OpenAI) -> None:
    """A late answer runs into the client's timeout."""
    server.plan(Fault("delay", route="list", seconds=0.4))
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.1).batches.list()


def test_batch_fails_validation(server: FakeServer, client: openai.OpenAI, gemini: genai.Client) -> None:
    """A planned failure shows as the batch's own error, in the poll."""
    server.plan(fault := Fault("fail", code="token_limit_exceeded", message="Enqueued token limit reached"))
    batch = submit(client)
    assert batch.status == "validating"
    batch = client.batches.retrieve(batch.id)
    assert (batch.status, batch.errors.data[0].code) == ("failed", "token_limit_exceeded")
    assert gemini.batches.get(name=submit_gemini(gemini)).state is types.JobState.JOB_STATE_FAILED
    assert server.fired(fault) == 2


def test_share_of_requests_fails(server: FakeServer, client: openai.OpenAI) -> None:
    """A share is spread over the batch, exactly where it divides the count."""
    server.plan(fault := Fault("error", "openai", share=0.3, status=429, code="rate_limit_exceeded"))
    batch = client.batches.retrieve(submit(client, 10).id)
    assert (batch.request_counts.completed, batch.request_counts.failed) == (7, 3)
    error = read(client, batch.error_file_id)[0]["response"]
    assert (error["status_code"], error["body"]["error"]["code"]) == (429, "rate_limit_exceeded")
    assert server.fired(fault) == 3


def test_request_picked_by_custom_id_and_nth_batch(
    server: FakeServer, claude: anthropic.Anthropic, gemini: genai.Client
) -> None:
    """custom_id is a pattern, nth counts batches of the service since the plan."""
    server.plan(
        Fault("error", "anthropic", nth=2, custom_id="^r2$", status=529),
        Fault("error", "gemini", custom_id="r[01]", status=503),
    )
    for expected in (0, 1):
        batch_id = submit_claude(claude)
        kinds = {line.custom_id: line.result for line in claude.messages.batches.results(batch_id)}
        errored = [name for name, result in kinds.items() if result.type == "errored"]
        assert len(errored) == expected
    assert kinds["r2"].type == "errored" and kinds["r2"].error.error.type == "overloaded_error"
    dest = gemini.batches.get(name=submit_gemini(gemini)).dest
    lines = map(json.loads, gemini.files.download(file=dest.file_name).splitlines())
    assert {line["key"]: line["error"]["code"] for line in lines if "error" in line} == {"r0": 14, "r1": 14}


def test_share_expires(
    server: FakeServer, client: openai.OpenAI, claude: anthropic.Anthropic, gemini: genai.Client
) -> None:
    """The batch is expired with partial results; Gemini gives none."""
    server.plan(fault := Fault("expire", share=0.5))
    batch = client.batches.retrieve(submit(client).id)
    assert (batch.status, batch.request_counts.completed, batch.request_counts.failed) == ("expired", 2, 0)
    assert len(read(client, batch.output_file_id)) == len(read(client, batch.error_file_id)) == 2
    assert claude.messages.batches.retrieve(submit_claude(claude)).request_counts.expired == 2
    job = gemini.batches.get(name=submit_gemini(gemini))
    assert (job.state, job.dest) == (types.JobState.JOB_STATE_EXPIRED, None)
    assert server.fired(fault) == 6


@pytest.mark.parametrize(
    ("does", "finish", "stop_reason", "gemini_finish"),
    [("refuse", "stop", "refusal", "PROHIBITED_CONTENT"), ("truncate", "length", "max_tokens", "MAX_TOKENS")],
)
def test_finish_reasons(
    server: FakeServer,
    client: openai.OpenAI,
    claude: anthropic.Anthropic,
    gemini: genai.Client,
    does: Any,
    finish: str,
    stop_reason: str,
    gemini_finish: str,
) -> None:
    """Refusal and truncation are successes in each service's own words."""
    server.plan(Fault(does))
    choice = output(client, 1)[0]["response"]["body"]["choices"][0]
    assert choice["finish_reason"] == finish
    assert (choice["message"]["content"] is None) == (choice["message"]["refusal"] is not None) == (does == "refuse")
    (line,) = claude.messages.batches.results(submit_claude(claude, 1))
    assert line.result.type == "succeeded" and line.result.message.stop_reason == stop_reason
    dest = gemini.batches.get(name=submit_gemini(gemini, 1)).dest
    (candidate,) = json.loads(gemini.files.download(file=dest.file_name))["response"]["candidates"]
    assert candidate["finishReason"] == gemini_finish


@pytest.mark.parametrize("does", ["malform", "fence", "too_few", "too_many", "empty"])
def test_spoiled_answers_are_successes(server: FakeServer, client: openai.OpenAI, does: Any) -> None:
    """The provider says all is well; the text is not what was asked for."""
    server.plan(fault := Fault(does))
    for line in output(client):
        choice = line["response"]["body"]["choices"][0]
        assert choice["finish_reason"] == "stop"
        try:
            count = len(json.loads(choice["message"]["content"])["texts"])
        except ValueError:
            count = 0
        assert count == {"too_few": 2, "too_many": 4}.get(does, 0)
    assert server.fired(fault) == 4


def test_result_lines_shuffled_doubled_and_missing(server: FakeServer, client: openai.OpenAI) -> None:
    """Counts say what was done, whatever lines there are."""
    server.plan(
        Fault("shuffle", nth=1), Fault("duplicate", nth=2, custom_id="r1"), Fault("drop", nth=3, custom_id="r1")
    )
    names = [[line["custom_id"] for line in output(client, 9)] for _ in range(3)]
    in_order = [f"r{n}" for n in range(9)]
    assert names[0] != in_order and sorted(names[0]) == in_order
    assert sorted(names[1]) == sorted([*in_order, "r1"])
    assert names[2] == [name for name in in_order if name != "r1"]
    assert {batch.request_counts.completed for batch in client.batches.list()} == {9}


def test_hang(server: FakeServer, client: openai.OpenAI) -> None:
    """The batch is made, and its create is never answered: by the client's timeout, or by the planned one."""
    server.plan(Fault("hang", route="create", nth=1), Fault("hang", route="create", nth=2, seconds=0.01))
    with pytest.raises(openai.APITimeoutError):
        submit(client.with_options(timeout=0.5))
    with pytest.raises(openai.APIConnectionError) as caught:
        submit(client)
    assert not isinstance(caught.value, openai.APITimeoutError)
    assert len(server.batches("openai")) == 2


def test_several_calls_by_number(server: FakeServer, client: openai.OpenAI) -> None:
    """A tuple of numbers picks several calls."""
    server.plan(Fault("status", route="list", nth=(1, 3), status=503))
    seen = []
    for _ in range(4):
        try:
            client.batches.list()
            seen.append(200)
        except openai.InternalServerError as exc:
            seen.append(exc.status_code)
    assert seen == [503, 200, 503, 200]


def test_output_comes_late(
    server: FakeServer, client: openai.OpenAI, claude: anthropic.Anthropic, gemini: genai.Client
) -> None:
    """The batch has ended, and for a minute there is nothing to download."""
    server.plan(Fault("late", seconds=60))
    batch_id, message_batch, name = submit(client).id, submit_claude(claude), submit_gemini(gemini)
    early = client.batches.retrieve(batch_id)
    assert (early.status, early.output_file_id) == ("completed", None)
    ended = claude.messages.batches.retrieve(message_batch)
    assert (ended.processing_status, ended.results_url) == ("ended", None)
    with pytest.raises(anthropic.AnthropicError, match="results_url"):
        claude.messages.batches.results(message_batch)
    job = gemini.batches.get(name=name)
    assert (job.state, job.dest) == (types.JobState.JOB_STATE_SUCCEEDED, None)
    server.advance(seconds=61)
    assert len(read(client, client.batches.retrieve(batch_id).output_file_id)) == 4
    assert len(list(claude.messages.batches.results(message_batch))) == 4
    assert gemini.batches.get(name=name).dest.file_name


def test_counts_are_wrong(
    server: FakeServer, client: openai.OpenAI, claude: anthropic.Anthropic, gemini: genai.Client
) -> None:
    """An answer is reported as an error; the results are all there."""
    server.plan(Fault("miscount"))
    batch = client.batches.retrieve(submit(client).id)
    assert (batch.request_counts.completed, len(read(client, batch.output_file_id))) == (3, 4)
    batch_id = submit_claude(claude)
    assert claude.messages.batches.retrieve(batch_id).request_counts.succeeded == 3
    assert len(list(claude.messages.batches.results(batch_id))) == 4
    operation = httpx2.get(
        f"{server.base_urls['gemini']}/v1beta/{submit_gemini(gemini)}", headers={"x-goog-api-key": "any"}
    ).json()
    assert operation["metadata"]["batchStats"]["successfulRequestCount"] == "3"


def test_a_batch_vanishes(
    server: FakeServer, client: openai.OpenAI, claude: anthropic.Anthropic, gemini: genai.Client
) -> None:
    """Known at first, then neither found nor listed; it is charged all the same."""
    server.plan(Fault("vanish", seconds=60))
    batch_id, message_batch, name = submit(client).id, submit_claude(claude), submit_gemini(gemini)
    assert client.batches.retrieve(batch_id).status == "completed"
    server.advance(seconds=60)
    with pytest.raises(openai.NotFoundError):
        client.batches.retrieve(batch_id)
    with pytest.raises(anthropic.NotFoundError):
        claude.messages.batches.retrieve(message_batch)
    with pytest.raises(errors.ClientError, match="NOT_FOUND"):
        gemini.batches.get(name=name)
    assert (client.batches.list().data, claude.messages.batches.list().data) == ([], [])
    assert server.ledger()["openai"]["requests"]["succeeded"] == 4


def test_the_queue_is_full(
    server: FakeServer, client: openai.OpenAI, claude: anthropic.Anthropic, gemini: genai.Client
) -> None:
    """What goes over the limit fails by polling, or is refused at once; once the others have ended there is room."""
    server.plan(fault := Fault("queue", tokens=600))
    with FakeServer(batch_seconds=1000) as slow:
        slow.plan(fault)
        waiting = client.with_options(base_url=slow.base_urls["openai"])
        assert submit(waiting).status == "validating"
        second = submit(waiting)
        slow.advance(seconds=500)
        assert waiting.batches.retrieve(second.id).status == "failed"
        slow.finish_all()
        third = submit(waiting)
        slow.advance(seconds=500)
        assert waiting.batches.retrieve(third.id).status == "in_progress"
        assert slow.fired(fault) == 1
    (error,) = client.batches.retrieve(submit(client, 9).id).errors.data
    assert (error.code, "Limit: 600 enqueued tokens" in error.message) == ("token_limit_exceeded", True)
    with pytest.raises(anthropic.RateLimitError, match="processing queue"):
        submit_claude(claude, 40)
    with pytest.raises(errors.ClientError, match="RESOURCE_EXHAUSTED"):
        submit_gemini(gemini, 60)
    assert [len(server.batches(name)) for name in ("openai", "anthropic", "gemini")] == [1, 0, 0]


def test_a_line_of_status_0(server: FakeServer, client: openai.OpenAI) -> None:
    """Neither an answer nor an error: a response with status 0 and no body."""
    server.plan(Fault("error", custom_id="r1", status=0))
    batch = client.batches.retrieve(submit(client).id)
    (line,) = read(client, batch.error_file_id)
    assert (line["custom_id"], line["response"]["status_code"], line["response"]["body"]) == ("r1", 0, None)
    assert line["error"] is None


def test_stuck_until_it_expires(server: FakeServer, client: openai.OpenAI) -> None:
    """Whatever the time, the batch runs; after a day it expires."""
    server.plan(Fault("stick"))
    batch_id = submit(client).id
    server.advance(hours=23)
    assert client.batches.retrieve(batch_id).status == "in_progress"
    server.advance(hours=1.5)
    assert client.batches.retrieve(batch_id).status == "expired"


def test_a_batch_without_the_request_does_not_expire(
    server: FakeServer, client: openai.OpenAI, gemini: genai.Client
) -> None:
    """A fault that takes none of its requests leaves a batch alone, and has not fired."""
    server.plan(fault := Fault("expire", custom_id="^nobody$"))
    assert client.batches.retrieve(submit(client).id).status == "completed"
    assert gemini.batches.get(name=submit_gemini(gemini)).state is types.JobState.JOB_STATE_SUCCEEDED
    assert server.fired(fault) == 0


def test_a_fault_that_changes_nothing_has_not_fired(server: FakeServer, client: openai.OpenAI) -> None:
    """No array to shorten in plain prose; nothing to spoil in a request that fails."""
    body = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "Hi"}]}
    line = {"custom_id": "r0", "method": "POST", "url": "/v1/chat/completions", "body": body}
    server.plan(few := Fault("too_few"), refuse := Fault("refuse", nth=2), fails := Fault("error", nth=2, status=400))
    file = client.files.create(file=("a.jsonl", json.dumps(line).encode()), purpose="batch")
    for _ in range(2):
        made = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
        client.batches.retrieve(made.id)
    assert [server.fired(one) for one in (few, refuse, fails)] == [0, 0, 1]
    server.reset()
    server.plan(stuck := Fault("stick"), failed := Fault("fail"))
    submit(client)
    assert [server.fired(one) for one in (stuck, failed)] == [0, 1]


def test_the_fault_planned_first_wins(server: FakeServer, client: openai.OpenAI) -> None:
    """Of two that would answer one call, the other has not fired."""
    server.plan(first := Fault("status", route="list", status=503), second := Fault("status", status=500))
    with pytest.raises(openai.InternalServerError) as caught:
        client.batches.list()
    assert caught.value.status_code == 503
    assert [server.fired(one) for one in (first, second)] == [1, 0]


def test_shuffled_lines_are_never_in_order(server: FakeServer, client: openai.OpenAI) -> None:
    """Also where chance would have put two lines as they were."""
    server.plan(Fault("shuffle"))
    for _ in range(12):
        assert [line["custom_id"] for line in output(client, 2)] == ["r1", "r0"]


def test_counts_are_wrong_also_without_an_answer(server: FakeServer, gemini: genai.Client) -> None:
    """An error is reported as an answer then; the sum stays."""
    server.plan(Fault("miscount"), Fault("error", status=400))
    name = submit_gemini(gemini)
    stats = httpx2.get(f"{server.base_urls['gemini']}/v1beta/{name}", headers={"x-goog-api-key": "any"}).json()
    assert stats["metadata"]["batchStats"] == {
        "requestCount": "4", "successfulRequestCount": "1", "failedRequestCount": "3"
    }  # fmt: skip


def test_output_is_late_to_the_second(server: FakeServer, client: openai.OpenAI) -> None:
    """Not there after 59 seconds, there after 61."""
    server.plan(Fault("late", seconds=60))
    batch_id = submit(client).id
    server.advance(seconds=58)
    assert client.batches.retrieve(batch_id).output_file_id is None
    server.advance(seconds=3)
    assert client.batches.retrieve(batch_id).output_file_id


def test_the_seed_picks_the_share(client: openai.OpenAI) -> None:
    """Another seed, other requests of the batch."""
    picked = set()
    for seed in range(8):
        with FakeServer(batch_seconds=0, seed=seed) as other:
            other.plan(Fault("error", share=0.1, status=400))
            mine = client.with_options(base_url=other.base_urls["openai"])
            (line,) = read(mine, mine.batches.retrieve(submit(mine, 10).id).error_file_id)
            picked.add(line["custom_id"])
    assert len(picked) > 1


def test_each_model_has_its_queue() -> None:
    """What waits for one model takes no room from another, and what is planned for OpenAI not from Gemini."""
    with FakeServer(batch_seconds=1000) as slow:
        slow.plan(Fault("queue", "gemini", tokens=100), Fault("queue", "openai", tokens=1))
        with genai.Client(api_key="any", http_options={"base_url": slow.base_urls["gemini"]}) as waiting:
            submit_gemini(waiting)
            with pytest.raises(errors.ClientError, match="RESOURCE_EXHAUSTED"):
                submit_gemini(waiting)
            source = next(iter(waiting.files.list())).name
            assert waiting.batches.create(model="gemini-2.5-pro", src=source).name


def test_every_fault_is_shown_here() -> None:
    """A fault that no test of this module plans is a fault nobody has seen an SDK meet."""
    source = Path(__file__).read_text(encoding="utf-8")
    actions = {one for kind in (CallAction, BatchAction, RequestAction) for one in get_args(kind)}
    assert {one for one in actions if f'"{one}"' not in source} == set()


def test_faults_end_with_reset(server: FakeServer, client: openai.OpenAI) -> None:
    """reset forgets the plan, and asking for a fault that was not planned is an error."""
    server.plan(fault := Fault("status"))
    server.reset()
    client.batches.list()
    with pytest.raises(KeyError):
        server.fired(fault)


def test_wrong_fault_is_refused() -> None:
    """A plan that could never fire is an error where it is written."""
    with pytest.raises(ValueError, match="unknown fault"):
        Fault("explode")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="share"):
        Fault("error", share=1.5)
