"""What a spec would send, before anything is sent: no key, no network, nothing written."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any

from batchfast.grid import Grid
from batchfast.llms.base import Provider
from batchfast.prices import estimate
from batchfast.records import BYTES_PER_TOKEN, Limits, Request, custom_id
from batchfast.runs import run_name
from batchfast.spec import Spec

# Requests per provider entry that are encoded and measured one by one; of more, as many are sampled evenly (count).
MEASURED = 20_000

_TOKENS_PER_TEXT = 400

NOTE = (
    f"tokens are estimates: input {BYTES_PER_TOKEN} bytes of UTF-8 a token, "
    f"output {_TOKENS_PER_TEXT} tokens a text within the model's token limit"
)


@dataclass(frozen=True, slots=True)
class _Measured:
    """Files and bytes of one entry; `exact` is False where they were scaled up from a sample."""

    files: int
    size_bytes: int
    exact: bool


def plan(spec: Spec, *, fake: bool) -> dict[str, Any]:
    """
    The answer of `plan SPEC --json`.

    Returns:
        `providers`: per entry the requests, rows, files and bytes (exact up to 20,000 requests, else `exact` is
        False), estimated tokens, and USD at batch and at list price (None where unknown); `samples`: three prompts.
    """
    grid = Grid(spec.snapshot)
    run_id = run_name(spec, fake=fake)
    entries = [_entry(grid, entry, provider, run_id) for entry, provider in enumerate(spec.providers)]
    return {
        "run": run_id,
        "requests": len(grid),
        "rows": len(grid) * grid.num_samples,
        "output_file": str(spec.output_path()),
        "providers": entries,
        "cost_batch_usd": _sum(entry["cost_batch_usd"] for entry in entries),
        "cost_list_usd": _sum(entry["cost_list_usd"] for entry in entries),
        "note": NOTE,
        "samples": [
            {"request": index, "prompt": grid.prompt(index)} for index in sorted({0, len(grid) // 2, len(grid) - 1})
        ],
    }


def _entry(grid: Grid, entry: int, provider: Provider, run_id: str) -> dict[str, Any]:
    each = grid.positions
    measured = _measure(grid, provider, entry, run_id)
    per_reply = grid.num_samples * _TOKENS_PER_TEXT
    output = min(per_reply, provider.max_completion_tokens or per_reply)
    request = ceil(measured.size_bytes / max(each, 1) / BYTES_PER_TOKEN)
    batch, listed, assumed = estimate(provider.name, provider.model_id, request, output, override=provider.price)
    return {
        "provider": provider.name,
        "model_id": provider.model_id,
        "requests": each,
        "rows": each * grid.num_samples,
        "files": measured.files,
        "bytes": measured.size_bytes,
        "exact": measured.exact,
        "input_tokens": request * each,
        "output_tokens": output * each,
        "cost_batch_usd": None if batch is None else batch * each,
        "cost_list_usd": None if listed is None else listed * each,
        "assumed": assumed,
    }


def _measure(grid: Grid, provider: Provider, entry: int, run_id: str) -> _Measured:
    step = max(1, ceil(grid.positions / MEASURED))
    prefix = f"{run_id}-{'0' * 8}"  # as long as any home's nonce
    sizes = []
    for position in range(0, grid.positions, step):
        index = position * grid.entries + entry
        request = Request(custom_id(prefix, index, 1), grid.prompt(index), grid.num_samples)
        sizes.append(len(provider.encode(request)) + 1)
    files, total = _files(sizes, provider.limits, step)
    return _Measured(files, total, exact=step == 1)


def _files(sizes: list[int], limits: Limits, step: int) -> tuple[int, int]:
    """Files and bytes, as the compiler would cut them, where each size stands for `step` requests."""
    room = limits.room_bytes
    if step > 1:
        return max(_files_of(len(sizes) * step, limits), ceil(sum(sizes) * step / room)), sum(sizes) * step
    files = used = requests = 0
    for size in sizes:
        if not files or requests == limits.requests_in(files - 1) or used + size > room:
            files, used, requests = files + 1, 0, 0
        used += size
        requests += 1
    return files, sum(sizes)


def _files_of(requests: int, limits: Limits) -> int:
    files = 0
    while requests > 0:
        requests -= limits.requests_in(files)
        files += 1
    return files


def _sum(values: Any) -> float | None:
    known = list(values)
    return None if any(value is None for value in known) else sum(known)
