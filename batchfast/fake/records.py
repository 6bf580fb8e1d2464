"""
Files, uploads and batches as the services hold them.

A batch stores no state. When it was created, cancelled and is to end decide its whole life, and reading the clock gives
the state of the moment (`Batch.life`, `Batch.phase`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from batchfast.fake.faults import Fault

DAY_S = 86_400.0
# Shares of a batch's planned duration, in the proportions of small batches at the services.
VALIDATED_AT = 0.1
WRITING_AT = 0.95
CANCELLING = 0.2


@dataclass(frozen=True)
class File:
    """A stored file. `detail` is the service's own, times are unix seconds."""

    id: str
    provider: str
    name: str
    purpose: str
    size: int
    created_at: float
    expires_at: float | None
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Upload:
    """A file that arrives in pieces; `received` bytes are here so far."""

    id: str
    detail: Mapping[str, Any]
    file_id: str | None
    received: int


@dataclass(frozen=True)
class Bound:
    """A fault bound to a batch, under its number in the plan."""

    id: int
    fault: Fault


@dataclass(frozen=True)
class Line:
    """One result line, without its newline, and what it counts as."""

    data: bytes
    kind: str  # succeeded, errored, cancelled, expired
    stream: str = "output"
    input_tokens: int = 0
    output_tokens: int = 0
    model: str = ""  # who answered
    copies: int = 1  # 0 counts without being written
    faults: tuple[int, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """
    What came out of an ended batch.

    Args:
        counts: Lines by kind.
        files: By stream, the file its lines are in.
        tokens: By model, tokens read and written.
    """

    counts: Mapping[str, int]
    files: Mapping[str, str]
    tokens: Mapping[str, tuple[int, int]]

    @property
    def input_tokens(self) -> int:
        return sum(read for read, _ in self.tokens.values())

    @property
    def output_tokens(self) -> int:
        return sum(written for _, written in self.tokens.values())


@dataclass(frozen=True)
class Life:
    """When a batch enters its phases, in unix seconds, and how it ends."""

    started_at: float
    writing_at: float
    ended_at: float
    end: str  # completed, failed, cancelled, expired


@dataclass(frozen=True)
class Batch:
    """An accepted batch. Its input is a JSONL file of the state's folder, named `source`."""

    id: str
    provider: str
    created_at: float
    duration_s: float
    ends_at: float
    expires_at: float
    cancelled_at: float | None
    finished_at: float | None
    total: int
    seed: int
    source: str
    detail: Mapping[str, Any]
    faults: tuple[Bound, ...]
    outcome: Outcome | None

    @property
    def _full_end(self) -> float:
        """When it would end if nobody cancelled it and it never expired."""
        return self.ends_at if self.finished_at is None else min(self.ends_at, self.finished_at)

    @property
    def life(self) -> Life:
        """The whole life as it is planned now; a cancel or an early finish plans it anew."""
        end = "completed" if self._full_end <= self.expires_at else "expired"
        ended_at = min(self._full_end, self.expires_at)
        if self.cancelled_at is not None:
            end = "cancelled"
            ended_at = min(ended_at, self.cancelled_at + CANCELLING * self.duration_s)
        started_at = min(self.created_at + VALIDATED_AT * self.duration_s, ended_at)
        if "errors" in self.detail:
            return Life(started_at, started_at, started_at, "failed")
        if end == "completed" and self._faults("expire"):
            end = "expired"
        writing_at = max(started_at, ended_at - (1 - WRITING_AT) * self.duration_s)
        if ended_at >= self.expires_at:
            writing_at = ended_at  # it runs until its window closes, and writes what it has after that
        return Life(started_at, writing_at, ended_at, end)

    def phase(self, now: float) -> str:
        """validating, in_progress, finalizing, cancelling, or once it is over the `Life.end`."""
        life = self.life
        if now >= life.ended_at:
            return life.end
        if self.cancelled_at is not None:
            return "cancelling"
        if now < life.started_at:
            return "validating"
        return "in_progress" if now < life.writing_at else "finalizing"

    def has_started(self, now: float) -> bool:
        """Whether it got beyond its validation, by now or before it was cancelled."""
        if self.cancelled_at is None:
            return now >= self.life.started_at
        return self.cancelled_at >= self.created_at + VALIDATED_AT * self.duration_s

    def ended(self, now: float) -> bool:
        return now >= self.life.ended_at

    def gives_output(self, now: float) -> bool:
        """Whether what came out can be had: from its end on, unless it is planned to be late."""
        late = max((one.seconds for one in self._faults("late")), default=0.0)
        return now >= self.life.ended_at + late

    def vanished(self, now: float) -> bool:
        """Whether the service knows nothing of it any more, as planned."""
        return any(now >= self.created_at + one.seconds for one in self._faults("vanish"))

    @property
    def reported(self) -> tuple[int, int]:
        """What the service says of the ended batch: how many answers and errors; one too many of these, as planned."""
        counts = {} if self.outcome is None else self.outcome.counts
        answered, errored = counts.get("succeeded", 0), counts.get("errored", 0)
        off = 0 if not self._faults("miscount") else 1 if answered else -1 if errored else 0
        return answered - off, errored + off

    @property
    def words(self) -> tuple[int, int]:
        """Least and most words of a text in its answers."""
        least, most = self.detail["words"]
        return least, most

    def _faults(self, does: str) -> list[Fault]:
        return [bound.fault for bound in self.faults if bound.fault.does == does]

    def answered(self, now: float) -> int:
        """How many requests, the first ones of the input, have an answer by now."""
        start, stop, at = self.life.started_at, self.life.writing_at, now
        if self.cancelled_at is not None or self._full_end > self.expires_at:
            # Cut short: the pace is that of the full life, up to the cut.
            stop = self.ends_at - (1 - WRITING_AT) * self.duration_s
            at = min(now, self.expires_at if self.cancelled_at is None else self.cancelled_at)
        if at >= stop:
            return self.total
        return 0 if at <= start else int(self.total * (at - start) / (stop - start))
