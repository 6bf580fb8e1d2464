"""The tables of `tests/fidelity` against recordings of the services themselves: facts, not opinions."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import RECORDED
from tests.fidelity import TABLES
from tests.fidelity.anthropic_facts import RESULTS
from tests.fidelity.facts import Answer, Lines
from tests.fidelity.gemini_facts import LINES
from tests.fidelity.openai_facts import ERRORS, OUTPUT
from tests.fidelity.sdk_types import KNOWN, unknown_to_the_sdk

pytestmark = pytest.mark.skipif(not RECORDED.is_dir(), reason="no recorded traffic beside the checkout")

# Result files that came without the recording that would date them: the year is that of their ids.
UNDATED = {
    "anthropic/curator--fixtures-basic_batch_reasoning_completion.results.jsonl": "2025-04",
    "gemini/cookbook--Batch_mode.ipynb_cell25.results.jsonl": "2025-07",
    "openai/Chat-Bot--error_file.errors.results.jsonl": "2025-07",
}


def recorded(provider: str) -> Iterator[Answer]:
    """Every answer in the recordings of a provider but those that somebody edited."""
    for path in sorted((RECORDED / provider).glob("*.json")):
        recording = json.loads(path.read_text())
        edited = {int(found[1]) for doubt in recording["doubts"] if (found := re.match(r"\[(\d+)\]", doubt))}
        for number, one in enumerate(recording["interactions"]):
            if number in edited:
                continue
            headers = {
                name.lower(): ", ".join(value) if isinstance(value, list) else value
                for name, value in one["response_headers"].items()
            }
            body = one["response_body"].encode()
            yield Answer(one["method"], one["url"], one["status"], headers, body, recording["recorded_or_committed"])


@pytest.mark.parametrize("provider", TABLES)
def test_the_table_holds_for_recorded_traffic(provider: str) -> None:
    """What the services once said, they said as the table has it for the day they said it."""
    seen: set[str] = set()
    wrong: list[str] = []
    for answer in recorded(provider):
        entries, found = TABLES[provider].check(answer)
        seen |= entries
        wrong += found
    assert not wrong, "\n".join(sorted(set(wrong)))
    assert seen


@pytest.mark.parametrize("provider", TABLES)
def test_what_the_sdk_does_not_know_is_real(provider: str) -> None:
    """The excuses are not for the fake: recorded answers go through the SDKs' types with no others."""
    unknown = {one for answer in recorded(provider) for one in unknown_to_the_sdk(TABLES[provider], answer)}
    assert not unknown - set(KNOWN), "\n".join(sorted(unknown))


def lines_of(place: str) -> Lines:
    kinds = {"openai": ERRORS if ".errors." in place else OUTPUT, "anthropic": RESULTS, "gemini": LINES}
    return kinds[place.split("/")[0]]


def day_of(path: Path, place: str) -> str:
    recording = path.with_name(path.name.replace(".results.jsonl", ".json"))
    return UNDATED.get(place) or json.loads(recording.read_text())["recorded_or_committed"]


@pytest.mark.parametrize("path", sorted(RECORDED.glob("*/*.results.jsonl")), ids=lambda path: path.name[:40])
def test_the_table_holds_for_recorded_result_files(path: Path) -> None:
    """Every line of a genuine result file is of a kind the table knows, and looks like it."""
    place = f"{path.parent.name}/{path.name}"
    checked = list(lines_of(place).read(path.read_bytes(), day_of(path, place)))
    assert [one for _, found in checked for one in found] == []
    assert [kind for kind, _ in checked if kind]
