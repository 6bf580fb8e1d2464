"""
Consecutive requests of a run to the rows of its dataset: a pure function of files, for any process to run.

What was sent is read from the request files, what came back by its place in the result files.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from array import array
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

from batchfast.answers import adapter
from batchfast.grid import Grid
from batchfast.handover import made_whole
from batchfast.jsonl import Files, without_end
from batchfast.llms import Provider
from batchfast.llms.typed import to_json
from batchfast.parse import parse_reply, plain_texts
from batchfast.records import custom_id
from batchfast.store import Answer

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:batchfast:row").bytes

# A row, as `json.dumps` would write it: uuid, text, what its request is about, and which sample it is.
_ROW = b'{"uuid": "%b", "text": %b, "text_source": "synthetic", %b%d}}\n'
_UUID_AT, _UUID_SIZE = 10, 36

_IDENTITY_SIZE = 32

# Subjects, and variations of prompts, of which is kept what rows say about them (count): a subject comes again only
# next to itself, a variation with every subject.
_SUBJECTS_KEPT, _VARIANTS_KEPT = 1_024, 65_536


class Piece(NamedTuple):
    """So many lines of a request file, from which byte, and how many bytes."""

    path: str
    offset: int
    size: int
    lines: int


class Block(NamedTuple):
    """
    Consecutive requests; picklable.

    Attributes:
        spec: The run's snapshot.
        id_prefix: How each custom_id begins.
        indices: Whole positions: it begins and ends with a request of the first provider entry.
        sent: Of each entry, where the lines of these requests stand as they were first sent.
        answers: Where the replies stand that gave rows, in grid order.
        results: Path of each result file among them, by shard and kind.
    """

    spec: str
    id_prefix: str
    indices: range
    sent: Sequence[Sequence[Piece]]
    answers: Sequence[Answer]
    results: dict[tuple[int, str], str]


class Rows(NamedTuple):
    """
    The rows of a block.

    Attributes:
        data: JSON lines, each named as if nothing had been asked for twice.
        starts: Where each begins (bytes).
        counts: How many there are of each request.
        identities: Of each request a hash (32 bytes) of what was asked of whom.
    """

    data: bytes
    starts: array[int]
    counts: array[int]
    identities: bytes

    def numbers(self) -> list[int]:
        """The first 64 bits of each identity."""
        return memoryview(self.identities).cast("Q")[:: _IDENTITY_SIZE // 8].tolist()

    def named(self, occurrences: Iterable[tuple[int, int]]) -> bytes:
        """
        The rows with the names of those whose request was asked for before.

        Args:
            occurrences: Number of a request in the block, and how often the same was asked for before it in the run.
        """
        data = bytearray(self.data)
        firsts = [0]
        for count in self.counts:
            firsts.append(firsts[-1] + count)
        for number, occurrence in occurrences:
            identity = self.identities[_IDENTITY_SIZE * number :][:_IDENTITY_SIZE]
            for sample, start in enumerate(self.starts[firsts[number] : firsts[number + 1]]):
                data[start + _UUID_AT : start + _UUID_AT + _UUID_SIZE] = _row_uuid(identity, occurrence, sample)
        return bytes(data)


def rows_of(block: Block) -> Rows:
    """
    The rows of a block's requests in grid order.

    Raises:
        OSError: A file cannot be read.
    """
    about = _about(block.spec)
    rows: list[bytes] = []
    counts = array("Q")
    identities = bytearray()
    with Files() as files:
        texts = dict(_texts(block, about.names, files))
        lines = [_lines(pieces, files) for pieces in block.sent]
        for index in block.indices:
            entry = index % len(lines)
            identity = about.identity(entry, next(lines[entry]), custom_id(block.id_prefix, index, 1))
            identities += identity
            samples = texts.get(index, ())
            counts.append(len(samples))
            if samples:
                request = about.request(index)
                rows += [
                    _ROW % (_row_uuid(identity, 0, sample), text, request, sample)
                    for sample, text in enumerate(samples)
                ]
    starts = array("Q", accumulate(map(len, rows[:-1]), initial=0) if rows else ())
    return Rows(b"".join(rows), starts, counts, bytes(identities))


def rows_to_file(task: tuple[Block, str]) -> tuple[Rows, str]:
    """As `rows_of`; `data` goes to a file of that name instead."""
    block, path = task
    with made_whole(Path(path)) as part:
        rows = rows_of(block)
        part.write_bytes(rows.data)
    return rows._replace(data=b""), path


def _texts(block: Block, names: Sequence[str], files: Files) -> Iterator[tuple[int, list[bytes]]]:
    """By index the texts that a request was given, each as a JSON string in UTF-8."""
    for index, shard_id, kind, offset, length in block.answers:
        line = files.line(block.results[shard_id, kind], offset, length)
        yield index, list(map(to_json, _texts_in(line, adapter(names[index % len(names)]))))


def _texts_in(line: bytes, provider: Provider) -> Sequence[str]:
    """Of a line that is known to give some."""
    said = provider.said(line)
    return (plain_texts(*said) if said else ()) or parse_reply(provider.decode(line), 1).texts


def _lines(pieces: Iterable[Piece], files: Files) -> Iterator[bytes]:
    for piece in pieces:
        data = files.line(piece.path, piece.offset, piece.size)
        yield from filter(None, map(without_end, data.split(b"\n")))


def _row_uuid(identity: bytes, occurrence: int, sample: int) -> bytes:
    """`uuid.uuid5` in the namespace of rows of what was asked and the sample, in a tenth of its time."""
    name = b"%b\n%d\n%d" % (identity.hex().encode(), occurrence, sample)
    digits = hashlib.sha1(_NAMESPACE + name, usedforsecurity=False).hexdigest()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-5{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:32]}".encode()


@lru_cache(maxsize=2)
def _about(spec: str) -> _About:
    return _About(json.loads(Path(spec).read_bytes()))


class _About:
    """
    What the rows of a run say about their requests, each part written once.

    Attributes:
        names: Of each entry its provider.
    """

    def __init__(self, snapshot: dict[str, Any]) -> None:
        entries = snapshot["providers"]
        self.names = [entry["provider"] for entry in entries]
        self._models = [to_json(entry["model_id"]) for entry in entries]
        self._headings = [f"{entry['provider']}\n{entry['model_id']}\n".encode() for entry in entries]
        self._grid = Grid(snapshot)
        self._subject = lru_cache(_SUBJECTS_KEPT)(self._write_subject)
        self._variant = lru_cache(_VARIANTS_KEPT)(self._write_variant)

    def identity(self, entry: int, line: bytes, own_id: str) -> bytes:
        """Hash of what was asked of whom: provider, model, and the line without the id that says who asked."""
        return hashlib.sha256(self._headings[entry] + line.replace(own_id.encode(), b"", 1)).digest()

    def request(self, index: int) -> bytes:
        """What stands in a row between the text and the number of the sample."""
        document_type, topic, language, variant = self._grid.place(index)
        entry = index % len(self.names)
        return b'%b%b"request_index": %d, "sample_index": ' % (
            self._subject(entry, document_type, topic, language),
            self._variant(entry, variant),
            index,
        )

    def _write_subject(self, entry: int, document_type: int, topic: int, language: int) -> bytes:
        subject = self._grid.subject(document_type, topic, language)
        return b'"model_id": %b, "language": %b, "metadata": {"document_type": %b, "topic": %b, ' % (
            self._models[entry],
            to_json(subject.language),
            to_json(subject.document_type),
            to_json(subject.topic),
        )

    def _write_variant(self, entry: int, number: int) -> bytes:
        prompt_index, values = self._grid.variant(number)
        named = b"".join(b"%b: %b, " % (to_json(name), to_json(value)) for name, value in values.items())
        return b'%b"provider": %b, "prompt_index": %d, ' % (named, to_json(self.names[entry]), prompt_index)
