"""What a scenario is, for every service."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from batchfast.fake import Fault

# Cheap ones, which take a temperature and do not think: a recording at the service costs as little as it can.
MODELS = {"openai": "gpt-4.1-mini", "anthropic": "claude-haiku-4-5", "gemini": "gemini-2.5-flash"}
MAX_TOKENS = 60
PROMPTS = ("Name a river in Europe.", "Name a mountain in Asia.", "Name a desert in Africa.")

DAY_S = 86_400.0
BAD_KEY = "bad-key-of-nobody"

Json = dict[str, Any]


@dataclass(frozen=True)
class Scenario:
    """
    One cassette: what is done at a service, through its official SDK.

    Args:
        run: Called with the SDK's client, the request lines, and a function that lets time pass between two looks at a
            batch.
        lines: Every request it sends in batches, as the service takes them.
        batch_seconds: How long a batch takes at the fake.
        faults: What is planned to go wrong at the fake.
        bad_key: It is about a key that the service refuses.
        only_fake: Why it cannot be recorded at the service; None if it can.
    """

    run: Callable[[Any, Sequence[Json], Callable[[], None]], None]
    lines: Sequence[Json] = ()
    batch_seconds: float = 1000.0
    faults: tuple[Fault, ...] = ()
    bad_key: bool = False
    only_fake: str | None = None


NEVER_EXPIRES = "no batch can be made to expire there"
SHOWS_ACCOUNT = "it would show what else the account holds"


@contextmanager
def refused(error: type[Exception]) -> Iterator[None]:
    """The service must refuse what is done in here. Raises RuntimeError if it does not."""
    try:
        yield
    except error:
        return
    raise RuntimeError(f"the service did not refuse: no {error.__name__}")
