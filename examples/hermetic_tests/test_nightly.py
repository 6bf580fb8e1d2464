"""The pipeline, from the order to the rows, on good nights and bad ones."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import nightly
import pytest

from batchfast import NotReady
from batchfast.fake import FakeServer, Fault
from batchfast.pytest_plugin import VirtualClock

pytestmark = pytest.mark.usefixtures("batchfast_home")


def languages(path: Path) -> Counter[str]:
    return Counter(json.loads(line)["language"] for line in path.read_text(encoding="utf-8").splitlines())


def test_every_text_arrives(batchfast_fake: FakeServer, tmp_path: Path) -> None:
    """3 topics x 2 languages x 2 samples x 2 models, in one batch a model."""
    assert languages(nightly.collect(nightly.order(tmp_path))) == {"en": 12, "fr": 12}
    assert [len(batchfast_fake.batches(provider)) for provider in ("openai", "anthropic")] == [1, 1]


@pytest.mark.batchfast_faults(Fault("lose", provider="openai", route="create", nth=1))
def test_a_lost_answer_is_not_paid_twice(
    batchfast_fake: FakeServer, batchfast_clock: VirtualClock, tmp_path: Path
) -> None:
    """OpenAI took the batch, and the connection broke before it said so: the batch is found, not sent again."""
    run_id = nightly.order(tmp_path, clock=batchfast_clock)
    assert languages(nightly.collect(run_id, clock=batchfast_clock)).total() == 24
    assert [batch.requests for batch in batchfast_fake.batches("openai")] == [6]


@pytest.mark.batchfast_faults({"does": "stick", "provider": "anthropic"})
def test_collecting_too_early_loses_nothing(batchfast_fake: FakeServer, tmp_path: Path) -> None:
    """One of the two batches is not through by the morning, but is at noon."""
    run_id = nightly.order(tmp_path)
    with pytest.raises(NotReady):
        nightly.collect(run_id)
    batchfast_fake.finish_all()
    assert languages(nightly.collect(run_id)).total() == 24


@pytest.mark.batchfast_faults("rough_night.toml")
def test_a_rough_night_gives_the_same_rows(
    batchfast_fake: FakeServer, batchfast_clock: VirtualClock, tmp_path: Path
) -> None:
    """A third of the requests fail at first and are sent again, an hour later; results come in any order."""
    run_id = nightly.order(tmp_path, clock=batchfast_clock)
    with pytest.raises(NotReady):
        nightly.collect(run_id, clock=batchfast_clock)
    batchfast_clock.advance(hours=1)
    assert languages(nightly.collect(run_id, clock=batchfast_clock)) == {"en": 12, "fr": 12}
    assert [batch.requests for batch in batchfast_fake.batches("openai")] == [2, 6]
