"""
A program that runs a spec on the fake and kills itself at a chosen point: `kill_child.py SPEC POINT`.

Points are counted before and after every transaction of the store and every call of the provider seam. With a POINT
beyond the last it ends by itself and prints how many there were.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from batchfast.engine import Engine
from batchfast.fake import FakeServer
from batchfast.home import home_for
from batchfast.llms import PROVIDERS
from batchfast.session import Session
from batchfast.spec import load_spec
from batchfast.store import Store

STORE = ("add_run", "update_run", "update_shard", "accept", "end_shard", "record_poll", "record_output")
SEAM = ("newest", "upload", "create", "find", "poll", "download")


class Points:
    """Counts, and kills at one."""

    def __init__(self, fatal: int) -> None:
        self.count = 0
        self._fatal = fatal

    def reach(self) -> None:
        if self.count == self._fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        self.count += 1

    def wrap(self, owner: type, name: str) -> None:
        original: Callable[..., Any] = getattr(owner, name)

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            self.reach()
            result = original(*args, **kwargs)
            self.reach()
            return result

        setattr(owner, name, wrapped)


def main(spec_path: Path, fatal: int) -> None:
    points = Points(fatal)
    for name in STORE:
        points.wrap(Store, name)
    for provider in PROVIDERS.values():
        for name in SEAM:
            points.wrap(provider, name)
    home = home_for(spec_path.parent)
    with FakeServer(home.path / "fake", batch_seconds=0) as fake, Session(home, fake_server=fake) as session:
        run, _ = session.enter(load_spec(spec_path), fake=True)
        with session.work(run) as engine:
            assert isinstance(engine, Engine)
            assert session.settle(engine.ctx, engine.drive())
        accepted = sum(len(fake.batches(name)) for name in PROVIDERS)
    sys.stdout.write(f"{points.count} {accepted}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), int(sys.argv[2]))
