"""
A spec file to a config and providers, and those to the canonical snapshot and its id.
"""

from __future__ import annotations

import difflib
import hashlib
import inspect
import json
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from importlib.resources import files
from math import inf
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError

from batchfast.errors import ConfigError
from batchfast.llms import Provider
from batchfast.prompts import DEFAULT_PROMPT
from batchfast.schema.config import PromptExpansionConfig, RawDatasetConfig
from batchfast.schema.templates import GRID_VERSION
from batchfast.snapshot import canonical, provider_class, short, snapshot_bytes

# More files at once than this only get into each other's way, and one HTTP client holds 100 connections (count).
_MOST_UPLOADS = 32


@dataclass(frozen=True, slots=True)
class Conduct:
    """
    How a run is carried out; decides no request.

    Attributes:
        max_attempts: How often a request is sent at most (count).
        recheck_after_s: How long after an unanswered create the provider is asked a second time, before the shard is
            sent again (seconds).
        max_cost_usd: What the run may cost at most (USD); None is no limit.
        max_parallel_uploads: How many files are uploaded at once, of all providers together (count, 1 to 32).

    Raises:
        ConfigError: A value out of range.
    """

    max_attempts: int = 3
    recheck_after_s: float = 20.0
    max_cost_usd: float | None = None
    max_parallel_uploads: int = 4

    def __post_init__(self) -> None:
        if type(self.max_attempts) is not int or self.max_attempts < 1:
            raise ConfigError(f"max_attempts must be a whole number above 0, not {self.max_attempts!r}")
        if not _is_amount(self.recheck_after_s):
            raise ConfigError(f"recheck_after_s must be a number of seconds from 0 up, not {self.recheck_after_s!r}")
        if self.max_cost_usd is not None and not _is_amount(self.max_cost_usd):
            raise ConfigError(f"max_cost_usd must be a number of USD from 0 up, not {self.max_cost_usd!r}")
        uploads = self.max_parallel_uploads
        if type(uploads) is not int or not 1 <= uploads <= _MOST_UPLOADS:
            raise ConfigError(f"max_parallel_uploads must be a whole number from 1 to {_MOST_UPLOADS}, not {uploads!r}")

    @classmethod
    def stored(cls, values: Mapping[str, Any]) -> Self:
        """From what was stored with a run; what else is stored there is not looked at."""
        names = [one.name for one in fields(cls)]
        return cls(**{name: values[name] for name in names if name in values})


def _is_amount(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < inf


@dataclass(frozen=True)
class Spec:
    """
    Everything that a run needs to be told.

    Attributes:
        providers: One per provider entry; at least one.
        path: The file it was read from, None where there is none.
    """

    config: RawDatasetConfig
    providers: list[Provider]
    conduct: Conduct = field(default_factory=Conduct)
    path: Path | None = None

    @classmethod
    def of(cls, config: RawDatasetConfig, providers: Sequence[Provider], conduct: Conduct | None = None) -> Self:
        """
        For use from Python.

        Raises:
            ConfigError: No provider, or something else in its place.
        """
        if isinstance(providers, Provider) or not all(isinstance(one, Provider) for one in providers):
            raise ConfigError("providers must be a list of provider objects, such as [OpenAIProvider(model_id=...)]")
        if not providers:
            raise ConfigError("there is no provider: give at least one")
        return cls(config, list(providers), conduct or Conduct())

    @cached_property
    def snapshot(self) -> dict[str, Any]:
        """See `snapshot`; made once."""
        return snapshot(self.config, self.providers)

    def output_path(self) -> Path:
        """Where the dataset goes, absolute: relative names are seen from the spec's folder, else the current one."""
        folder = self.path.parent if self.path else Path()
        return (folder / self.config.output_file).absolute()


# -- reading a file


def load_spec(path: str | Path) -> Spec:
    """
    Read a spec file, TOML or JSON by its suffix, UTF-8.

    Raises:
        ConfigError: It cannot be read, or something in it is wrong; a line per problem, each with the file's name.
    """
    path = Path(path)
    try:
        return _spec_of(_read_document(path), path)
    except ValidationError as exc:
        raise ConfigError("\n".join(f"{path}: {problem}" for problem in _problems(exc))) from exc
    except ConfigError as exc:
        raise ConfigError(f"{path}: {exc}") from exc


def _read_document(path: Path) -> dict[str, Any]:
    text = _read_text(path)
    suffix = path.suffix.lower()
    if suffix not in (".toml", ".json"):
        raise ConfigError("a spec is a .toml or a .json file: rename it")
    try:
        document = tomllib.loads(text) if suffix == ".toml" else json.loads(text, object_pairs_hook=_no_key_twice)
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(f"not valid TOML: {exc}") from exc
    except json.JSONDecodeError as exc:
        raise ConfigError(f"not valid JSON: {exc.msg} (at line {exc.lineno}, column {exc.colno})") from exc
    except (ValueError, RecursionError) as exc:
        # A number of thousands of digits, or brackets thousands deep.
        raise ConfigError(f"cannot be a spec: {exc}") from exc
    return _table(document, "the spec")


def _read_text(path: Path) -> str:
    try:
        # Some editors put a byte order mark before UTF-8.
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as exc:
        raise ConfigError("there is no such file") from exc
    except UnicodeDecodeError as exc:
        line = exc.object.count(b"\n", 0, exc.start) + 1
        raise ConfigError(f"not UTF-8 (line {line}): save it as UTF-8") from exc
    except (OSError, ValueError) as exc:  # ValueError: a NUL in the name
        raise ConfigError(f"cannot be read: {getattr(exc, 'strerror', None) or exc}") from exc


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    for key, times in Counter(key for key, _ in pairs).items():
        if times > 1:
            raise ConfigError(f"the key {key!r} stands {times} times in one object: keep one")
    return dict(pairs)


def _spec_of(document: dict[str, Any], path: Path) -> Spec:
    _check_keys(document, ("dataset", "providers", "run"), "the spec")
    if "dataset" not in document:
        raise ConfigError("the section [dataset] is missing")
    config = _read_dataset(_table(document["dataset"], "[dataset]"), path.parent)
    providers = list(_read_providers(document.get("providers"), path.parent))
    run = _table(document.get("run", {}), "[run]")
    _check_keys(run, [one.name for one in fields(Conduct)], "[run]")
    return Spec(config, providers, Conduct(**run), path)


def _table(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{where} must be a table of keys and values, not {short(value)}")
    return value


def _check_keys(table: Iterable[str], known: Sequence[str], where: str) -> None:
    for key in table:
        if key not in known:
            nearest = difflib.get_close_matches(key, known, 1, cutoff=0.0)[0]
            raise ConfigError(f"unknown key {key!r} in {where}: the nearest known one is {nearest!r}")


def _read_dataset(table: dict[str, Any], folder: Path) -> RawDatasetConfig:
    _check_keys(table, (*RawDatasetConfig.model_fields, "topics_file"), "[dataset]")
    if isinstance(table.get("expansion"), dict):
        _check_keys(table["expansion"], list(PromptExpansionConfig.model_fields), "[dataset.expansion]")
    values = dict(table)
    if "topics_file" in values:
        if "topics" in values:
            raise ConfigError("[dataset] has both topics and topics_file: keep one of them")
        values["topics"] = _read_topics(values.pop("topics_file"), folder)
    return RawDatasetConfig(**values)


def _read_topics(name: Any, folder: Path) -> list[str]:
    if not isinstance(name, str) or not name.strip():
        raise ConfigError(f"topics_file must be the name of a file, not {short(name)}")
    try:
        text = _read_text(folder / name)
    except ConfigError as exc:
        raise ConfigError(f"topics_file {name}: {exc}") from exc
    # Not splitlines: a topic may hold other line separators.
    topics = [line.strip(" \t\r") for line in text.split("\n")]
    if not any(topics):
        raise ConfigError(f"topics_file {name} holds no topic: write one a line")
    return [topic for topic in topics if topic]


def _read_providers(entries: Any, folder: Path) -> Iterator[Provider]:
    if entries is None or entries == []:
        raise ConfigError("there is no provider: add a section [[providers]] with provider and model_id")
    if not isinstance(entries, list):
        raise ConfigError("providers must be a list: write the section as [[providers]], in double brackets")
    for number, entry in enumerate(entries):
        where = f"providers[{number}]"
        provider = _read_provider(_table(entry, where), where)
        # Where a key may be found, besides the environment.
        provider.dotenv_files = (folder / ".env", *provider.dotenv_files)
        yield provider


def _read_provider(entry: dict[str, Any], where: str) -> Provider:
    values = {key: value for key, value in entry.items() if value is not None}
    for key in ("provider", "model_id"):
        if key not in values:
            raise ConfigError(f"{where} has no {key}: add it")
    kind = provider_class(values.pop("provider"), where)
    if "api_key" in values:
        raise ConfigError(
            f"{where} holds an api_key, and a spec may be shared: remove it, and set {kind.key_variables[0]} in the "
            "environment or in .env, or name another variable with api_key_env"
        )
    known = [name for name in inspect.signature(kind).parameters if name != "api_key"]
    _check_keys(values, ["provider", *known], where)
    for key in ("api_key_env", "base_url"):
        if key in values and not (isinstance(values[key], str) and values[key].strip()):
            raise ConfigError(f"{where}: {key} must be text, not {short(values[key])}")
    for key in ("price", "extra"):
        _table(values.get(key, {}), f"{where}: {key}")
    try:
        return kind(**values)
    except ConfigError as exc:
        raise ConfigError(f"{where}: {exc}") from exc


def _problems(exc: ValidationError) -> Iterator[str]:
    for error in exc.errors(include_url=False, include_input=False):
        where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"])
        if error["type"] == "value_error":
            yield str(error["ctx"]["error"])
        elif error["type"] == "missing":
            yield f"dataset{where} is missing: add it"
        else:
            yield f"dataset{where}: {error['msg'][0].lower()}{error['msg'][1:]}"


# -- the snapshot


def snapshot(config: RawDatasetConfig, providers: Sequence[Provider]) -> dict[str, Any]:
    """
    What decides the requests and their answers, in the form that `batchfast.snapshot` shows.

    Raises:
        pydantic.ValidationError: The config was changed into something wrong after it was made.
        ConfigError: A provider holds something that is not JSON.
    """
    config = RawDatasetConfig.model_validate(config)
    prompts = list(config.prompts or [DEFAULT_PROMPT])
    made = {
        "grid_version": GRID_VERSION,
        "document_types": config.document_types,
        "topics": config.topics,
        "languages": list(config.languages.items()),
        "prompts": prompts,
        "num_samples_per_prompt": config.num_samples_per_prompt,
        "expansion": _expansion(config.expansion, prompts),
        "providers": [_settings(provider, number) for number, provider in enumerate(providers)],
    }
    # Once through JSON, so that a run's first process sees exactly what later ones read back.
    again: dict[str, Any] = json.loads(snapshot_bytes(made))
    return again


def _expansion(expansion: PromptExpansionConfig | None, prompts: Sequence[str]) -> dict[str, Any] | None:
    if expansion is None or (expansion.combinatorial and not expansion.placeholders):
        return None
    placeholders = list(expansion.placeholders.items())
    if expansion.combinatorial:
        return {"placeholders": placeholders, "combinatorial": True}
    seed = expansion.seed
    if seed is None:
        # From what is drawn from and from nothing else: a topic or a provider added later leaves the draws as they are.
        seed = int(hashlib.sha256(canonical([GRID_VERSION, prompts, placeholders])).hexdigest()[:12], 16)
    return {
        "placeholders": placeholders,
        "combinatorial": False,
        "num_random_samples": expansion.num_random_samples,
        "seed": seed,
    }


def _settings(provider: Provider, number: int) -> dict[str, Any]:
    settings = provider.settings()
    try:
        canonical(settings)
    except (TypeError, ValueError) as exc:
        raise ConfigError(
            f"providers[{number}] ({provider.name} {provider.model_id}) is not plain JSON: {exc}"
        ) from exc
    return settings


def config_of(snapshot: Mapping[str, Any], output_file: str) -> RawDatasetConfig:
    """A config that gives the snapshot's requests again; what a snapshot does not hold has its default."""
    expansion = snapshot["expansion"]
    if expansion is not None:
        values = expansion | {"placeholders": dict(expansion["placeholders"])}
        # A bound that was kept when the run was made; it stands in no snapshot.
        expansion = PromptExpansionConfig(**values, max_samples=sys.maxsize)
    return RawDatasetConfig(
        document_types=snapshot["document_types"],
        topics=snapshot["topics"],
        languages=dict(snapshot["languages"]),
        prompts=snapshot["prompts"],
        num_samples_per_prompt=snapshot["num_samples_per_prompt"],
        output_file=output_file,
        expansion=expansion,
    )


def starter_spec() -> str:
    """Text of a commented spec to start from; it runs on the fake as it is."""
    return files("batchfast").joinpath("starter.toml").read_text(encoding="utf-8")
