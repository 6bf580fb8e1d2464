"""What the drivers share: result files with the ids that a package gives, and the dataset that its users then write."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tests.benchmarks import workload

A_BATCH = 50_000


def about(prepared: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(prepared) / "files.json").read_text())
    return found


def numbered_results(prepared: str, folder: str, pattern: str = "{}") -> list[Path]:
    """The result files with other ids: each request's number, in a pattern."""
    found = about(prepared)
    written = []
    before, after = f'"custom_id": "{found["prefix"]}-'.encode(), b'-1"'
    for number, source in enumerate(found["results"]):
        target = Path(folder) / f"results-{number}.jsonl"
        with Path(source).open("rb") as lines, target.open("wb") as out:
            for line in lines:
                head, _, rest = line.partition(before)
                index, _, tail = rest.partition(after)
                own = pattern.format(index.decode())
                out.write(head + f'"custom_id": "{own}"'.encode() + tail)
        written.append(target)
    return written


def write_dataset(folder: str, rows: int, texts: Iterable[tuple[int, str]]) -> int:
    """Request numbers and texts, joined and written in order; the size of the file."""
    asked = list(workload.cells(rows))
    found = dict(texts)
    with (Path(folder) / "out.jsonl").open("w", encoding="utf-8") as out:
        for number in range(rows):
            row = workload.row_of("openai", number, found[number], asked[number])
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
    return (Path(folder) / "out.jsonl").stat().st_size


def schema() -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"texts": {"type": "array", "items": {"type": "string"}}},
        "required": ["texts"],
        "additionalProperties": False,
    }


def in_batches(rows: int) -> Iterator[range]:
    """Request numbers, as many as OpenAI takes at once."""
    for first in range(0, rows, A_BATCH):
        yield range(first, min(first + A_BATCH, rows))
