"""Every example runs on the fake as the README says."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from batchfast.cli import execute
from tests.helpers import read

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    spec = tmp_path / name
    shutil.copy(EXAMPLES / name, spec)
    assert execute(["run", str(spec), "--fake"]) == 0
    return Path(capsys.readouterr().out.strip())


def test_space_engineering_gives_288_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """144 a model, 96 an expertise level, every row's metadata complete; once more, the same bytes."""
    path = run("space_engineering.toml", tmp_path, capsys)
    rows = read(path)
    assert len(rows) == 288
    assert set(Counter(row["model_id"] for row in rows).values()) == {144}
    levels = Counter(row["metadata"]["expertise_level"] for row in rows)
    assert levels == {"executives": 96, "senior engineers": 96, "PhD candidates": 96}
    keys = {"document_type", "topic", "expertise_level", "provider", "prompt_index", "request_index", "sample_index"}
    assert all(row["metadata"].keys() == keys and None not in row["metadata"].values() for row in rows)
    assert len({row["uuid"] for row in rows}) == 288
    first = path.read_bytes()
    assert run("space_engineering.toml", tmp_path, capsys) == path
    assert path.read_bytes() == first


def test_without_expansion_gives_96_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """3 document types x 8 topics x 2 languages x 2 models."""
    assert len(read(run("space_engineering_basic.toml", tmp_path, capsys))) == 96


def test_three_providers_give_equal_shares(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """2 types x 3 topics x 2 languages x 2 samples by each of the three; submit and collect give the bytes of run."""
    first, other = tmp_path / "first", tmp_path / "other"
    first.mkdir()
    other.mkdir()
    path = run("three_providers.toml", first, capsys)
    assert Counter(row["metadata"]["provider"] for row in read(path)) == {"openai": 24, "anthropic": 24, "gemini": 24}
    shutil.copy(EXAMPLES / "three_providers.toml", other)
    assert execute(["submit", str(other / "three_providers.toml"), "--fake"]) == 0
    name = capsys.readouterr().out.strip()
    assert execute(["watch", name, "--home", str(other / ".batchfast")]) == 0
    assert (other / path.name).read_bytes() == path.read_bytes()
