"""The official SDKs' clients, as scenarios are given them."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

ADDRESSES = {
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com",
    "gemini": "https://generativelanguage.googleapis.com",
}
PACKAGES = {"openai": "openai", "anthropic": "anthropic", "gemini": "google-genai"}


# Whatever else an answer may be compressed by, vcrpy could not undo, nor a scrubber look into.
_PLAIN = {"Accept-Encoding": "identity"}


def connect(provider: str, *, key: str, base_url: str, trust_env: bool = True) -> AbstractContextManager[Any]:
    """A client that tries every call once; without `trust_env` it goes by no proxy of the environment."""
    import httpx2

    # The SDKs' own default clients look for proxies by themselves.
    http = None if trust_env else httpx2.Client(trust_env=False)
    if provider == "openai":
        import openai

        return openai.OpenAI(api_key=key, base_url=base_url, max_retries=0, default_headers=_PLAIN, http_client=http)
    if provider == "anthropic":
        import anthropic

        return anthropic.Anthropic(
            api_key=key, base_url=base_url, max_retries=0, default_headers=_PLAIN, http_client=http
        )
    from google import genai

    options = genai.types.HttpOptions(base_url=base_url, headers=_PLAIN, client_args={"trust_env": trust_env})
    return genai.Client(vertexai=False, api_key=key, http_options=options)


def failures(provider: str) -> tuple[type[Exception], ...]:
    """What the SDK, or a scenario itself, raises where the service does not answer as expected."""
    if provider == "openai":
        import openai

        return openai.OpenAIError, RuntimeError
    if provider == "anthropic":
        import anthropic

        return anthropic.AnthropicError, RuntimeError
    import httpx2
    from google.genai import errors

    return errors.APIError, httpx2.HTTPError, RuntimeError
