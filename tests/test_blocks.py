"""Requests in grid order, cut into blocks that are small enough for any process."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchfast import blocks


@given(
    entries=st.integers(1, 4),
    sizes=st.lists(st.none() | st.sampled_from([1, 5, 40, 200]), max_size=60),
    most=st.integers(1, 9),
    most_bytes=st.integers(1, 50),
)
def test_blocks_hold_every_answer_once_with_its_request(
    entries: int, sizes: list[int | None], most: int, most_bytes: int
) -> None:
    """None is a request without rows; only a single position may be more than a block takes."""
    positions = len(sizes) // entries
    answers = [
        (index, 0, "output", 0, size) for index, size in enumerate(sizes[: positions * entries]) if size is not None
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "_BLOCK", most)
        patch.setattr(blocks, "_BLOCK_BYTES", most_bytes)
        cut = list(blocks._cut(iter(answers), positions, entries))  # noqa: SLF001
    assert [position for found, _ in cut for position in found] == list(range(positions))
    assert [answer for _, found in cut for answer in found] == answers
    for block, found in cut:
        assert all(index // entries in block for index, *_ in found)
        assert len(block) == 1 or (len(block) * entries <= most and sum(size for *_, size in found) <= most_bytes)
