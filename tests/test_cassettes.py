"""Cassettes: they play to the official SDKs and to batchfast, say what they are, and hold nobody's secrets."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anthropic
import httpx2
import openai
import pytest
import yaml
from click.testing import CliRunner
from pytest_socket import disable_socket
from vcr.errors import CannotOverwriteExistingCassetteException as NotOnCassette
from vcr.request import Request

from batchfast import cassettes
from batchfast.cassettes.__main__ import main
from batchfast.cassettes.clients import ADDRESSES, connect
from batchfast.cassettes.record import most_it_costs, read_head, record_fake
from batchfast.cassettes.scenarios import PROVIDERS, scenarios
from batchfast.cassettes.scenarios.base import BAD_KEY
from batchfast.cassettes.scrub import Scrubber, left_in
from batchfast.cassettes.tape import recorder
from batchfast.errors import BatchfastError, ConfigError
from batchfast.fake import FakeServer, Fault
from batchfast.records import BatchSnapshot, Result
from tests.helpers import provider

SHIPPED = sorted(cassettes.shipped().glob("*/*.yaml"))
NAMES = [f"{path.parent.name}/{path.stem}" for path in SHIPPED]
LIFE = {
    "complete", "failures", "all_failed", "expired", "cancelled", "invalid_file", "bad_key", "unknown_id", "paging",
}  # fmt: skip


def exchanges(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load(cassettes.find(name).read_text())["interactions"]
    return found


def batch_id(name: str) -> str:
    """The id of the first batch that a cassette's service answered with."""
    pattern = r'"(?:id|name)": ?"(batch_\w+|msgbatch_\w+|batches/\w+)"'
    bodies = "".join(one["response"]["body"]["string"] for one in exchanges(name))
    found = re.search(pattern, bodies)
    assert found
    return found[1]


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """No socket at all, loopback included."""
    import socket

    monkeypatch.setattr(socket, "socket", socket.socket)  # so that what disable_socket puts there is taken away
    disable_socket(allow_unix_socket=True)  # an event loop has a pair of those for itself


# What there is, and what it says of itself


def test_every_scenario_has_its_cassette() -> None:
    """Each service has the whole list; nothing lies around that no scenario records."""
    assert sorted(f"{one}/{name}" for one in PROVIDERS for name in scenarios(one)) == NAMES
    assert all(scenarios(one).keys() >= LIFE for one in PROVIDERS)


@pytest.mark.parametrize("name", NAMES)
def test_head_names_source_day_and_sdk(name: str) -> None:
    """A cassette from the fake says so, in words nobody takes for the service."""
    head = read_head(cassettes.find(name))
    assert head.from_fake == (", not from the service" in head.source)
    assert head.from_fake or head.source == ADDRESSES[name.split("/")[0]]
    assert head.from_fake != ("--live" in head.command)
    assert head.command.endswith(name)
    assert datetime(2026, 11, 1, tzinfo=UTC).date() <= head.day <= datetime.now(UTC).date()
    sdk, _, version = head.sdk.partition(" ")
    assert sdk == {"gemini": "google-genai"}.get(name.split("/")[0], name.split("/")[0])
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)


def test_file_without_head_is_not_taken_for_a_cassette(tmp_path: Path) -> None:
    """What something was recorded from is never guessed."""
    path = tmp_path / "odd.yaml"
    path.write_text("version: 1\ninteractions: []\n")
    with pytest.raises(BatchfastError, match=re.escape(str(path))):
        read_head(path)


# Playing


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("name", NAMES)
def test_cassette_plays_to_the_official_sdk(name: str) -> None:
    """The scenario runs again on the file alone, and uses all of it; no call leaves the process."""
    service, _, title = name.partition("/")
    scenario = scenarios(service)[title]
    key = BAD_KEY if scenario.bad_key else "somebody-elses-key"
    with (
        cassettes.play(name) as cassette,
        connect(service, key=key, base_url=ADDRESSES[service]) as client,
    ):
        scenario.run(client, scenario.lines, lambda: None)
    assert cassette.all_played


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("prefix", ["http://gateway.example/llm/openai/v1", "http://127.0.0.1:9/openai"])
def test_base_url_does_not_matter(prefix: str) -> None:
    """A user's base URL may be anything: what counts is the service's own path."""
    with cassettes.play("openai/unknown_id"), connect("openai", key="any", base_url=prefix) as client:
        with pytest.raises(openai.NotFoundError):
            client.batches.retrieve("batch_" + 32 * "0")
        with pytest.raises(NotOnCassette):
            client.batches.retrieve("batch_" + 32 * "9")


@pytest.mark.usefixtures("no_network")
def test_version_in_the_path_does_not_matter(tmp_path: Path) -> None:
    """Releases of Gemini's SDK differ in it, and the service answers the same."""
    (tmp_path / "gemini").mkdir()
    other = cassettes.find("gemini/complete").read_text().replace(".com/v1/", ".com/v1beta/")
    (tmp_path / "gemini" / "complete.yaml").write_text(other.replace("/upload/v1/", "/upload/v1beta/"))
    scenario = scenarios("gemini")["complete"]
    with (
        cassettes.play("gemini/complete", [tmp_path]) as cassette,
        connect("gemini", key="any", base_url=ADDRESSES["gemini"]) as client,
    ):
        scenario.run(client, scenario.lines, lambda: None)
    assert cassette.all_played


@pytest.mark.usefixtures("no_network")
def test_cassette_plays_to_an_async_client() -> None:
    """The same file serves both kinds of client."""

    async def ids() -> list[str]:
        async with anthropic.AsyncAnthropic(api_key="any", max_retries=0) as client:
            return [one.id async for one in client.messages.batches.list(limit=2)]

    with cassettes.play("anthropic/paging"):
        assert len(asyncio.run(ids())) == 3


@pytest.mark.usefixtures("no_network")
def test_body_matches_as_parsed_json() -> None:
    """Spaces and the order of keys are nothing; another value is another request."""
    body = json.loads(exchanges("anthropic/complete")[0]["request"]["body"])
    other = {"requests": [dict(reversed(one.items())) for one in body["requests"]]}
    url = ADDRESSES["anthropic"] + "/v1/messages/batches"
    with cassettes.play("anthropic/complete"):
        with pytest.raises(NotOnCassette):
            httpx2.post(url, content=json.dumps(other).replace("river", "brook"))
        assert httpx2.post(url, content=json.dumps(other, indent=3)).json()["type"] == "message_batch"


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize(
    ("change", "taken"), [(("river", "river"), True), (('": ', '" :  '), True), (("river", "lake"), False)]
)
def test_upload_matches_by_its_parts(change: tuple[str, str], taken: bool) -> None:
    """Every upload has a boundary of its own; what stands between them is compared, lines as JSON."""
    lines = scenarios("openai")["complete"].lines
    data = b"".join(json.dumps(line).replace(*change).encode() + b"\n" for line in lines)
    file = ("requests.jsonl", data, "application/jsonl")
    with cassettes.play("openai/complete"), connect("openai", key="any", base_url=ADDRESSES["openai"]) as client:
        if taken:
            assert client.files.create(file=file, purpose="batch").filename == "requests.jsonl"
        else:
            with pytest.raises(NotOnCassette):
                client.files.create(file=file, purpose="batch")
        with pytest.raises(NotOnCassette):
            client.files.create(file=("other.jsonl", data, "application/jsonl"), purpose="batch")


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("path", ["/v1/fine_tuning/batches", "/fine_tuning/batches", "/v1/batches/batches"])
def test_another_resource_of_the_same_ending_is_another_call(path: str) -> None:
    """A base URL may be anything but a part of the service's own paths."""
    with cassettes.play("openai/bad_key"):
        with pytest.raises(NotOnCassette):
            httpx2.get(f"https://api.openai.com{path}?limit=1")
        assert httpx2.get("https://api.openai.com/v1/batches?limit=1&key=any").status_code == 401


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize(
    "other", [{"project": "beta", "n": 1}, {"project": "alpha", "n": True}, {"project": "alpha", "n": 1.0}]
)
def test_calls_are_compared_as_sent(other: dict[str, Any], tmp_path: Path) -> None:
    """What a recording would scrub still tells two calls apart, and so does a value's type."""
    sent = {"project": "alpha", "n": 1}
    recorded = exchanges("openai/bad_key")[:1]
    recorded[0]["request"].update(method="POST", body=json.dumps(sent))
    (tmp_path / "own.yaml").write_text(yaml.safe_dump({"version": 1, "interactions": recorded}))
    with cassettes.play("own", [tmp_path]):
        with pytest.raises(NotOnCassette):
            httpx2.post(recorded[0]["request"]["uri"], json=other)
        assert httpx2.post(recorded[0]["request"]["uri"], json=sent).status_code == 401


def test_call_that_is_not_on_the_cassette_reaches_nobody(fake: FakeServer, tmp_path: Path) -> None:
    """Recording is off: the call fails although someone would answer it, and the file stays as it was."""
    (tmp_path / "openai").mkdir()
    copy = tmp_path / "openai" / "bad_key.yaml"
    copy.write_bytes(cassettes.find("openai/bad_key").read_bytes())
    before = copy.read_bytes()
    with (
        cassettes.play("openai/bad_key", [tmp_path]),
        connect("openai", key="any", base_url=fake.base_urls["openai"]) as client,
    ):
        with pytest.raises(NotOnCassette):
            client.files.list(limit=1)
        with pytest.raises(openai.AuthenticationError):
            client.batches.list(limit=1)
        with pytest.raises(NotOnCassette):
            client.batches.list(limit=1)
    assert fake.calls == []
    assert copy.read_bytes() == before


# Through batchfast's own adapters


def follow(service: str, remote_id: str) -> tuple[list[str], BatchSnapshot, list[Result]]:
    """Poll to the end and read all results: states seen, the last snapshot, results by custom_id."""
    adapter = provider(service, api_key="any")
    states = []
    while True:
        snapshot = adapter.poll(remote_id)
        states.append(snapshot.remote_state)
        if snapshot.outcome is not None:
            break
    lines = [line for file in snapshot.files for line in b"".join(adapter.download(file)).split(b"\n") if line.strip()]
    return states, snapshot, sorted(map(adapter.decode, lines), key=lambda result: result.custom_id)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("service", PROVIDERS)
def test_adapter_reads_a_complete_batch(service: str) -> None:
    """poll, download and decode see every state in turn and three answers with their usage."""
    with cassettes.play(f"{service}/complete"):
        states, snapshot, results = follow(service, batch_id(f"{service}/complete"))
    assert snapshot.outcome == "completed" and len(set(states)) > 1
    assert [one.custom_id for one in results] == ["request-1", "request-2", "request-3"]
    assert all(one.outcome == "succeeded" and one.text and one.usage for one in results)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("service", PROVIDERS)
@pytest.mark.parametrize(("title", "succeeded", "failed"), [("failures", 2, 1), ("all_failed", 0, 2)])
def test_adapter_reads_failed_requests(service: str, title: str, succeeded: int, failed: int) -> None:
    """Failures arrive beside the answers, or alone; each says why."""
    with cassettes.play(f"{service}/{title}"):
        _, snapshot, results = follow(service, batch_id(f"{service}/{title}"))
    assert snapshot.outcome == "completed"
    assert Counter(one.outcome for one in results) == Counter(succeeded=succeeded, failed=failed)
    assert all(one.error and one.error.message for one in results if one.outcome == "failed")


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("service", ["openai", "anthropic"])
@pytest.mark.parametrize("title", ["expired", "cancelled"])
def test_adapter_keeps_what_was_done_before_the_end(service: str, title: str) -> None:
    """An expired or cancelled batch still gives the answers it had."""
    with cassettes.play(f"{service}/{title}"):
        _, snapshot, results = follow(service, batch_id(f"{service}/{title}"))
    assert snapshot.outcome == title
    assert {one.outcome for one in results} == {"succeeded", title}


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("service", ["openai", "gemini"])
def test_adapter_says_why_a_file_was_refused(service: str) -> None:
    """A batch that failed as a whole has no files, and its reason."""
    with cassettes.play(f"{service}/invalid_file"):
        _, snapshot, results = follow(service, batch_id(f"{service}/invalid_file"))
    assert (snapshot.outcome, results) == ("failed", [])
    assert snapshot.errors and snapshot.errors[0].message


# Secrets


@pytest.mark.parametrize("path", SHIPPED, ids=NAMES)
def test_no_cassette_holds_anything_left_in(path: Path) -> None:
    """Keys, accounts, cookies, signed addresses, e-mail addresses, machines and their folders."""
    assert left_in(path.read_text()) == []


PLANTED = {
    "openai key": "sk-proj-Ab12Cd34Ef56Gh78",
    "masked key": "sk-ab***********************wxyz",
    "anthropic key": "sk-ant-api03-Zz_9-Yy8Xx7Ww6Vv5",
    "google key": "AIzaSyD-0123456789abcdefghijklmnopqrstu",
    "bearer": "Bearer 0123456789abcdef0123456789abcdef",
    "organization": "org-Q1w2E3r4T5y6U7i8",
    "project": "proj_A1b2C3d4E5f6",
    "workspace": "wrkspc_01JwQvzr7rXLA5AGx3HKfFUJ",
    "google project": "projects/123456789012",
    "query key": "https://api.openai.com/v1/x?key=Zq3v9Kp2Lm",
    "upload": "https://generativelanguage.googleapis.com/upload/v1beta/files?upload_id=AMNrpaSr4kD9&upload_protocol=x",
    "signed": "https://api.openai.com/v1/x?a=1&Signature=Ab%2Fcd123",
    "mail": "ada.byron@mail.example.org",
    "organization in words": "organization (d1f8a929-344a-41f7-8f0b-a462d53000d5)",
    "project in words": "project 123456789012",
    "organization_uuid": '{"organization_uuid": "6bd1c3a4-1111-4222-8333-444455556666"}',
    "organizationUuid": '{"organizationUuid": "6bd1c3a4"}',
    "org_id": '{"org_id": "6bd1c3a4"}',
    "account_uuid": '{"account_uuid":"6bd1c3a4"}',
    "nested": '{"organization": {"name": "Ada", "id": "6bd1c3a4"}}',
    "escaped": json.dumps('{"organization_id": "6bd1c3a4"}'),
    "number": '{"projectNumber": "123456"}',
    "bare number": '{"project": 123456}',
    "request id": '{"request_id": "req_011CRealRequestId"}',
    "api_key": "https://api.openai.com/v1/x?api_key=abcdefg1234",
    "short user": "user-AbCdEfGhIjKlMnOp",
    "account in a header": 'realm="x" account="ada"',
    "partial key": "sk-pr...WXYZ",
    "amazon": "https://x.googleapis.com/y?X-Amz-Signature=AMZ&X-Amz-Credential=AKIAIOSFODNN7EX",
    "azure": "https://x.openai.com/y?a=1&sktid=0a1b",
    "escaped address": r"https://api.openai.com/y?a\u0026upload_id\u003dAMNrp\u0026b",
    "short bearer": "Bearer abcdef12345",
    "token": "eyJhbGciOiJSUzI1NiIs.eyJzdWIi.x",
    "hub": "hf_abcdefghijklmnop",
    "machine": "198.51.100.7",
    "folder": "/home/ada/run.py",
}  # fmt: skip


@pytest.mark.parametrize("secret", PLANTED.values(), ids=PLANTED)
def test_planted_secret_is_found_and_scrubbed(secret: str) -> None:
    """The search sees it wherever it stands; the scrubber takes it out, and leaves the rest and what is clean."""
    text = json.dumps({"error": {"message": f"Denied for {secret}, see the page."}})
    clean = Scrubber().text(text)
    assert left_in(text)
    assert left_in(clean) == []
    assert json.loads(clean)["error"]["message"].startswith("Denied for ")
    assert Scrubber().text(clean) == clean
    assert left_in(yaml.safe_dump({"string": text}))  # where quotes are escaped once more
    assert left_in(yaml.safe_dump({"string": clean})) == []


@pytest.mark.parametrize(
    "line",
    [
        "cf-ray: 8f1-CDG",
        "set-cookie: __cf_bm=1",
        "/home/ada/run",
        "http://127.0.0.1:8000/x",
        "string: !!binary |",
        "content-encoding:",
    ],
)
def test_search_sees_headers_and_machines(line: str) -> None:
    """What the scrubber drops as a whole, or renames, the search knows by itself."""
    assert left_in(f"  {line}\n")


def test_only_named_headers_get_into_a_cassette() -> None:
    """Credentials, cookies and the machine's description do not; accounts have stand-ins."""
    secret = "no-shape-at-all-8c1f"  # noqa: S105  # of nobody
    sent = dict.fromkeys(("Authorization", "X-Api-Key", "x-goog-api-key", "Cookie", "User-Agent"), secret)
    sent |= {"X-Stainless-OS": "Linux", "OpenAI-Organization": secret, "Content-Type": "application/json"}
    uri = f"https://api.openai.com/v1/batches?limit=2&key={secret}"
    request = Scrubber([secret]).request(Request("POST", uri, f'{{"note": "{secret}"}}'.encode(), sent))
    assert dict(request.headers) == {"content-type": "application/json"}
    assert request.uri == "https://api.openai.com/v1/batches?limit=2"
    assert request.body == b'{"note": "scrubbed"}'
    headers = {
        "Set-Cookie": [secret], "CF-Ray": [secret], "Date": ["now"], "Openai-Organization": [secret],
        "openai-project": [secret], "Anthropic-Organization-Id": [secret], "anthropic-workspace-id": [secret],
        "Retry-After": ["10"], "Location": [f"https://x.example/?sig={secret}"],
    }  # fmt: skip
    body = b'{"organization_id": "7f1", "workspace": "w1", "text": "kept"}'
    response = Scrubber().response(
        {"status": {"code": 200, "message": "OK"}, "headers": headers, "body": {"string": body}}
    )
    assert response["headers"] == {
        "anthropic-organization-id": ["00000000-0000-0000-0000-000000000000"],
        "anthropic-workspace-id": ["wrkspc_scrubbed"],
        "location": ["https://x.example/?sig=scrubbed"],
        "openai-organization": ["org-scrubbed"],
        "openai-project": ["proj_scrubbed"],
        "retry-after": ["10"],
    }
    assert json.loads(response["body"]["string"]) == {
        "organization_id": "scrubbed",
        "workspace": "scrubbed",
        "text": "kept",
    }


def test_nothing_of_the_key_or_the_machine_is_recorded(fake: FakeServer, tmp_path: Path) -> None:
    """On the way in, over a real socket: the file never holds them, not even for a moment."""
    key, path = "any-odd-key-77", tmp_path / "c.yaml"
    scrubber = Scrubber([key], {fake.base_urls["openai"]: ADDRESSES["openai"]})
    with (
        recorder(scrubber).use_cassette(str(path), record_mode="all", serializer="readable"),
        connect("openai", key=key, base_url=fake.base_urls["openai"]) as client,
    ):
        client.batches.list(limit=1)
    text = path.read_text()
    assert "https://api.openai.com/v1/batches?limit=1" in text
    assert key not in text and left_in(text) == []


def test_answer_that_cannot_be_read_is_not_written(
    fake: FakeServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The SDKs ask for plain answers; what is encoded all the same cannot be cleaned, so the recording is refused."""
    request = Request("GET", ADDRESSES["openai"] + "/batches", None, {})
    encoded = {"content-encoding": ["zstd"], "content-type": ["application/json"]}
    response = {"status": {"code": 200, "message": "OK"}, "headers": encoded, "body": {"string": b"\x28\xb5\x2f\xfd"}}
    path = tmp_path / "c.yaml"
    with recorder(Scrubber()).use_cassette(str(path), record_mode="all", serializer="readable") as cassette:
        cassette.append(request, response)
    assert left_in(path.read_text()) == ["content-encoding:", "!!binary"]

    def with_a_machine_s_name(*_: Any) -> None:
        with (
            connect("openai", key="any", base_url=fake.base_urls["openai"]) as client,
            pytest.raises(openai.BadRequestError),
        ):
            client.batches.list(after="localhost")

    odd = dataclasses.replace(scenarios("openai")["unknown_id"], run=with_a_machine_s_name)
    monkeypatch.setitem(scenarios("openai"), "unknown_id", odd)
    done = CliRunner().invoke(main, ["record", "openai/unknown_id", "--to", str(tmp_path)])
    assert done.exit_code == 1 and re.search(r"not written: line \d", done.output) and "localhost" not in done.output
    assert list(tmp_path.glob("*/*.yaml")) == []


@pytest.mark.parametrize("service", PROVIDERS)
def test_recording_asks_for_answers_that_are_not_compressed(service: str) -> None:
    """What vcrpy cannot decode is not asked for."""
    seen: list[str] = []
    original = Scrubber.request

    class Seeing(Scrubber):
        def request(self, request: Request) -> Request:
            seen.extend(value for name, value in request.headers.items() if name.lower() == "accept-encoding")
            return original(self, request)

    with (
        FakeServer() as fake,
        connect(service, key="any", base_url=fake.base_urls[service]) as client,
        recorder(Seeing()).use_cassette("nowhere.yaml", record_mode="all") as cassette,
    ):
        list(client.messages.batches.list() if service == "anthropic" else client.batches.list())
        cassette.dirty = False
    assert set(seen) == {"identity"}


# Finding


def test_own_folder_comes_before_the_shipped_ones(tmp_path: Path) -> None:
    """A user's cassette of the same name wins; without one the shipped is found."""
    own = tmp_path / "openai" / "complete.yaml"
    assert cassettes.find("openai/complete", [tmp_path]) == cassettes.shipped() / "openai" / "complete.yaml"
    own.parent.mkdir()
    own.write_text("version: 1\ninteractions: []\n")
    assert cassettes.find("openai/complete", [tmp_path]) == own


def test_unknown_cassette_names_the_nearest_and_the_folders(tmp_path: Path) -> None:
    """The message is enough to mend the name."""
    with pytest.raises(ConfigError, match=r"openai/complete\b") as error:
        cassettes.find("openai/completed", [tmp_path])
    assert str(tmp_path) in str(error.value) and str(cassettes.shipped()) in str(error.value)


def test_import_is_free_and_a_missing_vcrpy_is_named() -> None:
    """Importing loads neither SDK nor vcrpy nor yaml; playing without vcrpy says what to install."""
    code = (
        "import sys\nfrom batchfast import cassettes\n"
        "heavy = {'openai', 'anthropic', 'google.genai', 'vcr', 'yaml', 'starlette'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "sys.modules['vcr'] = None\n"
        "with cassettes.play('openai/complete'): pass\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip().endswith("ConfigError: cassettes need vcr: pip install 'batchfast[pytest]'")


# Recording


def shape(value: Any) -> Any:
    """Keys in their order and types of values; the words of an answer may differ."""
    if isinstance(value, dict):
        return [(key, shape(member)) for key, member in value.items()]
    return [shape(one) for one in value] if isinstance(value, list) else type(value).__name__


def shape_of_answer(exchange: dict[str, Any]) -> Any:
    response = exchange["response"]
    body = response["body"]["string"]
    lines = [body] if body.startswith("{\n") else body.splitlines()
    return response["status"], sorted(response["headers"]), [shape(json.loads(line)) for line in lines]


@pytest.mark.parametrize("name", NAMES)
def test_cassette_is_what_the_fake_answers_today(name: str, tmp_path: Path) -> None:
    """Where the fake changes its wire format, `python -m batchfast.cassettes record` must follow."""
    service, _, title = name.partition("/")
    assert record_fake(service, title, tmp_path)
    new = yaml.safe_load((tmp_path / f"{name}.yaml").read_text())["interactions"]
    if read_head(cassettes.find(name)).from_fake:  # the service's word is not the fake's to repeat
        assert [shape_of_answer(one) for one in new] == [shape_of_answer(one) for one in exchanges(name)]


def test_recording_again_changes_nothing(tmp_path: Path) -> None:
    """Same code, same bytes, the day and versions of the first time included."""
    done = CliRunner().invoke(main, ["record", "gemini/complete", "--to", str(tmp_path)])
    assert done.output == "gemini/complete: recorded\n"
    path = tmp_path / "gemini" / "complete.yaml"
    old = re.sub(r"on \d{4}-\d\d-\d\d", "on 2026-11-03", path.read_text())
    path.write_text(old)
    assert CliRunner().invoke(main, ["record", "gemini/complete", "--to", str(tmp_path)]).output.endswith("as it was\n")
    assert path.read_text() == old


def test_name_that_is_none_is_refused_with_the_list(tmp_path: Path) -> None:
    """A typo records nothing."""
    done = CliRunner().invoke(main, ["record", "--provider", "openai", "openai/complet", "--to", str(tmp_path)])
    assert done.exit_code == 1 and "openai/complete" in done.output and "gemini" not in done.output
    assert list(tmp_path.glob("**/*.yaml")) == []


@pytest.mark.usefixtures("no_network")
def test_live_recording_states_its_cost_and_asks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Cost and what is left out are said first; nobody there to agree means no call."""
    monkeypatch.setenv("OPENAI_API_KEY", "any")
    done = CliRunner().invoke(main, ["record", "--live", "--provider", "openai", "--to", str(tmp_path)])
    assert done.exit_code == 1 and "--yes" in done.output
    stated = re.search(r"(\d+) recordings at the services, for at most \$(\d+\.\d+)", done.output)
    assert stated and int(stated[1]) == 7 and 0 < float(stated[2]) < 0.05
    assert "openai/expired: skipped, no batch can be made to expire there" in done.output
    assert list(tmp_path.glob("**/*.yaml")) == []


@pytest.mark.parametrize("answer", ["n\n", "\n", "y\n"])
def test_live_recording_takes_no_for_an_answer(
    answer: str, fake: FakeServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing is spent without a yes; just pressing return is none."""
    monkeypatch.setitem(ADDRESSES, "openai", fake.base_urls["openai"])
    monkeypatch.setenv("OPENAI_API_KEY", "any-key")
    person = SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("batchfast.cassettes.__main__.sys", person)
    arguments = ["record", "--live", "openai/unknown_id", "--to", str(tmp_path)]
    done = CliRunner().invoke(main, arguments, input=answer)
    agreed = answer == "y\n"
    assert done.exit_code == (0 if agreed else 1) and bool(fake.calls) is agreed
    assert len(list(tmp_path.glob("**/*.yaml"))) == agreed


def test_live_recording_goes_on_after_one_that_failed(
    fake: FakeServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One line says what happened to it, the others are recorded, and the command fails."""
    monkeypatch.setitem(ADDRESSES, "openai", fake.base_urls["openai"])
    monkeypatch.setenv("OPENAI_API_KEY", "any-key")
    fake.plan(Fault("status", provider="openai", status=429, nth=1))
    arguments = ["record", "--live", "--yes", "openai/complete", "openai/unknown_id", "--to", str(tmp_path)]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 1 and done.stdout == "openai/unknown_id: recorded\n"
    assert "openai/complete: not recorded: RateLimitError: " in done.stderr
    assert done.stderr.endswith("Error: 1 of 2 not recorded\n") and "any-key" not in done.stderr


def test_looks_that_saw_the_same_are_recorded_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """However long a batch takes, its cassette holds each state once, and still plays."""
    monkeypatch.setattr("batchfast.cassettes.record._STEP", 0.02)
    assert record_fake("anthropic", "complete", tmp_path)
    scenario = scenarios("anthropic")["complete"]
    with (
        cassettes.play("anthropic/complete", [tmp_path]) as cassette,
        connect("anthropic", key="any", base_url=ADDRESSES["anthropic"]) as client,
    ):
        scenario.run(client, scenario.lines, lambda: None)
    assert cassette.all_played and len(cassette) < 10


def test_live_recording_of_nothing_asks_nothing() -> None:
    """Where all that was named can only come from the fake, that is said."""
    done = CliRunner().invoke(main, ["record", "--live", "openai/expired"])
    assert done.exit_code == 1 and done.output.endswith("Error: nothing is left to record at the services\n")


def test_recording_from_the_fake_goes_by_no_proxy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The fake is on this machine."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert [record_fake(service, "unknown_id", tmp_path) for service in PROVIDERS] == [True] * len(PROVIDERS)


def test_live_recording_without_a_key_says_which() -> None:
    """Before anything is sent."""
    done = CliRunner().invoke(main, ["record", "--live", "--yes", "anthropic/complete"])
    assert done.exit_code == 1 and "ANTHROPIC_API_KEY" in done.output


@pytest.mark.parametrize("service", PROVIDERS)
def test_live_recording_says_it_is_and_hides_the_key(
    service: str, fake: FakeServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The fake stands for the service: the head names the address called, and the key is nowhere, even in a body."""
    key = "request-1"  # so that it is in bodies, too
    monkeypatch.setitem(ADDRESSES, service, fake.base_urls[service])
    monkeypatch.setenv(f"{service.upper()}_API_KEY", key)
    arguments = ["record", "--live", "--yes", f"{service}/complete", "--to", str(tmp_path)]
    done = CliRunner().invoke(main, arguments)
    assert done.stdout == f"{service}/complete: recorded\n"
    path = tmp_path / service / "complete.yaml"
    assert read_head(path).source == fake.base_urls[service] and not read_head(path).from_fake
    assert key not in path.read_text()
    again = CliRunner().invoke(main, ["record", f"{service}/complete", "--to", str(tmp_path)])
    assert again.stdout.endswith("recorded\n") and read_head(path).from_fake


@pytest.mark.parametrize("service", PROVIDERS)
def test_all_recordings_of_a_service_cost_cents(service: str) -> None:
    """The bound counts every byte as a token and every answer as long as it may be."""
    costs = [most_it_costs(service, one) for one in scenarios(service).values()]
    assert all(cost is not None for cost in costs)
    assert 0 < sum(cost or 0 for cost in costs) < 0.05
