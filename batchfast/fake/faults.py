"""
Planned faults: what shall go wrong, where, and how often.

```
call faults      one HTTP call of a route      status deny lose cut garble hang delay lag
batch faults     a batch as a whole            fail queue stick vanish late miscount shuffle
request faults   some requests of a batch      error expire refuse truncate malform fence too_few too_many
                                               empty duplicate drop
```

A call fault looks at every call to the service. A batch or request fault binds when a batch is created, so plan it
before; what it does to that batch never changes afterwards, in no process. A call fault has fired when a call met it, a
batch fault when a batch was bound to it, a request fault when it changed what came of a request.

The same in TOML, one table a fault, its keys those of `Fault`:

```toml
[[faults]]
does = "lose"
provider = "openai"
route = "create"
nth = 1
```
"""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

from batchfast.errors import ConfigError
from batchfast.fake.ids import seeded

CallAction = Literal["status", "deny", "lose", "cut", "garble", "hang", "delay", "lag"]
BatchAction = Literal["fail", "queue", "stick", "vanish", "late", "miscount", "shuffle"]
RequestAction = Literal[
    "error", "expire", "refuse", "truncate", "malform", "fence", "too_few", "too_many", "empty", "duplicate", "drop"
]
Action = CallAction | BatchAction | RequestAction
_CALL, _BATCH, _REQUEST = (get_args(one) for one in (CallAction, BatchAction, RequestAction))

PROVIDERS = ("openai", "anthropic", "gemini")
ROUTES = (
    "create", "poll", "list", "cancel", "delete", "results", "answer", "upload", "file", "list_files", "delete_file",
)  # fmt: skip
# Which settings a fault has besides those that select.
_SETTINGS: Mapping[str, tuple[str, ...]] = {
    "status": ("status", "code", "message", "body", "retry_after"),
    "deny": ("status", "code", "message", "body", "retry_after"),
    "error": ("status", "code", "message"),
    "fail": ("code", "message"),
    "queue": ("tokens",),
    **dict.fromkeys(("hang", "delay", "lag", "vanish", "late"), ("seconds",)),
}


@dataclass(frozen=True)
class Fault:
    """
    One thing that goes wrong. Two equal faults are one: `fired` counts them together.

    Args:
        does: What happens.
            status: answer with `status`, `body` (the service's own error for that status if None) and
                `retry_after`.
            deny: do the work, then answer with `status`, as if it had not been done.
            lose: do the work, then drop the connection without an answer.
            cut: do the work, send half of the answer, then drop the connection.
            garble: do the work, then spoil the first byte of the answer.
            hang: do the work, then say nothing until the client gives up, or for `seconds` of real time.
            delay: answer after `seconds` of real time.
            lag: a list leaves out what was made within the last `seconds` of the fake's time.
            fail: the batch fails its validation with `code` and `message` (OpenAI, Gemini; Anthropic has no
                such state).
            queue: at most `tokens` input tokens (four bytes of input each) may wait or run at once, for each
                model. A batch beyond that fails (OpenAI), or its create is answered 429 (Anthropic, Gemini).
            stick: the batch never ends before it expires.
            vanish: `seconds` after its create the service knows nothing of the batch any more.
            late: what came out of the ended batch can be had only `seconds` after its end.
            miscount: the ended batch counts one of its answers as an error, or else an error as an answer.
            shuffle: result lines come in another order.
            error: the request ends in an error of `status`, `code` and `message`. Status 0 is a line with no
                body at all (OpenAI; elsewhere an error like any other).
            expire: the request was not reached in time; the batch counts as expired at its usual end, not
                after a day.
            refuse, truncate, malform, fence, empty: the model refuses, is cut by its limit, writes broken
                JSON, puts JSON in a Markdown fence, says nothing.
            too_few, too_many: the first array of the answer has one item less, or more, than asked for.
            duplicate, drop: the result line comes twice, or not at all.
        provider: Only this service: openai, anthropic or gemini; None is all three.
        route: Only this route (call faults): create, poll, list, cancel, delete, results, answer (a live request),
            upload, file, list_files, delete_file.
        nth: Only the nth matching call, or for the others the nth batch created, counted from 1 since the
            plan. A tuple names several.
        custom_id: Only requests whose id matches this regular expression somewhere.
        share: Only this share of a batch's requests, 0 to 1, spread evenly; which ones follows from the seed.

    Raises:
        ValueError: A value that cannot be, or one that this fault makes no use of.
    """

    does: Action
    provider: str | None = None
    route: str | None = None
    nth: int | tuple[int, ...] | None = None
    custom_id: str | None = None
    share: float | None = None
    status: int = 500
    code: str | None = None
    message: str | None = None
    body: str | None = None
    retry_after: float | None = None
    seconds: float = 60.0
    tokens: int = 2_000_000

    def __post_init__(self) -> None:
        _one_of("fault", self.does, (*_CALL, *_BATCH, *_REQUEST))
        self._check_types()
        self._check_use()
        for name, known in (("provider", PROVIDERS), ("route", ROUTES)):
            if getattr(self, name) is not None:
                _one_of(name, getattr(self, name), known)
        if (self.does, self.provider) == ("fail", "anthropic"):
            raise ValueError("a batch at anthropic cannot fail as a whole")
        if (self.provider, self.route) == ("openai", "delete"):
            raise ValueError("openai has no route 'delete'")
        if self.does == "lag" and self.route not in (None, "list", "list_files"):
            raise ValueError(f"only lists lag, not {self.route!r}")
        self._check_ranges()
        if self.custom_id is not None:
            try:
                re.compile(self.custom_id)
            except re.error as exc:
                raise ValueError(f"custom_id {self.custom_id!r} is no regular expression: {exc}") from exc

    def _check_use(self) -> None:
        """Refuse what this fault makes no use of."""
        used = {"does", "provider", *_SETTINGS.get(self.does, ())}
        used |= {"nth"} if self.does != "queue" else set()
        used |= {"route"} if self.on_calls else set()
        used |= {"custom_id", "share"} if self.on_requests else set()
        for one in fields(self):
            if getattr(self, one.name) != one.default and one.name not in used:
                raise ValueError(f"{self.does!r} makes no use of {one.name!r}")

    def _check_ranges(self) -> None:
        if self.share is not None and not 0 < self.share <= 1:
            raise ValueError(f"share must lie above 0 and at most at 1, not {self.share}")
        numbers = self.nth if isinstance(self.nth, tuple) else (1 if self.nth is None else self.nth,)
        if not numbers or min(numbers) < 1:
            raise ValueError(f"nth counts from 1, not {self.nth!r}")
        nothing = self.does == "error" and self.status == 0
        if not nothing and (not 200 <= self.status <= 599 or self.status in (204, 304)):
            raise ValueError(f"{self.status} is no status of an answer with a body")

    def _check_types(self) -> None:
        for one in fields(self)[1:]:
            if one.name in ("seconds", "retry_after", "share") and type(getattr(self, one.name)) is int:
                object.__setattr__(self, one.name, float(getattr(self, one.name)))  # 1 and 1.0 are one fault
            value, kind = getattr(self, one.name), str(one.type)
            for each in value if isinstance(value, tuple) and "tuple" in kind else (value,):
                wrong = None if each is None else _wrong(each, kind)
                if wrong:
                    raise ValueError(f"{one.name} must be {wrong}, not {value!r}")

    @property
    def on_calls(self) -> bool:
        return self.does in _CALL

    @property
    def on_requests(self) -> bool:
        return self.does in _REQUEST

    def as_dict(self) -> dict[str, Any]:
        """The fault as JSON and TOML can hold it; `from_dict` reads it."""
        settings = {one.name: getattr(self, one.name) for one in fields(self) if getattr(self, one.name) != one.default}
        return {name: list(one) if isinstance(one, tuple) else one for name, one in settings.items()}

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Fault:
        """Raises ValueError, which names the nearest known key for one that is not known."""
        names = [one.name for one in fields(cls)]
        for key in given:
            _one_of("key", key, names)
        if "does" not in given:
            raise ValueError("the key 'does' is missing: it says what happens")
        values: dict[str, Any] = {key: tuple(one) if isinstance(one, list) else one for key, one in given.items()}
        return cls(**values)

    def concerns(self, provider: str, route: str | None) -> bool:
        """Whether a call, or a batch just created (no route), is one to count for `nth`."""
        if self.provider not in (None, provider):
            return False
        return not self.on_calls if route is None else self.on_calls and self.route in (None, route)

    def is_for(self, number: int) -> bool:
        """Whether the call, or the batch, of this number (from 1) is one it is for."""
        return self.nth is None or number in (self.nth if isinstance(self.nth, tuple) else (self.nth,))

    def takes(self, seed: int, index: int, custom_id: str) -> bool:
        """Whether the request at `index` of a batch is one of those this fault is for."""
        if self.custom_id is not None and not re.search(self.custom_id, custom_id):
            return False
        if self.share is None:
            return True
        # The steps of a line with this slope: n * share requests to within one, without knowing n beforehand.
        phase = _phase(self, seed)
        return math.floor((index + 1) * self.share + phase) > math.floor(index * self.share + phase)


def read_faults(source: Path | str | Mapping[str, Any]) -> list[Fault]:
    """
    Read a fault script.

    Args:
        source: A TOML file, TOML text, or what such a text holds: a list of tables under `faults`, or one fault.

    Raises:
        ConfigError: It cannot be read, or a fault in it cannot be; says which one and why.
    """
    name = str(source) if isinstance(source, Path) else "faults"
    try:
        given = source if isinstance(source, Mapping) else tomllib.loads(_text(source))
    except OSError as exc:
        raise ConfigError(f"{name}: cannot read the fault script: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{name}: not a fault script in TOML: {exc}") from exc
    tables = given.get("faults", ()) if "does" not in given else [given]
    unknown = [key for key in given if key != "faults"] if "does" not in given else []
    if unknown or not isinstance(tables, list) or not tables:
        wrong = f"unknown key {unknown[0]!r}; " if unknown else ""
        raise ConfigError(f"{name}: {wrong}a fault script is a list of tables [[faults]], each with a key does")
    return [_read_fault(f"{name}: fault {number}", table) for number, table in enumerate(tables, 1)]


def _text(source: Path | str) -> str:
    return source.read_text(encoding="utf-8") if isinstance(source, Path) else source


def _read_fault(where: str, table: object) -> Fault:
    if not isinstance(table, Mapping):
        raise ConfigError(f"{where}: not a table")
    try:
        return Fault.from_dict(table)
    except ValueError as exc:
        raise ConfigError(f"{where}: {exc}") from exc


def _one_of(what: str, given: object, known: tuple[str, ...] | list[str]) -> None:
    if given not in known:
        near = difflib.get_close_matches(str(given), known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; one of: {', '.join(known)}"
        raise ValueError(f"unknown {what} {given!r}{hint}")


def _wrong(value: object, kind: str) -> str | None:
    """What a value would have to be, if it is not of a field's kind."""
    if "str" in kind:
        return None if isinstance(value, str) else "a text"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "a number"
    if isinstance(value, float) and "float" not in kind:
        return "a whole number"
    return None if 0 <= value < math.inf else "0 or more"


@lru_cache(maxsize=256)
def _phase(fault: Fault, seed: int) -> float:
    return seeded(f"{seed}:{fault}").random()
