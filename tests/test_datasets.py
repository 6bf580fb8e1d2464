"""The Python door: guide, tonight and tomorrow, and what it says when it is too early."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from loky import ProcessPoolExecutor

from batchfast import ConfigError, ExecutorError, MissingKey, NotReady, StoreError
from batchfast.datasets import RawDataset
from batchfast.fake import FakeServer, Fault
from batchfast.schema.config import PromptExpansionConfig, RawDatasetConfig
from tests.helpers import FakeClock, config, provider, read

GUIDE = Path(__file__).resolve().parents[2] / "shared" / "reference" / "datafast-raw-text-guide.md"


def test_submit_tonight_and_collect_tomorrow(fake: FakeServer, tmp_path: Path) -> None:
    """`open(run.id)` needs nothing but the home."""
    tonight = RawDataset(config(), fake=fake, clock=FakeClock(fake))
    run = tonight.submit([provider(), provider("gemini")])
    assert run.status()["requests"]["in_flight"] == 6
    tomorrow = RawDataset.open(run.id, fake=fake)
    assert tomorrow.config.topics == tonight.config.topics
    path = tomorrow.collect()
    assert path == tmp_path / "out.jsonl"
    assert len(read(path)) == 12
    assert run.status()["state"] == "done"
    assert run.collect() == path


def test_generate_again_after_a_crash_pays_nothing_twice(fake: FakeServer) -> None:
    """Submitted, then the process ended: `generate` goes on with that run."""
    RawDataset(config(), fake=fake).submit([provider()])
    dataset = RawDataset(config(), fake=fake, clock=FakeClock(fake))
    path = dataset.generate([provider()])
    assert len(read(path)) == 6
    assert dataset.generate([provider()]) == path
    assert len(fake.batches("openai")) == 1


def test_collect_too_early_says_how_many_batches_run(fake: FakeServer) -> None:
    """NotReady carries the number and the next command."""
    fake.plan(Fault("stick"))
    dataset = RawDataset(config(), fake=fake)
    run = dataset.submit([provider(), provider("anthropic")])
    with pytest.raises(NotReady, match=rf"6 of 6 requests.*2 running batches.*batchfast watch {run.id}") as caught:
        dataset.collect()
    assert (caught.value.running, caught.value.run_id) == (2, run.id)


def test_expected_rows_need_no_key_and_no_home(tmp_path: Path) -> None:
    """3 types x 8 topics x 2 languages x 3 levels x 2 models = 288; nothing is written."""
    guide = RawDatasetConfig(
        document_types=["a", "b", "c"],
        topics=[str(number) for number in range(8)],
        num_samples_per_prompt=1,
        languages={"en": "English", "fr": "French"},
        prompts=["{num_samples} {document_type} {language_name} {topic} {{level}}"],
        expansion=PromptExpansionConfig(placeholders={"level": ["x", "y", "z"]}),
    )
    assert RawDataset(guide).get_num_expected_rows([provider(), provider("anthropic")]) == 288
    assert not (tmp_path / ".batchfast").exists()


def test_what_is_wrong_is_said_before_anything_is_sent(fake: FakeServer) -> None:
    """No key, no run, everything sent already, unknown run."""
    with pytest.raises(MissingKey):
        RawDataset(config(), fake=False).submit([provider()])
    with pytest.raises(ConfigError, match="no run yet"):
        RawDataset(config(), fake=fake).collect()
    dataset = RawDataset(config(), fake=fake)
    run = dataset.submit([provider()])
    with pytest.raises(ConfigError, match=rf"{run.id} has been submitted before"):
        dataset.submit([provider()])
    assert dataset.submit([provider()], again=True).id == f"{run.id}-2"
    with pytest.raises(StoreError, match="no run nothing"):
        RawDataset.open("nothing")


def run_script(script: Path, folder: Path) -> str:
    """Its standard output; the fake answers."""
    environment = {"BATCHFAST_FAKE": "1", "BATCHFAST_FAKE_SECONDS": "0", "HOME": str(folder)}
    command = [sys.executable, str(script)]
    return subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True).stdout


@pytest.mark.skipif(not GUIDE.is_file(), reason="datafast's guide is not beside this checkout")
def test_datafasts_guide_runs_with_only_the_name_changed(tmp_path: Path) -> None:
    """Its complete example, word for word but for the package."""
    example = GUIDE.read_text(encoding="utf-8").split("## Complete Example")[1].split("```python")[1].split("```")[0]
    script = tmp_path / "guide.py"
    script.write_text(example.replace("datafast", "batchfast"), encoding="utf-8")
    assert "Expected number of rows: 288" in run_script(script, tmp_path)
    assert len(read(tmp_path / "space_engineering_environment_effects_texts.jsonl")) == 288


def test_the_guides_script_runs_on_the_fake(tmp_path: Path) -> None:
    """The complete Python example, without a key: 288 rows."""
    script = Path(__file__).parents[1] / "examples" / "space_engineering.py"
    assert "Expected number of rows: 288" in run_script(script, tmp_path)
    rows = read(tmp_path / "space_engineering_environment_effects_texts.jsonl")
    assert len(rows) == 288


def test_compile_writes_what_submit_would_send(fake: FakeServer, tmp_path: Path) -> None:
    """The files' paths come back; no run is made, no key needed, and an executor changes no byte."""
    dataset = RawDataset(config(), fake=fake)
    models = [provider(max_requests_per_batch=2), provider("anthropic")]
    files = dataset.compile(models, "files")
    with ThreadPoolExecutor(2) as pool:
        others = dataset.compile(models, tmp_path / "others", executor=pool)
    run = dataset.submit(models)
    sent = tmp_path / ".batchfast" / "runs" / run.id / "requests"
    assert (
        [path.name for path in files] == [path.name for path in others] == sorted(path.name for path in sent.iterdir())
    )
    assert {path.parent for path in files} == {tmp_path / "files"}
    for path, other in zip(files, others, strict=True):
        assert path.read_bytes() == other.read_bytes() == (sent / path.name).read_bytes()


def test_an_executor_changes_no_byte_of_a_dataset(fake: FakeServer, tmp_path: Path) -> None:
    """Made, sent, collected and opened again with processes beside: as in this process alone."""
    models = [provider(max_requests_per_batch=2), provider("gemini")]
    alone = RawDataset(config(topics=9), home=tmp_path / "one", fake=fake, clock=FakeClock(fake)).generate(models)
    with ProcessPoolExecutor(2) as pool:
        dataset = RawDataset(config(topics=9, output_file="two.jsonl"), home=tmp_path / "two", fake=fake, executor=pool)
        run = dataset.submit(models)
        together = RawDataset.open(run.id, home=tmp_path / "two", fake=fake, executor=pool).collect()
    assert together.read_bytes() == alone.read_bytes()
    assert len(read(together)) == 36


def test_what_is_no_executor_is_refused_before_anything_is_sent(fake: FakeServer) -> None:
    """A Dask client looks like one; the error says what to hand over instead."""
    client: Any = object()
    with pytest.raises(ExecutorError, match=r"not object; of a Dask client it is client\.get_executor\(pure=False\)"):
        RawDataset(config(), fake=fake, executor=client).submit([provider()])
    assert fake.batches("openai") == []


def test_a_broken_executor_loses_nothing(fake: FakeServer) -> None:
    """Nothing was sent, no run is there, and the same call without it goes on."""
    with ProcessPoolExecutor(1) as broken:
        with pytest.raises(BrokenExecutor):
            broken.submit(os._exit, 1).result()
        with pytest.raises(ExecutorError, match="nothing is lost: the same command continues"):
            RawDataset(config(), fake=fake, executor=broken).submit([provider()])
        assert fake.batches("openai") == []
        run = RawDataset(config(), fake=fake).submit([provider()])
        with pytest.raises(ExecutorError, match="nothing is lost"):
            RawDataset.open(run.id, fake=fake, executor=broken).collect()
    assert len(read(RawDataset.open(run.id, fake=fake).collect())) == 6
    assert len(fake.batches("openai")) == 1
