"""instructor's BatchJob as it was before 1.10: the schema is made once, as a tool."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from instructor.batch import BatchJob
from pydantic import BaseModel

from tests.benchmarks import workload
from tests.benchmarks.child import timed


class Samples(BaseModel):
    texts: list[str]


def compile(rows: int, folder: str) -> dict[str, Any]:  # noqa: A001
    figures: dict[str, Any] = {}
    path = Path(folder) / "requests.jsonl"
    with timed(figures):
        BatchJob.create_from_messages(
            messages_batch=workload.conversations(rows),
            model=workload.MODELS["openai"],
            response_model=Samples,
            file_path=str(path),
            max_tokens=workload.MAX_TOKENS,
        )
    return figures | {"bytes": path.stat().st_size}
