"""
The canonical snapshot of a run, and what comes of it: its id, its providers, what tells it from another.

The snapshot is what decides the requests and their answers, every input inlined, as plain JSON values:

```
{"grid_version": 1, "document_types": [...], "topics": [...], "languages": [[code, name], ...], "prompts": [...],
 "num_samples_per_prompt": 5, "providers": [{"provider": "openai", "model_id": ..., ...}, ...],
 "expansion": null
            | {"placeholders": [[name, [value, ...]], ...], "combinatorial": true}
            | {"placeholders": [...], "combinatorial": false, "num_random_samples": 10, "seed": 1}}
```

Whatever has an order is a list; keys of objects have none.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from batchfast.errors import ConfigError
from batchfast.llms import PROVIDERS, Provider

# Arguments of a provider that decide no request. `api_key` is neither here nor in the snapshot: no file holds a key.
_CONDUCT = ("base_url", "timeout", "price", "api_key_env", "max_requests_per_batch", "max_enqueued_tokens")


def snapshot_bytes(snapshot: Mapping[str, Any]) -> bytes:
    """Canonical JSON: UTF-8, sorted keys, no spaces. Equal snapshots, equal bytes."""
    return canonical(snapshot)


def snapshot_id(snapshot: Mapping[str, Any]) -> str:
    """Twelve hex digits that name a run."""
    return hashlib.sha256(snapshot_bytes(snapshot)).hexdigest()[:12]


def canonical(value: Any) -> bytes:
    """
    JSON, equal bytes for equal values.

    Raises:
        TypeError, ValueError: The value is not JSON.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def conduct_of(provider: Provider) -> dict[str, Any]:
    """A provider's settings that are not in the snapshot, JSON-able; what is None is left out. Never the key."""
    values = {name: getattr(provider, name) for name in _CONDUCT}
    return {name: value for name, value in values.items() if value is not None}


def providers_of(snapshot: Mapping[str, Any], conducts: Sequence[Mapping[str, Any]]) -> list[Provider]:
    """
    The providers of a snapshot, one per entry.

    Args:
        conducts: What `conduct_of` gave for each entry.

    Raises:
        ConfigError: An entry that this version of batchfast cannot make.
    """
    return [
        _restored(dict(settings), conduct, f"providers[{number}]")
        for number, (settings, conduct) in enumerate(zip(snapshot["providers"], conducts, strict=True))
    ]


def _restored(settings: dict[str, Any], conduct: Mapping[str, Any], where: str) -> Provider:
    kind = provider_class(settings.pop("provider"), where)
    return kind(**settings, **conduct)


def provider_class(name: Any, where: str) -> type[Provider]:
    """
    Raises:
        ConfigError: There is none of that name; it says `where`, and the nearest.
    """
    if isinstance(name, str) and name in PROVIDERS:
        return PROVIDERS[name]
    nearest = difflib.get_close_matches(str(name), PROVIDERS, 1, cutoff=0.0)[0]
    raise ConfigError(
        f"{where}: unknown provider {short(name)}: the nearest is {nearest!r} (known: {', '.join(PROVIDERS)})"
    )


# -- telling two snapshots apart


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs between two snapshots, a short line each: `topics: 2 added (A, B), 1 removed (C)`."""
    return list(_differences("", _named(old), _named(new)))


def _named(snapshot: Mapping[str, Any]) -> dict[str, Any]:
    """The snapshot with its lists of pairs as objects, as a person thinks of them."""
    named = dict(snapshot) | {"languages": dict(snapshot["languages"])}
    if snapshot["expansion"] is not None:
        named["expansion"] = snapshot["expansion"] | {"placeholders": dict(snapshot["expansion"]["placeholders"])}
    return named


def _differences(where: str, old: Any, new: Any) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys((*old, *new)):
            yield from _differences(f"{where}.{key}" if where else key, old.get(key), new.get(key))
        if list(old) != list(new) and set(old) == set(new) and where in _ORDERED:
            yield f"{where}: in another order"
    elif _are_texts(old) and _are_texts(new):
        yield from _list_differences(where, old, new)
    elif isinstance(old, list) and isinstance(new, list):
        for number, (one, other) in enumerate(zip_longest(old, new)):
            yield from _differences(f"{where}[{number}]", one, other)
    elif old is None and new is not None:
        yield f"{where}: {short(new)} added"
    elif old is not None and new is None:
        yield f"{where}: {short(old)} removed"
    elif old != new:
        yield f"{where}: {short(old)} -> {short(new)}"


_ORDERED = ("languages", "expansion.placeholders")


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _list_differences(where: str, old: list[str], new: list[str]) -> Iterator[str]:
    added, removed = Counter(new) - Counter(old), Counter(old) - Counter(new)
    changes = [
        f"{texts.total()} {what} ({_listed(texts)})"
        for what, texts in (("added", added), ("removed", removed))
        if texts
    ]
    if changes:
        yield f"{where}: {', '.join(changes)}"
    elif old != new:
        yield f"{where}: in another order"


def _listed(texts: Counter[str]) -> str:
    shown = [short(text) for text in list(texts)[:3]]
    return ", ".join(shown) + (", ..." if len(texts) > 3 else "")


def short(value: Any) -> str:
    """A value for a message: one line, at most about 60 characters."""
    if isinstance(value, dict) and "provider" in value:
        value = f"{value['provider']} {value.get('model_id')}"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return line if len(line) <= 60 else f"{line[:57]}..."
