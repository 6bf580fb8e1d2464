"""Bring the fake's Anthropic into every state of the table."""

from __future__ import annotations

from typing import Any

from tests.fidelity.calls import BAD_KEYS, Caller

BATCHES = "/v1/messages/batches"
FILES = "/v1/files"
TOOL = {"name": "note", "input_schema": {"type": "object", "properties": {"text": {"type": "string"}}}}
THINKING = {"max_tokens": 2000, "thinking": {"type": "enabled", "budget_tokens": 1024}}
HOUR = 3600.0


def request(name: str, **params: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": "Two words about snow"}]
    return {
        "custom_id": name,
        "params": {"model": "claude-haiku-4-5", "max_tokens": 99, "messages": messages, **params},
    }


def create(caller: Caller, *requests: object) -> str:
    return str(caller.call("POST", BATCHES, json={"requests": requests})["id"])


def look(caller: Caller, batch_id: str, *, after_s: float = 0) -> None:
    """The batch some time later, and its results if there are any."""
    caller.fake.advance(seconds=after_s)
    batch = caller.call("GET", f"{BATCHES}/{batch_id}")
    if batch["results_url"]:
        caller.call("GET", batch["results_url"])


def drive(caller: Caller) -> None:
    """The fake's batches must take 1000 seconds."""
    tool = {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "note"}}
    bad = (request("c", model="no-such-model"), request("d", top_q=1))
    ended = create(caller, request("a"), request("b", **tool), *bad, request("e", **THINKING))
    look(caller, ended)
    caller.call("GET", f"{BATCHES}/{ended}/results")
    look(caller, ended, after_s=1000)
    canceled = create(caller, request("a"), request("b"))
    caller.call("POST", f"{BATCHES}/{canceled}/cancel")
    look(caller, canceled)
    caller.call("GET", BATCHES)
    look(caller, canceled, after_s=1000)
    caller.call("GET", BATCHES, params={"limit": 1, "after_id": canceled})
    caller.call("GET", BATCHES, params={"limit": 1, "before_id": ended})
    caller.call("DELETE", f"{BATCHES}/{canceled}")
    _refusals(caller)
    for params in ({}, tool, THINKING, {"top_q": 1}, {"model": "no-such-model"}):
        caller.call("POST", "/v1/messages", json=request("a", **params)["params"])
    _files(caller)
    look(caller, ended, after_s=29 * 24 * HOUR)
    caller.call("GET", BATCHES)


def _files(caller: Caller) -> None:
    """A file that can be referred to, and one that can be downloaded for an hour."""
    lifetime = {"expires_in_seconds": "3600"}
    plain = caller.call("POST", FILES, files={"file": ("a.txt", b"About snow.")})["id"]
    made = caller.call("POST", FILES, files={"file": ("generated-b.txt", b"About ice.")}, data=lifetime)["id"]
    caller.call("GET", FILES)
    caller.call("GET", FILES, params={"limit": 1})
    caller.call("GET", f"{FILES}/{plain}")
    caller.call("GET", f"{FILES}/{plain}/content")
    caller.fake.advance(seconds=HOUR)
    caller.call("GET", f"{FILES}/{made}/content")
    caller.call("DELETE", f"{FILES}/{plain}")
    caller.call("DELETE", f"{FILES}/{plain}")
    caller.call("GET", f"{FILES}/{plain}")
    caller.call("POST", FILES)
    caller.call("GET", FILES, params={"limit": 0})


def _refusals(caller: Caller) -> None:
    caller.call("POST", BATCHES, json={"requests": []})
    caller.call("POST", BATCHES, json={"requests": [request("a"), request("a")]})
    for method, path in (("GET", "/x"), ("GET", "/x/results"), ("POST", "/x/cancel"), ("DELETE", "/x")):
        caller.call(method, BATCHES + path)
    caller.call("GET", BATCHES, params={"limit": 0})
    caller.call("GET", BATCHES, without="anthropic-version")
    caller.call("GET", BATCHES, headers=BAD_KEYS["anthropic"])
    caller.call("POST", BATCHES, headers=BAD_KEYS["anthropic"], json={"requests": [request("a")]})


def drive_expiry(caller: Caller) -> None:
    """The fake's batches must take far longer than a day, so that some are cut off in the middle."""
    batch_id = create(caller, *(request(f"a{number}") for number in range(40)))
    look(caller, batch_id, after_s=25 * HOUR)
