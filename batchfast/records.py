"""
The values that move between the steps, frozen. Imports nothing of batchfast.

A *request* has an index in the grid. With P provider entries, request `index` belongs to entry `index % P` and is
that entry's request number `index // P`: its *position*. A shard holds positions of one entry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

# A token is about four bytes of UTF-8 in Latin scripts, and about one character, three bytes, in Chinese or Japanese.
BYTES_PER_TOKEN = 4

# Of a number in an id; Python reads no more than 4,300.
_MOST_DIGITS = 18

Outcome = Literal["succeeded", "failed", "expired", "cancelled"]
OUTCOMES: tuple[Outcome, ...] = ("succeeded", "failed", "expired", "cancelled")

# How a reply ended, whatever word the provider has for it.
Ending = Literal["complete", "truncated", "refused", "blocked", "other"]


@dataclass(frozen=True, slots=True)
class Request:
    """
    One prompt for one model.

    Attributes:
        custom_id: `<run>-<home nonce>-<index>-<attempt>`, at most 64 of `A-Za-z0-9_-`.
        prompt: The user's message.
        num_samples: How many texts the reply shall hold.
        doublings: How often its token limit, where it has one, was doubled (count).
    """

    custom_id: str
    prompt: str
    num_samples: int
    doublings: int = 0


def tokens_in(size_bytes: int) -> int:
    """About how many tokens a text of so many bytes has."""
    return size_bytes // BYTES_PER_TOKEN


def custom_id(prefix: str, index: int, attempt: int) -> str:
    """The id of a request on the wire, from `<run>-<home nonce>`; `split_custom_id` is its inverse."""
    return f"{prefix}-{index}-{attempt}"


def split_custom_id(text: str) -> tuple[str, int, int] | None:
    """`("<run>-<home nonce>", index, attempt)`, or None for an id that batchfast never made."""
    parts = text.rsplit("-", 2)
    if len(parts) != 3 or not (_is_plain_int(parts[1]) and _is_plain_int(parts[2])):
        return None
    return parts[0], int(parts[1]), int(parts[2])


def index_of(custom_id: str, prefix: str, attempt: int) -> int | None:
    """The index in an id of that prefix and attempt, in half the time of `split_custom_id`; None for any other id."""
    head, tail = len(prefix) + 1, len(str(attempt)) + 1
    number = custom_id[head:-tail]
    if not _is_plain_int(number) or custom_id != f"{prefix}-{number}-{attempt}":
        return None
    return int(number)


def _is_plain_int(text: str) -> bool:
    return len(text) <= _MOST_DIGITS and text.isascii() and text.isdigit() and (text == "0" or text[0] != "0")


class Usage(NamedTuple):
    """
    Tokens of one reply; None where the provider did not say.

    Attributes:
        input_tokens: All input, cached and cache writes included.
        output_tokens: All output, reasoning included.
        cached_input_tokens: Input read from a cache.
        cache_write_tokens: Input written to a cache.
        reasoning_tokens: Output that was reasoning.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_input_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class RequestError:
    """
    Why one request gave no answer.

    Attributes:
        type: The provider's own word, or ours ("missing", "unparsable", ...).
        status_code: HTTP status of the request inside the batch, where there is one.
        retryable: The same request may succeed when sent again.
    """

    type: str
    message: str
    status_code: int | None = None
    retryable: bool = False


class Result(NamedTuple):
    """
    What a provider says of one request: one line of a result file.

    A refused, truncated or blocked answer is `succeeded`, with its `finish_reason` (the provider's word) and its
    `ending` (ours). `text` is the reply as it came, None where there is none.
    """

    custom_id: str
    outcome: Outcome
    text: str | None = None
    finish_reason: str | None = None
    model: str | None = None
    usage: Usage | None = None
    error: RequestError | None = None
    ending: Ending | None = None


# The `text` and the `ending` of a result.
Said: TypeAlias = tuple[str | None, Ending]


@dataclass(frozen=True, slots=True)
class Limits:
    """
    What a provider takes in one submission.

    Attributes:
        max_requests: Requests per shard (count).
        max_bytes: Size of the body really sent (bytes).
        envelope_bytes: What the body needs beyond the lines with one separator each (bytes; may be negative).
        max_tokens: What a person allows one submission to have of input (tokens, estimated).
        told_apart_by_count: Batches carry no label: files of one run shall differ in how many requests they have.
    """

    max_requests: int
    max_bytes: int
    envelope_bytes: int = 0
    max_tokens: int | None = None
    told_apart_by_count: bool = False

    def requests_in(self, number: int) -> int:
        """How many requests the file of that number may hold: where counts tell files apart, up to 1 % fewer."""
        variety = self.max_requests // 100 + 1 if self.told_apart_by_count else 1
        return self.max_requests - number % variety

    @property
    def room_bytes(self) -> int:
        """How large the lines may be together, newlines included."""
        room = self.max_bytes - self.envelope_bytes
        return room if self.max_tokens is None else min(room, self.max_tokens * BYTES_PER_TOKEN)


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """
    A submission file on disk, as it is entered in the store before anything is sent.

    Attributes:
        entry: Which provider entry, from 0; `number`: which of its shards, from 0; `attempt`: from 1.
        uncounted: How many of the attempts before were nobody's try (count): they use up none of `max_attempts`.
        doublings: How often the token limit of its requests was doubled (count).
        refusals: How often its requests were refused in a row for want of room (count).
        positions: Which of the entry's requests, as `Positions` text.
        requests: How many (count).
        size_bytes, sha256: Of the file.
        largest_bytes: Size of its largest line.
    """

    entry: int
    number: int
    attempt: int
    uncounted: int
    doublings: int
    refusals: int
    provider: str
    model_id: str
    positions: str
    requests: int
    size_bytes: int
    largest_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Shard:
    """
    One submission file.

    Attributes:
        label: `<run>-<nonce>-<entry>-<number>-<attempt>`: names the shard at providers whose batches carry a name.
        id_prefix: `<run>-<nonce>`: how each of its custom_ids begins.
        path: The file with one encoded request a line.
        requests: How many (count).
        size_bytes: Size of that file.
        opener: What opens it to be sent, where somebody wants to know how much of it was read.
    """

    label: str
    id_prefix: str
    path: Path
    requests: int
    size_bytes: int
    opener: Callable[[Path], AbstractContextManager[BufferedReader]] | None = field(default=None, compare=False)

    def opened(self) -> AbstractContextManager[BufferedReader]:
        """Its file, to be read once from the beginning."""
        return self.opener(self.path) if self.opener else self.path.open("rb")


@dataclass(frozen=True, slots=True)
class Candidate:
    """
    Something at the provider that may be ours, found after a create whose outcome is unknown.

    Attributes:
        remote_id: A batch, or None where only the uploaded file was found.
        file_id: An uploaded input file, where there is one.
        certain: It carries our label. Otherwise only the custom_ids of its results can prove it.
    """

    remote_id: str | None
    file_id: str | None
    certain: bool


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A result file at the provider: `ref` is what `download` needs to get it."""

    kind: Literal["output", "error"]
    ref: str


@dataclass(frozen=True, slots=True)
class BatchSnapshot:
    """
    What a provider says of a batch at one moment.

    Attributes:
        outcome: None while it runs, else how it ended: what a request without a result line then is
            ("completed": missing, "failed": the batch's own error, "expired", "cancelled").
        remote_state: The provider's word.
        known_state: False where batchfast has never heard that word; it then counts as running.
        counts: The provider's own counts by its own names; recorded, never believed.
        errors: Errors of the batch as a whole.
        files: What can be downloaded.
        late: It has ended, but a file that it must have is not named yet.
        created_at, ended_at, collect_by: UTC ISO 8601, None where unknown.
    """

    remote_id: str
    outcome: Literal["completed", "failed", "expired", "cancelled"] | None
    remote_state: str
    known_state: bool = True
    counts: dict[str, int] = field(default_factory=dict)
    errors: tuple[RequestError, ...] = ()
    files: tuple[RemoteFile, ...] = ()
    late: bool = False
    created_at: str | None = None
    ended_at: str | None = None
    collect_by: str | None = None


@dataclass(frozen=True, slots=True)
class ListedBatch:
    """A batch that an account lists: `label` is the name it carries, None where it carries none."""

    label: str | None
    snapshot: BatchSnapshot


@dataclass(frozen=True, slots=True)
class ListedFile:
    """An uploaded input file that an account lists: `label` is its name, `ref` what `delete` takes."""

    label: str
    ref: str


@dataclass(frozen=True, slots=True)
class Positions:
    """
    Which requests of an entry a shard holds, as text: "0-49999" or "3,7-12"; ascending, none twice.

    The text is what the store keeps: short for whole shards, readable for retries.
    """

    text: str

    @classmethod
    def of(cls, positions: Iterable[int]) -> Positions:
        """From ascending positions, read once."""
        parts: list[str] = []
        first = last = -2
        for position in positions:
            if position != last + 1:
                parts.append(_span(first, last))
                first = position
            last = position
        return cls(",".join((*parts[1:], _span(first, last))) if last >= 0 else "")

    @classmethod
    def of_ranges(cls, ranges: Iterable[range]) -> Positions:
        """From ascending ranges that do not overlap; those that touch become one."""
        joined: list[tuple[int, int]] = []
        for numbers in ranges:
            if joined and joined[-1][1] == numbers.start:
                joined[-1] = (joined[-1][0], numbers.stop)
            elif numbers:
                joined.append((numbers.start, numbers.stop))
        return cls(",".join(_span(first, stop - 1) for first, stop in joined))

    def ranges(self) -> Iterator[range]:
        for part in self.text.split(",") if self.text else ():
            first, _, last = part.partition("-")
            yield range(int(first), int(last or first) + 1)

    def __iter__(self) -> Iterator[int]:
        for numbers in self.ranges():
            yield from numbers

    def __len__(self) -> int:
        return sum(map(len, self.ranges()))


def _span(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"
