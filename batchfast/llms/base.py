"""
The provider seam: what the rest of batchfast may ask of a provider, and what the three adapters share.

An adapter never sees the store, and no SDK type crosses the seam.
"""

from __future__ import annotations

import copy
import dataclasses
import os
import re
import sys
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self
from urllib.parse import urlsplit

from batchfast.errors import ConfigError, MissingKey, ProviderError
from batchfast.llms import wire
from batchfast.records import (
    BatchSnapshot,
    Candidate,
    Limits,
    ListedBatch,
    ListedFile,
    RemoteFile,
    Request,
    RequestError,
    Result,
    Said,
    Shard,
)
from batchfast.schema.data_rows import samples_schema

if TYPE_CHECKING:
    import httpx2

_DEFAULT_TIMEOUT_S = 600.0
_SAMPLING = ("temperature", "top_p", "frequency_penalty")


class BatchProvider(Protocol):
    """One model at one provider. The first group is pure; the second raises nothing but `ProviderError`."""

    name: ClassVar[str]
    # A batch is deleted by its remote_id, like a file; otherwise the provider keeps a record of it.
    deletes_batches: ClassVar[bool]
    # The body goes with `create`, and `upload` sends nothing.
    sends_inline: ClassVar[bool]
    model_id: str
    price: dict[str, float] | None
    max_enqueued_tokens: int | None

    @property
    def limits(self) -> Limits: ...

    # pure: no key, no network, no clock
    def encode(self, request: Request) -> bytes:
        """The request as one line of a submission file, without its newline. Same request, same bytes."""

    def token_limit(self, doublings: int = 0) -> int | None:
        """How long a reply may be (tokens, reasoning included), after so many doublings; None where nothing says so."""

    def prompt_of(self, line: bytes) -> str:
        """The user's message in a line that `encode` made."""

    def decode(self, line: bytes) -> Result:
        """One line of a result file. Raises `ValueError` for a line that is not one."""

    def said(self, line: bytes) -> Said | None:
        """
        Of a line that `decode` found to have succeeded its `text` and `ending` alone, in half the time.

        None where the answer is not a plain one, and `decode` must be asked again.
        """

    # network
    def upload(self, shard: Shard) -> str | None:
        """
        Send the file, streamed from disk; its id, or None where the body goes inline with `create`.

        Several may run at once, in threads, after a first call of another kind has made the client.
        """

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

    def delete(self, ref: str) -> None:
        """Delete a file of ours, or an ended batch where there is such a call. Of what is gone: kind "not_found"."""

    def batches(self) -> Iterator[ListedBatch]:
        """Every batch the account lists, newest first where the provider keeps an order; pages as they are needed."""

    def uploads(self) -> Iterator[ListedFile]:
        """Every uploaded input file the account lists, whoever's; pages as they are needed."""


class Provider(BatchProvider, ABC):
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
        extra: Merged into the request body last, nulls left out. A key that batchfast sets itself is refused.
        max_requests_per_batch: Fewer requests per submission file than the provider takes (count).
        max_enqueued_tokens: How much input of this model may wait at the provider at once (tokens, estimated): files
            are cut to that, and wait for each other.

    Raises:
        ConfigError: A parameter the provider does not have, a key in `extra` that batchfast sets, a bad value.
    """

    name: ClassVar[str]
    deletes_batches: ClassVar[bool]
    sends_inline: ClassVar[bool] = False
    key_variables: ClassVar[tuple[str, ...]]
    url_variable: ClassVar[str]
    default_url: ClassVar[str]
    hard_limits: ClassVar[Limits]
    default_max_requests: ClassVar[int]
    missing_parameters: ClassVar[tuple[str, ...]] = ()
    # Body fields that `extra` may not set, with what to do instead; a field within an object is "outer.inner".
    refused_extra: ClassVar[Mapping[str, str]] = {}
    # Words for a batch that is about to end although its outcome is not known yet: no cancel changes it any more.
    ending_states: ClassVar[frozenset[str]]

    # The SDK's client and its connections, made at the first network call.
    _client: Any = None
    _connections: httpx2.Client | None = None
    # The key that those were made with.
    _own_key: str | None = None

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
        max_enqueued_tokens: int | None = None,
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
        if extra is not None and not isinstance(extra, Mapping):
            raise ConfigError(f"{self.name} {model_id}: extra must be a table of request fields, not {extra!r}")
        self.extra: dict[str, Any] = _sorted(extra or {})
        self.max_requests_per_batch = max_requests_per_batch
        self.max_enqueued_tokens = max_enqueued_tokens
        self.dotenv_files: tuple[Path, ...] = (Path(".env"),)
        self._bodies: dict[tuple[int, int], dict[str, Any]] = {}
        self._check()
        for parameter in _SAMPLING:  # 1 and 1.0 are one setting, and must be the same bytes
            value = getattr(self, parameter)
            setattr(self, parameter, None if value is None else float(value) + 0.0)  # and so must 0.0 and -0.0
        # A conflict in `extra`, or a value that is not JSON, shows in any request.
        self.encode(Request(custom_id="trial", prompt="", num_samples=1))

    def __getstate__(self) -> dict[str, Any]:
        # A copy may be bound to another endpoint or given other settings: it makes its own client and bodies.
        own = ("_client", "_connections", "_own_key")
        kept = {name: value for name, value in vars(self).items() if name not in own}
        return kept | {"_bodies": {}}

    def _check(self) -> None:
        if not isinstance(self.model_id, str) or not self.model_id.strip():
            raise ConfigError(f"{self.name}: model_id must be the name of a model")
        for parameter in self.missing_parameters:
            if getattr(self, parameter) is not None:
                raise ConfigError(f"{self.name} has no parameter {parameter}: remove it for {self.model_id}")
        for parameter in (*_SAMPLING, "timeout"):
            value = getattr(self, parameter)
            if value is not None and not _is_number(value):
                raise ConfigError(f"{self.name} {self.model_id}: {parameter} must be a number, not {value!r}")
        for parameter in ("max_completion_tokens", "max_requests_per_batch", "max_enqueued_tokens"):
            value = getattr(self, parameter)
            if value is not None and (type(value) is not int or value < 1):
                raise ConfigError(
                    f"{self.name} {self.model_id}: {parameter} must be a whole number above 0, not {value!r}"
                )
        if self.system_prompt is not None and not isinstance(self.system_prompt, str):
            raise ConfigError(f"{self.name} {self.model_id}: system_prompt must be text, not {self.system_prompt!r}")
        for parameter in ("model_id", "system_prompt"):
            if not _is_sendable(getattr(self, parameter) or ""):
                raise ConfigError(
                    f"{self.name} {self.model_id!a}: {parameter} holds half of a character (a lone surrogate), which "
                    "cannot be sent: mend it"
                )
        if self.api_key_env is not None and (
            not isinstance(self.api_key_env, str)
            or not re.fullmatch(r"[A-Za-z_]\w*", self.api_key_env, re.ASCII)
            or wire.looks_like_a_key(self.api_key_env)
        ):
            # Not quoted: it may be a key, and messages are kept.
            raise ConfigError(
                f"{self.name} {self.model_id}: api_key_env must be the name of an environment variable, not a key"
            )
        if self.timeout is not None and self.timeout <= 0:
            raise ConfigError(f"{self.name} {self.model_id}: timeout must be above 0 seconds, not {self.timeout!r}")
        self._check_extra()
        for key, value in (self.price or {}).items():
            if key not in ("input", "output", "cached") or not _is_number(value) or value < 0:
                raise ConfigError(
                    f"{self.name} {self.model_id}: price takes input, output and cached in USD per million tokens, "
                    f"not {key} = {value!r}"
                )
        if self.price is not None and not {"input", "output"} <= self.price.keys():
            raise ConfigError(f"{self.name} {self.model_id}: price needs both input and output")

    def _check_extra(self) -> None:
        refused = {"stream": "has no meaning in a batch: leave it out", **self._refused_extra()}
        extra = self._wire_extra()
        for field, why in refused.items():
            outer, _, inner = field.partition(".")
            fields = wire.as_object(extra.get(outer)) if inner else extra
            if (inner or outer) in fields:
                raise ConfigError(f"{self.name} {self.model_id}: extra.{field} {why}")

    def _refused_extra(self) -> Mapping[str, str]:
        """`refused_extra` as it is for this model."""
        return self.refused_extra

    @property
    def limits(self) -> Limits:
        wanted = self.max_requests_per_batch or self.default_max_requests
        hard = self.hard_limits
        return replace(hard, max_requests=min(wanted, hard.max_requests), max_tokens=self.max_enqueued_tokens)

    def settings(self) -> dict[str, Any]:
        """What decides the requests and their answers, JSON-able; what is None or empty is left out."""
        values = {
            "model_id": self.model_id,
            "temperature": self.temperature,
            "max_completion_tokens": self.max_completion_tokens,
            "top_p": self.top_p,
            "frequency_penalty": self.frequency_penalty,
            "system_prompt": self.system_prompt,
            # As it is sent, so that another spelling of the same request is not another run.
            "extra": _sorted(without_none(self._wire_extra())),
        }
        return {"provider": self.name} | {key: value for key, value in values.items() if value not in (None, {})}

    def endpoint(self) -> str:
        """
        The base URL that calls go to.

        Raises:
            ConfigError: It is not an http(s) address, or holds a user name, a password, a query or a fragment.
        """
        url = (self.base_url or os.environ.get(self.url_variable) or self.default_url).strip().rstrip("/")
        if any(char in url for char in "@?#"):
            # Before any message quotes it: these are where passwords and tokens stand.
            raise ConfigError(
                f"{self.name}: the base URL holds a password, a query or a fragment (one of @ ? #), and base URLs are "
                "recorded: leave that out"
            )
        try:
            parts = urlsplit(url)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            usable = False
        if not usable:
            raise ConfigError(f"{self.name}: base URL {url!r} must be an address that begins with https:// or http://")
        return url

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
            ConfigError: A `.env` file cannot be read.
            ProviderError: It holds characters that no HTTP header can carry (kind "bad_key").
        """
        key = self._find_key().strip()
        if not (key.isascii() and key.isprintable()):
            # The SDKs would fail on it with errors of Python's own, some of which show the key.
            raise ProviderError(
                f"the API key for {self.name} holds characters that no key has: copy it again",
                provider=self.name,
                operation="key",
                kind="bad_key",
            )
        return key

    def key_place(self) -> str | None:
        """Where the key is found, in words that do not show it; None where there is none."""
        found = self._look_for_key()
        return found[1] if found else None

    def _key_at_hand(self) -> str | None:
        """The key, looked up once; None where there is none."""
        if self._own_key is None:
            try:
                self._own_key = self.key()
            except (ProviderError, ConfigError):
                return None
        return self._own_key

    def without_key(self, error: RequestError) -> RequestError:
        """A provider's error as it may be stored: this provider's key is not in it, whatever that looks like."""
        key = self._key_at_hand()
        return dataclasses.replace(
            error, type=wire.scrubbed(error.type, key), message=wire.scrubbed(error.message, key)
        )

    def _find_key(self) -> str:
        found = self._look_for_key()
        if found is None:
            raise MissingKey(self.name, self._key_names())
        return found[0]

    def _key_names(self) -> tuple[str, ...]:
        return (self.api_key_env,) if self.api_key_env else self.key_variables

    def _look_for_key(self) -> tuple[str, str] | None:
        """The key, and where it is from."""
        if self.api_key and self.api_key.strip():
            return self.api_key, "the argument api_key"
        files = ((str(path), _read_dotenv(path)) for path in self.dotenv_files)  # read only where needed
        for place, source in chain((("the environment", os.environ),), files):
            for variable in self._key_names():
                value = source.get(variable)
                if value and value.strip():
                    return value, f"{variable} in {place}"
        return None

    def encode(self, request: Request) -> bytes:
        """
        The request as one line of a submission file, without its newline. Same request, same bytes.

        Raises:
            ConfigError: Text that cannot be UTF-8 (half a surrogate pair), a value in `extra` that is not JSON, or a
                key in it that batchfast sets itself.
        """
        try:
            return wire.compact_json(self._line(request)).encode()
        except UnicodeEncodeError as exc:
            where = "extra" if _is_sendable(request.prompt) else f"request {request.custom_id}"
            raise ConfigError(
                f"{where}: its text holds half of a character (a lone surrogate at position "
                f"{exc.start} of its line), which cannot be sent: mend the prompt or the value it comes from"
            ) from exc
        except (TypeError, ValueError, RecursionError) as exc:
            raise ConfigError(f"{self.name} {self.model_id}: extra cannot be written as JSON: {exc}") from exc

    def _body(self, request: Request) -> dict[str, Any]:
        """What all requests for as many samples, under as high a token limit, have in common: not to be changed."""
        kind = request.num_samples, request.doublings
        body = self._bodies.get(kind)
        if body is None:
            own = self._own_body(samples_schema(request.num_samples), self.token_limit(request.doublings))
            body = self._bodies[kind] = without_none(merge_extra(own, self._wire_extra()))
        return body

    def _wire_extra(self) -> dict[str, Any]:
        """`extra` as the provider spells it."""
        return self.extra

    def token_limit(self, doublings: int = 0) -> int | None:
        """How long a reply may be (tokens, reasoning included), after so many doublings; None where nothing says so."""
        return None if self.max_completion_tokens is None else self.max_completion_tokens << doublings

    @abstractmethod
    def _own_body(self, schema: dict[str, Any], token_limit: int | None) -> dict[str, Any]:
        """
        The request body for replies of this JSON schema, without its prompt and without `extra`.

        What batchfast has an argument for is a key here even where its value is None, so that `extra` cannot set it
        behind the back of that argument.
        """

    @abstractmethod
    def _line(self, request: Request) -> dict[str, Any]:
        """The line of a submission file as an object, the request's id first."""

    # network

    def _timeout_s(self) -> float:
        return float(self.timeout or _DEFAULT_TIMEOUT_S)

    def _http(self) -> httpx2.Client:
        if self._connections is None:
            self._connections = wire.http_client(self.endpoint(), self._timeout_s())
            weakref.finalize(self, self._connections.close)
        return self._connections

    @contextmanager
    def _calling(self, operation: str, remote_id: str | None = None) -> Iterator[None]:
        """Turns whatever the SDK raises within into `ProviderError`."""
        try:
            yield
        except (*wire.transport_errors(), *self._sdk_errors()) as exc:
            error = self._error(exc, operation, remote_id)
            wire.scrub_chain(exc, self._key_at_hand())
            raise error from exc

    @contextmanager
    def _cancelling(self, remote_id: str) -> Iterator[None]:
        """A batch that has ended cannot be cancelled, which is as good; any other refusal is raised."""
        try:
            with self._calling("cancel", remote_id):
                yield
        except ProviderError as exc:
            if exc.status_code not in (400, 409) or exc.kind == "bad_key":
                raise
            snapshot = self.poll(remote_id)
            if snapshot.outcome is None and snapshot.remote_state not in self.ending_states:
                raise

    @abstractmethod
    def _sdk_errors(self) -> tuple[type[Exception], ...]:
        """What the SDK raises. Asked only when something was raised, so that nothing loads early."""

    @abstractmethod
    def _error(self, exc: Exception, operation: str, remote_id: str | None) -> ProviderError:
        """What the SDK or its transport raised, as the error that crosses the seam."""

    def _answer(self, data: bytes, operation: str, remote_id: str | None = None) -> dict[str, Any]:
        """The JSON object of an answer that the provider called a success."""
        try:
            return wire.load_object(data)
        except ValueError as exc:
            raise self._unreadable(operation, remote_id, "the answer is not JSON") from exc

    def _word(self, answer: Mapping[str, Any], name: str, operation: str) -> str:
        """An id in an answer. Without it nobody knows what the provider did, so that counts as its failure."""
        word = wire.as_word(answer.get(name))
        if word is None:
            raise self._unreadable(operation, None, f"the answer has no {name}")
        return word

    def _unreadable(self, operation: str, remote_id: str | None, what: str) -> ProviderError:
        about = f"{self.name} {operation}" + (f" {remote_id}" if remote_id else "")
        return ProviderError(
            f"{about}: {what}", provider=self.name, operation=operation, kind="server", remote_id=remote_id
        )


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _sorted(value: Any) -> Any:
    """Objects within in the order of their keys, so that equal settings make equal bytes in every process."""
    if isinstance(value, Mapping):
        return {key: _sorted(value[key]) for key in sorted(value, key=str)}
    if isinstance(value, (list, tuple)):
        return [_sorted(one) for one in value]
    return value


def _read_dotenv(path: Path) -> Mapping[str, str | None]:
    try:
        if not path.is_file():
            return {}
        from dotenv import dotenv_values  # only where there is a file to read

        return dotenv_values(path)
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path}: not UTF-8: save it as UTF-8") from exc
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read: {exc.strerror or exc}") from exc


def _is_sendable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


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
            raise ConfigError(
                f"extra.{name} is set by batchfast itself: use the provider's own argument, or leave it out"
            )
    return merged


def without_none(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body without the keys that have no value, in nested objects too."""
    return {
        key: without_none(value) if isinstance(value, dict) else value
        for key, value in body.items()
        if value is not None
    }
