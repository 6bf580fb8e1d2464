"""Shards compiled side by side are, byte for byte, those of one process."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, Executor
from pathlib import Path
from typing import Any

import pytest
from loky import ProcessPoolExecutor

from batchfast.errors import ExecutorError
from batchfast.llms import Provider
from batchfast.parallel import Task, compile_run
from batchfast.records import ShardPlan
from tests.helpers import provider, spec


@pytest.fixture(scope="module")
def pool() -> Iterator[Executor]:
    with ProcessPoolExecutor(2) as executor:
        yield executor


def compiled(
    folder: Path, models: list[Provider], executor: Executor | None = None, **fields: Any
) -> tuple[list[ShardPlan], dict[str, bytes]]:
    wanted = spec(*models, **fields)
    plans = list(compile_run(wanted.snapshot, wanted.providers, "run-nonce", folder, executor=executor))
    return plans, {path.name: path.read_bytes() for path in folder.iterdir()}


def test_two_processes_write_what_one_writes(pool: Executor, tmp_path: Path) -> None:
    """Plans in the same order, files with the same bytes, at all three services at once."""
    models = [provider(name, max_requests_per_batch=150) for name in ("anthropic", "gemini", "openai")]
    alone = compiled(tmp_path / "alone", models, topics=999)
    together = compiled(tmp_path / "together", models, pool, topics=999)
    assert alone == together
    assert len(alone[0]) > 20


def test_what_only_the_lines_can_tell_is_cut_by_one_process(pool: Executor, tmp_path: Path) -> None:
    """Where bytes, not counts, bound a file nobody knows beforehand which request is its last."""
    models = [provider(max_enqueued_tokens=5_000), provider("gemini", max_requests_per_batch=10)]
    topics = ["x" * (number % 300) for number in range(1, 200)]
    fields = {"topics": 1, "document_types": [f"kind {n} {text}" for n, text in enumerate(topics)]}
    alone = compiled(tmp_path / "alone", models, **fields)
    together = compiled(tmp_path / "together", models, pool, **fields)
    assert alone == together


def test_a_task_holds_no_key(tmp_path: Path) -> None:
    """What goes to another process, or another machine, names a file with the snapshot and settings of conduct."""
    sent: list[bytes] = []

    class Watched(Executor):
        def map(self, fn: Any, tasks: Any, **_: Any) -> Iterator[Any]:  # type: ignore[override]
            for task in tasks:
                assert isinstance(task, Task)
                sent.append(pickle.dumps(task) + Path(task.plan).read_bytes())
                yield fn(task)

    compiled(tmp_path / "f", [provider(api_key="sk-canary-1234567890", base_url="https://example.com/v1")], Watched())
    assert len(sent) == 1
    assert b"https://example.com" in sent[0]
    assert b"canary" not in sent[0]
    assert [path.name for path in (tmp_path / "f").iterdir()] == ["0-openai-gpt-4.1-mini-0-1.jsonl"]


def test_a_worker_that_sees_another_folder_writes_nothing(tmp_path: Path) -> None:
    """It would find the path, or make it, on a disk of its own. Says which folder is to be shared."""

    class Elsewhere(Executor):
        def map(self, fn: Any, tasks: Any, **_: Any) -> Iterator[Any]:  # type: ignore[override]
            for task in tasks:
                other = task.plan.replace(str(tmp_path), str(tmp_path / "elsewhere"))
                yield fn(task._replace(plan=other, path=str(tmp_path / "elsewhere" / "file.jsonl")))

    with pytest.raises(ExecutorError, match=f"does not see {tmp_path}/elsewhere/f: share this folder"):
        compiled(tmp_path / "f", [provider()], Elsewhere())
    assert not (tmp_path / "elsewhere").exists()
    assert list((tmp_path / "f").iterdir()) == []


def test_a_worker_that_died_is_an_error_of_one_line(tmp_path: Path) -> None:
    """Whatever the executor calls it; and what was begun is not in the way of the next try."""
    with ProcessPoolExecutor(1) as broken:
        with pytest.raises(BrokenExecutor):
            broken.submit(os._exit, 1).result()
        with pytest.raises(ExecutorError, match="a worker process ended before its work was done"):
            compiled(tmp_path / "f", [provider()], broken)
    assert compiled(tmp_path / "f", [provider()]) == compiled(tmp_path / "g", [provider()])


def test_a_large_run_needs_no_guard_in_the_script_that_starts_it(tmp_path: Path) -> None:
    """A script without `if __name__ == "__main__"` runs once, although processes help it."""
    script = tmp_path / "script.py"
    script.write_text(
        "from pathlib import Path\n"
        "from batchfast import parallel, workers\n"
        "from batchfast.llms import OpenAIProvider\n"
        "from batchfast.schema.config import RawDatasetConfig\n"
        "from batchfast.spec import Spec\n"
        "workers._WORTH_PROCESSES['write requests'] = 100\n"
        "config = RawDatasetConfig(document_types=['essay'], topics=[f'topic {n}' for n in range(400)])\n"
        "spec = Spec.of(config, [OpenAIProvider('gpt-4.1-mini', max_requests_per_batch=50)])\n"
        "plans = list(parallel.compile_run(spec.snapshot, spec.providers, 'run', Path('out')))\n"
        "print('compiled', len(plans))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "compiled 8\n"
    assert len(list((tmp_path / "out").iterdir())) == 8


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system forks no processes")
def test_a_process_forked_between_two_steps_has_helpers_of_its_own(tmp_path: Path) -> None:
    """As in the children of a web server: what its parent used has no threads there, and would wait for ever."""
    script = tmp_path / "script.py"
    script.write_text(
        "import os, signal\n"
        "from batchfast.workers import workers\n"
        "def step():\n"
        "    with workers(None, 'read answers', 1_000_000, 2) as pool:\n"
        "        return sorted(pool.map(abs, [-1, -2]))\n"
        "os.cpu_count = lambda: 2\n"
        "assert step() == [1, 2]\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    signal.alarm(60)\n"
        "    os._exit(0 if step() == [1, 2] else 1)\n"
        "print(os.waitpid(child, 0)[1])\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "0\n"


def test_ctrl_c_while_processes_work_leaves_one_line(tmp_path: Path) -> None:
    """The terminal sends it to the workers too: they end with the command, without a traceback of their own."""
    (tmp_path / "topics.txt").write_text("".join(f"topic {number}\n" for number in range(240_000)))
    (tmp_path / "spec.toml").write_text(
        '[dataset]\ndocument_types = ["essay"]\ntopics_file = "topics.txt"\n'
        '[[providers]]\nprovider = "openai"\nmodel_id = "gpt-4.1-mini"\nmax_requests_per_batch = 10_000\n'
    )
    command = [sys.executable, "-m", "batchfast", "compile", "spec.toml", "-o", "files"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline().endswith(".jsonl\n")
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate()
    assert process.returncode == 130
    *finished, last = filter(None, said.splitlines())
    assert last == "batchfast: interrupted; nothing is lost: the same command continues"
    assert all("10,000 requests" in line for line in finished)
