"""The script, on batchfast's fake and on a recorded batch; the script itself knows nothing of batchfast."""

from __future__ import annotations

from collections.abc import Callable

import openai
import pytest
import reviews
from vcr.cassette import Cassette

from batchfast.fake import FakeServer, Fault
from batchfast.pytest_plugin import VirtualClock

Night = Callable[[], tuple[dict[str, str], dict[str, str]]]


@pytest.fixture
def night(batchfast_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> Night:
    """Runs the script from upload to download. Nobody sleeps, neither the script nor the SDK before it tries again."""
    monkeypatch.setattr("time.sleep", batchfast_clock.sleep)

    def run() -> tuple[dict[str, str], dict[str, str]]:
        with openai.OpenAI() as client:
            batch_id = reviews.submit(client, ["It broke at once.", "Quiet, sturdy, cheap.", "The colour is wrong."])
            return reviews.download(client, reviews.wait(client, batch_id))

    return run


def test_every_review_has_its_answer(night: Night) -> None:
    answers, errors = night()
    assert sorted(answers) == ["review-0", "review-1", "review-2"]
    assert not errors


@pytest.mark.batchfast_faults(Fault("error", custom_id="^review-1$", status=400, message="too rude"))
def test_one_bad_review_does_not_spoil_the_others(night: Night) -> None:
    """The service puts it into an error file of its own."""
    answers, errors = night()
    assert sorted(answers) == ["review-0", "review-2"]
    assert errors == {"review-1": "too rude"}


@pytest.mark.batchfast_faults(Fault("stick"))
def test_a_batch_that_never_ends_expires(
    night: Night, batchfast_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A day of waiting takes no time."""
    monkeypatch.setattr(reviews, "POLL_S", 3600)
    started = batchfast_clock.now()
    answers, errors = night()
    assert not answers
    assert len(errors) == 3
    assert batchfast_clock.now() - started >= 24 * 3600


@pytest.mark.batchfast_faults(Fault("cut", route="poll", nth=1), Fault("status", route="results", nth=1, status=503))
def test_a_bad_connection_is_tried_again(night: Night, batchfast_fake: FakeServer) -> None:
    """The SDK asks again by itself, and nothing is ordered twice."""
    answers, _ = night()
    assert len(answers) == 3
    assert len(batchfast_fake.batches("openai")) == 1


@pytest.mark.batchfast_faults(Fault("status", route="upload", status=401))
def test_a_bad_key_stops_the_script(night: Night) -> None:
    with pytest.raises(openai.AuthenticationError):
        night()


@pytest.mark.batchfast_cassette("openai/complete", allow_unplayed=True)
def test_a_recorded_batch_can_be_read(batchfast_cassette: Cassette, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cassette also holds the order, which was another one, and the cleaning up: hence `allow_unplayed`."""
    monkeypatch.setattr(reviews, "POLL_S", 0)
    paths = [call.path for call in batchfast_cassette.requests]
    batch_id = next(path for path in paths if path.startswith("/v1/batches/")).rpartition("/")[2]
    with openai.OpenAI() as client:
        answers, errors = reviews.download(client, reviews.wait(client, batch_id))
    assert sorted(answers) == ["request-1", "request-2", "request-3"]
    assert not errors
