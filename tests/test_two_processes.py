"""Several real processes on one run: one works, the others say who does, and nobody pays for a batch twice."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path

import pytest

from batchfast.fake import FakeServer, Fault
from tests.helpers import read

SPEC = """
[dataset]
document_types = ["essay"]
topics = ["Tides", "Vacuum", "Bread"]
num_samples_per_prompt = 1
output_file = "out.jsonl"

[[providers]]
provider = "openai"
model_id = "gpt-4.1-mini"
max_requests_per_batch = {most}
"""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(server: FakeServer, tmp_path: Path) -> Iterator[Start]:
    """Starts batchfast in the test's folder, against the slow fake; what still runs at the end is killed."""
    (tmp_path / "spec.toml").write_text(SPEC.format(most=2))
    started: list[subprocess.Popen[str]] = []

    def start_one(*words: str, **env: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "batchfast", *words]
        started.append(
            subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | server.env | env
            )
        )
        return started[-1]

    yield start_one
    for process in started:
        process.kill()
        process.communicate()


@contextmanager
def ends(*processes: subprocess.Popen[str]) -> Iterator[dict[Future[str], subprocess.Popen[str]]]:
    """What each process says on stderr until it ends; a test that fails does not wait for it."""
    with ThreadPoolExecutor(len(processes)) as pool:
        try:
            yield {pool.submit(_stderr_of, process): process for process in processes}
        except BaseException:
            for process in processes:
                process.kill()
            raise


def _stderr_of(process: subprocess.Popen[str]) -> str:
    return process.communicate()[1]


def until_sent(process: subprocess.Popen[str], batches: int) -> None:
    assert process.stderr is not None
    seen = 0
    for line in process.stderr:
        seen += "sent as" in line
        if seen == batches:
            return
    raise AssertionError("it ended before that")


@pytest.mark.parametrize("option", [(), ("--fake",)])
def test_of_two_processes_started_at_once_one_works(
    server: FakeServer, start: Start, tmp_path: Path, option: tuple[str, ...]
) -> None:
    """The other exits with 3 and names process, host and since when; two batches are accepted, also of two fakes."""
    pair = [start("run", "spec.toml", *option, BATCHFAST_FAKE_SECONDS="1000") for _ in range(2)]
    with ends(*pair) as said:
        (first,), (second,) = wait(said, timeout=120, return_when=FIRST_COMPLETED)
        loser, winner = said[first], said[second]
        assert loser.returncode == 3
        named = re.escape(f"is being worked on by process {winner.pid} on {socket.gethostname()} since ")
        assert re.search(named + r"\d{4}-\d\d-\d\dT[\d:.]+Z", first.result())
        with FakeServer(tmp_path / ".batchfast" / "fake") as own:
            used = own if option else server
            while len(used.batches("openai")) < 2:
                assert not second.done()
            used.finish_all()
            second.result(timeout=120)
            assert len(used.batches("openai")) == 2
    assert winner.returncode == 0
    assert len(read(tmp_path / "out.jsonl")) == 3


def test_a_dead_holder_is_noticed(server: FakeServer, start: Start, tmp_path: Path) -> None:
    """Killed while it waits: its name is still there, and the next process works as if it were not."""
    killed = start("run", "spec.toml", "-v")
    until_sent(killed, 2)
    killed.kill()
    killed.wait()
    (holder,) = (tmp_path / ".batchfast" / "runs").glob("*.holder.json")
    assert json.loads(holder.read_bytes())["pid"] == killed.pid
    server.finish_all()
    again = start("run", "spec.toml", "-v")
    assert "sent as" not in again.communicate()[1]
    assert again.returncode == 0
    assert len(server.batches("openai")) == 2
    assert len(read(tmp_path / "out.jsonl")) == 3
    assert not holder.exists()


def test_a_run_that_is_driven_obeys_two_cancels_at_once(server: FakeServer, start: Start, tmp_path: Path) -> None:
    """Two of three batches run, one waits: both cancels say so, nothing more is sent, and what was answered is kept."""
    (tmp_path / "spec.toml").write_text(SPEC.format(most=1))
    server.plan(Fault("status", "openai", "create", nth=3, status=429, retry_after=3000))
    driving = start("run", "spec.toml", "-v")
    until_sent(driving, 2)
    server.finish(server.batches("openai")[0])
    cancels = [start("cancel", "latest") for _ in range(2)]
    for cancel in cancels:
        assert "cancel was asked for" in cancel.communicate()[1]
        assert cancel.returncode == 0
    server.advance(hours=1)
    said = driving.communicate(timeout=120)[1]
    assert driving.returncode == 0, said
    assert "sent as" not in said
    assert len(server.batches("openai")) == 2
    assert len(read(tmp_path / "out.jsonl")) == 1
    assert [line["outcome"] for line in read(tmp_path / "out.failures.jsonl")] == ["cancelled"] * 2
