"""Runs what is compared, each in a fresh process, by turns, and keeps the medians."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[2]

Figures = dict[str, Any]


class Failed(Exception):
    """A process that was to be measured ended with an error: the end of what it said."""


@dataclass(frozen=True, slots=True)
class Subject:
    """
    One of several things that are measured by turns.

    Attributes:
        name: In tables.
        run: Measures once. Takes a fresh folder, and what the first subject of this round measured.
        is_peer: Another package: one that breaks is left out with its reason.
    """

    name: str
    run: Callable[[Path, Figures], Figures]
    is_peer: bool = False


@dataclass(slots=True)
class Record:
    """
    What came of one subject, in medians over the rounds.

    Attributes:
        ratio: How many times as long as the first subject this one takes: the median of the rounds' ratios.
        per_request: The time grows with the rows; otherwise it is a command's as a whole.
        seconds, cpu_s, peak_mb: Medians. 0.0 where it is not measured.
        all_seconds: Of every round.
        extra: More figures by name, the last round's.
        skipped: Why there are none.
    """

    benchmark: str
    case: str
    rows: int
    subject: str
    ratio: float = 1.0
    per_request: bool = True
    seconds: float = 0.0
    cpu_s: float = 0.0
    size_bytes: int = 0
    peak_mb: float = 0.0
    all_seconds: list[float] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)
    skipped: str | None = None


def child(
    module: str, function: str, arguments: dict[str, Any], python: str | Path = sys.executable, timeout_s: float = 3600
) -> Figures:
    """
    What a function of `tests.benchmarks` measures in a fresh process.

    Raises:
        Failed: It did not come to its end.
    """
    command = [str(python), "-m", f"{__package__}.child", f"{__package__}.{module}", function, json.dumps(arguments)]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout_s)
    except subprocess.TimeoutExpired as exc:
        raise Failed(f"not done after {timeout_s:,.0f} s") from exc
    if done.returncode:
        raise Failed(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit {done.returncode}")
    figures: Figures = json.loads(done.stdout)
    return figures


def whole_process(arguments: Sequence[str], cwd: Path = ROOT) -> Figures:
    """
    A Python program from its start to its end. Its peak is not among the figures: what the system says of another
    process may be our own.

    Raises:
        Failed: It ended with an error.
    """
    start = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, *arguments], cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    ) as process:  # fmt: skip
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise Failed(f"{' '.join(arguments)}: exit {process.returncode}")
    return {"seconds": seconds, "cpu_s": usage.ru_utime + usage.ru_stime}


def compare(
    benchmark: str,
    case: str,
    rows: int,
    subjects: Sequence[Subject],
    runs: int,
    folder: Path | None = None,
    *,
    per_request: bool = True,
) -> list[Record]:
    """
    Measure all subjects so many times, by turns; the ratios are to the first.

    Args:
        folder: Where the subjects write (in a folder of their own, that is then removed).
    """
    rounds: dict[str, list[Figures]] = {subject.name: [] for subject in subjects}
    skipped: dict[str, str] = {}
    for _ in range(runs):
        first: Figures = {}
        for subject in subjects:
            if subject.name in skipped:
                continue
            figures = _once(subject, first, folder)
            first = first or figures
            if "skipped" in figures:
                skipped[subject.name] = figures["skipped"]
            else:
                rounds[subject.name].append(figures)
    base = [figures["seconds"] for figures in rounds[subjects[0].name]]
    records = [
        Record(benchmark, case, rows, subject.name, per_request=per_request, skipped=skipped.get(subject.name))
        for subject in subjects
    ]
    return [one if one.skipped else _filled(one, rounds[one.subject], base) for one in records]


def _once(subject: Subject, first: Figures, folder: Path | None) -> Figures:
    with tempfile.TemporaryDirectory(dir=folder) as own:
        try:
            return subject.run(Path(own), first)
        except Failed as exc:
            if not subject.is_peer:
                raise
            return {"skipped": str(exc)}


def _filled(record: Record, rounds: list[Figures], base: list[float]) -> Record:
    last = rounds[-1]
    record.all_seconds = [figures["seconds"] for figures in rounds]
    record.seconds = median(record.all_seconds)
    record.ratio = median(own / first for first, own in zip(base, record.all_seconds, strict=True))
    record.cpu_s = median(figures.get("cpu_s", 0.0) for figures in rounds)
    record.peak_mb = median(figures.get("peak_mb", 0.0) for figures in rounds)
    record.size_bytes = last.get("bytes", 0)
    record.extra = {name: last[name] for name in last if name not in ("seconds", "cpu_s", "peak_mb", "bytes")}
    return record
