"""Commands that look after what is left: `clean`, `doctor`."""

from __future__ import annotations

import shutil
import sys
import textwrap
from typing import Any

import click

from batchfast.cli.codes import DONE, ERROR
from batchfast.cli.finding import existing, find_home, resolve
from batchfast.cli.options import current, example, global_options, report, run_argument, say, say_waiting, wait_option
from batchfast.hints import runnable
from batchfast.terminal import is_terminal, one_line, plain
from batchfast.views import clean_view, count

_HEADINGS = {"providers": "Providers", "home": "Home", "runs": "Runs", "leftovers": "Left at the providers"}
_COLOURS = {"ok": "green", "note": "cyan", "warning": "yellow", "error": "red"}
_INDENT = " " * 11


@click.command(epilog=example("batchfast collect latest && batchfast clean latest"))
@run_argument
@wait_option
@global_options
def clean(run: str | None, wait: bool) -> int:
    """Delete our files at the providers, once the dataset is safe on disk.

    Deletes only what is this run's own, and lists what cannot be deleted. The raw results on disk stay, so that collect
    still writes the dataset.
    """
    from batchfast.clean import clean as delete_remains
    from batchfast.clean import need_settled

    with existing() as session:
        row = resolve(session.store, run)
        if not wait:
            need_settled(session.store, row)
        with session.work(row, waits=say_waiting if wait else None) as engine:
            cleaned = delete_remains(engine.ctx)
    report(cleaned.report(row), clean_view)
    if cleaned.failed:
        say(runnable(f"not everything could be deleted; try again: batchfast clean {row.id}", current().used))
    return ERROR if cleaned.failed else DONE


@click.command(epilog=example("batchfast doctor", "batchfast doctor --json | jq .errors"))
@global_options
def doctor() -> None:
    """Check keys, endpoints, the home, deadlines, and what is left at the providers.

    Changes nothing. Keys are looked for and never shown. Each provider with a key is asked for one short list, and
    where this home has runs for its batches and files. With --fake only the built-in fake is asked.
    """
    from batchfast.doctor import doctor as examine

    report(examine(find_home(), only_fake=current().fake), _doctor_view)


def _doctor_view(examined: dict[str, Any]) -> str:
    """Findings under headings; colours go where the output is no terminal."""
    lines: list[str] = []
    for check, heading in _HEADINGS.items():
        findings = [one for one in examined["findings"] if one["check"] == check]
        if findings:
            lines += [click.style(heading, bold=True), *map(_finding_lines, findings), ""]
    errors, warnings = examined["errors"], examined["warnings"]
    numbers = " and ".join(count(number, noun) for number, noun in ((errors, "error"), (warnings, "warning")) if number)
    return "\n".join([*lines, f"{numbers}: a person should look." if numbers else "Everything is well."])


def _finding_lines(finding: dict[str, Any]) -> str:
    mark = click.style(f"{finding['level']:<7}", fg=_COLOURS[finding["level"]])
    message = one_line(finding["message"], None)
    if is_terminal(sys.stdout):  # elsewhere one line stays one line, for grep
        width = max(40, shutil.get_terminal_size().columns)
        folded = textwrap.wrap(message, width - len(_INDENT), break_long_words=False, break_on_hyphens=False)
        message = f"\n{_INDENT}".join(folded)
    advice = finding["advice"]
    # Never folded: it may be a command, to be copied as it stands.
    hint = f"\n{_INDENT}-> {plain(runnable(advice, current().used))}" if advice else ""
    return f"  {mark}  {message}{hint}"
