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

from batchfast.compiler import Lines, compile_shards
from batchfast.grid import Grid
from batchfast.llms import OpenAIProvider
from batchfast.llms.splice import Splice, escaped
from batchfast.records import Request, custom_id
from batchfast.schema.config import PromptExpansionConfig
from batchfast.walk import Walk
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
    prompts=st.lists(_text, min_size=1, max_size=5),
    system=st.none() | _filled,
    doublings=st.integers(0, 2),
    start=st.integers(0, 10**9),
    step=st.integers(1, 4),
)
def test_spliced_lines_are_encoded_lines(
    name: str, prompts: list[str], system: str | None, doublings: int, start: int, step: int
) -> None:
    """Whatever the prompt and the system prompt hold, also what looks like a hole or a format."""
    kind, settings = ("anthropic", {"model_id": "claude-3-5-haiku-20241022"}) if name == "older" else (name, {})
    model = provider(kind, system_prompt=system, max_completion_tokens=77, extra={}, **settings)
    splice = Splice.of(model.encode, 3, doublings)
    assert splice is not None
    indices = range(start, start + step * len(prompts), step)
    made = splice.lines("run-%d-nonce", 2, indices, map(escaped, prompts))
    wanted = [
        model.encode(Request(custom_id("run-%d-nonce", index, 2), prompt, 3, doublings)) + b"\n"
        for index, prompt in zip(indices, prompts, strict=True)
    ]
    assert made == wanted


@pytest.mark.parametrize("hole", ["batchfast-hole-for-the-id", "batchfast-hole-for-the-prompt"])
@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_system_prompt_that_holds_a_hole_is_not_spliced(name: str, hole: str) -> None:
    """It could not be told from the place where the id, or the prompt, belongs."""
    assert Splice.of(provider(name, system_prompt=f"Say {hole}.").encode, 3, 0) is None


@settings(max_examples=120)
@given(
    prompt=st.lists(st.sampled_from(_PIECES) | _text.filter(lambda t: "{" not in t and "}" not in t), max_size=8),
    values=st.lists(_filled, min_size=1, max_size=3, unique=True),
    types=st.lists(_filled, min_size=1, max_size=2, unique=True),
    topics=st.lists(_filled, min_size=1, max_size=3, unique=True),
    draws=st.none() | st.integers(1, 4),
    cut=st.tuples(st.integers(0, 40), st.integers(0, 40)),
)
def test_walking_gives_the_prompts_of_the_grid(
    prompt: list[str], values: list[str], types: list[str], topics: list[str], draws: int | None, cut: tuple[int, int]
) -> None:
    """Counting, expanding one by one, and walking are one: any grid, any part of it, and no prompt over the bound."""
    base = "".join(prompt) + "{num_samples}{language_name}{document_type}{topic}"
    used = {"who", "why"} & {piece[2:-2] for piece in prompt if piece.startswith("{{")}
    random: dict[str, Any] = {} if draws is None else {"combinatorial": False, "num_random_samples": draws, "seed": 7}
    expansion = PromptExpansionConfig(placeholders=dict.fromkeys(sorted(used), values), **random)
    wanted = spec(provider(), provider("gemini"), document_types=types, prompts=[base, base + "!"], expansion=expansion)
    snapshot = wanted.snapshot | {"topics": topics, "languages": [["en", "English"], ["fr", "100% français"]]}
    grid = Grid(snapshot)
    part = range(grid.positions)[min(cut) : max(cut)]
    walk = Walk(grid)
    assert list(walk.prompts(part)) == [escaped(grid.prompt(position * 2 + 1)) for position in part]
    assert all(len(one) <= walk.longest() for one in walk.prompts(range(grid.positions)))


@pytest.mark.parametrize("beyond", [range(2, 4), range(3, 9), range(-1, 1)])
def test_walking_past_the_grid_is_an_error(beyond: range) -> None:
    """As asking for a request that is not there."""
    grid = Grid(spec(topics=3).snapshot)
    with pytest.raises(IndexError):
        list(Walk(grid).prompts(beyond))


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
    every = [line for block in lines.blocks([range(61)]) for line in block.lines]
    ranges = [range(one, one + 1) for one in sorted(positions)]
    assert [line for block in lines.blocks(ranges) for line in block.lines] == [every[one] for one in sorted(positions)]


def test_blocks_of_long_lines_are_small() -> None:
    """Memory holds about a megabyte of lines, however long one is."""
    model = provider(system_prompt="word " * 20_000)
    grid = Grid(spec(model, topics=60).snapshot)
    sizes = [len(block.lines) for block in Lines(grid, model, 0, "run", 1, 0).blocks([range(30), range(30, 60)])]
    assert sum(sizes) == 60
    assert max(sizes[1:]) <= 11
