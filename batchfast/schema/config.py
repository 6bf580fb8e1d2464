"""
What a dataset shall hold: document types, topics, languages, prompt templates and their variations.

What a template's placeholders are is in `templates`. Besides, `{{topic}}` is refused, because a required name stands in
single braces; for a brace around its value write `{ {topic} }`. What looks like a placeholder but is none (`{topics}`,
`{ topic }`, `{{ name }}`, `{name}`) is refused where it equals or nearly equals a known name, and otherwise is text.

Everything wrong is reported as pydantic's own `ValidationError`, which is a `ValueError`.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    ValidationInfo,
    field_validator,
    model_validator,
)

from batchfast.schema.templates import REQUIRED_NAMES, Piece, count_combinations, split_template, used_placeholders

# What a row's metadata says besides: a placeholder of that name would hide it.
_METADATA_NAMES = ("provider", "prompt_index", "request_index", "sample_index")

_LOOKALIKE = re.compile(r"\{\{?\s*(\w[\w .-]{0,60}?)\s*\}\}?")
_NEAR = 0.8
# Only for a hint beside an error that stands anyway.
_NEAR_ENOUGH_FOR_A_HINT = 0.6


class _Model(BaseModel):
    """Refuses unknown fields by naming the nearest known one."""

    # A config may be changed after it was made; it is checked again when it is used.
    model_config = ConfigDict(revalidate_instances="always")

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_fields(cls, data: Any) -> Any:
        for name in data if isinstance(data, Mapping) else ():
            if name not in cls.model_fields:
                near = difflib.get_close_matches(str(name), cls.model_fields, 1, cutoff=0.0)[0]
                raise ValueError(f"{cls.__name__} has no field {name!r}: the nearest is {near!r}")
        return data


def _sendable(text: str, info: ValidationInfo) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise ValueError(f"{info.field_name}: half a character (a lone surrogate) in {text[:80]!a}: mend it") from exc
    return text


Text = Annotated[str, AfterValidator(_sendable)]


def _ordered(value: Any, info: ValidationInfo) -> Any:
    # The order of a set of texts changes from process to process, and with it every request's place in the grid.
    if isinstance(value, (set, frozenset)):
        raise ValueError(f"{info.field_name}: a set has no order; give a list")
    return value


Texts = Annotated[list[Text], BeforeValidator(_ordered)]


def _check_texts(what: str, values: Sequence[str]) -> None:
    if not values:
        raise ValueError(f"{what} is empty: give at least one value")
    for number, value in enumerate(values, 1):
        if not value.strip():
            raise ValueError(f"{what}: value {number} of {len(values)} is blank; fill it in or remove it")


def _count(value: Any, info: ValidationInfo) -> int:
    if type(value) is not int or value < 1:
        raise ValueError(f"{info.field_name} must be a whole number above 0, not {value!r}")
    return value


Count = Annotated[int, BeforeValidator(_count)]


def _path_as_text(value: Any) -> Any:
    return os.fspath(value) if isinstance(value, os.PathLike) else value


FileName = Annotated[str, BeforeValidator(_path_as_text)]


class PromptExpansionConfig(_Model):
    """
    Variations of the prompts through optional placeholders.

    Args:
        placeholders: Name to values; `{{name}}` in a prompt stands for each of them. Order counts: the last name
            varies fastest.
        combinatorial: Every combination of the placeholders a prompt uses. Otherwise a random draw.
        num_random_samples: In random mode, how many draws per document type, topic and language, over all prompts and
            their combinations together; none comes twice before each came once. Ignored otherwise.
        max_samples: How many variations one prompt may have per document type, topic and language: its combinations,
            or in random mode, whose combinations are never all made, the draws.
        seed: For random mode. None derives it from the prompts and placeholders.
    """

    placeholders: dict[Text, Texts]
    combinatorial: StrictBool = True
    num_random_samples: Count = 1
    max_samples: Count = 1000
    seed: StrictInt | None = None

    @field_validator("placeholders")
    @classmethod
    def _check_placeholders(cls, placeholders: dict[str, list[str]]) -> dict[str, list[str]]:
        for name, values in placeholders.items():
            if not name.isidentifier():
                raise ValueError(f"placeholder {name!r} is no identifier: use letters, digits and _, no spaces")
            if name in REQUIRED_NAMES:
                raise ValueError(f"placeholder {name!r} needs no values: write {{{name}}}, the dataset fills it in")
            if name in _METADATA_NAMES:
                raise ValueError(f"placeholder {name!r} has the name of a metadata field: choose another name")
            _check_texts(f"placeholder {name!r}", values)
        return placeholders

    @model_validator(mode="after")
    def _check_draws(self) -> Self:
        if not self.combinatorial and self.num_random_samples > self.max_samples:
            raise ValueError(
                f"num_random_samples is {self.num_random_samples:,}, over max_samples = {self.max_samples:,}: "
                "draw fewer or raise max_samples"
            )
        return self


class RawDatasetConfig(_Model):
    """
    A dataset of texts: every document type x topic x language x prompt variation, once per provider.

    Repeated values are taken as they are and give repeated requests.

    Args:
        document_types: Kinds of text.
        topics: What the texts are about.
        languages: Language code to the name that stands in the prompt.
        prompts: Templates (see the module's docstring); None is batchfast's own.
        num_samples_per_prompt: Texts asked for in one request (count).
        output_file: Where the dataset goes (JSONL); a `Path` is taken too.
        expansion: Variations through `{{placeholders}}`.

    Raises:
        pydantic.ValidationError: Something is missing, blank, unknown or does not fit together; says what to change.
    """

    document_types: Texts
    topics: Texts
    languages: dict[Text, Text] = Field(default_factory=lambda: {"en": "English"})
    prompts: Texts | None = None
    num_samples_per_prompt: Count = 5
    output_file: FileName = "text.jsonl"
    expansion: PromptExpansionConfig | None = None

    @field_validator("document_types", "topics", "prompts")
    @classmethod
    def _check_lists(cls, values: list[str] | None, info: ValidationInfo) -> list[str] | None:
        if values is not None:
            _check_texts(str(info.field_name), values)
        return values

    @field_validator("languages")
    @classmethod
    def _check_languages(cls, languages: dict[str, str]) -> dict[str, str]:
        if not languages:
            raise ValueError('languages is empty: give at least one, as in {"en": "English"}')
        for code, name in languages.items():
            if not code.strip() or not name.strip():
                raise ValueError(f"languages: {code!r} = {name!r} is blank on one side; give a code and a name")
        return languages

    @field_validator("output_file")
    @classmethod
    def _check_output_file(cls, output_file: str) -> str:
        if not output_file.strip():
            raise ValueError("output_file is blank: give a file name")
        # A path drops the slash at its end, which says that a folder is meant.
        if os.path.basename(output_file) in ("", ".", ".."):  # noqa: PTH119
            raise ValueError(f"output_file {output_file!r} ends without the name of a file: add one")
        return output_file

    @model_validator(mode="after")
    def _check_prompts(self) -> Self:
        placeholders = self.expansion.placeholders if self.expansion else {}
        prompts = self.prompts or []
        for number, prompt in enumerate(prompts, 1):
            _check_prompt(f"prompt {number} of {len(prompts)}", prompt, placeholders)
        used = {name for prompt in prompts for name in used_placeholders(prompt, placeholders)}
        for name in placeholders:
            if name not in used:
                who = "no prompt uses" if prompts else "the built-in prompt does not use"
                raise ValueError(
                    f"{who} the placeholder {name!r}: put {{{{{name}}}}} into a prompt or remove its values"
                )
        if self.expansion and self.expansion.combinatorial:
            _check_combinations(prompts, self.expansion)
        return self


def _check_prompt(where: str, prompt: str, placeholders: Mapping[str, Sequence[str]]) -> None:
    pieces = split_template(prompt)
    _check_lookalikes(where, pieces, placeholders)
    for piece in pieces:
        if piece.optional and piece.name not in placeholders:
            raise ValueError(f"{where}: {_no_values(str(piece.name), placeholders)}")
    required = {piece.name for piece in pieces if not piece.optional}
    for name in REQUIRED_NAMES:
        if name not in required:
            lack = f"{where} lacks {{{name}}}{_hint(name, pieces)}"
            raise ValueError(f"{lack}: every prompt needs {_braced(REQUIRED_NAMES)}")


def _no_values(name: str, placeholders: Mapping[str, Sequence[str]]) -> str:
    if name in REQUIRED_NAMES:
        return f"{{{{{name}}}}} stands in double braces: write {{{name}}}"
    near = difflib.get_close_matches(name, (*placeholders, *REQUIRED_NAMES), 1, cutoff=_NEAR)
    if near:
        return f"{{{{{name}}}}} has no values: did you mean {_as_written(near[0])}?"
    return f"{{{{{name}}}}} has no values: list them under {name!r} in the expansion's placeholders"


def _check_lookalikes(where: str, pieces: Sequence[Piece], placeholders: Mapping[str, Sequence[str]]) -> None:
    known = {name.casefold(): name for name in (*REQUIRED_NAMES, *placeholders)}
    for written, plain in _lookalikes(pieces):
        near = difflib.get_close_matches(plain, known, 1, cutoff=_NEAR)
        if near:
            raise ValueError(f"{where}: {written} is no placeholder: write {_as_written(known[near[0]])}")


def _lookalikes(pieces: Sequence[Piece]) -> Iterator[tuple[str, str]]:
    """What looks like a placeholder in a template's plain text: as written, and as the name it may mean."""
    for piece in pieces:
        for match in _LOOKALIKE.finditer(piece.text):
            # As many braces at the end as at the start: another one closes something around it.
            opened, bare = len(match[0]) - len(match[0].lstrip("{")), match[0].rstrip("}")
            yield match[0][: len(bare) + opened], re.sub(r"[\s.-]+", "_", match[1]).casefold()


def _hint(name: str, pieces: Sequence[Piece]) -> str:
    for written, plain in _lookalikes(pieces):
        if difflib.get_close_matches(plain, (name,), 1, cutoff=_NEAR_ENOUGH_FOR_A_HINT):
            return f" (it has {written})"
    return ""


def _as_written(name: str) -> str:
    return f"{{{name}}}" if name in REQUIRED_NAMES else f"{{{{{name}}}}}"


def _braced(names: Sequence[str]) -> str:
    *first, last = map(_as_written, names)
    return f"{', '.join(first)} and {last}"


def _check_combinations(prompts: Sequence[str], expansion: PromptExpansionConfig) -> None:
    for number, prompt in enumerate(prompts, 1):
        combinations = count_combinations(prompt, expansion.placeholders)
        if combinations > expansion.max_samples:
            raise ValueError(
                f"prompt {number} of {len(prompts)} has {combinations:,} combinations, over max_samples = "
                f"{expansion.max_samples:,}: raise it, remove values, or draw at random with combinatorial = false"
            )
