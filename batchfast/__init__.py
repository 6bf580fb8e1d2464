"""
batchfast: from a grid of prompts to a dataset, through the batch APIs of OpenAI, Anthropic and Gemini.

Start with `batchfast.datasets.RawDataset`. Importing this package loads no SDK.
"""

from batchfast.errors import (
    BatchfastError,
    ConfigError,
    ExecutorError,
    MissingKey,
    NotReady,
    ProviderError,
    PublishError,
    RequestTooLarge,
    RunBusy,
    StoreError,
)

__version__ = "0.1.0"

__all__ = [
    "BatchfastError",
    "ConfigError",
    "ExecutorError",
    "MissingKey",
    "NotReady",
    "ProviderError",
    "PublishError",
    "RequestTooLarge",
    "RunBusy",
    "StoreError",
    "__version__",
]
