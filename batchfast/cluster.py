"""
A Dask cluster as the place where a large run's files are made and read: extra `dask`.

Its workers see the run's folder under the same path and have the same batchfast; the database stays with this process.
"""

from __future__ import annotations

import logging
import re
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, Executor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import batchfast
from batchfast.errors import ConfigError, ExecutorError
from batchfast.terminal import one_line

if TYPE_CHECKING:
    from distributed import Client

_URL = re.compile(r"dask://((?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):\d{1,5})", re.ASCII)

# How long a scheduler may take to answer, and how long it may be without a worker (seconds).
_PATIENCE_S = 15.0


def scheduler_of(url: str) -> str:
    """
    `HOST:PORT` of `dask://HOST:PORT`.

    Raises:
        ValueError: That is no such address.
        ConfigError: The extra is not installed.
    """
    match = _URL.fullmatch(url)
    if match is None:
        raise ValueError(f"{url!r} does not name a Dask scheduler: say dask://HOST:PORT")
    if find_spec("distributed") is None:
        raise ConfigError(f"{url} needs an extra: pip install 'batchfast[dask]'")
    return match[1]


@dataclass(frozen=True, slots=True)
class DaskCluster:
    """
    Where a cluster is. Nothing is imported or asked before `connected`.

    Attributes:
        address: `HOST:PORT` of the scheduler.
        folder: What all its workers must see under the same path.
    """

    address: str
    folder: Path

    @contextmanager
    def connected(self) -> Iterator[Executor]:
        """
        Its executor, for as long as the block lasts.

        Raises:
            ExecutorError: The scheduler does not answer, it has no workers, one of them does not see the folder or has
                another batchfast, or the cluster broke off meanwhile.
            OSError: The folder cannot be written.
        """
        from distributed import Client, KilledWorker

        logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # what it would say is in our errors
        try:
            client = Client(f"tcp://{self.address}", timeout=_PATIENCE_S, set_as_default=False)
        except OSError as exc:
            raise ExecutorError(f"no Dask scheduler answers at {self.address}: {one_line(str(exc), 200)}") from exc
        with client:
            self._check_workers(client)
            try:
                with _watched(client):
                    yield client.get_executor(pure=False)  # nothing is remembered: files change
            except (KilledWorker, CancelledError) as exc:
                why = one_line(str(exc), 200) or "its scheduler or all its workers are gone"
                raise ExecutorError(
                    f"the Dask cluster at {self.address} broke off ({why}); nothing is lost: the same command continues"
                ) from exc

    def _check_workers(self, client: Client) -> None:
        try:
            client.wait_for_workers(1, timeout=_PATIENCE_S)
        except TimeoutError as exc:
            raise ExecutorError(f"the Dask cluster at {self.address} has no workers") from exc
        for worker, about in client.get_versions(packages=["batchfast"])["workers"].items():
            version = about["packages"]["batchfast"] or "none"
            if version != batchfast.__version__:
                raise ExecutorError(
                    f"Dask worker {worker} has another batchfast ({version}, here {batchfast.__version__}): "
                    "install the same there"
                )
        self.folder.mkdir(parents=True, exist_ok=True)
        # A name that nobody else has: a folder of the same path on another disk does not hold it.
        with tempfile.NamedTemporaryFile(prefix=".seen-", dir=self.folder) as probe:
            for worker, sees in client.run(Path.exists, Path(probe.name)).items():
                if not sees:
                    raise ExecutorError(
                        f"Dask worker {worker} does not see {self.folder}: "
                        "share this folder with it under the same path"
                    )


@contextmanager
def _watched(client: Client) -> Iterator[None]:
    """Ends what waits for a cluster whose workers are all gone for long: Dask itself would wait for ever."""
    done = threading.Event()

    def watch() -> None:
        missed = 0
        while missed < 2 and not done.wait(_PATIENCE_S):
            missed = 0 if client.scheduler_info().get("workers") else missed + 1
        if not done.is_set():
            client.close()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
