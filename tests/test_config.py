"""What a dataset's config takes, what it refuses, and in which words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from batchfast.prompts import DEFAULT_PROMPT
from batchfast.schema.config import PromptExpansionConfig, RawDatasetConfig
from batchfast.schema.templates import REQUIRED_NAMES, count_combinations, split_template, used_placeholders

REQUIRED = "{num_samples} {language_name} {document_type} {topic} "


def config(**values: Any) -> RawDatasetConfig:
    return RawDatasetConfig(**({"document_types": ["blog"], "topics": ["Vacuum"]} | values))


def expanding(template: str, placeholders: dict[str, list[str]], **more: Any) -> RawDatasetConfig:
    expansion = PromptExpansionConfig(placeholders=placeholders, **more)
    return config(prompts=[REQUIRED + template], expansion=expansion)


def complaint(**values: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        config(**values)
    (error,) = caught.value.errors(include_url=False)
    return error["msg"].removeprefix("Value error, ")


def about_prompt(template: str, placeholders: dict[str, list[str]] | None = None) -> str:
    expansion = {"placeholders": placeholders} if placeholders is not None else None
    return complaint(prompts=[REQUIRED + template], expansion=expansion)


def test_defaults_are_the_documented_ones() -> None:
    """languages en, the built-in prompt, five samples, text.jsonl, no expansion; expansion combinatorial up to 1000."""
    made = config()
    assert (made.languages, made.prompts, made.num_samples_per_prompt) == ({"en": "English"}, None, 5)
    assert (made.output_file, made.expansion) == ("text.jsonl", None)
    expansion = PromptExpansionConfig(placeholders={})
    assert (expansion.combinatorial, expansion.num_random_samples, expansion.max_samples) == (True, 1, 1000)
    assert expansion.seed is None


def test_default_languages_are_not_shared_between_configs() -> None:
    """Changing one config leaves the next one's defaults alone."""
    config().languages["fr"] = "French"
    assert config().languages == {"en": "English"}


def test_built_in_prompt_follows_its_own_rules() -> None:
    """What is used where a user names no prompt would be taken from a user too."""
    assert config(prompts=[DEFAULT_PROMPT]).prompts == [DEFAULT_PROMPT]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"topics": []}, "topics is empty: give at least one value"),
        ({"document_types": []}, "document_types is empty: give at least one value"),
        ({"prompts": []}, "prompts is empty: give at least one value"),
        ({"languages": {}}, 'languages is empty: give at least one, as in {"en": "English"}'),
        ({"topics": ["Vacuum", " \t"]}, "topics: value 2 of 2 is blank; fill it in or remove it"),
        ({"document_types": [""]}, "document_types: value 1 of 1 is blank; fill it in or remove it"),
        ({"languages": {"en": ""}}, "languages: 'en' = '' is blank on one side; give a code and a name"),
        ({"languages": {" ": "English"}}, "languages: ' ' = 'English' is blank on one side; give a code and a name"),
        ({"num_samples_per_prompt": 0}, "num_samples_per_prompt must be a whole number above 0, not 0"),
        ({"num_samples_per_prompt": True}, "num_samples_per_prompt must be a whole number above 0, not True"),
        ({"num_samples_per_prompt": 2.5}, "num_samples_per_prompt must be a whole number above 0, not 2.5"),
        ({"output_file": " "}, "output_file is blank: give a file name"),
        ({"output_file": "/"}, "output_file '/' ends without the name of a file: add one"),
        ({"output_file": "a/.."}, "output_file 'a/..' ends without the name of a file: add one"),
        ({"output_file": "."}, "output_file '.' ends without the name of a file: add one"),
        ({"output_file": Path("..")}, "output_file '..' ends without the name of a file: add one"),
        ({"output_file": "data/"}, "output_file 'data/' ends without the name of a file: add one"),
        ({"topic": ["x"]}, "RawDatasetConfig has no field 'topic': the nearest is 'topics'"),
        ({"languagez": {}}, "RawDatasetConfig has no field 'languagez': the nearest is 'languages'"),
        ({"topics": {"a", "b"}}, "topics: a set has no order; give a list"),
        ({"topics": ["\ud800"]}, "topics: half a character (a lone surrogate) in '\\ud800': mend it"),
    ],
)
def test_wrong_value_is_named_with_what_to_do(values: dict[str, Any], message: str) -> None:
    """One sentence: the field, what is wrong with it, the remedy."""
    assert complaint(**values) == message


@pytest.mark.parametrize("values", [{"topics": "Vacuum"}, {"topics": [1]}, {"languages": ["en"]}, {"expansion": 3}])
def test_wrong_type_is_refused(values: dict[str, Any]) -> None:
    """A text is no list of texts and a number no text: nothing is converted behind the user's back."""
    assert complaint(**values).startswith("Input should be")


@pytest.mark.parametrize(
    ("placeholders", "message"),
    [
        ({"level": []}, "placeholder 'level' is empty: give at least one value"),
        ({"level": ["a", ""]}, "placeholder 'level': value 2 of 2 is blank; fill it in or remove it"),
        ({"a b": ["x"]}, "placeholder 'a b' is no identifier: use letters, digits and _, no spaces"),
        ({"topic": ["x"]}, "placeholder 'topic' needs no values: write {topic}, the dataset fills it in"),
        ({"provider": ["x"]}, "placeholder 'provider' has the name of a metadata field: choose another name"),
    ],
)
def test_wrong_placeholder_is_named_with_what_to_do(placeholders: dict[str, list[str]], message: str) -> None:
    """Declared placeholders are identifiers of their own with values."""
    assert complaint(expansion={"placeholders": placeholders}) == message


def test_unknown_expansion_field_names_nearest() -> None:
    """A misspelt field is never ignored."""
    message = complaint(expansion={"placeholders": {}, "max_sample": 3})
    assert message == "PromptExpansionConfig has no field 'max_sample': the nearest is 'max_samples'"


@pytest.mark.parametrize("missing", REQUIRED_NAMES)
def test_prompt_without_required_placeholder_is_refused(missing: str) -> None:
    """All four stand in every prompt; the message says in which prompt which one does not."""
    message = complaint(prompts=[REQUIRED, REQUIRED.replace(f"{{{missing}}}", "")])
    every = "every prompt needs {num_samples}, {language_name}, {document_type} and {topic}"
    assert message == f"prompt 2 of 2 lacks {{{missing}}}: {every}"


def test_missing_placeholder_hints_at_what_stands_in_its_place() -> None:
    """`{language}` is the likely mistake for `{language_name}`."""
    message = complaint(prompts=["{num_samples} {language} {document_type} {topic}"])
    assert message.startswith("prompt 1 of 1 lacks {language_name} (it has {language}): ")


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{topics}", "{topics} is no placeholder: write {topic}"),
        ("{Topic}", "{Topic} is no placeholder: write {topic}"),
        ("{ topic }", "{ topic } is no placeholder: write {topic}"),
        ("{document type}", "{document type} is no placeholder: write {document_type}"),
        ("{num-samples}", "{num-samples} is no placeholder: write {num_samples}"),
        ("{{ topic }}", "{{ topic }} is no placeholder: write {topic}"),
        ("{{topic}}", "{{topic}} stands in double braces: write {topic}"),
        ("{{{topic}}}", "{{topic}} stands in double braces: write {topic}"),
        ("{{topics}}", "{{topics}} has no values: did you mean {topic}?"),
        ("{{level}} {{level}", "{{level} is no placeholder: write {{level}}"),
        ("{{level}} {level}}", "{level} is no placeholder: write {{level}}"),
        ("{{level}} {level}", "{level} is no placeholder: write {{level}}"),
        ("{{level}} {levels}", "{levels} is no placeholder: write {{level}}"),
        ("{{level}} {{ level }}", "{{ level }} is no placeholder: write {{level}}"),
        ("{{level}} {{levl}}", "{{levl}} has no values: did you mean {{level}}?"),
        ("{{level}} {{tone}}", "{{tone}} has no values: list them under 'tone' in the expansion's placeholders"),
    ],
)
def test_misspelt_placeholder_is_named_with_the_right_one(template: str, message: str) -> None:
    """What equals or nearly equals a known name in the wrong braces or spelling is an error, not literal text."""
    assert about_prompt(template, {"level": ["x"]}) == f"prompt 1 of 1: {message}"


def test_undeclared_placeholder_without_expansion_is_refused() -> None:
    """`{{name}}` is always a placeholder, also where no expansion is given."""
    assert about_prompt("{{tone}}").startswith("prompt 1 of 1: {{tone}} has no values: ")


def test_unused_placeholder_is_refused() -> None:
    """Values that no prompt uses were meant for something."""
    message = "no prompt uses the placeholder 'tone': put {{tone}} into a prompt or remove its values"
    assert about_prompt("{{level}}", {"level": ["x"], "tone": ["y"]}) == message
    message = complaint(expansion={"placeholders": {"tone": ["y"]}})
    assert message.startswith("the built-in prompt does not use the placeholder 'tone'")


@pytest.mark.parametrize(
    "literal",
    [
        '{"a": {"b": 1}}',
        '{{"a": 1}}',
        '{"topic": "a topic"}',
        "{}",
        "{{}}",
        "{{{}}}",
        "{1}",
        "{{1}}",
        "{{two words}}",
        r"\begin{document} \frac{x}{y}",
        "{{ user }}",
        "{unrelated}",
        "{ {",
        "}}{{",
        "{0!r:>10}",
        "100 % {%s}",
    ],
)
def test_other_braces_are_literal(literal: str) -> None:
    """Anything but the placeholders is text, and needs no escaping."""
    assert config(prompts=[REQUIRED + literal]).prompts == [REQUIRED + literal]
    assert split_template(literal) == [(literal, None, False)]


def test_template_is_read_from_left_to_right() -> None:
    """Three braces are a brace around a placeholder; a required name inside an object is a placeholder."""
    assert [(piece.text, piece.name) for piece in split_template('{{{x}}} {"t": "{topic}"}{{topic}')] == [
        ("{", "x"),
        ('} {"t": "', "topic"),
        ('"}{', "topic"),
        ("", None),
    ]


def test_placeholder_may_be_any_identifier() -> None:
    """Identifiers of any script; what looks like Python is not special."""
    made = expanding("{{époque}} {{水平}} {{class}}", {"époque": ["a"], "水平": ["b"], "class": ["c"]})
    assert made.prompts is not None
    assert used_placeholders(made.prompts[0], {"class": [], "水平": [], "époque": []}) == ["class", "水平", "époque"]


@given(st.text())
def test_any_template_is_split_without_loss(template: str) -> None:
    """Putting the pieces together again gives the template, whatever it holds."""
    again = ""
    for text, name, optional in split_template(template):
        braced = "" if name is None else f"{{{{{name}}}}}" if optional else f"{{{name}}}"
        again += text + braced
    assert again == template


def test_combinations_over_max_samples_are_refused_with_their_number() -> None:
    """The bound is on what one prompt expands to; the number is in the message."""
    values = [str(number) for number in range(40)]
    assert expanding("{{a}} {{b}}", {"a": values, "b": values[:25]})
    with pytest.raises(ValidationError, match=r"prompt 1 of 1 has 1,040 combinations, over max_samples = 1,000: raise"):
        expanding("{{a}} {{b}}", {"a": values, "b": values[:26]})
    assert expanding("{{a}} {{b}}", {"a": values, "b": values}, max_samples=1600)


def test_prompts_count_only_the_placeholders_they_use() -> None:
    """Two prompts with 600 combinations each are within a bound of 1000 for each."""
    values = [str(number) for number in range(600)]
    placeholders = {"a": values, "b": values}
    made = config(
        prompts=[REQUIRED + "{{a}} {{a}}", REQUIRED + "{{b}}"],
        expansion=PromptExpansionConfig(placeholders=placeholders),
    )
    assert [count_combinations(prompt, placeholders) for prompt in made.prompts or []] == [600, 600]


def test_random_mode_bounds_the_draws_not_the_space() -> None:
    """In random mode the combinations are never all made: max_samples bounds num_random_samples."""
    values = [str(number) for number in range(1000)]
    space = {"a": values, "b": values, "c": values}
    assert expanding("{{a}} {{b}} {{c}}", space, combinatorial=False, num_random_samples=1000)
    with pytest.raises(ValidationError, match=r"num_random_samples is 1,001, over max_samples = 1,000"):
        expanding("{{a}} {{b}} {{c}}", space, combinatorial=False, num_random_samples=1001)


def test_num_random_samples_is_ignored_in_combinatorial_mode() -> None:
    """The guide gives it beside combinatorial=True."""
    assert expanding("{{a}}", {"a": ["x"]}, combinatorial=True, num_random_samples=5000)


def test_repeated_values_are_kept() -> None:
    """A topic listed twice is asked for twice."""
    assert config(topics=["Vacuum", "Vacuum"]).topics == ["Vacuum", "Vacuum"]


@pytest.mark.parametrize("value", ["{topic}", "{{x}}", "a\nb", "a\u2028b", "🚀" * 3, '"\\', "x" * 100_000, " padded "])
def test_values_are_taken_as_they_are(value: str) -> None:
    """Braces, quotes, separators, emoji, 100 kB: nothing is stripped or read as a template."""
    made = expanding("{{level}}", {"level": [value]})
    assert made.expansion is not None
    assert made.expansion.placeholders == {"level": [value]}
    assert config(topics=[value], document_types=[value], languages={"en": value}).topics == [value]


def test_output_file_may_be_a_path() -> None:
    """`pathlib.Path` is what people pass for a file."""
    assert config(output_file=Path("data") / "texts.jsonl").output_file == str(Path("data") / "texts.jsonl")
