"""What is recorded at Gemini."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence

from google.genai import Client, errors, types

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

_ENDED = frozenset({
    types.JobState.JOB_STATE_SUCCEEDED, types.JobState.JOB_STATE_FAILED, types.JobState.JOB_STATE_CANCELLED,
    types.JobState.JOB_STATE_EXPIRED,
})  # fmt: skip


def _line(number: int, **config: object) -> Json:
    contents = [{"role": "user", "parts": [{"text": PROMPTS[number - 1]}]}]
    # Without a budget of none, thinking takes all the tokens allowed.
    config = {"maxOutputTokens": MAX_TOKENS, "thinkingConfig": {"thinkingBudget": 0}, **config}
    return {"key": f"request-{number}", "request": {"contents": contents, "generationConfig": config}}


_GOOD = (_line(1), _line(2), _line(3))
_SCHEMA_ALONE = {"responseSchema": {"type": "OBJECT", "properties": {"name": {"type": "STRING"}}}}
_BAD = (_line(1, **_SCHEMA_ALONE), _line(2, **_SCHEMA_ALONE))  # a schema asks for a JSON type beside it


def _upload(client: Client, lines: Sequence[Json]) -> str:
    return _upload_bytes(client, b"".join(json.dumps(line).encode() + b"\n" for line in lines))


def _upload_bytes(client: Client, data: bytes) -> str:
    file = client.files.upload(
        file=io.BytesIO(data), config={"mime_type": "application/jsonl", "display_name": "requests"}
    )
    return str(file.name)


def _create(client: Client, source: str) -> types.BatchJob:
    return client.batches.create(model=MODELS["gemini"], src=source, config={"display_name": "evening"})


def _follow(client: Client, name: str, wait: Callable[[], None]) -> types.BatchJob:
    """Look at the batch until it has ended, and at the file it left."""
    batch = client.batches.get(name=name)
    while batch.state not in _ENDED:
        wait()
        batch = client.batches.get(name=name)
    if batch.dest is not None and batch.dest.file_name is not None:
        client.files.download(file=batch.dest.file_name)
    return batch


def _complete(client: Client, lines: Sequence[Json], wait: Callable[[], None]) -> None:
    file_name = _upload(client, lines)
    client.files.get(name=file_name)
    name = str(_create(client, file_name).name)
    _follow(client, name, wait)
    client.files.delete(name=file_name)
    client.batches.delete(name=name)


def _ends(client: Client, lines: Sequence[Json], wait: Callable[[], None]) -> None:
    _follow(client, str(_create(client, _upload(client, lines)).name), wait)


def _inline(client: Client, lines: Sequence[Json], wait: Callable[[], None]) -> None:
    requests = [
        types.InlinedRequest(
            contents=line["request"]["contents"],
            config=types.GenerateContentConfig.model_validate(line["request"]["generationConfig"]),
            metadata={"key": line["key"]},
        )
        for line in lines
    ]
    batch = client.batches.create(model=MODELS["gemini"], src=requests, config={"display_name": "evening"})
    _follow(client, str(batch.name), wait)


def _cancelled(client: Client, lines: Sequence[Json], wait: Callable[[], None]) -> None:
    name = str(_create(client, _upload(client, lines)).name)
    wait()
    wait()
    client.batches.cancel(name=name)
    _follow(client, name, wait)


def _invalid_file(client: Client, lines: Sequence[Json], wait: Callable[[], None]) -> None:
    del lines
    _follow(client, str(_create(client, _upload_bytes(client, b'{"key": "request-1", "request":\n')).name), wait)


def _bad_key(client: Client, lines: Sequence[Json], wait: Callable[[], None]) -> None:
    del lines, wait
    with refused(errors.ClientError):
        client.batches.list(config={"page_size": 1})


def _unknown_id(client: Client, lines: Sequence[Json], wait: Callable[[], None]) -> None:
    del lines, wait
    for call in (client.batches.get, client.batches.cancel, client.batches.delete):
        with refused(errors.ClientError):
            call(name="batches/" + 36 * "0")
    for ask in (client.files.get, client.files.delete):
        with refused(errors.ClientError):
            ask(name="files/" + 12 * "0")


def _paging(client: Client, lines: Sequence[Json], wait: Callable[[], None]) -> None:
    for line in lines:
        _create(client, _upload(client, [line]))
        wait()
    list(client.files.list(config={"page_size": 2}))
    list(client.batches.list(config={"page_size": 2}))


SCENARIOS = {
    "complete": Scenario(_complete, _GOOD),
    "inline": Scenario(_inline, (*_GOOD[:2], _line(3, **_SCHEMA_ALONE))),
    "failures": Scenario(_ends, (*_GOOD[:2], _line(3, **_SCHEMA_ALONE))),
    "all_failed": Scenario(_ends, _BAD),
    "expired": Scenario(_ends, _GOOD, batch_seconds=3 * DAY_S, only_fake=NEVER_EXPIRES),
    "cancelled": Scenario(_cancelled, _GOOD),
    "invalid_file": Scenario(_invalid_file),
    "bad_key": Scenario(_bad_key, bad_key=True),
    "unknown_id": Scenario(_unknown_id),
    "paging": Scenario(_paging, _GOOD, batch_seconds=3 * DAY_S, only_fake=SHOWS_ACCOUNT),
}
