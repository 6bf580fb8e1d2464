"""
One measurement in a process of its own: `python -m tests.benchmarks.child MODULE FUNCTION ARGUMENTS`.

The arguments are a JSON object. What the function returns is printed as JSON, with the peak memory of this process.
Other packages' environments run this too: it loads nothing but the standard library.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_CHUNK = 1 << 20


@contextmanager
def timed(figures: dict[str, Any]) -> Iterator[None]:
    """Enters `seconds` that passed in the block and `cpu_s`, those that this process and its children computed."""
    gc.collect()
    cpu, start = _cpu_s(), time.perf_counter()
    yield
    figures["seconds"] = time.perf_counter() - start
    figures["cpu_s"] = _cpu_s() - cpu


def _cpu_s() -> float:
    return sum(os.times()[:4])


def raw_write(folder: str, size: int, sample: str, fsync: bool) -> dict[str, Any]:
    """Write so many bytes, the sample again and again, and compute nothing."""
    chunk = sample.encode() + b"\n"
    chunk *= -(-_CHUNK // len(chunk))
    figures: dict[str, Any] = {"bytes": size}
    with timed(figures), (Path(folder) / "raw").open("wb", buffering=0) as file:
        for start in range(0, size, len(chunk)):
            file.write(chunk[: size - start])
        if fsync:
            os.fsync(file.fileno())
    return figures


def peak_mb() -> float:
    """
    Of this process, or of the largest of its children. What getrusage says of a process can be the peak of the one
    that started it: the kernel's own count for this program is better.
    """
    status = Path("/proc/self/status")
    unit = 1 if sys.platform == "darwin" else 1024
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    if status.is_file():
        own = int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024
    return max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit) / 1e6


def main() -> None:
    module, function, arguments = sys.argv[1:]
    answer = os.dup(1)
    os.dup2(2, 1)  # what others print is not the answer
    try:
        figures = getattr(importlib.import_module(module), function)(**json.loads(arguments))
    except ModuleNotFoundError as exc:
        figures = {"skipped": f"{exc.name} is not installed"}
    figures.setdefault("peak_mb", peak_mb())
    with os.fdopen(answer, "w") as out:
        json.dump(figures, out)


if __name__ == "__main__":
    main()
