"""The steps of long work, on a terminal: a line each on stderr, from the moment they last until they end."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from batchfast.meter import Meter, Step
from batchfast.terminal import is_terminal

if TYPE_CHECKING:
    from rich.live import Live

# What took less was not worth looking at (seconds).
_LASTS_AFTER_S = 0.5


class Display(Meter):
    """Off a terminal it shows nothing, and nothing is loaded before there is something to show."""

    def __init__(self) -> None:
        self._steps: list[Step] = []
        self._lock = threading.RLock()
        self._timer: threading.Timer | None = None
        self._live: Live | None = None
        self._lent = False

    def lasting(self) -> list[Step]:
        """The steps under way that have lasted long enough to be shown."""
        return [step for step in list(self._steps) if step.lasted_s() >= _LASTS_AFTER_S]

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Somebody else shows what lasts, for the length of the block: a terminal has room for one."""
        self._lent = True
        try:
            yield
        finally:
            self._lent = False

    def began(self, step: Step) -> None:
        with self._lock:
            self._steps.append(step)
            if self._timer is None and not self._lent and is_terminal(sys.stderr):
                self._timer = threading.Timer(_LASTS_AFTER_S, self._show)
                self._timer.daemon = True
                self._timer.start()

    def ended(self, step: Step) -> None:
        with self._lock:
            self._steps.remove(step)
            if not self._steps:
                self.close()

    def close(self) -> None:
        """Leave the terminal as it was."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            if self._live is not None:
                self._live.stop()
            self._timer = self._live = None

    def _show(self) -> None:
        from rich.console import Console
        from rich.live import Live

        from batchfast.bars import bars

        console = Console(stderr=True)
        with self._lock:
            if self._timer is not threading.current_thread():  # the steps have ended meanwhile
                return
            self._live = Live(
                console=console,
                refresh_per_second=8,
                transient=True,
                # Data must reach whoever it is piped to; on the same terminal it must not run into the lines.
                redirect_stdout=is_terminal(sys.stdout),
                get_renderable=lambda: bars(self.lasting(), console.width),
            )
            self._live.start()
