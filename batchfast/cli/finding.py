"""Which home, which spec and which run a command line means."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from batchfast.cli.options import current
from batchfast.errors import ConfigError
from batchfast.home import Home, home_for
from batchfast.store import RunRow, Store

if TYPE_CHECKING:
    from batchfast.cluster import DaskCluster
    from batchfast.session import Session
    from batchfast.spec import Spec


def find_home(spec: Path | None = None) -> Home:
    options = current()
    if options.home:
        options.used = Home(Path(options.home).absolute())
    else:
        options.used = home_for(spec.absolute().parent if spec else Path.cwd())
    return options.used


def target_of(run: RunRow, output: Path | None) -> Path:
    """Where a person wants the dataset."""
    return output.absolute() if output else Path(run.output_file)


def open_store() -> Store:
    return Store(find_home().database, create=False)


def open_session(home: Home, scheduler: str | None = None) -> Session:
    from batchfast.session import Session

    return Session(home, executor=cluster(scheduler, home.runs), meter=current().display)


def existing(scheduler: str | None = None) -> Session:
    """The session of a command that has no use for a home without a run: it makes none."""
    open_store().close()
    return open_session(find_home(), scheduler)


def cluster(scheduler: str | None, folder: Path) -> DaskCluster | None:
    """What `--executor` means, for the files in a folder."""
    from batchfast.cluster import DaskCluster

    return DaskCluster(scheduler, folder.absolute()) if scheduler else None


def load(spec: Path) -> Spec:
    from batchfast.spec import load_spec

    return load_spec(spec)


def resolve(store: Store, name: str | None) -> RunRow:
    """The run a person means; with --fake only fake runs are looked at when no name says otherwise."""
    fake = current().fake
    runs = store.runs()
    if fake and name in (None, "latest") and runs and not any(run.fake for run in runs):
        raise ConfigError(f"no fake runs in {store.path.parent}; --fake or BATCHFAST_FAKE is set")
    run = store.resolve(name, fake=True if fake and name in (None, "latest") else None)
    if fake and not run.fake:
        raise ConfigError(
            f"run {run.id} was sent to {', '.join(run.endpoints)}, not to the fake: "
            "leave --fake out (or unset BATCHFAST_FAKE)"
        )
    return run
