"""The fake in a process of its own: one batch of many requests, from its create to the last byte of its results."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx2

from tests.benchmarks.running import Figures as Measured
from tests.benchmarks.running import Record, Subject, child, compare

# What a service takes in one batch (count); Gemini takes as many as we like.
MOST = {"openai": 50_000, "anthropic": 100_000, "gemini": 100_000}

_SERVE = """
import sys
from pathlib import Path
from batchfast.fake import FakeServer
with FakeServer(Path(sys.argv[1]), batch_seconds=0) as fake:
    print(fake.url, flush=True)
    sys.stdin.readline()
status = Path("/proc/self/status")
print(status.read_text().split("VmHWM:")[1].split()[0] if status.is_file() else "nan")
"""
_HEADERS = {
    "authorization": "Bearer any", "x-api-key": "any", "x-goog-api-key": "any", "anthropic-version": "2023-06-01",
}  # fmt: skip
_CHAT = "/v1/chat/completions"
_SCHEMA = {
    "type": "object",
    "properties": {"texts": {"type": "array", "items": {"type": "string"}}},
    "required": ["texts"],
    "additionalProperties": False,
}


class Figures(NamedTuple):
    """Seconds to take the batch in, to answer it and to hand the results over; their size, and the server's peak."""

    create_s: float
    answer_s: float
    download_s: float
    results_mb: float
    peak_mb: float


class _Way(NamedTuple):
    """
    How a batch goes through a service.

    Args:
        create: Sends so many requests. Returns the batch's path.
        results: Waits for a batch to be answered, which its first look does. Returns where its results are.
    """

    create: Callable[[httpx2.Client, int], str]
    results: Callable[[httpx2.Client, str, int], str]


def benchmark(service: str, rows: int, runs: int, folder: Path) -> list[Record]:
    """A batch through the fake, for each service; the peak is the server's."""
    subject = Subject("batch", lambda _, __: child("fake", "figures", {"service": service, "rows": rows}))
    return compare("fake", service, rows, [subject], runs, folder)


def figures(service: str, rows: int) -> Measured:
    """As other benchmarks give theirs."""
    found = measure(rows, service)
    seconds = found.create_s + found.answer_s + found.download_s
    parts = {name: value for name, value in found._asdict().items() if name.endswith("_s")}
    return {"seconds": seconds, "peak_mb": found.peak_mb, "bytes": round(found.results_mb * 1e6)} | parts


def measure(requests: int, service: str = "anthropic") -> Figures:
    """Send a batch of so many requests to the fake, of about 600 bytes (Gemini's: 120), and read what it answers."""
    way = WAYS[service]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", _SERVE, folder]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            url = server.stdout.readline().strip()
            with httpx2.Client(base_url=url, headers=_HEADERS, timeout=600) as http:
                start = time.perf_counter()
                batch = way.create(http, requests)
                created = time.perf_counter()
                results = way.results(http, batch, requests)
                answered = time.perf_counter()
                size = _size(http, results)
                read = time.perf_counter()
            peak = server.communicate("stop\n")[0]
    times = created - start, answered - created, read - answered
    return Figures(*times, size / 1e6, float(peak) / 1024)


def _prompt(index: int) -> str:
    return f"Generate 2 sections of a textbook in English about topic {index}, for readers who know the field. " * 3


def _size(http: httpx2.Client, path: str) -> int:
    with http.stream("GET", path) as response:
        assert response.status_code == 200
        return sum(len(chunk) for chunk in response.iter_bytes())


# Anthropic: all requests in one body


def _anthropic_create(http: httpx2.Client, requests: int) -> str:
    def body() -> Iterator[bytes]:
        yield b'{"requests":['
        for index in range(requests):
            yield (b"," if index else b"") + json.dumps(_anthropic_request(index)).encode()
        yield b"]}"

    json_type = {"content-type": "application/json"}
    created = http.post("/anthropic/v1/messages/batches", headers=json_type, content=body())
    return f"/anthropic/v1/messages/batches/{created.json()['id']}"


def _anthropic_request(index: int) -> dict[str, Any]:
    params = {
        "model": "claude-haiku-4-5",
        "max_tokens": 2000,
        "messages": [{"role": "user", "content": _prompt(index)}],
        "output_config": {"format": {"type": "json_schema", "schema": _SCHEMA}},
    }
    return {"custom_id": f"r{index}", "params": params}


def _anthropic_results(http: httpx2.Client, batch: str, requests: int) -> str:
    assert http.get(batch).json()["request_counts"]["succeeded"] == requests
    return f"{batch}/results"


# OpenAI: a file of lines


def _openai_create(http: httpx2.Client, requests: int) -> str:
    with tempfile.TemporaryFile() as file:
        for index in range(requests):
            file.write(json.dumps(_openai_request(index)).encode() + b"\n")
        file.seek(0)
        uploaded = http.post("/openai/v1/files", data={"purpose": "batch"}, files={"file": ("in.jsonl", file)})
    given = {"input_file_id": uploaded.json()["id"], "endpoint": _CHAT, "completion_window": "24h"}
    return f"/openai/v1/batches/{http.post('/openai/v1/batches', json=given).json()['id']}"


def _openai_request(index: int) -> dict[str, Any]:
    given = {"name": "texts", "strict": True, "schema": _SCHEMA}
    body = {
        "model": "gpt-4.1-mini",
        "messages": [{"role": "user", "content": _prompt(index)}],
        "response_format": {"type": "json_schema", "json_schema": given},
    }
    return {"custom_id": f"r{index}", "method": "POST", "url": _CHAT, "body": body}


def _openai_results(http: httpx2.Client, batch: str, requests: int) -> str:
    found = http.get(batch).json()
    assert found["request_counts"]["completed"] == requests
    return f"/openai/v1/files/{found['output_file_id']}/content"


# Gemini: inline, where the operation itself holds the results, twice


def _gemini_create(http: httpx2.Client, requests: int) -> str:
    inline = [
        {
            "request": {"contents": [{"parts": [{"text": f"Write about topic {index}."}]}]},
            "metadata": {"key": f"r{index}"},
        }
        for index in range(requests)
    ]
    given = {"batch": {"input_config": {"requests": {"requests": inline}}}}
    created = http.post("/gemini/v1beta/models/gemini-2.5-flash:batchGenerateContent", json=given)
    return f"/gemini/v1beta/{created.json()['name']}"


def _gemini_results(http: httpx2.Client, batch: str, requests: int) -> str:
    assert _size(http, batch) > requests
    return batch


WAYS = {
    "anthropic": _Way(_anthropic_create, _anthropic_results),
    "openai": _Way(_openai_create, _openai_results),
    "gemini": _Way(_gemini_create, _gemini_results),
}
