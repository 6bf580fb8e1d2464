"""curator's batch processor for OpenAI: its own request files, what it uploads, its response files and its dataset."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ |= {
    "TELEMETRY_ENABLED": "false",
    "LITELLM_LOCAL_MODEL_COST_MAP": "true",
    "CURATOR_DISABLE_RICH_DISPLAY": "1",
}

import json

from bespokelabs.curator.client import Client
from bespokelabs.curator.llm.prompt_formatter import PromptFormatter
from bespokelabs.curator.request_processor.batch.openai_batch_request_processor import OpenAIBatchRequestProcessor
from bespokelabs.curator.request_processor.config import BatchRequestProcessorConfig
from bespokelabs.curator.types.generic_batch import GenericBatch, GenericBatchRequestCounts
from datasets import Dataset
from pydantic import BaseModel

from tests.benchmarks import workload
from tests.benchmarks.child import timed
from tests.benchmarks.peers.files import about, numbered_results

_A_BATCH = 10_000  # its own default


class Samples(BaseModel):
    texts: list[str]


def _processor(folder: Path) -> OpenAIBatchRequestProcessor:
    config = BatchRequestProcessorConfig(
        model=workload.MODELS["openai"],
        api_key="none",
        batch_size=_A_BATCH,
        generation_params={"max_tokens": workload.MAX_TOKENS},
    )
    processor = OpenAIBatchRequestProcessor(config)
    processor.working_dir = str(folder)
    processor.viewer_client = Client()  # which sends nothing unless it is told to
    processor.batch_objects_file = str(folder / "batch_objects.jsonl")
    processor.prompt_formatter = PromptFormatter(
        model_name=workload.MODELS["openai"],
        prompt_func=lambda row: row["prompt"],
        parse_func=None,
        response_format=Samples,
        generation_params=config.generation_params,
        system_prompt=workload.SYSTEM,
    )
    return processor


def _asked(rows: int) -> Dataset:
    return Dataset.from_dict({"prompt": list(workload.prompts(rows))})


def compile(rows: int, folder: str) -> dict[str, Any]:  # noqa: A001
    figures: dict[str, Any] = {}
    size = 0
    processor = _processor(Path(folder) / "work")
    with timed(figures):
        for number, file in enumerate(sorted(processor.create_request_files(_asked(rows)))):
            content = processor.create_batch_file(processor.requests_from_generic_request_file(file, set()))
            size += (Path(folder) / f"upload-{number}.jsonl").write_bytes(content)
    return figures | {"bytes": size}


def collect(prepared: str, folder: str) -> dict[str, Any]:
    rows, files = about(prepared)["rows"], numbered_results(prepared, folder)
    work = Path(folder) / "work"
    processor = _processor(work)
    processor.total_requests = rows
    requests = processor.create_request_files(_asked(rows))
    answers = _by_batch(files, Path(folder))
    processor._attempt_loading_batch_status_tracker(requests)
    figures: dict[str, Any] = {}
    with timed(figures):
        for number, path in answers.items():
            responses = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
            ended = _ended(str(work / f"requests_{number}.jsonl"), len(responses))
            asyncio.run(processor.generic_response_file_from_responses(responses, ended))
        dataset = processor.create_dataset_files("dataset")
    assert len(dataset) == rows
    return figures | {"bytes": sum(path.stat().st_size for path in work.glob("*.arrow"))}


def _by_batch(files: list[Path], folder: Path) -> dict[int, Path]:
    """The same lines in files as large as its batches."""
    paths: dict[int, Path] = {}
    for file in files:
        with file.open("rb") as lines:
            for line in lines:
                number = int(json.loads(line)["custom_id"]) // _A_BATCH
                path = paths.setdefault(number, folder / f"answers-{number}.jsonl")
                with path.open("ab") as out:
                    out.write(line)
    return paths


def _ended(request_file: str, requests: int) -> GenericBatch:
    now = datetime.now(UTC)
    return GenericBatch(
        request_file=request_file,
        id="batch",
        created_at=now,
        finished_at=now,
        status="finished",
        api_key_suffix="none",
        request_counts=GenericBatchRequestCounts(
            total=requests, failed=0, succeeded=requests, raw_request_counts_object={}
        ),
        raw_status="completed",
        raw_batch={},
    )
