"""Bring the fake's Gemini into every state of the table."""

from __future__ import annotations

from functools import partial
from typing import Any

from tests.fidelity.calls import BAD_KEYS, Caller, jsonl

MODEL = "/v1beta/models/gemini-2.5-flash"
HOUR = 3600.0


def request(text: str = "Two words about snow", **config: Any) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": [{"text": text}]}], "generationConfig": config}


def upload(caller: Caller, data: bytes, *, pieces: int = 1) -> str:
    given = {"file": {"display_name": "in", "mime_type": "application/jsonl"}}
    start = {"x-goog-upload-protocol": "resumable", "x-goog-upload-command": "start"}
    caller.call("POST", "/upload/v1beta/files", headers=start, json=given)
    url = caller.answers[-1].headers["x-goog-upload-url"]
    size = -(-len(data) // pieces)
    for offset in range(0, len(data), size):
        command = "upload, finalize" if offset + size >= len(data) else "upload"
        headers = {"x-goog-upload-command": command, "x-goog-upload-offset": str(offset)}
        uploaded = caller.call("POST", url, headers=headers, content=data[offset : offset + size])
    return str(uploaded["file"]["name"])


def lines(count: int = 2, **config: Any) -> bytes:
    return jsonl(*({"key": f"row-{number}", "request": request(**config)} for number in range(count)))


def create(caller: Caller, source: dict[str, Any]) -> str:
    given = {"batch": {"display_name": "night", "input_config": source}}
    return str(caller.call("POST", f"{MODEL}:batchGenerateContent", json=given)["name"])


def from_file(caller: Caller, data: bytes) -> str:
    return create(caller, {"file_name": upload(caller, data)})


def inline(caller: Caller, count: int = 2) -> str:
    requests = [{"request": request(), "metadata": {"key": f"row-{number}"}} for number in range(count)]
    requests.append({"request": request(temperature="warm", no_such_field=1), "metadata": {"key": "bad"}})
    return create(caller, {"requests": {"requests": requests}})


def look(caller: Caller, name: str, *, after_s: float = 0) -> None:
    """The batch some time later, and if its results are in a file, its lines and a delete, which is refused."""
    caller.fake.advance(seconds=after_s)
    found = caller.call("GET", f"/v1beta/{name}").get("response", {}).get("responsesFile")
    if found:
        caller.call("GET", f"/v1beta/{found}:download", params={"alt": "media"})
        caller.call("DELETE", f"/v1beta/{found}")


def drive(caller: Caller) -> None:
    """The fake's batches must take 1000 seconds."""
    name = upload(caller, lines(), pieces=2)
    caller.call("GET", f"/v1beta/{name}")
    caller.call("GET", "/v1beta/files")
    caller.call("DELETE", f"/v1beta/{name}")
    bad_line = {"key": "bad", "request": {"contents": [], "noSuchField": 1}}
    data = lines(3, thinkingConfig={"thinkingBudget": 100}) + jsonl(bad_line)
    sources = [partial(from_file, caller, data), partial(inline, caller)]
    for source in sources:
        batch = source()
        for seconds in (0, 500, 500):
            look(caller, batch, after_s=seconds)
    for source in sources:
        batch = source()
        caller.call("POST", f"/v1beta/{batch}:cancel")
        look(caller, batch, after_s=1000)
    look(caller, from_file(caller, b"no json\n"), after_s=1000)
    caller.call("GET", "/v1beta/batches")
    caller.call("GET", "/v1beta/batches", params={"pageSize": 1})
    caller.call("DELETE", f"/v1beta/{batch}")
    _refusals(caller)
    _embeddings(caller)
    for body in (request(), request(maxOutputTokens=2), {"contents": []}):
        caller.call("POST", f"{MODEL}:generateContent", json=body)


def _embeddings(caller: Caller) -> None:
    model = "/v1beta/models/gemini-embedding-001"
    asked = {"content": {"parts": [{"text": "snow"}]}, "outputDimensionality": 3}
    data = jsonl({"key": "row-0", "request": asked}, {"key": "bad", "request": {}})
    inline = {"requests": [{"request": asked, "metadata": {"key": "row-0"}}]}
    for source in ({"file_name": upload(caller, data)}, {"requests": inline}):
        given = {"batch": {"display_name": "night", "input_config": source}}
        batch = str(caller.call("POST", f"{model}:asyncBatchEmbedContent", json=given)["name"])
        look(caller, batch, after_s=1000)
    caller.call("GET", "/v1beta/batches")
    empty = {"batch": {"display_name": "empty"}}
    bodies = {"embedContent": (asked, {}), "batchEmbedContents": ({"requests": [asked]}, {"requests": [{}]})}
    for method, (good, bad) in {**bodies, "asyncBatchEmbedContent": (given, empty)}.items():
        caller.call("POST", f"/v1beta/models/no-such-model:{method}", json=good)
        caller.call("POST", f"{model}:{method}", json=bad)
    for method, (good, _) in bodies.items():
        caller.call("POST", f"{model}:{method}", json=good)


def _refusals(caller: Caller) -> None:
    for path in ("/v1beta/files/nothing", "/v1beta/batches/nothing"):
        caller.call("GET", path)
        caller.call("DELETE", path)
    caller.call("POST", "/v1beta/batches/nothing:cancel")
    caller.call("POST", f"{MODEL}:batchGenerateContent", json={"batch": {"display_name": "empty"}})
    unknown_file = {"display_name": "night", "input_config": {"file_name": "files/nothing"}}
    caller.call("POST", f"{MODEL}:batchGenerateContent", json={"batch": unknown_file})
    given = {"batch": {"display_name": "night", "input_config": {"requests": {"requests": [{"request": request()}]}}}}
    for method, body in (("batchGenerateContent", given), ("generateContent", request())):
        caller.call("POST", f"/v1beta/models/no-such-model:{method}", json=body)
    caller.call("GET", "/v1beta/files", headers=BAD_KEYS["gemini"])


def drive_expiry(caller: Caller) -> None:
    """The fake's batches must take far longer than two days."""
    batches = from_file(caller, lines()), inline(caller)
    caller.fake.advance(seconds=47 * HOUR)
    for batch in batches:
        look(caller, batch, after_s=HOUR)
