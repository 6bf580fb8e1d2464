"""The benchmarks' grid as batchfast's own spec."""

from __future__ import annotations

from pathlib import Path

from batchfast.llms import AnthropicProvider, GeminiProvider, OpenAIProvider, Provider
from batchfast.schema.config import PromptExpansionConfig, RawDatasetConfig
from batchfast.spec import Spec
from tests.benchmarks import workload

_KINDS: dict[str, type[Provider]] = {
    "openai": OpenAIProvider,
    "anthropic": AnthropicProvider,
    "gemini": GeminiProvider,
}


def spec_of(provider: str, rows: int, output: Path | str = "out.jsonl") -> Spec:
    """So many requests for one provider."""
    config = RawDatasetConfig(
        document_types=list(workload.DOCUMENT_TYPES),
        topics=workload.topics(rows),
        num_samples_per_prompt=1,
        languages=workload.LANGUAGES,
        prompts=[workload.TEMPLATE],
        output_file=str(output),
        expansion=PromptExpansionConfig(placeholders={"level": list(workload.LEVELS)}),
    )
    model = _KINDS[provider](
        workload.MODELS[provider], max_completion_tokens=workload.MAX_TOKENS, system_prompt=workload.SYSTEM
    )
    return Spec.of(config, [model])
