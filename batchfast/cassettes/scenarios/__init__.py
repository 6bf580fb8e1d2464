"""What is recorded, service by service. The modules of a service load its SDK."""

from __future__ import annotations

import importlib

from batchfast.cassettes.scenarios.base import Scenario

PROVIDERS = ("openai", "anthropic", "gemini")


def scenarios(provider: str) -> dict[str, Scenario]:
    """A service's scenarios by name; its SDK is loaded."""
    found: dict[str, Scenario] = importlib.import_module(f"{__name__}.{provider}").SCENARIOS
    return found
