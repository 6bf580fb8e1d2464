"""What the README shows works."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import get_args

import pytest

from batchfast.cli import cli
from batchfast.fake import FakeServer, read_faults
from batchfast.fake.faults import BatchAction, CallAction, RequestAction
from batchfast.spec import load_spec

NIGHTLY = """
from batchfast.datasets import RawDataset
from batchfast.llms import OpenAIProvider
from batchfast.schema.config import RawDatasetConfig

def main():
    config = RawDatasetConfig(document_types=["essay"], topics=["snow"])
    RawDataset(config).generate([OpenAIProvider("gpt-4.1-mini")])
"""
README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_two_commands_stand_at_the_top() -> None:
    """As `.ci/run` reads them."""
    commands = [line for line in README.splitlines() if line.startswith("python3 -m venv ")]
    assert [command.split(" && ")[1] for command in commands] == [
        ".venv/bin/pip install .",
        ".venv/bin/pip install '.[test]'",
    ]


def test_the_spec_shown_is_a_spec(tmp_path: Path) -> None:
    """It loads as it stands."""
    text, _ = blocks("toml")
    assert tomllib.loads(text)
    path = tmp_path / "spec.toml"
    path.write_text(text, encoding="utf-8")
    assert len(load_spec(path).providers) == 1


def test_the_fault_script_shown_is_one() -> None:
    """Both of its faults can be planned, and the table of faults names every one there is."""
    assert [fault.does for fault in read_faults(blocks("toml")[1])] == ["error", "lose"]
    (table,) = re.findall(r"^\| what \| `does` \|\n(.*?)\n\n", README, re.MULTILINE | re.DOTALL)
    actions = {one for kind in (CallAction, BatchAction, RequestAction) for one in get_args(kind)}
    assert {one for one in actions if f"`{one}`" not in table} == set()


def run_python(number: int, folder: Path, **environment: str) -> str:
    command = [sys.executable, "-W", "error", "-c", blocks("python")[number]]
    variables = {"HOME": str(folder), **environment}
    return subprocess.run(command, cwd=folder, env=variables, check=True, capture_output=True, text=True).stdout


def test_the_dataset_shown_is_made(tmp_path: Path) -> None:
    """In a process of its own, on the fake."""
    run_python(0, tmp_path, BATCHFAST_FAKE="1", BATCHFAST_FAKE_SECONDS="0")
    assert (tmp_path / "space.jsonl").is_file()


def test_the_executor_shown_is_used(tmp_path: Path) -> None:
    """Behind the lines before it, as a script: the run goes on, and its submission files are there."""
    script = tmp_path / "script.py"
    script.write_text("\n".join(blocks("python")[:2]), "utf-8")
    environment = {"HOME": str(tmp_path), "BATCHFAST_FAKE": "1", "BATCHFAST_FAKE_SECONDS": "0"}
    subprocess.run([sys.executable, str(script)], cwd=tmp_path, env=environment, check=True, capture_output=True)
    assert len(list((tmp_path / "files").iterdir())) == 2


def test_the_plain_script_shown_runs_against_the_fake(fake: FakeServer, tmp_path: Path) -> None:
    """With nothing but the lines that `fake serve` prints in its environment."""
    line = json.loads(run_python(2, tmp_path, **fake.env))
    assert (line["custom_id"], line["response"]["status_code"]) == ("one", 200)


@pytest.mark.parametrize("number", [3, 5])
def test_the_python_shown_runs(tmp_path: Path, number: int) -> None:
    """A fake of one's own, and a cassette; neither needs anything around it."""
    run_python(number, tmp_path)


def test_the_test_shown_passes(tmp_path: Path) -> None:
    """In a project of its own, with a pipeline on batchfast as the code under test."""
    (tmp_path / "nightly.py").write_text(NIGHTLY, "utf-8")
    (tmp_path / "test_nightly.py").write_text(blocks("python")[4], "utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
    done = subprocess.run([*command, "test_nightly.py"], cwd=tmp_path, capture_output=True, text=True)
    assert "1 passed" in done.stdout, done.stdout


def test_every_command_shown_exists() -> None:
    """In `sh` blocks, in tables and in sentences."""
    shown = set(re.findall(r"\bbatchfast (?!is\b|uses\b|says\b|makes\b)([a-z]+)\b", "\n".join(blocks("sh"))))
    shown |= {row.split()[0] for row in re.findall(r"^\| `(?!batchfast_)([a-z]+[^`]*)` \|", README, re.MULTILINE)}
    assert shown <= set(cli.commands)
    assert set(cli.commands) <= shown
