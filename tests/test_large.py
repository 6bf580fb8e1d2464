"""Memory does not grow with the grid."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.fake import measure

# VmHWM, because what getrusage says of a child can be its parent's peak.
MEASURED = """
import sys
from pathlib import Path
from batchfast.cli import execute
code = execute(sys.argv[1:])
peak = Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]
sys.stderr.write(f"peak {peak}\\n")
sys.exit(code)
"""


linux = pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="peak memory is read from Linux's /proc")


@pytest.mark.slow
@linux
def test_200000_requests_compile_into_the_right_files_in_little_memory(tmp_path: Path) -> None:
    """100,000 for OpenAI in two files of 50,000, 100,000 for Anthropic in one; under 150 MB at the peak."""
    spec = {
        "dataset": {
            "document_types": [f"type {number}" for number in range(100)],
            "topics": [f"topic {number}" for number in range(1000)],
            "num_samples_per_prompt": 1,
        },
        "providers": [
            {"provider": "openai", "model_id": "gpt-4.1-mini"},
            {"provider": "anthropic", "model_id": "claude-haiku-4-5"},
        ],
    }
    path = tmp_path / "spec.json"
    path.write_text(json.dumps(spec))
    command = [sys.executable, "-c", MEASURED, "compile", str(path), "-o", str(tmp_path / "files")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    files = [Path(line) for line in done.stdout.split()]
    assert [file.read_bytes().count(b"\n") for file in files] == [50_000, 50_000, 100_000]
    peak_kb = int(done.stderr.split("peak ")[1])
    assert peak_kb < 150 * 1024


@pytest.mark.slow
@linux
@pytest.mark.parametrize("service", ["anthropic", "gemini"])
def test_the_fake_answers_100000_requests_of_one_batch_in_little_memory(service: str) -> None:
    """The largest batch Anthropic takes, and Gemini's inline; under 500 MB at the peak, web server included."""
    assert measure(100_000, service).peak_mb < 500
