"""`clean`: our own files at the providers go once the dataset is safe, and nobody else's ever."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from batchfast.clean import Cleaned, clean
from batchfast.cli import execute
from batchfast.errors import ConfigError, NotReady, StoreError
from batchfast.fake import FakeServer, Fault
from batchfast.llms import Provider
from batchfast.session import Session
from batchfast.spec import Conduct
from batchfast.store import RunRow
from tests.helpers import MODELS, provider, session, spec

Plan = Callable[..., None]
ALL = sorted(MODELS)


def settle(home: Session, run: RunRow) -> RunRow:
    with home.work(run) as engine:
        assert home.settle(engine.ctx, engine.drive()) is not None
    return home.store.run(run.id)


def clean_run(home: Session, run: RunRow) -> Cleaned:
    with home.work(run) as engine:
        return clean(engine.ctx)


def things(cleaned: Cleaned, what: str) -> list[tuple[str, str]]:
    return sorted((one.provider, one.kind) for one in getattr(cleaned, what))


def everything(account: Provider) -> list[object]:
    """Batches and uploads on an account."""
    return [*account.batches(), *account.uploads()]


def deletes(fake: FakeServer) -> int:
    return sum(call.route in ("delete", "delete_file") for call in fake.calls)


def test_what_is_ours_goes_and_the_rest_is_listed(fake: FakeServer, plan: Plan, tmp_path: Path) -> None:
    """Inputs, results and batches where the provider lets them be deleted; a second clean finds nothing left."""
    plan(Fault("error", custom_id=r"-[012]-1$", status=400))
    wanted = spec(*map(provider, ALL), topics=2, conduct=Conduct(max_attempts=1))
    with session(fake, tmp_path) as home:
        run = settle(home, home.enter(wanted, fake=True)[0])
        cleaned = clean_run(home, run)
        assert things(cleaned, "deleted") == [
            ("anthropic", "batch"),
            ("gemini", "batch"),
            ("gemini", "input file"),
            ("openai", "error file"),
            ("openai", "input file"),
            ("openai", "output file"),
        ]
        assert things(cleaned, "kept") == [("gemini", "output file"), ("openai", "batch")]
        result_file = next(one for one in cleaned.kept if one.provider == "gemini")
        assert result_file.why is not None and "40 characters" in result_file.why
        assert result_file.until is not None
        assert cleaned.failed == []
        before = deletes(fake)
        again = clean_run(home, run)
        assert (again.deleted, again.absent, again.failed, deletes(fake)) == ([], [], [], before)
        assert things(again, "kept") == things(cleaned, "kept")
    assert [len(fake.batches(name)) for name in ("openai", "anthropic", "gemini")] == [1, 0, 0]


@pytest.mark.parametrize("name", ALL)
def test_150_batches_of_others_are_not_touched(fake: FakeServer, tmp_path: Path, name: str) -> None:
    """Nor those of another run of the same home, nor of another home with the same spec."""
    with session(fake, tmp_path / "other") as other:
        theirs = settle(other, other.enter(spec(provider(name), output_file=str(tmp_path / "o.jsonl")), fake=True)[0])
        ctx = other.context(theirs)
        shard = ctx.shard(other.store.shards(theirs.no)[0])
        file_id = ctx.providers[0].upload(shard)
        for _ in range(149):
            ctx.providers[0].create(shard, file_id)
    with session(fake, tmp_path) as home:
        neighbour = settle(home, home.enter(spec(provider(name), topics=2, output_file="n.jsonl"), fake=True)[0])
        account = home.context(neighbour).providers[0]
        before = everything(account)
        assert sum(one.requests == 3 for one in fake.batches(name)) == 150
        run = settle(home, home.enter(spec(provider(name)), fake=True)[0])
        cleaned = clean_run(home, run)
        assert cleaned.deleted
        ours = home.store.owned_remote_ids(name)
        left = [one for one in everything(account) if one in before]
        assert left == before
        assert len(everything(account)) - len(before) == (1 if name == "openai" else 0)  # the record of our batch
        assert len(ours) == 2


def test_collect_still_writes_the_dataset(fake: FakeServer, tmp_path: Path) -> None:
    """From the raw files on disk, without a call to a provider."""
    with session(fake, tmp_path) as home:
        run = settle(home, home.enter(spec(*map(provider, ALL)), fake=True)[0])
        clean_run(home, run)
        dataset = Path(run.output_file)
        before = dataset.read_bytes()
        dataset.unlink()
        calls = len(fake.calls)
        settle(home, run)
        assert dataset.read_bytes() == before
        assert len(fake.calls) == calls


def test_a_run_that_has_not_settled_is_left_alone(fake: FakeServer, tmp_path: Path) -> None:
    """Neither while it runs, nor before its dataset is written, nor after a retry."""
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(), fake=True)
        with pytest.raises(NotReady, match=f"first: batchfast collect {run.id}"):
            clean_run(home, run)
        with home.work(run) as engine:
            engine.drive()
        with pytest.raises(NotReady, match="nothing was deleted"):
            clean_run(home, home.store.run(run.id))
    assert deletes(fake) == 0


def test_nothing_goes_unless_the_dataset_is_there(fake: FakeServer, tmp_path: Path) -> None:
    """Gone, or with other bytes than the raw results give: first it is written again. Elsewhere will do."""
    with session(fake, tmp_path) as home:
        run = settle(home, home.enter(spec(), fake=True)[0])
        dataset = Path(run.output_file)
        for change in (lambda: dataset.write_text("mine\n"), dataset.unlink):
            change()
            with pytest.raises(ConfigError, match=f"batchfast collect {run.id}"):
                clean_run(home, run)
        assert deletes(fake) == 0
        elsewhere = tmp_path / "elsewhere.jsonl"
        with home.work(run) as engine:
            home.settle(engine.ctx, engine.one_pass(), output=elsewhere)
        assert clean_run(home, run).dataset == elsewhere
    assert deletes(fake) > 0


def test_an_older_dataset_does_not_count(fake: FakeServer, plan: Plan, tmp_path: Path) -> None:
    """The run wrote those bytes once, but a retry has brought rows that are not in them."""
    from batchfast.resend import ask_again

    plan(Fault("error", custom_id=r"-1-1$", status=400))
    with session(fake, tmp_path) as home:
        run = settle(home, home.enter(spec(), fake=True)[0])
        dataset = Path(run.output_file)
        old = dataset.read_bytes()
        with home.work(run) as engine:
            assert ask_again(engine.ctx) == 1
        run = settle(home, home.store.run(run.id))
        assert dataset.read_bytes() != old
        dataset.write_bytes(old)
        with pytest.raises(ConfigError, match="nothing was deleted"):
            clean_run(home, run)
    assert deletes(fake) == 0


@pytest.mark.parametrize("damage", ["gone", "short"])
def test_nothing_goes_unless_the_raw_results_are_there(
    fake: FakeServer, plan: Plan, tmp_path: Path, damage: str
) -> None:
    """Also those of a first try, whose lines gave no row."""
    plan(Fault("error", custom_id=r"-\d-1$", status=500))
    with session(fake, tmp_path) as home:
        run = settle(home, home.enter(spec(), fake=True)[0])
        raw = next((home.home.run(run.id) / "results").glob("*-1.error.jsonl"))
        if damage == "gone":
            raw.unlink()
        else:
            raw.write_bytes(raw.read_bytes()[:-10])
        with pytest.raises(StoreError, match="restore it from a backup"):
            clean_run(home, run)
    assert deletes(fake) == 0


def test_results_that_were_never_downloaded_are_kept(fake: FakeServer, plan: Plan, tmp_path: Path) -> None:
    """A file that no line was collected from may be missing here: then nothing of its batch goes."""
    plan(Fault("drop", custom_id=".", nth=1))
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(topics=1, conduct=Conduct(max_attempts=1)), fake=True)
        run = settle(home, run)
        (shard,) = home.store.shards(run.no)
        remote_id = home.store.batches_of(shard.id)[0]
        assert not list((home.home.run(run.id)).glob("results/*"))
        ctx = home.context(run)
        other = ctx.providers[0].create(ctx.shard(shard), shard.file_id)
        home.store.accept(shard.id, "ended", other, ctx.now())
        home.store.connection.execute("UPDATE shards SET state = 'ended'")
        cleaned = clean_run(home, run)
    assert [one.id for one in cleaned.kept] == [remote_id, other]
    assert "is not on disk" in (cleaned.kept[1].why or "")


def test_a_failing_delete_is_listed_and_the_next_clean_goes_on(fake: FakeServer, plan: Plan, tmp_path: Path) -> None:
    """The batch stays while one of its files does: without it nobody would know the file."""
    plan(
        Fault("status", provider="gemini", route="delete_file", nth=1),
        Fault("status", provider="anthropic", route="delete", nth=1),
    )
    with session(fake, tmp_path) as home:
        run = settle(home, home.enter(spec(*map(provider, ALL)), fake=True)[0])
        cleaned = clean_run(home, run)
        assert things(cleaned, "failed") == [("anthropic", "batch"), ("gemini", "output file")]
        assert [len(fake.batches(name)) for name in ("anthropic", "gemini")] == [1, 1]
        again = clean_run(home, run)
        assert (things(again, "deleted"), again.failed) == ([("anthropic", "batch"), ("gemini", "batch")], [])


def test_a_provider_out_of_reach_is_not_tried_on_and_on(fake: FakeServer, plan: Plan, tmp_path: Path) -> None:
    """One message for all that is left there; the other providers are cleaned all the same."""
    plan(Fault("lose", provider="openai", route="delete_file", nth=1))
    accounts = [provider("openai", max_requests_per_batch=1), provider("gemini")]
    with session(fake, tmp_path) as home:
        run = settle(home, home.enter(spec(*accounts), fake=True)[0])
        cleaned = clean_run(home, run)
        assert things(cleaned, "failed") == [("openai", "rest")]
        assert ("gemini", "input file") in things(cleaned, "deleted")
        assert sum(call.route == "delete_file" and call.provider == "openai" for call in fake.calls) == 1
        again = clean_run(home, run)
        # Of the file whose answer was lost nobody knows: it is not there any more.
        assert things(again, "deleted").count(("openai", "output file")) == 2
        assert things(again, "absent") == [("openai", "output file")]


def test_an_upload_that_is_known_by_its_name_alone_goes_too(fake: FakeServer, tmp_path: Path) -> None:
    """As after an upload whose answer was lost."""
    with session(fake, tmp_path) as home:
        run = settle(home, home.enter(spec(), fake=True)[0])
        ctx = home.context(run)
        account = ctx.providers[0]
        account.upload(ctx.shard(home.store.shards(run.no)[0]))
        assert len(list(account.uploads())) == 2
        assert things(clean_run(home, run), "deleted").count(("openai", "input file")) == 2
        assert list(account.uploads()) == []


def test_what_is_gone_already_is_said_so(fake: FakeServer, tmp_path: Path) -> None:
    """After two months the providers have deleted most of it themselves: not by us, and no failure."""
    with session(fake, tmp_path) as home:
        run = settle(home, home.enter(spec(*map(provider, ALL)), fake=True)[0])
        anthropic = home.context(run).providers[ALL.index("anthropic")]
        anthropic.delete(fake.batches("anthropic")[0].id)
        fake.advance(days=60)
        cleaned = clean_run(home, run)
        assert cleaned.failed == []
        assert {("anthropic", "batch"), ("openai", "input file")} <= set(things(cleaned, "absent"))


def test_another_account_is_not_taken_for_a_clean_one(fake: FakeServer, tmp_path: Path) -> None:
    """With a key of another account nothing is found, and nothing counts as deleted: with the right one it goes."""
    with FakeServer(tmp_path / "other", batch_seconds=0) as other, session(fake, tmp_path) as home:
        run = settle(home, home.enter(spec(), fake=True)[0])
        with session(other, tmp_path) as elsewhere:
            stranger = clean_run(elsewhere, run)
        assert (stranger.deleted, things(stranger, "absent")) == ([], [("openai", "batch"), ("openai", "input file")])
        cleaned = clean_run(home, run)
        assert things(cleaned, "deleted") == [("openai", "input file"), ("openai", "output file")]


def test_everything_is_on_the_disk_before_the_first_thing_is_deleted(
    fake: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dataset and each raw file are synced, with their folders, while nothing is deleted yet."""
    synced: list[tuple[int, int]] = []
    real = os.fsync

    def watched(descriptor: int) -> None:
        if not deletes(fake):
            about = os.fstat(descriptor)
            synced.append((about.st_dev, about.st_ino))
        real(descriptor)

    with session(fake, tmp_path) as home:
        run = settle(home, home.enter(spec(), fake=True)[0])
        monkeypatch.setattr(os, "fsync", watched)
        cleaned = clean_run(home, run)
        results = home.home.run(run.id) / "results"
    for path in (cleaned.dataset, cleaned.dataset.parent, results, *results.glob("*.jsonl")):
        assert (path.stat().st_dev, path.stat().st_ino) in synced, path
    assert deletes(fake)


def test_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 3 before the run has settled; then it says what went and what stays, also as JSON."""
    monkeypatch.setenv("BATCHFAST_FAKE_SECONDS", "0")
    lines = ['[dataset]\ndocument_types = ["essay"]\ntopics = ["snow"]\noutput_file = "out.jsonl"']
    lines += [f'[[providers]]\nprovider = "{name}"\nmodel_id = "{model}"' for name, model in MODELS.items()]
    (tmp_path / "spec.toml").write_text("\n".join(lines), "utf-8")
    assert execute(["submit", "spec.toml", "--fake"]) == 0
    run = capsys.readouterr().out.strip()
    assert execute(["clean"]) == 3
    assert f"first: batchfast collect {run}" in capsys.readouterr().err
    assert execute(["collect"]) == 0
    capsys.readouterr()
    assert execute(["clean"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.splitlines()[:3] == [
        f"FAKE run {run}: its rows are safe in {tmp_path / 'out.jsonl'}",
        "deleted  openai: 1 output file, 1 input file",
        "deleted  anthropic: 1 batch",
    ]
    assert "kept     gemini: 1 output file (gone by itself 20" in out
    assert execute(["clean", "latest", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert {name: report[name] for name in ("run", "fake", "dataset", "deleted", "absent", "failed")} == {
        "run": run, "fake": True, "dataset": str(tmp_path / "out.jsonl"), "deleted": [], "absent": [], "failed": [],
    }  # fmt: skip
    assert [one["kind"] for one in report["kept"]] == ["batch", "output file"]
