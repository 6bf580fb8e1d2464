"""Tokens to money: by hand for a few models, and against the table's own arithmetic for all."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from typing import Any

import pytest
from genai_prices import Usage as TableUsage
from genai_prices import calc_price
from genai_prices.data_snapshot import get_snapshot
from hypothesis import given, settings
from hypothesis import strategies as st

from batchfast.prices import cost, estimate, rates, rates_of
from batchfast.records import Usage


def usd(amount: float) -> Any:
    return pytest.approx(amount, rel=1e-12)


def cost_of(
    provider: str, asked: str, answered: str | None, usage: Usage | None, override: dict[str, float] | None = None
) -> float | None:
    return cost(usage, rates_of(provider, asked, answered, override=override))


def test_batch_price_by_hand() -> None:
    """gpt-4.1-mini in a batch: 0.20 in, 0.10 cached, 0.80 out per million. Cached tokens are part of the input."""
    usage = Usage(1_000_000, 500_000, cached_input_tokens=400_000)
    assert cost_of("openai", "gpt-4.1-mini-2025-04-14", None, usage) == usd(0.6 * 0.20 + 0.4 * 0.10 + 0.5 * 0.80)


def test_cache_writes_have_their_own_price() -> None:
    """claude-haiku-4-5 in a batch: 0.50 in, 0.05 read, 0.625 written, 2.50 out; input counts all three."""
    usage = Usage(1_000_000, 100_000, cached_input_tokens=300_000, cache_write_tokens=200_000)
    expected = 0.5 * 0.50 + 0.3 * 0.05 + 0.2 * 0.625 + 0.1 * 2.50
    assert cost_of("anthropic", "claude-haiku-4-5", "claude-haiku-4-5-20251001", usage) == usd(expected)


@pytest.mark.parametrize(
    ("input_tokens", "expected"),
    [(200_000, 0.2 * 0.625 + 0.001 * 5), (200_001, 0.200001 * 1.25 + 0.001 * 7.5)],
)
def test_tier_goes_by_the_input_of_one_request(input_tokens: int, expected: float) -> None:
    """gemini-2.5-pro doubles its input price above 200,000 tokens, for all tokens of the request."""
    assert cost_of("gemini", "gemini-2.5-pro", None, Usage(input_tokens, 1_000)) == usd(expected)


def test_model_without_batch_price_is_assumed_at_half() -> None:
    """gpt-4-32k is listed at 60 in and 120 out, without a batch price: half of it, and marked."""
    assert estimate("openai", "gpt-4-32k", 1_000_000, 100_000) == (usd(30 + 6), usd(60 + 12), True)


def test_estimate_gives_batch_and_list_price() -> None:
    """gpt-4.1-mini: half in the batch, known from the table."""
    assert estimate("openai", "gpt-4.1-mini", 1_000_000, 1_000_000) == (usd(1.0), usd(2.0), False)


@pytest.mark.parametrize(
    ("provider", "model"),
    [("openai", "no-such-model"), ("openai", "gemini-2.5-pro"), ("gemini", "gemma-3"), ("acme", "gpt-4.1-mini")],
)
def test_unknown_price_is_none_and_never_zero(provider: str, model: str) -> None:
    """Also for a model that the table knows without any price (gemma-3), and for a service it does not know."""
    assert rates(provider, model) is None
    assert cost_of(provider, model, None, Usage(1, 1)) is None
    assert estimate(provider, model, 1, 1) == (None, None, False)


@pytest.mark.parametrize("usage", [None, Usage(), Usage(input_tokens=5), Usage(output_tokens=5)])
def test_unknown_usage_costs_none(usage: Usage | None) -> None:
    """A provider that does not say what it counted leaves the cost unknown."""
    assert cost(usage, rates("openai", "gpt-4.1-mini")) is None


def test_override_is_the_price_as_billed() -> None:
    """USD per million, for a model the table does not know; the list price stays unknown."""
    price = {"input": 1.0, "output": 4.0, "cached": 0.25}
    usage = Usage(1_000_000, 250_000, cached_input_tokens=500_000)
    assert cost_of("openai", "my-own", None, usage, override=price) == usd(0.5 + 0.125 + 1.0)
    assert estimate("openai", "my-own", 1_000_000, 1_000_000, override=price) == (usd(5.0), None, False)


def test_override_replaces_the_table_for_every_size() -> None:
    """No tier, and cached tokens at the price of input where it names none; the list price is still the table's."""
    price = {"input": 1.0, "output": 2.0}
    usage = Usage(1_000_000, 1_000_000, cached_input_tokens=500_000)
    assert cost_of("gemini", "gemini-2.5-pro", None, usage, override=price) == usd(3.0)
    assert estimate("gemini", "gemini-2.5-pro", 100_000, 0, override=price) == (usd(0.1), usd(0.125), False)


def test_half_an_override_leaves_the_price_unknown() -> None:
    """A free output is written as 0, not left out."""
    assert rates("openai", "gpt-4.1-mini", override={"input": 1.0}) is None


def test_reply_is_priced_by_the_model_that_answered() -> None:
    """Aliases move; a name the table does not know falls back to the requested one, a date to none."""
    usage = Usage(1_000_000, 0)
    assert cost_of("openai", "gpt-4.1", "gpt-4.1-mini-2025-04-14", usage) == usd(0.20)
    assert cost_of("openai", "gpt-4.1-mini", "acme-internal-7", usage) == usd(0.20)
    assert cost_of("openai", "acme", "gpt-4.1-mini-2031-01-01", usage) == usd(0.20)
    assert cost_of("gemini", "models/gemini-2.5-flash", None, usage) == usd(0.15)


@cache
def priced_models() -> list[tuple[str, str]]:
    """Every (provider, model) whose batch price the table knows."""
    ours = {"openai": "openai", "anthropic": "anthropic", "google": "gemini"}
    known = [
        (ours[entry.id], model.id) for entry in get_snapshot().providers if entry.id in ours for model in entry.models
    ]
    return [pair for pair in known if (found := rates(*pair)) is not None and not found.assumed]


@settings(deadline=None)  # the first example reads the whole table
@given(st.data(), *[st.integers(0, 600_000)] * 3, st.integers(0, 100_000))
def test_agrees_with_the_table(data: st.DataObject, fresh: int, cached: int, written: int, output: int) -> None:
    """Cached unit rates and our tiers give what `genai-prices` itself computes for the same request."""
    provider, model = data.draw(st.sampled_from(priced_models()))
    theirs = calc_price(
        TableUsage(
            input_tokens=fresh + cached + written,
            output_tokens=output,
            cache_read_tokens=cached,
            cache_write_tokens=written,
        ),
        model,
        provider_id={"gemini": "google"}.get(provider, provider),
        price_context={"processing": "batch"},
    )
    ours = cost_of(provider, model, None, Usage(fresh + cached + written, output, cached, written))
    assert ours == pytest.approx(float(theirs.total_price), rel=1e-9, abs=1e-12)


def test_importing_prices_does_not_load_the_table() -> None:
    """It takes 0.2 s, and most commands price nothing."""
    code = "import sys, batchfast.prices; sys.exit('genai_prices' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
