"""
Several of a run's shards on their way at once.

Only their uploads overlap, each in a thread of its own. All that touches the store or costs money happens in the
thread that sends, one thing at a time, in the order in which the shards were begun: a create, its fence and what is
known of the creates before it stand to each other as if there were no threads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from threading import Thread
from types import TracebackType

from batchfast.admission import Admission, Answer
from batchfast.context import Context
from batchfast.store import IN_FLIGHT, ShardRow
from batchfast.submit import begin, conclude, upload_of

Upload = Callable[[], str | None]


class Sender:
    """
    Sends what there is room for during one pass. Whatever ends it, Ctrl-C too, leaves what is under way *submitting*,
    and its uploads behind: without a create they cost nothing, and `recover` finds them.

    Attributes:
        admission: What is in flight, as it is now.
    """

    def __init__(self, ctx: Context) -> None:
        self.admission = Admission(ctx)
        self._ctx = ctx
        self._at_once = 1
        self._refusing: set[int] = set()  # entries whose provider takes nothing just now
        self._under_way: deque[tuple[ShardRow, Upload]] = deque()

    def send(self, waiting: Sequence[ShardRow]) -> None:
        """Send those of the waiting shards that may go now; none is under way any more when this returns."""
        self._at_once = min(self._ctx.max_parallel_uploads, len(waiting))
        for row in waiting:
            self._offer(row)
        while self._under_way:
            self._conclude(*self._under_way.popleft())

    def _offer(self, row: ShardRow) -> None:
        """Begin a shard if it may go. Those under way may have to end first: refused, they leave room for it."""
        while row.entry not in self._refusing:
            answer = self.admission.judge(row)
            if self._under_way and self._must_wait(answer):
                self._conclude(*self._under_way.popleft())
                continue
            if answer == "go":
                self._begin(row)
            return

    def _must_wait(self, answer: Answer) -> bool:
        return answer == "no room" or (answer == "go" and len(self._under_way) == self._at_once)

    def _begin(self, row: ShardRow) -> None:
        if not begin(self._ctx, row):
            self._refusing.add(row.entry)
            return
        self.admission.sent(self._ctx.store.shard(row.id))
        upload = upload_of(self._ctx, row)
        if self._at_once == 1 or row.file_id is not None or self._ctx.provider(row).sends_inline:
            self._conclude(row, upload)
        else:
            # By now `begin` has called the provider once, so that threads find its client made.
            self._under_way.append((row, in_thread(upload)))

    def _conclude(self, row: ShardRow, upload: Upload) -> None:
        if not conclude(self._ctx, row, upload, creates=row.entry not in self._refusing):
            self._refusing.add(row.entry)
        if self._ctx.store.shard(row.id).state not in IN_FLIGHT:
            self.admission = Admission(self._ctx)


def in_thread(upload: Upload) -> Upload:
    """
    Begin an upload in a thread of its own.

    The thread is the process's to end: an executor's would be waited for at the exit, for minutes after a Ctrl-C.

    Returns:
        What waits for the upload, and returns or raises as it did.
    """
    future: Future[str | None] = Future()

    def failed(_: type[BaseException] | None, exc: BaseException | None, __: TracebackType | None) -> bool:
        if exc is not None:
            future.set_exception(exc)
        return True

    def run() -> None:
        with ExitStack() as stack:
            stack.push(failed)
            future.set_result(upload())

    Thread(target=run, name="batchfast-upload", daemon=True).start()
    return future.result
