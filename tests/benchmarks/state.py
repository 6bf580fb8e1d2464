"""What the ledger costs a request, and how long `status` takes on a large run."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.benchmarks.child import timed
from tests.benchmarks.running import Figures, Record, Subject, child, compare, whole_process
from tests.benchmarks.startup import command

if TYPE_CHECKING:
    from batchfast.records import ShardPlan
    from batchfast.store import RequestRow, Store

_A_SHARD = 50_000
_RUN = "0123456789ab"


def benchmark(rows: int, runs: int, folder: Path) -> list[Record]:
    """Entering every outcome of a run; then `status` on that run, as a whole process."""

    def own(function: str) -> Callable[[Path, Figures], Figures]:
        return lambda place, _: child("state", function, {"rows": rows, "folder": str(place)})

    def raw(place: Path, first: Figures) -> Figures:
        written = {"folder": str(place), "size": first["bytes"], "sample": "x" * 150, "fsync": True}
        return child("child", "raw_write", written)

    subjects = [
        Subject("batchfast", own("ledger")),
        Subject("raw write, on the disk", raw),
        Subject("bare SQLite table", own("bare_table")),
        Subject("orjson loop", own("orjson_loop")),
        Subject("json.dumps loop", own("json_loop")),
    ]
    records = compare("state", "enter", rows, subjects, runs, folder)
    kept = folder / "kept"
    kept.mkdir()
    child("state", "ledger", {"rows": rows, "folder": str(kept)})
    asking = ("--home", str(kept / "home"), "status")
    looks = [
        command("status RUN", [*asking, _RUN]),
        command("status", asking),
        Subject("bare Python", lambda _, __: whole_process(["-c", "pass"])),
    ]
    return records + compare("state", "status", rows, looks, runs, folder, per_request=False)


def ledger(rows: int, folder: str) -> Figures:
    """Every outcome of a run through `Store.end_shard`, a shard at a time; `bytes` is what the database has grown."""
    from batchfast.home import Home
    from batchfast.store import Store, Tally

    home = Home(Path(folder) / "home").make()
    figures: Figures = {"seconds": 0.0, "cpu_s": 0.0}
    with Store(home.database) as store:
        run_no = _add_run(store, rows, folder)
        before = _size(store, home.database)
        for shard in store.shards(run_no):
            outcomes = list(_outcomes(run_no, shard.id, shard.number, shard.requests))
            tally = Tally(succeeded=shard.requests, rows=shard.requests, cost_usd=0.01 * shard.requests)
            once: Figures = {}
            with timed(once):
                assert store.end_shard(shard, "ended", outcomes, tally)
            figures = {name: figures[name] + once[name] for name in figures}
        return figures | {"bytes": _size(store, home.database) - before}


def _add_run(store: Store, rows: int, folder: str) -> int:
    from batchfast.clock import iso

    run = {
        "id": _RUN,
        "fake": 0,
        "snapshot_id": _RUN,
        "endpoints": json.dumps(["https://api.openai.com/v1"]),
        "conduct": json.dumps({"max_attempts": 3, "recheck_after_s": 20.0, "max_cost_usd": None, "providers": [{}]}),
        "output_file": str(Path(folder) / "out.jsonl"),
        "requests": rows,
        "state": "done",
        "created_at": iso(1.8e9),
    }
    run_no = store.add_run(run, _plans(rows)).no
    for shard in store.shards(run_no):
        store.move(shard.id, "waiting", "submitting")
        store.accept(shard.id, "submitting", f"batch_{shard.number:032d}", iso(1.8e9))
    return run_no


def _plans(rows: int) -> Iterator[ShardPlan]:
    from batchfast.records import ShardPlan

    for number, first in enumerate(range(0, rows, _A_SHARD)):
        requests = min(_A_SHARD, rows - first)
        yield ShardPlan(
            entry=0,
            number=number,
            attempt=1,
            uncounted=0,
            doublings=0,
            refusals=0,
            provider="openai",
            model_id="gpt-4.1-mini",
            positions=f"{first}-{first + requests - 1}",
            requests=requests,
            size_bytes=1500 * requests,
            largest_bytes=1500,
            sha256="0" * 64,
        )


def _outcomes(run_no: int, shard_id: int, number: int, requests: int) -> Iterator[RequestRow]:
    from batchfast.store import RequestRow

    for place in range(requests):
        yield RequestRow(
            run_no=run_no,
            idx=number * _A_SHARD + place,
            attempt=1,
            shard_id=shard_id,
            final=1,
            outcome="succeeded",
            texts=1,
            finish_reason="stop",
            model="gpt-4.1-mini-2025-04-14",
            input_tokens=300 + place % 50,
            output_tokens=400 + place % 70,
            cached_input_tokens=0,
            reasoning_tokens=0,
            cost_usd=0.00038 + place * 1e-9,
            file="output",
            offset=place * 2600,
            length=2600,
        )


def _size(store: Store, path: Path) -> int:
    store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path.stat().st_size


# -- beside it: the same rows


def bare_table(rows: int, folder: str) -> Figures:
    """One table without an index, one `executemany` a shard, each on the disk."""
    path = Path(folder) / "bare.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    width = len(next(_outcomes(1, 1, 0, 1)))
    connection.execute(f"CREATE TABLE requests ({', '.join(f'c{number}' for number in range(width))})")
    marks = ", ".join("?" * width)

    def write(outcomes: list[Any]) -> None:
        connection.execute("BEGIN")
        connection.executemany(f"INSERT INTO requests VALUES ({marks})", outcomes)  # noqa: S608
        connection.execute("COMMIT")

    figures = _each_shard(rows, write)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return figures | {"bytes": path.stat().st_size}


def json_loop(rows: int, folder: str) -> Figures:
    return _lines(rows, folder, lambda outcome: json.dumps(outcome).encode())


def orjson_loop(rows: int, folder: str) -> Figures:
    import orjson

    return _lines(rows, folder, lambda outcome: orjson.dumps(tuple(outcome)))


def _lines(rows: int, folder: str, dumps: Callable[[Any], bytes]) -> Figures:
    path = Path(folder) / "rows.jsonl"
    with path.open("wb") as file:

        def write(outcomes: list[Any]) -> None:
            file.writelines(dumps(outcome) + b"\n" for outcome in outcomes)

        figures = _each_shard(rows, write)
    return figures | {"bytes": path.stat().st_size}


def _each_shard(rows: int, write: Callable[[list[Any]], None]) -> Figures:
    figures: Figures = {"seconds": 0.0, "cpu_s": 0.0}
    for plan in _plans(rows):
        outcomes = list(_outcomes(1, plan.number, plan.number, plan.requests))
        once: Figures = {}
        with timed(once):
            write(outcomes)
        figures = {name: figures[name] + once[name] for name in figures}
    return figures
