"""Files between processes are gone with the step, and with the next command where a process was killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchfast.errors import ExecutorError
from batchfast.fake import FakeServer
from batchfast.handover import handover, made_whole
from tests.helpers import provider, session, spec


def test_folders_are_new_and_go(tmp_path: Path) -> None:
    """Two steps at once do not see each other's files; nothing is left of either."""
    run = tmp_path / "run"
    run.mkdir()
    with handover(run) as one, handover(run) as other:
        assert one is not None
        assert other is not None
        assert one != other
        (one / "0.jsonl").write_bytes(b"{}\n")
        assert list(other.iterdir()) == []
    assert list(run.iterdir()) == []


def test_where_no_folder_can_be_made_there_is_none(tmp_path: Path) -> None:
    """A home that cannot be written: nobody fails for want of help."""
    with handover(tmp_path / "absent") as folder:
        assert folder is None


def test_what_is_made_a_second_time_disturbs_no_reader(tmp_path: Path) -> None:
    """A cluster that took a worker for lost runs its task again: the file is whole before, meanwhile and after."""
    path = tmp_path / "outcomes"
    with made_whole(path) as part:
        part.write_bytes(b"all of it")
    with path.open("rb") as reader:
        with pytest.raises(OSError, match="the second worker is lost too"), made_whole(path) as part:
            part.write_bytes(b"all")
            raise OSError("the second worker is lost too")
        assert path.read_bytes() == b"all of it"
        with made_whole(path) as part:
            part.write_bytes(b"all of it")
        assert reader.read() == b"all of it"


def test_a_worker_that_does_not_see_the_folder_says_so(tmp_path: Path) -> None:
    """Its name is new each time, so that another folder under the same path is not taken for it."""
    folder = tmp_path / "elsewhere" / ".handover-1"
    with pytest.raises(ExecutorError, match=r"does not see .*elsewhere: share this folder"), made_whole(folder / "0"):
        pass


def test_what_a_killed_process_left_goes_with_the_next(fake: FakeServer, tmp_path: Path) -> None:
    """Whoever holds the run is alone with it."""
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(provider("openai")), fake=True)
        folder = home.home.run(run.id)
        left = folder / ".handover-killed"
        left.mkdir()
        (left / "3.jsonl").write_bytes(b"{")
        with home.work(run) as engine:
            assert engine.drive().settled
        assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []
