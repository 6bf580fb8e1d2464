"""Everything the fake answers while it is brought into all of its states."""

from __future__ import annotations

from functools import cache
from types import ModuleType

from batchfast.fake import FakeServer
from tests.fidelity import drive_anthropic, drive_gemini, drive_openai
from tests.fidelity.calls import Caller
from tests.fidelity.facts import Answer

DRIVES: dict[str, ModuleType] = {"openai": drive_openai, "anthropic": drive_anthropic, "gemini": drive_gemini}
FOUR_DAYS_S = 4 * 86_400


@cache
def driven(provider: str) -> list[Answer]:
    """What the fake answered while it was brought into all its states; the fake knew every route."""
    answers = []
    drive = DRIVES[provider]
    for seconds, tour in ((1000, drive.drive), (FOUR_DAYS_S, drive.drive_expiry)):
        with FakeServer(batch_seconds=seconds) as fake, Caller(fake, provider) as caller:
            tour(caller)
            assert fake.errors == []
            assert fake.unknown_routes == []
        answers += caller.answers
    return answers
