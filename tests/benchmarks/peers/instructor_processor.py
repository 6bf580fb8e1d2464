"""instructor's BatchProcessor: one file for all requests, and all results as one text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from instructor.batch import BatchProcessor
from pydantic import BaseModel

from tests.benchmarks import workload
from tests.benchmarks.child import timed
from tests.benchmarks.peers.files import about, numbered_results, write_dataset


class Samples(BaseModel):
    texts: list[str]


def compile(rows: int, folder: str) -> dict[str, Any]:  # noqa: A001
    figures: dict[str, Any] = {}
    path = Path(folder) / "requests.jsonl"
    with timed(figures):
        BatchProcessor(f"openai/{workload.MODELS['openai']}", Samples).create_batch_from_messages(
            list(workload.conversations(rows)), str(path), max_tokens=workload.MAX_TOKENS
        )
    return figures | {"bytes": path.stat().st_size}


def collect(prepared: str, folder: str) -> dict[str, Any]:
    rows, files = about(prepared)["rows"], numbered_results(prepared, folder)
    figures: dict[str, Any] = {}
    with timed(figures):
        processor = BatchProcessor(f"openai/{workload.MODELS['openai']}", Samples)
        answers = (one for path in files for one in processor.parse_results(path.read_text("utf-8")))
        size = write_dataset(folder, rows, ((int(one.custom_id), one.result.texts[0]) for one in answers))
    return figures | {"bytes": size}
