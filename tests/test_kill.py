"""SIGKILL anywhere: the same command finishes, nothing is paid twice, and the bytes are those of an undisturbed run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.helpers import MODELS, read

CHILD = Path(__file__).with_name("kill_child.py")
SPEC = """
[dataset]
document_types = ["essay"]
topics = ["Tides", "Vacuum", "Bread"]
num_samples_per_prompt = 1
output_file = "out.jsonl"

[run]
recheck_after_s = 0

[[providers]]
provider = "{provider}"
model_id = "{model}"
max_requests_per_batch = 2
"""


def write_spec(folder: Path, name: str) -> Path:
    folder.mkdir()
    path = folder / "spec.toml"
    path.write_text(SPEC.format(provider=name, model=MODELS[name]))
    return path


def child(spec: Path, point: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(CHILD), str(spec), str(point)], capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(MODELS))
def test_killed_at_any_point_a_run_still_pays_once(tmp_path: Path, name: str) -> None:
    """Before and after each transaction and each call to the provider: two batches needed, two accepted, same bytes."""
    quiet = child(write_spec(tmp_path / "quiet", name), 10_000)
    points, accepted = map(int, quiet.stdout.split())
    assert accepted == 2
    expected = (tmp_path / "quiet" / "out.jsonl").read_bytes()

    def disturbed(point: int) -> tuple[int, int, str, bytes]:
        spec = write_spec(tmp_path / str(point), name)
        killed = child(spec, point)
        again = child(spec, 10_000)
        out = spec.with_name("out.jsonl")
        return point, killed.returncode, again.stdout.split()[-1] if again.stdout else again.stderr, out.read_bytes()

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(disturbed, range(points)))
    assert [result for result in results if result[1:] != (-signal.SIGKILL, "2", expected)] == []


def test_a_run_killed_halfway_and_run_again_gives_the_same_bytes(tmp_path: Path) -> None:
    """The command line: `run --fake` is killed when the first batch was sent; the same line then finishes."""
    command = [sys.executable, "-m", "batchfast", "run", "spec.toml", "--fake", "-v"]
    spec = write_spec(tmp_path / "quiet", "openai")
    subprocess.run(command, cwd=spec.parent, check=True, capture_output=True)
    spec = write_spec(tmp_path / "killed", "openai")
    process = subprocess.Popen(command, cwd=spec.parent, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if "sent as" in line:
            process.kill()
            break
    process.stderr.close()
    assert process.wait() == -signal.SIGKILL
    again = subprocess.run(command, cwd=spec.parent, check=True, capture_output=True, text=True)
    assert again.stderr.count("sent as") + again.stderr.count("found as") <= 1
    assert len(read(spec.with_name("out.jsonl"))) == 3
    assert spec.with_name("out.jsonl").read_bytes() == (tmp_path / "quiet" / "out.jsonl").read_bytes()
