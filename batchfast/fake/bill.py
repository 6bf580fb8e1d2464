"""What the services would have charged: a small price table of the fake's own, and the ledger made with it."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from batchfast.fake.records import Batch
from batchfast.fake.service import Service

# List prices, USD per million tokens read and written.
# Collected from public price tables, read 2026-11. What a bill of the fake shows is which calls cost, and how often.
_USD_PER_MILLION = {
    "openai": {
        "gpt-3.5-turbo": (0.5, 1.5), "gpt-4.1": (2, 8), "gpt-4.1-mini": (0.4, 1.6), "gpt-4.1-nano": (0.1, 0.4),
        "gpt-4o": (2.5, 10), "gpt-4o-mini": (0.15, 0.6), "gpt-5": (1.25, 10), "gpt-5-mini": (0.25, 2),
        "gpt-5-nano": (0.05, 0.4), "gpt-5.6": (4, 20), "gpt-6-astra": (10, 50), "gpt-6-luna": (0.1, 0.5),
        "gpt-6-sol": (2, 10), "gpt-6.1-sol": (2, 10), "gpt-6.1-terra": (1, 5), "o3": (2, 8), "o4-mini": (1.1, 4.4),
        "text-embedding-3-large": (0.13, 0), "text-embedding-3-small": (0.02, 0),
    },
    "anthropic": {
        "claude-haiku-4-5": (1, 5), "claude-haiku-5-5": (0.1, 0.5), "claude-opus-4-5": (5, 25),
        "claude-opus-5": (5, 25),
        "claude-opus-5-5": (4, 20), "claude-sonnet-4-5": (3, 15), "claude-sonnet-5": (2, 10),
    },
    "gemini": {
        "gemini-2.5-flash": (0.3, 2.5), "gemini-2.5-flash-lite": (0.1, 0.4), "gemini-2.5-pro": (1.25, 10),
        "gemini-3.5-flash": (1.5, 9), "gemini-3.5-flash-lite": (0.3, 2.5), "gemini-3.6-flash": (0.75, 3.75),
        "gemini-3.8-flash": (0.75, 3.75), "gemini-4-argon": (2, 10),
    },
}  # fmt: skip
# What may follow the name: another model (gpt-5-pro) has another price.
_SNAPSHOT = r"(-latest|-preview|-\d{4}|-\d{8}|-\d{4}-\d\d-\d\d)?"
_BATCH_SHARE = 0.5


def ledger(service: Service) -> dict[str, Any]:
    """
    What a service accepted, answered and would have charged since it was last reset.

    Returns:
        `batches` and `requests` by what became of them, `answered_at_once` (live requests, at list price),
        `input_tokens`, `output_tokens`, `charged_usd` (batches at half the list price) and `unpriced_models`, which
        are not in it. A batch counts with its answers from its end on, collected or not, deleted or not.
    """
    now = service.state.now()
    accepted = service.state.batches.accepted(service.name)
    ended = [service.settled(one) if one.life.end != "failed" else one for one in accepted if one.ended(now)]
    live = service.state.answers(service.name)
    tokens = _Tokens(service.name)
    for batch in ended:
        for model, (read, written) in (batch.outcome.tokens if batch.outcome else {}).items():
            tokens.add(model, read, written, _BATCH_SHARE)
    for model, (_, read, written) in live.items():
        tokens.add(model, read, written, 1)
    return {
        "batches": {"accepted": len(accepted), "ended": len(ended)},
        "requests": _requests(accepted, ended),
        "answered_at_once": sum(requests for requests, _, _ in live.values()),
        "input_tokens": tokens.read,
        "output_tokens": tokens.written,
        "charged_usd": round(tokens.usd, 9),
        "unpriced_models": sorted(tokens.unpriced),
    }


def _requests(accepted: list[Batch], ended: list[Batch]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for batch in ended:
        counts.update(batch.outcome.counts if batch.outcome else {"rejected": batch.total})
    outcomes = {name: counts[name] for name in ("succeeded", "errored", "expired", "cancelled", "rejected")}
    total = sum(one.total for one in accepted)
    return {"accepted": total, "in_flight": total - sum(outcomes.values()), **outcomes}


class _Tokens:
    """Tokens of one service, and their price as far as it is known."""

    def __init__(self, provider: str) -> None:
        self.read = 0
        self.written = 0
        self.usd = 0.0
        self.unpriced: set[str] = set()
        self._prices = _USD_PER_MILLION[provider]

    def add(self, model: str, read: int, written: int, share: float) -> None:
        self.read += read
        self.written += written
        name = next((one for one in self._prices if re.fullmatch(re.escape(one) + _SNAPSHOT, model)), None)
        if name is None:
            self.unpriced.add(model)
            return
        price_read, price_written = self._prices[name]
        self.usd += share * (read * price_read + written * price_written) / 1e6
