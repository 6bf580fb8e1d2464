"""
Result files that are on the disk to a dataset: batchfast with all its bookkeeping, and plain loops without any.

The reference loop decodes into msgspec's typed structs, joins by dictionary and writes in order, all in memory.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.benchmarks import workload
from tests.benchmarks.child import timed
from tests.benchmarks.running import Figures, Record, Subject, child, compare


def benchmark(
    provider: str, rows: int, runs: int, folder: Path, peers: Callable[[Path], list[Subject]]
) -> list[Record]:
    prepared = folder / "prepared"
    child("collect", "prepare", {"provider": provider, "rows": rows, "folder": str(prepared)})
    given = {"prepared": str(prepared)}

    def own(function: str) -> Callable[[Path, Figures], Figures]:
        return lambda place, _: child("collect", function, {**given, "folder": str(place)})

    def raw(place: Path, first: Figures) -> Figures:
        written = {"folder": str(place), "size": first["bytes"], "sample": "x" * 2400, "fsync": True}
        return child("child", "raw_write", written)

    subjects = [
        Subject("batchfast", own("batchfast")),
        Subject("raw write, on the disk", raw),
        Subject("reference loop (msgspec)", own("reference_loop")),
        Subject("orjson loop", own("orjson_loop")),
        Subject("json loop", own("json_loop")),
        *peers(prepared),
    ]
    try:
        return compare("collect", provider, rows, subjects, runs, folder)
    finally:
        shutil.rmtree(prepared)


# -- batchfast


def prepare(provider: str, rows: int, folder: str) -> Figures:
    """A run whose batches have ended and whose result files are there, and `files.json`, which says where."""
    from batchfast.clock import SystemClock
    from batchfast.context import Context
    from batchfast.home import Home
    from batchfast.runs import create_run, run_name
    from batchfast.session import Session
    from tests.benchmarks.ours import spec_of

    home = Home(Path(folder) / "home")
    spec = spec_of(provider, rows)
    with Session(home) as session:
        run_id = run_name(spec, fake=False)
        run = create_run(home, session.store, spec, run_id, ["nowhere"], Path(folder) / "out.jsonl", SystemClock())
        ctx: Context = session.context(run, offline=True)
        shards = session.store.shards(run.no)
        for row in shards:
            session.store.move(row.id, "waiting", "submitting")
            session.store.accept(row.id, "submitting", f"batch_{row.number}", ctx.now())
        results = [_write_results(ctx, row) for row in shards]
        requests = [ctx.sent_file(row) for row in shards]
    about = {
        "provider": provider,
        "rows": rows,
        "run": run_id,
        "prefix": ctx.id_prefix,
        "requests": [str(path) for path in requests],
        "results": [str(path) for path in results],
    }
    (Path(folder) / "files.json").write_text(json.dumps(about))
    return {}


def _write_results(ctx: Any, row: Any) -> Path:
    from batchfast.records import Positions, custom_id

    names = [custom_id(ctx.id_prefix, position, row.attempt) for position in Positions(row.positions)]
    path: Path = ctx.result_file(row, "output")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.writelines(workload.result_lines(row.provider, names))
    return path


def batchfast(prepared: str, folder: str) -> Figures:
    """From the answer that a batch has ended to the dataset: nothing is downloaded, for the files are there."""
    from batchfast.collect import collect
    from batchfast.engine import Engine
    from batchfast.home import Home
    from batchfast.records import BatchSnapshot, RemoteFile
    from batchfast.session import Session

    home = Home(Path(folder) / "home")
    # A database of this run's own, and the same files under further names.
    shutil.copytree(Path(prepared) / "home", home.path, copy_function=_copied)
    target = Path(folder) / "out.jsonl"
    figures: Figures = {}
    with Session(home) as session:
        run = session.store.runs()[0]
        ctx = session.context(run, offline=True)
        with timed(figures):
            files = (RemoteFile("output", "on the disk"),)
            ended = [
                (row, BatchSnapshot(f"batch_{row.number}", "completed", "completed", files=files))
                for row in session.store.shards(run.no, "running")
            ]
            assert all(wait_s is None for _, wait_s in collect(ctx, ended))
            written = session.settle(ctx, Engine(ctx).one_pass(sends=False), output=target)
    assert written is not None and written.rows == run.requests and written.failures is None
    dataset = target.stat().st_size
    raw = sum(path.stat().st_size for path in home.path.rglob("*.jsonl"))
    everything = sum(path.stat().st_size for path in home.path.rglob("*") if path.is_file())
    return figures | {"bytes": dataset, "disk_over_raw_and_dataset": (everything + dataset) / (raw + dataset)}


def _copied(source: str, target: str) -> None:
    if source.endswith(".jsonl"):
        os.link(source, target)
    else:
        shutil.copy2(source, target)


# -- loops


def reference_loop(prepared: str, folder: str) -> Figures:
    import msgspec

    from tests.benchmarks.typed import LINES, Samples

    about = _about(prepared)
    kind, name_of, text_of = LINES[about["provider"]]
    line, reply = msgspec.json.Decoder(kind), msgspec.json.Decoder(Samples)

    def read(data: bytes) -> tuple[str, str]:
        result = line.decode(data)
        return name_of(result), reply.decode(text_of(result)).texts[0]

    return _loop(about, folder, read, msgspec.json.Encoder().encode)


def orjson_loop(prepared: str, folder: str) -> Figures:
    import orjson

    return _loop_over_objects(prepared, folder, orjson.loads, orjson.dumps)


def json_loop(prepared: str, folder: str) -> Figures:
    encoder = json.JSONEncoder(ensure_ascii=False)
    return _loop_over_objects(prepared, folder, json.loads, lambda row: encoder.encode(row).encode())


def _loop_over_objects(
    prepared: str, folder: str, loads: Callable[[Any], Any], dumps: Callable[[Any], bytes]
) -> Figures:
    about = _about(prepared)
    name_of, text_of = workload.READERS[about["provider"]]

    def read(data: bytes) -> tuple[str, str]:
        result = loads(data)
        return name_of(result), loads(text_of(result))["texts"][0]

    return _loop(about, folder, read, dumps)


def _loop(
    about: dict[str, Any], folder: str, read: Callable[[bytes], tuple[str, str]], dumps: Callable[[Any], bytes]
) -> Figures:
    """Decode, join, write in order; no row is durable, named or paid for."""
    rows, provider = about["rows"], about["provider"]
    figures: Figures = {}
    with timed(figures):
        asked = list(workload.cells(rows))
        places = {f"{about['prefix']}-{number}-1": number for number in range(rows)}
        out: list[bytes] = [b""] * rows
        for path in about["results"]:
            with Path(path).open("rb") as file:
                for data in file:
                    name, text = read(data)
                    number = places[name]
                    out[number] = dumps(workload.row_of(provider, number, text, asked[number])) + b"\n"
        with (Path(folder) / "out.jsonl").open("wb") as file:
            file.writelines(out)
    assert all(out)
    return figures | {"bytes": sum(map(len, out))}


def _about(prepared: str) -> dict[str, Any]:
    about: dict[str, Any] = json.loads((Path(prepared) / "files.json").read_text())
    return about
