"""What the README shows works."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from batchfast.cli import cli
from batchfast.spec import load_spec

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
    (text,) = blocks("toml")
    assert tomllib.loads(text)
    path = tmp_path / "spec.toml"
    path.write_text(text, encoding="utf-8")
    assert len(load_spec(path).providers) == 1


@pytest.mark.parametrize("number", [0, 1])
def test_the_python_shown_runs(tmp_path: Path, number: int) -> None:
    """On the fake, each in a process of its own."""
    environment = {"BATCHFAST_FAKE": "1", "BATCHFAST_FAKE_SECONDS": "0", "HOME": str(tmp_path)}
    command = [sys.executable, "-W", "error", "-c", blocks("python")[number]]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)


def test_every_command_shown_exists() -> None:
    """In `sh` blocks, in tables and in sentences."""
    shown = set(re.findall(r"\bbatchfast (?!is\b|uses\b|says\b|makes\b)([a-z]+)\b", "\n".join(blocks("sh"))))
    shown |= {row.split()[0] for row in re.findall(r"^\| `([a-z]+[^`]*)` \|", README, re.MULTILINE)}
    assert shown <= set(cli.commands)
    assert set(cli.commands) <= shown
