"""Records as tables, JSON and what the README quotes."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from tests.benchmarks.running import Record

_Group = tuple[str, str, int]


def as_json(records: Sequence[Record], machine: dict[str, Any], runs: int) -> dict[str, Any]:
    """Everything that was measured; `growth` as in the table."""
    return {
        "machine": machine,
        "runs": runs,
        "records": [asdict(record) for record in records],
        "growth": list(_growths(records)),
    }


def as_text(records: Sequence[Record], machine: dict[str, Any], runs: int) -> str:
    """One table for each benchmark, case and size, then how time and memory grow."""
    about = ", ".join(f"{name} {value}" for name, value in machine.items())
    parts = [f"{about}; medians of {runs} alternating runs"]
    parts += [_table_of(group, list(rows)) for group, rows in groupby(records, _group)]
    if growths := list(_growths(records)):
        parts.append(_growth_table(growths))
    return "\n\n".join(parts) + "\n"


def machine(folder: Path) -> dict[str, Any]:
    """What the figures depend on, without the machine's name."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "Python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "memory": f"{memory:.0f} GiB",
        "files on": _filesystem(folder),
    }


def _filesystem(folder: Path) -> str:
    """Kind of the filesystem and of the disk below it, where Linux says so."""
    mounts = Path("/proc/mounts")
    if not mounts.is_file():
        return "an unknown filesystem"
    lines = [line.split() for line in mounts.read_text().splitlines()]
    at = str(folder.resolve())
    _, device, kind = max(
        (len(mount), device, kind)
        for device, mount, kind, *_ in lines
        if mount == "/" or at == mount or at.startswith(f"{mount}/")
    )
    name = Path(device).name.rstrip("0123456789")
    spins = Path(f"/sys/block/{name}/queue/rotational")
    if name.startswith("vd") or not spins.is_file():
        return f"{kind}, virtual disk" if name.startswith("vd") else kind
    return f"{kind}, {'spinning' if spins.read_text().strip() == '1' else 'solid-state'} disk"


def _group(record: Record) -> _Group:
    return record.benchmark, record.case, record.rows


def _table_of(group: _Group, records: list[Record]) -> str:
    benchmark, case, rows = group
    title = f"{benchmark}, {case}" + (f", {rows:,} requests" if rows else "")
    unit = "us a request" if records[0].per_request else "ms"
    header = ["", f"x {records[0].subject}", "requests/s", unit, "MB/s", "bytes each", "peak MB", ""]
    lines = [[record.subject, *_cells(record)] for record in records]
    used = [column for column in range(len(header)) if column == 0 or any(line[column] for line in lines)]
    return title + "\n" + _aligned([[line[column] for column in used] for line in [header, *lines]])


def _cells(record: Record) -> list[str]:
    if record.skipped:
        return [""] * 6 + [f"left out: {record.skipped}"]
    rows, seconds, size = record.rows, record.seconds, record.size_bytes
    return [
        _short(record.ratio),
        f"{rows / seconds:,.0f}" if record.per_request else "",
        _short(seconds / rows * 1e6 if record.per_request else seconds * 1e3),
        _short(size / seconds / 1e6) if size else "",
        _short(size / rows) if size else "",
        _short(record.peak_mb) if record.peak_mb else "",
        "; ".join(_words(name, value) for name, value in record.extra.items()),
    ]


def _words(name: str, value: Any) -> str:
    if isinstance(value, list):
        return f"{name} {', '.join(map(str, value)) or 'nothing heavy'}"
    return f"{name} {_short(value) if isinstance(value, float) else value}"


def _short(value: float) -> str:
    """Three digits, more only before the point."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def _growth_table(growths: Sequence[dict[str, Any]]) -> str:
    sizes = sorted({size for growth in growths for size in growth["peak_mb"]})
    header = ["", "", "time a row", *(f"{size:,}" for size in sizes)]
    lines = []
    for growth in growths:
        peaks = [_short(growth["peak_mb"][size]) if size in growth["peak_mb"] else "" for size in sizes]
        named = f"{growth['benchmark']} {growth['case']}"
        lines.append([named, growth["subject"], f"x {growth['time_a_row']:.2f}", *peaks])
    title = "growth: time a row at the largest size over that at the smallest, and peak MB at each size"
    return f"{title}\n{_aligned([header, *lines])}"


def _growths(records: Sequence[Record]) -> Iterable[dict[str, Any]]:
    """Of each subject that was measured at several sizes."""

    def key(record: Record) -> tuple[str, str, str]:
        return record.benchmark, record.case, record.subject

    for (benchmark, case, subject), same in groupby(sorted(records, key=key), key):
        done = sorted((one for one in same if one.per_request and not one.skipped), key=lambda one: one.rows)
        if len(done) > 1:
            first, last = done[0], done[-1]
            yield {
                "benchmark": benchmark,
                "case": case,
                "subject": subject,
                "time_a_row": (last.seconds / last.rows) / (first.seconds / first.rows),
                "peak_mb": {one.rows: one.peak_mb for one in done},
            }


def _aligned(lines: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    pads: list[Callable[[str, int], str]] = [
        str.rjust if all(line[column][:1].isdigit() or not line[column] for line in lines[1:]) else str.ljust
        for column in range(len(widths))
    ]
    return "\n".join(
        "  ".join(pad(cell, width) for cell, width, pad in zip(line, widths, pads, strict=True)).rstrip()
        for line in lines
    )
