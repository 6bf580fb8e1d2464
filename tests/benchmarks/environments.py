"""
Other packages that build batch request files and read results, each in a virtual environment of its own.

They are driven through their own code, in `peers`; what needs a network is replaced by the file that stands for it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks.running import Failed, Figures, Subject, child

# Longer than any of them takes for a hundred thousand requests (seconds).
_PATIENCE_S = 1800.0


class Peer(NamedTuple):
    """
    A package to compare with.

    Attributes:
        requirements: What pip installs.
        module: Ours that drives it, in `peers`.
        does: Which of "compile" and "collect" it has code for.
    """

    name: str
    requirements: Sequence[str]
    module: str
    does: Sequence[str] = ("compile", "collect")


PEERS = (
    Peer("instructor processor", ["instructor"], "instructor_processor"),
    # The last whose job writes request files; it reads only tool calls, and nothing by its id.
    Peer("instructor job", ["instructor<1.10"], "instructor_job", ["compile"]),
    Peer("inspect_ai", ["inspect-ai", "openai"], "inspect_batcher"),
    Peer("distilabel (no schema)", ["distilabel[openai]", "requests"], "distilabel_llm"),
    Peer("curator", ["bespokelabs-curator"], "curator_processor"),
)


def peers(cache: Path, does: str, rows: int, prepared: Path | None) -> list[Subject]:
    """
    Every peer that does such a thing, as a subject; one that does not install says so when it is to be measured.

    Args:
        cache: Where environments are kept: one that is there is used as it is.
        prepared: As `collect.prepare` left it, for "collect".
    """
    return [
        Subject(peer.name, _run(peer, cache, does, rows, prepared), is_peer=True) for peer in PEERS if does in peer.does
    ]


def _run(peer: Peer, cache: Path, does: str, rows: int, prepared: Path | None) -> Callable[[Path, Figures], Figures]:
    def run(place: Path, _: Figures) -> Figures:
        python = _python(cache, peer)
        given = {"folder": str(place)} | ({"prepared": str(prepared)} if prepared else {"rows": rows})
        return child(f"peers.{peer.module}", does, given, python, _PATIENCE_S)

    return run


def _python(cache: Path, peer: Peer) -> Path:
    """
    The environment's interpreter, installed where it is not there yet.

    Raises:
        Failed: It does not install, now or the last time.
    """
    folder = cache / peer.module
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    failure = cache / f"{peer.module}.failed"
    if failure.is_file():
        raise Failed(f"{failure.read_text()} (remove {failure} to try again)")
    if not (folder / "installed").is_file():
        try:
            _install(folder, python, peer.requirements)
        except Failed as exc:
            failure.write_text(str(exc))
            shutil.rmtree(folder, ignore_errors=True)
            raise
        (folder / "installed").touch()
    return python


def _install(folder: Path, python: Path, requirements: Sequence[str]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(folder)],
        [str(python), "-m", "pip", "install", "--quiet", *requirements],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["no reason given"]
            raise Failed(f"does not install: {said[-1]}")
