"""
What the services remember. No HTTP, no wire format.

Everything lies in one folder, `state.db` and `files/`, so that several processes can serve it, at the same time or one
after the other, and agree.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from batchfast.fake.batches import Batches, Habits
from batchfast.fake.database import Database
from batchfast.fake.fault_plan import Plan
from batchfast.fake.files import Files


class State:
    """
    The folder of the fake.

    Args:
        folder: Made if absent. May be served by other processes too.
        batch_seconds: How long a batch created here takes. The batch keeps it.
        seed: What the answers to batches created here follow from. The batch keeps it.
        words: Least and most words of a text in their answers. The batch keeps it.
        clock: Unix seconds.
    """

    def __init__(
        self,
        folder: Path,
        *,
        batch_seconds: float = 1.0,
        seed: int = 0,
        words: tuple[int, int] = (60, 150),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.seed = seed
        self.words = words
        folder.mkdir(parents=True, exist_ok=True)
        self._db = Database(folder / "state.db", clock)
        self.files = Files(self._db, folder / "files")
        self.plan = Plan(self._db)
        self.batches = Batches(self._db, self.files, self.plan, Habits(batch_seconds, seed, words))

    def close(self) -> None:
        self._db.close()

    def reset(self) -> None:
        """Forget everything: files, batches, faults, and time moved forward."""
        with self.batches.at_rest():
            self._db.clear()
            self.files.clear()

    def now(self) -> float:
        """The fake's time, in unix seconds: the clock and what `advance` added, in any process."""
        return self._db.now()

    def advance(self, seconds: float) -> None:
        self._db.advance(seconds)

    def count_answer(self, provider: str, model: str, input_tokens: int, output_tokens: int) -> None:
        """Remember a request answered at once, for the bill."""
        with self._db.writing() as db:
            db.execute(
                "insert into answers values (?, ?, 1, ?, ?) on conflict do update set requests = requests + 1,"
                " input_tokens = input_tokens + excluded.input_tokens,"
                " output_tokens = output_tokens + excluded.output_tokens",
                (provider, model, input_tokens, output_tokens),
            )

    def answers(self, provider: str) -> dict[str, tuple[int, int, int]]:
        """What was answered at once: by model, requests, tokens read and tokens written."""
        rows = self._db.rows("select * from answers where provider = ? order by model", provider)
        return {row["model"]: (row["requests"], row["input_tokens"], row["output_tokens"]) for row in rows}
