"""Commands in messages that work as they stand, where the reader stands."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

from batchfast.home import Home, home_for


def cron_command(run: str, folder: Path, home: Home | None) -> str:
    """What collects a run, for cron: it knows no PATH and no current folder, and takes % for a newline."""
    script = Path(sys.argv[0])
    if script.name == "__main__.py" and script.parent.name == "batchfast":
        program = f"{shlex.quote(sys.executable)} -m batchfast"
    elif script.is_file() and script.stem == "batchfast":
        program = shlex.quote(str(script.absolute()))
    else:
        program = "batchfast"
    command = f"cd {shlex.quote(str(folder))} && {program} collect {run}{_home_option(home, folder)}"
    return command.replace("%", r"\%")


def _home_option(home: Home | None, folder: Path) -> str:
    """` --home DIR` where a command typed in `folder` would not find the home by itself."""
    if home is None or home_for(folder).path.resolve() == home.path.resolve():
        return ""
    return f" --home {shlex.quote(str(home.path))}"


def runnable(text: str, home: Home | None) -> str:
    """A message whose commands work as they stand, typed in the current folder."""
    option = _home_option(home, Path.cwd())
    command = r"\bbatchfast (?:(?:watch|collect|cancel|retry|clean) [\w-]+|status\b(?: [\w-]+)?)"
    return re.sub(command, lambda found: found[0] + option, text)
