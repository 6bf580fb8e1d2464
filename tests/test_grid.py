"""From a snapshot to request i: order, counting, values, random draws."""

from __future__ import annotations

import json
import math
import tracemalloc
from collections import Counter
from collections.abc import Sequence
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchfast.errors import ConfigError, StoreError
from batchfast.grid import GRID_VERSION, Grid, shuffle_keys, shuffled
from batchfast.schema.templates import split_template

REQUIRED = "{num_samples}|{language_name}|{document_type}|{topic}"
TYPES = ["space engineering textbook", "spacecraft design justification document", "personal blog of a space engineer"]
TOPICS = [
    "Microgravity",
    "Vacuum",
    "Heavy Ions",
    "Thermal Extremes",
    "Atomic Oxygen",
    "Debris Impact",
    "Electrostatic Charging",
    "Propellant Boil-off",
]
LEVELS = ["executives", "senior engineers", "PhD candidates"]

Placeholders = list[tuple[str, list[str]]]


def snapshot(
    *,
    document_types: Sequence[str] = ("blog",),
    topics: Sequence[str] = ("Vacuum",),
    languages: Sequence[tuple[str, str]] = (("en", "English"),),
    prompts: Sequence[str] = (REQUIRED,),
    expansion: dict[str, Any] | None = None,
    providers: int = 1,
) -> dict[str, Any]:
    made = {
        "grid_version": GRID_VERSION,
        "document_types": document_types,
        "topics": topics,
        "languages": languages,
        "prompts": prompts,
        "num_samples_per_prompt": 3,
        "expansion": expansion,
        "providers": [{"provider": "openai", "model_id": f"m{number}"} for number in range(providers)],
    }
    again: dict[str, Any] = json.loads(json.dumps(made))
    return again


def every(placeholders: Placeholders) -> dict[str, Any]:
    return {"placeholders": placeholders, "combinatorial": True}


def drawn(placeholders: Placeholders, count: int, seed: int = 1) -> dict[str, Any]:
    return {"placeholders": placeholders, "combinatorial": False, "num_random_samples": count, "seed": seed}


def prompts_of(grid: Grid) -> list[str]:
    return [grid.prompt(index) for index in range(len(grid))]


def subjects_of(grid: Grid) -> list[list[str]]:
    """Prompts of the first provider entry, by document type, topic and language, where those follow each other."""
    each: dict[tuple[str | None, ...], list[str]] = {}
    for index in range(0, len(grid), grid.entries):
        cell = grid.cell(index)
        key = (cell.metadata["document_type"], cell.metadata["topic"], cell.language)
        each.setdefault(key, []).append(grid.prompt(index))
    return list(each.values())


# -- counting and order


def test_guide_counts() -> None:
    """The guide's numbers: 3 types x 8 topics x 2 languages x 2 providers = 96, x 3 expertise levels = 288."""
    languages = [("en", "English"), ("fr", "French")]
    plain = Grid(snapshot(document_types=TYPES, topics=TOPICS, languages=languages, providers=2))
    assert (len(plain), plain.positions, plain.entries, plain.num_samples) == (96, 48, 2, 3)
    expanded = Grid(
        snapshot(
            document_types=TYPES,
            topics=TOPICS,
            languages=languages,
            providers=2,
            prompts=[REQUIRED + "{{expertise_level}}"],
            expansion=every([("expertise_level", LEVELS)]),
        )
    )
    assert len(expanded) == 288
    assert Counter(expanded.cell(index).metadata["expertise_level"] for index in range(288)) == dict.fromkeys(
        LEVELS, 96
    )


def test_order_is_type_topic_language_prompt_expansion_provider() -> None:
    """Slowest first, providers innermost; among placeholders the last declared is fastest."""
    grid = Grid(
        snapshot(
            document_types=["d0", "d1"],
            topics=["t0", "t1", "t2"],
            languages=[("l0", "L0"), ("l1", "L1")],
            prompts=["{topic}a{{x}}{{y}}{document_type}{language_name}{num_samples}", REQUIRED + "b{{y}}"],
            expansion=every([("x", ["0", "1"]), ("y", ["0", "1", "2"])]),
            providers=2,
        )
    )
    expected = [
        variant
        for d, t, language in product("01", "012", "01")
        for variant in (
            *(f"t{t}a{x}{y}d{d}L{language}3" for x, y in product("01", "012")),
            *(f"3|L{language}|d{d}|t{t}b{y}" for y in "012"),
        )
        for _ in range(2)
    ]
    assert prompts_of(grid) == expected


def test_placeholder_that_a_prompt_does_not_use_is_null_and_does_not_multiply() -> None:
    """Metadata has the same keys for every prompt, in declared order."""
    expansion = every([("x", ["0", "1"]), ("y", ["2", "3", "4"])])
    grid = Grid(snapshot(prompts=[REQUIRED, REQUIRED + "{{y}}", REQUIRED + "{{x}}"], expansion=expansion))
    cells = [grid.cell(index) for index in range(len(grid))]
    seen = [(cell.prompt_index, cell.metadata["x"], cell.metadata["y"]) for cell in cells]
    assert seen == [(0, None, None), (1, None, "2"), (1, None, "3"), (1, None, "4"), (2, "0", None), (2, "1", None)]
    assert {tuple(cell.metadata) for cell in cells} == {("document_type", "topic", "x", "y")}


def test_metadata_is_a_new_dict_each_time() -> None:
    """A caller may add to it."""
    grid = Grid(snapshot())
    grid.cell(0).metadata["more"] = "x"
    assert grid.cell(0).metadata == {"document_type": "blog", "topic": "Vacuum"}


@pytest.mark.parametrize("index", [-1, 6, 10**30])
def test_index_outside_the_grid_is_an_error(index: int) -> None:
    """Also a negative one: an index is what a custom_id holds."""
    grid = Grid(snapshot(topics=["a", "b", "c"], providers=2))
    for look in (grid.prompt, grid.cell):
        with pytest.raises(IndexError, match="the grid has 6 requests"):
            look(index)


def test_other_grid_version_is_refused() -> None:
    """A run laid out by other rules would give other requests for the same index."""
    with pytest.raises(StoreError, match="grid version 2, and this batchfast knows version 1"):
        Grid(snapshot() | {"grid_version": 2})


def test_grid_beyond_numbering_is_refused() -> None:
    """Before anything is counted with it."""
    with pytest.raises(ConfigError, match="requests: more than can be numbered"):
        Grid(snapshot(expansion=drawn([], 10**30)))


def test_fifty_million_requests_cost_nothing() -> None:
    """Any index is computed from itself: memory does not grow with the grid."""
    values = [str(number) for number in range(100)]
    made = snapshot(
        document_types=values[:5],
        topics=[f"topic {number}" for number in range(250)],
        languages=[("en", "English"), ("fr", "French")],
        prompts=[REQUIRED + "{{x}}{{y}}"],
        expansion=every([("x", values), ("y", values)]),
        providers=2,
    )
    tracemalloc.start()
    grid = Grid(made)
    assert len(grid) == 50_000_000
    for index in range(0, len(grid), 9_999_991):
        assert grid.prompt(index).startswith("3|")
    assert grid.prompt(len(grid) - 1) == "3|French|4|topic 2499999"
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 1_000_000


# -- properties of any grid

values_strategy = st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=3)


@st.composite
def snapshots(draw: st.DrawFn) -> dict[str, Any]:
    placeholders = draw(st.dictionaries(st.sampled_from("xyz"), values_strategy))
    prompts = draw(
        st.lists(
            st.lists(st.sampled_from([*map("{{{{{}}}}}".format, placeholders), "{", "}", "%s", '{"a": 1}', "ü"])).map(
                lambda parts: REQUIRED + "".join(f" {part}" for part in parts)
            ),
            min_size=1,
            max_size=3,
        )
    )
    pairs = list(placeholders.items())
    count, seed = draw(st.integers(1, 12)), draw(st.integers())
    return snapshot(
        document_types=draw(values_strategy),
        topics=draw(values_strategy),
        languages=[(name, name) for name in draw(st.sets(st.text(min_size=1, max_size=3), min_size=1, max_size=2))],
        prompts=prompts,
        expansion=draw(st.sampled_from([every(pairs), drawn(pairs, count, seed)])),
        providers=draw(st.integers(1, 3)),
    )


@given(snapshots())
def test_count_is_what_expanding_gives(made: dict[str, Any]) -> None:
    """len(grid) is a product of its axes, and every index below it renders."""
    grid = Grid(made)
    placeholders = dict(made["expansion"]["placeholders"])
    variants = (
        sum(
            math.prod(len(values) for name, values in placeholders.items() if f"{{{{{name}}}}}" in prompt)
            for prompt in made["prompts"]
        )
        if made["expansion"]["combinatorial"]
        else made["expansion"]["num_random_samples"]
    )
    subjects = len(made["document_types"]) * len(made["topics"]) * len(made["languages"])
    assert len(grid) == subjects * variants * len(made["providers"]) == len(prompts_of(grid))


@given(snapshots())
def test_cell_and_prompt_agree(made: dict[str, Any]) -> None:
    """The metadata of request i are the values that its prompt was rendered with; providers share them."""
    grid = Grid(made)
    names = dict(made["languages"])
    for index in range(len(grid)):
        cell = grid.cell(index)
        values = {"num_samples": "3", "language_name": names[cell.language], **cell.metadata}
        template = split_template(made["prompts"][cell.prompt_index])
        assert grid.prompt(index) == "".join(
            piece.text + str(values[piece.name] if piece.name else "") for piece in template
        )
        assert cell == grid.cell(index - index % grid.entries)


# -- values

NASTY = [
    "{topic}",
    "{{x}}",
    "{0}",
    "{",
    "}}",
    "\"\\'",
    "a\nb\r\n",
    "a\u2028b\u2029\x85",
    "🚀👩‍👩‍👧",
    "%s %(x)s",
    "$x \\1",
    "x" * 100_000,
]


@pytest.mark.parametrize("value", NASTY)
def test_value_survives_untouched(value: str) -> None:
    """Values are inserted in one pass and never read as a template, wherever they stand."""
    made = snapshot(
        document_types=[value],
        topics=[value],
        languages=[("en", value)],
        prompts=["{num_samples}<{language_name}>{document_type}<{topic}>{{x}}<{{{x}}}"],
        expansion=every([("x", [value])]),
    )
    grid = Grid(made)
    assert grid.prompt(0) == f"3<{value}>{value}<{value}>{value}<{{{value}}}"
    assert grid.cell(0).metadata == {"document_type": value, "topic": value, "x": value}


@given(st.text(), st.text(), st.text())
def test_any_text_survives_untouched(topic: str, before: str, after: str) -> None:
    """Whatever stands around a placeholder, too, as long as it is none itself."""
    before, after = before.replace("{", "("), after.replace("}", ")")
    assert Grid(snapshot(topics=[topic], prompts=[f"{before}}} {{topic}} {{{after}"])).prompt(0) == (
        f"{before}}} {topic} {{{after}"
    )


def test_literal_json_in_a_template_works() -> None:
    """A JSON example needs no escaping."""
    template = '{topic} {"a": {"b": [1, {}]}} {{"c": 2}} ' + REQUIRED
    assert Grid(snapshot(prompts=[template])).prompt(0) == (
        'Vacuum {"a": {"b": [1, {}]}} {{"c": 2}} 3|English|blog|Vacuum'
    )


# -- random mode

LETTERS: Placeholders = [("x", list("abc")), ("y", list("defg"))]


@given(st.integers(1, 40), st.integers())
def test_each_subject_draws_exactly_as_many_as_asked(count: int, seed: int) -> None:
    """num_random_samples per document type, topic and language; none comes twice before each came once."""
    prompts = ["p" + REQUIRED + "{{x}}{{y}}", "q" + REQUIRED + "{{x}}", "r" + REQUIRED]
    made = snapshot(
        topics=["t0", "t1"],
        languages=[("en", "E"), ("fr", "F")],
        prompts=prompts,
        expansion=drawn(LETTERS, count, seed),
    )
    space = 12 + 3 + 1
    for prompts_drawn in subjects_of(Grid(made)):
        assert len(prompts_drawn) == count
        for start in range(0, count, space):
            turn = prompts_drawn[start : start + space]
            assert len(set(turn)) == len(turn)
        most, least = Counter(prompts_drawn).most_common()[0][1], count // space
        assert most <= least + 1


def test_draw_does_not_depend_on_what_was_drawn_before() -> None:
    """Any index may be asked for first."""
    made = snapshot(
        topics=TOPICS, languages=[("en", "E"), ("fr", "F")], prompts=["{{x}}{{y}}"], expansion=drawn(LETTERS, 5)
    )
    forwards = Grid(made)
    backwards = Grid(made)
    assert prompts_of(forwards) == [backwards.prompt(index) for index in reversed(range(len(backwards)))][::-1]


def test_draws_are_fixed_by_the_grid_version() -> None:
    """The same in every process and release: a change of these needs another GRID_VERSION."""
    made = snapshot(topics=["a", "b"], prompts=["{{x}}{{y}}"], expansion=drawn(LETTERS, 5, seed=7))
    assert prompts_of(Grid(made)) == ["bf", "ce", "ad", "af", "be", "be", "cf", "ae", "af", "ad"]


def test_other_seed_draws_otherwise() -> None:
    """The seed chooses; also a negative or a huge one."""
    drawings = {
        tuple(prompts_of(Grid(snapshot(prompts=["{{x}}{{y}}"], expansion=drawn(LETTERS, 12, seed)))))
        for seed in (0, 1, -1, 2**80)
    }
    assert len(drawings) == 4


def test_subjects_draw_independently() -> None:
    """A topic, language or provider added, or more draws asked for, leave the other draws as they were."""

    def prompts(topics: list[str], count: int = 4, providers: int = 1, languages: int = 1) -> set[str]:
        names = [("en", "English"), ("fr", "French")][:languages]
        template = [REQUIRED + "{{x}}{{y}}"]
        expansion = drawn(LETTERS, count)
        made = snapshot(topics=topics, languages=names, prompts=template, expansion=expansion, providers=providers)
        return set(prompts_of(Grid(made)))

    small = prompts(["a", "b"])
    assert small < prompts(["new", "a", "b"])
    assert small < prompts(["a", "b"], count=6)
    assert small < prompts(["a", "b"], languages=2)
    assert small == prompts(["a", "b"], providers=2)


def test_repeated_topic_draws_for_itself() -> None:
    """Whoever lists a topic twice wants more of it, not the same again."""
    made = snapshot(topics=["a", "a"], prompts=["{{x}}{{y}}"], expansion=drawn(LETTERS, 6))
    drawings = prompts_of(Grid(made))
    assert drawings[:6] != drawings[6:]


def test_draws_from_a_huge_space_cost_nothing() -> None:
    """10^300 combinations are never made."""
    values = [str(number) for number in range(1000)]
    names = [f"p{number}" for number in range(100)]
    template = " ".join(f"{{{{{name}}}}}" for name in names)
    made = snapshot(prompts=[template], expansion=drawn([(name, values) for name in names], 50))
    prompts = prompts_of(Grid(made))
    assert len(set(prompts)) == 50
    for column in zip(*(prompt.split(" ") for prompt in prompts), strict=True):
        assert len(set(column)) > 30, "every placeholder varies, the first ones too"


@given(st.integers(1, 2000), st.binary())
@settings(max_examples=50)
def test_shuffled_is_a_permutation(size: int, secret: bytes) -> None:
    """Every place gets a number of its own."""
    keys = shuffle_keys(secret)
    assert sorted(shuffled(place, size, keys) for place in range(size)) == list(range(size))


@given(st.integers(1, 10**40), st.binary(), st.data())
def test_shuffled_stays_in_range_and_keeps_places_apart(size: int, secret: bytes, data: st.DataObject) -> None:
    """Also where the range is far too large to list."""
    keys = shuffle_keys(secret)
    places = data.draw(st.sets(st.integers(0, size - 1), max_size=20))
    images = {shuffled(place, size, keys) for place in places}
    assert len(images) == len(places)
    assert all(0 <= image < size for image in images)


@pytest.mark.parametrize("size", [2, 3, 4, 5, 6, 7, 9, 12])
def test_shuffled_favours_no_pair(size: int) -> None:
    """Over many keys, each ordered pair comes first about equally often (chi-squared, six standard deviations)."""
    rounds = 6000
    pairs: Counter[tuple[int, ...]] = Counter()
    for number in range(rounds):
        keys = shuffle_keys(str(number).encode())
        pairs[tuple(shuffled(place, size, keys) for place in (0, 1))] += 1
    possible = size * (size - 1)
    expected = rounds / possible
    missing = possible - len(pairs)
    chi_squared = sum((seen - expected) ** 2 / expected for seen in pairs.values()) + missing * expected
    freedom = possible - 1
    assert chi_squared < freedom + 6 * math.sqrt(2 * freedom)
