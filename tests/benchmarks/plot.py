"""Requests a second against size, on two logarithmic axes, as SVG: a panel for each benchmark and case."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from itertools import groupby
from math import ceil, floor, log10

from tests.benchmarks.running import Record

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 760, 380, 60, 220, 40, 40
_COLOURS = (
    "#c0392b",
    "#2c3e50",
    "#2980b9",
    "#27ae60",
    "#8e44ad",
    "#d35400",
    "#16a085",
    "#7f8c8d",
    "#b8860b",
    "#e84393",
)


def as_svg(records: Sequence[Record]) -> str:
    """What has a size and a time; nothing else."""
    shown = [record for record in records if record.per_request and not record.skipped]
    panels = [list(group) for _, group in groupby(sorted(shown, key=_panel), _panel)]
    body = "\n".join(
        f'<g transform="translate(0,{number * _HEIGHT})">\n' + "\n".join(_drawn(panel)) + "\n</g>"
        for number, panel in enumerate(panels)
    )
    size = f'width="{_WIDTH}" height="{max(1, len(panels)) * _HEIGHT}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">\n{body}\n</svg>\n'


def _panel(record: Record) -> tuple[str, str]:
    return record.benchmark, record.case


def _drawn(records: list[Record]) -> Iterator[str]:
    sizes = [log10(record.rows) for record in records]
    rates = [log10(record.rows / record.seconds) for record in records]
    left, right = floor(min(sizes)), ceil(max(sizes))
    low, high = floor(min(rates)), ceil(max(rates))
    wide, tall = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def x(size: float) -> float:
        return _LEFT + (size - left) / max(1, right - left) * wide

    def y(rate: float) -> float:
        return _TOP + (high - rate) / max(1, high - low) * tall

    benchmark, case = _panel(records[0])
    yield f'<text x="{_LEFT}" y="20" font-weight="bold">{escape(f"{benchmark}, {case}: requests a second")}</text>'
    for power in range(low, high + 1):
        yield f'<line x1="{_LEFT}" x2="{_LEFT + wide}" y1="{y(power):.1f}" y2="{y(power):.1f}" stroke="#ddd"/>'
        yield f'<text x="{_LEFT - 6}" y="{y(power) + 4:.1f}" text-anchor="end">{_count(power)}</text>'
    for power in range(left, right + 1):
        yield f'<text x="{x(power):.1f}" y="{_TOP + tall + 18}" text-anchor="middle">{_count(power)}</text>'
    names = list(dict.fromkeys(record.subject for record in records))
    for number, name in enumerate(names):
        own = sorted((record for record in records if record.subject == name), key=lambda record: record.rows)
        colour = _COLOURS[number % len(_COLOURS)]
        points = [(x(log10(record.rows)), y(log10(record.rows / record.seconds))) for record in own]
        path = " ".join(f"{across:.1f},{down:.1f}" for across, down in points)
        yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
        yield from (f'<circle cx="{across:.1f}" cy="{down:.1f}" r="3" fill="{colour}"/>' for across, down in points)
        legend = _TOP + 6 + 18 * number
        yield f'<rect x="{_LEFT + wide + 16}" y="{legend - 5}" width="14" height="4" fill="{colour}"/>'
        yield f'<text x="{_LEFT + wide + 36}" y="{legend + 2}">{escape(name)}</text>'


def _count(power: int) -> str:
    return f"{10**power:,}"
