"""Genuine traffic of the three services, where it lies beside the project: the adapters read all of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from batchfast.jsonl import located_lines
from batchfast.llms import PROVIDERS
from batchfast.llms import anthropic as anthropic_adapter
from batchfast.llms import gemini as gemini_adapter
from batchfast.llms import openai as openai_adapter
from batchfast.records import BatchSnapshot

RECORDED = Path(__file__).resolve().parents[2] / "shared" / "recorded"
pytestmark = pytest.mark.skipif(not RECORDED.is_dir(), reason=f"no recorded traffic at {RECORDED}")

RESULT_FILES = sorted(RECORDED.glob("*/*.results.jsonl"))
RECORDINGS = sorted(RECORDED.glob("*/*.json"))


def place(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


@pytest.mark.parametrize("path", RESULT_FILES, ids=place)
def test_every_recorded_result_line_is_read(path: Path) -> None:
    """Lines of an output file succeeded, with text, model and usage; lines of an error file failed, with a reason."""
    provider = PROVIDERS[path.parent.name]("any-model")
    results = [provider.decode(line) for _, line in located_lines(path)]
    assert results
    assert len({result.custom_id for result in results}) == len(results)
    for result in results:
        if path.name.endswith(".errors.results.jsonl"):
            assert result.outcome == "failed"
            assert result.error is not None
            assert result.error.status_code == 400
            assert result.error.message
            assert not result.error.retryable
            continue
        assert result.outcome == "succeeded"
        assert result.text
        assert result.model
        assert result.ending in ("complete", "truncated")
        assert result.usage is not None
        assert result.usage.input_tokens
        assert result.usage.output_tokens


def test_recorded_thoughts_are_counted_as_output() -> None:
    """829 tokens of thought and 11 of text are 840 tokens of output, as Gemini bills them."""
    path = RECORDED / "gemini" / "cookbook--Batch_mode.ipynb_cell25.results.jsonl"
    first = next(data for _, data in located_lines(path))
    usage = PROVIDERS["gemini"]("any-model").decode(first).usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.reasoning_tokens) == (8, 840, 829)


def batches_of(recording: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every batch object in the answers, those in lists too."""
    for interaction in recording["interactions"]:
        try:
            body = json.loads(interaction["response_body"])
        except ValueError:
            continue
        entries = [body, *body.get("data", ()), *body.get("operations", ())]
        for entry in entries:
            named = str(entry.get("name", "")).startswith("batches/")
            if named or entry.get("object") == "batch" or entry.get("type") == "message_batch":
                yield entry


def read(path: Path) -> list[tuple[dict[str, Any], BatchSnapshot]]:
    snapshot_of = {
        "openai": openai_adapter.snapshot_of,
        "anthropic": anthropic_adapter.snapshot_of,
        "gemini": gemini_adapter.snapshot_of,
    }[path.parent.name]
    return [(batch, snapshot_of(batch)) for batch in batches_of(json.loads(path.read_text()))]


@pytest.mark.parametrize("path", RECORDINGS, ids=place)
def test_every_recorded_batch_is_mapped(path: Path) -> None:
    """The adapters know each state that was ever seen, and the recording's own tally of states is met."""
    pairs = read(path)
    tally = json.loads(path.read_text())["states"]
    assert Counter(snapshot.remote_state for _, snapshot in pairs) == {
        state: count
        for state, count in tally.items()
        if state != "ACTIVE"  # a file's
    }
    for batch, snapshot in pairs:
        assert snapshot.known_state
        assert snapshot.remote_id == (batch.get("id") or batch.get("name"))
        assert snapshot.created_at is not None
        assert snapshot.created_at.endswith("Z")
        assert (snapshot.ended_at is None) is (snapshot.outcome is None)


@pytest.mark.parametrize("path", RECORDINGS, ids=place)
def test_recorded_batches_end_when_their_service_says_so(path: Path) -> None:
    """Outcome, files, counts and deadline, taken from each recorded object by its service's own fields."""
    for batch, snapshot in read(path):
        {"openai": check_openai, "anthropic": check_anthropic, "gemini": check_gemini}[path.parent.name](
            batch, snapshot
        )


def check_openai(batch: dict[str, Any], snapshot: BatchSnapshot) -> None:
    ended = batch["status"] in ("completed", "failed", "expired", "cancelled")
    assert snapshot.outcome == (batch["status"] if ended else None)
    files = {file.kind: file.ref for file in snapshot.files}
    there = {"output": batch["output_file_id"], "error": batch["error_file_id"]}
    assert files == ({kind: ref for kind, ref in there.items() if ref} if ended else {})
    assert snapshot.counts == batch["request_counts"]
    assert snapshot.errors == ()
    assert snapshot.collect_by is None


def check_anthropic(batch: dict[str, Any], snapshot: BatchSnapshot) -> None:
    ended = batch["processing_status"] == "ended"
    assert (snapshot.outcome is not None) is ended
    if batch["cancel_initiated_at"] and ended:
        assert snapshot.outcome == "cancelled"
    assert len(snapshot.files) == (1 if ended and batch["results_url"] else 0)
    assert snapshot.counts == batch["request_counts"]
    assert snapshot.collect_by is not None
    assert snapshot.created_at is not None
    assert snapshot.collect_by > snapshot.created_at


def check_gemini(batch: dict[str, Any], snapshot: BatchSnapshot) -> None:
    # The one recorded batch had its requests inline: at its end it lacks the file that ours have.
    assert "responsesFile" not in json.dumps(batch)
    ended = batch["metadata"]["state"] == "BATCH_STATE_SUCCEEDED"
    assert (snapshot.outcome, snapshot.late) == ("completed" if ended else None, ended)
    assert snapshot.files == ()
    assert snapshot.counts["requestCount"] == 2
    assert snapshot.collect_by is not None
