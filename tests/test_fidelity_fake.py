"""The fake against the tables of `tests/fidelity`: every endpoint, in every state."""

from __future__ import annotations

import pytest

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
