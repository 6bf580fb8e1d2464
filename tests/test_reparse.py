"""`collect --reparse`: the dataset out of a run's files alone."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batchfast import answers, outcomes, rows
from batchfast.cli import execute
from batchfast.engine import cancel_run
from batchfast.fake import FakeServer, Fault
from batchfast.home import Home
from batchfast.parse import Reply, parse_reply
from batchfast.records import Result
from batchfast.spec import Conduct
from batchfast.store import RunRow
from tests.helpers import MODELS, powerless, provider, read, session, spec, unwritable

Plan = Callable[..., None]
Bytes = tuple[bytes, bytes | None]


def collected(fake: FakeServer, folder: Path, *models: Any, **settings: Any) -> tuple[RunRow, Path]:
    """Drive a run to its end; it and its dataset."""
    with session(fake, folder) as home:
        wanted = spec(*models, output_file=str(folder / "out.jsonl"), **settings)
        run, _ = home.enter(wanted, fake=True)
        with home.work(run) as engine:
            written = home.settle(engine.ctx, engine.drive())
        assert written is not None
        return home.store.run(run.id), written.path


def both(path: Path) -> Bytes:
    """The bytes of a dataset and of its failures file, None where there is none."""
    failures = path.with_name(f"{path.stem}.failures.jsonl")
    return path.read_bytes(), failures.read_bytes() if failures.exists() else None


def rebuilt(folder: Path, *words: str, code: int = 0) -> Bytes:
    """What `--reparse` writes beside the dataset."""
    out = folder / "again" / "out.jsonl"
    out.parent.mkdir(exist_ok=True)
    line = ["collect", *words, "--reparse", "--force", "-o", str(out), "--home", str(folder / ".batchfast")]
    assert execute(line) == code
    return both(out)


def lose_database(folder: Path) -> None:
    for path in (folder / ".batchfast").glob("state.db*"):
        path.unlink()


def disturbed(fake: FakeServer, plan: Plan, folder: Path, name: str) -> tuple[RunRow, Path]:
    """A run with retries, replies cut short, failures of several kinds, and lines that came twice."""
    plan(
        Fault("error", custom_id=r"-1-1$", status=500),
        Fault("error", custom_id=r"-2-\d$", status=400),
        Fault("truncate", custom_id=r"-3-1$"),
        Fault("truncate", custom_id=r"-4-[123]$"),
        Fault("malform", custom_id=r"-5-\d$"),
        Fault("refuse", custom_id=r"-6-1$"),
        Fault("error", custom_id=r"-7-2$", status=400),
        Fault("truncate", custom_id=r"-7-1$"),
        Fault("duplicate", custom_id=r"-[018]-1$"),
        Fault("shuffle"),
    )
    model = provider(name, max_completion_tokens=9000, max_requests_per_batch=4)
    return collected(fake, folder, model, topics=10, num_samples_per_prompt=12, conduct=Conduct(max_attempts=3))


@pytest.mark.parametrize("name", sorted(MODELS))
@pytest.mark.parametrize("database", ["kept", "lost"])
def test_the_bytes_are_those_that_collect_wrote(
    fake: FakeServer, plan: Plan, tmp_path: Path, name: str, database: str
) -> None:
    """With retries, truncated replies, failures and duplicates, also where the database is gone."""
    _, path = disturbed(fake, plan, tmp_path, name)
    assert len(read(path)) > 60
    if database == "lost":
        lose_database(tmp_path)
    assert rebuilt(tmp_path) == both(path)


def test_several_models_and_a_retry_by_hand_come_out_the_same(fake: FakeServer, plan: Plan, tmp_path: Path) -> None:
    """Entries share the grid, and what a person asked for again counts."""
    plan(Fault("error", custom_id=r"-[14]-1$", status=400))
    models = [provider("openai"), provider("gemini", max_requests_per_batch=2), provider("openai")]
    run, path = collected(fake, tmp_path, *models, topics=3)
    assert both(path)[1]
    with session(fake, tmp_path) as home:
        from batchfast.resend import ask_again

        with home.work(run) as engine:
            assert ask_again(engine.ctx) == 2
            home.settle(engine.ctx, engine.drive())
    lose_database(tmp_path)
    assert both(path)[1] is None
    assert rebuilt(tmp_path) == both(path)


@pytest.mark.parametrize("does", ["expire", "drop", "split"])
def test_requests_without_a_line_keep_the_outcome_that_the_database_knows(
    fake: FakeServer, plan: Plan, tmp_path: Path, does: Any
) -> None:
    """Expired, missing, or in a batch that gave nothing at all; without the database they are missing."""
    if does == "split":
        plan(Fault("expire", nth=1))  # all of a Gemini batch: it ends without results, and goes in two halves
    else:
        plan(Fault(does, custom_id=r"-[12]-\d$"))
    _, path = collected(fake, tmp_path, provider("gemini" if does == "split" else "openai"), topics=4)
    data, failures = both(path)
    assert rebuilt(tmp_path) == (data, failures)
    lose_database(tmp_path)
    again, failures = rebuilt(tmp_path, code=3 if does == "drop" else 0)
    assert again == data
    reasons = [json.loads(line)["reason"] for line in (failures or b"").splitlines()]
    assert reasons == {"expire": ["batch_expired"] * 2, "drop": ["missing"] * 2, "split": []}[does]


def test_what_was_cancelled_before_it_was_sent_stays_cancelled(fake: FakeServer, tmp_path: Path) -> None:
    """No file tells that; the database does, and without it the requests are missing, and maybe open."""
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(topics=2, output_file=str(tmp_path / "out.jsonl")), fake=True)
        cancel_run(home.context(run))
        with home.work(run) as engine:
            written = home.settle(engine.ctx, engine.drive())
    assert written is not None
    assert rebuilt(tmp_path, code=1) == both(written.path)
    lose_database(tmp_path)
    data, failures = rebuilt(tmp_path, code=3)
    assert (data, (failures or b"").count(b'"reason": "missing"')) == (b"", 2)


def test_a_better_parser_makes_rows_of_what_came_before(
    fake: FakeServer, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Replies that nobody could read give rows once somebody can, with the uuids they would have had."""
    _, undisturbed = collected(fake, tmp_path / "undisturbed", topics=4)
    fake.reset()
    plan(Fault("refuse", custom_id=r"-[12]-\d$"))
    _, path = collected(fake, tmp_path, topics=4)
    assert len(read(path)) == 4

    def better(result: Result, num_samples: int) -> Reply:
        reply = parse_reply(result, num_samples)
        return reply if reply.texts else reply._replace(texts=("one", "two"), error=None)

    monkeypatch.setattr(outcomes, "parse_reply", better)
    monkeypatch.setattr(answers, "parse_reply", better)
    monkeypatch.setattr(rows, "parse_reply", better)
    data, failures = rebuilt(tmp_path)
    made = [json.loads(line) for line in data.splitlines()]
    assert failures is None
    assert [row["uuid"] for row in made] == [row["uuid"] for row in read(undisturbed)]
    assert [row["text"] for row in made][2:6] == ["one", "two"] * 2
    for _ in range(2):  # what was written by --reparse is the run's own too
        assert execute(["collect", "--reparse"]) == 0
        assert both(path) == (data, None)
    assert [one.name for one in tmp_path.glob("out*")] == ["out.jsonl"]


def test_nothing_is_compiled_again(fake: FakeServer, plan: Plan, tmp_path: Path) -> None:
    """A line that once held the run, and was asked again, is no reason to do so now."""
    plan(Fault("error", custom_id=r"-1-1$", status=401, nth=1))
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(output_file=str(tmp_path / "out.jsonl")), fake=True)
        with home.work(run) as engine:
            assert engine.drive().held == "bad key"
    run, path = collected(fake, tmp_path)
    folder = tmp_path / ".batchfast" / "runs" / run.id / "requests"
    before = {one: one.stat().st_mtime_ns for one in folder.iterdir()}
    assert len(before) == 2
    assert rebuilt(tmp_path) == both(path)
    assert {one: one.stat().st_mtime_ns for one in folder.iterdir()} == before


def test_an_unfinished_run_gives_what_there_is_and_exits_3(
    fake: FakeServer, plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """How many requests are open is said; they are neither rows nor failures, unless no database knows better."""
    plan(Fault("stick", nth=2), Fault("error", custom_id=r"-1-1$", status=500))
    with session(fake, tmp_path) as home:
        wanted = spec(provider(max_requests_per_batch=2), topics=4, output_file=str(tmp_path / "out.jsonl"))
        run, _ = home.enter(wanted, fake=True)
        with home.work(run) as engine:
            engine.one_pass(everything=True)
            assert engine.one_pass(sends=False, everything=True).ledger.in_flight == 2
    for expected in (None, 3):
        data, failures = rebuilt(tmp_path, code=3)
        assert "3 of 4 requests are still open" in capsys.readouterr().err
        assert [json.loads(line)["metadata"]["request_index"] for line in data.splitlines()] == [0, 0]
        assert failures is None if expected is None else len((failures or b"").splitlines()) == expected
        lose_database(tmp_path)
    fake.finish_all()


def test_files_count_where_the_database_is_an_older_copy(fake: FakeServer, tmp_path: Path) -> None:
    """Its shards still run there, and the results are on disk: they give rows, and it is said that they are open."""
    _, path = collected(fake, tmp_path, topics=3)
    with session(fake, tmp_path) as home:
        home.store.connection.execute("UPDATE shards SET state = 'running'")
        home.store.connection.execute("DELETE FROM requests")
    assert rebuilt(tmp_path, code=3) == both(path)


def test_a_request_file_of_a_shard_that_was_never_entered_is_left_out(fake: FakeServer, tmp_path: Path) -> None:
    """A crash can leave one behind; the database knows no such shard, and nothing came back for it."""
    run, path = collected(fake, tmp_path, topics=3)
    folder = tmp_path / ".batchfast" / "runs" / run.id / "requests"
    (sent,) = folder.iterdir()
    data = sent.read_bytes().replace(b"-1-1", b"-1-2").splitlines(keepends=True)
    (folder / sent.name.replace("-0-1.jsonl", "-0-2.jsonl")).write_bytes(data[1])
    assert rebuilt(tmp_path) == both(path)


def test_ids_of_others_and_files_of_others_are_ignored(
    fake: FakeServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A foreign line in a result file, and a file that no shard has the name of."""
    run, path = collected(fake, tmp_path, topics=3)
    folder = tmp_path / ".batchfast" / "runs" / run.id
    (results,) = (folder / "results").iterdir()
    lines = results.read_bytes()
    results.write_bytes(lines.splitlines(keepends=True)[0].replace(run.id.encode(), b"another") + lines)
    (folder / "requests" / "0-notes.jsonl").write_text("{}\n")
    assert rebuilt(tmp_path) == both(path)
    assert "1 result lines with a foreign custom_id were ignored" in caplog.text
    assert "0-notes.jsonl is none of its request files; ignored" in caplog.text


# -- where it writes


def test_the_dataset_is_replaced_only_where_it_is_the_runs_own(
    fake: FakeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By hash in the database, as `collect` does; otherwise the rows go beside it, unless forced."""
    run, path = collected(fake, tmp_path, topics=2)
    data = path.read_bytes()
    words = ["collect", "--reparse", "--home", str(tmp_path / ".batchfast")]
    assert execute(words) == 0
    assert capsys.readouterr().out.strip() == str(path)
    path.write_bytes(data + b"{}\n")
    assert execute(words) == 0
    other = tmp_path / f"out.{run.id}.jsonl"
    assert capsys.readouterr().out.strip() == str(other)
    assert (other.read_bytes(), path.read_bytes()) == (data, data + b"{}\n")
    assert execute([*words, "--force"]) == 0
    assert path.read_bytes() == data
    path.unlink()
    assert execute(words) == 0  # what --reparse wrote beside it is known as the run's own
    assert path.read_bytes() == data


def test_without_a_database_the_run_is_a_folder_and_the_output_must_be_said(
    fake: FakeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its name may be shortened or left out where that is plain."""
    first, path = collected(fake, tmp_path, topics=2)
    lose_database(tmp_path)
    assert execute(["collect", "--reparse"]) == 2
    assert "say where to write, with -o FILE" in capsys.readouterr().err
    assert execute(["collect", first.id[:8], "--reparse", "-o", "again.jsonl"]) == 0
    assert Path("again.jsonl").read_bytes() == path.read_bytes()
    assert execute(["collect", "nosuch", "--reparse", "-o", "again.jsonl"]) == 1
    assert f"no run nosuch in {tmp_path / '.batchfast' / 'runs'}: say which of {first.id}" in capsys.readouterr().err
    assert not (tmp_path / ".batchfast" / "state.db").exists()


@pytest.mark.parametrize("damage", ["no database", "a page", "another home's"])
def test_a_damaged_database_does_not_stand_in_the_way(
    fake: FakeServer, tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not a database at all, a broken page in it, or one that knows no such run."""
    run, path = collected(fake, tmp_path, topics=40)
    database = tmp_path / ".batchfast" / "state.db"
    if damage == "a page":
        with sqlite3.connect(database) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            page = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'requests'").fetchone()[0]
            size = connection.execute("PRAGMA page_size").fetchone()[0]
        connection.close()
        with database.open("r+b") as file:
            file.seek((page - 1) * size)
            file.write(b"\xff" * size)
    elif damage == "no database":
        lose_database(tmp_path)
        database.write_bytes(b"nonsense" * 1000)
    else:
        lose_database(tmp_path)
        with session(fake, tmp_path / "other"):
            pass
        (tmp_path / "other" / ".batchfast" / "state.db").rename(database)
    assert rebuilt(tmp_path, run.id) == both(path)
    assert "alone" in capsys.readouterr().err


def test_a_request_file_that_was_changed_is_named(
    fake: FakeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was asked is not guessed."""
    run, _ = collected(fake, tmp_path, topics=2)
    (sent,) = (tmp_path / ".batchfast" / "runs" / run.id / "requests").iterdir()
    original = sent.read_bytes()
    for data in (b"nonsense\n", original.replace(b"-0-1", b"-0-7"), original.replace(run.id.encode(), b"x" * 12)):
        sent.write_bytes(data)
        assert execute(["collect", "--reparse"]) == 1
        assert f"{sent} is not as it was sent; restore it from a backup" in capsys.readouterr().err
    sent.unlink()
    assert execute(["collect", "--reparse"]) == 1
    assert "none of its request files is there" in capsys.readouterr().err


def test_it_needs_neither_key_nor_network_nor_sdk(fake: FakeServer, tmp_path: Path) -> None:
    """A process that could reach nothing, and that loads no SDK and no fake, writes the same bytes."""
    run, path = collected(fake, tmp_path, *(provider(name) for name in sorted(MODELS)), topics=2)
    calls = len(fake.calls)
    program = (
        "import sys, socket\n"
        "def refuse(*_): raise AssertionError('network')\n"
        "socket.socket.connect = refuse\n"
        "from batchfast.cli import execute\n"
        "code = execute(['--json', 'collect', '--reparse', '-o', 'again.jsonl'])\n"
        "heavy = {'openai', 'anthropic', 'google.genai', 'batchfast.fake'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else code)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    again = tmp_path / "again.jsonl"
    assert json.loads(done.stdout) == {
        "run": run.id, "fake": True, "requests": 6, "rows": 12, "failed": 0, "open": 0,
        "output_file": str(again), "failures_file": None,
    }  # fmt: skip
    assert again.read_bytes() == path.read_bytes()
    assert len(fake.calls) == calls


def test_nothing_of_the_home_is_changed(fake: FakeServer, plan: Plan, tmp_path: Path) -> None:
    """Neither its files nor its tables, but for the hash of what was written; and no temporary file stays."""
    run, _ = disturbed(fake, plan, tmp_path, "openai")
    home = Home(tmp_path / ".batchfast")

    def seen() -> tuple[dict[str, bytes], list[str]]:
        with sqlite3.connect(home.database) as connection:
            tables = [line for line in connection.iterdump() if '"outputs"' not in line]
        connection.close()
        return {str(path): path.read_bytes() for path in home.run(run.id).rglob("*.*")}, tables

    before, leftovers = seen(), set(tmp_path.iterdir())
    rebuilt(tmp_path)
    assert seen() == before
    assert set(tmp_path.iterdir()) - leftovers == {tmp_path / "again"}


def test_partial_does_not_go_with_it() -> None:
    """It writes what there is anyway."""
    assert execute(["collect", "--reparse", "--partial"]) == 2


@pytest.mark.parametrize("lost", ["gone", "short", "request"])
def test_a_dataset_is_not_replaced_by_a_smaller_one(
    fake: FakeServer, plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str], lost: str
) -> None:
    """A file that the database knows is missing: said, the dataset stays; what is left goes elsewhere, exit 3."""
    plan(Fault("error", custom_id="-0-1$", status=500))
    out = tmp_path / "out.jsonl"
    with session(fake, tmp_path) as home:
        model = provider(max_requests_per_batch=2)
        run, _ = home.enter(spec(model, topics=4, output_file=str(out)), fake=True)
        with home.work(run) as engine:
            assert home.settle(engine.ctx, engine.drive())
        folder = home.home.run(run.id)
    before = out.read_bytes()
    again = next((folder / "requests").glob("*-2.jsonl"))
    if lost == "request":
        again.unlink()
    elif lost == "gone":
        (folder / "results" / f"{again.stem}.output.jsonl").unlink()
    else:
        with (folder / "results" / f"{again.stem}.output.jsonl").open("r+b") as file:
            file.truncate(100)
    assert execute(["collect", "--reparse"]) == 1
    assert f"{out} was left as it is" in capsys.readouterr().err
    assert out.read_bytes() == before
    assert execute(["collect", "--reparse", "-o", "left.jsonl"]) == 3
    assert "lost: " in capsys.readouterr().err
    assert out.read_bytes() == before
    assert len((tmp_path / "left.jsonl").read_bytes().splitlines()) == 6


def test_without_a_database_the_same_line_gives_the_same_file(
    fake: FakeServer, plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What stands there already with the same rows is the same dataset, its failures file included."""
    plan(Fault("refuse", custom_id="-0-1$"))
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(output_file=str(tmp_path / "out.jsonl")), fake=True)
        with home.work(run) as engine:
            assert home.settle(engine.ctx, engine.drive())
    for file in (tmp_path / ".batchfast").glob("state.db*"):
        file.unlink()
    for _ in range(3):
        assert execute(["collect", "--reparse", "-o", "again.jsonl"]) == 0
        assert capsys.readouterr().out.strip() == str(tmp_path / "again.jsonl")
    assert execute(["doctor", "--fake"]) == 0
    assert "is lost, and with it what is known of" in capsys.readouterr().out
    assert execute(["status"]) == 1
    assert "collect RUN --reparse -o FILE" in capsys.readouterr().err


def test_a_copy_of_the_dataset_is_not_replaced_by_a_smaller_one_either(
    fake: FakeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Under whatever name it stands: only --force, or a new file, takes less than what once was there."""
    run, path = collected(fake, tmp_path, provider(max_requests_per_batch=2), topics=4)
    before = path.read_bytes()
    copy, link = tmp_path / "copy.jsonl", tmp_path / "link.jsonl"
    assert execute(["collect", "--reparse", "-o", str(copy)]) == 0
    link.symlink_to(path)
    next((tmp_path / ".batchfast" / "runs" / run.id / "results").iterdir()).unlink()
    for target in (path, copy, link):
        assert execute(["collect", "--reparse", "-o", str(target)]) == 1
        assert f"{target} was left as it is" in capsys.readouterr().err
        assert target.read_bytes() == before
    assert execute(["collect", "--reparse", "-o", str(copy), "--force"]) == 3
    assert len(copy.read_bytes().splitlines()) == 4


def test_without_a_database_another_failures_file_is_left_alone(
    fake: FakeServer, plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The rows are the same, but the reasons beside them were better known then: both go beside, time and again."""
    plan(Fault("drop", custom_id="-0-1$"))
    run, path = collected(fake, tmp_path, topics=3, conduct=Conduct(max_attempts=1))
    failures = path.with_name("out.failures.jsonl")
    failures.write_bytes(failures.read_bytes() + b'{"reason": "a note by hand"}\n')
    data = both(path)
    lose_database(tmp_path)
    other = tmp_path / f"out.{run.id}.jsonl"
    for _ in range(2):
        execute(["collect", "--reparse", "-o", str(path)])
        assert capsys.readouterr().out.strip() == str(other)
        assert (both(path), other.read_bytes()) == (data, data[0])


@pytest.mark.parametrize("database", ["closed", "lost", "read-only"])
def test_a_home_that_cannot_be_written_still_gives_its_dataset(fake: FakeServer, tmp_path: Path, database: str) -> None:
    """Its files are read as they are, without its lock; nothing is written but what was asked for."""
    _, path = collected(fake, tmp_path, topics=2)
    home = tmp_path / ".batchfast"
    if database == "lost":
        lose_database(tmp_path)
    else:
        (home / "state.db").chmod(0o400 if database == "read-only" else 0)
    for lock in (home / "runs").glob("*.lock"):
        lock.unlink()
    with unwritable(home / "runs"):
        again = tmp_path / "again.jsonl"
        done = powerless(tmp_path, "collect", "--reparse", "-o", str(again))
    assert done.returncode == 0, done.stderr
    assert "cannot be written: its files are read as they are, without its lock" in done.stderr
    assert again.read_bytes() == path.read_bytes()
