"""Lines are bytes between newlines, and files appear whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchfast.errors import ConfigError
from batchfast.jsonl import lines_of, located_lines, replacing


@given(st.lists(st.binary(max_size=8)), st.integers(1, 5))
def test_lines_do_not_depend_on_the_chunks(parts: list[bytes], size: int) -> None:
    """Cut anywhere, the same lines come out."""
    data = b"\n".join(part.replace(b"\r", b"") for part in parts)
    chunks = [data[at : at + size] for at in range(0, len(data), size)]
    assert list(lines_of(chunks)) == [line for line in data.split(b"\n") if line]


def test_only_newlines_end_a_line(tmp_path: Path) -> None:
    """U+2028, U+0085, VT and FF are text; CRLF, blank lines and a missing last newline do no harm."""
    first = '{"a": "x\u2028y\u0085z\x0b\x0c"}'.encode()
    path = tmp_path / "f"
    path.write_bytes(first + b"\r\n\n" + b"{}")
    assert list(located_lines(path)) == [(0, first), (len(first) + 3, b"{}")]
    assert list(lines_of([path.read_bytes()])) == [first, b"{}"]


def test_what_a_killed_process_had_begun_is_removed(tmp_path: Path) -> None:
    """Of this file only, and only where nobody writes it any more."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    stale, other = tmp_path / f".f.{gone.pid}.part", tmp_path / f".g.{gone.pid}.part"
    live = tmp_path / f".f.{os.getppid()}.part"
    for path in (stale, other, live):
        path.touch()
    with replacing(tmp_path / "f") as file:
        file.write(b"new")
    assert not stale.exists()
    assert other.exists()
    assert live.exists()


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    """Replacing is atomic: an error midway changes nothing and leaves nothing behind."""
    path = tmp_path / "f"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), replacing(path) as file:
        file.write(b"new")
        raise ZeroDivisionError
    assert path.read_bytes() == b"old"
    assert list(tmp_path.glob(".*part")) == []


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    """The message names the file and what to do."""
    (tmp_path / "file").touch()
    with (
        pytest.raises(ConfigError, match=r"cannot write .*file/out\.jsonl.*output_file"),
        replacing(tmp_path / "file" / "out.jsonl", instead="choose another output_file"),
    ):
        pass
