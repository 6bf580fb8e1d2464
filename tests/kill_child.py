"""
A program that runs a spec on the fake and is killed at chosen points: `kill_child.py`, with one job a line on stdin.

A job is `{"spec": path, "kills": [point, ...]}`: the run is started once for each of the kills, one after the other,
and once more undisturbed. Instead of a point, a kill may be a pair of booleans: the first two uploads are under way at
once, and the process ends when the file of each has arrived (true) or is about to be sent (false). Each start is a
fork, so that what takes long to load is loaded once. The answer is a line `{"killed": how many of the starts were,
"accepted": batches the fake took, "points": names of the last start's}`.

The points are before and after each of what a process can leave behind: every statement that writes the database,
where those within a transaction count by its BEGIN and COMMIT; every call of the provider seam, and each chunk of a
download; and, before it happens, every file or folder that is written, renamed or removed.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anthropic  # noqa: F401 - loaded before the forks
import google.genai  # noqa: F401
import openai  # noqa: F401
import sqlite_utils  # noqa: F401
import uvicorn.protocols.http.h11_impl  # noqa: F401

from batchfast.engine import Engine
from batchfast.fake import FakeServer, Fault
from batchfast.home import FOLDER, home_for
from batchfast.llms import PROVIDERS
from batchfast.session import Session
from batchfast.spec import load_spec

SEAM = ("newest", "upload", "create", "find", "poll", "cancel")
FILES = {"os.rename": (1,), "os.remove": (0,), "os.mkdir": (0,), "os.rmdir": (0,)}
# The second request of the first try fails for a passing reason: there is a second shard for it.
FAILS_ONCE = Fault("error", custom_id="-1-1$", status=500)


class Points:
    """Names the points as they are reached, and kills at one."""

    def __init__(self, folder: Path, fatal: int | None) -> None:
        self.names: list[str] = []
        self._folder = str(folder)
        self._fatal = fatal
        self._thread = threading.get_ident()

    def reach(self, name: str) -> None:
        if threading.get_ident() != self._thread:
            return  # the fake's, or an upload's
        if len(self.names) == self._fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        self.names.append(name)

    def around(self, name: str, call: Callable[[], Any]) -> Any:
        self.reach(f"before {name}")
        result = call()
        self.reach(f"after {name}")
        return result

    def audit(self, event: str, args: tuple[Any, ...]) -> None:
        """Told by Python of each file that is about to be opened, renamed or removed."""
        if event == "open":
            writes = isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)
            paths = args[:1] if writes else ()
        else:
            paths = tuple(args[number] for number in FILES.get(event, ()))
        for path in paths:
            if isinstance(path, str | os.PathLike) and os.fspath(path).startswith(self._folder):
                self.reach(f"before {event} {Path(path).suffix}")


class Watched(sqlite3.Connection):
    """The store's connection, with a point before and after each statement that writes."""

    points: Points

    def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:  # type: ignore[override]
        word = sql.split(maxsplit=1)[0].upper()
        own = word in ("BEGIN", "COMMIT", "ROLLBACK") or not self.in_transaction
        if word in ("SELECT", "PRAGMA") or not own:
            return super().execute(sql, *args)
        cursor: sqlite3.Cursor = self.points.around(
            " ".join(sql.split()[:3]), lambda: super(Watched, self).execute(sql, *args)
        )
        return cursor


class FakesTime:
    """The fake's own time, which every process on its folder shares; sleeping moves it."""

    def __init__(self, fake: FakeServer) -> None:
        self._fake = fake

    def now(self) -> float:
        return self._fake.now()

    def sleep(self, seconds: float) -> None:
        self._fake.advance(seconds=seconds)


def watch(points: Points) -> None:
    """Put the points in place, in this process."""
    connect = sqlite3.connect
    Watched.points = points

    def connect_watched(database: Any, *args: Any, **kwargs: Any) -> sqlite3.Connection:
        ours = Path(database).parent.name == FOLDER
        return connect(database, *args, **kwargs, **({"factory": Watched} if ours else {}))

    sqlite3.connect = connect_watched  # type: ignore[assignment]
    for provider in PROVIDERS.values():
        for name in SEAM:
            setattr(provider, name, _pointed(points, name, getattr(provider, name)))
        provider.download = _pointed_chunks(points, provider.download)  # type: ignore[method-assign]
    sys.addaudithook(points.audit)


def kill_between_uploads(arrived: list[bool]) -> None:
    """Have the first two uploads end the process together, each after or before its file was sent."""
    both = threading.Barrier(2, action=lambda: os.kill(os.getpid(), signal.SIGKILL))
    for provider in PROVIDERS.values():
        original = provider.upload

        def upload(self: Any, shard: Any, original: Callable[..., Any] = original) -> Any:
            if arrived[int(shard.label.split("-")[-2])]:
                original(self, shard)
            return both.wait()

        provider.upload = upload  # type: ignore[method-assign]


def _pointed(points: Points, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args: points.around(name, lambda: original(*args))


def _pointed_chunks(points: Points, original: Callable[..., Iterator[bytes]]) -> Callable[..., Iterator[bytes]]:
    def download(*args: Any) -> Iterator[bytes]:
        points.reach("before download")
        for chunk in original(*args):
            middle = len(chunk) // 2  # as if it had come in two: a small file is one chunk
            yield chunk[:middle]
            points.reach("within download")
            yield chunk[middle:]
        points.reach("after download")

    return download


def run(spec_path: Path, fatal: int | list[bool] | None) -> dict[str, Any]:
    """Run a spec to its end, or to the fatal point."""
    points = Points(spec_path.parent, fatal if isinstance(fatal, int) else None)
    if isinstance(fatal, list):
        kill_between_uploads(fatal)
    home = home_for(spec_path.parent)
    with FakeServer(home.path / "fake", batch_seconds=0) as fake:
        if not fake.planned():
            fake.plan(FAILS_ONCE)
        watch(points)
        with Session(home, clock=FakesTime(fake), fake_server=fake) as session:
            row, _ = session.enter(load_spec(spec_path), fake=True)
            with session.work(row) as engine:
                assert isinstance(engine, Engine)
                assert session.settle(engine.ctx, engine.drive())
        accepted = sum(len(fake.batches(name)) for name in PROVIDERS)
    return {"accepted": accepted, "points": points.names}


def forked(spec_path: Path, fatal: int | list[bool] | None) -> dict[str, Any] | None:
    """`run` in a process of its own; None where that was killed."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        with os.fdopen(writing, "w") as out:
            json.dump(run(spec_path, fatal), out)
            out.flush()
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        said = answer.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return None
    found: dict[str, Any] = json.loads(said)
    return found


def main() -> None:
    for line in sys.stdin:
        job = json.loads(line)
        spec = Path(job["spec"])
        killed = [forked(spec, point) for point in job["kills"]].count(None)
        answer = (forked(spec, None) or {}) | {"killed": killed}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
