"""The command line: parse, call one function, print. Data goes to stdout, everything else to stderr."""

from __future__ import annotations

import logging
import os
import signal
import sqlite3
import sys
import traceback
from collections.abc import Sequence
from contextlib import closing
from typing import NoReturn

import click

from batchfast import __version__
from batchfast.cli import look, prepare, send, serve, tend
from batchfast.cli.codes import DONE, ERROR, INTERRUPTED, NOT_READY
from batchfast.cli.options import Options, example, global_options, say
from batchfast.errors import BatchfastError, NotReady, RunBusy
from batchfast.hints import runnable
from batchfast.interrupts import interrupts
from batchfast.terminal import one_line
from batchfast.trouble import IN_USE, database_trouble, primary_code, system_trouble

__all__ = ["cli", "execute", "main"]


class _Commands(click.Group):
    """Lists the commands in the order a person meets them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(self.commands)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]},
             epilog=example("batchfast run examples/space_engineering.toml --fake"))  # fmt: skip
@click.version_option(__version__, prog_name="batchfast")
@global_options
def cli() -> None:
    """Synthetic text datasets through the batch APIs of OpenAI, Anthropic and Gemini, at about half the price."""


# In the order a person meets them.
for command in (
    prepare.init,
    prepare.plan,
    prepare.compile_,
    send.submit,
    send.run,
    send.watch,
    send.collect,
    send.cancel,
    send.retry,
    tend.clean,
    look.status,
    look.show,
    look.parse,
    tend.doctor,
    serve.fake,
):
    cli.add_command(command)


class _ToStderr(logging.Handler):
    """What the library logs, on whatever stderr is at that moment: the live view puts its own in place."""

    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage())


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command line and exit: 0 done, 1 error, 2 usage, 3 not ready yet, 130 interrupted."""
    sys.exit(execute(list(sys.argv[1:] if arguments is None else arguments)))


def execute(arguments: list[str]) -> int:
    """Run a command line; the exit code that goes with how it ended."""
    verbose = "-v" in arguments or "--verbose" in arguments
    logging.basicConfig(level=logging.WARNING, handlers=[_ToStderr()])
    logging.getLogger("batchfast").setLevel(logging.INFO if verbose else logging.WARNING)
    options = Options()
    code = ERROR
    with interrupts() as came:
        try:
            colour = False if os.environ.get("NO_COLOR") else None
            with closing(options.display):
                code = cli.main(arguments, "batchfast", standalone_mode=False, obj=options, color=colour) or DONE
        except (click.Abort, KeyboardInterrupt):
            came.append(signal.SIGINT)
        except SystemExit as exc:  # click's way out where whoever read our output has gone
            code = exc.code if isinstance(exc.code, int) else ERROR
        except Exception as exc:  # noqa: BLE001 - the one place: a person gets a line, with -v the traceback too
            if not came:  # otherwise it is what an interrupt became on its way up
                code = _explain(exc, options, verbose)
    if came:
        # An interrupt inside an exec (dataclasses use it, while a module is imported) would make CPython end the
        # process by SIGINT at its exit, caught or not; the next exec or eval of a text takes that back.
        eval("0")  # noqa: S307
        say("batchfast: interrupted; nothing is lost: the same command continues")
        return INTERRUPTED
    return code


def _explain(exc: Exception, options: Options, verbose: bool) -> int:
    """One clear line for what went wrong, and its exit code."""
    if isinstance(exc, click.ClickException):
        exc.show()
        return exc.exit_code
    if isinstance(exc, BrokenPipeError):
        # Whoever read our output has gone: not an error, but Python would complain once more while closing it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ERROR
    if isinstance(exc, BatchfastError):
        say(f"batchfast: {runnable(str(exc), options.used)}")
        return NOT_READY if isinstance(exc, NotReady | RunBusy) else ERROR
    if verbose:
        say("".join(traceback.format_exception(exc)).rstrip())
    if isinstance(exc, sqlite3.DatabaseError) and (
        known := database_trouble(exc, options.used.database if options.used else "the database")
    ):
        say(f"batchfast: {runnable(known, options.used)}")
        return NOT_READY if primary_code(exc) in IN_USE else ERROR
    if isinstance(exc, OSError):
        say(f"batchfast: {system_trouble(exc)}")
        return ERROR
    say(f"batchfast: {type(exc).__name__}: {one_line(str(exc), 300)} (a defect in batchfast: -v shows where)")
    return ERROR
