"""
The results of an ended batch, request by request: who was reached, in which order, and what planned faults do
    to them.

Knows no wire format: a service turns each `Wanted` into a line of its own.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from batchfast.fake.faults import Fault
from batchfast.fake.ids import seeded
from batchfast.fake.records import Batch, Line
from batchfast.fake.replies import Ask, Reply, answer, distort


@dataclass(frozen=True)
class Wanted:
    """
    One request of an ended batch.

    Args:
        line: The line of the input, parsed.
        fate: "answered", or why there is no answer: "cancelled", "expired".
        ids: For the ids and times of the answer; the same numbers in every process.
    """

    index: int
    line: dict[str, Any]
    custom_id: str
    fate: str
    faults: tuple[Fault, ...]
    ids: random.Random
    seed: int
    words: tuple[int, int]

    @property
    def error(self) -> Fault | None:
        """A planned error in place of an answer."""
        return next((fault for fault in self.faults if fault.does == "error"), None)

    def reply(self, ask: Ask) -> Reply:
        """The answer, spoiled as planned."""
        return distort(ask, answer(ask, seed=self.seed, words=self.words), (fault.does for fault in self.faults))


def result_lines(
    batch: Batch,
    path: Path,
    custom_id: Callable[[dict[str, Any]], str],
    render: Callable[[Wanted], Line],
    *,
    shuffled: bool = False,
) -> Iterator[Line]:
    """
    The result lines of a batch that has ended, in constant memory. Same batch, same lines.

    Args:
        path: The batch's input.
        custom_id: Finds a request's id in its input line.
        render: Writes one result line.
        shuffled: Give them in an order of their own; a planned fault asks for that too.
    """
    life = batch.life
    answered = batch.answered(life.ended_at)
    offsets = list(_line_offsets(path))
    order = list(range(len(offsets)))
    if shuffled or any(bound.fault.does == "shuffle" for bound in batch.faults):
        seeded(f"order:{batch.id}").shuffle(order)
    bound = [one for one in batch.faults if one.fault.on_requests]
    with path.open("rb") as source:
        for index in order:
            source.seek(offsets[index])
            line = json.loads(source.readline())
            name = custom_id(line)
            mine = [one for one in bound if one.fault.takes(batch.seed, index, name)]
            fate = "answered" if index < answered else life.end
            if fate == "answered" and any(one.fault.does == "expire" for one in mine):
                fate = "expired"
            if fate != "answered":
                mine = [one for one in mine if one.fault.does in ("expire", "duplicate", "drop")]
            ids = seeded(f"{batch.id}:{index}")
            wanted = Wanted(index, line, name, fate, tuple(one.fault for one in mine), ids, batch.seed, batch.words)
            rendered = render(wanted)
            does = {fault.does for fault in wanted.faults}
            copies = 0 if "drop" in does else 2 * rendered.copies if "duplicate" in does else rendered.copies
            yield replace(rendered, copies=copies, faults=tuple(one.id for one in mine))


def _line_offsets(path: Path) -> Iterator[int]:
    offset = 0
    with path.open("rb") as source:
        for line in source:
            if line.strip():
                yield offset
            offset += len(line)
