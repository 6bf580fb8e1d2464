"""Submission files keep their limits and their bytes."""

from __future__ import annotations

import hashlib
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchfast.compiler import compile_shards, write_files
from batchfast.errors import RequestTooLarge
from batchfast.fake import FakeServer
from batchfast.grid import Grid
from batchfast.plan import plan
from batchfast.records import Limits, Positions
from batchfast.walk import Block
from tests.helpers import provider, session, spec


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 60), max_size=40),
    max_requests=st.integers(1, 7),
    max_bytes=st.integers(61, 200),
    envelope=st.integers(-1, 0),
    block=st.integers(1, 9),
)
def test_files_hold_every_line_once_within_the_limits(
    tmp_path_factory: pytest.TempPathFactory,
    sizes: list[int],
    max_requests: int,
    max_bytes: int,
    envelope: int,
    block: int,
) -> None:
    """Any lines: in order, none lost, no file over a limit, none that the next file's first line still fitted into."""
    folder = tmp_path_factory.mktemp("files")
    lines = [b"x" * (size - 1) + b"\n" for size in sizes]
    blocks = [
        Block.of(range(at, at + block)[: len(lines) - at], lines[at : at + block]) for at in range(0, len(lines), block)
    ]
    limits = Limits(max_requests, max_bytes, envelope)
    files = list(write_files(blocks, limits, lambda number: folder / f"{number}", count()))
    contents = [(folder / f"{file.number}").read_bytes() for file in files]
    assert b"".join(contents) == b"".join(lines)
    assert [position for file in files for position in file.positions] == list(range(len(lines)))
    for file, content in zip(files, contents, strict=True):
        assert len(content) + envelope <= max_bytes
        assert 1 <= len(file.positions) == file.requests <= max_requests
        assert file.largest_bytes == max(map(len, content.splitlines(keepends=True)))
        assert (file.size_bytes, file.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    for file, content, after in zip(files, contents, contents[1:], strict=False):
        full = len(file.positions) == max_requests
        assert full or len(content) + after.index(b"\n") + 1 + envelope > max_bytes


def test_files_of_batches_without_a_label_differ_in_their_counts(tmp_path: Path) -> None:
    """Anthropic's: after a lost answer the number of requests tells batches apart. Small files stay as asked."""
    blocks = [Block.of(range(at, at + 500), [b"x\n"] * 500) for at in range(0, 4_000, 500)]

    def counts(max_requests: int, told_apart: bool) -> list[int]:
        limits = Limits(max_requests, 1_000_000, told_apart_by_count=told_apart)
        return [len(file.positions) for file in write_files(blocks, limits, lambda n: tmp_path / f"{n}", count())]

    assert counts(1_000, True) == [1_000, 999, 998, 997, 6]
    assert counts(1_000, False) == [1_000] * 4
    assert counts(80, True) == [80] * 50
    assert provider("anthropic").limits.told_apart_by_count
    assert not any(provider(name).limits.told_apart_by_count for name in ("openai", "gemini"))


def test_a_plan_counts_the_files_that_are_compiled(fake: FakeServer, tmp_path: Path) -> None:
    """Whatever sizes they are cut to: by count, by distinct counts, or by tokens in the queue."""
    models = [
        provider("anthropic", max_requests_per_batch=200),
        provider("openai", max_requests_per_batch=200),
        provider("gemini", max_enqueued_tokens=20_000),
    ]
    wanted = spec(*models, topics=999)
    with session(fake, tmp_path) as home:
        run, _ = home.enter(wanted, fake=True)
        shards = home.store.shards(run.no)
    planned = [entry["files"] for entry in plan(wanted, fake=True)["providers"]]
    assert planned == [sum(row.entry == entry for row in shards) for entry in range(3)]
    assert [row.requests for row in shards if row.entry == 0] == [200, 199, 198, 200, 199, 3]


def test_request_over_the_limit_names_itself_and_both_sizes(tmp_path: Path) -> None:
    """A single request over the limit is an error before anything is sent."""
    blocks = [Block.of(range(2), [b"x\n", b"y" * 100 + b"\n"])]
    with pytest.raises(RequestTooLarge, match=r"run-nonce-1-1 .*101 bytes.*limit of 50") as caught:
        list(
            write_files(blocks, Limits(10, 50), lambda number: tmp_path / f"{number}", count(), "run-nonce-{}-1".format)
        )
    assert (caught.value.size_bytes, caught.value.max_bytes) == (101, 50)


@pytest.mark.parametrize("name", ["openai", "anthropic", "gemini"])
def test_compiling_twice_gives_the_same_bytes(tmp_path: Path, name: str) -> None:
    """Same grid, same run, same home: same files and hashes."""
    model = provider(name, max_requests_per_batch=4)
    grid = Grid(spec(model, topics=10).snapshot)

    def compiled(folder: str) -> list[tuple[str, bytes]]:
        shards = compile_shards(
            grid, model, 0, range(10), "run-nonce", 1, lambda number: tmp_path / folder / f"{number}", count()
        )
        return [(shard.sha256, (tmp_path / folder / f"{shard.number}").read_bytes()) for shard in shards]

    first = compiled("a")
    assert first == compiled("b")
    assert [data.count(b"\n") for _, data in first] == [4, 4, 2]


@given(st.sets(st.integers(0, 300)))
def test_positions_text_reads_back(positions: set[int]) -> None:
    """What the store keeps of a shard's requests is what went in."""
    text = Positions.of(sorted(positions))
    assert list(text) == sorted(positions)
    assert len(text) == len(positions)
