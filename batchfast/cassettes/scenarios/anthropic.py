"""What is recorded at Anthropic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

import anthropic

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

if TYPE_CHECKING:
    from anthropic.types.messages import MessageBatch
    from anthropic.types.messages.batch_create_params import Request


def _line(number: int, **params: object) -> Json:
    messages = [{"role": "user", "content": PROMPTS[number - 1]}]
    params = {"model": MODELS["anthropic"], "max_tokens": MAX_TOKENS, "messages": messages, **params}
    return {"custom_id": f"request-{number}", "params": params}


_GOOD = (_line(1), _line(2), _line(3))
_BAD = (_line(1, max_output_tokens=5), _line(2, max_output_tokens=5))  # no parameter of this service


def _create(client: anthropic.Anthropic, lines: Sequence[Json]) -> MessageBatch:
    # Some are wrong on purpose, so the lines are not of the SDK's type.
    return client.messages.batches.create(requests=cast("Sequence[Request]", lines))


def _follow(client: anthropic.Anthropic, batch: MessageBatch, wait: Callable[[], None]) -> None:
    """Look at the batch until it has ended, and at its results."""
    while batch.processing_status != "ended":
        wait()
        batch = client.messages.batches.retrieve(batch.id)
    list(client.messages.batches.results(batch.id))


def _complete(client: anthropic.Anthropic, lines: Sequence[Json], wait: Callable[[], None]) -> None:
    batch = _create(client, lines)
    _follow(client, client.messages.batches.retrieve(batch.id), wait)
    client.messages.batches.delete(batch.id)


def _ends(client: anthropic.Anthropic, lines: Sequence[Json], wait: Callable[[], None]) -> None:
    _follow(client, _create(client, lines), wait)


def _cancelled(client: anthropic.Anthropic, lines: Sequence[Json], wait: Callable[[], None]) -> None:
    batch = _create(client, lines)
    wait()
    wait()
    batch = client.messages.batches.cancel(batch.id)
    _follow(client, client.messages.batches.retrieve(batch.id), wait)


def _refused_as_a_whole(client: anthropic.Anthropic, lines: Sequence[Json], wait: Callable[[], None]) -> None:
    del wait
    with refused(anthropic.BadRequestError):
        _create(client, lines)
    with refused(anthropic.BadRequestError):
        _create(client, [])


def _bad_key(client: anthropic.Anthropic, lines: Sequence[Json], wait: Callable[[], None]) -> None:
    del lines, wait
    with refused(anthropic.AuthenticationError):
        client.messages.batches.list(limit=1)


def _unknown_id(client: anthropic.Anthropic, lines: Sequence[Json], wait: Callable[[], None]) -> None:
    del lines, wait
    batches = client.messages.batches
    for call in (batches.retrieve, batches.cancel, batches.delete, batches.results):
        with refused(anthropic.NotFoundError):
            call("msgbatch_" + 24 * "1")


def _paging(client: anthropic.Anthropic, lines: Sequence[Json], wait: Callable[[], None]) -> None:
    for line in lines:
        _create(client, [line])
        wait()
    batches = list(client.messages.batches.list(limit=2))
    list(client.messages.batches.list(limit=1, before_id=batches[-1].id))


SCENARIOS = {
    "complete": Scenario(_complete, _GOOD),
    "failures": Scenario(_ends, (*_GOOD[:2], _line(3, max_output_tokens=5))),
    "all_failed": Scenario(_ends, _BAD),
    "expired": Scenario(_ends, _GOOD, batch_seconds=1.5 * DAY_S, only_fake=NEVER_EXPIRES),
    "cancelled": Scenario(_cancelled, _GOOD),
    "invalid_file": Scenario(_refused_as_a_whole, (_GOOD[0], _GOOD[0])),
    "bad_key": Scenario(_bad_key, bad_key=True),
    "unknown_id": Scenario(_unknown_id),
    "paging": Scenario(_paging, _GOOD, batch_seconds=1.5 * DAY_S, only_fake=SHOWS_ACCOUNT),
}
