"""inspect_ai's batcher for OpenAI, with the file that it would upload, and one that it would have downloaded."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import IO, Any

import anyio
from inspect_ai.model._generate_config import BatchConfig
from inspect_ai.model._providers._openai_batch import OpenAIBatcher
from inspect_ai.model._providers.util.batch import BatchRequest
from inspect_ai.model._retry import ModelRetryConfig
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletion

from tests.benchmarks import workload
from tests.benchmarks.child import timed
from tests.benchmarks.peers.files import about, in_batches, numbered_results, schema, write_dataset


class _Batcher(OpenAIBatcher[ChatCompletion]):
    """Without the network: counts what it would upload, and reads from the disk what it would download."""

    uploaded = 0

    async def _upload_batch_file(self, temp_file: IO[bytes], extra_headers: dict[str, str]) -> str:
        self.uploaded += os.fstat(temp_file.fileno()).st_size
        return "file"

    async def _submit_batch_for_file(self, file_id: str, extra_headers: dict[str, str]) -> str:
        return "batch"

    async def _download_result_file(self, file_uri: str) -> bytes:
        return Path(file_uri).read_bytes()


def _batcher() -> _Batcher:
    retries = ModelRetryConfig.__new__(ModelRetryConfig)  # used by its network calls alone
    return _Batcher(AsyncOpenAI(api_key="none"), BatchConfig(), retries, ChatCompletion)


def _request(messages: list[dict[str, Any]]) -> dict[str, Any]:
    named = {"name": "samples", "strict": True, "schema": schema()}
    return {
        "model": workload.MODELS["openai"],
        "messages": messages,
        "max_completion_tokens": workload.MAX_TOKENS,
        "response_format": {"type": "json_schema", "json_schema": named},
    }


def compile(rows: int, folder: str) -> dict[str, Any]:  # noqa: A001
    os.environ["TMPDIR"] = folder  # where it makes its files
    figures: dict[str, Any] = {}
    batcher = _batcher()
    sink, _ = anyio.create_memory_object_stream[Any](1)
    with timed(figures):
        conversations = workload.conversations(rows)
        for numbers in in_batches(rows):
            batch = [BatchRequest(_request(next(conversations)), sink, custom_id=str(number)) for number in numbers]
            asyncio.run(batcher._create_batch(batch))
    return figures | {"bytes": batcher.uploaded}


def collect(prepared: str, folder: str) -> dict[str, Any]:
    import json

    rows, files = about(prepared)["rows"], numbered_results(prepared, folder)
    figures: dict[str, Any] = {}
    batcher = _batcher()
    with timed(figures):
        found: dict[str, ChatCompletion] = {}
        for path in files:
            found |= asyncio.run(batcher._parse_result_file(str(path)))
        texts = (
            (int(name), json.loads(answer.choices[0].message.content or "")["texts"][0])
            for name, answer in found.items()
        )
        size = write_dataset(folder, rows, texts)
    return figures | {"bytes": size}
