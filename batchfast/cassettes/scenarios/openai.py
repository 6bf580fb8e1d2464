"""What is recorded at OpenAI."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import openai
from openai.types import Batch

from batchfast.cassettes.scenarios.base import (
    DAY_S,
    MAX_TOKENS,
    MODELS,
    NEVER_EXPIRES,
    PROMPTS,
    SHOWS_ACCOUNT,
    Json,
    Scenario,
    refused,
)

_ENDED = ("completed", "failed", "expired", "cancelled")


def _line(number: int, **body: object) -> Json:
    messages = [{"role": "user", "content": PROMPTS[number - 1]}]
    body = {"model": MODELS["openai"], "messages": messages, "max_completion_tokens": MAX_TOKENS, **body}
    return {"custom_id": f"request-{number}", "method": "POST", "url": "/v1/chat/completions", "body": body}


_GOOD = (_line(1), _line(2), _line(3))
_BAD = (_line(1, max_output_tokens=5), _line(2, max_output_tokens=5))  # the parameter of another endpoint


def _upload(client: openai.OpenAI, lines: Sequence[Json]) -> str:
    data = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    return client.files.create(file=("requests.jsonl", data, "application/jsonl"), purpose="batch").id


def _create(client: openai.OpenAI, file_id: str) -> Batch:
    return client.batches.create(
        input_file_id=file_id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"label": "evening"}
    )


def _follow(client: openai.OpenAI, batch: Batch, wait: Callable[[], None]) -> Batch:
    """Look at the batch until it has ended, and at the files it left."""
    while batch.status not in _ENDED:
        wait()
        batch = client.batches.retrieve(batch.id)
    for file_id in filter(None, (batch.output_file_id, batch.error_file_id)):
        client.files.retrieve(file_id)
        client.files.content(file_id).read()
    return batch


def _complete(client: openai.OpenAI, lines: Sequence[Json], wait: Callable[[], None]) -> None:
    batch = _create(client, _upload(client, lines))
    batch = _follow(client, client.batches.retrieve(batch.id), wait)
    for file_id in filter(None, (batch.input_file_id, batch.output_file_id)):
        client.files.delete(file_id)


def _ends(client: openai.OpenAI, lines: Sequence[Json], wait: Callable[[], None]) -> None:
    _follow(client, _create(client, _upload(client, lines)), wait)


def _cancelled(client: openai.OpenAI, lines: Sequence[Json], wait: Callable[[], None]) -> None:
    batch = _create(client, _upload(client, lines))
    wait()
    wait()
    batch = client.batches.cancel(batch.id)
    _follow(client, client.batches.retrieve(batch.id), wait)


def _invalid_file(client: openai.OpenAI, lines: Sequence[Json], wait: Callable[[], None]) -> None:
    with refused(openai.BadRequestError):
        client.files.create(file=("requests.txt", b"{}\n"), purpose="batch")
    _ends(client, lines, wait)


def _bad_key(client: openai.OpenAI, lines: Sequence[Json], wait: Callable[[], None]) -> None:
    del lines, wait
    with refused(openai.AuthenticationError):
        client.batches.list(limit=1)


def _unknown_id(client: openai.OpenAI, lines: Sequence[Json], wait: Callable[[], None]) -> None:
    del lines, wait
    batch_id, file_id = "batch_" + 32 * "0", "file-" + 22 * "1"
    for call in (client.batches.retrieve, client.batches.cancel):
        with refused(openai.NotFoundError):
            call(batch_id)
    for ask in (client.files.retrieve, client.files.content, client.files.delete):
        with refused(openai.NotFoundError):
            ask(file_id)


def _paging(client: openai.OpenAI, lines: Sequence[Json], wait: Callable[[], None]) -> None:
    for line in lines:
        _create(client, _upload(client, [line]))
        wait()
    list(client.files.list(limit=2, purpose="batch"))
    list(client.batches.list(limit=2))


SCENARIOS = {
    "complete": Scenario(_complete, _GOOD),
    "failures": Scenario(_ends, (*_GOOD[:2], _line(3, max_output_tokens=5))),
    "all_failed": Scenario(_ends, _BAD),
    "expired": Scenario(_ends, _GOOD, batch_seconds=1.5 * DAY_S, only_fake=NEVER_EXPIRES),
    "cancelled": Scenario(_cancelled, _GOOD),
    "invalid_file": Scenario(_invalid_file, (_GOOD[0], _GOOD[0])),
    "bad_key": Scenario(_bad_key, bad_key=True),
    "unknown_id": Scenario(_unknown_id),
    "paging": Scenario(_paging, _GOOD, batch_seconds=1.5 * DAY_S, only_fake=SHOWS_ACCOUNT),
}
