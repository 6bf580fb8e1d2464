"""A run to look at while it goes, on a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from batchfast.bars import bars
from batchfast.deadlines import deadline_line, hours_left, is_loud
from batchfast.engine import Progress
from batchfast.meter import Step
from batchfast.store import RunRow, ShardRow, Store
from batchfast.terminal import plain


class LiveView:
    """
    Per model a bar of settled requests; follows the engine pass by pass.

    Args:
        lasting: What is under way within a pass, and takes long: shown below.
    """

    def __init__(self, store: Store, run: RunRow, lasting: Callable[[], Sequence[Step]]) -> None:
        self._store = store
        self._run = run
        self._lasting = lasting
        self._after_pass = Group(self._heading(None), self._table())
        self._console = Console(stderr=True)
        self._live = Live(console=self._console, refresh_per_second=8, transient=True, get_renderable=self._renderable)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._live.__exit__(None, None, None)

    def __call__(self, progress: Progress) -> None:
        deadline = deadline_line(by := self._deadline(), hours_left(by, time.time()))
        wait = Text(f"next look in {progress.wait_s:.0f} s", style="dim") if progress.moves else Text("")
        until = Text(deadline or "", style="bold red" if is_loud(deadline) else "dim")
        self._after_pass = Group(self._heading(progress.held), self._table(), until, wait)

    def _renderable(self) -> Group:
        return Group(self._after_pass, bars(self._lasting(), self._console.width))

    def _heading(self, held: str | None) -> Text:
        fake = "  FAKE" if self._run.fake else ""
        why = f"  held: {plain(held)}" if held else ""
        return Text(f"run {self._run.id}{fake}{why}   Ctrl-C stops watching, not the batches")

    def _deadline(self) -> str | None:
        return self._store.deadlines().get(self._run.no)

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False)
        for column in ("model", "", "settled", "rows", "batches"):
            table.add_column(column, justify="right" if column in ("settled", "rows") else "left")
        shards = self._store.shards(self._run.no)
        for entry in sorted({row.entry for row in shards}):
            table.add_row(*_entry([row for row in shards if row.entry == entry]))
        return table


def _entry(rows: list[ShardRow]) -> tuple[Text | ProgressBar, ...]:
    total = sum(row.requests - row.resent for row in rows)
    settled = sum(row.succeeded + row.failed + row.expired + row.cancelled for row in rows)
    states: dict[str, int] = {}
    for row in rows:
        states[row.state] = states.get(row.state, 0) + 1
    return (
        Text(f"{rows[0].provider} {rows[0].model_id}"),
        ProgressBar(total=total, completed=settled, width=30),
        Text(f"{settled:,}/{total:,}".rjust(2 * len(f"{total:,}") + 1)),
        Text(f"{sum(row.rows for row in rows):,}"),
        Text(", ".join(f"{count} {state}" for state, count in states.items())),
    )
