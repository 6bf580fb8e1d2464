"""
The results of an ended batch, request by request: who was reached, in which order, and what planned faults do
    to them.

Knows no wire format: a service turns each `Wanted` into a line of its own.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from batchfast.fake.faults import Fault
from batchfast.fake.ids import seeded
from batchfast.fake.records import Batch, Bound, Line
from batchfast.fake.replies import Ask, Reply, answer, distort


@dataclass(frozen=True)
class Wanted:
    """
    One request of an ended batch.

    Args:
        line: The line of the input, parsed.
        fate: "answered", or why there is no answer: "cancelled", "expired".
        ids: For the ids and times of the answer; the same numbers in every process.
        fired: Numbers of the faults that changed something, filled while the line is rendered.
    """

    index: int
    line: dict[str, Any]
    custom_id: str
    fate: str
    bound: tuple[Bound, ...]
    ids: random.Random
    seed: int
    words: tuple[int, int]
    fired: set[int] = field(default_factory=set)

    @property
    def error(self) -> Fault | None:
        """A planned error in place of an answer."""
        return next((one.fault for one in self._firing("error")), None)

    def reply(self, ask: Ask) -> Reply:
        """The answer, spoiled as planned."""
        reply = answer(ask, seed=self.seed, words=self.words)
        for one in self.bound:
            spoiled = distort(ask, reply, (one.fault.does,))
            if spoiled != reply:
                reply = spoiled
                self.fired.add(one.id)
        return reply

    def copies(self, of_it: int) -> int:
        """How often the line comes, which would come `of_it` times."""
        if any(self._firing("drop")):
            return 0
        return 2 * of_it if any(self._firing("duplicate")) else of_it

    def _firing(self, does: str) -> Iterator[Bound]:
        for one in self.bound:
            if one.fault.does == does:
                self.fired.add(one.id)
                yield one


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
    planned = any(bound.fault.does == "shuffle" for bound in batch.faults)
    if shuffled or planned:
        seeded(f"order:{batch.id}").shuffle(order)
    if planned and order == sorted(order):
        order.append(order.pop(0))
    bound = [one for one in batch.faults if one.fault.on_requests]
    with path.open("rb") as source:
        for index in order:
            source.seek(offsets[index])
            line = json.loads(source.readline())
            name = custom_id(line)
            mine = tuple(one for one in bound if one.fault.takes(batch.seed, index, name))
            expiring = {one.id for one in mine if one.fault.does == "expire"} if index < answered else set()
            fate = "expired" if expiring else "answered" if index < answered else life.end
            ids = seeded(f"{batch.id}:{index}")
            wanted = Wanted(index, line, name, fate, mine, ids, batch.seed, batch.words, expiring)
            rendered = render(wanted)
            yield replace(rendered, copies=wanted.copies(rendered.copies), faults=tuple(wanted.fired))


def _line_offsets(path: Path) -> Iterator[int]:
    offset = 0
    with path.open("rb") as source:
        for line in source:
            if line.strip():
                yield offset
            offset += len(line)
