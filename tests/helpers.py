"""Small makers that several tests share."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from batchfast.context import Context
from batchfast.fake import FakeServer
from batchfast.home import Home
from batchfast.llms import AnthropicProvider, GeminiProvider, OpenAIProvider, Provider
from batchfast.schema.config import RawDatasetConfig
from batchfast.session import Session
from batchfast.spec import Conduct, Spec
from batchfast.store import ShardRow
from batchfast.submit import begin, conclude, upload_of

MODELS = {"openai": "gpt-4.1-mini", "anthropic": "claude-haiku-4-5", "gemini": "gemini-2.5-flash"}


class FakeClock:
    """Time that passes only when someone sleeps; the fake's time goes with it."""

    def __init__(self, fake: FakeServer, start: float | None = None) -> None:
        self._fake = fake
        self.start = self.time = time.time() if start is None else start
        self.slept: list[float] = []

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        self.time += seconds
        if seconds > 0:
            self._fake.advance(seconds=seconds)


def provider(name: str = "openai", **settings: Any) -> Provider:
    kind = {"openai": OpenAIProvider, "anthropic": AnthropicProvider, "gemini": GeminiProvider}[name]
    return kind(settings.pop("model_id", MODELS[name]), **settings)


def config(topics: int = 3, **fields: Any) -> RawDatasetConfig:
    values: dict[str, Any] = {
        "document_types": ["essay"],
        "topics": [f"topic {number}" for number in range(topics)],
        "num_samples_per_prompt": 2,
        "output_file": "out.jsonl",
    }
    return RawDatasetConfig(**values | fields)


def spec(*providers: Provider, topics: int = 3, conduct: Conduct | None = None, **fields: Any) -> Spec:
    return Spec.of(config(topics, **fields), list(providers) or [provider()], conduct)


def session(
    fake: FakeServer, folder: Path, clock: FakeClock | None = None, executor: Executor | None = None
) -> Session:
    return Session(Home(folder / ".batchfast"), clock=clock or FakeClock(fake), fake_server=fake, executor=executor)


def send(ctx: Context, row: ShardRow) -> bool:
    """One waiting shard, from its intent to the outcome of its create; False as `begin` and `conclude` return it."""
    return begin(ctx, row) and conclude(ctx, row, upload_of(ctx, row))


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line]


def uploading() -> list[threading.Thread]:
    """Uploads that are under way, or that nobody waits for any more."""
    return [thread for thread in threading.enumerate() if thread.name == "batchfast-upload"]


def uploads_end() -> None:
    """Wait for those that were left behind, so that what comes next is the same each time."""
    for thread in uploading():
        thread.join(60)
        assert not thread.is_alive()


def powerless(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A command line in a process that the permissions of files bind, also where root runs the tests."""
    setpriv: list[str] = []
    if os.geteuid() == 0:
        if not shutil.which("setpriv"):
            pytest.skip("permissions do not bind root, and there is no setpriv to give that up")
        setpriv = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
    line = [*setpriv, sys.executable, "-m", "batchfast", *words]
    return subprocess.run(line, cwd=folder, capture_output=True, text=True)


@contextmanager
def unwritable(folder: Path) -> Iterator[None]:
    """For the length of the block."""
    folder.chmod(0o500)
    try:
        yield
    finally:
        folder.chmod(0o700)
