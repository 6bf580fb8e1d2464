"""What every step of a pass needs to know about the run it works on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from batchfast.clock import Clock, iso
from batchfast.cluster import DaskCluster
from batchfast.grid import Grid
from batchfast.home import Home, stem_of
from batchfast.llms.base import Provider
from batchfast.meter import Meter
from batchfast.records import Shard
from batchfast.store import RunRow, ShardRow, Store
from batchfast.terminal import one_line

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Context:
    """
    One run in one process.

    Attributes:
        providers: One per provider entry, bound to where the run is sent.
        nonce: The home's mark in custom_ids and labels.
        max_attempts: How often a request is sent at most (count).
        max_cost_usd: What the run may cost at most (USD), or None.
        max_parallel_uploads: How many files are uploaded at once (count).
        executor: Where files are read and written side by side; None: large runs use processes of this machine.
        meter: Told of all that takes long.
        recheck_after_s: How long after an unanswered create its absence is believed (seconds).
        held: Why nothing more is sent until a person acts, or None.
        locked_out: Entries whose key was refused: not even what runs there can be collected.
    """

    store: Store
    home: Home
    run: RunRow
    providers: Sequence[Provider]
    grid: Grid
    nonce: str
    clock: Clock
    max_attempts: int
    recheck_after_s: float
    max_cost_usd: float | None = None
    max_parallel_uploads: int = 1
    executor: Executor | DaskCluster | None = None
    meter: Meter = field(default_factory=Meter)
    held: str | None = None
    locked_out: set[int] = field(default_factory=set)

    @property
    def id_prefix(self) -> str:
        return f"{self.run.id}-{self.nonce}"

    def now(self) -> str:
        return iso(self.clock.now())

    def provider(self, row: ShardRow) -> Provider:
        return self.providers[row.entry]

    def provider_of(self, index: int) -> Provider:
        """Whom request `index` is for."""
        return self.providers[index % len(self.providers)]

    def stem(self, entry: int, number: int, attempt: int) -> str:
        provider = self.providers[entry]
        return stem_of(entry, provider.name, provider.model_id, number, attempt)

    def request_file(self, entry: int, number: int, attempt: int) -> Path:
        return self.home.requests(self.run.id, self.stem(entry, number, attempt))

    def sent_file(self, row: ShardRow) -> Path:
        return self.request_file(row.entry, row.number, row.attempt)

    def result_file(self, row: ShardRow, kind: str) -> Path:
        return self.home.results(self.run.id, self.stem(row.entry, row.number, row.attempt), kind)

    def shard(self, row: ShardRow) -> Shard:
        """The shard as the provider seam wants it."""
        return Shard(
            label=f"{self.id_prefix}-{row.name}",
            id_prefix=self.id_prefix,
            path=self.sent_file(row),
            requests=row.requests,
            size_bytes=row.size_bytes,
            opener=partial(self.meter.reading, doing=f"uploading {row.name}"),
        )

    def note(self, kind: str, message: str, row: ShardRow | None = None) -> None:
        """Write an event; what needs attention also goes to the log."""
        self.store.event(self.run.no, self.now(), kind, message, row.id if row else None)
        level = logging.WARNING if kind in ("warning", "failed", "waits", "uncertain") else logging.INFO
        log.log(level, "run %s: %s", self.run.id, one_line(message, 1000))

    def hold(self, reason: str, message: str, row: ShardRow | None = None) -> None:
        """Send nothing more until a person has acted; what runs is still collected, unless its key is bad."""
        self.held = reason
        if row is not None and reason == "bad key":
            self.locked_out.add(row.entry)
        self.store.update_run(self.run.no, state="held", reason=f"{reason}: {message}")
        self.note("held", f"held ({reason}): {message}")
