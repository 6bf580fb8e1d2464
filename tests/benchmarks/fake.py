"""The fake in a process of its own: one batch of many requests, from its create to the last byte of its results."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import NamedTuple

import httpx2

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
_HEADERS = {"x-api-key": "any", "anthropic-version": "2023-06-01", "content-type": "application/json"}
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


def measure(requests: int) -> Figures:
    """Send a batch of so many requests of about 600 bytes to the fake, and read what it answers."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", _SERVE, folder]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            url = f"{server.stdout.readline().strip()}/anthropic/v1/messages/batches"
            start = time.perf_counter()
            batch = httpx2.post(url, headers=_HEADERS, content=_body(requests), timeout=600).json()["id"]
            created = time.perf_counter()
            counts = httpx2.get(f"{url}/{batch}", headers=_HEADERS, timeout=600).json()["request_counts"]
            assert counts["succeeded"] == requests
            answered = time.perf_counter()
            size = _size(f"{url}/{batch}/results")
            read = time.perf_counter()
            peak = server.communicate("stop\n")[0]
    times = created - start, answered - created, read - answered
    return Figures(*times, size / 1e6, float(peak) / 1024)


def _body(requests: int) -> Iterator[bytes]:
    yield b'{"requests":['
    for index in range(requests):
        yield (b"," if index else b"") + json.dumps(_request(index)).encode()
    yield b"]}"


def _request(index: int) -> dict[str, object]:
    prompt = f"Generate 2 sections of a textbook in English about topic {index}, for readers who know the field. " * 3
    return {
        "custom_id": f"r{index}",
        "params": {
            "model": "claude-haiku-4-5",
            "max_tokens": 2000,
            "messages": [{"role": "user", "content": prompt}],
            "output_config": {"format": {"type": "json_schema", "schema": _SCHEMA}},
        },
    }


def _size(url: str) -> int:
    with httpx2.stream("GET", url, headers=_HEADERS, timeout=600) as response:
        return sum(len(chunk) for chunk in response.iter_bytes())
