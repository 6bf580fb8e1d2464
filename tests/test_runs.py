"""Which run a spec means, where it is bound to, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import batchfast.session
from batchfast.errors import ConfigError, MissingKey, RequestTooLarge, StoreError
from batchfast.fake import FakeServer
from batchfast.llms import OpenAIProvider
from batchfast.records import Limits, custom_id, index_of, split_custom_id
from batchfast.runs import compile_files
from batchfast.snapshot import snapshot_id
from batchfast.spec import Spec
from tests.helpers import MODELS, provider, session, spec


def test_the_same_snapshot_continues_the_run_that_exists(fake: FakeServer, tmp_path: Path) -> None:
    """Settings of conduct do not make another run, and the newest ones count."""
    with session(fake, tmp_path) as home:
        run, new = home.enter(spec(), fake=True)
        again, new_again = home.enter(spec(provider(timeout=5), output_file="other.jsonl"), fake=True)
        assert (new, new_again, run.id) == (True, False, again.id)
        with home.work(again) as engine:
            held = engine.ctx.run
        assert held.output_file.endswith("other.jsonl")
        assert held.conduct["providers"][0]["timeout"] == 5


def test_run_ids_say_fake_and_again(fake: FakeServer, tmp_path: Path) -> None:
    """12 hex digits of the snapshot's hash; `fake-` before, `-2` after."""
    wanted = spec()
    model = provider(api_key="k", base_url=fake.base_urls["openai"])
    with session(fake, tmp_path) as home:
        ids = [home.enter(wanted, fake=True, again=again)[0].id for again in (False, True, True)]
        real = home.enter(spec(model), fake=False)[0].id
        assert home.enter(wanted, fake=True)[0].id == ids[2]
    name = snapshot_id(wanted.snapshot)
    assert ids == [f"fake-{name}", f"fake-{name}-2", f"fake-{name}-3"]
    assert real == name
    assert len(name) == 12


def test_a_missing_key_enters_nothing(fake: FakeServer, tmp_path: Path) -> None:
    """It names the variable and the other ways."""
    with session(fake, tmp_path) as home:
        with pytest.raises(MissingKey, match=r"GEMINI_API_KEY or GOOGLE_API_KEY.*\.env.*api_key=.*--fake"):
            home.enter(spec(provider("gemini")), fake=False)
        assert home.store.runs() == []


def test_another_base_url_is_refused_with_both_names(fake: FakeServer, tmp_path: Path) -> None:
    """A run is bound to where it was sent; the environment does not move it, a spec that says otherwise is an error."""
    here = provider(api_key="k", base_url=fake.base_urls["openai"])
    there = provider(api_key="k", base_url="http://127.0.0.1:9/v1")
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(here), fake=False)
        with pytest.raises(ConfigError, match=rf"{fake.base_urls['openai']}.*127\.0\.0\.1:9.*--again"):
            home.enter(spec(there), fake=False)
        assert home.enter(spec(provider(api_key="k")), fake=False)[0].id == run.id


def test_another_spec_with_the_same_output_is_refused(fake: FakeServer, tmp_path: Path) -> None:
    """The message shows what differs and names both ways on; --again makes a run of its own."""
    with session(fake, tmp_path) as home:
        first, _ = home.enter(spec(topics=2), fake=True)
        with pytest.raises(ConfigError, match=rf"{first.id}.*topics: 1 added.*--again.*--extend"):
            home.enter(spec(topics=3), fake=True)
        second, new = home.enter(spec(topics=3), fake=True, again=True)
    assert new
    assert second.id != first.id


def test_an_output_folder_that_cannot_be_written_is_found_before_sending(fake: FakeServer, tmp_path: Path) -> None:
    """A file stands where the folder should be."""
    (tmp_path / "file").touch()
    with session(fake, tmp_path) as home:
        with pytest.raises(ConfigError, match="cannot write"):
            home.enter(spec(output_file="file/out.jsonl"), fake=True)
        assert home.store.runs() == []


def test_raw_results_survive_an_older_database(fake: FakeServer, tmp_path: Path) -> None:
    """state.db came from a backup that does not know the run: the spec takes another id, not the old run's folder."""
    with session(fake, tmp_path) as home:
        first, _ = home.enter(spec(), fake=True)
        with home.work(first) as engine:
            home.settle(engine.ctx, engine.drive())
        results = {path: path.read_bytes() for path in (home.home.run(first.id) / "results").iterdir()}
        home.store.connection.executescript("DELETE FROM runs; DELETE FROM shards; DELETE FROM batches")
    with session(fake, tmp_path) as home:
        second, _ = home.enter(spec(), fake=True)
    assert second.id == f"{first.id}-2"
    assert {path: path.read_bytes() for path in results} == results


def test_two_processes_that_enter_one_spec_make_one_run(
    fake: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one was quicker, between the look and the lock: its run is taken, and its files are left alone."""
    with session(fake, tmp_path) as home, session(fake, tmp_path) as other:
        lock = batchfast.session.entering

        def slow_lock(*arguments: Any) -> Any:
            monkeypatch.setattr(batchfast.session, "entering", lock)
            other.enter(spec(), fake=True)
            return lock(*arguments)

        monkeypatch.setattr(batchfast.session, "entering", slow_lock)
        run, new = home.enter(spec(), fake=True)
        assert not new
        assert [row.id for row in home.store.runs()] == [run.id]


def test_a_lost_database_is_not_taken_for_a_new_home(fake: FakeServer, tmp_path: Path) -> None:
    """state.db is gone or empty while runs/ is not: sending would pay again, so nothing is sent."""
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(), fake=True)
        with home.work(run) as engine:
            engine.send_all()
    for path in tmp_path.glob(".batchfast/state.db*"):
        path.unlink()
    with pytest.raises(StoreError, match=r"runs/ beside it holds runs: restore it from a backup"):
        session(fake, tmp_path)
    assert len(fake.batches("openai")) == 1


class SmallProvider(OpenAIProvider):
    """OpenAI with files of at most 3,000 bytes."""

    hard_limits = Limits(10, 3_000)


def test_a_request_over_the_limit_enters_nothing(fake: FakeServer, tmp_path: Path) -> None:
    """Nothing is entered, nothing sent; the same spec mended goes through."""
    model = SmallProvider("gpt-4.1-mini")
    large = spec(topics=1).config.model_copy(update={"topics": ["small", "x" * 4_000]})
    with session(fake, tmp_path) as home:
        with pytest.raises(RequestTooLarge, match=r"request fake-\w+-\w+-1-1 alone.*limit of 3,000"):
            home.enter(Spec.of(large, [model]), fake=True)
        assert home.store.runs() == []


@pytest.mark.parametrize("name", sorted(MODELS))
def test_compiled_files_are_what_submit_sends(fake: FakeServer, tmp_path: Path, name: str) -> None:
    """`compile` writes exactly the lines of `submit`, and makes no run."""
    wanted = spec(provider(name, max_requests_per_batch=2))
    with session(fake, tmp_path) as home:
        before = list(compile_files(wanted, home.store, tmp_path / "files", fake=True))
        assert home.store.runs() == []
        run, _ = home.enter(wanted, fake=True)
        sent = sorted((home.home.run(run.id) / "requests").iterdir())
    assert [path.name for path, _ in before] == [path.name for path in sent]
    assert [path.read_bytes() for path, _ in before] == [path.read_bytes() for path in sent]
    assert [count for _, count in before] == [2, 1]


def test_custom_ids_say_run_home_index_and_attempt(fake: FakeServer, tmp_path: Path) -> None:
    """`<run>-<home nonce>-<index>-<attempt>`, at most 64 of `A-Za-z0-9_-`; two homes never share one."""
    ids = []
    for folder in ("a", "b"):
        with session(fake, tmp_path / folder) as home:
            run, _ = home.enter(spec(), fake=True)
            line = next((home.home.run(run.id) / "requests").iterdir()).read_bytes().split(b"\n")[2]
            name = json.loads(line)["custom_id"]
            assert split_custom_id(name) == (f"{run.id}-{home.store.nonce()}", 2, 1)
            assert custom_id(f"{run.id}-{home.store.nonce()}", 2, 1) == name
            ids.append(name)
    assert ids[0] != ids[1]
    assert max(map(len, ids)) + 12 <= 64


def test_an_id_with_a_number_of_any_length_is_only_foreign() -> None:
    """Whatever a provider writes: Python refuses to read numbers beyond some thousand digits."""
    name = f"run-home-{'1' * 5000}-1"
    assert split_custom_id(name) is None
    assert index_of(name, "run-home", 1) is None


def test_no_file_of_the_home_holds_a_key(fake: FakeServer, tmp_path: Path) -> None:
    """A planted key is in nothing that was written."""
    model = provider(api_key="sk-canary-0123456789abcdef", base_url=fake.base_urls["openai"])
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(model), fake=False)
        with home.work(run, [model]) as engine:
            home.settle(engine.ctx, engine.drive())
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"canary" not in written


def test_a_run_goes_on_from_its_snapshot_alone(fake: FakeServer, tmp_path: Path) -> None:
    """Another process needs only the home: models, prompts and settings come from the store."""
    wanted = spec(provider("anthropic", system_prompt="Be brief.", max_requests_per_batch=2))
    with session(fake, tmp_path) as home:
        run, _ = home.enter(wanted, fake=True)
    with session(fake, tmp_path) as home:
        ctx = home.context(home.store.resolve(None))
        assert ctx.providers[0].settings() == wanted.providers[0].settings()
        assert ctx.providers[0].limits.max_requests == 2
        assert ctx.grid.prompt(2) == home.context(run).grid.prompt(2)


def test_resolve_takes_beginnings_latest_and_the_only_one(fake: FakeServer, tmp_path: Path) -> None:
    """Unknown and ambiguous names are one clear line each."""
    with session(fake, tmp_path) as home:
        with pytest.raises(StoreError, match=r"no runs in .* yet"):
            home.store.resolve(None)
        first, _ = home.enter(spec(topics=1), fake=True)
        assert home.store.resolve(None).id == first.id
        second, _ = home.enter(spec(topics=2), fake=True, again=True)
        assert home.store.resolve("latest").id == second.id
        assert home.store.resolve(first.id[:9]).id == first.id
        with pytest.raises(StoreError, match=rf"ambiguous.*{second.id}, {first.id}"):
            home.store.resolve("fake-")
        with pytest.raises(StoreError, match="no run nothing"):
            home.store.resolve("nothing")
        with pytest.raises(StoreError, match="there are several runs"):
            home.store.resolve(None)
