"""The rows of the database, frozen, and the values that are computed from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

from batchfast.records import Outcome

RunState = Literal["submitting", "running", "held", "cancelled", "done"]
ShardState = Literal["waiting", "submitting", "uncertain", "running", "ended", "failed"]

# A shard in one of these has requests whose outcome is still open.
IN_FLIGHT: tuple[ShardState, ...] = ("submitting", "uncertain", "running")
OPEN: tuple[ShardState, ...] = ("waiting", *IN_FLIGHT)


@dataclass(frozen=True, slots=True)
class RunRow:
    """
    A run as the store knows it.

    Attributes:
        fake: It was sent to the built-in fake.
        snapshot_id: Hash of the snapshot; several runs share it after `--again`.
        endpoints: Per provider entry, "fake" or the base URL.
        conduct: Settings that do not decide the requests, as JSON.
        spec_path: The spec file it was made from, or None.
        output_file: Where the dataset goes (absolute path).
        requests: How many requests it has (count).
    """

    no: int
    id: str
    fake: bool
    snapshot_id: str
    endpoints: tuple[str, ...]
    conduct: dict[str, Any]
    spec_path: str | None
    output_file: str
    requests: int
    state: RunState
    reason: str | None
    cancel_requested: bool
    created_at: str
    settled_at: str | None


@dataclass(frozen=True, slots=True)
class ShardRow:
    """
    A shard as the store knows it.

    Attributes:
        uncounted: How many of the attempts before were nobody's try (count).
        doublings: How often the token limit of its requests was doubled (count).
        refusals: How often its requests were refused in a row for want of room (count).
        largest_bytes: Size of its file's largest line; 0 where unknown.
        positions: Which of its entry's requests it holds, as `records.Positions` text.
        fence: Newest batch the provider listed before the create.
        intent_at: When the create was about to be made, or last known to be under way; `absent_at`: when the provider
            first did not list it.
        not_before: Earliest time of the next send.
        succeeded, failed, expired, cancelled: Requests that ended so for good (count).
        resent: Requests whose last word is in another shard (count).
        rows: Samples that its replies gave (count).
        cost_usd: What its answers cost at batch prices; `unpriced` counts answers whose price is unknown.
        cost_assumed: The batch price was derived from the list price.
        note: Why it is in its state, where that is not plain.
    """

    id: int
    run_no: int
    entry: int
    number: int
    attempt: int
    uncounted: int
    doublings: int
    refusals: int
    provider: str
    model_id: str
    positions: str
    requests: int
    size_bytes: int
    largest_bytes: int
    sha256: str
    state: ShardState
    fence: str | None
    intent_at: str | None
    absent_at: str | None
    not_before: str | None
    file_id: str | None
    succeeded: int
    failed: int
    expired: int
    cancelled: int
    resent: int
    rows: int
    cost_usd: float
    unpriced: int
    cost_assumed: int
    note: str | None

    @property
    def name(self) -> str:
        """What a person calls it: no other shard of the run is `<entry>-<number>-<attempt>`."""
        return f"{self.entry}-{self.number}-{self.attempt}"


@dataclass(frozen=True, slots=True)
class BatchRow:
    """
    A batch that a provider accepted for a shard.

    Attributes:
        failures: Polls that failed in a row (count); `last_error` is the newest one's message.
        counts: The provider's own counts, recorded and never believed.
    """

    id: int
    shard_id: int
    remote_id: str
    remote_state: str | None
    counts: dict[str, int]
    created_at: str | None
    ended_at: str | None
    collect_by: str | None
    polled_at: str | None
    failures: int
    last_error: str | None
    cancel_sent: bool


class RequestRow(NamedTuple):
    """
    The outcome of one request in one attempt: a row of `requests`.

    Attributes:
        final: 1 where this is the last word on the request, 0 where that is in another attempt's row.
        texts: Samples the reply gave (count).
        file: "output" or "error": where the line stands; None where no line came.
        offset, length: The line in that file (bytes).
        cost_usd: At batch prices; None where unknown.
    """

    run_no: int
    idx: int
    attempt: int
    shard_id: int
    final: int
    outcome: Outcome
    texts: int
    finish_reason: str | None = None
    model: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_input_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost_usd: float | None = None
    error_type: str | None = None
    error_message: str | None = None
    status_code: int | None = None
    file: str | None = None
    offset: int | None = None
    length: int | None = None


# Where the reply stands that is the last word on a request and gave rows: idx, shard_id, file, offset and length of its
# `RequestRow`. A plain tuple, which goes to other processes in a third of the time.
Answer: TypeAlias = tuple[int, int, str, int, int]


class Kept(NamedTuple):
    """An earlier attempt that gave some of its samples before it was cut short, and was asked again for all of them."""

    idx: int
    attempt: int
    shard_id: int
    texts: int


@dataclass(frozen=True, slots=True)
class Ledger:
    """Where a run's requests stand: `total` is always the sum of the six others."""

    total: int
    succeeded: int
    failed: int
    expired: int
    cancelled: int
    in_flight: int
    waiting: int

    def adds_up(self) -> bool:
        parts = (self.succeeded, self.failed, self.expired, self.cancelled, self.in_flight, self.waiting)
        return self.total == sum(parts) and min(parts) >= 0


@dataclass(slots=True)
class Tally:
    """What ending a shard adds to its counts."""

    succeeded: int = 0
    failed: int = 0
    expired: int = 0
    cancelled: int = 0
    resent: int = 0
    rows: int = 0
    cost_usd: float = 0.0
    unpriced: int = 0
    cost_assumed: int = 0
