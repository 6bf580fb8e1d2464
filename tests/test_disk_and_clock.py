"""A full disk, an output folder that cannot be written, a clock that jumps: one clear line, no loss, and a way on."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from batchfast.cli import execute
from batchfast.fake import FakeServer, Fault
from batchfast.llms import PROVIDERS
from tests.helpers import MODELS, FakeClock, provider, session, spec

DAY = 86_400
SPEC = """
[dataset]
document_types = ["essay"]
topics = ["Tides", "Vacuum", "Bread"]
num_samples_per_prompt = 1
output_file = "out/rows.jsonl"

[run]
max_attempts = 2

[[providers]]
provider = "{name}"
model_id = "{model}"
max_requests_per_batch = 2
"""
# What is being written, by its folder and a part of its name: the first needs no batch yet, the last all of them.
WRITES = {
    "request file": ("requests", "-0-1.jsonl"),
    "request file of the second try": ("requests", "-2.jsonl"),
    "raw results": ("results", ".output.jsonl"),
    "failures": ("out", "rows.failures.jsonl"),
    "dataset": ("out", "rows.jsonl"),
}


class Full(io.FileIO):
    """A file on a disk without room."""

    def write(self, data: Any) -> int:
        del data
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextmanager
def broken(folder: str, name: str, opens: Callable[[Path], Any]) -> Iterator[None]:
    """Until the end of the block, files of that folder and name are opened for writing by `opens`."""
    original = Path.open

    def open_(path: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if mode == "wb" and path.parent.name == folder and name in path.name:
            return opens(path)
        return original(path, mode, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "open", open_)
        yield


def full(path: Path) -> io.FileIO:
    return Full(path, "wb")


def read_only(path: Path) -> io.FileIO:
    raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))


@pytest.fixture
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Makes a folder with a spec, and goes there; one of its requests fails at first, another for good."""
    monkeypatch.setenv("BATCHFAST_FAKE_SECONDS", "0")

    def go(name: str, folder: str) -> None:
        (tmp_path / folder).mkdir()
        monkeypatch.chdir(tmp_path / folder)
        Path("spec.toml").write_text(SPEC.format(name=name, model=MODELS[name]))
        with FakeServer(Path(".batchfast/fake")) as fake:
            fake.plan(Fault("error", custom_id="-1-1$", status=500), Fault("error", custom_id="-2-", status=400))

    return go


def files() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path("out").iterdir()}


@pytest.mark.parametrize(
    "name", ["openai", *(pytest.param(one, marks=pytest.mark.slow) for one in MODELS if one != "openai")]
)
@pytest.mark.parametrize("what", sorted(WRITES))
def test_a_full_disk_loses_nothing(
    at_home: Callable[[str, str], None], capsys: pytest.CaptureFixture[str], name: str, what: str
) -> None:
    """Exit 1 and one line; once there is room the same command finishes: the same bytes, nothing paid twice."""
    at_home(name, "quiet")
    assert execute(["run", "spec.toml", "--fake"]) == 0
    expected = files()
    assert sorted(expected) == ["rows.failures.jsonl", "rows.jsonl"]
    at_home(name, "full")
    capsys.readouterr()
    with broken(*WRITES[what], full):
        assert execute(["run", "spec.toml", "--fake"]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert list(Path().rglob("*.part")) == []
    assert said == "batchfast: No space left on device; free space and run the same command again: nothing is lost"
    assert execute(["run", "spec.toml", "--fake"]) == 0
    assert files() == expected
    with FakeServer(Path(".batchfast/fake")) as fake:
        assert len(fake.batches(name)) == 3


def test_an_output_folder_that_became_read_only_loses_nothing(
    at_home: Callable[[str, str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """The line names the file and what to do; the same command then writes it, and asks no provider for anything."""
    at_home("openai", "here")
    with broken("out", "rows.jsonl", read_only):
        assert execute(["run", "spec.toml", "--fake"]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert "cannot write" in said
    assert "rows.jsonl: Read-only file system; choose another place with output_file or -o" in said
    assert execute(["run", "spec.toml", "--fake"]) == 0
    assert sorted(files()) == ["rows.failures.jsonl", "rows.jsonl"]
    with FakeServer(Path(".batchfast/fake")) as fake:
        assert len(fake.batches("openai")) == 3


@pytest.mark.parametrize("name", sorted(MODELS))
@pytest.mark.parametrize("shift", [-DAY, DAY])
@pytest.mark.parametrize("during", ["newest", "upload", "create", "find", "poll", "download"])
def test_a_clock_that_jumps_by_a_day_changes_nothing(
    fake: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, shift: int, during: str
) -> None:
    """In each phase, back or forward: two batches, every answer, and no wait of hours."""
    fake.plan(Fault("lose", name, "create", nth=1))  # so that it is looked for
    clock = FakeClock(fake)
    kind, shifts = PROVIDERS[name], [shift]
    original = getattr(kind, during)

    def jumps(*args: Any) -> Any:
        result = original(*args)
        clock.time += shifts.pop() if shifts else 0
        return result

    monkeypatch.setattr(kind, during, jumps)
    with session(fake, tmp_path, clock) as home:
        wanted = spec(provider(name, max_requests_per_batch=2), output_file=str(tmp_path / "out.jsonl"))
        run, _ = home.enter(wanted, fake=True)
        with home.work(run) as engine:
            progress = engine.drive()
    assert shifts == []
    assert (progress.settled, progress.ledger.succeeded, len(fake.batches(name))) == (True, 3, 2)
    assert sum(clock.slept) < 3_600
