"""
Prompt templates, and what stands in them.

A template is read once, from left to right. These are placeholders, and nothing else is:

- `{num_samples}`, `{language_name}`, `{document_type}`, `{topic}`: required in every prompt.
- `{{name}}`, where name is an identifier (any script, no spaces): optional, with values in
  `PromptExpansionConfig.placeholders`.

Every other brace stands for itself, so `{"a": {"b": 1}}` needs no escaping, and `{{{name}}}` is a value between two
braces. Values are inserted in one pass: what they hold is never read as a template.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

# The rules by which a config becomes requests: those of templates here, those of order and drawing in grid.py.
GRID_VERSION = 1

REQUIRED_NAMES = ("num_samples", "language_name", "document_type", "topic")

_PLACEHOLDER = re.compile(r"\{\{([^{}\s]+)\}\}|\{(" + "|".join(REQUIRED_NAMES) + r")\}")


class Piece(NamedTuple):
    """A stretch of a template: text as it is, then the value of `name`; None at the template's end."""

    text: str
    name: str | None
    optional: bool


def split_template(template: str) -> list[Piece]:
    """The template as text and placeholders; by the rules above, whatever it holds."""
    return list(_pieces(template))


def _pieces(template: str) -> Iterator[Piece]:
    start = 0
    for match in _PLACEHOLDER.finditer(template):
        optional, required = match.groups()
        if required is None and not optional.isidentifier():
            continue
        yield Piece(template[start : match.start()], required or optional, required is None)
        start = match.end()
    yield Piece(template[start:], None, False)


def used_placeholders(template: str, placeholders: Mapping[str, Sequence[str]]) -> list[str]:
    """Names of the declared placeholders that a template uses, in declared order: these make its combinations."""
    used = {piece.name for piece in split_template(template) if piece.optional}
    return [name for name in placeholders if name in used]


def count_combinations(template: str, placeholders: Mapping[str, Sequence[str]]) -> int:
    """How many prompts a template expands to for one document type, topic and language."""
    return math.prod(len(placeholders[name]) for name in used_placeholders(template, placeholders))
