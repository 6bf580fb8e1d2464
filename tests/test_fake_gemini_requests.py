"""The fake's Gemini, call by call without an SDK: what it refuses, candidates, uploads, and names given again."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from batchfast.fake import FakeServer, Fault
from batchfast.fake import gemini_inline as inline

MODEL = "/v1beta/models/gemini-2.5-flash"
CONTENTS = [{"role": "user", "parts": [{"text": "Write a haiku about snow."}]}]


@pytest.fixture
def http(server: FakeServer) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=server.base_urls["gemini"], headers={"x-goog-api-key": "k"}) as http:
        yield http


def asked(**config: Any) -> dict[str, Any]:
    return {"contents": CONTENTS, "generationConfig": config}


def start(http: httpx2.Client, **file: str) -> str:
    headers = {"x-goog-upload-command": "start"}
    return http.post("/upload/v1beta/files", headers=headers, json={"file": file}).headers["x-goog-upload-url"]


def send(http: httpx2.Client, url: str, command: str, data: bytes = b"", offset: int = 0) -> httpx2.Response:
    headers = {"x-goog-upload-command": command, "x-goog-upload-offset": str(offset)}
    return http.put(url, headers=headers, content=data)


def upload(http: httpx2.Client, *keys: str, name: str = "files/mine") -> dict[str, Any]:
    data = "".join(json.dumps({"key": key, "request": asked()}) + "\n" for key in keys).encode()
    file: dict[str, Any] = send(http, start(http, name=name), "upload, finalize", data).json()["file"]
    assert file["sha256Hash"] == base64.b64encode(hashlib.sha256(data).hexdigest().encode()).decode()
    return file


def create(http: httpx2.Client, source: dict[str, Any]) -> str:
    created = http.post(f"{MODEL}:batchGenerateContent", json={"batch": {"inputConfig": source}})
    return str(created.json()["name"])


def create_inline(http: httpx2.Client, *requests: dict[str, Any]) -> str:
    given = [{"request": one, "metadata": {"key": f"row é {number}"}} for number, one in enumerate(requests)]
    return create(http, {"requests": {"requests": given}})


def keys_of(http: httpx2.Client, batch: str) -> list[str]:
    found = http.get(f"/v1beta/{batch}").json()["response"]["responsesFile"]
    return [json.loads(line)["key"] for line in http.get(f"/v1beta/{found}:download").content.splitlines()]


# Files


@pytest.mark.parametrize("gone", ["deleted", "expired"])
def test_a_batch_answers_the_file_it_was_made_from(server: FakeServer, http: httpx2.Client, gone: str) -> None:
    """Also when that is gone and its name has been given to another; that one is answered by the next batch."""
    server.plan(Fault("stick", provider="gemini"))
    upload(http, "old1", "old2")
    old = create(http, {"fileName": "files/mine"})
    if gone == "deleted":
        http.delete("/v1beta/files/mine")
    else:
        server.advance(hours=47.99)
        server.finish(old)
        server.advance(seconds=60)
    assert http.get("/v1beta/files/mine").status_code == 403
    file = upload(http, "new")
    assert http.get("/v1beta/files/mine").json() == file
    new = create(http, {"fileName": "files/mine"})
    server.finish_all()
    assert (keys_of(http, old), keys_of(http, new)) == (["old1", "old2"], ["new"])
    assert [one["name"] for one in http.get("/v1beta/files").json()["files"]] == ["files/mine"]


def test_results_live_two_days_from_the_end_of_their_batch(server: FakeServer, http: httpx2.Client) -> None:
    """Not from its create."""
    upload(http, "a")
    server.plan(Fault("stick", provider="gemini"))
    batch = create(http, {"fileName": "files/mine"})
    server.advance(hours=40)
    server.finish(batch)
    server.advance(hours=47)
    assert keys_of(http, batch) == ["a"]
    found = http.get(f"/v1beta/{batch}").json()["response"]["responsesFile"]
    server.advance(hours=1)
    assert http.get(f"/v1beta/{found}:download").status_code == 403


def test_an_upload_command_that_is_none_changes_nothing(http: httpx2.Client) -> None:
    """It is refused, the upload goes on; so is a piece at a wrong offset."""
    url = start(http)
    for command, offset in (("nonsense", 0), ("", 0), ("upload, nonsense", 0), ("upload", 7)):
        refused = send(http, url, command, b"abc", offset)
        assert (refused.status_code, refused.headers["x-goog-upload-status"]) == (400, "active")
    assert send(http, url, "query").headers["x-goog-upload-size-received"] == "0"
    assert send(http, url, "upload, finalize", b"abc").json()["file"]["sizeBytes"] == "3"


def test_a_cancelled_upload_is_gone(http: httpx2.Client) -> None:
    """With what was received of it."""
    url = start(http)
    send(http, url, "upload", b"abc")
    cancelled = send(http, url, "cancel")
    assert (cancelled.status_code, cancelled.headers["x-goog-upload-status"]) == (200, "cancelled")
    assert send(http, url, "query").status_code == send(http, url, "upload, finalize", b"d", 3).status_code == 404


# Requests

GOOD: list[dict[str, Any]] = [
    {"temperature": 0}, {"temperature": 2}, {"topP": 0}, {"topP": 1.0}, {"topK": 40}, {"frequencyPenalty": -2},
    {"presencePenalty": 1.9}, {"candidateCount": 8}, {"stopSequences": ["a"] * 5}, {"seed": -1},
    {"thinkingConfig": {"includeThoughts": True, "thinkingLevel": "LOW"}},
]  # fmt: skip
BAD: list[tuple[dict[str, Any], str]] = [
    ({"temperature": 5}, "temperature"), ({"temperature": -0.1}, "temperature"), ({"temperature": "x"}, "temperature"),
    ({"topP": 2}, "topP"), ({"topP": "x"}, "topP"), ({"topK": 0}, "topK"), ({"topK": 1.5}, "topK"),
    ({"frequencyPenalty": 9}, "frequencyPenalty"), ({"presencePenalty": -3}, "presencePenalty"),
    ({"candidateCount": 9}, "candidateCount"), ({"stopSequences": "a"}, "stop_sequences"),
    ({"stopSequences": [1]}, "stop_sequences[0]"), ({"stopSequences": ["a"] * 6}, "stop_sequences[5]"),
    ({"thinkingConfig": {"bogus": 1}}, '"bogus"'),
    ({"responseSchema": {"type": "STRING"}, "responseJsonSchema": {"type": "string"},
      "responseMimeType": "application/json"}, "Only one of"),
    ({"responseSchema": {"type": "STRING"}}, "mime type"),
]  # fmt: skip


def test_parameters_within_their_bounds_are_taken(http: httpx2.Client) -> None:
    """The ends of each range belong to it."""
    for config in GOOD:
        assert http.post(f"{MODEL}:generateContent", json=asked(**config)).status_code == 200, config


@pytest.mark.parametrize(("config", "named"), BAD, ids=lambda value: str(value)[:40])
def test_parameters_out_of_bounds_are_refused(http: httpx2.Client, config: dict[str, Any], named: str) -> None:
    """A value of the wrong type or size, an unknown field: 400, and the message names it."""
    refused = http.post(f"{MODEL}:generateContent", json=asked(**config))
    assert refused.status_code == 400 and named in refused.json()["error"]["message"]


@pytest.mark.parametrize(
    ("content", "named"),
    [({"role": "robot", "parts": [{"text": "x"}]}, "valid role"), ({"role": "user", "parts": [{"foo": 1}]}, '"foo"')],
)
def test_contents_of_an_unknown_kind_are_refused(http: httpx2.Client, content: dict[str, Any], named: str) -> None:
    """Roles and parts are those of the service."""
    refused = http.post(f"{MODEL}:generateContent", json={"contents": [content]})
    assert refused.status_code == 400 and named in refused.json()["error"]["message"]
    for role in ({"role": "model"}, {}):
        good = {"contents": [{**role, "parts": [{"text": "x"}]}]}
        assert http.post(f"{MODEL}:generateContent", json=good).status_code == 200


def test_as_many_candidates_as_asked_for(server: FakeServer, http: httpx2.Client) -> None:
    """Each with a text of its own, at once and in a batch; all that is written counts, what is read counts once."""
    batch = create_inline(http, asked(candidateCount=3), asked())
    server.finish(batch)
    items = http.get(f"/v1beta/{batch}").json()["response"]["inlinedResponses"]["inlinedResponses"]
    live = http.post(f"{MODEL}:generateContent", json=asked(candidateCount=3)).json()
    for body in (live, items[0]["response"]):
        texts = [one["content"]["parts"][0]["text"] for one in body["candidates"]]
        assert len(set(texts)) == 3 and [one["index"] for one in body["candidates"]] == [0, 1, 2]
        usage, single = body["usageMetadata"], items[1]["response"]["usageMetadata"]
        assert usage["candidatesTokenCount"] == sum(len(text) // 4 for text in texts)
        assert usage["promptTokenCount"] == single["promptTokenCount"]
        assert usage["totalTokenCount"] == usage["promptTokenCount"] + usage["candidatesTokenCount"]
    assert len(items[1]["response"]["candidates"]) == 1


def test_thoughts_keep_to_their_budget(http: httpx2.Client) -> None:
    """None with a budget of none, at most as many as it allows, and some where it is left to the model."""
    for budget, least, most in ((0, 0, 0), (1, 1, 1), (3, 1, 3), (-1, 1, 500)):
        config = {"thinkingConfig": {"thinkingBudget": budget}}
        for _ in range(10):
            usage = http.post(f"{MODEL}:generateContent", json=asked(**config)).json()["usageMetadata"]
            assert least <= usage.get("thoughtsTokenCount", 0) <= most


# Inline batches


def test_inline_results_are_set_as_any_other_answer(
    server: FakeServer, http: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice in the operation, indented as their place there asks for, however small the pieces they are sent in."""
    monkeypatch.setattr(inline, "_CHUNK_BYTES", 100)
    batch = create_inline(http, asked(), asked(temperature=5), asked(candidateCount=2))
    server.finish(batch)
    answer = http.get(f"/v1beta/{batch}")
    body = answer.json()
    assert answer.text == json.dumps(body, indent=2, ensure_ascii=False) + "\n"
    assert answer.headers["content-length"] == str(len(answer.content))
    items = body["response"]["inlinedResponses"]["inlinedResponses"]
    assert [one["metadata"]["key"] for one in items] == ["row é 0", "row é 1", "row é 2"]
    assert body["metadata"]["output"]["inlinedResponses"]["inlinedResponses"] == items


def test_inline_results_may_be_none_or_twice(server: FakeServer, http: httpx2.Client) -> None:
    """Planned faults drop and double them there too; a list never holds them."""
    for does, count in (("drop", 0), ("duplicate", 2)):
        server.reset()
        server.plan(Fault(does, provider="gemini"))
        batch = create_inline(http, asked())
        server.finish(batch)
        answer = http.get(f"/v1beta/{batch}")
        body = answer.json()
        assert len(body["response"]["inlinedResponses"]["inlinedResponses"]) == count
        assert answer.text == json.dumps(body, indent=2, ensure_ascii=False) + "\n"
        (listed,) = http.get("/v1beta/batches").json()["operations"]
        assert listed["metadata"]["output"] == {}


def test_update_time_moves_when_a_batch_ends(server: FakeServer, http: httpx2.Client) -> None:
    """Until then it is the time of the create, then that of the end."""
    batch = create_inline(http, asked())
    running = http.get(f"/v1beta/{batch}").json()["metadata"]
    assert running["updateTime"] == running["createTime"] and "endTime" not in running
    server.advance(seconds=1000)
    ended = http.get(f"/v1beta/{batch}").json()["metadata"]
    assert ended["createTime"] == running["createTime"] < ended["endTime"]
    assert ended["updateTime"][:19] == ended["endTime"][:19]


def test_a_number_no_float_holds_is_refused(http: httpx2.Client) -> None:
    """Echoed as metadata it would be Infinity, which is no JSON."""
    body = {"batch": {"inputConfig": {"requests": {"requests": [{"request": asked(), "metadata": {"x": "y"}}]}}}}
    raw = json.dumps(body).replace('"y"', "1e999")
    assert http.post(f"{MODEL}:batchGenerateContent", content=raw).status_code == 400
