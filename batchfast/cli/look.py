"""Commands that only look: `status`, `show`, `parse`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from batchfast.cli.codes import DONE, ERROR
from batchfast.cli.finding import existing, open_store, resolve
from batchfast.cli.options import current, example, global_options, report, run_argument, say
from batchfast.cli.progress import fitted_view, typed
from batchfast.errors import ConfigError
from batchfast.records import Result
from batchfast.status import run_status
from batchfast.terminal import json_line, one_line
from batchfast.views import runs_view, show_view


@click.command(epilog=example("batchfast status", "batchfast status latest --json"))
@run_argument
@global_options
def status(run: str | None) -> None:
    """All runs, or the batches of one. No network.

    With --json and no RUN always a list, with RUN one object.
    """
    with open_store() as store:
        rows = store.runs()
        if run is None and current().json:
            click.echo(json_line([typed(run_status(store, row)) for row in rows]))
        elif run is None and len(rows) != 1:
            due = store.deadlines()
            click.echo(
                runs_view([(row, store.ledger(row), store.rows(row.no), due.get(row.no)) for row in rows], time.time())
            )
        else:
            report(typed(run_status(store, resolve(store, run))), fitted_view)


@click.command(epilog=example("batchfast show latest 17"))
@click.argument("words", nargs=-1, required=True, metavar="[RUN] N")
@global_options
def show(words: tuple[str, ...]) -> None:
    """Request N from prompt to raw reply to rows."""
    if len(words) > 2 or not (words[-1].isascii() and words[-1].isdecimal()):
        raise click.UsageError("say which request, for example: batchfast show latest 17")
    from batchfast.show import show as show_request

    with existing() as session:
        row = resolve(session.store, words[0] if len(words) == 2 else None)
        report(show_request(session.context(row, offline=True), int(words[-1])), show_view)


@click.command(epilog=example("batchfast parse --provider openai batch_67_output.jsonl"))
@click.option(
    "--provider",
    type=click.Choice(["openai", "anthropic", "gemini"]),
    required=True,
    help="Whose format the files have.",
)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False))
@global_options
def parse(provider: str, files: Sequence[Path]) -> int:
    """Normalise raw result files of a provider.

    One line per request: what the provider says of it. No store, no network.
    """
    from batchfast.llms import PROVIDERS

    decoder = PROVIDERS[provider]("any")
    bad = 0
    for file in files:
        for number, line in _raw_lines(file):
            try:
                result = decoder.decode(line)
            except ValueError as exc:
                say(f"{file}, line {number}: {one_line(str(exc))}; skipped")
                bad += 1
                continue
            click.echo(json_line(_normalised(result)))
    return ERROR if bad else DONE


def _normalised(result: Result) -> dict[str, Any]:
    said = result._asdict() | {
        "usage": result.usage._asdict() if result.usage else None,
        "error": asdict(result.error) if result.error else None,
    }
    del said["ending"]
    return said


def _raw_lines(file: Path) -> Iterator[tuple[int, bytes]]:
    """Lines of a result file, numbered from 1; only what goes wrong with this file is blamed on it."""
    from batchfast.jsonl import located_lines

    try:
        for number, (_, line) in enumerate(located_lines(file), start=1):
            yield number, line
    except OSError as exc:
        raise ConfigError(
            f"cannot read {file}: {exc.strerror or exc}; name a result file as the provider gave it"
        ) from exc
