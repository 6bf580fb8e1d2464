"""The one decision about a failed request."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchfast.parse import parse_reply
from batchfast.records import OUTCOMES, Ending, Outcome, RequestError, Result
from batchfast.retry import GIVE_UP, HOLD_BAD_KEY, HOLD_NO_CREDIT, SEND_AGAIN, Verdict, decide

TYPES = [
    "invalid_request_error", "invalid_api_key", "authentication_error", "permission_error", "insufficient_quota",
    "billing_error", "enforced_spend_limit_reached", "rate_limit_error", "overloaded_error", "RESOURCE_EXHAUSTED",
    "INVALID_ARGUMENT", "missing", "unparsable", "empty", "refused", "blocked", "truncated", "content_filter",
    "model_not_found", "something_new",
]  # fmt: skip
ERRORS = st.builds(
    RequestError,
    st.sampled_from(TYPES),
    st.sampled_from(
        ["", "API key not valid.", "Your credit balance is too low to access the API.", "no model for you"]
    ),
    st.sampled_from([None, 0, 200, 400, 401, 402, 403, 404, 413, 429, 500, 503, 529]),
    st.booleans(),
)
RETRYABLE = [
    RequestError("rate_limit_exceeded", "slow down", 429),
    RequestError("requests", "", 429),
    RequestError("server_error", "", 500),
    RequestError("", "", 503),
    RequestError("", "no status", 0),
    RequestError("overloaded_error", "Overloaded"),
    RequestError("api_error", "Internal server error"),
    RequestError("timeout_error", ""),
    RequestError(
        "RESOURCE_EXHAUSTED", "You exceeded your current quota, please check your plan and billing details.", 429
    ),
    RequestError("UNAVAILABLE", "The model is overloaded.", 503),
    RequestError("missing", "no line", retryable=True),
    RequestError("unparsable", "prose", retryable=True),
    RequestError("empty", "", retryable=True),
    RequestError("conflict_error", "", 409),
    RequestError("no_body", "the response has no body", 200, retryable=True),
]
PERMANENT = [
    RequestError("invalid_request_error", "max_tokens: Field required", 400),
    RequestError("INVALID_ARGUMENT", "bad schema", 400),
    RequestError("model_not_found", "Project does not have access to model `x`", 403),
    RequestError("permission_error", "Your key may not use this model.", 403),
    RequestError("not_found_error", "model: x"),
    RequestError("content_filter", "", 200),
    RequestError("refused", ""),
    RequestError("blocked", ""),
    RequestError("truncated", ""),
    RequestError("refused", "", retryable=True),
    RequestError("something_new", "", 418),
]
HOLDS = [
    (RequestError("authentication_error", "invalid x-api-key"), HOLD_BAD_KEY),
    (RequestError("invalid_api_key", "Incorrect API key provided", 401), HOLD_BAD_KEY),
    (RequestError("INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", 400), HOLD_BAD_KEY),
    (RequestError("UNAUTHENTICATED", "", 401), HOLD_BAD_KEY),
    (RequestError("permission_error", "Your API key lacks access to batches.", 403), HOLD_BAD_KEY),
    (RequestError("PERMISSION_DENIED", "Consumer has been suspended.", 403), HOLD_BAD_KEY),
    (RequestError("insufficient_quota", "You exceeded your current quota", 429), HOLD_NO_CREDIT),
    (RequestError("billing_hard_limit_reached", "Billing hard limit has been reached", 400), HOLD_NO_CREDIT),
    (RequestError("billing_error", "", 402), HOLD_NO_CREDIT),
    (RequestError("enforced_spend_limit_reached", "", 429, retryable=True), HOLD_NO_CREDIT),
    (RequestError("invalid_request_error", "Your credit balance is too low to proceed.", 400), HOLD_NO_CREDIT),
    (RequestError("invalid_request_error", "You have reached your specified API usage limits.", 400), HOLD_NO_CREDIT),
]  # fmt: skip


@pytest.mark.parametrize("error", RETRYABLE, ids=lambda error: f"{error.type}-{error.status_code}")
def test_passing_troubles_are_sent_again_until_attempts_are_used_up(error: RequestError) -> None:
    """Attempt n of N is followed by another only while n < N."""
    assert [decide("failed", error, attempt, 3) for attempt in (1, 2, 3, 4)] == [
        SEND_AGAIN,
        SEND_AGAIN,
        GIVE_UP,
        GIVE_UP,
    ]


@pytest.mark.parametrize("error", PERMANENT, ids=lambda error: f"{error.type}-{error.status_code}")
def test_what_would_fail_again_is_given_up_at_once(error: RequestError) -> None:
    """Burning attempts on it costs money and gives nothing."""
    assert decide("failed", error, 1) == GIVE_UP


@pytest.mark.parametrize(("error", "verdict"), HOLDS, ids=lambda value: getattr(value, "type", None))
def test_trouble_with_key_or_account_holds_the_run(error: RequestError, verdict: Verdict) -> None:
    """No other request would fare better until a person acts, whichever attempt this was."""
    assert {decide("failed", error, attempt, 3) for attempt in (1, 3, 9)} == {verdict}
    assert verdict.reason in ("bad key", "no credit")


def test_reply_that_cannot_be_used_is_sent_again() -> None:
    """Its result is "succeeded"; that it gave nothing decides."""
    assert decide("succeeded", RequestError("unparsable", "prose", retryable=True), 1) == SEND_AGAIN


HOLDING_WORDS = [
    "Incorrect API key provided. A dialogue between two clerks.",
    "API key not valid, said the sign.",
    "Your credit balance is too low, the bank wrote.",
]


@pytest.mark.parametrize("text", HOLDING_WORDS)
@pytest.mark.parametrize(
    ("ending", "action"), [("complete", "send_again"), ("refused", "give_up"), ("truncated", "give_up")]
)
def test_words_of_a_reply_never_hold_the_run(text: str, ending: Ending, action: str) -> None:
    """An unusable reply is quoted in its error, and a model may write what a provider says of a bad key."""
    reply = parse_reply(Result("r-1", "succeeded", text, ending=ending), 1)
    assert reply.error is not None
    assert text[:20] in reply.error.message
    assert decide("succeeded", reply.error, 1).action == action
    assert decide("succeeded", reply.error, 3) == GIVE_UP


@pytest.mark.parametrize("type_", ["blocked", "empty", "missing", "expired", "cancelled", "results_gone"])
def test_messages_of_our_own_errors_are_not_searched(type_: str) -> None:
    """Only a provider can say that its key or credit is bad."""
    for text in HOLDING_WORDS:
        assert decide("failed", RequestError(type_, text), 3).action == "give_up"


def test_expired_is_sent_again_with_or_without_an_error() -> None:
    """The provider never got to it."""
    assert decide("expired", None, 1) == SEND_AGAIN
    assert decide("expired", RequestError("batch_expired", "24h"), 2) == SEND_AGAIN
    assert decide("expired", None, 3) == GIVE_UP


@given(st.sampled_from(OUTCOMES), st.none() | ERRORS, st.integers(1, 9), st.integers(1, 5))
def test_verdict_keeps_its_limits(
    outcome: Outcome, error: RequestError | None, attempt: int, max_attempts: int
) -> None:
    """Never sent again at the last attempt or once cancelled; a hold depends on the error alone and has a reason."""
    verdict = decide(outcome, error, attempt, max_attempts)
    if attempt >= max_attempts or outcome == "cancelled":
        assert verdict.action != "send_again"
    if outcome == "cancelled":
        assert verdict == GIVE_UP
    else:
        assert (verdict.action == "hold") == (decide("failed", error, 1, 1).action == "hold")
    assert (verdict.reason is not None) == (verdict.action == "hold")
