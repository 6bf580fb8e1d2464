"""The adapters over HTTP: the real SDKs against the fake services, and against servers that misbehave."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from batchfast.errors import MissingKey, ProviderError
from batchfast.fake import FakeServer, Fault
from batchfast.jsonl import lines_of
from batchfast.llms import PROVIDERS, AnthropicProvider, BatchProvider, GeminiProvider, OpenAIProvider, wire
from batchfast.records import BatchSnapshot, Candidate, ListedFile, RemoteFile, Request, Result, Shard

KEY = "sk-canary-0123456789"
MODELS = {"openai": "gpt-4.1-mini", "anthropic": "claude-haiku-4-5", "gemini": "gemini-2.5-flash"}
AnyProvider = OpenAIProvider | AnthropicProvider | GeminiProvider

each_provider = pytest.mark.parametrize("name", PROVIDERS)


@pytest.fixture(scope="module")
def running() -> Iterator[FakeServer]:
    with FakeServer(batch_seconds=3600) as fake:
        yield fake


@pytest.fixture
def server(running: FakeServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    running.reset()
    # What would send calls elsewhere must not matter.
    monkeypatch.setenv("GOOGLE_GENAI_USE_VERTEXAI", "true")
    monkeypatch.setenv("GOOGLE_GENAI_API_VERSION", "v9")
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "bad-token")
    yield running
    assert running.unknown_routes == []
    assert running.errors == []


def provider_at(server: FakeServer, name: str, **arguments: Any) -> AnyProvider:
    arguments = {"api_key": KEY, "base_url": server.base_urls[name], **arguments}
    return PROVIDERS[name](arguments.pop("model_id", MODELS[name]), **arguments)


def shard_of(provider: BatchProvider, folder: Path, requests: int = 3, label: str = "run-n0nce-0-0-1") -> Shard:
    path = folder / f"{label}.jsonl"
    prompts = [f'Write 2 texts in English, "{{{number}}}" \u2028 é 👩‍🚀\nabout Vacuum.' for number in range(requests)]
    lines = [provider.encode(Request(f"run-n0nce-{number}-1", text, 2)) for number, text in enumerate(prompts)]
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return Shard(label, "run-n0nce", path, requests, path.stat().st_size)


def send(provider: BatchProvider, shard: Shard) -> str:
    return provider.create(shard, provider.upload(shard))


def results_of(provider: BatchProvider, snapshot: BatchSnapshot) -> dict[str, Result]:
    lines = [line for file in snapshot.files for line in lines_of(provider.download(file))]
    found = [provider.decode(line) for line in lines]
    return {result.custom_id: result for result in found}


# a batch's life


@pytest.mark.parametrize(("name", "model_id"), [*MODELS.items(), ("anthropic", "claude-3-5-haiku-latest")])
def test_a_batch_from_upload_to_results(name: str, model_id: str, server: FakeServer, tmp_path: Path) -> None:
    """Upload, create, poll, download, decode, delete; sampling parameters and awkward prompts included."""
    provider = provider_at(server, name, model_id=model_id, temperature=0.5, top_p=0.9)
    shard = shard_of(provider, tmp_path)
    file_id = provider.upload(shard)
    remote_id = provider.create(shard, file_id)
    assert [(one.id, one.requests) for one in server.batches(name)] == [(remote_id, 3)]
    before = provider.poll(remote_id)
    assert (before.remote_id, before.outcome, before.known_state, before.files) == (remote_id, None, True, ())

    server.finish(remote_id)
    after = provider.poll(remote_id)
    assert (after.outcome, after.known_state) == ("completed", True)
    results = results_of(provider, after)
    assert set(results) == {f"run-n0nce-{number}-1" for number in range(3)}
    for result in results.values():
        assert (result.outcome, result.ending) == ("succeeded", "complete"), result
        assert len(json.loads(result.text or "")["texts"]) == 2
        assert result.usage is not None
        assert result.usage.input_tokens
    if file_id is not None:
        provider.delete(file_id)
        with pytest.raises(ProviderError) as caught:
            provider.delete(file_id)
        assert caught.value.kind == "not_found"
    if name == "gemini":  # whatever GOOGLE_GENAI_API_VERSION says
        assert all("/v1beta/" in call.path for call in server.calls)


@each_provider
def test_what_is_sent_is_the_file(name: str, server: FakeServer, tmp_path: Path) -> None:
    """Requests are sent byte for byte as they lie on disk; large ones in pieces, none lost between them."""
    provider = provider_at(server, name)
    path = tmp_path / "big.jsonl"
    line = provider.encode(Request("run-n0nce-0-1", "x" * 100_000, 2))
    lines = [line.replace(b"run-n0nce-0-1", b"run-n0nce-%d-1" % number, 1) for number in range(120)]
    path.write_bytes(b"".join(one + b"\n" for one in lines))
    shard = Shard("big", "run-n0nce", path, len(lines), path.stat().st_size)
    assert shard.size_bytes > 8 * 2**20  # more than one piece of a Gemini upload, or chunk of an Anthropic body
    remote_id = send(provider, shard)
    server.finish(remote_id)
    assert len(results_of(provider, provider.poll(remote_id))) == 120


@each_provider
def test_failed_requests_are_downloaded_too(name: str, server: FakeServer, tmp_path: Path) -> None:
    """Successes and failures, whichever file the service puts them in."""
    server.plan(Fault("error", provider=name, custom_id="n0nce-1-", status=500))
    provider = provider_at(server, name)
    remote_id = send(provider, shard_of(provider, tmp_path))
    server.finish(remote_id)
    results = results_of(provider, provider.poll(remote_id))
    assert [results[f"run-n0nce-{number}-1"].outcome for number in range(3)] == ["succeeded", "failed", "succeeded"]
    error = results["run-n0nce-1-1"].error
    assert error is not None
    assert error.retryable


@each_provider
def test_refused_and_truncated_answers_are_told_apart(name: str, server: FakeServer, tmp_path: Path) -> None:
    """Both are HTTP successes: only their ending says that no row may come of them."""
    server.plan(Fault("refuse", custom_id="n0nce-0-"), Fault("truncate", custom_id="n0nce-1-"))
    provider = provider_at(server, name)
    remote_id = send(provider, shard_of(provider, tmp_path))
    server.finish(remote_id)
    results = results_of(provider, provider.poll(remote_id))
    assert {result.outcome for result in results.values()} == {"succeeded"}
    assert results["run-n0nce-0-1"].ending in ("refused", "blocked")
    assert [results[f"run-n0nce-{number}-1"].ending for number in (1, 2)] == ["truncated", "complete"]


@each_provider
def test_cancelling_ends_a_batch_and_may_be_repeated(name: str, server: FakeServer, tmp_path: Path) -> None:
    """A second cancel, also of a batch that has ended, is no error; a batch that never was is one."""
    provider = provider_at(server, name)
    remote_id = send(provider, shard_of(provider, tmp_path))
    provider.cancel(remote_id)
    server.finish(remote_id)
    snapshot = provider.poll(remote_id)
    assert snapshot.outcome == "cancelled"
    assert all(result.outcome == "cancelled" for result in results_of(provider, snapshot).values())
    provider.cancel(remote_id)
    with pytest.raises(ProviderError) as caught:
        provider.cancel("batches/unknown" if name == "gemini" else "unknown")
    assert caught.value.kind == "not_found"


@each_provider
def test_an_expired_batch_is_ended(name: str, server: FakeServer, tmp_path: Path) -> None:
    """It ends by the service's clock, and what never ran says so."""
    server.plan(Fault("stick"))
    provider = provider_at(server, name)
    remote_id = send(provider, shard_of(provider, tmp_path))
    server.advance(hours=49)
    snapshot = provider.poll(remote_id)
    assert snapshot.outcome == "expired"
    results = results_of(provider, snapshot)
    assert all(result.outcome == "expired" for result in results.values())
    assert len(results) == (0 if name == "gemini" else 3)  # Gemini gives nothing of an expired batch


@pytest.mark.parametrize("name", ["openai", "gemini"])
def test_a_failed_batch_says_why(name: str, server: FakeServer, tmp_path: Path) -> None:
    """The reason comes by polling, never as an error of create; Anthropic has no such state."""
    server.plan(Fault("fail", code="token_limit_exceeded", message="Enqueued token limit reached."))
    provider = provider_at(server, name)
    remote_id = send(provider, shard_of(provider, tmp_path))
    server.finish(remote_id)
    snapshot = provider.poll(remote_id)
    assert (snapshot.outcome, snapshot.files) == ("failed", ())
    assert [error.message for error in snapshot.errors] == ["Enqueued token limit reached."]
    if name == "openai":
        assert [(error.type, error.retryable) for error in snapshot.errors] == [("token_limit_exceeded", True)]


def test_collect_by_is_when_results_go(server: FakeServer, tmp_path: Path) -> None:
    """Gemini: 48 hours from the end. Anthropic: 29 days from creation. OpenAI: as its files say, here never."""
    days: dict[str, float | None] = {}
    for name in PROVIDERS:
        provider = provider_at(server, name)
        remote_id = send(provider, shard_of(provider, tmp_path))
        server.finish(remote_id)
        snapshot = provider.poll(remote_id)
        assert snapshot.created_at is not None
        left = snapshot.collect_by and datetime.fromisoformat(snapshot.collect_by)
        days[name] = left and round((left - datetime.fromisoformat(snapshot.created_at)).total_seconds() / 86_400)
    assert days == {"openai": None, "anthropic": 29, "gemini": 2}


@pytest.mark.parametrize(
    ("fault", "raises"),
    [
        (Fault("status", route="file", status=500), False),
        (Fault("status", route="file", status=429), False),
        (Fault("status", route="file", status=400), False),
        (Fault("cut", route="file"), False),
        (Fault("status", route="file", status=200, body="<html>"), False),
        (Fault("status", route="file", status=401), True),
    ],
)
def test_openai_ends_without_its_files_expiry(fault: Fault, raises: bool, server: FakeServer, tmp_path: Path) -> None:
    """When files go is information: without it the end is known all the same. Only a bad key stops the poll."""
    provider = provider_at(server, "openai")
    remote_id = send(provider, shard_of(provider, tmp_path))
    server.finish(remote_id)
    server.plan(fault)
    if raises:
        with pytest.raises(ProviderError, match="401"):
            provider.poll(remote_id)
    else:
        snapshot = provider.poll(remote_id)
        assert (snapshot.outcome, snapshot.collect_by, len(snapshot.files)) == ("completed", None, 1)
    assert server.fired(fault) == 1


def test_openai_results_go_when_the_first_of_their_files_does(server: FakeServer, tmp_path: Path) -> None:
    """`collect_by` is the earliest expires_at of output and error file; a file that is gone has none to tell."""
    server.plan(Fault("error", custom_id="n0nce-1-"))
    provider = provider_at(server, "openai")
    file_id = provider.upload(shard_of(provider, tmp_path)) or ""
    remote_id = (
        provider._sdk()  # noqa: SLF001
        .batches.create(
            input_file_id=file_id,
            endpoint="/v1/chat/completions",
            completion_window="24h",
            output_expires_after={"anchor": "created_at", "seconds": 7200},
        )
        .id
    )
    server.finish(remote_id)
    snapshot = provider.poll(remote_id)
    assert [file.kind for file in snapshot.files] == ["output", "error"]
    assert snapshot.collect_by is not None
    assert snapshot.ended_at is not None
    left = datetime.fromisoformat(snapshot.collect_by) - datetime.fromisoformat(snapshot.ended_at)
    assert 7000 < left.total_seconds() <= 7200
    for file in snapshot.files:
        provider.delete(file.ref)
    assert provider.poll(remote_id).collect_by is None


# deleting, and listing what is there


@pytest.mark.parametrize("name", [name for name, kind in PROVIDERS.items() if kind.deletes_batches])
def test_an_ended_batch_is_deleted_where_the_provider_can(name: str, server: FakeServer, tmp_path: Path) -> None:
    """By its remote_id; its results go with it at Anthropic, and nobody finds it any more."""
    provider = provider_at(server, name)
    remote_id = send(provider, shard_of(provider, tmp_path))
    server.finish(remote_id)
    assert provider.poll(remote_id).outcome == "completed"
    provider.delete(remote_id)
    for call in (provider.poll, provider.delete):
        with pytest.raises(ProviderError) as caught:
            call(remote_id)
        assert caught.value.kind == "not_found"


def test_a_gemini_result_file_is_not_deleted(server: FakeServer, tmp_path: Path) -> None:
    """The service refuses for good; that is not the "gone already" of a file that is not there."""
    provider = provider_at(server, "gemini")
    remote_id = send(provider, shard_of(provider, tmp_path))
    server.finish(remote_id)
    (file,) = provider.poll(remote_id).files
    with pytest.raises(ProviderError, match="40 characters") as caught:
        provider.delete(file.ref)
    assert caught.value.kind == "refused"


@each_provider
def test_the_account_is_listed(name: str, server: FakeServer, tmp_path: Path) -> None:
    """Batches over several pages, with labels and results where the provider has them; uploads, but no results."""
    provider = provider_at(server, name)
    ours = shard_of(provider, tmp_path)
    theirs = shard_of(provider, tmp_path, label="someone-else")
    file_id, foreign_file = provider.upload(ours), provider.upload(theirs)
    sent = [provider.create(ours, file_id), *(provider.create(theirs, foreign_file) for _ in range(120))]
    server.finish(sent[0])
    listed = {one.snapshot.remote_id: one for one in provider.batches()}
    assert list(listed) == sent[::-1]
    first = listed[sent[0]]
    assert first.snapshot == replace(provider.poll(sent[0]), collect_by=first.snapshot.collect_by)
    assert [listed[one].snapshot.outcome for one in sent[:2]] == ["completed", None]
    labelled = name != "anthropic"
    assert [listed[one].label for one in sent[:2]] == (["run-n0nce-0-0-1", "someone-else"] if labelled else [None] * 2)
    uploads = [ListedFile("someone-else", str(foreign_file)), ListedFile("run-n0nce-0-0-1", str(file_id))]
    assert list(provider.uploads()) == (uploads if labelled else [])


# finding again what was sent


@each_provider
def test_nothing_of_ours_is_found_among_foreign_batches(name: str, server: FakeServer, tmp_path: Path) -> None:
    """150 batches of other people on the account, over several pages, are none of ours."""
    provider = provider_at(server, name)
    foreign = shard_of(provider, tmp_path, requests=2, label="someone-else")
    file_id = provider.upload(foreign)
    for _ in range(150):
        provider.create(foreign, file_id)
    ours = shard_of(provider, tmp_path)
    assert provider.find(ours, None) == []


@pytest.mark.parametrize("name", ["openai", "gemini"])
def test_a_batch_is_found_by_its_label(name: str, server: FakeServer, tmp_path: Path) -> None:
    """Its label makes it certain, wherever among others' it stands; its file is then not offered for another."""
    provider = provider_at(server, name)
    fence = provider.newest()
    assert fence is None
    ours, foreign = shard_of(provider, tmp_path), shard_of(provider, tmp_path, label="someone-else")
    file_id = provider.upload(ours)
    assert provider.find(ours, fence) == [Candidate(None, file_id, certain=True)]
    remote_id = provider.create(ours, file_id)
    foreign_file = provider.upload(foreign)
    for _ in range(150):
        provider.create(foreign, foreign_file)
    assert provider.find(ours, fence) == [Candidate(remote_id, file_id, certain=True)]
    assert {candidate.remote_id for candidate in provider.find(foreign, fence)} == {
        one.id for one in server.batches(name)
    } - {remote_id}


def test_an_openai_batch_is_found_by_its_file(server: FakeServer, tmp_path: Path) -> None:
    """Compatible servers may drop metadata: the input file's name is then the label."""
    provider = provider_at(server, "openai")
    shard = shard_of(provider, tmp_path)
    file_id = provider.upload(shard)
    client = provider._sdk()  # noqa: SLF001
    batch = client.batches.create(input_file_id=file_id or "", endpoint="/v1/chat/completions", completion_window="24h")
    assert provider.find(shard, None) == [Candidate(batch.id, file_id, certain=True)]


def test_an_openai_batch_is_found_by_its_label_alone(server: FakeServer, tmp_path: Path) -> None:
    """Its input file may be gone, or have another name: the metadata is enough."""
    provider = provider_at(server, "openai")
    shard = shard_of(provider, tmp_path)
    file_id = provider.upload(shard_of(provider, tmp_path, label="another-name"))
    remote_id = provider.create(shard, file_id)
    assert provider.find(shard, None) == [Candidate(remote_id, file_id, certain=True)]


def test_an_openai_batch_below_the_fence_is_not_looked_at(server: FakeServer, tmp_path: Path) -> None:
    """What was listed before the intent was written cannot be what came of it; the walk ends there."""
    provider = provider_at(server, "openai")
    shard = shard_of(provider, tmp_path)
    file_id = provider.upload(shard)
    provider.create(shard, file_id)
    fence = provider.newest()
    for _ in range(120):
        provider.create(shard_of(provider, tmp_path, label="someone-else"), "file-none")
    calls = len(server.calls)
    assert provider.find(shard, fence) == [Candidate(None, file_id, certain=True)]
    assert [call.route for call in server.calls[calls:]] == ["list_files", "list", "list"]


def test_an_anthropic_batch_is_found_by_its_size(server: FakeServer, tmp_path: Path) -> None:
    """It carries no label: every batch of the shard's size above the fence may be it, none is certain."""
    provider = provider_at(server, "anthropic")
    other = shard_of(provider, tmp_path, requests=2, label="other")
    before = send(provider, shard_of(provider, tmp_path, label="of-the-same-size"))
    fence = provider.newest()
    assert fence == before
    for _ in range(75):
        send(provider, other)
    ours = send(provider, shard := shard_of(provider, tmp_path))
    for _ in range(75):
        send(provider, other)
    assert provider.find(shard, fence) == [Candidate(ours, None, certain=False)]
    assert {candidate.remote_id for candidate in provider.find(shard, None)} == {ours, before}


def test_an_archived_anthropic_batch_is_no_candidate(server: FakeServer, tmp_path: Path) -> None:
    """It ended weeks ago and has no results to prove anything by; a deleted fence lets the walk reach it."""
    provider = provider_at(server, "anthropic")
    shard = shard_of(provider, tmp_path)
    old = send(provider, shard)
    server.finish(old)
    assert [candidate.remote_id for candidate in provider.find(shard, "deleted")] == [old]
    server.advance(hours=30 * 24)
    ours = send(provider, shard)
    assert provider.find(shard, "deleted") == [Candidate(ours, None, certain=False)]


@each_provider
def test_the_newest_batch_is_the_fence(name: str, server: FakeServer, tmp_path: Path) -> None:
    """What is listed above it came later."""
    provider = provider_at(server, name)
    shard = shard_of(provider, tmp_path)
    ids = [send(provider, shard) for _ in range(3)]
    assert provider.newest() == ids[-1]


# errors


ERRORS = [
    ("openai", {"status": 401}, "bad_key"),
    ("openai", {"status": 403}, "bad_key"),
    ("openai", {"status": 429}, "rate_limit"),
    ("openai", {"status": 429, "code": "insufficient_quota"}, "no_credit"),
    ("openai", {"status": 400, "code": "billing_hard_limit_reached"}, "no_credit"),
    ("openai", {"status": 402}, "no_credit"),
    ("openai", {"status": 400}, "refused"),
    *((name, {"status": status}, "server") for name in PROVIDERS for status in (408, 409)),
    *((name, {"status": 499, "body": ""}, "server") for name in PROVIDERS),
    ("openai", {"status": 413, "body": "<html>too large</html>"}, "refused"),
    ("openai", {"status": 404}, "not_found"),
    ("openai", {"status": 500}, "server"),
    ("openai", {"status": 503, "body": ""}, "server"),
    ("anthropic", {"status": 401}, "bad_key"),
    ("anthropic", {"status": 402}, "no_credit"),
    ("anthropic", {"status": 400, "message": "Your credit balance is too low to access the API."}, "no_credit"),
    (
        "anthropic",
        {
            "status": 429,
            "body": '{"error":{"type":"rate_limit_error","details":{"error_code":"enforced_spend_limit_reached"}}}',
        },
        "no_credit",
    ),
    (
        "anthropic",
        {"status": 400, "message": "You have reached your specified API usage limits. You will regain access soon."},
        "no_credit",
    ),
    ("anthropic", {"status": 413, "body": "Payload Too Large"}, "refused"),
    ("anthropic", {"status": 429}, "rate_limit"),
    ("anthropic", {"status": 529}, "server"),
    ("gemini", {"status": 402}, "no_credit"),
    ("gemini", {"status": 403}, "bad_key"),
    ("gemini", {"status": 400}, "refused"),
    ("gemini", {"status": 404}, "not_found"),
    ("gemini", {"status": 429}, "rate_limit"),
    ("gemini", {"status": 503}, "server"),
    ("gemini", {"status": 502, "body": "<html>bad gateway</html>"}, "server"),
]


@pytest.mark.parametrize(("name", "fault", "kind"), ERRORS)
def test_a_refused_create_says_what_kind_it_is(
    name: str, fault: dict[str, Any], kind: str, server: FakeServer, tmp_path: Path
) -> None:
    """The kind decides what happens next; one attempt, and a message of one line."""
    server.plan(Fault("status", route="create", **fault))
    provider = provider_at(server, name)
    with pytest.raises(ProviderError) as caught:
        send(provider, shard_of(provider, tmp_path))
    error = caught.value
    assert (error.kind, error.status_code) == (kind, fault["status"])
    assert error.maybe_accepted is (kind == "server")
    assert (error.provider, error.operation) == (name, "create")
    assert "\n" not in str(error)
    assert error.__cause__ is not None
    assert [call.route for call in server.calls].count("create") == 1


@each_provider
def test_a_bad_key_is_a_bad_key_and_never_shown(name: str, server: FakeServer, tmp_path: Path) -> None:
    """401, and Gemini's 400 with API_KEY_INVALID; the key is in no message."""
    provider = provider_at(server, name, api_key="bad-secret-abcdefgh")
    shard = shard_of(provider, tmp_path)
    for call in (provider.newest, lambda: provider.find(shard, None), lambda: provider.create(shard, "files/x")):
        with pytest.raises(ProviderError) as caught:
            call()
        assert caught.value.kind == "bad_key"
        assert "secret" not in str(caught.value)


@each_provider
def test_without_a_key_nothing_is_sent(name: str, server: FakeServer) -> None:
    """The SDKs look in more places than batchfast says it does; they must not get to."""
    with pytest.raises(MissingKey):
        provider_at(server, name, api_key=None).newest()
    assert server.calls == []


@each_provider
def test_nothing_is_retried(name: str, server: FakeServer, tmp_path: Path) -> None:
    """The engine schedules every wait: each call goes out once, uploads and their pieces included."""
    provider = provider_at(server, name)
    shard = shard_of(provider, tmp_path)
    known = send(provider, shard)
    server.finish(known)
    (file,) = provider.poll(known).files
    calls = {
        "upload": lambda: provider.upload(shard),
        "create": lambda: provider.create(shard, "files/x"),
        "list": provider.newest,
        "poll": lambda: provider.poll(known),
        "cancel": lambda: provider.cancel(known),
        "results": lambda: list(provider.download(file)),
    }
    if name == "anthropic":
        del calls["upload"]
    for route, call in calls.items():
        before = len(server.calls)
        route = "download" if (name, route) == ("gemini", "results") else route
        for fault in ({"status": 503, "body": ""}, {"status": 429, "retry_after": 7}):
            server.plan(Fault("status", provider=name, nth=1, **fault))
            with pytest.raises(ProviderError) as caught:
                call()
            assert caught.value.retryable
        assert caught.value.retry_after_s == 7
        assert len(server.calls) - before == 2, route


@each_provider
@pytest.mark.parametrize("does", ["lose", "cut"])
def test_a_lost_answer_may_hide_an_accepted_batch(name: str, does: Any, server: FakeServer, tmp_path: Path) -> None:
    """The service took the batch, the answer did not arrive: an error that says so, and a batch that is found."""
    server.plan(Fault(does, route="create"))
    provider = provider_at(server, name)
    shard = shard_of(provider, tmp_path)
    with pytest.raises(ProviderError) as caught:
        send(provider, shard)
    assert (caught.value.kind, caught.value.maybe_accepted) == ("network", True)
    assert len(server.batches(name)) == 1
    assert [candidate.remote_id for candidate in provider.find(shard, None)] == [server.batches(name)[0].id]


@each_provider
def test_a_cut_download_is_an_error(name: str, server: FakeServer, tmp_path: Path) -> None:
    """Bytes that stop early must not look like a whole file."""
    provider = provider_at(server, name)
    remote_id = send(provider, shard_of(provider, tmp_path, requests=20))
    server.finish(remote_id)
    (file,) = provider.poll(remote_id).files
    whole = b"".join(provider.download(file))
    server.plan(Fault("cut", provider=name, route=server.calls[-1].route))
    got = b""
    with pytest.raises(ProviderError) as caught:
        for chunk in provider.download(file):
            got += chunk
    assert caught.value.kind == "network"
    assert whole.startswith(got)
    assert len(got) < len(whole)


@each_provider
def test_a_server_that_is_not_there_is_a_network_error(name: str) -> None:
    """Nobody listens on the port: no status, and the batch is not taken for dead."""
    provider = PROVIDERS[name]("m", KEY, base_url="http://127.0.0.1:9", timeout=5)
    with pytest.raises(ProviderError) as caught:
        provider.poll("batches/x" if name == "gemini" else "x")
    assert (caught.value.kind, caught.value.status_code) == ("network", None)


def test_an_early_or_unknown_download_is_not_found(server: FakeServer, tmp_path: Path) -> None:
    """A 404 is told apart from a broken line."""
    for name, ref in (("openai", "file-none"), ("anthropic", "msgbatch_none"), ("gemini", "files/none")):
        with pytest.raises(ProviderError) as caught:
            list(provider_at(server, name).download(RemoteFile("output", ref)))
        assert caught.value.kind == "not_found"
    provider = provider_at(server, "anthropic")
    remote_id = send(provider, shard_of(provider, tmp_path))
    with pytest.raises(ProviderError) as caught:
        list(provider.download(RemoteFile("output", remote_id)))
    assert caught.value.kind == "not_found"


# servers that misbehave


class Odd:
    """A server of this machine that answers every call with what `answers` says for its method."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        odd = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                odd.seen.append((self.command, self.path, headers))
                status, more, body = odd.answers.get(self.command, (200, {}, b"{}"))
                self.send_response(status)
                for name, value in {"content-length": str(len(body)), **more}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_DELETE = _answer  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self._thread = threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.http.shutdown()
        self._thread.join()
        self.http.server_close()


@pytest.fixture
def odd() -> Iterator[Odd]:
    server = Odd()
    yield server
    server.close()


@pytest.fixture
def elsewhere() -> Iterator[Odd]:
    server = Odd()
    yield server
    server.close()


@each_provider
def test_a_proxy_gets_no_call_to_this_machine(
    name: str, odd: Odd, elsewhere: Odd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proxy variables without NO_PROXY would send the fake's calls, or a local server's, to the proxy."""
    monkeypatch.delenv("NO_PROXY")
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(variable, elsewhere.url)
    assert odd_provider(name, odd).newest() is None
    assert odd.seen
    assert elsewhere.seen == []


@pytest.mark.parametrize(
    ("url", "trusts"),
    [
        ("http://localhost:1/v1", False),
        ("http://127.0.0.1:1", False),
        ("http://127.3.2.1", False),
        ("http://[::1]:1", False),
        ("http://10.0.0.1", True),
        ("https://localhost.example", True),
        ("https://api.openai.com/v1", True),
    ],
)
def test_only_loopback_goes_without_the_environment(url: str, trusts: bool) -> None:
    """Every other endpoint may need the proxy."""
    with wire.http_client(url, 1) as client:
        assert client.trust_env is trusts


def odd_provider(name: str, odd: Odd) -> AnyProvider:
    return PROVIDERS[name](MODELS[name], KEY, base_url=odd.url)


@each_provider
def test_the_key_follows_no_redirect_to_another_host(name: str, odd: Odd, elsewhere: Odd, tmp_path: Path) -> None:
    """A redirect away from the base URL is refused before anything goes there, whichever call meets it."""
    redirect = (307, {"location": f"{elsewhere.url}/v1/steal"}, b"")
    odd.answers = dict.fromkeys(("GET", "POST", "DELETE"), redirect)
    provider = odd_provider(name, odd)
    shard = shard_of(provider, tmp_path)
    remote_id = "batches/x" if name == "gemini" else "x"
    for call in (
        provider.newest,
        lambda: provider.create(shard, "files/x"),
        lambda: provider.poll(remote_id),
        lambda: list(provider.download(RemoteFile("output", "files/x"))),
        lambda: provider.cancel(remote_id),
        lambda: provider.delete("files/x"),
        *([] if name == "anthropic" else [lambda: provider.upload(shard)]),
    ):
        with pytest.raises(ProviderError, match="no other host") as caught:
            call()
        assert (caught.value.kind, caught.value.maybe_accepted) == ("refused", False)
    assert elsewhere.seen == []


@each_provider
def test_a_redirect_within_the_host_is_followed(name: str, odd: Odd) -> None:
    """The same origin may hold the key."""
    odd.answers = {"GET": (307, {"location": f"{odd.url}/again"}, b"")}
    with pytest.raises(ProviderError):
        odd_provider(name, odd).newest()
    assert [path for _, path, _ in odd.seen][1:3] == ["/again", "/again"]


def test_a_gemini_upload_goes_to_no_other_host(odd: Odd, elsewhere: Odd, tmp_path: Path) -> None:
    """The address for the data comes from the server; prompts are no business of another host either."""
    odd.answers = {"POST": (200, {"x-goog-upload-url": f"{elsewhere.url}/up", "x-goog-upload-status": "active"}, b"")}
    provider = odd_provider("gemini", odd)
    with pytest.raises(ProviderError, match="no other host"):
        provider.upload(shard_of(provider, tmp_path))
    assert elsewhere.seen == []


def test_a_gemini_upload_that_is_not_understood_is_not_repeated(odd: Odd, tmp_path: Path) -> None:
    """Without an upload status in the answer the SDK would send the piece three times, with pauses between."""
    odd.answers = {"POST": (200, {"x-goog-upload-url": f"{odd.url}/up"}, b"")}
    provider = odd_provider("gemini", odd)
    with pytest.raises(ProviderError) as caught:
        provider.upload(shard_of(provider, tmp_path))
    assert caught.value.kind == "server"
    assert [path for _, path, _ in odd.seen].count("/up") == 1


def test_anthropic_results_come_from_our_own_endpoint(odd: Odd, elsewhere: Odd) -> None:
    """Behind a gateway results_url names another host: the key stays with the gateway."""
    batch = {"id": "msgbatch_1", "processing_status": "ended", "results_url": f"{elsewhere.url}/v1/results"}
    odd.answers = {"GET": (200, {}, json.dumps(batch).encode())}
    provider = odd_provider("anthropic", odd)
    (file,) = provider.poll("msgbatch_1").files
    assert b"".join(provider.download(file)) == json.dumps(batch).encode()
    assert odd.seen[-1][1] == "/v1/messages/batches/msgbatch_1/results"
    assert elsewhere.seen == []


def test_anthropic_calls_carry_the_old_version_and_its_key_header(odd: Odd, tmp_path: Path) -> None:
    """With the SDK's newer version the service refuses temperature and top_p; the body has a known length."""
    odd.answers = {"POST": (200, {}, b'{"id":"msgbatch_1"}')}
    provider = odd_provider("anthropic", odd)
    shard = shard_of(provider, tmp_path)
    assert provider.create(shard, None) == "msgbatch_1"
    provider.newest()
    provider.poll("msgbatch_1")
    for _, _, headers in odd.seen:
        assert (headers["anthropic-version"], headers["x-api-key"]) == ("2023-06-01", KEY)
        assert "authorization" not in headers
    expected = shard.size_bytes + provider.limits.envelope_bytes
    assert odd.seen[0][2]["content-length"] == str(expected)


@each_provider
@pytest.mark.parametrize("body", [b"", b"<html>welcome</html>", b"[]", b"{}", b'{"id": 5, "name": {}}', b"\xff"])
def test_a_create_with_a_garbled_answer_may_have_been_accepted(
    name: str, body: bytes, odd: Odd, tmp_path: Path
) -> None:
    """A 200 without an id: nobody knows, so the next step is to look, not to send again."""
    odd.answers = {"POST": (200, {}, body)}
    provider = odd_provider(name, odd)
    with pytest.raises(ProviderError) as caught:
        provider.create(shard_of(provider, tmp_path), "files/x")
    assert caught.value.maybe_accepted


@each_provider
def test_a_list_that_never_ends_is_an_error(name: str, odd: Odd, tmp_path: Path) -> None:
    """A server that ignores the cursor: neither an endless loop nor a false "not there"."""
    page = {
        "data": [{"id": "x", "request_counts": {}}],
        "last_id": "x",
        "has_more": True,
        "operations": [],
        "nextPageToken": "t",
    }
    odd.answers = {"GET": (200, {}, json.dumps(page).encode())}
    provider = odd_provider(name, odd)
    with pytest.raises(ProviderError, match="repeats itself"):
        provider.find(shard_of(provider, tmp_path), None)


def test_a_poll_keeps_quiet_about_unknown_states(odd: Odd) -> None:
    """An unknown word counts as running, and is passed on for a warning."""
    for name, batch in {
        "openai": {"id": "b", "status": "dreaming"},
        "anthropic": {"id": "b", "processing_status": "dreaming"},
        "gemini": {"name": "batches/b", "metadata": {"state": "BATCH_STATE_DREAMING"}},
    }.items():
        odd.answers = {"GET": (200, {}, json.dumps(batch).encode())}
        snapshot = odd_provider(name, odd).poll("batches/b")
        assert (snapshot.outcome, snapshot.known_state) == (None, False)
        assert snapshot.remote_state.lower().endswith("dreaming")


def test_a_cancel_that_is_refused_for_another_reason_is_an_error(odd: Odd) -> None:
    """A 400 is forgiven only for a batch that has ended."""
    for name, batch in {
        "openai": {"id": "b", "status": "in_progress"},
        "anthropic": {"id": "b", "processing_status": "in_progress"},
        "gemini": {"name": "batches/b", "metadata": {"state": "BATCH_STATE_RUNNING"}},
    }.items():
        odd.answers = {"GET": (200, {}, json.dumps(batch).encode()), "POST": (400, {}, b'{"error": {}}')}
        with pytest.raises(ProviderError) as caught:
            odd_provider(name, odd).cancel("batches/b")
        assert caught.value.status_code == 400


def test_gemini_says_how_long_to_wait_in_the_body(odd: Odd) -> None:
    """google.rpc.RetryInfo holds what others put into a header."""
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.5s"}]
    error = {"code": 429, "message": "You exceeded\nyour quota", "status": "RESOURCE_EXHAUSTED", "details": details}
    odd.answers = {"GET": (429, {}, json.dumps({"error": error}).encode())}
    with pytest.raises(ProviderError) as caught:
        odd_provider("gemini", odd).newest()
    assert (caught.value.kind, caught.value.retry_after_s) == ("rate_limit", 34.5)
    assert str(caught.value) == "gemini newest: HTTP 429 RESOURCE_EXHAUSTED: You exceeded your quota"


def test_gemini_waits_an_hour_at_most(odd: Odd) -> None:
    """The wait in the body is held to the same bound as the header's."""
    error = {"code": 429, "message": "no", "details": [{"retryDelay": "86400s"}]}
    odd.answers = {"GET": (429, {}, json.dumps({"error": error}).encode())}
    with pytest.raises(ProviderError) as caught:
        odd_provider("gemini", odd).newest()
    assert caught.value.retry_after_s == 3600


def test_a_gemini_precondition_is_a_matter_of_billing(odd: Odd, tmp_path: Path) -> None:
    """Gemini API docs, troubleshooting: the free tier is not available in that country, enable billing."""
    error = {"code": 400, "message": "User location is not supported.", "status": "FAILED_PRECONDITION"}
    odd.answers = dict.fromkeys(("GET", "POST"), (400, {}, json.dumps({"error": error}).encode()))
    provider = odd_provider("gemini", odd)
    shard = shard_of(provider, tmp_path)
    for call in (lambda: provider.upload(shard), lambda: provider.create(shard, "files/x")):
        with pytest.raises(ProviderError) as caught:
            call()
        assert (caught.value.kind, caught.value.status_code) == ("no_credit", 400)
    with pytest.raises(ProviderError) as caught:
        provider.poll("batches/x")
    assert caught.value.kind == "refused"


def test_a_cancel_that_comes_too_late_is_no_error(odd: Odd) -> None:
    """Refused because the batch is ending, or has ended and its output is not named yet: as good as cancelled."""
    for name, batch in {
        "openai": {"id": "b", "status": "completed", "request_counts": {"completed": 1}},
        "anthropic": {"id": "b", "processing_status": "canceling"},
        "gemini": {"name": "batches/b", "metadata": {"state": "BATCH_STATE_SUCCEEDED"}},
    }.items():
        odd.answers = {"GET": (200, {}, json.dumps(batch).encode()), "POST": (409, {}, b'{"error": {}}')}
        provider = odd_provider(name, odd)
        provider.cancel("batches/b")


@each_provider
def test_a_message_that_quotes_the_key_is_scrubbed(name: str, odd: Odd) -> None:
    """Errors are logged and stored; a key is in neither."""
    key = "canary-of-no-known-shape"
    error = {"message": f"invalid key {key} or AIzaSyB-987654321", "type": "authentication_error", "code": "x"}
    odd.answers = {"GET": (401, {}, json.dumps({"error": error}).encode())}
    with pytest.raises(ProviderError) as caught:
        PROVIDERS[name]("m", key, base_url=odd.url).newest()
    assert "canary" not in str(caught.value)
    assert "AIza" not in str(caught.value)
