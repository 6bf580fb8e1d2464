"""What a shard may cost at most, and whether a run has a budget that can be kept."""

from __future__ import annotations

from collections.abc import Sequence

from batchfast.errors import ConfigError
from batchfast.llms.base import Provider
from batchfast.prices import dearest
from batchfast.store import ShardRow


def worst_case(provider: Provider, row: ShardRow) -> float:
    """
    USD of a shard whose every reply is as long as its token limit allows, and whose every byte is a token of input.

    No tokenizer makes more tokens than bytes; what a provider adds to a prompt by itself is less than what JSON's own
    marks make of a line.

    Raises:
        ConfigError: The reply has no limit, or the model no price.
    """
    per_input, per_reply = _highest(provider, row)
    return row.size_bytes * per_input + row.requests * per_reply


def worst_request(provider: Provider, row: ShardRow) -> float:
    """USD of the dearest of a shard's requests, as `worst_case`."""
    per_input, per_reply = _highest(provider, row)
    return _largest(row) * per_input + per_reply


def _highest(provider: Provider, row: ShardRow) -> tuple[float, float]:
    """USD of a token in, and of a reply of full length, at most."""
    limit = provider.token_limit(row.doublings)
    prices = dearest(provider.name, provider.model_id, _largest(row), override=provider.price)
    if limit is None or prices is None:
        raise _unbounded(provider)
    return prices[0], limit * prices[1]


def _largest(row: ShardRow) -> int:
    return row.largest_bytes or row.size_bytes


def check_budget(providers: Sequence[Provider], max_cost_usd: float | None) -> None:
    """
    Raises:
        ConfigError: There is a budget, and for one of the providers nobody can say what a request costs at most.
    """
    for provider in providers if max_cost_usd is not None else ():
        prices = dearest(provider.name, provider.model_id, 1, override=provider.price)
        if provider.token_limit() is None or prices is None:
            raise _unbounded(provider)


def _unbounded(provider: Provider) -> ConfigError:
    about = f"{provider.name} {provider.model_id}"
    if provider.token_limit() is None:
        return ConfigError(
            f"max_cost_usd is set, but a reply of {about} may be of any length: set its max_completion_tokens"
        )
    return ConfigError(
        f"max_cost_usd is set, but the price of {about} is not known: set its price = {{ input = ..., output = ... }} "
        "in USD per million tokens"
    )
