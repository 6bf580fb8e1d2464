"""The example of a user's own hermetic test suite, run as its user would."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[1] / "examples" / "hermetic_tests"
TESTS = 10


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A copy: what a run leaves behind is not to lie among the examples."""
    return Path(shutil.copytree(EXAMPLE, tmp_path / "suite", ignore=shutil.ignore_patterns("__pycache__", ".*")))


def run(suite: Path, *options: str) -> str:
    command = [sys.executable, "-m", "pytest", "-q", *options]
    done = subprocess.run(command, cwd=suite, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_example_suite_passes_in_a_user_s_own_environment(suite: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real keys, another account, Vertex AI and a proxy in the environment change nothing."""
    ambient = {
        "OPENAI_BASE_URL": "http://192.0.2.1/v1", "OPENAI_API_KEY": "bad-key", "OPENAI_ORG_ID": "org-mine",
        "ANTHROPIC_BASE_URL": "http://192.0.2.1", "ANTHROPIC_AUTH_TOKEN": "bad-token",
        "HTTP_PROXY": "http://192.0.2.1:3128", "http_proxy": "http://192.0.2.1:3128", "BATCHFAST_FAKE": "1",
    }  # fmt: skip
    for name, value in ambient.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_PROXY")
    assert f"{TESTS} passed" in run(suite)


def test_example_suite_passes_under_xdist(suite: Path) -> None:
    """Each worker has a fake of its own; tests are dealt out one by one."""
    assert f"{TESTS} passed" in run(suite, "-n", "2", "--dist", "load", "--maxschedchunk", "1")
