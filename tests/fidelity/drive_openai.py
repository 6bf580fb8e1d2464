"""Bring the fake's OpenAI into every state of the table."""

from __future__ import annotations

from typing import Any

from tests.fidelity.calls import BAD_KEYS, Caller, jsonl

CHAT, RESPONSES, EMBEDDINGS = "/v1/chat/completions", "/v1/responses", "/v1/embeddings"
MESSAGES = [{"role": "user", "content": "Two words about snow"}]
# What a function may be called with, and the function as each endpoint writes it.
_NOTE = {"name": "note", "parameters": {"type": "object", "properties": {"text": {"type": "string"}}}}
CALLS: dict[str, list[dict[str, Any]]] = {
    CHAT: [
        {"tools": [{"type": "function", "function": _NOTE}], "tool_choice": choice}
        for choice in ("required", {"type": "function", "function": {"name": "note"}})
    ],
    RESPONSES: [{"tools": [{"type": "function", **_NOTE}], "tool_choice": "required"}],
}
HOUR = 3600.0


def request(name: str, endpoint: str = CHAT, **body: Any) -> dict[str, Any]:
    asked = {"messages": MESSAGES} if endpoint == CHAT else {"input": "Two words about snow"}
    model = "text-embedding-3-small" if endpoint == EMBEDDINGS else "gpt-4.1-mini"
    body = {"model": model, **asked, **body}
    return {"custom_id": name, "method": "POST", "url": endpoint, "body": body}


def drive(caller: Caller) -> None:
    """The fake's batches must take 1000 seconds."""
    _files(caller)
    _whole_lives(caller)
    _short_lives(caller)
    _refusals(caller)
    _live(caller)


def upload(caller: Caller, *lines: object, purpose: str = "batch") -> str:
    files = {"file": ("in.jsonl", jsonl(*lines))}
    return str(caller.call("POST", "/files", data={"purpose": purpose}, files=files)["id"])


def create(caller: Caller, *lines: object, endpoint: str = CHAT, **options: Any) -> str:
    given = {"input_file_id": upload(caller, *lines), "endpoint": endpoint, "completion_window": "24h", **options}
    return str(caller.call("POST", "/batches", json=given)["id"])


def look(caller: Caller, batch_id: str, *, after_s: float = 0) -> dict[str, Any]:
    """The batch some time later, and whatever files it has by then."""
    caller.fake.advance(seconds=after_s)
    batch: dict[str, Any] = caller.call("GET", f"/batches/{batch_id}")
    for file_id in filter(None, (batch["output_file_id"], batch["error_file_id"])):
        caller.call("GET", f"/files/{file_id}")
        caller.call("GET", f"/files/{file_id}/content")
    return batch


def _files(caller: Caller) -> None:
    batch_file, other_file = upload(caller, request("a")), upload(caller, request("a"), purpose="user_data")
    for file_id in (batch_file, other_file):
        caller.call("GET", f"/files/{file_id}")
    caller.call("GET", f"/files/{batch_file}/content")
    caller.call("GET", "/files")
    caller.call("DELETE", f"/files/{other_file}")


def _whole_lives(caller: Caller) -> None:
    batch_id = create(caller, request("a"), request("b", n=2), request("c", max_output_tokens=5), metadata={"run": "7"})
    look(caller, batch_id)
    for seconds in (60, 440, 470, 40):  # the model is known, in progress, finalizing, completed
        look(caller, batch_id, after_s=seconds)
    for endpoint, cut in ((RESPONSES, {"max_output_tokens": 1}), (EMBEDDINGS, {"dimensions": 8})):
        calls = (request(f"c{number}", endpoint, **body) for number, body in enumerate(CALLS.get(endpoint, ())))
        lines = (request("a", endpoint), request("b", endpoint, **cut), *calls)
        look(caller, create(caller, *lines, endpoint=endpoint), after_s=1000)
    batch_id = create(caller, request("a", model="no-such-model"))
    look(caller, batch_id, after_s=1000)
    caller.call("GET", "/batches")


def _short_lives(caller: Caller) -> None:
    cancelled_early = create(caller, request("a"))
    caller.call("POST", f"/batches/{cancelled_early}/cancel")
    look(caller, cancelled_early, after_s=10)
    look(caller, cancelled_early, after_s=2 * HOUR)
    cancelled_midway = create(caller, *(request(f"a{number}") for number in range(4)))
    look(caller, cancelled_midway, after_s=500)
    caller.call("POST", f"/batches/{cancelled_midway}/cancel")
    look(caller, cancelled_midway, after_s=10)
    look(caller, cancelled_midway, after_s=2 * HOUR)
    for lines in (
        ("no request", {"custom_id": "a"}),
        (request("a"), request("a"), request("b", model="gpt-5"), request("c", RESPONSES)),
        (),
    ):
        look(caller, create(caller, *lines), after_s=1000)
    caller.call("GET", "/batches", params={"limit": 2})


def _refusals(caller: Caller) -> None:
    caller.call("POST", "/files", data={"purpose": "world_domination"}, files={"file": ("in.jsonl", b"{}")})
    for method, path in (("GET", "/files/x"), ("DELETE", "/files/x"), ("GET", "/files/x/content")):
        caller.call(method, path)
    caller.call("POST", "/files", data={"purpose": "batch"}, files={"file": ("in.txt", b"{}")})
    other_file = upload(caller, request("a"), purpose="user_data")
    for given in (
        {"endpoint": CHAT, "completion_window": "24h"},
        {"endpoint": "/v1/poems", "completion_window": "24h", "input_file_id": other_file},
        {"endpoint": CHAT, "completion_window": "7d", "input_file_id": other_file},
        {"endpoint": CHAT, "completion_window": "24h", "input_file_id": other_file},
    ):
        caller.call("POST", "/batches", json=given)
    caller.call("GET", "/batches", params={"limit": 0})
    caller.call("GET", "/batches/batch_x")
    caller.call("POST", "/batches/batch_x/cancel")
    ended = create(caller, request("a"))
    look(caller, ended, after_s=1000)
    caller.call("POST", f"/batches/{ended}/cancel")
    for path in ("/batches", "/files"):
        caller.call("GET", path, headers=BAD_KEYS["openai"])


def _live(caller: Caller) -> None:
    for body in ({}, {"stream": True}, {"model": "no-such-model"}, {"tool_choice": "required"}, *CALLS[CHAT]):
        caller.call("POST", "/chat/completions", json=request("a", **body)["body"])
    for body in ({}, {"max_output_tokens": 1}, {"stream": True}, *CALLS[RESPONSES]):
        caller.call("POST", "/responses", json=request("a", RESPONSES, **body)["body"])
    for body in ({}, {"encoding_format": "base64"}, {"input": []}):
        caller.call("POST", "/embeddings", json=request("a", EMBEDDINGS, **body)["body"])


def drive_expiry(caller: Caller) -> None:
    """The fake's batches must take far longer than a day, so that some are cut off in the middle."""
    batch_id = create(caller, *(request(f"a{number}") for number in range(40)))
    look(caller, batch_id, after_s=20 * HOUR)
    look(caller, batch_id, after_s=5 * HOUR)
