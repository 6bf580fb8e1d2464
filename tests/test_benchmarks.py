"""The benchmarks run, at a size that says nothing about speed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.environments import PEERS, peers
from tests.benchmarks.plot import as_svg
from tests.benchmarks.report import as_json, as_text
from tests.benchmarks.running import ROOT, Failed, Figures, Record, Subject, compare

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the benchmarks ask a POSIX system for peak memory")

# Without which a subject is left out.
_OPTIONAL = {"reference loop (msgspec)", "orjson loop"}


@pytest.mark.parametrize(
    ("name", "subjects"),
    [
        ("compile", ["batchfast", "raw write", "raw write, on the disk", "orjson loop", "json.dumps loop"]),
        ("collect", ["batchfast", "raw write, on the disk", "reference loop (msgspec)", "orjson loop", "json loop"]),
        ("state", ["batchfast", "raw write, on the disk", "bare SQLite table", "orjson loop", "json.dumps loop"]),
        ("startup", ["bare Python", "import batchfast", "batchfast --help", "batchfast status"]),
        ("fake", ["batch"]),
    ],
)
def test_each_benchmark_gives_its_table_and_the_same_as_json(name: str, subjects: list[str], tmp_path: Path) -> None:
    """Every subject has a line with figures, or the reason why it has none; no file is left behind."""
    report, work = tmp_path / "report.json", tmp_path / "work"
    work.mkdir()
    command = [sys.executable, "-m", "tests.benchmarks", name, "--sizes", "200", "--runs", "1", "--json", str(report)]
    options = [] if name in ("state", "startup", "fake") else ["--providers", "openai,gemini"]
    done = subprocess.run(
        [*command, *options, "--folder", str(work)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    found: list[dict[str, Any]] = json.loads(report.read_bytes())["records"]
    assert {one["benchmark"] for one in found} == {name}
    assert set(subjects) <= {one["subject"] for one in found}
    for one in found:
        assert one["subject"] in done.stdout
        if one["skipped"]:
            assert one["subject"] in _OPTIONAL and one["skipped"] in done.stdout
        else:
            assert one["seconds"] > 0
            assert one["peak_mb"] > 1 or one["subject"] == "bare Python"
            assert one["per_request"] == (one["case"] not in ("status", "whole process"))
    assert not list(work.iterdir())
    if name == "collect":  # what is on the disk at the end is more than what came and what was made of it
        assert all(one["extra"]["disk_over_raw_and_dataset"] > 1 for one in found if one["subject"] == "batchfast")


def _measures(*seconds: float, turns: list[float] | None = None) -> Callable[[Path, Figures], Figures]:
    times = iter(seconds)

    def measure(_: Path, __: Figures) -> Figures:
        taken = next(times)
        if turns is not None:
            turns.append(taken)
        return {"seconds": taken, "peak_mb": 10.0, "bytes": 1000}

    return measure


def test_what_is_compared_takes_turns_and_its_ratio_is_the_median_of_the_rounds(tmp_path: Path) -> None:
    """A round in which the machine was busy weighs on all of its subjects, and so on no ratio."""
    turns: list[float] = []
    subjects = [
        Subject("ours", _measures(1.0, 10.0, 2.0, turns=turns)),
        Subject("other", _measures(2.1, 21.0, 8.0, turns=turns)),
    ]
    ours, other = compare("compile", "openai", 100, subjects, 3, tmp_path)
    assert turns == [1.0, 2.1, 10.0, 21.0, 2.0, 8.0]
    assert (ours.seconds, other.seconds) == (2.0, 8.0)
    assert (ours.ratio, other.ratio) == (1.0, 2.1)


def test_a_peer_that_breaks_is_left_out_and_says_why(tmp_path: Path) -> None:
    """What is ours must work; another package's trouble costs only its line."""

    def breaks(_: Path, __: Figures) -> Figures:
        raise Failed("does not install: no such package")

    ours = Subject("ours", _measures(1.0))
    records = compare("compile", "openai", 100, [ours, Subject("peer", breaks, is_peer=True)], 1, tmp_path)
    assert records[1].skipped == "does not install: no such package"
    assert "left out: does not install: no such package" in as_text(records, {}, 1)
    with pytest.raises(Failed):
        compare("compile", "openai", 100, [Subject("ours", breaks)], 1, tmp_path)


def test_growth_is_the_time_of_a_row_at_the_largest_size_over_that_at_the_smallest() -> None:
    """Twice the time for a hundred times the rows: each row takes a fiftieth."""
    small = Record("compile", "openai", 100, "ours", seconds=1.0, peak_mb=10.0)
    large = Record("compile", "openai", 10_000, "ours", seconds=200.0, peak_mb=12.0)
    (growth,) = as_json([large, small], {}, 1)["growth"]
    assert growth["time_a_row"] == 2.0
    assert growth["peak_mb"] == {100: 10.0, 10_000: 12.0}
    assert "x 2.00" in as_text([small, large], {}, 1)


def test_sizes_may_differ_from_one_benchmark_to_the_next() -> None:
    """A service takes less at once, a peer broke at the largest: their places in the growth table stay empty."""
    records = [Record("compile", "openai", rows, "ours", seconds=1.0, peak_mb=10.0) for rows in (100, 1000, 10_000)]
    records += [Record("fake", "openai", rows, "batch", seconds=1.0, peak_mb=20.0) for rows in (100, 500)]
    *_, header, ours, fake = as_text(records, {}, 1).splitlines()
    assert header.split() == ["time", "a", "row", "100", "500", "1,000", "10,000"]
    assert ours.split()[-3:] == ["10.0", "10.0", "10.0"]
    assert fake.split()[-2:] == ["20.0", "20.0"]


def test_what_was_measured_before_something_broke_is_still_reported(tmp_path: Path) -> None:
    """Hours of measuring are not lost to the last benchmark: here no file may be as large as `compile` needs."""
    import resource

    report = tmp_path / "report.json"
    command = [sys.executable, "-m", "tests.benchmarks"]
    done = subprocess.run(
        [*command, "startup", "compile", "--sizes", "1000", "--runs", "1", "--json", str(report)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000)),  # bytes
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("stopped: ")
    assert "File too large" in done.stderr
    assert {one["benchmark"] for one in json.loads(report.read_bytes())["records"]} == {"startup"}


def test_the_plot_has_a_line_for_each_subject() -> None:
    """Well-formed SVG, one panel a benchmark; what was left out is not in it."""
    records = [
        Record("compile", case, rows, name, seconds=rows / 1e5)
        for case in ("openai", "gemini")
        for name in ("ours", "<others>")
        for rows in (100, 10_000)
    ]
    svg = ET.fromstring(as_svg([*records, Record("compile", "openai", 100, "gone", skipped="no")]))  # noqa: S314
    assert len(svg.findall(".//{*}polyline")) == 4
    texts = [text.text for text in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert "<others>" in texts and "gone" not in texts


def test_every_peer_is_offered_for_what_it_does(tmp_path: Path) -> None:
    """One subject each, and a driver of ours for it; nothing is installed before it is measured."""
    cache = tmp_path / "cache"
    for does in ("compile", "collect"):
        assert [one.name for one in peers(cache, does, 100, None)] == [peer.name for peer in PEERS if does in peer.does]
    assert not cache.exists()
    assert all((ROOT / "tests" / "benchmarks" / "peers" / f"{peer.module}.py").is_file() for peer in PEERS)
