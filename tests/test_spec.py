"""Spec files, the canonical snapshot and its id."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from batchfast.errors import ConfigError
from batchfast.grid import Grid
from batchfast.llms import PROVIDERS, AnthropicProvider, GeminiProvider, OpenAIProvider, Provider
from batchfast.prompts import DEFAULT_PROMPT
from batchfast.schema.config import PromptExpansionConfig, RawDatasetConfig
from batchfast.snapshot import conduct_of, differences, providers_of, snapshot_bytes, snapshot_id
from batchfast.spec import Conduct, Spec, config_of, load_spec, snapshot, starter_spec

REQUIRED = "{num_samples} {language_name} {document_type} {topic} "
DATASET = '[dataset]\ndocument_types = ["blog"]\ntopics = ["Vacuum"]\n'
PROVIDER = '[[providers]]\nprovider = "openai"\nmodel_id = "m"\n'

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file; returns its path."""

    def write_file(text: str | bytes, name: str = "spec.toml") -> Path:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write_file


def config(**values: Any) -> RawDatasetConfig:
    return RawDatasetConfig(**({"document_types": ["blog"], "topics": ["Vacuum"]} | values))


def expanded(placeholders: dict[str, list[str]], topics: Sequence[str] = ("Vacuum",), **more: Any) -> RawDatasetConfig:
    template = REQUIRED + " ".join(f"{{{{{name}}}}}" for name in sorted(placeholders))
    expansion = PromptExpansionConfig(placeholders=placeholders, **more)
    return config(topics=topics, prompts=[template], expansion=expansion)


def id_of(made: RawDatasetConfig, *providers: Provider) -> str:
    return snapshot_id(snapshot(made, providers or [OpenAIProvider("m")]))


# -- reading a file


def test_spec_of_the_interface_is_read(write: Write, tmp_path: Path) -> None:
    """All sections, as the documentation shows them."""
    path = write(
        """
        [dataset]
        document_types = ["space engineering textbook", "personal blog of a space engineer"]
        topics = ["Microgravity", "Vacuum"]
        num_samples_per_prompt = 1
        output_file = "space_engineering.jsonl"
        languages = { en = "English", fr = "French" }
        prompts = ["Generate {num_samples} of a {document_type} in {language_name} on {topic} for {{level}}."]

        [dataset.expansion]
        placeholders = { level = ["executives", "senior engineers", "PhD candidates"] }

        [[providers]]
        provider = "openai"
        model_id = "gpt-4.1-mini-2025-04-14"
        max_completion_tokens = 2000

        [[providers]]
        provider = "anthropic"
        model_id = "claude-3-5-haiku-latest"

        [run]
        max_attempts = 5
        recheck_after_s = 0.5
        max_parallel_uploads = 2
        """
    )
    spec = load_spec(path)
    assert len(Grid(spec.snapshot)) == 2 * 2 * 2 * 3 * 2
    assert [type(provider) for provider in spec.providers] == [OpenAIProvider, AnthropicProvider]
    assert spec.providers[0].max_completion_tokens == 2000
    assert spec.conduct == Conduct(max_attempts=5, recheck_after_s=0.5, max_parallel_uploads=2)
    assert (spec.path, spec.output_path()) == (path, tmp_path / "space_engineering.jsonl")


def test_json_and_toml_mean_the_same(write: Write) -> None:
    """Same keys, same snapshot."""
    toml = DATASET + 'languages = {en = "English"}\n' + PROVIDER + "temperature = 1\n"
    document = tomllib.loads(toml)
    other = load_spec(write(json.dumps(document), "spec.json"))
    assert load_spec(write(toml)).snapshot == other.snapshot
    document["providers"][0]["top_p"] = None
    assert load_spec(write(json.dumps(document), "spec.json")).snapshot == other.snapshot


def test_defaults_of_conduct(write: Write) -> None:
    """Three attempts; a second look after 20 seconds; no budget; four uploads at once."""
    spec = load_spec(write(DATASET + PROVIDER))
    assert spec.conduct == Conduct(3, 20.0, None, 4)


def test_topics_file_is_read_line_by_line(write: Write, tmp_path: Path) -> None:
    """Relative to the spec's folder; blank lines skipped; only newlines end a topic."""
    (tmp_path / "lists").mkdir()
    write("\ufeffVacuum\r\n\r\n  Heavy Ions \n\u00e9t\u00e9\u2028x\n\n", "lists/topics.txt")
    spec = load_spec(write('[dataset]\ndocument_types = ["blog"]\ntopics_file = "lists/topics.txt"\n' + PROVIDER))
    assert spec.config.topics == ["Vacuum", "Heavy Ions", "\u00e9t\u00e9\u2028x"]
    inline = load_spec(
        write('[dataset]\ndocument_types = ["blog"]\ntopics = ["Vacuum", "Heavy Ions", "été\\u2028x"]\n' + PROVIDER)
    )
    assert spec.snapshot == inline.snapshot, "where the topics stood is not part of a run"


def test_key_beside_the_spec_is_found(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `.env` in the spec's folder serves also when the command runs elsewhere."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    write("OPENAI_API_KEY=from-dotenv\n", ".env")
    (provider,) = load_spec(write(DATASET + PROVIDER)).providers
    assert provider.key() == "from-dotenv"


TOPICS_FILE = '[dataset]\ndocument_types = ["blog"]\ntopics_file = "topics.txt"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (DATASET + PROVIDER + "[runs]\n", "unknown key 'runs' in the spec: the nearest known one is 'run'"),
        (DATASET + "topic = 1\n" + PROVIDER, "unknown key 'topic' in [dataset]: the nearest known one is 'topics'"),
        (
            DATASET + "[dataset.expansion]\nplaceholder = {}\n" + PROVIDER,
            "unknown key 'placeholder' in [dataset.expansion]: the nearest known one is 'placeholders'",
        ),
        (
            DATASET + PROVIDER + "temprature = 1\n",
            "unknown key 'temprature' in providers[0]: the nearest known one is 'temperature'",
        ),
        (
            DATASET + PROVIDER + "[run]\nmax_attempt = 1\n",
            "unknown key 'max_attempt' in [run]: the nearest known one is 'max_attempts'",
        ),
        (PROVIDER, "the section [dataset] is missing"),
        (DATASET, "there is no provider: add a section [[providers]] with provider and model_id"),
        (
            DATASET + PROVIDER.replace("[[providers]]", "[providers]"),
            "providers must be a list: write the section as [[providers]], in double brackets",
        ),
        (DATASET + PROVIDER.replace("provider =", "# "), "providers[0] has no provider: add it"),
        (DATASET + PROVIDER.replace("model_id", "# "), "providers[0] has no model_id: add it"),
        (
            DATASET + PROVIDER + PROVIDER.replace("openai", "opnai"),
            "providers[1]: unknown provider opnai: the nearest is 'openai' (known: openai, anthropic, gemini)",
        ),
        (
            DATASET + PROVIDER + 'api_key = "sk-1"\n',
            (
                "providers[0] holds an api_key, and a spec may be shared: remove it, and set OPENAI_API_KEY in the "
                "environment or in .env, or name another variable with api_key_env"
            ),
        ),
        (
            DATASET + PROVIDER + 'temperature = "hot"\n',
            "providers[0]: openai m: temperature must be a number, not 'hot'",
        ),
        (DATASET + PROVIDER + "extra = 1\n", "providers[0]: extra must be a table of keys and values, not 1"),
        (DATASET + PROVIDER + "base_url = 1\n", "providers[0]: base_url must be text, not 1"),
        ("dataset = 1\n" + PROVIDER, "[dataset] must be a table of keys and values, not 1"),
        (DATASET + PROVIDER + "[run]\nmax_attempts = 0\n", "max_attempts must be a whole number above 0, not 0"),
        (
            DATASET + PROVIDER + "[run]\nrecheck_after_s = -1\n",
            "recheck_after_s must be a number of seconds from 0 up, not -1",
        ),
        (DATASET + 'topics_file = "x"\n' + PROVIDER, "[dataset] has both topics and topics_file: keep one of them"),
        (TOPICS_FILE + PROVIDER, "topics_file topics.txt: there is no such file"),
        (TOPICS_FILE.replace('"topics.txt"', "3") + PROVIDER, "topics_file must be the name of a file, not 3"),
        (DATASET.replace("topics =", "# ") + PROVIDER, "dataset.topics is missing: add it"),
        (DATASET.replace('"Vacuum"', '"a", 1') + PROVIDER, "dataset.topics[1]: input should be a valid string"),
        (DATASET.replace('"Vacuum"', "") + PROVIDER, "topics is empty: give at least one value"),
        (
            DATASET + 'prompts = ["{num_samples} {language_name} {document_type}"]\n' + PROVIDER,
            (
                "prompt 1 of 1 lacks {topic}: "
                "every prompt needs {num_samples}, {language_name}, {document_type} and {topic}"
            ),
        ),
        (b"a = 1\n# \xff\n", "not UTF-8 (line 2): save it as UTF-8"),
    ],
)
def test_wrong_spec_gives_one_line_with_its_name(write: Write, text: str | bytes, message: str) -> None:
    """One clear line: the file, the place in it, what to do."""
    path = write(text)
    with pytest.raises(ConfigError) as caught:
        load_spec(path)
    assert str(caught.value) == f"{path}: {message}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1,\n}', "not valid JSON: "),
        ('{"a": 1, "a": 2}', "the key 'a' stands 2 times in one object: keep one"),
        ("[1]", "the spec must be a table of keys and values, not [1]"),
        ("[" * 100_000, "cannot be a spec: "),
        ('{"a": ' + "9" * 5000 + "}", "cannot be a spec: "),
    ],
)
def test_wrong_json_gives_one_line_with_its_name(write: Write, text: str, message: str) -> None:
    """Whatever a file may hold, it is an error of the file and no traceback."""
    path = write(text, "spec.json")
    with pytest.raises(ConfigError) as caught:
        load_spec(path)
    assert str(caught.value).startswith(f"{path}: {message}")
    assert "\n" not in str(caught.value)


def test_wrong_toml_names_the_line(write: Write) -> None:
    """In the parser's own words."""
    path = write(DATASET + "x 1\n")
    with pytest.raises(ConfigError, match=r"spec\.toml: not valid TOML: .*\(at line 4, column 3\)$"):
        load_spec(path)


def test_several_problems_give_a_line_each(write: Write) -> None:
    """Everything that can be seen at once is said at once."""
    path = write('[dataset]\ndocument_types = []\ntopics = [""]\n' + PROVIDER)
    with pytest.raises(ConfigError) as caught:
        load_spec(path)
    assert str(caught.value).splitlines() == [
        f"{path}: document_types is empty: give at least one value",
        f"{path}: topics: value 1 of 1 is blank; fill it in or remove it",
    ]


def test_file_that_cannot_be_read_is_named(write: Write, tmp_path: Path) -> None:
    """Missing, a folder, or with a suffix that tells nothing."""
    with pytest.raises(ConfigError, match=r"absent\.toml: there is no such file"):
        load_spec(tmp_path / "absent.toml")
    with pytest.raises(ConfigError, match=f"{tmp_path.name}: cannot be read: "):
        load_spec(tmp_path)
    with pytest.raises(ConfigError, match=r"spec\.yaml: a spec is a \.toml or a \.json file"):
        load_spec(write("", "spec.yaml"))


def test_topics_file_without_topics_is_named(write: Write) -> None:
    """Blank lines are no topics."""
    write("\n \r\n", "topics.txt")
    with pytest.raises(ConfigError, match=r"topics_file topics.txt holds no topic: write one a line"):
        load_spec(write(TOPICS_FILE + PROVIDER))
    write(b"a\n\xe9", "topics.txt")
    with pytest.raises(ConfigError, match=r"topics_file topics.txt: not UTF-8 \(line 2\)"):
        load_spec(write(TOPICS_FILE + PROVIDER))


def test_starter_spec_is_a_spec(write: Write) -> None:
    """It loads as it is, with a small grid on one provider."""
    spec = load_spec(write(starter_spec()))
    assert [(provider.name, provider.model_id) for provider in spec.providers] == [("openai", "gpt-6-luna")]
    assert len(Grid(spec.snapshot)) == 18


def test_every_commented_line_of_the_starter_spec_works(write: Write) -> None:
    """With all its settings switched on, and whatever cannot stand together left out, it still loads."""
    lines = []
    for line in starter_spec().splitlines():
        setting = line.removeprefix("# ")
        is_setting = setting.startswith(("[", "]", '    "')) or " = " in setting.split("#")[0]
        lines.append(setting if is_setting else line)
    text = "\n".join(line for line in lines if not line.startswith("topics_file"))
    spec = load_spec(write(text))
    assert [provider.name for provider in spec.providers] == list(PROVIDERS)
    assert spec.config.expansion is not None
    assert spec.providers[0].extra == {"reasoning_effort": "low"}
    document = tomllib.loads(text)
    assert set(document["dataset"]) == set(RawDatasetConfig.model_fields)
    assert set(document["dataset"]["expansion"]) == set(PromptExpansionConfig.model_fields)
    assert set(document["run"]) == {one.name for one in fields(Conduct)}


# -- from Python


def test_spec_of_takes_providers_only() -> None:
    """A single provider or a model's name in place of the list is an error at once."""
    for wrong in (OpenAIProvider("m"), ["openai"]):
        with pytest.raises(ConfigError, match="providers must be a list of provider objects"):
            Spec.of(config(), wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="there is no provider: give at least one"):
        Spec.of(config(), [])


def test_output_path_without_a_file_is_seen_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As any program does; absolute names stay."""
    monkeypatch.chdir(tmp_path)
    providers = [OpenAIProvider("m")]
    assert Spec.of(config(output_file="a/b.jsonl"), providers).output_path() == tmp_path / "a" / "b.jsonl"
    absolute = tmp_path / "x.jsonl"
    assert Spec.of(config(output_file=absolute), providers).output_path() == absolute


def test_config_changed_after_it_was_made_is_checked_again() -> None:
    """What would be sent is what was checked."""
    made = expanded({"level": ["a"]})
    made.topics.append("")
    with pytest.raises(ValidationError, match="value 2 of 2 is blank"):
        snapshot(made, [OpenAIProvider("m")])
    made.topics.pop()
    assert made.expansion is not None
    made.expansion.placeholders["level"].clear()
    with pytest.raises(ValidationError, match="placeholder 'level' is empty"):
        snapshot(made, [OpenAIProvider("m")])


def test_conduct_is_read_back_from_what_was_stored() -> None:
    """Other things stored beside it, and things not stored yet, are no error."""
    assert Conduct.stored({"max_attempts": 2, "providers": [{}]}) == Conduct(2, 20.0)


# -- the snapshot


def test_snapshot_holds_what_decides_the_requests() -> None:
    """Every input inlined, as plain JSON values."""
    providers = [OpenAIProvider("m", "key", temperature=1, base_url="https://x", timeout=3, extra={"b": 1, "a": (2,)})]
    made = snapshot(config(), providers)
    assert made == {
        "grid_version": 1,
        "document_types": ["blog"],
        "topics": ["Vacuum"],
        "languages": [["en", "English"]],
        "prompts": [DEFAULT_PROMPT],
        "num_samples_per_prompt": 5,
        "expansion": None,
        "providers": [{"provider": "openai", "model_id": "m", "temperature": 1.0, "extra": {"a": [2], "b": 1}}],
    }


def test_snapshot_bytes_are_canonical() -> None:
    """Sorted keys, no spaces, UTF-8 as it is: the hash of these bytes names the run, in every release."""
    made = snapshot(config(topics=["été 🚀\u2028"], prompts=[REQUIRED]), [OpenAIProvider("m")])
    assert (
        snapshot_bytes(made)
        == (
            '{"document_types":["blog"],"expansion":null,"grid_version":1,"languages":[["en","English"]],'
            '"num_samples_per_prompt":5,"prompts":["{num_samples} {language_name} {document_type} {topic} "],'
            '"providers":[{"model_id":"m","provider":"openai"}],"topics":["été 🚀\u2028"]}'
        ).encode()
    )
    assert snapshot_id(made) == "979026e61ab1"


def test_conduct_is_no_part_of_the_id() -> None:
    """Where it is sent, with which key, at which price and in which portions decides no answer."""
    other = OpenAIProvider(
        "m",
        "key",
        api_key_env="K",
        base_url="https://x",
        timeout=3,
        price={"input": 1, "output": 2},
        max_requests_per_batch=7,
    )
    assert id_of(config(), other) == id_of(config(output_file="other.jsonl"))


def _setting(name: str, value: float) -> dict[str, Any]:
    return {name: value}


@pytest.mark.parametrize("name", ["temperature", "top_p", "frequency_penalty"])
def test_whole_and_broken_numbers_are_the_same_setting(name: str) -> None:
    """1 and 1.0 are one temperature."""
    one, same, other = (OpenAIProvider("m", **_setting(name, value)) for value in (1, 1.0, 0.5))
    assert id_of(config(), one) == id_of(config(), same) != id_of(config(), other)


def test_id_depends_on_every_decision() -> None:
    """Each change of what is asked makes another run."""
    random: dict[str, Any] = {"combinatorial": False, "num_random_samples": 2}
    two = {"a": ["x", "y"], "b": ["z"]}
    ids = [
        id_of(config()),
        id_of(config(), OpenAIProvider("n")),
        id_of(config(), AnthropicProvider("m")),
        id_of(config(), GeminiProvider("m")),
        id_of(config(), OpenAIProvider("m"), OpenAIProvider("m")),
        id_of(config(), OpenAIProvider("m", system_prompt="Be brief.")),
        id_of(config(), OpenAIProvider("m", extra={"reasoning_effort": "low"})),
        id_of(config(topics=["Vacuum", "Tides"])),
        id_of(config(topics=["Tides", "Vacuum"])),
        id_of(config(document_types=["book"])),
        id_of(config(num_samples_per_prompt=4)),
        id_of(config(prompts=[REQUIRED])),
        id_of(config(languages={"en": "English", "fr": "French"})),
        id_of(config(languages={"fr": "French", "en": "English"})),
        id_of(config(languages={"en": "British English"})),
        id_of(expanded(two)),
        id_of(expanded(dict(reversed(two.items())))),
        id_of(expanded(two, **random)),
        id_of(expanded(two, **random, seed=1)),
        id_of(expanded(two, **(random | {"num_random_samples": 3}))),
    ]
    assert len(set(ids)) == len(ids)


def test_id_does_not_depend_on_what_has_no_effect() -> None:
    """Order within extra, bounds that were kept, the seed of a draw that is not made, an expansion of nothing."""
    one, same = (
        OpenAIProvider("m", extra=extra) for extra in ({"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"d": 3, "c": 2}, "a": 1})
    )
    assert id_of(config(), one) == id_of(config(), same)
    levels = {"level": ["a", "b"]}
    assert id_of(expanded(levels)) == id_of(expanded(levels, max_samples=2, seed=3, num_random_samples=9))
    assert id_of(config()) == id_of(config(expansion=PromptExpansionConfig(placeholders={})))
    assert id_of(config()) == id_of(config(prompts=[DEFAULT_PROMPT]))


def test_seed_left_out_follows_from_prompts_and_placeholders() -> None:
    """It is stored with the run; a topic added later leaves the draws as they are."""
    random: dict[str, Any] = {"combinatorial": False, "num_random_samples": 2}
    levels = {"level": ["a", "b", "c"]}
    seeds = [
        snapshot(made, [provider])["expansion"]["seed"]
        for made in (expanded(levels, **random), expanded(levels, topics=["Tides", "Vacuum"], **random))
        for provider in (OpenAIProvider("m"), GeminiProvider("m"))
    ]
    other = snapshot(expanded({"level": ["a", "b", "d"]}, **random), [OpenAIProvider("m")])["expansion"]["seed"]
    assert len(set(seeds)) == 1
    assert other not in seeds


texts = st.lists(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip), min_size=1, max_size=3
)


@given(texts, texts, texts, st.booleans())
def test_snapshot_read_back_gives_the_same_grid(
    topics: list[str], types: list[str], levels: list[str], combinatorial: bool
) -> None:
    """What lies on disk is enough to name every request again, and to make its config and providers again."""
    made = config(
        topics=topics,
        document_types=types,
        languages={"fr": "French", "en": "English"},
        prompts=[REQUIRED, REQUIRED + "{{z}} {{a}}"],
        expansion=PromptExpansionConfig(
            placeholders={"z": levels, "a": ["1", "2"]}, combinatorial=combinatorial, num_random_samples=3
        ),
    )
    providers = [OpenAIProvider("m", temperature=1), AnthropicProvider("n", max_completion_tokens=9)]
    first = snapshot(made, providers)
    again = json.loads(snapshot_bytes(first))
    assert again == first
    one, other = Grid(first), Grid(again)
    assert [one.prompt(i) for i in range(len(one))] == [other.prompt(i) for i in range(len(other))]
    assert [one.cell(i) for i in range(len(one))] == [other.cell(i) for i in range(len(other))]
    restored = providers_of(again, [conduct_of(provider) for provider in providers])
    assert snapshot(config_of(again, "out.jsonl"), restored) == first


def test_providers_are_restored_with_their_conduct_and_without_a_key() -> None:
    """What a later process needs is stored; the key never is."""
    provider = AnthropicProvider(
        "m",
        "sk-secret",
        api_key_env="K",
        base_url="https://x",
        timeout=3,
        price={"input": 1.5, "output": 2.5},
        max_requests_per_batch=7,
    )
    conduct = conduct_of(provider)
    assert conduct == {
        "api_key_env": "K",
        "base_url": "https://x",
        "timeout": 3,
        "price": {"input": 1.5, "output": 2.5},
        "max_requests_per_batch": 7,
    }
    assert "sk-secret" not in json.dumps(conduct)
    (again,) = providers_of(snapshot(config(), [provider]), [json.loads(json.dumps(conduct))])
    assert isinstance(again, AnthropicProvider)
    assert (again.settings(), conduct_of(again), again.api_key) == (provider.settings(), conduct, None)


def test_provider_of_a_newer_release_is_refused() -> None:
    """A snapshot may name what this release does not know."""
    made = snapshot(config(), [OpenAIProvider("m")])
    made["providers"][0]["provider"] = "mistral"
    with pytest.raises(ConfigError, match=r"providers\[0\]: unknown provider mistral"):
        providers_of(made, [{}])


# -- telling two snapshots apart


def changed(before: RawDatasetConfig, after: RawDatasetConfig) -> list[str]:
    providers = [OpenAIProvider("m")]
    return differences(snapshot(before, providers), snapshot(after, providers))


def test_differences_of_lists_count_and_name() -> None:
    """How many came and went, with the first few by name."""
    assert changed(config(topics=["Vacuum", "Tides"]), config(topics=["Tides", "Ions", "Debris"])) == [
        "topics: 2 added (Ions, Debris), 1 removed (Vacuum)"
    ]
    assert changed(config(), config(topics=["Vacuum", *"abcde"])) == ["topics: 5 added (a, b, c, ...)"]
    assert changed(config(topics=["a", "b"]), config(topics=["b", "a"])) == ["topics: in another order"]


def test_differences_of_values_show_both() -> None:
    """Old -> new, by the name a user knows; long or many-lined texts in one short line."""
    assert changed(config(), config(num_samples_per_prompt=1)) == ["num_samples_per_prompt: 5 -> 1"]
    assert changed(config(), config(languages={"en": "British"})) == ["languages.en: English -> British"]
    (line,) = changed(config(prompts=[REQUIRED]), config(prompts=["a\n\x1b[31m\u2028" + REQUIRED * 9]))
    assert line.startswith("prompts: 1 added (a [31m {num_samples} ")
    assert len(line) < 200


def test_differences_of_expansions() -> None:
    """Placeholders by name."""
    before = expanded({"level": ["a", "b"]})
    assert changed(before, expanded({"level": ["a", "c"]})) == [
        "expansion.placeholders.level: 1 added (c), 1 removed (b)"
    ]
    two = {"a": ["x"], "b": ["y"]}
    assert changed(expanded(two), expanded(dict(reversed(two.items())))) == ["expansion.placeholders: in another order"]
    random = expanded({"level": ["a", "b"]}, combinatorial=False, seed=1)
    assert changed(random, expanded({"level": ["a", "b"]}, combinatorial=False, seed=2)) == ["expansion.seed: 1 -> 2"]
    assert "expansion.combinatorial: true -> false" in changed(before, random)


def test_differences_of_providers() -> None:
    """By entry and setting."""
    before = snapshot(config(), [OpenAIProvider("a", temperature=1), GeminiProvider("g")])
    after = snapshot(config(), [OpenAIProvider("b", top_p=0.5)])
    assert differences(before, after) == [
        "providers[0].model_id: a -> b",
        "providers[0].temperature: 1.0 removed",
        "providers[0].top_p: 0.5 added",
        "providers[1]: gemini g removed",
    ]
    assert differences(before, before) == []
