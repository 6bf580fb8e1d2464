"""
One failed request: send it again, give it up, or hold the run.

Providers say the same thing in different places: OpenAI and Gemini with an HTTP status per line, Anthropic with a type
alone, a spend limit as a 429, a bad key as a 400. So status, type and message are all looked at.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from batchfast.records import Outcome, RequestError

DEFAULT_MAX_ATTEMPTS = 3

# How often the token limit of a request is doubled (count): what needs more than four times as much runs away.
MAX_DOUBLINGS = 2


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    What to do about a failed request.

    Attributes:
        action: "send_longer" is with the token limit doubled; "hold" stops the run until a person acts: no other
            request would fare better.
        reason: Of a hold, "bad key" or "no credit"; else None.
    """

    action: Literal["send_again", "send_longer", "give_up", "hold"]
    reason: Literal["bad key", "no credit"] | None = None


SEND_AGAIN = Verdict("send_again")
SEND_LONGER = Verdict("send_longer")
GIVE_UP = Verdict("give_up")
HOLD_BAD_KEY = Verdict("hold", "bad key")
HOLD_NO_CREDIT = Verdict("hold", "no credit")

# Lower case; types of OpenAI (its code, or its type where that is null), Anthropic, Gemini, and ours.
_BAD_KEY = {"authentication_error", "invalid_api_key", "unauthenticated", "api_key_invalid"}
_NO_PERMISSION = {"permission_error", "permission_denied"}
_NO_CREDIT = {
    "insufficient_quota", "billing_error", "billing_hard_limit_reached", "billing_not_active",
    "enforced_spend_limit_reached",
}  # fmt: skip
_PERMANENT = {
    "refused", "blocked", "truncated", "cancelled", "content_filter", "content_policy_violation",
    "model_not_found", "not_found_error", "not_found",
}  # fmt: skip
_TRANSIENT = {
    "missing", "unparsable", "empty", "expired", "batch_expired",
    "server_error", "rate_limit_exceeded", "rate_limit_error", "api_error", "timeout_error", "overloaded_error",
    "internal", "unavailable", "deadline_exceeded", "resource_exhausted",
}  # fmt: skip

# Errors batchfast makes itself: their message quotes the reply, and what a model wrote must not hold a run.
_OURS = {
    "refused", "blocked", "truncated", "unparsable", "empty", "missing", "expired", "cancelled", "results_gone",
}  # fmt: skip

# Where the type alone says no more than "invalid request" (Gemini: bad key; Anthropic: no credit, own limit).
_BAD_KEY_MESSAGE = re.compile(
    r"api key (not valid|not found|expired)|incorrect api key|invalid x-api-key", re.IGNORECASE
)
_NO_CREDIT_MESSAGE = re.compile(
    r"credit balance is too low|billing hard limit|reached your specified api usage limits", re.IGNORECASE
)


def decide(
    outcome: Outcome,
    error: RequestError | None,
    attempt: int,
    max_attempts: int = DEFAULT_MAX_ATTEMPTS,
    *,
    cut_after: int | None = None,
) -> Verdict:
    """
    What to do about a request that gave no text, or fewer than asked for because it was cut short.

    Args:
        outcome: Its result's outcome; "succeeded" where the reply came but could not be used.
        error: Why; the result's own or the one from `parse`.
        attempt: Which attempt this was, counted from 1.
        max_attempts: How often a request may be sent (count). A hold does not depend on it.
        cut_after: Where its token limit cut the reply short: how often that had been doubled (count).
    """
    if cut_after is not None:
        return SEND_LONGER if cut_after < MAX_DOUBLINGS and attempt < max_attempts else GIVE_UP
    if outcome == "cancelled":
        return GIVE_UP
    if error is not None and (hold := _hold(error)):
        return hold
    if attempt < max_attempts and (outcome == "expired" or (error is not None and _is_transient(error))):
        return SEND_AGAIN
    return GIVE_UP


def _hold(error: RequestError) -> Verdict | None:
    kind = error.type.lower()
    message = "" if error.type in _OURS else error.message
    if kind in _NO_CREDIT or error.status_code == 402 or _NO_CREDIT_MESSAGE.search(message):
        return HOLD_NO_CREDIT
    if kind in _BAD_KEY or error.status_code == 401 or _BAD_KEY_MESSAGE.search(message):
        return HOLD_BAD_KEY
    refused_to_all = kind in _NO_PERMISSION or error.status_code == 403
    # A key without one model is no bad key: the run's other models go on.
    if refused_to_all and kind not in _PERMANENT and "model" not in message.lower():
        return HOLD_BAD_KEY
    return None


def _is_transient(error: RequestError) -> bool:
    kind, status = error.type.lower(), error.status_code
    if kind in _PERMANENT or kind in _NO_PERMISSION:
        return False
    if kind in _TRANSIENT or (status is not None and (status in (0, 408, 409, 429) or status >= 500)):
        return True
    # The adapter has seen more of the provider's words than `type` keeps.
    return error.retryable
