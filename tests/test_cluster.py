"""A real Dask cluster of two worker processes, on loopback: the same bytes, and one clear line for what is wrong."""

from __future__ import annotations

import operator
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from distributed import Client, LocalCluster

import batchfast
from batchfast import cluster, export, parallel, workers
from batchfast.answers import Answers
from batchfast.cli import execute
from batchfast.cluster import DaskCluster
from batchfast.errors import ConfigError, ExecutorError
from batchfast.parallel import compile_run
from tests.helpers import provider, spec

SPEC = """
[dataset]
document_types = ["essay", "letter"]
topics = ["Tides", "Vacuum", "Half a café"]
num_samples_per_prompt = 2
output_file = "out.jsonl"

[[providers]]
provider = "openai"
model_id = "gpt-4.1-mini"
max_requests_per_batch = 2

[[providers]]
provider = "gemini"
model_id = "gemini-2.5-flash"
max_requests_per_batch = 4
"""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with _cluster(2) as dask:
        yield _address(dask)


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of any size are worth a cluster."""
    monkeypatch.setattr(workers, "_WORTH_PROCESSES", {"write requests": 1, "read answers": 1})


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_PATIENCE_S", 0.2)


def _cluster(processes: int) -> LocalCluster:
    return LocalCluster(
        n_workers=processes, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0", silence_logs=50
    )


def _address(dask: LocalCluster) -> str:
    return str(dask.scheduler_address).removeprefix("tcp://")


@pytest.fixture
def spec_file(tmp_path: Path) -> Callable[[str], Path]:
    """A spec in a new folder, and so with a home of its own."""

    def write(folder: str) -> Path:
        path = tmp_path / folder / "spec.toml"
        path.parent.mkdir()
        path.write_text(SPEC, encoding="utf-8")
        return path

    return write


@pytest.mark.usefixtures("large")
def test_a_cluster_writes_what_one_process_writes(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plans in the same order, files with the same bytes, nothing left beside them, and none of it made here."""
    models = [provider(name, max_requests_per_batch=150) for name in ("anthropic", "gemini", "openai")]
    wanted = spec(*models, topics=499)
    alone = list(compile_run(wanted.snapshot, wanted.providers, "run", tmp_path / "alone"))
    monkeypatch.delattr(parallel, "compile_shards")
    folder = tmp_path / "together"
    folder.mkdir()
    place = DaskCluster(address, folder)
    assert list(compile_run(wanted.snapshot, wanted.providers, "run", folder, executor=place)) == alone
    for path in (tmp_path / "alone").iterdir():
        assert (folder / path.name).read_bytes() == path.read_bytes()
    assert len(list(folder.iterdir())) == len(alone)


@pytest.mark.usefixtures("large")
def test_from_submit_to_the_dataset_on_a_cluster(
    address: str, spec_file: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Submitted, collected, and made anew with it: the dataset is that of one process."""
    monkeypatch.setenv("BATCHFAST_FAKE_SECONDS", "0")
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    alone, together = spec_file("alone"), spec_file("together")
    on_it = ("--executor", f"dask://{address}")
    home = ("--home", str(together.parent / ".batchfast"))
    assert execute(["run", str(alone), "--fake"]) == 0
    monkeypatch.delattr(export, "rows_of")  # nothing is read or written here
    assert execute(["submit", str(together), "--fake", *on_it]) == 0
    with monkeypatch.context() as patch:
        patch.delattr(Answers, "read")
        assert execute(["collect", *home, *on_it]) == 0
    wanted = (alone.parent / "out.jsonl").read_bytes()
    assert wanted.count(b"\n") == 24
    assert (together.parent / "out.jsonl").read_bytes() == wanted
    again = together.parent / "again.jsonl"
    assert execute(["collect", "--reparse", "-o", str(again), *home, *on_it]) == 0
    assert again.read_bytes() == wanted


@pytest.mark.usefixtures("large")
def test_compile_on_a_cluster(
    address: str, spec_file: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """For people who upload by hand: the same files as without."""
    written = spec_file("here")
    assert execute(["compile", str(written), "-o", "alone"]) == 0
    capsys.readouterr()
    assert execute(["compile", str(written), "-o", "files", "--executor", f"dask://{address}"]) == 0
    names = [Path(line).name for line in capsys.readouterr().out.splitlines()]
    assert len(names) == 5
    for name in names:
        assert (tmp_path / "files" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()


def test_a_task_runs_each_time_and_its_error_comes_through(address: str, tmp_path: Path) -> None:
    """Dask would answer an equal call from memory, which is wrong for files that change."""
    with DaskCluster(address, tmp_path).connected() as executor:
        assert executor.submit(os.urandom, 8).result() != executor.submit(os.urandom, 8).result()
        with pytest.raises(ZeroDivisionError):
            list(executor.map(operator.truediv, [1, 1], [1, 0]))


def test_a_small_run_never_asks_the_cluster(spec_file: Callable[[str], Path], tmp_path: Path) -> None:
    """Nobody listens at that address, and not even the client is imported."""
    code = (
        "import sys\nfrom batchfast.cli import execute\n"
        "assert execute(sys.argv[1:]) == 0\nassert 'distributed' not in sys.modules\n"
    )
    line = ["compile", str(spec_file("small")), "-o", "files", "--executor", f"dask://{_nobody()}"]
    subprocess.run([sys.executable, "-c", code, *line], cwd=tmp_path, check=True, capture_output=True)
    assert len(list((tmp_path / "files").iterdir())) == 5


def _nobody() -> str:
    """An address of this machine at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@pytest.mark.parametrize(
    "url", ["dask://", "dask://host", "tcp://host:1", "host:8786", "dask://host:port", "dask://a b:1"]
)
@pytest.mark.parametrize("command", ["compile", "submit", "run", "watch", "collect"])
def test_an_address_of_another_form_is_a_wrong_command_line(
    command: str, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, before anything is looked at."""
    assert execute([command, "spec.toml", "--executor", url]) == 2
    assert "dask://HOST:PORT" in capsys.readouterr().err.splitlines()[-1]


def test_without_the_extra_its_name_is_said(
    spec_file: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also for a small run, which would not need it: tomorrow's is large."""
    monkeypatch.setattr(cluster, "find_spec", lambda _: None)
    assert execute(["submit", str(spec_file("here")), "--fake", "--executor", "dask://head:8786"]) == 1
    assert capsys.readouterr().err.endswith("needs an extra: pip install 'batchfast[dask]'\n")
    with pytest.raises(ConfigError):
        cluster.scheduler_of("dask://[::1]:8786")


@pytest.mark.usefixtures("large", "impatient")
def test_no_scheduler(spec_file: Callable[[str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    """One line, exit code 1, no run; and without the cluster the same spec is sent as ever."""
    written = spec_file("here")
    assert execute(["submit", str(written), "--fake", "--executor", f"dask://{_nobody()}"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("batchfast: no Dask scheduler answers at 127.0.0.1:")
    assert execute(["submit", str(written), "--fake"]) == 0


def test_another_batchfast_on_a_worker(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Says which worker, and both versions."""
    monkeypatch.setattr(batchfast, "__version__", "0.0.9")
    with (
        pytest.raises(ExecutorError, match=r"worker tcp://127.* has another batchfast \(0\.1\.0, here 0\.0\.9\)"),
        DaskCluster(address, tmp_path).connected(),
    ):
        pass


@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="needs a path that is another folder in each process")
def test_a_worker_that_does_not_see_the_folder(address: str) -> None:
    """A folder of that path that is another one does not count. Says which is to be shared."""
    with (
        pytest.raises(ExecutorError, match=r"worker tcp://127.* does not see /proc/self/cwd: share this folder"),
        DaskCluster(address, Path("/proc/self/cwd")).connected(),
    ):
        pass


@pytest.mark.usefixtures("large")
def test_workers_that_die_again_and_again(address: str, tmp_path: Path) -> None:
    """One clear line, and the cluster can be used again, for its workers are started anew."""
    place = DaskCluster(address, tmp_path)
    with (
        pytest.raises(
            ExecutorError, match=r"broke off \(Attempted to run .*nothing is lost: the same command continues"
        ),
        workers.workers(place, "read answers", 10, 10) as executor,
    ):
        assert executor is not None
        executor.submit(os._exit, 1).result()
    with place.connected() as executor:
        assert executor.submit(os.getpid).result() != os.getpid()


@pytest.mark.usefixtures("impatient")
def test_a_cluster_without_workers(tmp_path: Path) -> None:
    """Before the work begins, and when the last one goes while it is under way."""
    with _cluster(1) as dask:
        place = DaskCluster(_address(dask), tmp_path)
        with (
            pytest.raises(ExecutorError, match="its scheduler or all its workers are gone"),
            place.connected() as executor,
        ):
            with Client(dask, set_as_default=False) as client:
                client.retire_workers(close_workers=True)
            executor.submit(os.getpid).result()
        with pytest.raises(ExecutorError, match=r"the Dask cluster at .* has no workers"), place.connected():
            pass


def test_the_scheduler_dies(tmp_path: Path) -> None:
    """What was asked of it ends with one clear line."""
    with (
        _cluster(1) as dask,
        pytest.raises(ExecutorError, match="broke off"),
        DaskCluster(_address(dask), tmp_path).connected() as executor,
    ):
        assert executor.submit(os.getpid).result() != os.getpid()
        dask.close()
        list(executor.map(operator.neg, range(3)))
