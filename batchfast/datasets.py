"""
The Python door: `RawDataset` wires the steps and decides nothing.

```python
dataset = RawDataset(config)
run = dataset.submit(providers)        # tonight
RawDataset.open(run.id).collect()      # tomorrow, any process, same home
dataset.generate(providers)            # submit + wait + collect
```
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchfast.clock import Clock
from batchfast.errors import BatchfastError, ConfigError
from batchfast.grid import Grid
from batchfast.home import Home, home_for
from batchfast.llms import Provider
from batchfast.runs import compile_files, snapshot_of
from batchfast.schema.config import RawDatasetConfig
from batchfast.session import Session, not_ready
from batchfast.spec import Conduct, Spec, config_of
from batchfast.status import run_status
from batchfast.store import RunRow, Store

if TYPE_CHECKING:
    from batchfast.fake import FakeServer


class Run:
    """
    A submitted run.

    Attributes:
        id: What every later command and process names it by.
    """

    def __init__(self, dataset: RawDataset, run_id: str) -> None:
        self._dataset = dataset
        self.id = run_id

    def __repr__(self) -> str:
        return f"Run({self.id!r})"

    def status(self) -> dict[str, Any]:
        """Where the run stands, as `batchfast status RUN --json` says it. No network."""
        return self._dataset.status()

    def collect(self) -> Path:
        """See `RawDataset.collect`."""
        return self._dataset.collect()


class RawDataset:
    """
    A dataset of synthetic texts.

    Args:
        config: What to ask for.
        home: Folder of the database; default `BATCHFAST_HOME`, else the nearest `.batchfast` from the current folder
            upward, else a new one here.
        fake: Send to the built-in fake instead of the services: True, or a running `FakeServer`.
            Default: whether `BATCHFAST_FAKE` is 1.
        max_attempts: How often a request is sent at most (count).
        max_cost_usd: What a run may cost at most (USD): nothing is sent that might go over it.
        max_parallel_uploads: How many files are uploaded at once, of all providers together (count, 1 to 32).
        executor: Where submission files are made and result files read; its workers must see the home under the same
            path, and it is left open. Default: large runs use processes of this machine, others none.
    """

    def __init__(
        self,
        config: RawDatasetConfig,
        *,
        home: str | Path | None = None,
        fake: bool | FakeServer | None = None,
        max_attempts: int = 3,
        max_cost_usd: float | None = None,
        max_parallel_uploads: int = 4,
        executor: Executor | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.config = config
        self._home = home_of(home)
        self._fake = os.environ.get("BATCHFAST_FAKE") == "1" if fake is None else bool(fake)
        self._fake_server = None if fake is None or isinstance(fake, bool) else fake
        self._conduct = Conduct(
            max_attempts=max_attempts, max_cost_usd=max_cost_usd, max_parallel_uploads=max_parallel_uploads
        )
        self._executor = executor
        self._clock = clock
        self._run_id: str | None = None
        self._providers: Sequence[Provider] | None = None

    @classmethod
    def open(
        cls,
        run_id: str,
        *,
        home: str | Path | None = None,
        fake: FakeServer | None = None,
        executor: Executor | None = None,
        clock: Clock | None = None,
    ) -> RawDataset:
        """
        The dataset of a run that exists, in any process that shares its home.

        Args:
            run_id: Its id, an unambiguous beginning of it, or "latest".
            executor: As in `RawDataset`.

        Raises:
            StoreError: No such run.
        """
        place = home_of(home)
        with Store(place.database, create=False) as store:
            run = store.resolve(run_id)

        dataset = cls(
            config_of(snapshot_of(place, run.id), run.output_file),
            home=place.path,
            fake=fake or run.fake,
            executor=executor,
            clock=clock,
        )
        dataset._run_id = run.id
        return dataset

    def get_num_expected_rows(self, providers: Sequence[Provider]) -> int:
        """How many rows the dataset will have if every reply holds what was asked for; no key needed."""
        spec = self._spec(providers)
        return len(Grid(spec.snapshot)) * self.config.num_samples_per_prompt

    def compile(
        self, providers: Sequence[Provider], folder: str | Path, *, executor: Executor | None = None
    ) -> list[Path]:
        """
        Write the submission files, to upload by hand: exactly the lines that `submit` would send. No key, no network.

        Args:
            folder: Where to; made where it is missing.
            executor: Where they are made instead of the dataset's own; its workers must see `folder` under the same
                path.

        Returns:
            The files, by provider entry and number.

        Raises:
            ConfigError: The folder cannot be written, or a request is too large for any file.
            ExecutorError: Workers died, or do not see the folder.
        """
        with Store(self._home.make().database) as store:
            files = compile_files(
                self._spec(providers),
                store,
                Path(folder).absolute(),
                fake=self._fake,
                executor=executor or self._executor,
            )
            return [path for path, _ in files]

    def submit(self, providers: Sequence[Provider], *, again: bool = False) -> Run:
        """
        Compile and send; returns once the providers have accepted what they take now. Safe to repeat after a crash:
        what was sent is not sent again.

        Args:
            again: Pay for a run that exists once more, as a run of its own.

        Raises:
            ConfigError: Everything has been sent before; or the input is wrong and nothing was sent.
            MissingKey: A provider has no key; nothing was sent.
        """
        with self._session() as session:
            run, new = session.enter(self._spec(providers), fake=self._fake, again=again)
            if not new and not session.store.shards(run.no, "waiting", "submitting", "uncertain"):
                raise already_sent(run)
            self._remember(run, providers)
            with session.work(run, providers) as engine:
                engine.send_all()
        return Run(self, run.id)

    def collect(self, *, output: str | Path | None = None, force: bool = False) -> Path:
        """
        One pass over everything that can move; writes the dataset once all is settled.

        Returns:
            Where the dataset is.

        Raises:
            NotReady: Some requests are still open; what has ended is safely collected.
        """
        with self._session() as session:
            run = session.store.run(self._need_run())
            with session.work(run, self._providers) as engine:
                progress = engine.one_pass(everything=True)
                written = session.settle(engine.ctx, progress, output=_path(output), force=force)
        if written is None:
            raise not_ready(run, progress)
        return written.path

    def generate(self, providers: Sequence[Provider], *, again: bool = False) -> Path:
        """
        Submit, wait, collect. Safe to run again after any crash; what was paid for is not paid for again.

        Returns:
            Where the dataset is.

        Raises:
            NotReady: The run is held until a person acts; the message says why.
        """
        with self._session() as session:
            run, _ = session.enter(self._spec(providers), fake=self._fake, again=again)
            self._remember(run, providers)
            with session.work(run, providers) as engine:
                progress = engine.drive()
                written = session.settle(engine.ctx, progress)
        if written is None:
            raise not_ready(run, progress)
        return written.path

    def status(self) -> dict[str, Any]:
        """Where the run stands, as `batchfast status RUN --json` says it. No network."""
        with Store(self._home.database, create=False) as store:
            return run_status(store, store.run(self._need_run()))

    def _spec(self, providers: Sequence[Provider]) -> Spec:
        return Spec.of(self.config, list(providers), self._conduct)

    def _session(self) -> Session:
        return Session(self._home, clock=self._clock, fake_server=self._fake_server, executor=self._executor)

    def _remember(self, run: RunRow, providers: Sequence[Provider]) -> None:
        self._run_id = run.id
        self._providers = providers

    def _need_run(self) -> str:
        if self._run_id is None:
            raise ConfigError(
                "this dataset has no run yet: call submit(providers), or open one with RawDataset.open(id)"
            )
        return self._run_id


def home_of(home: str | Path | None) -> Home:
    """The home that a Python call or a command without a spec means."""
    chosen = home or os.environ.get("BATCHFAST_HOME")
    return Home(Path(chosen).absolute()) if chosen else home_for(Path.cwd())


def already_sent(run: RunRow) -> BatchfastError:
    """The error for submitting what was submitted before."""
    return ConfigError(
        f"run {run.id} has been submitted before; collect it with: batchfast collect {run.id} "
        "(or pay for all of it again with --again)"
    )


def _path(path: str | Path | None) -> Path | None:
    return Path(path).absolute() if path is not None else None
