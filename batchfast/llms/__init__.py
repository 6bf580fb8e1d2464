"""The three providers. Importing them loads no SDK."""

from batchfast.llms.anthropic import AnthropicProvider
from batchfast.llms.base import BatchProvider, Provider
from batchfast.llms.gemini import GeminiProvider
from batchfast.llms.openai import OpenAIProvider

PROVIDERS: dict[str, type[OpenAIProvider] | type[AnthropicProvider] | type[GeminiProvider]] = {
    "openai": OpenAIProvider,
    "anthropic": AnthropicProvider,
    "gemini": GeminiProvider,
}

__all__ = ["PROVIDERS", "AnthropicProvider", "BatchProvider", "GeminiProvider", "OpenAIProvider", "Provider"]
