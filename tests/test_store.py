"""The database: what it refuses to open, and that a change happens whole or not at all."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
import sqlite_utils

from batchfast.clock import SystemClock
from batchfast.errors import RunBusy, StoreError
from batchfast.fake import FakeServer
from batchfast.home import Home, find_home, home_for, refuse_network_filesystem, stem_of
from batchfast.lock import run_lock
from batchfast.store import SCHEMA_VERSION, RequestRow, Store, Tally
from batchfast.store.migrations import migrations
from batchfast.store.outcomes_file import write_outcomes
from tests.helpers import session, spec


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    """A home made by a newer batchfast is not touched."""
    path = tmp_path / "state.db"
    Store(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreError, match=r"newer batchfast \(schema 99.*pip install -U"):
        Store(path)


def test_a_corrupt_database_is_one_clear_line(tmp_path: Path) -> None:
    """Not a database: the message says so and what to do; the file is left as it was."""
    path = tmp_path / "state.db"
    path.write_bytes(b"this is no database, " * 100)
    with pytest.raises(StoreError, match=r"cannot be read .*restore it from a backup, or move the whole folder"):
        Store(path)
    assert path.read_bytes().startswith(b"this is no")


def test_a_database_that_is_not_there_is_not_made_by_looking(tmp_path: Path) -> None:
    """`status` in an empty folder creates nothing."""
    with pytest.raises(StoreError, match=r"no home at .*--home"):
        Store(tmp_path / "state.db", create=False)
    assert list(tmp_path.glob("state*")) == []


def test_opening_twice_migrates_once_and_keeps_the_nonce(tmp_path: Path) -> None:
    """The nonce is the home's for good; the tables are there for sqlite-utils."""
    path = tmp_path / "state.db"
    nonces = []
    for _ in range(2):
        with Store(path) as store:
            nonces.append(store.nonce())
            assert store.connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert nonces[0] == nonces[1]
    assert len(nonces[0]) == 8
    database = sqlite_utils.Database(path)
    assert {"home", "runs", "shards", "batches", "requests", "events", "outputs"} <= set(database.table_names())
    database.conn.close()


def test_an_outcome_takes_at_most_150_bytes(fake: FakeServer, tmp_path: Path) -> None:
    """A million requests make a ledger of 150 MB at most, in whatever order their results came."""
    count = 3000
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(topics=count, num_samples_per_prompt=1), fake=True)
        row = home.store.shards(run.no)[0]
        said = ("stop", "claude-sonnet-4-5-20250929", 2219, 1293, 1024, 512, 777, 0.0123456)
        places = [index * 1709 % count for index in range(count)]
        results = [
            RequestRow(
                run.no, index, 1, row.id, 1, "succeeded", 1, *said, None, None, None, "output", at * 100_000, 2600
            )
            for at, index in enumerate(places)
        ]
        before = used_bytes(home.store)
        assert home.store.end_shard(row, "ended", results, Tally(succeeded=count, rows=count))
        assert (used_bytes(home.store) - before) / count <= 150
        assert [index for index, *_ in home.store.answers(run.no)] == list(range(count))


def used_bytes(store: Store) -> int:
    (pages,), (size,) = (store.connection.execute(f"PRAGMA {of}").fetchone() for of in ("page_count", "page_size"))
    return int(pages) * int(size)


def test_outcomes_that_do_not_cover_a_shard_are_not_entered(fake: FakeServer, tmp_path: Path) -> None:
    """The ledger adds up or nothing happens."""
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(), fake=True)
        row = home.store.shards(run.no)[0]
        one = RequestRow(run.no, 0, 1, row.id, 1, "succeeded", 1)
        with pytest.raises(StoreError, match="1 outcomes, 1 counted, for 3 requests"):
            home.store.end_shard(row, "ended", [one], Tally(succeeded=1))
        assert home.store.attempts(run.no, 0) == []
        assert home.store.shards(run.no)[0] == row
        assert home.store.ledger(run).adds_up()


def test_a_file_of_outcomes_that_lacks_some_is_not_entered(fake: FakeServer, tmp_path: Path) -> None:
    """Whatever was counted when it was written: an answer that was paid for must be there to be read again."""
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(), fake=True)
        row = home.store.shards(run.no)[0]
        file = tmp_path / "outcomes"
        write_outcomes(file, [RequestRow(run.no, index, 1, row.id, 1, "succeeded", 1) for index in (0, 2)])
        with pytest.raises(StoreError, match="2 outcomes, 3 counted, for 3 requests; nothing was entered"):
            home.store.end_shard(row, "ended", [], Tally(succeeded=3), outcomes=file)
        assert home.store.attempts(run.no, 0) == []
        assert home.store.shards(run.no)[0] == row


def test_a_home_is_private_and_invisible_to_git(tmp_path: Path) -> None:
    """Mode 700, with a .gitignore of *; found from any folder below."""
    home = Home(tmp_path / ".batchfast").make()
    assert home.path.stat().st_mode & 0o777 == 0o700
    assert (home.path / ".gitignore").read_text() == "*\n"
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert find_home(below) == home
    assert home_for(below) == home


def test_a_home_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    """A file stands in its way."""
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"cannot write the home .*--home"):
        Home(tmp_path / "file" / ".batchfast").make()


@pytest.mark.parametrize(("kind", "refused"), [("nfs4", True), ("cifs", True), ("ext4", False)])
def test_network_filesystems_are_refused(tmp_path: Path, kind: str, refused: bool) -> None:
    """The longest mount point decides; spaces in it are escaped."""
    folder = tmp_path / "a folder"
    folder.mkdir()
    mounts = tmp_path / "mounts"
    escaped = str(folder.resolve()).replace(" ", r"\040")
    mounts.write_text(f"/dev/sda / ext4 rw 0 0\nserver:/x {escaped} {kind} rw 0 0\n")
    if refused:
        with pytest.raises(StoreError, match=rf"network filesystem \({kind}\).*--home"):
            refuse_network_filesystem(folder / "home", mounts)
    else:
        refuse_network_filesystem(folder / "home", mounts)


@pytest.mark.parametrize("model", ["../../etc/passwd", "a/b:c", "..", "", "x" * 300, "models/gemini", "\u202eevil"])
def test_no_model_name_leaves_the_folder(tmp_path: Path, model: str) -> None:
    """A stem is one plain file name, whatever the model is called."""
    stem = stem_of(0, "openai", model, 0, 1)
    assert (tmp_path / stem).parent == tmp_path
    assert stem.startswith("0-openai-")
    assert stem.isascii()
    assert len(stem) < 200


def test_a_run_has_one_holder_at_a_time(tmp_path: Path) -> None:
    """The second one is told who holds it; afterwards it is free again."""
    home = Home(tmp_path / ".batchfast").make()
    busy = pytest.raises(RunBusy, match=r"process \d+ on .* since \d{4}-")
    with run_lock(home, "run", SystemClock()), busy, run_lock(home, "run", SystemClock()):
        pass
    with run_lock(home, "run", SystemClock()):
        pass


def test_a_home_of_the_first_tables_is_brought_up_to_date(tmp_path: Path) -> None:
    """What was entered before stays, and the new columns have their defaults."""
    path = tmp_path / "state.db"
    database = sqlite_utils.Database(path)
    migrations.apply(database, stop_before="m002_room_and_longer_replies")
    shard = {"run_no": 1, "entry": 0, "number": 0, "attempt": 1, "requests": 3}
    database.table("shards").insert(shard)
    database.conn.close()
    spec_file = tmp_path / "runs" / "a1b2" / "spec.json"
    spec_file.parent.mkdir(parents=True)
    spec_file.touch()
    with Store(path) as store:
        (row,) = store.shards(1)
        assert (row.requests, row.doublings, row.refusals, row.largest_bytes) == (3, 0, 0, 0)
        assert store.connection.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION
