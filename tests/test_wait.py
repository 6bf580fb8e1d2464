"""Two processes on one run: the second says who holds it, and waits where it is asked to."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from batchfast.cli import execute
from batchfast.errors import RunBusy
from batchfast.fake import FakeServer
from batchfast.home import Home
from batchfast.lock import run_lock
from batchfast.session import Session
from batchfast.spec import load_spec
from tests.helpers import FakeClock, session, spec

SPEC = """
[dataset]
document_types = ["essay"]
topics = ["Tides", "Vacuum"]
output_file = "out.jsonl"

[[providers]]
provider = "openai"
model_id = "gpt-4.1-mini"
"""
COMMANDS = ["submit spec.toml", "run spec.toml", "watch", "collect", "retry"]


class Releasing(FakeClock):
    """A clock of which the third sleep is the moment when the other process lets go."""

    def __init__(self, fake: FakeServer, other: ExitStack) -> None:
        super().__init__(fake)
        self._other = other

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        if len(self.slept) == 3:
            self._other.close()


@pytest.fixture
def waiting_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Home, str]:
    """A run of which one shard waits, and nobody works on it."""
    monkeypatch.setenv("BATCHFAST_FAKE_SECONDS", "0")
    (tmp_path / "spec.toml").write_text(SPEC, encoding="utf-8")
    monkeypatch.setenv("BATCHFAST_FAKE", "1")
    with Session(Home(tmp_path / ".batchfast")) as home:
        run, _ = home.enter(load_spec(tmp_path / "spec.toml"), fake=True)
        return home.home, run.id


def test_it_waits_until_the_run_is_released_and_says_once_who_holds_it(fake: FakeServer, tmp_path: Path) -> None:
    """Pid, host and since when; the run is then as its holder left it."""
    said: list[str] = []
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(), fake=True)
        other = ExitStack()
        other.enter_context(run_lock(home.home, run.id, home.clock))
        home.store.update_run(run.no, output_file=str(tmp_path / "elsewhere.jsonl"))
        home.clock = clock = Releasing(fake, other)
        with home.work(run, waits=said.append) as engine:
            assert engine.ctx.run.output_file == str(tmp_path / "elsewhere.jsonl")
            with pytest.raises(RunBusy), home.work(run):
                pass
    assert len(clock.slept) == 3
    (who,) = said
    holder = rf"process {os.getpid()} on {re.escape(socket.gethostname())} since \S+Z"
    assert re.fullmatch(rf"run {run.id} is being worked on by {holder}", who)


@pytest.mark.parametrize("command", COMMANDS)
def test_without_wait_it_exits_3_and_names_wait(
    waiting_run: tuple[Home, str], command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every command that works on a run says who holds it, and how to wait."""
    home, run_id = waiting_run
    with run_lock(home, run_id, SystemTime()):
        assert execute(command.split()) == 3
    err = capsys.readouterr().err
    assert f"process {os.getpid()} on {socket.gethostname()} since 1970-01-01T00:00:00.000Z" in err
    assert "add --wait" in err


@pytest.mark.parametrize("command", COMMANDS)
def test_with_wait_it_goes_on_once_the_run_is_free(
    waiting_run: tuple[Home, str], command: str, started: Callable[[str], subprocess.Popen[str]]
) -> None:
    """What it does is what it does on a run that nobody holds."""
    home, run_id = waiting_run
    with run_lock(home, run_id, SystemTime()):
        process = started(command)
        _until_it_waits(process)
        assert process.poll() is None
    err = process.communicate()[1]
    assert "waiting for it" not in err
    # `retry` finds nothing that failed, `collect` may be there before the batch has ended
    assert process.returncode in {"retry": (1,), "collect": (0, 3)}.get(command, (0,)), err


def test_clean_waits_too(
    waiting_run: tuple[Home, str],
    started: Callable[[str], subprocess.Popen[str]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It works on a run that has settled, and another process may be at that as well."""
    home, run_id = waiting_run
    assert execute(["watch"]) == 0
    with run_lock(home, run_id, SystemTime()):
        assert execute(["clean"]) == 3
        assert "add --wait" in capsys.readouterr().err
        process = started("clean")
        _until_it_waits(process)
    process.communicate()
    assert process.returncode == 0


def test_clean_waits_for_a_run_that_has_not_settled(
    waiting_run: tuple[Home, str], started: Callable[[str], subprocess.Popen[str]]
) -> None:
    """Its holder may be the one that settles it: whether it has is asked afterwards."""
    home, run_id = waiting_run
    with run_lock(home, run_id, SystemTime()):
        process = started("clean")
        _until_it_waits(process)
    assert "has not settled yet" in process.communicate()[1]
    assert process.returncode == 3


@pytest.mark.skipif(os.name == "nt", reason="Windows has neither signal")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_the_wait_ends_with_ctrl_c_or_a_kill(
    waiting_run: tuple[Home, str], started: Callable[[str], subprocess.Popen[str]], number: int, code: int
) -> None:
    """130 as for every command; nothing was touched."""
    home, run_id = waiting_run
    with run_lock(home, run_id, SystemTime()):
        process = started("watch")
        _until_it_waits(process)
        process.send_signal(number)
        process.communicate()
    assert process.returncode == code


class SystemTime:
    """A clock that nobody sleeps by."""

    def now(self) -> float:
        return 0.0

    def sleep(self, seconds: float) -> None:
        raise AssertionError(seconds)


@pytest.fixture
def started(tmp_path: Path) -> Callable[[str], subprocess.Popen[str]]:
    """Starts a command with --wait in a process of its own."""

    def start(command: str) -> subprocess.Popen[str]:
        line = [sys.executable, "-m", "batchfast", *command.split(), "--wait"]
        return subprocess.Popen(line, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return start


def _until_it_waits(process: subprocess.Popen[str]) -> None:
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if "waiting for it" in line:
            assert f"process {os.getpid()} on" in line
            return
    raise AssertionError("".join(lines))
