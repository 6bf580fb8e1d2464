"""
The results of requests that came inline: an operation holds them twice, and may be hundreds of megabytes long.

They are stored as they are shown, one a line, with carriage returns for its line ends: JSON has none within strings
and takes them for space between. Looking at a batch then parses nothing, and holds little of it in memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from starlette.responses import Response, StreamingResponse

from batchfast.fake.gemini_wire import JSON_TYPE, common_headers, indented

_CHUNK_BYTES = 1 << 18


def stored(item: dict[str, Any]) -> bytes:
    return json.dumps(item, indent=2, ensure_ascii=False).replace("\n", "\r").encode()


def filled(body: dict[str, Any], place: str, items: Path) -> Response:
    """
    The answer `body`, with stored results in place of the string `place`, streamed.

    Args:
        place: The only element of an array, wherever the results belong.
        items: The stored results, one a line.
    """
    pieces = indented(body).split(f'"{place}"')
    size = sum(map(len, _chunks(pieces, items)))
    headers = {"content-length": str(size), **common_headers()}
    return StreamingResponse(_chunks(pieces, items), headers=headers, media_type=JSON_TYPE)


def _chunks(pieces: list[str], items: Path) -> Iterator[bytes]:
    for before in pieces[:-1]:
        yield before.encode()
        # An element of an array stands on a line of its own: what is before it there is its indentation.
        yield from _array(items, b"\n" + b" " * (len(before) - len(before.rstrip(" "))))
    yield pieces[-1].encode()


def _array(items: Path, line_end: bytes) -> Iterator[bytes]:
    made = bytearray()
    with items.open("rb") as source:
        for number, line in enumerate(source):
            made += b"," + line_end if number else b""
            made += line.rstrip(b"\n").replace(b"\r", line_end)
            if len(made) > _CHUNK_BYTES:
                yield bytes(made)
                made.clear()
    yield bytes(made)
