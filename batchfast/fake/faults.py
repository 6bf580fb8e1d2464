"""
Planned faults: what shall go wrong, where, and how often.

```
call faults      one HTTP call of a route      status lose cut delay lag
batch faults     a batch as a whole            fail stick shuffle
request faults   some requests of a batch      error expire refuse truncate malform fence too_few too_many
                                               empty duplicate drop
```

A call fault looks at every call to the service. A batch or request fault binds when a batch is created, so
plan it before; what it does to that batch never changes afterwards, in no process.
"""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Literal, get_args

from batchfast.fake.ids import seeded

Action = Literal[
    "status", "lose", "cut", "delay", "lag",
    "fail", "stick", "shuffle",
    "error", "expire", "refuse", "truncate", "malform", "fence", "too_few", "too_many", "empty",
    "duplicate", "drop",
]  # fmt: skip
CALL_ACTIONS = frozenset[str]({"status", "lose", "cut", "delay", "lag"})
BATCH_ACTIONS = frozenset[str]({"fail", "stick", "shuffle"})


@dataclass(frozen=True)
class Fault:
    """
    One thing that goes wrong. Two equal faults are one: `fired` counts them together.

    Args:
        does: What happens.
            status: answer with `status`, `body` (the service's own error for that status if None) and
                `retry_after`.
            lose: do the work, then drop the connection without an answer.
            cut: do the work, send half of the answer, then drop the connection.
            delay: answer after `seconds` of real time.
            lag: a list leaves out what was made within the last `seconds` of the fake's time.
            fail: the batch fails its validation with `code` and `message` (OpenAI, Gemini; Anthropic has no
                such state).
            stick: the batch never ends before it expires.
            shuffle: result lines come in another order.
            error: the request ends in an error of `status`, `code` and `message`.
            expire: the request was not reached in time; the batch counts as expired at its usual end, not
                after a day.
            refuse, truncate, malform, fence, empty: the model refuses, is cut by its limit, writes broken
                JSON, puts JSON in a Markdown fence, says nothing.
            too_few, too_many: the first array of the answer has one item less, or more, than asked for.
            duplicate, drop: the result line comes twice, or not at all.
        provider: Only this service; None is all three.
        route: Only this route (call faults): create, poll, list, cancel, delete, results, answer (a live request),
            upload, file, list_files, delete_file.
        nth: Only the nth matching call, or for the others the nth batch created, counted from 1 since the
            plan.
        custom_id: Only requests whose id matches this regular expression somewhere.
        share: Only this share of a batch's requests, spread evenly; which ones follows from the seed.
    """

    does: Action
    provider: str | None = None
    route: str | None = None
    nth: int | None = None
    custom_id: str | None = None
    share: float | None = None
    status: int = 500
    code: str | None = None
    message: str | None = None
    body: str | None = None
    retry_after: float | None = None
    seconds: float = 60.0

    def __post_init__(self) -> None:
        if self.does not in get_args(Action):
            raise ValueError(f"unknown fault {self.does!r}; one of: {', '.join(get_args(Action))}")
        if self.share is not None and not 0 <= self.share <= 1:
            raise ValueError(f"share must lie in 0..1, not {self.share}")
        if self.custom_id is not None:
            re.compile(self.custom_id)

    @property
    def on_calls(self) -> bool:
        return self.does in CALL_ACTIONS

    @property
    def on_requests(self) -> bool:
        return self.does not in CALL_ACTIONS and self.does not in BATCH_ACTIONS

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def concerns(self, provider: str, route: str | None) -> bool:
        """Whether a call, or a batch just created (no route), is one to count for `nth`."""
        if self.provider not in (None, provider):
            return False
        return not self.on_calls if route is None else self.on_calls and self.route in (None, route)

    def takes(self, seed: int, index: int, custom_id: str) -> bool:
        """Whether the request at `index` of a batch is one of those this fault is for."""
        if self.custom_id is not None and not re.search(self.custom_id, custom_id):
            return False
        if self.share is None:
            return True
        # The steps of a line with this slope: n * share requests to within one, without knowing n beforehand.
        phase = _phase(self, seed)
        return math.floor((index + 1) * self.share + phase) > math.floor(index * self.share + phase)


@lru_cache(maxsize=256)
def _phase(fault: Fault, seed: int) -> float:
    return seeded(f"{seed}:{fault}").random()
