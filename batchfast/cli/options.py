"""What several commands take: the global options, arguments with the same meaning, and the two ways to print."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import click

from batchfast.cli.display import Display
from batchfast.home import Home
from batchfast.terminal import is_utf8, json_line, plain

_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass
class Options:
    """Global options, wherever on the line they stood, the home that they led to, and where long work is shown."""

    home: str | None = None
    json: bool = False
    fake: bool = False
    verbose: bool = False
    used: Home | None = None
    display: Display = field(default_factory=Display)


def _keep(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    options = context.find_root().ensure_object(Options)
    if value and parameter.name:
        setattr(options, parameter.name, value)


def global_options(command: _Command) -> _Command:
    """Options that every command takes, and the group before it."""
    for option in (
        click.option("-v", "--verbose", is_flag=True, expose_value=False, callback=_keep,
                     help="Say what happens; tracebacks."),
        click.option("--fake", is_flag=True, envvar="BATCHFAST_FAKE", expose_value=False, callback=_keep,
                     help="Send to the built-in fake: no key, no network, no cost."),
        click.option("--json", is_flag=True, expose_value=False, callback=_keep,
                     help="Machine-readable report on stdout."),
        click.option("--home", metavar="DIR", envvar="BATCHFAST_HOME", expose_value=False, callback=_keep,
                     help="Folder of the database [default: the nearest .batchfast]."),
    ):  # fmt: skip
        command = option(command)
    return command


def example(*lines: str) -> str:
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)


def _writable_name(_: click.Context, parameter: click.Parameter, value: Path | None) -> Path | None:
    if value is not None and (not value.name or not is_utf8(str(value))):
        raise click.BadParameter("that is no name of a file that can be written and recorded", param=parameter)
    return value


def _cluster_address(_: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    from batchfast.cluster import scheduler_of

    try:
        return value and scheduler_of(value)
    except ValueError as exc:
        raise click.BadParameter(str(exc), param=parameter) from exc


spec_argument = click.argument("spec", type=click.Path(path_type=Path, dir_okay=False))
run_argument = click.argument("run", required=False)
again_option = click.option("--again", is_flag=True, help="Pay for a run that exists once more, as a run of its own.")
output_option = click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    callback=_writable_name,
    help="Where to write the dataset.",
)

wait_option = click.option("--wait", is_flag=True, help="Wait while another process works on the run.")
executor_option = click.option(
    "--executor",
    "scheduler",
    metavar="dask://HOST:PORT",
    callback=_cluster_address,
    help="Make and read the files of a large run on this Dask cluster.",
)
force_option = click.option("--force", is_flag=True, help="Replace the output file, whatever it holds.")


def current() -> Options:
    return click.get_current_context().find_root().ensure_object(Options)


def say(text: str) -> None:
    # Named, because click looks behind a stream that a display has put in its place: the line would run into that.
    click.echo(plain(text), sys.stderr, err=True)


def say_waiting(busy: str) -> None:
    say(f"{busy}: waiting for it")


def report(data: dict[str, Any], view: Callable[[dict[str, Any]], str]) -> None:
    click.echo(json_line(data) if current().json else view(data))
