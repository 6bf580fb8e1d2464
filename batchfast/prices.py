"""
Tokens to money, or None where either is unknown; plain floats in USD, good to far below a cent.

The table is that of the `genai-prices` package as installed; nothing is fetched.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING

from batchfast.records import Usage

if TYPE_CHECKING:
    from genai_prices.types import ModelPrice, TieredPrices

# What OpenAI, Anthropic and Gemini take off their list prices for batches, by their price pages; read 2026-11.
_BATCH_DISCOUNT = 0.5

_TOKENS_PER_UNIT = 1_000_000
_NAME_IN_TABLE = {"gemini": "google"}
_DATE_SUFFIX = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8})$")


@dataclass(frozen=True, slots=True)
class TokenPrices:
    """USD per token. Where a provider has no price for cached tokens or cache writes, it is that of input."""

    input: float
    cached_input: float
    cache_write: float
    output: float


# (above, prices): prices of a request whose input is over `above` tokens; highest first, the last is over -1.
Tiers = tuple[tuple[int, TokenPrices], ...]


@dataclass(frozen=True, slots=True)
class Rates:
    """
    What a model costs.

    Attributes:
        batch_tiers: As billed for batches.
        list_tiers: As billed at once; None where unknown.
        assumed: The table has no batch price: `batch_tiers` are list prices less the usual discount.
    """

    batch_tiers: Tiers
    list_tiers: Tiers | None
    assumed: bool


def rates(provider: str, model: str, *, override: Mapping[str, float] | None = None) -> Rates | None:
    """
    What a model costs today, or None for one without a known price.

    Args:
        provider: "openai", "anthropic" or "gemini".
        model: Its name there, dated or not.
        override: USD per million tokens as billed for batches: `input`, `output`, and `cached` (default: as input). It
            replaces the table for all sizes of input; without `input` or `output` the price is unknown.
    """
    known = _rates_in_table(provider, model, datetime.now(UTC).date())
    if not override:
        return known
    if "input" not in override or "output" not in override:
        return None
    per_input = override["input"] / _TOKENS_PER_UNIT
    cached = override.get("cached", override["input"]) / _TOKENS_PER_UNIT
    prices = TokenPrices(per_input, cached, per_input, override["output"] / _TOKENS_PER_UNIT)
    return Rates(((-1, prices),), known.list_tiers if known else None, assumed=False)


def rates_of(
    provider: str, requested_model: str, result_model: str | None, *, override: Mapping[str, float] | None = None
) -> Rates | None:
    """Rates of the model that answered; of the requested one where the table does not know that name."""
    found = rates(provider, result_model, override=override) if result_model else None
    return found or rates(provider, requested_model, override=override)


def cost(usage: Usage | None, rates: Rates | None) -> float | None:
    """
    USD of one reply out of a batch; None where the tokens or the price are unknown.

    Tiers go by the input of a single request: price every reply by itself, never a sum of usages.
    """
    return None if usage is None or rates is None else _price(usage, rates.batch_tiers)


def estimate(
    provider: str,
    model: str,
    input_tokens: int,
    output_tokens: int,
    *,
    override: Mapping[str, float] | None = None,
) -> tuple[float | None, float | None, bool]:
    """
    USD of one request before it is sent: `(in a batch, at list price, assumed)`.

    Args:
        input_tokens, output_tokens: Of one request, since tiers go by it; multiply or sum what comes out.
    """
    found = rates(provider, model, override=override)
    if found is None:
        return None, None, False
    usage = Usage(input_tokens, output_tokens)
    at_once = _price(usage, found.list_tiers) if found.list_tiers else None
    return _price(usage, found.batch_tiers), at_once, found.assumed


def dearest(
    provider: str, model: str, max_input_tokens: int, *, override: Mapping[str, float] | None = None
) -> tuple[float, float] | None:
    """
    The highest that a batch may be billed for a token in and a token out (USD), or None where no price is known.

    Args:
        max_input_tokens: No request has more input (tokens): dearer tiers than that are out of reach.
    """
    found = rates(provider, model, override=override)
    if found is None:
        return None
    reached = [prices for above, prices in found.batch_tiers if max_input_tokens > above]
    per_input = max(max(prices.input, prices.cached_input, prices.cache_write) for prices in reached)
    return per_input, max(prices.output for prices in reached)


def _price(usage: Usage, tiers: Tiers) -> float | None:
    if usage.input_tokens is None or usage.output_tokens is None:
        return None
    prices = tiers[-1][1]
    if len(tiers) > 1:
        prices = next(prices for above, prices in tiers if usage.input_tokens > above)
    cached, written = usage.cached_input_tokens or 0, usage.cache_write_tokens or 0
    fresh = max(usage.input_tokens - cached - written, 0)
    return (
        fresh * prices.input
        + cached * prices.cached_input
        + written * prices.cache_write
        + usage.output_tokens * prices.output
    )


@lru_cache(maxsize=1024)
def _rates_in_table(provider: str, model: str, day: date) -> Rates | None:
    """The table's rates on one day: some of its prices begin on a date."""
    name = model.removeprefix("models/")
    for candidate in (name, _DATE_SUFFIX.sub("", name)):
        at_once = _model_price(provider, candidate, day, {})
        if at_once is not None:
            in_batch = _model_price(provider, candidate, day, {"processing": "batch"})
            return _from_table(_tiers(at_once), _tiers(in_batch) if in_batch else None)
    return None


def _from_table(at_once: Tiers | None, in_batch: Tiers | None) -> Rates | None:
    if at_once is None or in_batch is None:
        return None
    # For a model without batch prices the table answers with list prices and does not say so.
    if in_batch == at_once:
        return Rates(tuple((above, _discounted(prices)) for above, prices in at_once), at_once, assumed=True)
    return Rates(in_batch, at_once, assumed=False)


def _discounted(prices: TokenPrices) -> TokenPrices:
    part = 1 - _BATCH_DISCOUNT
    return TokenPrices(prices.input * part, prices.cached_input * part, prices.cache_write * part, prices.output * part)


def _model_price(provider: str, model: str, day: date, context: Mapping[str, str]) -> ModelPrice | None:
    from genai_prices import Usage as NoUsage  # 0.2 s to import, and not every command prices something
    from genai_prices import calc_price

    try:
        answer = calc_price(
            NoUsage(input_tokens=0, output_tokens=0),
            model,
            provider_id=_NAME_IN_TABLE.get(provider, provider),
            genai_request_timestamp=datetime.combine(day, time(12), UTC),
            price_context=context,
        )
    except LookupError:
        return None
    return answer.model_price


def _tiers(price: ModelPrice) -> Tiers | None:
    """All tiers of a model; None where it has no price for text in or out."""
    found: list[tuple[int, TokenPrices]] = []
    for start in sorted(_starts(price), reverse=True):
        per_input, per_output = _per_token(price.input_mtok, start), _per_token(price.output_mtok, start)
        if per_input is None or per_output is None:
            return None
        cached, written = _per_token(price.cache_read_mtok, start), _per_token(price.cache_write_mtok, start)
        found.append(
            (
                start,
                TokenPrices(
                    input=per_input,
                    cached_input=per_input if cached is None else cached,
                    cache_write=per_input if written is None else written,
                    output=per_output,
                ),
            )
        )
    return tuple(found)


def _starts(price: ModelPrice) -> set[int]:
    """The sizes of input (tokens) above which one of a model's prices changes; -1 for its first."""
    values = (price.input_mtok, price.cache_read_mtok, price.cache_write_mtok, price.output_mtok)
    return {-1} | {tier.start for value in values for tier in getattr(value, "tiers", ())}


def _per_token(value: Decimal | TieredPrices | None, start: int) -> float | None:
    """USD per token where the input is just over `start` tokens."""
    if value is None:
        return None
    if not isinstance(value, Decimal):
        value = next((tier.price for tier in reversed(value.tiers) if tier.start <= start), value.base)
    return float(value / _TOKENS_PER_UNIT)
