"""One home, opened in one process: the store, the clock, the built-in fake where it is needed, and runs to work on."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

from batchfast import runs
from batchfast.budget import check_budget
from batchfast.clock import Clock, SystemClock
from batchfast.cluster import DaskCluster
from batchfast.context import Context
from batchfast.engine import Engine, Progress
from batchfast.errors import ConfigError, NotReady
from batchfast.export import Written, write_dataset
from batchfast.grid import Grid
from batchfast.home import Home
from batchfast.llms.base import Provider
from batchfast.lock import entering, run_lock
from batchfast.meter import Meter
from batchfast.snapshot import providers_of, snapshot_id
from batchfast.spec import Conduct, Spec, load_spec
from batchfast.store import OPEN, RunRow, Store
from batchfast.terminal import one_line

if TYPE_CHECKING:
    from batchfast.fake import FakeServer

log = logging.getLogger(__name__)


class Session:
    """
    Args:
        home: Made where it is missing.
        executor: Where shards are compiled and result files read; its workers must see the home under the same path. A
            cluster is used for large runs only. Default: large runs use processes of this machine, others none.
        meter: Told of all that takes long; by default that is logged.
        fake_server: A running fake to use for fake runs; otherwise one is started over the home's `fake` folder.
    """

    def __init__(
        self,
        home: Home,
        *,
        clock: Clock | None = None,
        fake_server: FakeServer | None = None,
        executor: Executor | DaskCluster | None = None,
        meter: Meter | None = None,
    ) -> None:
        self.home = home.make()
        self.clock = clock or SystemClock()
        self.store = Store(home.database)
        self._stack = ExitStack()
        self._stack.enter_context(self.store)
        self._fake_server = fake_server
        self._specs: dict[str, Spec] = {}
        self._executor = executor
        self._meter = meter or Meter()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    # -- which run

    def enter(self, spec: Spec, *, fake: bool, again: bool = False) -> tuple[RunRow, bool]:
        """
        The run a spec means, and whether it is new. A new one is compiled and entered; nothing is sent. One that exists
        takes its settings of conduct from the spec once `work` holds it.

        Raises:
            MissingKey: A provider has no key; nothing was entered.
            ConfigError: Another base URL than the run's, another run's output file, a folder that cannot be written.
        """
        check_budget(spec.providers, spec.conduct.max_cost_usd)
        if not fake:
            need_keys(spec.providers)
        with entering(self.home):
            existing = None if again else runs.existing_run(self.store, spec, fake=fake)
            if existing is not None:
                runs.check_endpoints(existing, spec.providers)
                self._specs[existing.id] = spec
                return existing, False
            output = spec.output_path()
            if not again:
                runs.check_output(self.home, self.store, spec, output, fake=fake)
            runs.check_writable(output)
            endpoints = [runs.FAKE if fake else provider.endpoint() for provider in spec.providers]
            run_id = runs.free_name(self.home, self.store, spec, fake=fake)
            return runs.create_run(
                self.home, self.store, spec, run_id, endpoints, output, self.clock, self._executor, self._meter
            ), True

    def _follow(self, run: RunRow, spec: Spec) -> RunRow:
        """A run that continues takes its settings of conduct from the spec as it is now."""
        self.store.update_run(run.no, conduct=runs.conduct_text(spec), output_file=str(spec.output_path()))
        return self.store.run(run.id)

    def _up_to_date(self, run: RunRow) -> RunRow:
        """The run with the conduct of the spec it was entered with again, else of its spec file as that is now."""
        if run.id in self._specs:
            return self._follow(run, self._specs[run.id])
        if run.spec_path is None or not Path(run.spec_path).is_file():
            return run
        try:
            spec = load_spec(Path(run.spec_path))
        except ConfigError as exc:  # half-edited since
            log.warning("run %s goes on as it was: %s", run.id, one_line(str(exc), 300))
            return run
        return self._follow(run, spec) if snapshot_id(spec.snapshot) == run.snapshot_id else run

    # -- working on it

    @contextmanager
    def work(
        self,
        run: RunRow,
        providers: Sequence[Provider] | None = None,
        *,
        waits: Callable[[str], None] | None = None,
    ) -> Iterator[Engine]:
        """
        Hold the run and drive it. A hold is lifted: whoever starts this has seen the reason.

        Args:
            providers: The entries' own objects, where they are at hand; they may carry keys.
            waits: As in `run_lock`.

        Raises:
            RunBusy: Another process works on it.
            MissingKey: Something is left to do at a provider without a key.
        """
        with run_lock(self.home, run.id, self.clock, waits):
            # Whoever held it has moved it on; and nobody else's settings are changed under their hands.
            run = self._up_to_date(self.store.run(run.id))
            ctx = self.context(run, providers)
            if not run.fake:
                open_entries = {row.entry for row in self.store.shards(run.no, *OPEN)}
                need_keys([ctx.providers[entry] for entry in sorted(open_entries)])
            if run.state == "held":
                self.store.update_run(run.no, state="running", reason=None)
                ctx.note("resumed", f"goes on after it was held ({run.reason})")
            try:
                check_budget(ctx.providers, ctx.max_cost_usd)
            except ConfigError as exc:  # set since: what runs is collected all the same, and nothing is sent
                ctx.hold("over budget", str(exc))
            yield Engine(ctx)

    def context(self, run: RunRow, providers: Sequence[Provider] | None = None, *, offline: bool = False) -> Context:
        """
        Everything the steps need to know of a run; takes no lock.

        Args:
            offline: Nothing will be sent or asked: no fake is started.
        """
        snapshot = runs.snapshot_of(self.home, run.id)
        conduct = Conduct.stored(run.conduct)
        entries = providers or providers_of(snapshot, run.conduct["providers"])
        return Context(
            store=self.store,
            home=self.home,
            run=run,
            providers=entries if offline else [self._bound(run, *entry) for entry in enumerate(entries)],
            grid=Grid(snapshot),
            nonce=self.store.nonce(),
            clock=self.clock,
            max_attempts=conduct.max_attempts,
            recheck_after_s=conduct.recheck_after_s,
            max_cost_usd=conduct.max_cost_usd,
            max_parallel_uploads=conduct.max_parallel_uploads,
            executor=self._executor,
            meter=self._meter,
        )

    def _bound(self, run: RunRow, entry: int, provider: Provider) -> Provider:
        """The provider sending to where the run was sent first."""
        if run.endpoints[entry] == runs.FAKE:
            return provider.bound_to(self._fake().base_urls[provider.name], api_key="fake-key")
        bound = provider.bound_to(run.endpoints[entry])
        folders = [Path.cwd(), self.home.path.parent]
        if run.spec_path:
            folders.insert(0, Path(run.spec_path).parent)
        bound.dotenv_files = tuple(folder / ".env" for folder in folders)
        return bound

    def _fake(self) -> FakeServer:
        if self._fake_server is None:
            from batchfast.fake import FakeServer  # brings a web server, which real runs have no use for

            self._fake_server = self._stack.enter_context(FakeServer(self.home.fake, batch_seconds=_fake_seconds()))
        return self._fake_server

    def settle(
        self, ctx: Context, progress: Progress, *, output: Path | None = None, force: bool = False
    ) -> Written | None:
        """Write the dataset of a run that has settled, then mark it so; None where it has not."""
        if not progress.settled:
            return None
        written = write_dataset(ctx, output or Path(ctx.run.output_file), force=force)
        state = "cancelled" if self.store.cancel_requested(ctx.run.no) else "done"
        if ctx.run.state != state:
            self.store.update_run(ctx.run.no, state=state, reason=None, settled_at=ctx.now())
            ctx.note(state, f"{state}: {written.rows} rows in {written.path}")
        return written


def _fake_seconds() -> float:
    """
    How long the built-in fake takes for a batch: `BATCHFAST_FAKE_SECONDS`, default 1.

    Raises:
        ConfigError: It is not a number of seconds.
    """
    text = os.environ.get("BATCHFAST_FAKE_SECONDS") or "1"
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds < float("inf"):
        raise ConfigError(f"BATCHFAST_FAKE_SECONDS must be a number of seconds from 0 up, not {text!r}")
    return seconds


def need_keys(providers: Sequence[Provider]) -> None:
    """
    Raises:
        MissingKey: The first provider without a key.
    """
    for provider in providers:
        provider.key()


def not_ready(run: RunRow, progress: Progress) -> NotReady:
    """The error for whoever needs a settled run and has none."""
    total = progress.ledger.total
    open_ = progress.ledger.in_flight + progress.ledger.waiting
    running = "1 running batch" if progress.running == 1 else f"{progress.running} running batches"
    held = f"; held ({progress.held})" if progress.held else ""
    return NotReady(
        f"run {run.id}: {open_:,} of {total:,} requests are still open in {running}{held}; "
        f"try: batchfast watch {run.id}",
        run_id=run.id,
        running=progress.running,
    )
