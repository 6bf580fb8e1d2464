"""The dataset: grid order, lasting ids, and nobody's file destroyed."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchfast.engine import Engine
from batchfast.errors import ConfigError
from batchfast.export import _Occurrences, write_partial
from batchfast.fake import FakeServer, Fault
from batchfast.llms.typed import to_json
from batchfast.prompts import DEFAULT_PROMPT
from batchfast.schema.config import PromptExpansionConfig
from batchfast.session import Session
from batchfast.spec import Spec
from tests.helpers import provider, read, session, spec

Plan = Callable[..., None]


def finish(home: Session, wanted: Spec, *, again: bool = False, **settle: Any) -> tuple[Path, list[dict[str, Any]]]:
    run, _ = home.enter(wanted, fake=True, again=again)
    with home.work(run) as engine:
        written = home.settle(engine.ctx, engine.drive(), **settle)
    assert written is not None
    return written.path, read(written.path)


def test_rows_stand_in_grid_order_with_complete_metadata(fake: FakeServer, tmp_path: Path) -> None:
    """Document type, topic, language, (prompt, expansion), provider, sample; every placeholder's value is there."""
    wanted = spec(
        provider("openai", max_requests_per_batch=3),
        provider("gemini"),
        topics=2,
        document_types=["essay", "poem"],
        languages={"en": "English", "fr": "French"},
        prompts=["{num_samples} {language_name} {document_type} on {topic} for {{who}}"],
        expansion=PromptExpansionConfig(placeholders={"who": ["kids", "experts"]}),
    )
    with session(fake, tmp_path) as home:
        _, rows = finish(home, wanted)
    expected = [
        (kind, topic, language, who, model, sample)
        for kind in ("essay", "poem")
        for topic in ("topic 0", "topic 1")
        for language in ("en", "fr")
        for who in ("kids", "experts")
        for model in ("openai", "gemini")
        for sample in (0, 1)
    ]
    found = [
        (m["document_type"], m["topic"], row["language"], m["who"], m["provider"], m["sample_index"])
        for row in rows
        for m in [row["metadata"]]
    ]
    assert found == expected
    assert [row["metadata"]["request_index"] for row in rows] == [number // 2 for number in range(64)]
    assert {tuple(row) for row in rows} == {("uuid", "text", "text_source", "model_id", "language", "metadata")}
    assert {row["text_source"] for row in rows} == {"synthetic"}
    assert len({row["uuid"] for row in rows}) == len(rows)


def test_uuids_depend_on_what_was_asked_alone(fake: FakeServer, tmp_path: Path) -> None:
    """Another home, another run, another split, another place in the grid: same question, same uuid."""
    with session(fake, tmp_path / "a") as home:
        _, first = finish(home, spec(topics=2, output_file=str(tmp_path / "a.jsonl")))
        _, second = finish(home, spec(topics=2, output_file=str(tmp_path / "b.jsonl")), again=True)
    with session(fake, tmp_path / "c") as home:
        more = spec(provider(max_requests_per_batch=1), topics=4, output_file=str(tmp_path / "c.jsonl"))
        _, third = finish(home, more)
    ids = [row["uuid"] for row in first]
    assert ids == [row["uuid"] for row in second] == [row["uuid"] for row in third][:4]


def test_the_same_question_asked_twice_has_two_uuids(fake: FakeServer, tmp_path: Path) -> None:
    """A topic listed twice and a model entered twice: which occurrence it is makes the difference."""
    wanted = spec(provider(), provider(), topics=1).config.model_copy(update={"topics": ["same", "same"]})
    with session(fake, tmp_path) as home:
        _, rows = finish(home, Spec.of(wanted, [provider(), provider()]))
    assert len({row["uuid"] for row in rows}) == len(rows) == 8


@given(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 3), max_size=60))
def test_occurrences_are_counted_exactly(numbers: list[int]) -> None:
    """The table agrees with a plain count, for any numbers; 0 and 1 share a slot by design."""
    table = _Occurrences(len(numbers))
    seen: dict[int, int] = {}
    for number in numbers:
        key = number or 1
        assert table.count(number) == seen.get(key, 0)
        seen[key] = seen.get(key, 0) + 1


def test_strange_text_survives_from_prompt_to_failure(fake: FakeServer, plan: Plan, tmp_path: Path) -> None:
    """Braces, quotes, newlines, emoji and U+2028 in a topic arrive in rows and failures as they were."""
    odd = 'a "b" {topic} {{x}} {\n\u2028\u0085 \U0001f600 \\n }'
    plan(Fault("error", status=400, custom_id="-1-1$"))
    wanted = spec(topics=1).config.model_copy(update={"topics": [odd, odd + "2"]})
    with session(fake, tmp_path) as home:
        path, rows = finish(home, Spec.of(wanted, [provider()]))
    assert {row["metadata"]["topic"] for row in rows} == {odd}
    failure = read(path.with_name("out.failures.jsonl"))[0]
    assert odd + "2" in failure["prompt"]
    assert failure["metadata"]["topic"] == odd + "2"


def test_someone_elses_file_is_left_alone(fake: FakeServer, tmp_path: Path) -> None:
    """`output_file` holds other data: the rows go to `<stem>.<run>.jsonl`, unless forced."""
    (tmp_path / "out.jsonl").write_text("precious\n")
    with session(fake, tmp_path) as home:
        path, rows = finish(home, spec())
        run = home.store.runs()[0]
        assert path == tmp_path / f"out.{run.id}.jsonl"
        assert (tmp_path / "out.jsonl").read_text() == "precious\n"
        forced, _ = finish(home, spec(), force=True)
        assert forced == tmp_path / "out.jsonl"
        assert read(forced) == rows
        chosen, _ = finish(home, spec(), output=tmp_path / "mine.jsonl")
        assert chosen == tmp_path / "mine.jsonl"


def test_a_dataset_edited_by_hand_is_left_alone(fake: FakeServer, tmp_path: Path) -> None:
    """Only what this run last wrote is replaced; two foreign files leave nowhere to write."""
    with session(fake, tmp_path) as home:
        path, _ = finish(home, spec())
        path.write_bytes(path.read_bytes() + b"{}\n")
        other, _ = finish(home, spec())
        assert other != path
        assert path.read_bytes().endswith(b"{}\n")
        other.write_bytes(b"mine too")
        with pytest.raises(ConfigError, match=r"something else.*--force"):
            finish(home, spec())


def test_someone_elses_failures_file_is_left_alone(fake: FakeServer, plan: Plan, tmp_path: Path) -> None:
    """The failures file is protected as the dataset is."""
    plan(Fault("error", status=400, custom_id="-1-1$"))
    (tmp_path / "out.failures.jsonl").write_text("precious")
    with session(fake, tmp_path) as home:
        path, _ = finish(home, spec())
    assert (tmp_path / "out.failures.jsonl").read_text() == "precious"
    assert path.with_name(f"{path.stem}.failures.jsonl").is_file()


def test_there_is_no_failures_file_without_failures(fake: FakeServer, tmp_path: Path) -> None:
    """Absent if every request gave a row."""
    with session(fake, tmp_path) as home:
        path, _ = finish(home, spec())
        assert not path.with_name("out.failures.jsonl").exists()


def test_partial_holds_what_is_settled(fake: FakeServer, plan: Plan, tmp_path: Path) -> None:
    """`--partial` writes settled rows with their final uuids, and the dataset itself is not there yet."""
    plan(Fault("stick", nth=2))
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(provider(max_requests_per_batch=2), topics=4), fake=True)
        with home.work(run) as engine:
            engine.one_pass(everything=True)
            engine.one_pass(everything=True)
            path, count = write_partial(engine.ctx, Path(run.output_file))
            assert (path.name, count) == ("out.partial.jsonl", 4)
            fake.finish_all()
            fake.advance(hours=30)
            written = home.settle(engine.ctx, engine.drive())
    assert written is not None
    assert read(path) == read(written.path)[:4]


def test_a_crash_between_rename_and_bookkeeping_keeps_the_file_ours(
    fake: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hash is recorded before the file appears, so the next collect replaces it rather than writing beside it."""
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(), fake=True)
        with home.work(run) as engine:
            progress = engine.drive()

            def dies(*_: object, **__: object) -> None:
                raise KeyboardInterrupt

            with monkeypatch.context() as patch:
                patch.setattr(home.store, "update_run", dies)
                with pytest.raises(KeyboardInterrupt):
                    home.settle(engine.ctx, progress)
        assert (tmp_path / "out.jsonl").exists()
        assert home.store.run(run.id).state != "done"
        path, _ = finish(home, spec())
    assert path == tmp_path / "out.jsonl"


def test_a_row_is_plain_json_in_utf8(fake: FakeServer, tmp_path: Path) -> None:
    """Text stands unescaped; one object a line, newline at the end."""
    with session(fake, tmp_path) as home:
        path, _ = finish(home, spec(languages={"ja": "Japanese"}))
    data = path.read_bytes()
    assert data.endswith(b"}\n")
    assert any(ord(character) > 0x3000 for character in data.decode())
    assert [json.loads(line)["language"] for line in data.splitlines()] == ["ja"] * 6


def test_a_row_is_what_the_json_module_would_write(fake: FakeServer, tmp_path: Path) -> None:
    """A dataset that was written before can be told from another by its hash, whatever stands in it."""
    odd = '"\\\t\x01\x7f\u2028 é 語 😀'
    expansion = PromptExpansionConfig(placeholders={"mood": [odd, "plain"]})
    prompts = ["{num_samples} {document_type} {language_name} {topic} {{mood}}", DEFAULT_PROMPT]
    wanted = spec(provider("gemini"), document_types=[odd], prompts=prompts, expansion=expansion)
    with session(fake, tmp_path) as home:
        path, rows = finish(home, wanted)
    assert {row["metadata"]["mood"] for row in rows} == {odd, "plain", None}
    assert path.read_bytes() == b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def test_a_uuid_is_made_of_what_was_asked_and_the_sample(fake: FakeServer, tmp_path: Path) -> None:
    """uuid5 of the hash of provider, model and body, of which occurrence of it, and of the sample: never another."""
    entry = provider("openai")
    with session(fake, tmp_path) as home:
        _, rows = finish(home, spec(entry, topics=2, prompts=[DEFAULT_PROMPT] * 2))
        sent = next((home.home.path / "runs").glob("*/requests/*.jsonl")).read_bytes().splitlines()
    expected = []
    for number, line in enumerate(sent):
        body = re.sub(rb'"custom_id":"[^"]*"', b'"custom_id":""', line, count=1)
        asked = hashlib.sha256(f"openai\n{entry.model_id}\n".encode() + body).hexdigest()
        space = uuid.uuid5(uuid.NAMESPACE_URL, "urn:batchfast:row")
        expected += [str(uuid.uuid5(space, f"{asked}\n{number % 2}\n{sample}")) for sample in range(2)]
    assert [row["uuid"] for row in rows] == expected


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_text_is_escaped_as_the_json_module_escapes_it(text: str) -> None:
    """Character for character, in bytes."""
    assert to_json(text) == json.dumps(text, ensure_ascii=False).encode()


def test_nothing_is_written_before_the_run_has_settled(fake: FakeServer, plan: Plan, tmp_path: Path) -> None:
    """A run with a batch still going has no dataset."""
    plan(Fault("stick"))
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(), fake=True)
        with home.work(run) as engine:
            assert isinstance(engine, Engine)
            engine.one_pass(everything=True)
            assert home.settle(engine.ctx, engine.one_pass(everything=True)) is None
    assert not (tmp_path / "out.jsonl").exists()
