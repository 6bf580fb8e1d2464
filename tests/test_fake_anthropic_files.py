"""The fake's Anthropic Files API, through the official SDK over a real socket."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import anthropic
import httpx2
import pytest

from batchfast.fake import FakeServer, Fault
from batchfast.fake import anthropic_files as service

KEYS = {"x-api-key": "any", "anthropic-version": "2023-06-01"}
HOUR = 3600


@pytest.fixture
def client(server: FakeServer) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=server.base_urls["anthropic"], api_key="any", max_retries=0) as client:
        yield client


def upload(client: anthropic.Anthropic, name: str, content: bytes = b"About snow.", **params: Any) -> str:
    return client.files.upload(file=(name, content), **params).id


def test_file_is_kept_listed_and_deleted(client: anthropic.Anthropic) -> None:
    """What was uploaded is there, with its name, type and size, until it is deleted."""
    made = client.files.upload(file=("snow.txt", "Schnée".encode(), "text/plain"))
    assert re.fullmatch("file_01[A-Za-z0-9]{22}", made.id)
    assert (made.filename, made.mime_type, made.size_bytes) == ("snow.txt", "text/plain", 7)
    assert client.files.retrieve_metadata(made.id) == made
    assert list(client.files.list()) == [made]
    deleted = client.files.delete(made.id)
    assert (deleted.id, deleted.type) == (made.id, "file_deleted")
    assert list(client.files.list()) == []
    with pytest.raises(anthropic.NotFoundError, match=f"File not found: {made.id}"):
        client.files.retrieve_metadata(made.id)


def test_file_object_is_that_of_published_traffic(client: anthropic.Anthropic) -> None:
    """Compact JSON in this order, microseconds and a Z; null where it does not expire."""
    text = client.files.with_raw_response.upload(file=("snow.txt", b"x")).text()
    body = json.loads(text)
    assert list(body) == [
        "type", "id", "size_bytes", "created_at", "filename", "mime_type", "downloadable", "expires_at",
    ]  # fmt: skip
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", body["created_at"])
    assert (body["type"], body["downloadable"], body["expires_at"]) == ("file", False, None)
    assert text == json.dumps(body, separators=(",", ":"))


def test_beta_and_async_clients_see_the_same_files(server: FakeServer, client: anthropic.Anthropic) -> None:
    """The beta's header is taken and not needed: there is one set of files."""
    beta = client.beta.files.upload(file=("beta.txt", b"x"), betas=["files-api-2025-04-14"])
    assert client.files.retrieve_metadata(beta.id).filename == "beta.txt"
    assert [one.id for one in client.beta.files.list(betas=["files-api-2025-04-14"])] == [beta.id]

    async def use() -> list[str]:
        url = server.base_urls["anthropic"]
        async with anthropic.AsyncAnthropic(base_url=url, api_key="any", max_retries=0) as one:
            made = await one.files.upload(file=("generated-async.txt", b"y"))
            assert await (await one.files.download(made.id)).read() == b"y"
            seen = [file.filename async for file in one.files.list(limit=1)]
            await one.files.delete(made.id)
            return seen

    assert asyncio.run(use()) == ["generated-async.txt", "beta.txt"]


def test_only_what_a_tool_made_can_be_downloaded(client: anthropic.Anthropic) -> None:
    """An upload is refused with the SDK's own code; a name with `generated-` stands for a tool's file."""
    plain = upload(client, "snow.txt")
    with pytest.raises(anthropic.BadRequestError) as refused:
        client.files.download(plain)
    assert refused.value.error_code == "file_not_downloadable"
    made = client.files.upload(file=("generated-Schnée 1.csv", b"a,b\n", "text/csv"))
    assert made.downloadable
    content = client.files.download(made.id)
    assert content.read() == b"a,b\n"
    assert content.headers["content-type"].startswith("text/csv")
    assert content.headers["content-disposition"] == "attachment; filename*=utf-8''generated-Schn%C3%A9e%201.csv"


def test_content_expires_by_the_clock_and_metadata_stays(server: FakeServer, client: anthropic.Anthropic) -> None:
    """Up to `expires_at` the content is there, from then on it is 404 with a code of its own."""
    file_id = upload(client, "generated-a.txt", expires_in_seconds=2 * HOUR)
    kept = upload(client, "generated-b.txt")
    file = client.files.retrieve_metadata(file_id)
    assert file.expires_at is not None
    assert file.expires_at - file.created_at == timedelta(hours=2)
    server.advance(hours=1.9)
    assert client.files.download(file_id).read() == b"About snow."
    server.advance(hours=0.2)
    with pytest.raises(anthropic.NotFoundError) as expired:
        client.files.download(file_id)
    assert expired.value.error_code == "file_expired"
    assert client.files.retrieve_metadata(file_id) == file
    assert client.files.download(kept).read() == b"About snow."


def test_times_are_those_of_the_fakes_clock(server: FakeServer, client: anthropic.Anthropic) -> None:
    """A file uploaded after the clock was moved is that much younger."""
    first = upload(client, "a.txt")
    server.advance(hours=24)
    second = upload(client, "b.txt")
    times = [client.files.retrieve_metadata(one).created_at for one in (first, second)]
    assert timedelta(hours=24) <= times[1] - times[0] < timedelta(hours=24, minutes=5)
    assert isinstance(times[0], datetime)


@pytest.mark.parametrize("seconds", [HOUR - 1, 90 * 24 * HOUR + 1, "soon", "²"])
def test_lifetime_out_of_bounds_is_refused(client: anthropic.Anthropic, seconds: Any) -> None:
    """One hour to ninety days, in whole seconds; the bounds themselves are taken."""
    with pytest.raises(anthropic.BadRequestError, match="expires_in_seconds"):
        upload(client, "a.txt", expires_in_seconds=seconds)
    for bound in (HOUR, 90 * 24 * HOUR):
        upload(client, "a.txt", expires_in_seconds=bound)


def test_list_comes_in_pages_newest_first(client: anthropic.Anthropic) -> None:
    """The cursor of a page leads to the next; the last has none."""
    ids = [upload(client, f"{number}.txt") for number in range(5)]
    page = client.files.list(limit=2)
    assert [one.id for one in page.data] == [ids[4], ids[3]]
    assert page.next_page is not None
    assert page.next_page.startswith("page_")
    assert [one.id for one in page] == ids[::-1]
    assert client.files.list(limit=5).next_page is None


def test_files_can_be_deleted_while_they_are_listed(client: anthropic.Anthropic) -> None:
    """A cursor keeps its place though the file it follows is gone."""
    for number in range(5):
        upload(client, f"{number}.txt")
    for file in client.files.list(limit=2):
        client.files.delete(file.id)
    assert list(client.files.list()) == []


def test_list_of_ids_passes_over_the_unknown(client: anthropic.Anthropic) -> None:
    """Those that are there, on one page; not to be combined with a limit or a cursor, and at most 100."""
    first, _, third = (upload(client, f"{number}.txt") for number in range(3))
    page = client.files.list(ids=[first, third, first, "file_01nobody"])
    assert [one.id for one in page.data] == [third, first]
    assert page.next_page is None
    many = [f"file_{number}" for number in range(101)]
    for wrong in ({"ids": [first], "limit": 1}, {"ids": [first], "page": "page_x"}, {"ids": many}):
        with pytest.raises(anthropic.BadRequestError, match="ids: "):
            client.files.list(**wrong)
    assert client.files.list(ids=many[:100] * 2).data == []


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 1001}, {"page": "page"}, {"page": "page_x"}, {"page": "é"}])
def test_wrong_page_is_refused(client: anthropic.Anthropic, query: Any) -> None:
    """A limit of 1 to 1000, and a cursor that a list has given."""
    with pytest.raises(anthropic.BadRequestError, match=f"{next(iter(query))}: "):
        client.files.list(**query)


def test_cursor_is_taken_as_it_was_given_only(client: anthropic.Anthropic) -> None:
    """With another prefix it is refused."""
    for number in range(2):
        upload(client, f"{number}.txt")
    cursor = client.files.list(limit=1).next_page
    assert cursor is not None
    assert len(client.files.list(page=cursor).data) == 1
    with pytest.raises(anthropic.BadRequestError, match="page: "):
        client.files.list(page=cursor.replace("page_", "batch_", 1))


def test_no_file_belongs_to_a_session(client: anthropic.Anthropic) -> None:
    """The beta's filter finds nothing: there are no sessions here."""
    upload(client, "a.txt")
    assert client.beta.files.list(scope_id="session_01").data == []


def test_upload_keeps_the_last_part_of_a_path(client: anthropic.Anthropic) -> None:
    """Without a name it is called unnamed, with the ending of its type."""
    assert client.files.upload(file=("a/b/snow.txt", b"x")).filename == "snow.txt"
    bare = client.files.upload(file=b"Bare bytes")
    assert (bare.filename, bare.mime_type, bare.size_bytes) == ("unnamed.bin", "application/octet-stream", 10)
    assert client.files.upload(file=("folder/", b"x", "application/pdf")).filename == "unnamed.pdf"


@pytest.mark.parametrize(("name", "kind"), [("snow.pdf", "application/pdf"), ("snow", "application/octet-stream")])
def test_name_tells_the_type_of_a_part_without_one(server: FakeServer, name: str, kind: str) -> None:
    """The SDK always sends a type, others do not."""
    body = f'--x\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\nabc\r\n--x--\r\n'
    headers = {**KEYS, "content-type": "multipart/form-data; boundary=x"}
    made = httpx2.post(server.base_urls["anthropic"] + "/v1/files", headers=headers, content=body.encode()).json()
    assert (made["filename"], made["mime_type"], made["size_bytes"]) == (name, kind, 3)


@pytest.mark.parametrize("name", ["a<b", "a:b", "a|b", "a?b", "a*b", "a>b", "a" * 256])
def test_wrong_name_is_refused(client: anthropic.Anthropic, name: str) -> None:
    """Characters that file systems know otherwise, and more than 255 of any; 255 are taken."""
    with pytest.raises(anthropic.BadRequestError, match="Filename must be"):
        upload(client, name)
    assert list(client.files.list()) == []
    upload(client, "a" * 255)


def test_too_large_a_file_is_refused(client: anthropic.Anthropic, monkeypatch: pytest.MonkeyPatch) -> None:
    """One byte over the limit is 413, the limit itself is taken."""
    monkeypatch.setattr(service, "MAX_FILE_BYTES", 10)
    with pytest.raises(anthropic.RequestTooLargeError):
        upload(client, "a.txt", b"x" * 11)
    upload(client, "a.txt", b"x" * 10)


def test_upload_without_a_file_is_refused(server: FakeServer) -> None:
    """A form with another field, and a body that is no form."""
    url = server.base_urls["anthropic"] + "/v1/files"
    for body in ({"files": {"other": ("a.txt", b"x")}}, {"json": {}}):
        answer = httpx2.post(url, headers=KEYS, **body)  # type: ignore[arg-type]
        assert (answer.status_code, answer.json()["error"]["message"]) == (400, "file: Field required")


def test_unknown_file_is_404(client: anthropic.Anthropic) -> None:
    """On every route that names one."""
    for call in (client.files.retrieve_metadata, client.files.download, client.files.delete):
        with pytest.raises(anthropic.NotFoundError, match="File not found: file_01nobody") as missing:
            call("file_01nobody")
        assert missing.value.type == "not_found_error"


def test_results_of_batches_are_no_files(server: FakeServer, client: anthropic.Anthropic) -> None:
    """They are kept like files, and are to be had from their batch only."""
    message: Any = {"role": "user", "content": "About snow."}
    params: Any = {"model": "claude-haiku-4-5", "max_tokens": 100, "messages": [message]}
    batch = client.messages.batches.create(requests=[{"custom_id": "a", "params": params}])
    server.finish(batch.id)
    assert len(list(client.messages.batches.results(batch.id))) == 1
    assert list(client.files.list()) == []
    for call in (client.files.retrieve_metadata, client.files.download, client.files.delete):
        with pytest.raises(anthropic.NotFoundError):
            call(f"{batch.id}.results")
    assert len(list(client.messages.batches.results(batch.id))) == 1


def test_files_of_other_services_are_not_seen(server: FakeServer, client: anthropic.Anthropic) -> None:
    """The services share a port and a folder, and no file."""
    form = {"data": {"purpose": "user_data"}, "files": {"file": ("a.txt", b"x")}}
    made = httpx2.post(server.base_urls["openai"] + "/files", headers={"authorization": "Bearer any"}, **form)  # type: ignore[arg-type]
    assert list(client.files.list()) == []
    with pytest.raises(anthropic.NotFoundError):
        client.files.retrieve_metadata(made.json()["id"])


@pytest.mark.parametrize("route", ["upload", "list_files", "file", "delete_file", "results"])
def test_faults_reach_every_route(server: FakeServer, client: anthropic.Anthropic, route: str) -> None:
    """Each goes by the name that the other services' files have."""
    file_id = upload(client, "generated-a.txt")
    calls: dict[str, Any] = {
        "upload": lambda: upload(client, "b.txt"),
        "list_files": client.files.list,
        "file": lambda: client.files.retrieve_metadata(file_id),
        "delete_file": lambda: client.files.delete(file_id),
        "results": lambda: client.files.download(file_id),
    }
    server.plan(Fault("status", provider="anthropic", route=route, nth=1, status=529))
    with pytest.raises(anthropic.APIStatusError) as refused:
        calls[route]()
    assert refused.value.status_code == 529
    calls[route]()


def test_a_list_can_lag(server: FakeServer, client: anthropic.Anthropic) -> None:
    """What is younger than the lag is left out once."""
    upload(client, "a.txt")
    server.plan(Fault("lag", provider="anthropic", route="list_files", nth=1, seconds=60))
    assert client.files.list().data == []
    assert len(client.files.list().data) == 1
