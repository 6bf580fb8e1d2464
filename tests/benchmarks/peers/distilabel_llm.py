"""distilabel's offline batch generation with OpenAI. It puts no schema into batch requests."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from distilabel.models import OpenAILLM

from tests.benchmarks import workload
from tests.benchmarks.child import timed
from tests.benchmarks.peers.files import about, numbered_results, write_dataset


class _LLM(OpenAILLM):
    """Every batch has ended, and its id is the path of its results."""

    def _get_openai_batch(self, batch_id: str) -> Any:
        return SimpleNamespace(status="completed", output_file_id=batch_id)


def _llm() -> _LLM:
    return _LLM(model=workload.MODELS["openai"], api_key="none", use_offline_batch_generation=True)


def compile(rows: int, folder: str) -> dict[str, Any]:  # noqa: A001
    figures: dict[str, Any] = {}
    size = 0
    llm = _llm()
    with timed(figures):
        buffers = llm._create_jsonl_buffers(
            inputs=workload.conversations(rows), model=llm.model, max_completion_tokens=workload.MAX_TOKENS
        )
        for number, buffer in enumerate(buffers):  # it uploads them; here they go to the disk
            size += (Path(folder) / f"requests-{number}.jsonl").write_bytes(buffer.getbuffer())
    return figures | {"bytes": size}


def collect(prepared: str, folder: str) -> dict[str, Any]:
    rows, files = about(prepared)["rows"], numbered_results(prepared, folder)
    figures: dict[str, Any] = {}
    llm = _llm()
    llm._client = SimpleNamespace(files=SimpleNamespace(content=_content))
    llm.jobs_ids = tuple(str(path) for path in files)
    with timed(figures):
        answers = llm._check_and_get_batch_results()  # in the order of the requests
        texts = ((number, json.loads(one["generations"][0])["texts"][0]) for number, one in enumerate(answers))
        size = write_dataset(folder, rows, texts)
    return figures | {"bytes": size}


def _content(path: str) -> Any:
    return SimpleNamespace(text=Path(path).read_text("utf-8"))
