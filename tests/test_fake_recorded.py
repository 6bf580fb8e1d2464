"""The fake beside genuine recorded traffic: the same keys, in the same order, of the same types."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from google import genai

from batchfast.fake import FakeServer

RECORDED = Path(__file__).resolve().parents[2] / "shared" / "recorded"
pytestmark = pytest.mark.skipif(not RECORDED.is_dir(), reason="no recorded traffic beside the checkout")
KEYS = {"x-api-key": "k", "authorization": "Bearer k", "anthropic-version": "2023-06-01", "x-goog-api-key": "k"}
# Since the recordings: in batches of 2025-10 on, in messages of 2026, in file objects of 2025.
NEWER = {"openai batch": {"model", "usage"}, "openai body": {"annotations"}, "openai file": {"expires_at"}}


def recorded(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((RECORDED / name).read_text())["interactions"]
    return found


def body_of(interaction: dict[str, Any]) -> Any:
    return json.loads(interaction["response_body"])


def types_of(value: dict[str, Any], without: set[str] = frozenset()) -> list[tuple[str, type]]:  # type: ignore[assignment]
    return [(name, type(inner)) for name, inner in value.items() if name not in without]


def openai_batches(server: FakeServer) -> tuple[dict[str, Any], list[dict[str, Any]], bytes]:
    """A file, its batch at each state, and the bytes of its output."""
    base = server.base_urls["openai"]
    body = {"model": "gpt-3.5-turbo", "messages": [{"role": "user", "content": "Ramen"}]}
    line = {"custom_id": "0", "method": "POST", "url": "/v1/chat/completions", "body": body}
    files = {"file": ("upload", json.dumps(line).encode())}
    file = httpx2.post(base + "/files", headers=KEYS, data={"purpose": "batch"}, files=files).json()
    given = {"input_file_id": file["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    created = httpx2.post(base + "/batches", headers=KEYS, json={**given, "metadata": {"k": "v"}}).json()
    seen = [created]
    for seconds in (500, 460, 40):
        server.advance(seconds=seconds)
        seen.append(httpx2.get(f"{base}/batches/{created['id']}", headers=KEYS).json())
    content = httpx2.get(f"{base}/files/{seen[-1]['output_file_id']}/content", headers=KEYS).content
    return file, seen, content


def test_openai_objects_and_lines() -> None:
    """Every state of a batch, the file object, and a line of the output file."""
    genuine = [
        one for one in recorded("openai/curator--fixtures-basic_batch_completion.json") if "/batches" in one["url"]
    ]
    by_status = {body_of(one)["status"]: body_of(one) for one in genuine}
    with FakeServer(batch_seconds=1000) as server:
        file, seen, content = openai_batches(server)
    assert [one["status"] for one in seen] == ["validating", "in_progress", "finalizing", "completed"]
    for ours in seen:
        assert types_of(ours, NEWER["openai batch"]) == types_of(by_status[ours["status"]])
    (upload, *_) = recorded("openai/curator--fixtures-batch_cancel.json")
    assert list(file) == list(body_of(upload))
    raw = (RECORDED / "openai/curator--fixtures-basic_batch_completion.results.jsonl").read_bytes()
    theirs, ours = json.loads(raw.splitlines()[0]), json.loads(content)
    assert types_of(ours) == types_of(theirs) and types_of(ours["response"]) == types_of(theirs["response"])
    assert types_of(ours["response"]["body"]) == types_of(theirs["response"]["body"])
    choice, their_choice = (one["response"]["body"]["choices"][0] for one in (ours, theirs))
    assert types_of(choice) == types_of(their_choice)
    assert types_of(choice["message"], NEWER["openai body"]) == types_of(their_choice["message"])
    assert content.startswith(b'{"id": "batch_req_') and content.endswith(b"}\n") and raw.endswith(b"}\n")


def test_openai_error_line() -> None:
    """A request the model refused to take, in the error file."""
    theirs = json.loads((RECORDED / "openai/Chat-Bot--error_file.errors.results.jsonl").read_text())
    with FakeServer(batch_seconds=0) as server:
        base = server.base_urls["openai"]
        line = {"custom_id": "0", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "m"}}
        files = {"file": ("upload", json.dumps(line).encode())}
        file = httpx2.post(base + "/files", headers=KEYS, data={"purpose": "batch"}, files=files).json()
        given = {"input_file_id": file["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"}
        batch_id = httpx2.post(base + "/batches", headers=KEYS, json=given).json()["id"]
        error_file = httpx2.get(f"{base}/batches/{batch_id}", headers=KEYS).json()["error_file_id"]
        ours = httpx2.get(f"{base}/files/{error_file}/content", headers=KEYS).json()
    assert types_of(ours) == types_of(theirs) and types_of(ours["response"]) == types_of(theirs["response"])
    assert list(ours["response"]["body"]["error"]) == list(theirs["response"]["body"]["error"])


def test_openai_cancel_and_list() -> None:
    """A cancel answers in one compact line; a list has its five keys in order."""
    (theirs,) = recorded("openai/ruby-openai--cassettes-batches_cancel.json")
    (listed, *_) = recorded("openai/ruby-openai--cassettes-batches_list.json")
    with FakeServer(batch_seconds=1000) as server:
        base = server.base_urls["openai"]
        file, _, _ = openai_batches(server)
        given = {"input_file_id": file["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"}
        batch_id = httpx2.post(base + "/batches", headers=KEYS, json=given).json()["id"]
        ours = httpx2.post(f"{base}/batches/{batch_id}/cancel", headers=KEYS)
        page = httpx2.get(f"{base}/batches", headers=KEYS)
    assert types_of(ours.json(), NEWER["openai batch"]) == types_of(body_of(theirs))
    assert "\n" not in ours.text and "\n" not in theirs["response_body"]
    assert list(page.json()) == list(body_of(listed))
    assert page.text[:24] == listed["response_body"][:24] and page.text[-1] == listed["response_body"][-1]


def test_anthropic_objects_and_errors() -> None:
    """Created, in progress, canceling and ended; and the 404 of results that are not there yet."""
    genuine = [
        one
        for name in ("curator--fixtures-basic_batch_completion", "anthropic--cassettes-batch_cancel")
        for one in recorded(f"anthropic/{name}.json")
        if not one["url"].endswith("/results")
    ]
    by_status = {body_of(one)["processing_status"]: body_of(one) for one in genuine}
    (missing, *_) = recorded("anthropic/anthropic--cassettes-batch_results.json")
    params = {"model": "claude-haiku-4-5", "max_tokens": 9, "messages": [{"role": "user", "content": "Ramen"}]}
    with FakeServer(batch_seconds=1000) as server:
        base = server.base_urls["anthropic"] + "/v1/messages/batches"
        given = {"requests": [{"custom_id": "0", "params": params}]}
        seen = [httpx2.post(base, headers=KEYS, json=given).json() for _ in range(2)]
        early = httpx2.get(f"{base}/{seen[0]['id']}/results", headers=KEYS)
        seen.append(httpx2.post(f"{base}/{seen[0]['id']}/cancel", headers=KEYS).json())
        server.finish_all()
        seen.append(httpx2.get(f"{base}/{seen[1]['id']}", headers=KEYS).json())
        lines = httpx2.get(seen[-1]["results_url"], headers=KEYS)
    for ours in seen:
        theirs = by_status[ours["processing_status"]]
        assert types_of(ours) == types_of(theirs)
        assert list(ours["request_counts"]) == list(theirs["request_counts"])
    assert early.status_code == missing["status"]
    assert early.headers["x-should-retry"] == missing["response_headers"]["X-Should-Retry"]
    theirs_error = json.loads(missing["response_body"].replace(missing["url"].split("/")[-2], seen[0]["id"]))
    ours_error = early.json()
    del ours_error["request_id"]  # in the body since 2026
    assert ours_error == theirs_error
    raw = (RECORDED / "anthropic/curator--fixtures-basic_batch_completion.results.jsonl").read_bytes()
    theirs, ours = (json.loads(text.splitlines()[0]) for text in (raw, lines.content))
    assert types_of(ours) == types_of(theirs) and list(ours["result"]) == list(theirs["result"])
    # The order of a message's keys changed in 2026, and there are more of them.
    assert set(ours["result"]["message"]) >= set(theirs["result"]["message"])
    assert set(ours["result"]["message"]["usage"]) >= set(theirs["result"]["message"]["usage"])


def test_gemini_operation_and_results() -> None:
    """An inline batch at its start and its end, and a line of a result file."""
    genuine = recorded("gemini/ruby_llm--inline_batch.json")
    with FakeServer(batch_seconds=1000) as server:
        base = server.base_urls["gemini"] + "/v1beta"
        given = json.loads(genuine[0]["request_body"])
        created = httpx2.post(f"{base}/models/gemini-2.5-flash:batchGenerateContent", headers=KEYS, json=given)
        name = created.json()["name"]
        server.finish(name)
        ended = httpx2.get(f"{base}/{name}", headers=KEYS)
    for ours, theirs in ((created, genuine[0]), (ended, genuine[-1])):
        ours_body, theirs_body = ours.json(), body_of(theirs)
        assert types_of(ours_body) == types_of(theirs_body)
        assert types_of(ours_body["metadata"]) == types_of(theirs_body["metadata"])
        assert ours_body["metadata"]["batchStats"] == theirs_body["metadata"]["batchStats"]
        assert ours.text[:12] == theirs["response_body"][:12] and ours.text.endswith("}\n")
        assert ours.headers["content-type"] == theirs["response_headers"]["Content-Type"]
    ours_item, theirs_item = (
        body["response"]["inlinedResponses"]["inlinedResponses"][0] for body in (ended.json(), body_of(genuine[-1]))
    )
    assert types_of(ours_item) == types_of(theirs_item) and ours_item["metadata"] == theirs_item["metadata"]
    assert types_of(ours_item["response"]) == types_of(theirs_item["response"])
    usage, their_usage = (item["response"]["usageMetadata"] for item in (ours_item, theirs_item))
    assert types_of(usage) == types_of(their_usage, {"thoughtsTokenCount"})


def test_gemini_files() -> None:
    """The file object, wrapped by the upload and bare elsewhere; the empty object of a delete."""
    start, finish, got, listed, deleted = recorded("gemini/genai--gemini-TestClient-FileCRUD.json")
    with FakeServer() as server:
        with genai.Client(api_key="k", http_options={"base_url": server.base_urls["gemini"]}) as client:
            file = client.files.upload(
                file=io.BytesIO(finish["request_body"].encode()),
                config={"mime_type": "text/plain", "display_name": "test.txt"},
            )
        base = server.base_urls["gemini"] + "/v1beta/"
        ours = httpx2.get(base + str(file.name), headers=KEYS)
        page = httpx2.get(base + "files", headers=KEYS)
        gone = httpx2.delete(base + str(file.name), headers=KEYS)
    assert types_of(ours.json()) == types_of(body_of(got))
    assert ours.json()["sha256Hash"] == body_of(got)["sha256Hash"]
    assert list(page.json()) == list(body_of(listed))
    assert gone.text == deleted["response_body"]
    assert start["response_headers"]["X-Goog-Upload-Status"] == "active"
