"""What a command loads: heavy packages only where it uses them, so that each answers at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from batchfast.fake import FakeServer

SDKS = {"openai", "anthropic", "google.genai"}
WEB_SERVER = {"uvicorn", "starlette", "faker"}
OTHERS = {"pyarrow", "distributed", "dask", "loky", "rich", "vcr", "huggingface_hub", "json_repair", "jsonschema"}
HEAVY = sorted(SDKS | WEB_SERVER | OTHERS | {"pydantic", "sqlite_utils", "genai_prices", "msgspec"})

CODE = f"""
import json, sys
from batchfast.cli import execute
code = execute(sys.argv[1:])
print(json.dumps([code, [name for name in {HEAVY} if name in sys.modules]]), file=sys.stderr)
"""


class Commands:
    """Each in a process of its own, against a service of which only the address is known."""

    def __init__(self, folder: Path, url: str) -> None:
        self._folder = folder
        self._environment = {**os.environ, "OPENAI_API_KEY": "any", "OPENAI_BASE_URL": url, "BATCHFAST_FAKE": ""}
        self._environment.pop("BATCHFAST_HOME", None)

    def __call__(self, *words: str) -> tuple[int, set[str], str]:
        """Exit code, what is loaded of HEAVY, and stdout."""
        line = [sys.executable, "-c", CODE, *words]
        done = subprocess.run(line, cwd=self._folder, env=self._environment, capture_output=True, text=True)
        code, loaded = json.loads(done.stderr.strip().splitlines()[-1])
        return code, set(loaded), done.stdout.strip()


@pytest.fixture
def commands(tmp_path: Path, fake: FakeServer) -> Commands:
    (tmp_path / "spec.toml").write_text(
        '[dataset]\ndocument_types = ["essay"]\ntopics = ["rain", "snow"]\nnum_samples_per_prompt = 1\n'
        '[[providers]]\nprovider = "openai"\nmodel_id = "gpt-4.1-mini"\n'
    )
    return Commands(tmp_path, fake.base_urls["openai"])


def test_a_command_loads_only_what_it_uses(commands: Commands, tmp_path: Path, fake: FakeServer) -> None:
    """A run's whole life at one provider: its SDK where something is sent or asked, and never another's."""
    assert commands("--help")[:2] == (0, set())
    code, loaded, _ = commands("init", "other.toml")
    assert (code, loaded - {"pydantic", "msgspec"}) == (0, set())
    reads_a_spec = {"pydantic", "msgspec"}
    code, loaded, _ = commands("plan", "spec.toml")
    assert (code, loaded - {"genai_prices"}) == (0, reads_a_spec)
    code, loaded, _ = commands("compile", "spec.toml", "-o", "files")
    assert (code, loaded - {"sqlite_utils"}) == (0, reads_a_spec)
    code, loaded, run = commands("submit", "spec.toml")
    assert (code, loaded & (SDKS | WEB_SERVER | OTHERS)) == (0, {"openai"})
    assert commands("status")[:2] == commands("status", run)[:2] == (0, set())
    fake.finish_all()
    code, loaded, _ = commands("collect", run)
    assert (code, loaded & (SDKS | WEB_SERVER | OTHERS)) == (0, {"openai"})
    code, loaded, _ = commands("show", run, "0")
    assert (code, loaded & (SDKS | WEB_SERVER | OTHERS)) == (0, set())
    raw = next((tmp_path / ".batchfast/runs").glob("*/results/*.output.jsonl"))
    code, loaded, _ = commands("parse", "--provider", "openai", str(raw))
    assert (code, loaded - {"pydantic"}) == (0, {"msgspec"})
    code, loaded, _ = commands("collect", run, "--reparse")
    assert (code, loaded & (SDKS | WEB_SERVER | OTHERS)) == (0, set())
    for words in (["watch", run], ["run", "spec.toml"], ["retry", run], ["cancel", run], ["clean", run], ["doctor"]):
        _, loaded, _ = commands(*words)
        assert loaded & (SDKS | WEB_SERVER | OTHERS) <= {"openai"}, words
