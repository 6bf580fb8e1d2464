"""Until when results must be collected, said in time; and nothing that makes it sooner than it need be."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batchfast.cli import execute
from batchfast.clock import iso, seconds_of
from batchfast.deadlines import deadline_line, hours_left, is_loud
from batchfast.fake import FakeServer, Fault
from batchfast.live import LiveView
from batchfast.llms import OpenAIProvider, Provider
from batchfast.records import BatchSnapshot
from batchfast.status import run_status
from batchfast.store import RunRow
from tests.helpers import FakeClock, provider, session, spec

HOUR, DAY = 3_600.0, 86_400.0
PROVIDERS = ["anthropic", "gemini", "openai"]
Plan = Callable[..., None]


def after(moment: str | None, since: str | None) -> float:
    """Hours between two times."""
    assert moment is not None
    assert since is not None
    return (seconds_of(moment) - seconds_of(since)) / HOUR


def sent_to(server: FakeServer, name: str, folder: Path, **settings: Any) -> tuple[Provider, str, str | None]:
    """A provider, a batch that it runs, and the file it runs from."""
    one = provider(name, api_key="any-key-will-do", base_url=server.base_urls[name], **settings)
    with session(server, folder) as home:
        run, _ = home.enter(spec(one), fake=False)
        with home.work(run, [one]) as engine:
            row = home.store.shards(run.no)[0]
            file_id = one.upload(engine.ctx.shard(row))
            return one, one.create(engine.ctx.shard(row), file_id), file_id


def test_gemini_results_go_48_hours_after_the_end(server: FakeServer, tmp_path: Path) -> None:
    """Before it has ended, 48 hours after its creation: the earliest that can be."""
    one, remote_id, _ = sent_to(server, "gemini", tmp_path)
    running = one.poll(remote_id)
    assert round(after(running.collect_by, running.created_at), 3) == 48
    server.advance(minutes=10)
    server.finish(remote_id)
    ended = one.poll(remote_id)
    assert after(ended.ended_at, ended.created_at) > 0.1
    assert round(after(ended.collect_by, ended.ended_at), 3) == 48


def test_anthropic_results_go_29_days_after_the_creation(server: FakeServer, tmp_path: Path) -> None:
    """Whenever it ends."""
    one, remote_id, _ = sent_to(server, "anthropic", tmp_path)
    for _ in range(2):
        snapshot = one.poll(remote_id)
        assert round(after(snapshot.collect_by, snapshot.created_at), 3) == 29 * 24
        server.advance(minutes=10)
        server.finish(remote_id)


def test_nothing_sent_makes_files_expire_sooner(server: FakeServer, tmp_path: Path) -> None:
    """OpenAI keeps the input for 30 days and the output until it is deleted; where nothing expires there is no time."""
    one, remote_id, file_id = sent_to(server, "openai", tmp_path)
    server.finish(remote_id)
    snapshot = one.poll(remote_id)
    files = one._sdk().files  # noqa: SLF001
    given = files.retrieve(file_id)
    assert given.expires_at - given.created_at >= 30 * DAY
    assert [files.retrieve(file.ref).expires_at for file in snapshot.files] == [None]
    assert snapshot.collect_by is None


@pytest.mark.parametrize(
    ("hours", "loud", "words"),
    [
        (12.0, False, "collect by: T"),
        (11.9, True, "collect within 12 h"),
        (10.6, True, "collect within 11 h"),
        (0.0, True, "collect within 0 min"),
        (-3.0, True, "should have been collected by T"),
    ],
)
def test_less_than_twelve_hours_are_loud(hours: float, loud: bool, words: str) -> None:
    """From then on the line begins with `!!`, and says what is lost."""
    line = deadline_line("T", hours)
    assert line is not None
    assert (is_loud(line), words in line) == (loud, True)


def test_no_deadline_is_no_line() -> None:
    """Null stays null."""
    assert hours_left(None, 0.0) is None
    assert deadline_line(None, None) is None


def running(fake: FakeServer, folder: Path, name: str) -> RunRow:
    """A run whose batch runs, as of now."""
    with session(fake, folder) as home:
        run, _ = home.enter(spec(provider(name)), fake=True)
        with home.work(run) as engine:
            engine.send_all()
    return run


@pytest.mark.parametrize(("left_h", "loud"), [(20, False), (7, True)])
def test_every_view_shows_the_earliest_deadline(
    server: FakeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], left_h: int, loud: bool
) -> None:
    """`status`, of one run and of all, and --json: quietly in time, loudly when late; no colour but on a terminal."""
    run = running(server, tmp_path, "gemini")
    with session(server, tmp_path) as home:
        other, _ = home.enter(spec(provider("openai"), topics=1, output_file="b.jsonl"), fake=True)
        by = iso(time.time() + left_h * HOUR + 60)
        home.store.connection.execute("UPDATE batches SET collect_by = ?", (by,))
    assert execute(["status", run.id]) == 0
    assert (("!! collect within 7 h" if loud else "collect by:") in capsys.readouterr().out) is True
    assert execute(["status"]) == 0
    table = capsys.readouterr().out
    assert (by[:16] in table, "!! " in table, "\x1b" in table) == (True, loud, False)
    assert execute(["status", run.id, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["collect_by"], round(shown["collect_within_h"])) == (by, left_h)
    assert execute(["status", other.id, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["collect_within_h"] is None


@pytest.mark.parametrize(("left_h", "loud"), [(20, False), (7, True)])
def test_the_live_display_says_it_aloud(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    left_h: int, loud: bool,
) -> None:  # fmt: skip
    """Who watches sees it too, as long as it is so."""
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "120")
    run = running(server, tmp_path, "gemini")
    with session(server, tmp_path) as home:
        by = iso(time.time() + left_h * HOUR + 60)
        with home.work(run) as engine, LiveView(home.store, run, list) as view:
            progress = engine.one_pass(sends=False)
            home.store.connection.execute("UPDATE batches SET collect_by = ?", (by,))
            view(progress)
    shown = capsys.readouterr().err
    assert ("Ctrl-C stops watching" in shown, "!! collect within 7 h" in shown) == (True, loud)


def test_collect_says_aloud_that_time_runs_out(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A batch that was made 41 hours ago and still runs: exit code 3, and what is at stake on stderr."""
    monkeypatch.setenv("GEMINI_API_KEY", "any-key-will-do")
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", server.base_urls["gemini"])
    (tmp_path / "spec.toml").write_text(
        '[dataset]\ndocument_types = ["essay"]\ntopics = ["a"]\noutput_file = "o.jsonl"\n'
        '[[providers]]\nprovider = "gemini"\nmodel_id = "gemini-2.5-flash"\n'
    )
    server.plan(Fault("stick"))
    assert execute(["submit", "spec.toml"]) == 0
    assert "collect by: " in capsys.readouterr().err
    monkeypatch.setattr("batchfast.clock.SystemClock.now", lambda _: time.time() + 41 * HOUR)
    assert execute(["collect"]) == 3
    assert "!! collect within 7 h" in capsys.readouterr().err


def test_a_known_deadline_outlives_a_look_that_does_not_tell_it(server: FakeServer, tmp_path: Path) -> None:
    """OpenAI tells it per file: where that question fails the batch's end is known all the same, the time stays."""
    with session(server, tmp_path) as home:
        run, _ = home.enter(spec(provider("openai")), fake=True)
        with home.work(run) as engine:
            engine.send_all()
        batch = next(iter(home.store.batches(run.no).values()))
        known = BatchSnapshot(batch.remote_id, "completed", "completed", collect_by="2026-12-01T00:00:00.000Z")
        home.store.record_poll(batch.id, known, "2026-11-30T00:00:00.000Z")
        home.store.record_poll(
            batch.id, BatchSnapshot(batch.remote_id, None, "in_progress"), "2026-11-30T00:01:00.000Z"
        )
        assert next(iter(home.store.batches(run.no).values())).collect_by == "2026-12-01T00:00:00.000Z"


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_failed_poll_changes_only_the_count_of_failures(server: FakeServer, tmp_path: Path, name: str) -> None:
    """State, counts, times and deadline stand as the last answer left them."""
    with session(server, tmp_path) as home:
        run, _ = home.enter(spec(provider(name)), fake=True)
        with home.work(run) as engine:
            engine.send_all()
            (before,) = home.store.batches(run.no).values()
            for fault in (
                Fault("status", route="poll", status=500), Fault("lose", route="poll"), Fault("cut", route="poll"),
                Fault("status", route="poll", status=404), Fault("status", route="poll", status=200, body="<html>"),
            ):  # fmt: skip
                server.plan(fault)
                engine.one_pass(everything=True)
                assert server.fired(fault)
                server.unplan(fault)
            (now,) = home.store.batches(run.no).values()
            assert [row.state for row in home.store.shards(run.no)] == ["running"]
    for field in ("remote_id", "remote_state", "counts", "created_at", "ended_at", "collect_by"):
        assert getattr(now, field) == getattr(before, field)
    assert (before.failures, now.failures) == (0, 5)


def test_an_unknown_state_runs_on_and_is_said_once(
    fake: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once for each word, however often it comes back."""
    words = iter(["dreaming", "dreaming", "in_progress", "dreaming", "asleep", "asleep"])
    monkeypatch.setattr(
        OpenAIProvider, "poll", lambda _, remote_id: BatchSnapshot(remote_id, None, word := next(words),
                                                                   known_state=word == "in_progress")
    )  # fmt: skip
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(), fake=True)
        with home.work(run) as engine:
            engine.send_all()
            for _ in range(5):
                assert engine.one_pass(everything=True).running == 1
        said = [row["message"] for row in home.store.events(run.no) if row["kind"] == "warning"]
    assert [("dreaming" in text, "asleep" in text) for text in said] == [(True, False), (False, True)]
    assert all("taken as still running" in text for text in said)


@pytest.mark.parametrize(("name", "days"), [("openai", 2), ("anthropic", 2), ("gemini", 3)])
@pytest.mark.parametrize("answers", [True, False])
def test_a_batch_older_than_its_window_and_a_day_is_pointed_out_once(
    server: FakeServer, tmp_path: Path, name: str, days: int, answers: bool
) -> None:
    """One event, and `overdue` in the status; also where the provider does not even answer any more."""
    with session(server, tmp_path, FakeClock(server)) as home:
        run, _ = home.enter(spec(provider(name)), fake=True)
        with home.work(run) as engine:
            engine.send_all()
            if not answers:
                server.plan(Fault("status", route="poll", status=500))
            clock: Any = home.clock
            for late, expected in ((days * DAY - HOUR, False), (2 * HOUR, True), (DAY, True)):
                clock.time += late  # ours alone: the service has stopped
                engine.one_pass(everything=True)
                status = run_status(home.store, run, clock.now())
                assert [batch["overdue"] for batch in status["batches"]] == [expected]
        said = [row for row in home.store.events(run.no) if "should have ended it" in row["message"]]
    assert [(row["kind"], name in row["message"]) for row in said] == [("warning", True)]
