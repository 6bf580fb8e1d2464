"""A pipeline on batchfast: lesson texts in two languages, ordered tonight and collected tomorrow."""

from __future__ import annotations

from pathlib import Path

from batchfast.clock import Clock
from batchfast.datasets import RawDataset
from batchfast.llms import AnthropicProvider, OpenAIProvider
from batchfast.schema.config import RawDatasetConfig

PROVIDERS = [OpenAIProvider("gpt-4.1-mini"), AnthropicProvider("claude-haiku-4-5")]


def order(folder: Path, *, clock: Clock | None = None) -> str:
    """Send the requests; returns the run's id. `clock` is for tests: None is the machine's."""
    config = RawDatasetConfig(
        document_types=["lesson"],
        topics=["tides", "volcanoes", "rainbows"],
        languages={"en": "English", "fr": "French"},
        num_samples_per_prompt=2,
        output_file=str(folder / "lessons.jsonl"),
    )
    return RawDataset(config, clock=clock).submit(PROVIDERS).id


def collect(run_id: str, *, clock: Clock | None = None) -> Path:
    """Write the dataset; raises `batchfast.NotReady` while something still runs."""
    return RawDataset.open(run_id, clock=clock).collect()
