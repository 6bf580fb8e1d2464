"""The fake against the tables of `tests/fidelity`: every endpoint, in every state."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchfast.fake.anthropic import Anthropic
from batchfast.fake.gemini import Gemini
from batchfast.fake.openai import OpenAI
from batchfast.fake.state import State
from tests.fidelity import TABLES
from tests.fidelity.drives import driven


@pytest.mark.parametrize("provider", TABLES)
def test_the_fake_answers_as_the_table_says(provider: str) -> None:
    """Status, headers, layout, keys and their order, types, what is null and what is absent."""
    wrong = [one for answer in driven(provider) for one in TABLES[provider].check(answer)[1]]
    assert not wrong, "\n".join(sorted(set(wrong)))


@pytest.mark.parametrize("provider", TABLES)
def test_the_fake_comes_into_every_state_of_the_table(provider: str) -> None:
    """A fact that no answer is held against is no fact: each has been seen at least once."""
    seen = {entry for answer in driven(provider) for entry in TABLES[provider].check(answer)[0]}
    assert TABLES[provider].entries - seen == set()


@pytest.mark.parametrize("service", [OpenAI, Anthropic, Gemini], ids=lambda one: one.name)
def test_every_route_has_a_fact(tmp_path: Path, service: type[OpenAI | Anthropic | Gemini]) -> None:
    """A new one asks for its line in the table."""
    state = State(tmp_path)
    routes = {_plain(f"{one.method} {one.path}") for one in service(state, "").endpoints()}
    state.close()
    assert routes - {_plain(fact.call) for fact in TABLES[service.name].facts} == set()


def _plain(call: str) -> str:
    """The pieces of an upload come by either method, and a base URL may end in the version."""
    return call.replace("POST /upload", "PUT /upload").replace(" /v1/", " /")
