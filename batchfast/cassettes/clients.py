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


def connect(provider: str, *, key: str, base_url: str) -> AbstractContextManager[Any]:
    """A client that tries every call once."""
    if provider == "openai":
        import openai

        return openai.OpenAI(api_key=key, base_url=base_url, max_retries=0)
    if provider == "anthropic":
        import anthropic

        return anthropic.Anthropic(api_key=key, base_url=base_url, max_retries=0)
    from google import genai

    return genai.Client(vertexai=False, api_key=key, http_options=genai.types.HttpOptions(base_url=base_url))
