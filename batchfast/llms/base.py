"""
The provider seam: what the rest of batchfast may ask of a provider, and what the three adapters share.

An adapter never sees the store, and no SDK type crosses the seam.
"""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

from batchfast.errors import ConfigError, MissingKey
from batchfast.records import BatchSnapshot, Candidate, Limits, RemoteFile, Request, Result, Shard


class BatchProvider(Protocol):
    """One model at one provider. The first group is pure; the second raises nothing but `ProviderError`."""

    name: ClassVar[str]
    model_id: str

    @property
    def limits(self) -> Limits: ...

    # pure: no key, no network, no clock
    def encode(self, request: Request) -> bytes:
        """The request as one line of a submission file, without its newline. Same request, same bytes."""

    def decode(self, line: bytes) -> Result:
        """One line of a result file. Raises `ValueError` for a line that is not one."""

    # network
    def upload(self, shard: Shard) -> str | None:
        """Send the file, streamed from disk; its id, or None where the body goes inline with `create`."""

    def create(self, shard: Shard, file_id: str | None) -> str:
        """Start the batch: one attempt, no retries of the SDK's own. Returns its remote_id."""

    def newest(self) -> str | None:
        """Id of the newest batch the account lists: the fence. None where there is none."""

    def find(self, shard: Shard, fence: str | None) -> list[Candidate]:
        """Batches above the fence, and uploaded files, that may be this shard's. Walks all pages."""

    def poll(self, remote_id: str) -> BatchSnapshot: ...

    def download(self, file: RemoteFile) -> Iterator[bytes]:
        """The file's bytes in chunks, exactly as they come. Ends without error only if the transport was complete."""

    def cancel(self, remote_id: str) -> None:
        """Ask for the end of a batch; one that has ended already is no error."""

    def delete(self, file_id: str) -> None:
        """Delete a file of ours; one that is gone already is no error."""


class Provider:
    """
    What the three providers' constructors have in common. Arguments are stored; nothing is looked up.

    Args:
        model_id: The provider's name for the model.
        api_key: The key itself; otherwise it is looked up at the first network call.
        api_key_env: Name of the variable that holds the key, instead of the provider's usual one.
        temperature, top_p, frequency_penalty: Sampling; None leaves the provider's default.
        max_completion_tokens: Limit of a reply (tokens).
        system_prompt: The system message.
        base_url: Another endpoint; default from the provider's variable, else the service itself.
        timeout: Longest wait for one network call (seconds).
        price: USD per million tokens: `{"input": ..., "output": ..., "cached": ...}`, as billed for batches.
        extra: Merged into the request body last. A key that batchfast sets itself is refused.
        max_requests_per_batch: Fewer requests per submission file than the provider takes (count).

    Raises:
        ConfigError: A parameter the provider does not have, a key in `extra` that batchfast sets, a bad value.
    """

    name: ClassVar[str]
    key_variables: ClassVar[tuple[str, ...]]
    url_variable: ClassVar[str]
    default_url: ClassVar[str]
    hard_limits: ClassVar[Limits]
    default_max_requests: ClassVar[int]
    missing_parameters: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        model_id: str,
        api_key: str | None = None,
        *,
        api_key_env: str | None = None,
        temperature: float | None = None,
        max_completion_tokens: int | None = None,
        top_p: float | None = None,
        frequency_penalty: float | None = None,
        system_prompt: str | None = None,
        base_url: str | None = None,
        timeout: float | None = None,
        price: Mapping[str, float] | None = None,
        extra: Mapping[str, Any] | None = None,
        max_requests_per_batch: int | None = None,
    ) -> None:
        self.model_id = model_id
        self.api_key = api_key
        self.api_key_env = api_key_env
        self.temperature = temperature
        self.max_completion_tokens = max_completion_tokens
        self.top_p = top_p
        self.frequency_penalty = frequency_penalty
        self.system_prompt = system_prompt
        self.base_url = base_url
        self.timeout = timeout
        self.price = dict(price) if price is not None else None
        self.extra = copy.deepcopy(dict(extra)) if extra else {}
        self.max_requests_per_batch = max_requests_per_batch
        self.dotenv_files: tuple[Path, ...] = (Path(".env"),)
        self._check()

    def _check(self) -> None:
        if not isinstance(self.model_id, str) or not self.model_id.strip():
            raise ConfigError(f"{self.name}: model_id must be the name of a model")
        for parameter in self.missing_parameters:
            if getattr(self, parameter) is not None:
                raise ConfigError(f"{self.name} has no parameter {parameter}: remove it for {self.model_id}")
        for parameter in ("temperature", "top_p", "frequency_penalty", "timeout"):
            value = getattr(self, parameter)
            if value is not None and not _is_number(value):
                raise ConfigError(f"{self.name} {self.model_id}: {parameter} must be a number, not {value!r}")
        for parameter in ("max_completion_tokens", "max_requests_per_batch"):
            value = getattr(self, parameter)
            if value is not None and (type(value) is not int or value < 1):
                raise ConfigError(f"{self.name} {self.model_id}: {parameter} must be a whole number above 0, not {value!r}")
        for key, value in (self.price or {}).items():
            if key not in ("input", "output", "cached") or not _is_number(value) or value < 0:
                raise ConfigError(
                    f"{self.name} {self.model_id}: price takes input, output and cached in USD per million tokens, "
                    f"not {key} = {value!r}"
                )

    @property
    def limits(self) -> Limits:
        wanted = self.max_requests_per_batch or self.default_max_requests
        hard = self.hard_limits
        return Limits(min(wanted, hard.max_requests), hard.max_bytes, hard.envelope_bytes)

    def settings(self) -> dict[str, Any]:
        """What decides the requests and their answers, JSON-able; what is None or empty is left out."""
        values = {
            "model_id": self.model_id,
            "temperature": self.temperature,
            "max_completion_tokens": self.max_completion_tokens,
            "top_p": self.top_p,
            "frequency_penalty": self.frequency_penalty,
            "system_prompt": self.system_prompt,
            "extra": self.extra,
        }
        return {"provider": self.name} | {key: value for key, value in values.items() if value not in (None, {})}

    def endpoint(self) -> str:
        """The base URL that calls go to."""
        return (self.base_url or os.environ.get(self.url_variable) or self.default_url).rstrip("/")

    def bound_to(self, base_url: str, api_key: str | None = None) -> Self:
        """A copy that sends to `base_url`, whatever the environment says."""
        other = copy.copy(self)
        other.base_url = base_url
        other.api_key = api_key or self.api_key
        return other

    def key(self) -> str:
        """
        The API key: as given, else from the environment, else from a `.env` file.

        Raises:
            MissingKey: There is none.
        """
        if self.api_key:
            return self.api_key
        variables = (self.api_key_env,) if self.api_key_env else self.key_variables
        for source in (os.environ, *map(_read_dotenv, self.dotenv_files)):
            for variable in variables:
                if value := source.get(variable):
                    return value
        raise MissingKey(self.name, variables)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _read_dotenv(path: Path) -> Mapping[str, str | None]:
    if not path.is_file():
        return {}
    from dotenv import dotenv_values  # only where there is a file to read

    return dotenv_values(path)


def merge_extra(body: dict[str, Any], extra: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """
    `extra` laid over `body`, nested objects key by key; neither is changed.

    Raises:
        ConfigError: A key is in both: batchfast sets it itself.
    """
    merged = dict(body)
    for key, value in extra.items():
        name = f"{where}{key}"
        if key not in merged:
            merged[key] = value
        elif isinstance(merged[key], dict) and isinstance(value, Mapping):
            merged[key] = merge_extra(merged[key], value, f"{name}.")
        else:
            raise ConfigError(f"extra.{name} is set by batchfast itself: use the provider's own argument, or leave it out")
    return merged
