"""Steps to look at while they go: of each how much is done, how fast it goes and how long it will yet take."""

from __future__ import annotations

from collections.abc import Sequence

from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from batchfast.meter import BYTES, Step

_GAP = 2
_LEAST_BAR, _MOST_BAR = 8, 30

# Kept free at the end: a terminal writes ^C where the line ends, and on a full line that would begin another.
_MARGIN = 3

# What goes first where there is little room, and whether it does so for a bar.
_DISPENSABLE = (("size", True), ("rate", True), ("left", False))


def bars(steps: Sequence[Step], width: int) -> Table:
    """A line each, for a terminal of `width` (characters)."""
    room = width - _MARGIN
    lines = [_line(step) for step in steps]
    widths = {name: max(len(line[name]) for line in lines) for name in lines[0]} if lines else {}
    shown = [name for name in widths if widths[name]]
    for name, for_a_bar in _DISPENSABLE:
        if name in shown and _taken(widths, shown) + for_a_bar * (_LEAST_BAR + _GAP) > room:
            shown.remove(name)
    bar = min(_MOST_BAR, room - _taken(widths, shown) - _GAP)
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, _GAP, 0, 0))
    table.add_column(no_wrap=True)
    for step, line in zip(steps, lines, strict=True):
        doing, *numbers = [Text(line[name], no_wrap=True, justify="right") for name in shown]
        doing.justify = "left"
        drawn = [ProgressBar(total=step.total, completed=step.done, width=bar)] if bar >= _LEAST_BAR else []
        table.add_row(doing, *drawn, *numbers)
    return table


def _taken(widths: dict[str, int], shown: list[str]) -> int:
    return sum(widths[name] for name in shown) + _GAP * (len(shown) - 1)


def _line(step: Step) -> dict[str, str]:
    """What is said of a step; as wide as it will be at its end, so that nothing moves while numbers grow."""
    rate = step.done / max(step.lasted_s(), 0.001)
    if step.unit == BYTES:
        total = f"/{step.total / 1e6:,.1f}" if step.total else ""
        done, size, per_second = (
            f"{step.done / 1e6:,.1f}{total} MB",
            "",
            f"{rate / 1e6:,.{1 if rate >= 1e6 else 2}f} MB/s",
        )
        widest = 2 * len(total) + 2
    else:
        total = f"/{step.total:,}" if step.total else ""
        done, per_second = f"{step.done:,}{total} {step.unit}", f"{rate:,.0f}/s"
        size = f"{step.size_bytes / 1e6:>7,.1f} MB" if step.size_bytes or not step.done else ""
        widest = 2 * len(total) + len(step.unit)
    return {
        "doing": step.doing,
        "done": done.rjust(widest),
        "size": size,
        "rate": f"{per_second if step.done else '':>9}",
        "left": _left(step, rate),
    }


def _left(step: Step, rate: float) -> str:
    """At the pace so far, as wide as it will be; empty where the total is unknown."""
    if not step.total:
        return ""
    if not rate:
        return " " * 10
    minutes, seconds = divmod(round(max(0, step.total - step.done) / rate), 60)
    hours, minutes = divmod(minutes, 60)
    time = f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
    return f"{time} left".rjust(10)
