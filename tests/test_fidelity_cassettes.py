"""The cassettes against the same tables as the fake: what is played back is what a service says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.fidelity import TABLES
from tests.fidelity.facts import Answer
from tests.fidelity.sdk_types import KNOWN, unknown_to_the_sdk

FOLDER = Path(__file__).resolve().parents[1] / "cassettes"
CASSETTES = sorted(FOLDER.glob("*/*.yaml"))
# Facts of the connection and of the machine that answered: no cassette keeps them.
NOT_KEPT = frozenset({"openai-processing-ms", "server", "server-timing"})
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

pytestmark = pytest.mark.skipif(not CASSETTES, reason="no cassette has been recorded")


def answers(path: Path) -> Iterator[Answer]:
    """Every answer on a cassette, as of the day its head says it was recorded."""
    text = path.read_text()
    day = re.search(r"^#.*\bon (\d{4}-\d\d-\d\d)", text, re.MULTILINE)
    assert day is not None, f"{path}: its head names no day"
    for one in yaml.load(text, _Loader)["interactions"]:  # noqa: S506 - it is a safe loader
        request, response = one["request"], one["response"]
        headers = {name.lower(): ", ".join(values) for name, values in response["headers"].items()}
        body = response["body"]["string"] or b""
        raw = body.encode() if isinstance(body, str) else body
        yield Answer(request["method"], request["uri"], response["status"]["code"], headers, raw, day[1])


@pytest.mark.parametrize("path", CASSETTES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_cassette_says_what_the_table_says(path: Path) -> None:
    """Every answer on it is one the table tells of, and looks like it."""
    table = TABLES[path.parent.name]
    checked = [table.check(answer, ignored_headers=NOT_KEPT) for answer in answers(path)]
    wrong = {one for _, found in checked for one in found}
    assert not wrong, "\n".join(sorted(wrong))
    assert any(entries for entries, _ in checked), "nothing was checked"


@pytest.mark.parametrize("path", CASSETTES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_the_sdk_knows_what_a_cassette_says(path: Path) -> None:
    """Field by field, but for what real answers have and no SDK knows."""
    table = TABLES[path.parent.name]
    unknown = {one for answer in answers(path) for one in unknown_to_the_sdk(table, answer)} - set(KNOWN)
    assert not unknown, "\n".join(sorted(unknown))


def test_every_provider_has_cassettes() -> None:
    """One folder for each, and nothing in it that no table is for."""
    assert {path.parent.name for path in CASSETTES} == set(TABLES)
