"""`doctor`: what is wrong or soon will be, said plainly; and nothing is changed by asking."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from batchfast.cli import execute
from batchfast.context import Context
from batchfast.doctor import doctor, leftovers
from batchfast.fake import FakeServer, Fault
from batchfast.home import Home
from batchfast.session import Session
from batchfast.store import RunRow
from tests.helpers import MODELS, FakeClock, powerless, provider, session, spec

Plan = Callable[..., None]
ALL = sorted(MODELS)
CANARY = "sk-canary-0123456789abcdef"


def examine(fake: FakeServer, folder: Path, clock: FakeClock | None = None, **options: Any) -> list[tuple[str, ...]]:
    """`(check, level, message, advice)` of every finding; asking is all that was done at the providers."""
    fake.calls.clear()
    report = doctor(Home(folder / ".batchfast"), clock=clock or FakeClock(fake), fake_server=fake, **options)
    assert {call.method for call in fake.calls} <= {"GET"}
    found = [
        tuple(str(one[key] or "") for key in ("check", "level", "message", "advice")) for one in report["findings"]
    ]
    levels = [one[1] for one in found]
    assert (report["errors"], report["warnings"]) == (levels.count("error"), levels.count("warning"))
    return found


def bad(findings: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    return [one for one in findings if one[1] in ("warning", "error")]


def settle(home: Session, run: RunRow) -> RunRow:
    with home.work(run) as engine:
        assert home.settle(engine.ctx, engine.drive()) is not None
    return home.store.run(run.id)


def submit(home: Session, *names: str) -> RunRow:
    run, _ = home.enter(spec(*map(provider, names)), fake=True)
    with home.work(run) as engine:
        engine.send_all()
    return home.store.run(run.id)


def second_batch(ctx: Context, label: str | None = None) -> str:
    """A batch with this home's mark that no shard owns."""
    row = ctx.store.shards(ctx.run.no)[0]
    shard = ctx.shard(row)
    return ctx.provider(row).create(replace(shard, label=label or shard.label), row.file_id)


# keys and endpoints


def test_without_a_home_and_without_keys(fake: FakeServer, tmp_path: Path) -> None:
    """It says so; nothing is made, nobody is asked."""
    before = sorted(tmp_path.iterdir())
    findings = examine(fake, tmp_path)
    assert [one[1] for one in findings] == ["note"] * 5
    assert "openai: no key (OPENAI_API_KEY)" in findings[0][2]
    assert "gemini: no key (GEMINI_API_KEY or GOOGLE_API_KEY)" in findings[2][2]
    assert "there is no home at" in findings[4][2]
    assert (sorted(tmp_path.iterdir()), fake.calls) == (before, [])


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("place", ["the environment", ".env"])
def test_a_key_is_found_and_never_shown(
    fake: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, place: str
) -> None:
    """Which variable, and where; one listing tells whether the endpoint answers."""
    account = provider(name)
    variable = account.key_variables[0]
    monkeypatch.setenv(account.url_variable, fake.base_urls[name])
    if place == ".env":
        (tmp_path / ".env").write_text(f"{variable}={CANARY}\n")
    else:
        monkeypatch.setenv(variable, CANARY)
    findings = examine(fake, tmp_path)
    assert CANARY not in str(findings)
    (found,) = [one for one in findings if one[2].startswith(name)]
    where = place if place != ".env" else str(tmp_path / ".env")
    assert found[1:3] == ("ok", f"{name}: {fake.base_urls[name]} answers; key: {variable} in {where}")
    assert len(fake.calls) == 1


@pytest.mark.parametrize("name", ALL)
def test_a_key_that_is_refused_is_an_error(
    fake: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """In one line, without the key, with what to do."""
    account = provider(name)
    monkeypatch.setenv(account.url_variable, fake.base_urls[name])
    monkeypatch.setenv(account.key_variables[0], f"bad-{CANARY}")
    ((_, level, message, advice),) = bad(examine(fake, tmp_path))
    assert (level, advice) == ("error", "get a new key from the provider, and put it there")
    assert CANARY not in message and "\n" not in message


def test_an_endpoint_out_of_reach_and_a_run_without_its_key(
    fake: FakeServer, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Worse where a run has something there; the fake alone is asked with `only_fake`."""
    plan(Fault("lose", provider="openai", route="list", nth=(1, 3)))
    monkeypatch.setenv("OPENAI_BASE_URL", fake.base_urls["openai"])
    monkeypatch.setenv("OPENAI_API_KEY", "any")
    assert [one[1] for one in bad(examine(fake, tmp_path))] == ["warning"]
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(provider("openai")), fake=False)
        with home.work(run) as engine:
            engine.ctx.provider(home.store.shards(run.no)[0]).newest()
    assert [one[1] for one in bad(examine(fake, tmp_path))] == ["error"]
    monkeypatch.delenv("OPENAI_API_KEY")
    ((_, level, message, _),) = bad(examine(fake, tmp_path))
    assert (level, message) == ("error", f"openai: no key, but run {run.id} has something there")
    assert bad(examine(fake, tmp_path, only_fake=True)) == []
    assert fake.calls == []


def test_a_settled_run_needs_no_key_and_an_old_one_asks_nobody(
    fake: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has nothing to send or to collect any more is no reason for alarm."""
    monkeypatch.setenv("OPENAI_BASE_URL", fake.base_urls["openai"])
    monkeypatch.setenv("OPENAI_API_KEY", "any")
    clock = FakeClock(fake)
    with session(fake, tmp_path, clock) as home:
        settle(home, home.enter(spec(provider("openai")), fake=False)[0])
        settle(home, submit(home, "gemini"))
    monkeypatch.delenv("OPENAI_API_KEY")
    findings = examine(fake, tmp_path, clock)
    assert bad(findings) == []
    assert any("no open run needs one" in one[2] for one in findings if one[2].startswith("openai"))
    assert {call.provider for call in fake.calls} == {"gemini"}
    clock.advance(40 * 86_400)
    examine(fake, tmp_path, clock)
    assert fake.calls == []


# the home


def test_all_is_well_among_150_batches_of_others(fake: FakeServer, tmp_path: Path) -> None:
    """Another home's batches, files and results on the same accounts are nobody's orphans here."""
    with session(fake, tmp_path / "other") as other:
        ctx = other.context(submit(other, *ALL))
        for row in other.store.shards(ctx.run.no):
            file_id = ctx.provider(row).upload(ctx.shard(row))
            for _ in range(150):
                ctx.provider(row).create(ctx.shard(row), file_id)
    with session(fake, tmp_path) as home:
        settle(home, submit(home, *ALL))
    findings = examine(fake, tmp_path)
    assert bad(findings) == []
    assert [one[2] for one in findings if one[:2] == ("leftovers", "ok")] == [
        "anthropic: nothing of this home is without an owner (152 batches on the account)"
    ]
    assert [one[3] for one in findings if one[:2] == ("leftovers", "note")] == [
        f"delete them: batchfast clean {ctx.run.id}"
    ] * 2


@pytest.mark.parametrize("damage", ["request changed", "request gone", "result gone", "result short", "spec gone"])
def test_damaged_files_are_named(fake: FakeServer, tmp_path: Path, damage: str) -> None:
    """Each in a line, with its path and what to do."""
    with session(fake, tmp_path) as home:
        run = settle(home, submit(home, "openai"))
    folder = tmp_path / ".batchfast" / "runs" / run.id
    what, how = damage.split()
    path = folder / "spec.json" if what == "spec" else next((folder / f"{what}s").iterdir())
    if how == "gone":
        path.unlink()
    elif how == "short":
        path.write_bytes(path.read_bytes()[:-20])
    else:
        path.write_bytes(path.read_bytes() + b"\n")
    ((check, level, message, advice),) = bad(examine(fake, tmp_path))
    assert (check, level) == ("home", "error")
    assert run.id in message and "restore it from a backup" in message + advice
    assert str(path) in message or what == "spec"


def test_a_ledger_that_does_not_add_up(fake: FakeServer, tmp_path: Path) -> None:
    """Which would be a defect."""
    with session(fake, tmp_path) as home:
        run = settle(home, submit(home, "openai"))
        home.store.connection.execute("UPDATE shards SET succeeded = succeeded + 1")
    ((_, level, message, _),) = bad(examine(fake, tmp_path))
    assert (level, message.startswith(f"run {run.id}: its ledger does not add up")) == ("error", True)


@pytest.mark.parametrize("whole", [True, False])
def test_a_damaged_database(fake: FakeServer, tmp_path: Path, whole: bool) -> None:
    """Wholly or in a page of it; the providers are looked at all the same."""
    with session(fake, tmp_path) as home:
        settle(home, submit(home, "openai"))
        home.store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    path = tmp_path / ".batchfast" / "state.db"
    data = bytearray(path.read_bytes())
    data[0 if whole else 3 * 4096 :] = b"x" * len(data[0 if whole else 3 * 4096 :])
    path.write_bytes(data)
    findings = examine(fake, tmp_path)
    ((check, level, _, _),) = bad(findings)
    assert (check, level) == ("home", "error")
    assert [one[1] for one in findings if one[0] == "providers"] == ["note"] * 4


# what is due


def test_deadlines_grow_louder(server: FakeServer, tmp_path: Path) -> None:
    """Gemini's results go 48 hours after their batch, at the latest: well, under 12 hours, and missed."""
    server.plan(Fault("stick", provider="gemini"))
    clock = FakeClock(server)
    with session(server, tmp_path, clock) as home:
        run = submit(home, "gemini")
    levels = []
    for hours in (1, 34, 2, 12):
        clock.advance(hours * 3600)
        (found,) = [one for one in examine(server, tmp_path, clock) if one[0] == "runs"]
        levels.append(found[1])
        assert f"run {run.id}: results" in found[2]
    assert levels == ["ok", "ok", "warning", "error"]
    assert found[3] == f"now: batchfast collect {run.id}"


def test_a_batch_older_than_its_window_and_a_day(server: FakeServer, tmp_path: Path) -> None:
    """The provider should have ended it long ago."""
    server.plan(Fault("stick", provider="openai"))
    clock = FakeClock(server)
    with session(server, tmp_path, clock) as home:
        run = submit(home, "openai")
    clock.advance(47 * 3600)
    assert bad(examine(server, tmp_path, clock)) == []
    clock.advance(2 * 3600)
    ((check, level, message, advice),) = bad(examine(server, tmp_path, clock))
    assert (check, level) == ("runs", "warning")
    assert f"sent {run.created_at[:10]}" in message
    assert "openai ends batches after 24 h" in message
    assert f"batchfast collect {run.id}" in advice


def test_held_runs_uncertain_shards_and_lost_answers(fake: FakeServer, tmp_path: Path) -> None:
    """What waits for a person, and what was paid for in vain."""
    with session(fake, tmp_path) as home:
        run = settle(home, submit(home, "openai"))
        home.store.connection.execute(
            "UPDATE requests SET outcome = 'failed', error_type = 'results_gone' WHERE idx = 0"
        )
        home.store.connection.execute("UPDATE shards SET succeeded = succeeded - 1, failed = failed + 1")
        held, _ = home.enter(spec(provider("openai"), topics=1, output_file="held.jsonl"), fake=True)
        home.store.update_run(held.no, state="held", reason="no credit: pay")
        (row,) = home.store.shards(held.no)
        home.store.move(row.id, "waiting", "uncertain", note="batch b may be this shard")
    found = bad(examine(fake, tmp_path))
    assert [one[1:] for one in found] == [
        ("error", f"run {held.id} is held: no credit: pay", f"mend that, then: batchfast collect {held.id}"),
        (
            "warning",
            f"run {held.id}, openai shard 0-0-1: batch b may be this shard",
            f"look again with: batchfast collect {held.id}",
        ),
        (
            "warning",
            f"run {run.id}: 1 answer failed: not collected before the provider deleted them",
            f"ask, and pay, for them again: batchfast retry {run.id}",
        ),
    ]


# leftovers


@pytest.mark.parametrize("name", ["openai", "gemini"])
def test_an_orphan_that_runs_is_an_error(server: FakeServer, tmp_path: Path, name: str) -> None:
    """It costs and nobody will collect it: the command that cancels it works as it stands."""
    clock = FakeClock(server)
    with session(server, tmp_path, clock) as home:
        run = submit(home, name)
        orphan = second_batch(home.context(run))
    ((check, level, message, advice),) = bad(examine(server, tmp_path, clock))
    assert (check, level) == ("leftovers", "error")
    assert f"{name} batch {orphan} (" in message and f"of run {run.id}: no shard owns it" in message
    assert advice.startswith("cancel it: curl -X POST ") and server.base_urls[name] in advice
    assert orphan.removeprefix("batches/") in advice and "_API_KEY" in advice
    server.finish(orphan)
    ((_, level, message, _),) = bad(examine(server, tmp_path, clock))
    assert (level, "paid for a second time" in message) == ("warning", True)


def test_an_orphan_at_anthropic_is_known_by_its_results(fake: FakeServer, tmp_path: Path) -> None:
    """Its batches carry no name: the custom_ids in what came back tell, and only those of unowned batches are read."""
    with session(fake, tmp_path) as home:
        run = submit(home, "anthropic")
        orphan = second_batch(home.context(run))
    ((_, level, message, _),) = bad(examine(fake, tmp_path))
    assert (level, f"anthropic batch {orphan} (ended) of run {run.id}" in message) == ("warning", True)
    assert [call.route for call in fake.calls].count("results") == 1


def test_batches_from_before_this_home_are_not_opened(fake: FakeServer, tmp_path: Path) -> None:
    """They cannot be its own."""
    with session(fake, tmp_path / "other") as other:
        submit(other, "anthropic")
    fake.advance(days=3)
    clock = FakeClock(fake, fake.now())
    with session(fake, tmp_path, clock) as home:
        settle(home, submit(home, "anthropic"))
    assert bad(examine(fake, tmp_path, clock)) == []
    assert [call.route for call in fake.calls].count("results") == 0


def test_a_batch_of_a_run_that_is_not_known(fake: FakeServer, tmp_path: Path) -> None:
    """As after an older state.db was put back."""
    with session(fake, tmp_path) as home:
        run = submit(home, "openai")
        orphan = second_batch(home.context(run), f"feedfeedfeed-{home.store.nonce()}-0-0-1")
        second_batch(home.context(run), "feedfeedfeed-00000000-0-0-1")
    ((_, level, message, advice),) = bad(examine(fake, tmp_path))
    assert (level, advice.startswith("was state.db replaced")) == ("warning", True)
    assert f"{orphan} (completed) of run feedfeedfeed, which this home does not know" in message


def test_a_create_under_way_is_no_orphan(fake: FakeServer, plan: Plan, tmp_path: Path) -> None:
    """Its answer was lost: the next pass adopts the batch."""
    plan(Fault("lose", route="create", nth=1))
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(provider("openai")), fake=True)
        with home.work(run) as engine:
            engine.one_pass()
    findings = examine(fake, tmp_path)
    assert bad(findings) == []
    assert [one[3] for one in findings if one[0] == "leftovers"] == [f"adopt it with: batchfast collect {run.id}"]


def test_uploads_of_settled_runs_are_for_clean(fake: FakeServer, tmp_path: Path) -> None:
    """Not those of a run that still needs them."""
    with session(fake, tmp_path) as home:
        run = submit(home, "openai")
        assert [one[1] for one in examine(fake, tmp_path) if one[0] == "leftovers"] == ["ok"]
        settle(home, run)
    (found,) = [one for one in examine(fake, tmp_path) if one[0] == "leftovers"]
    assert found[1:] == (
        "note",
        f"openai has 1 input file of run {run.id}, which has settled",
        f"delete them: batchfast clean {run.id}",
    )


def test_the_search_is_bounded_and_says_so(fake: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many batches of an account, and so many opened, and no more."""
    with session(fake, tmp_path / "other") as other:
        ctx = other.context(submit(other, *ALL))
        for _ in range(9):
            for row in other.store.shards(ctx.run.no):
                ctx.provider(row).create(ctx.shard(row), row.file_id)
    with session(fake, tmp_path) as home:
        settle(home, submit(home, *ALL))
    monkeypatch.setattr(leftovers, "MAX_BATCHES", 6)
    monkeypatch.setattr(leftovers, "MAX_OPENED", 4)
    notes = [one[2] for one in examine(fake, tmp_path) if one[:2] == ("leftovers", "note")]
    assert sum("only the newest 6 batches were looked at" in one for one in notes) == 3
    assert "anthropic: only 4 ended batches of others were opened to see whose they are" in notes
    assert [call.route for call in fake.calls].count("results") == 4


def test_a_listing_that_fails_is_a_warning(fake: FakeServer, plan: Plan, tmp_path: Path) -> None:
    """The rest is looked at all the same."""
    plan(Fault("status", provider="openai", route="list_files"))
    with session(fake, tmp_path) as home:
        settle(home, submit(home, "openai", "gemini"))
    findings = examine(fake, tmp_path)
    ((check, level, message, _),) = bad(findings)
    assert (check, level) == ("leftovers", "warning")
    assert any(one[0] == "leftovers" and one[2].startswith("gemini has 1 input file") for one in findings)
    assert "could not be searched for leftovers: openai find: HTTP 500" in message


def test_the_command_that_cancels_says_where_its_key_is(tmp_path: Path) -> None:
    """A shell does not know the variables of a .env."""
    account = provider("openai")
    account.dotenv_files = (tmp_path / ".env",)
    (tmp_path / ".env").write_text(f"OPENAI_API_KEY={CANARY}\n")
    advice = leftovers.how_to_cancel(account, "batch_1")
    assert advice.startswith(f"cancel it (first set OPENAI_API_KEY as in {tmp_path / '.env'}): curl")
    assert CANARY not in advice


# the command


def test_on_the_command_line(
    fake: FakeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 0 also where something is found: it did what it was asked. One line a finding, and JSON."""
    monkeypatch.setenv("OPENAI_BASE_URL", fake.base_urls["openai"])
    monkeypatch.setenv("OPENAI_API_KEY", "bad-key")
    assert execute(["doctor"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Providers\n  error    openai newest: HTTP 401")
    assert "\n           -> get a new key" in out
    assert out.endswith("1 error: a person should look.\n")
    assert execute(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["home"], report["errors"], report["warnings"]) == (None, 1, 0)
    assert set(report["findings"][0]) == {"check", "level", "message", "advice"}
    assert not (tmp_path / ".batchfast").exists()
    assert execute(["doctor", "--fake"]) == 0
    assert capsys.readouterr().out.endswith("Everything is well.\n")


def test_a_database_in_use_is_not_taken_for_a_damaged_one(fake: FakeServer, tmp_path: Path) -> None:
    """The check itself could not run: that is an error of its own."""
    with session(fake, tmp_path) as home:
        home.store.connection.set_progress_handler(lambda: 1, 1)
        with pytest.raises(sqlite3.OperationalError):
            home.store.damage()
        home.store.connection.set_progress_handler(None, 0)


def test_a_home_that_cannot_be_opened_is_a_finding(fake: FakeServer, tmp_path: Path) -> None:
    """In the report, among the others; not an end without one."""
    with session(fake, tmp_path) as home:
        settle(home, submit(home, "openai"))
    (tmp_path / ".batchfast" / "state.db").chmod(0)
    done = powerless(tmp_path, "doctor", "--fake", "--json")
    assert done.returncode == 0, done.stderr
    ((check, message),) = [
        (one["check"], one["message"]) for one in json.loads(done.stdout)["findings"] if one["level"] == "error"
    ]
    assert check == "home"
    assert "cannot be written" in message and "copy the home" in message


def test_a_file_in_the_place_of_the_home_is_an_error(fake: FakeServer, tmp_path: Path) -> None:
    """Nothing could be submitted from there."""
    (tmp_path / ".batchfast").write_text("")
    ((check, level, message, advice),) = bad(examine(fake, tmp_path))
    assert (check, level, message) == ("home", "error", f"{tmp_path / '.batchfast'} is no folder")
    assert "--home DIR" in advice
