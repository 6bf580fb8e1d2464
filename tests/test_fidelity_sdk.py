"""The fake's answers through the types of the official SDKs, field by field."""

from __future__ import annotations

import pytest

from tests.fidelity import TABLES
from tests.fidelity.drives import driven
from tests.fidelity.sdk_types import KNOWN, READERS, unknown_to_the_sdk


def found_in(provider: str) -> set[str]:
    return {one for answer in driven(provider) for one in unknown_to_the_sdk(TABLES[provider], answer)}


@pytest.mark.parametrize("provider", TABLES)
def test_the_sdk_knows_every_field_of_every_answer(provider: str) -> None:
    """Nothing missing, nothing of another type, and nothing extra but what real answers have too."""
    unknown = found_in(provider) - set(KNOWN)
    assert not unknown, "\n".join(sorted(unknown))


def test_nothing_is_excused_in_vain() -> None:
    """What an SDK has learned since, or nobody answers any more, needs no excuse."""
    found = {one for provider in TABLES for one in found_in(provider)}
    assert set(KNOWN) - found == set()


@pytest.mark.parametrize("provider", TABLES)
def test_every_answer_has_a_type(provider: str) -> None:
    """A new endpoint in a table asks for its type."""
    assert {fact.call for fact in TABLES[provider].facts if fact.status < 400} == set(READERS[provider])
