"""
The space-engineering dataset from Python: 288 texts by two models.

Without a key:   BATCHFAST_FAKE=1 python examples/space_engineering.py
For real:        python examples/space_engineering.py      (keys from secrets.env, .env or the environment)
"""

from dotenv import load_dotenv

from batchfast.datasets import RawDataset
from batchfast.llms import AnthropicProvider, OpenAIProvider
from batchfast.schema.config import PromptExpansionConfig, RawDatasetConfig


def main() -> None:
    config = RawDatasetConfig(
        document_types=[
            "space engineering textbook",
            "spacecraft design justification document",
            "personal blog of a space engineer",
        ],
        topics=[
            "Microgravity",
            "Vacuum",
            "Heavy Ions",
            "Thermal Extremes",
            "Atomic Oxygen",
            "Debris Impact",
            "Electrostatic Charging",
            "Propellant Boil-off",
        ],
        num_samples_per_prompt=1,
        output_file="space_engineering_environment_effects_texts.jsonl",
        languages={"en": "English", "fr": "French"},
        prompts=[
            (
                "Generate {num_samples} section of a {document_type} in {language_name} about the topic of {topic} in "
                "Space Engineering. Target the content for {{expertise_level}} level readers."
            )
        ],
        expansion=PromptExpansionConfig(
            placeholders={"expertise_level": ["executives", "senior engineers", "PhD candidates"]},
            combinatorial=True,
        ),
    )
    providers = [
        OpenAIProvider(model_id="gpt-4.1-mini-2025-04-14"),
        AnthropicProvider(model_id="claude-3-5-haiku-latest"),  # retired: for a real run use claude-haiku-5-5
    ]

    dataset = RawDataset(config)
    print(f"Expected number of rows: {dataset.get_num_expected_rows(providers)}")
    path = dataset.generate(providers)
    print(f"Dataset: {path}")


if __name__ == "__main__":
    load_dotenv("secrets.env")
    main()
