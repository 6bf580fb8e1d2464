"""Lines put together of constant bytes and escaped values are, byte for byte, those that `encode` writes."""

from __future__ import annotations

import json
import logging
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchfast import walk
from batchfast.compiler import Lines, compile_shards
from batchfast.errors import ConfigError
from batchfast.grid import Grid
from batchfast.llms import OpenAIProvider, Provider
from batchfast.llms.splice import Splice, escaped, literal
from batchfast.records import Request, custom_id
from batchfast.schema.config import PromptExpansionConfig
from tests.helpers import MODELS, provider, spec

_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
_filled = _text.filter(str.strip)
_PIECES = ["{num_samples}", "{language_name}", "{document_type}", "{topic}", "{{who}}", "{{why}}"]


@given(_text)
def test_escaped_text_is_what_stands_in_json(text: str) -> None:
    """Quotes, backslashes, control characters; everything else as it is, in UTF-8."""
    assert b'"' + escaped(text) + b'"' == json.dumps(text, ensure_ascii=False).encode()


@given(_text, _text)
def test_what_is_put_together_of_escaped_parts_is_escaped(one: str, other: str) -> None:
    """On this stands that values are escaped once."""
    assert escaped(one) + escaped(other) == escaped(one + other)


@settings(max_examples=150)
@given(
    name=st.sampled_from([*sorted(MODELS), "older"]),
    prompt=_text,
    system=st.none() | _filled,
    doublings=st.integers(0, 2),
    index=st.integers(0, 10**9),
)
def test_spliced_lines_are_encoded_lines(
    name: str, prompt: str, system: str | None, doublings: int, index: int
) -> None:
    """Whatever the prompt and the system prompt hold, also what looks like a hole or a format."""
    kind, settings = ("anthropic", {"model_id": "claude-3-5-haiku-20241022"}) if name == "older" else (name, {})
    model = provider(kind, system_prompt=system, max_completion_tokens=77, extra={}, **settings)
    splice = Splice.of(model.encode, 3, doublings)
    assert splice is not None
    made = splice.template("run-%d-nonce", 2, literal(escaped(prompt))) % index
    assert made == model.encode(Request(custom_id("run-%d-nonce", index, 2), prompt, 3, doublings)) + b"\n"


@pytest.mark.parametrize("hole", ["batchfast-hole-for-the-id", "batchfast-hole-for-the-prompt"])
@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_system_prompt_that_holds_a_hole_is_not_spliced(name: str, hole: str) -> None:
    """It could not be told from the place where the id, or the prompt, belongs."""
    assert Splice.of(provider(name, system_prompt=f"Say {hole}.").encode, 3, 0) is None


def walked(grid: Grid, model: Provider, entry: int) -> walk.Walk:
    splice = Splice.of(model.encode, grid.num_samples, 0)
    assert splice is not None
    return walk.Walk(grid, splice, entry, "run", 1)


@settings(max_examples=120)
@given(
    prompt=st.lists(st.sampled_from(_PIECES) | _text.filter(lambda t: "{" not in t and "}" not in t), max_size=8),
    values=st.lists(_filled, min_size=1, max_size=3, unique=True),
    types=st.lists(_filled, min_size=1, max_size=2, unique=True),
    topics=st.lists(_filled, min_size=1, max_size=3, unique=True),
    draws=st.none() | st.integers(1, 4),
    cut=st.tuples(st.integers(0, 40), st.integers(0, 40)),
    template_bytes=st.sampled_from([1, 2_000, 1 << 16]),
    block_bytes=st.sampled_from([1, 3_000, 1 << 19]),
)
def test_walking_gives_the_encoded_requests_of_the_grid(
    prompt: list[str],
    values: list[str],
    types: list[str],
    topics: list[str],
    draws: int | None,
    cut: tuple[int, int],
    template_bytes: int,
    block_bytes: int,
) -> None:
    """
    Counting, expanding one by one, and walking are one: any grid, any part of it, however many lines are made at once,
    and no line over its block's bound, nor prompt over the grid's.
    """
    base = "".join(prompt) + "{num_samples}{language_name}{document_type}{topic}"
    used = {"who", "why"} & {piece[2:-2] for piece in prompt if piece.startswith("{{")}
    random: dict[str, Any] = {} if draws is None else {"combinatorial": False, "num_random_samples": draws, "seed": 7}
    expansion = PromptExpansionConfig(placeholders=dict.fromkeys(sorted(used), values), **random)
    wanted = spec(provider(), provider("gemini"), document_types=types, prompts=[base, base + "!"], expansion=expansion)
    model = wanted.providers[1]
    snapshot = wanted.snapshot | {"topics": topics, "languages": [["en", "English"], ["fr", "100% français"]]}
    grid = Grid(snapshot)
    part = range(grid.positions)[min(cut) : max(cut)]
    prompts = [grid.prompt(position * 2 + 1) for position in part]
    lines = [
        model.encode(Request(custom_id("run", position * 2 + 1, 1), text, grid.num_samples)) + b"\n"
        for position, text in zip(part, prompts, strict=True)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(walk, "_TEMPLATE_BYTES", template_bytes)
        patch.setattr(walk, "BLOCK_BYTES", block_bytes)
        blocks = list(walked(grid, model, 1).blocks(part))
    assert [line for block in blocks for line in block.lines()] == lines
    assert [position for block in blocks for position in block.positions] == list(part)
    for block in blocks:
        assert 0 <= block.largest_bytes - max(map(len, block.lines())) <= 1
    assert all(len(escaped(text)) <= walk.longest_prompt(grid) for text in prompts)


@pytest.mark.parametrize("beyond", [range(2, 4), range(3, 9), range(-1, 1)])
def test_walking_past_the_grid_is_an_error(beyond: range) -> None:
    """As asking for a request that is not there."""
    with pytest.raises(IndexError):
        list(walked(Grid(spec(topics=3).snapshot), provider(), 0).blocks(beyond))


class Shouting(OpenAIProvider):
    """An adapter whose lines do not hold the prompt as it is."""

    def _line(self, request: Request) -> dict[str, Any]:
        return super()._line(Request(request.custom_id, request.prompt.upper(), request.num_samples))


def test_an_adapter_that_splicing_does_not_fit_encodes_one_by_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its own `encode` has the last word, and it is said."""
    model = Shouting("gpt-4.1-mini")
    grid = Grid(spec(model, topics=9).snapshot)
    with caplog.at_level(logging.WARNING, logger="batchfast"):
        (shard,) = compile_shards(grid, model, 0, range(9), "run", 1, lambda _: tmp_path / "f", count())
    lines = (tmp_path / "f").read_bytes().splitlines()
    assert lines == [model.encode(Request(f"run-{i}-1", grid.prompt(i), 2)) for i in range(9)]
    assert shard.requests == 9
    assert "encoded one by one" in caplog.text


@given(st.sets(st.integers(0, 60), min_size=1))
@settings(max_examples=40)
def test_requests_here_and_there_are_those_of_a_whole_file(positions: set[int]) -> None:
    """What is asked again, or a part that was split off, has the same lines as when all were asked."""
    model = provider("anthropic")
    grid = Grid(spec(model, topics=61).snapshot)
    lines = Lines(grid, model, 0, "run", 1, 0)
    every = [line for block in lines.blocks([range(61)]) for line in block.lines()]
    ranges = [range(one, one + 1) for one in sorted(positions)]
    assert [line for block in lines.blocks(ranges) for line in block.lines()] == [
        every[one] for one in sorted(positions)
    ]


def test_blocks_are_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory holds about half a megabyte of lines, however long one is and however they are made."""
    model = provider(system_prompt="word " * 20_000)
    grid = Grid(spec(model, topics=60).snapshot)
    lines = Lines(grid, model, 0, "run", 1, 0)
    spliced = [block.positions for block in lines.blocks([range(30), range(30, 60)])]
    monkeypatch.setattr(Splice, "of", lambda *_: None)
    assert [block.positions for block in lines.blocks([range(30), range(30, 60)])] == spliced
    assert spliced[0] == range(6)
    assert sum(map(len, spliced)) == 60


def test_half_a_character_is_named_where_it_stands() -> None:
    """Splicing leaves to `encode` to say what is wrong."""
    grid = Grid(spec(topics=3).snapshot | {"topics": ["one", "two", "half \ud83d"]})
    lines = Lines(grid, provider(), 0, "run", 1, 0)
    with pytest.raises(ConfigError, match=r"request run-2-1: .* half of a character"):
        list(lines.blocks([range(3)]))
