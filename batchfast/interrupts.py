"""Ctrl-C, told from a failure wherever it strikes."""

from __future__ import annotations

import _thread
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn


@contextmanager
def interrupts() -> Iterator[list[int]]:
    """
    The interrupts that came during the block: whatever swallows a KeyboardInterrupt or makes another error of it, a
    Ctrl-C is told from a failure.
    """
    came: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is signal.SIG_IGN or before is None:
        yield came  # not ours to change: a library's thread, or a job in the background
        return

    def interrupt(number: int, _: object) -> NoReturn:
        came.append(number)
        raise KeyboardInterrupt

    def unraisable(lost: sys.UnraisableHookArgs) -> None:
        if issubclass(lost.exc_type, KeyboardInterrupt):  # came inside a weakref's callback, say: once more
            again.append(threading.Timer(0.05, _interrupt_main))
            again[-1].daemon = True
            again[-1].start()
        else:
            hook(lost)

    again: list[threading.Timer] = []
    hook, sys.unraisablehook = sys.unraisablehook, unraisable
    signal.signal(signal.SIGINT, interrupt)
    try:
        yield came
    except KeyboardInterrupt:  # between the block's own lines
        came.append(signal.SIGINT)
    finally:
        for timer in again:
            timer.cancel()
        sys.unraisablehook = hook
        signal.signal(signal.SIGINT, before)


def _interrupt_main() -> None:
    """Also out of a sleep, where the system can."""
    if hasattr(signal, "pthread_kill") and (thread := threading.main_thread().ident):
        signal.pthread_kill(thread, signal.SIGINT)
    else:
        _thread.interrupt_main()
