"""A grid to submission files: batchfast, the same lines from plain loops, and the same bytes without any work."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.benchmarks import workload
from tests.benchmarks.child import timed
from tests.benchmarks.running import Figures, Record, Subject, child, compare

_PREFIX = "0123456789ab-01234567"


def benchmark(provider: str, rows: int, runs: int, folder: Path | None, peers: list[Subject]) -> list[Record]:
    given = {"provider": provider, "rows": rows}

    def own(function: str) -> Callable[[Path, Figures], Figures]:
        return lambda place, _: child("compiling", function, {**given, "folder": str(place)})

    def raw(*, fsync: bool) -> Callable[[Path, Figures], Figures]:
        sample = "x" * 1500
        return lambda place, first: child(
            "child", "raw_write", {"folder": str(place), "size": first["bytes"], "sample": sample, "fsync": fsync}
        )

    subjects = [
        Subject("batchfast", own("batchfast")),
        Subject("raw write", raw(fsync=False)),
        Subject("raw write, on the disk", raw(fsync=True)),
        Subject("orjson loop", own("orjson_loop")),
        Subject("json.dumps loop", own("json_loop")),
        *peers,
    ]
    return compare("compile", provider, rows, subjects, runs, folder)


def batchfast(provider: str, rows: int, folder: str) -> Figures:
    """What `batchfast compile` does once it has read the spec."""
    from batchfast.runs import compile_files
    from batchfast.store import Store
    from tests.benchmarks.ours import spec_of

    figures: Figures = {}
    spec = spec_of(provider, rows)
    with Store(Path(folder) / "state.db") as store, timed(figures):
        files = list(compile_files(spec, store, Path(folder) / "files", fake=False))
    assert sum(requests for _, requests in files) == rows
    return figures | {"bytes": sum(path.stat().st_size for path, _ in files)}


def json_loop(provider: str, rows: int, folder: str) -> Figures:
    """`json.dumps` of each line, with no spaces and no escapes beyond JSON's own."""
    encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
    return _loop(provider, rows, folder, lambda line: encoder.encode(line).encode())


def orjson_loop(provider: str, rows: int, folder: str) -> Figures:
    import orjson

    return _loop(provider, rows, folder, orjson.dumps)


def _loop(provider: str, rows: int, folder: str, encode: Callable[[Any], bytes]) -> Figures:
    """One object that takes each request's id and prompt by turns: the least that a loop over a JSON encoder does."""
    line = _first_line(provider, rows)
    figures: Figures = {}
    size = 0
    with timed(figures), (Path(folder) / "lines.jsonl").open("wb") as file:
        for number, prompt in enumerate(workload.prompts(rows)):
            workload.set_request(provider, line, f"{_PREFIX}-{number}-1", prompt)
            size += file.write(encode(line) + b"\n")
    return figures | {"bytes": size}


def _first_line(provider: str, rows: int) -> dict[str, Any]:
    from batchfast.records import Request
    from tests.benchmarks.ours import spec_of

    adapter = spec_of(provider, rows).providers[0]
    prompt = next(workload.prompts(rows))
    line: dict[str, Any] = json.loads(adapter.encode(Request(f"{_PREFIX}-0-1", prompt, 1)))
    return line
