"""What a person sees of long work, on terminals of any width; and that elsewhere there is nothing to see."""

from __future__ import annotations

import io
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from batchfast.bars import bars
from batchfast.cli import display as displays
from batchfast.cli import execute
from batchfast.cli.display import Display
from batchfast.cli.options import say
from batchfast.fake import FakeServer, Fault
from batchfast.live import LiveView
from batchfast.meter import BYTES, Step
from tests.helpers import provider, session, spec

SPEC = """
[dataset]
document_types = ["essay"]
topics = ["Tides", "Vacuum"]
output_file = "out.jsonl"

[[providers]]
provider = "openai"
model_id = "gpt-4.1-mini"
"""


def on_screen(written: str) -> list[str]:
    """The lines that stand on a terminal after all that; only the sequences that move or erase are understood."""
    lines, row, column = [""], 0, 0
    for part in re.findall(r"\x1b\[[?\d;]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", written):
        if part == "\r":
            column = 0
        elif part == "\n":
            row, column = row + 1, 0
            lines += [""] * (row == len(lines))
        elif part == "\x1b[2K":
            lines[row] = ""
        elif part.startswith("\x1b["):
            row -= int(part[2:-1] or 1) if part[-1] == "A" else 0
        else:
            lines[row] = lines[row][:column].ljust(column) + part + lines[row][column + len(part) :]
            column += len(part)
    return [line.rstrip() for line in lines if line.strip()]


class Screen(io.StringIO):
    """A terminal in this process."""

    def __init__(self) -> None:
        super().__init__()
        self._more = threading.Condition()

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        with self._more:
            self._more.notify_all()
            return super().write(text)

    def wait_for(self, text: str) -> None:
        """Fails where it does not come."""
        with self._more:
            assert self._more.wait_for(lambda: text in self.getvalue(), timeout=60), self.getvalue()

    @property
    def lines(self) -> list[str]:
        return on_screen(self.getvalue())

    @property
    def has_cursor(self) -> bool:
        return self.getvalue().rfind("\x1b[?25h") >= self.getvalue().rfind("\x1b[?25l")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Screen]:
    """Makes stderr a terminal of 100 columns, on which every step lasts long enough to be shown."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(displays, "_LASTS_AFTER_S", 0.0)

    def make() -> Screen:  # within the test: pytest puts a stderr of its own in place before each
        screen = Screen()
        monkeypatch.setattr("sys.stderr", screen)
        return screen

    return make


def step(doing: str, unit: str, total: int | None, done: int = 0, size_bytes: int = 0, lasted_s: float = 10.0) -> Step:
    made = Step(doing, unit, total)
    made.done, made.size_bytes = done, size_bytes
    made.lasted_s = lambda: lasted_s  # type: ignore[method-assign]  # time stands still
    return made


def drawn(width: int, *steps: Step) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    with console.capture() as capture:
        console.print(bars(steps, width))
    return capture.get().splitlines()


def test_a_line_says_how_much_how_fast_and_how_long() -> None:
    """Of requests with their bytes; of a file in megabytes; without a total there is no time left."""
    compiling, uploading, downloading = drawn(
        120,
        step("compiling", "requests", 1_000_000, 250_000, 365_250_000),
        step("uploading 0-12-1", BYTES, 209_715_200, 20_000_000, lasted_s=400.0),
        step("downloading 0-3-1", BYTES, None, 20_000_000),
    )
    assert compiling.split()[-7:] == ["250,000/1,000,000", "requests", "365.2", "MB", "25,000/s", "0:30", "left"]
    assert uploading.split()[-6:] == ["20.0/209.7", "MB", "0.05", "MB/s", "1:03:14", "left"]
    assert downloading.split()[-4:] == ["20.0", "MB", "2.0", "MB/s"]


@pytest.mark.parametrize("width", [120, 100, 80, 60])
def test_nothing_moves_while_numbers_grow(width: int) -> None:
    """From nothing done to all of it each field ends where it ended before, and leaves room for ^C."""
    lines = [
        drawn(width, step("compiling", "requests", 1_000_000, done, done * 1_461))[0]
        for done in (0, 50_000, 99_999, 700_000, 1_000_000)
    ]
    assert {line.index("/1,000,000 requests") for line in lines} == {lines[0].index("/1,000,000 requests")}
    assert {line.index(" left") for line in lines[1:]} == {lines[1].index(" left")}
    assert max(map(len, lines)) <= width - len("^C")


def test_what_is_short_of_room_loses_what_matters_least() -> None:
    """First the size, then the rate, then the bar; what is done and the time left stay to the last."""
    work = step("entering results 0-13-1", "requests", 50_000, 10_000, 1_000_000)
    shown = [[part in drawn(width, work)[0] for part in (" MB", "/s", "━", " left", "10,000/50,000")] for width in
             (120, 85, 75, 63, 51)]  # fmt: skip
    assert shown == [
        [True, True, True, True, True],
        [False, True, True, True, True],
        [False, False, True, True, True],
        [False, False, False, True, True],
        [False, False, False, False, True],
    ]


def test_a_step_is_shown_while_it_lasts_and_lines_pass_above_it(terminal: Callable[[], Screen]) -> None:
    """What is said meanwhile stays, each on a line of its own; of the step nothing does."""
    screen, display = terminal(), Display()
    with display.step("compiling", "requests", 1_000) as work:
        work.advance(512)
        screen.wait_for("512/1,000 requests")
        say("one file is done")
        say("another")
        assert screen.lines[:2] == ["one file is done", "another"]
        assert screen.lines[2].startswith("compiling")
        assert not screen.has_cursor
    say("all is done")
    assert screen.lines == ["one file is done", "another", "all is done"]
    assert screen.has_cursor


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_step_that_fails_leaves_the_terminal_clean(terminal: Callable[[], Screen], error: BaseException) -> None:
    """Also where Ctrl-C ended it."""
    screen, display = terminal(), Display()
    with pytest.raises(type(error)), display.step("writing rows", "rows", 10):
        screen.wait_for("writing rows")
        raise error
    assert (screen.lines, screen.has_cursor) == ([], True)


def test_steps_side_by_side_have_a_line_each(terminal: Callable[[], Screen]) -> None:
    """Files that are uploaded at the same time; the last one to end takes the display with it."""
    screen, display = terminal(), Display()
    with display.step("uploading 0-1-1", BYTES, 10_000_000):
        with display.step("uploading 0-0-1", BYTES, 20_000_000):
            screen.wait_for("uploading 0-0-1")
            assert [line[:15] for line in screen.lines] == ["uploading 0-1-1", "uploading 0-0-1"]
        assert not screen.has_cursor
    assert (screen.lines, screen.has_cursor) == ([], True)


def test_brief_steps_are_not_worth_looking_at(terminal: Callable[[], Screen], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing flickers past."""
    monkeypatch.setattr(displays, "_LASTS_AFTER_S", 3600.0)
    screen, display = terminal(), Display()
    for _ in range(3):
        with display.step("compiling", "requests", 1):
            pass
    assert screen.getvalue() == ""


def test_steps_stand_in_the_live_view_while_it_is_up(
    terminal: Callable[[], Screen], server: FakeServer, tmp_path: Path
) -> None:
    """One display at a time: below the models, and gone with the rest."""
    screen, display = terminal(), Display()
    with session(server, tmp_path) as home:
        run, _ = home.enter(spec(provider(model_id="m" * 200)), fake=True)
        with display.lent(), LiveView(home.store, run, display.lasting), display.step("downloading 0-0-1", BYTES):
            screen.wait_for("downloading 0-0-1")
            lines = screen.lines
    assert lines[0].startswith(f"run {run.id}")
    assert [number for number, line in enumerate(lines) if line.startswith("downloading")] == [len(lines) - 1]
    assert (screen.lines, screen.has_cursor) == ([], True)


def test_off_a_terminal_there_is_nothing_to_see(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a pipe and in a cron job stderr is what it was, however long the steps take."""
    monkeypatch.setenv("BATCHFAST_FAKE_SECONDS", "0")
    (tmp_path / "spec.toml").write_text(SPEC)
    said = []
    for after_s in (3600.0, 0.0):
        monkeypatch.setattr(displays, "_LASTS_AFTER_S", after_s)
        for words in (["compile", "spec.toml", "-o", "files"], ["run", "spec.toml"], ["collect", "--reparse"]):
            assert execute([*words, "--fake", "--home", f"home-{after_s}", *["--force"] * (words[0] != "compile")]) == 0
        said.append(capsys.readouterr().err.replace(str(after_s), ""))
    assert said[0] == said[1]
    assert "\x1b" not in said[0]


def in_a_pty(command: list[str], folder: Path, act: Callable[[str, subprocess.Popen[bytes]], None]) -> tuple[int, str]:
    """
    A process with a terminal as its stderr, and nothing but that: its exit code, and what the terminal was sent.

    Args:
        act: Is shown all that came so far, after each piece of it.
    """
    here, there = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=there
    )
    os.close(there)
    written = b""
    try:
        while piece := os.read(here, 65_536):
            written += piece
            act(written.decode(errors="replace"), process)
    except OSError:  # how Linux says that nobody has the other end any more
        pass
    os.close(here)
    return process.wait(60), written.decode()


def test_ctrl_c_leaves_the_terminal_clean(
    fake: FakeServer, tmp_path: Path, plan: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the midst of an upload: the bar is gone, one line says what to do, and the cursor is back."""
    plan(Fault("hang", route="upload", seconds=600))
    monkeypatch.setenv("OPENAI_API_KEY", "any-key-will-do")
    monkeypatch.setenv("OPENAI_BASE_URL", fake.base_urls["openai"])
    (tmp_path / "spec.toml").write_text(SPEC)

    def interrupt_once_shown(written: str, process: subprocess.Popen[bytes]) -> None:
        if "uploading 0-0-1" in written and not sent:
            sent.append(signal.SIGINT)
            process.send_signal(signal.SIGINT)

    sent: list[int] = []
    code, written = in_a_pty([sys.executable, "-m", "batchfast", "submit", "spec.toml"], tmp_path, interrupt_once_shown)
    lines = on_screen(written)
    assert (code, lines[-1]) == (130, "batchfast: interrupted; nothing is lost: the same command continues")
    assert [line for line in lines if "uploading" in line or "━" in line] == []
    assert written.rfind("\x1b[?25h") > written.rfind("\x1b[?25l") > 0
