"""Files that processes hand to each other while a step lasts: in a folder of their own, under the run's."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import gethostname
from tempfile import TemporaryDirectory

from batchfast.errors import ExecutorError

_PREFIX = ".handover-"


@contextmanager
def handover(run_folder: Path) -> Iterator[Path | None]:
    """
    A new folder, gone after the block; None where none can be made: this process then works alone.

    Its name is new each time: what outlives its command and writes on disturbs nobody.
    """
    try:
        made = TemporaryDirectory(prefix=_PREFIX, dir=run_folder, ignore_cleanup_errors=True)
    except OSError:
        yield None
        return
    with made as folder:
        yield Path(folder).absolute()


@contextmanager
def made_whole(path: Path) -> Iterator[Path]:
    """
    Another name for a file while it is made: under its own it is whole from the first moment.

    A cluster may run a task once more, when a worker only seemed to be lost: whoever reads then is not disturbed.

    Raises:
        ExecutorError: This machine does not see the folder.
    """
    if not path.parent.is_dir():
        raise not_shared(path.parents[1])
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    yield part
    part.replace(path)


def not_shared(folder: Path) -> ExecutorError:
    """The error of a worker that does not see what it shall read or write."""
    return ExecutorError(f"{gethostname()} does not see {folder}: share this folder with it under the same path")


def remove_left_over(run_folder: Path) -> None:
    """What a process that was killed left; for whoever holds the run alone."""
    for folder in run_folder.glob(f"{_PREFIX}*"):
        shutil.rmtree(folder, ignore_errors=True)
