"""The command line: parse, call one function, print. Data goes to stdout, everything else to stderr."""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
import signal
import sqlite3
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from batchfast import __version__
from batchfast.errors import BatchfastError, ConfigError, NotReady, RunBusy
from batchfast.hints import cron_command, runnable
from batchfast.home import Home, home_for
from batchfast.interrupts import interrupts
from batchfast.status import run_status
from batchfast.store import OPEN, RunRow, Store
from batchfast.trouble import IN_USE, database_trouble, primary_code, system_trouble
from batchfast.views import (
    count,
    failures_line,
    ledger_line,
    money,
    one_line,
    plain,
    plan_view,
    run_view,
    runs_view,
    show_view,
)

if TYPE_CHECKING:
    from batchfast.context import Context
    from batchfast.engine import Progress
    from batchfast.export import Written
    from batchfast.session import Session
    from batchfast.spec import Spec

DONE, ERROR, USAGE, NOT_READY, INTERRUPTED = 0, 1, 2, 3, 130

_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass
class Options:
    """Global options, wherever on the line they stood, and the home that they led to."""

    home: str | None = None
    json: bool = False
    fake: bool = False
    verbose: bool = False
    used: Home | None = None


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


def _example(*lines: str) -> str:
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)


class _Commands(click.Group):
    """Lists the commands in the order a person meets them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(self.commands)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]},
             epilog=_example("batchfast run examples/space_engineering.toml --fake"))  # fmt: skip
@click.version_option(__version__, prog_name="batchfast")
@global_options
def cli() -> None:
    """Synthetic text datasets through the batch APIs of OpenAI, Anthropic and Gemini, at about half the price."""


spec_argument = click.argument("spec", type=click.Path(path_type=Path, dir_okay=False))
run_argument = click.argument("run", required=False)
again_option = click.option("--again", is_flag=True, help="Pay for a run that exists once more, as a run of its own.")
output_option = click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Where to write the dataset."
)
force_option = click.option("--force", is_flag=True, help="Replace the output file, whatever it holds.")


# -- before anything is sent


@cli.command(epilog=_example("batchfast init my.toml && batchfast run my.toml --fake"))
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), default="batchfast.toml")
@global_options
def init(file: Path) -> None:
    """Write a commented spec to start from."""
    from batchfast.spec import starter_spec

    try:
        with file.open("x", encoding="utf-8") as out:
            out.write(starter_spec())
    except FileExistsError as exc:
        raise ConfigError(f"{file} exists and was left as it is; name another: batchfast init FILE") from exc
    except OSError as exc:
        raise ConfigError(f"cannot write {file}: {exc.strerror}") from exc
    _say(f"wrote {file}; try: batchfast run {file} --fake")


@cli.command(epilog=_example("batchfast plan examples/three_providers.toml"))
@spec_argument
@global_options
def plan(spec: Path) -> None:
    """Show what a spec would send and cost. No key, no network, nothing written."""
    from batchfast.plan import plan as make_plan

    _report(make_plan(_load(spec), fake=_options().fake), plan_view)


@cli.command("compile", epilog=_example("batchfast compile examples/three_providers.toml -o files"))
@spec_argument
@click.option("-o", "--output", "folder", type=click.Path(path_type=Path, file_okay=False), required=True,
              help="Folder for the submission files.")  # fmt: skip
@global_options
def compile_(spec: Path, folder: Path) -> None:
    """Write the submission files, to upload by hand.

    Exactly the lines that `submit` would send. No key, no network, no run.
    """
    from batchfast.runs import compile_files

    loaded = _load(spec)
    home = _home(spec).make()
    with Store(home.database) as store:
        for path, requests in compile_files(loaded, store, folder, fake=_options().fake):
            click.echo(str(path))
            _say(f"{path.name}: {count(requests, 'request')}, {path.stat().st_size:,} bytes")


# -- sending


@cli.command(epilog=_example("batchfast submit examples/three_providers.toml", "batchfast collect        # tomorrow"))
@spec_argument
@again_option
@global_options
def submit(spec: Path, again: bool) -> int:
    """Compile and send. Prints the run's id; collect it later, from any process."""
    from batchfast.datasets import already_sent

    loaded = _load(spec)
    with _session(_home(spec)) as session:
        run, new = session.enter(loaded, fake=_options().fake, again=again)
        if not new and not session.store.shards(run.no, "waiting", "submitting", "uncertain"):
            raise already_sent(run)
        _announce(session, run, new)
        with session.work(run, loaded.providers) as engine:
            _check_output(engine.ctx, Path(run.output_file), "name another output_file, or move one of them away")
            progress = engine.send_all()
        return _sent(session, run, progress, spec.absolute().parent)


@cli.command(epilog=_example("batchfast run examples/space_engineering.toml --fake"))
@spec_argument
@again_option
@output_option
@force_option
@global_options
def run(spec: Path, again: bool, output: Path | None, force: bool) -> int:
    """Submit, watch and collect in one. Interrupted, the same line continues."""
    loaded = _load(spec)
    with _session(_home(spec)) as session:
        entered, new = session.enter(loaded, fake=_options().fake, again=again)
        _announce(session, entered, new)
        return _drive(session, entered, output, force, loaded)


@cli.command(epilog=_example("batchfast watch latest"))
@run_argument
@output_option
@force_option
@global_options
def watch(run: str | None, output: Path | None, force: bool) -> int:
    """Collect in a loop until nothing can move by itself."""
    with _existing() as session:
        return _drive(session, session.up_to_date(_resolve(session.store, run)), output, force)


@cli.command(epilog=_example("batchfast collect latest", "*/15 * * * *  cd /data && batchfast collect latest"))
@run_argument
@click.option("--no-send", is_flag=True, help="Never spend: send nothing, also nothing again.")
@click.option("--partial", is_flag=True, help="Also write what is settled so far to <stem>.partial.jsonl.")
@output_option
@force_option
@global_options
def collect(run: str | None, no_send: bool, partial: bool, output: Path | None, force: bool) -> int:
    """One pass over everything that can move.

    Sends what waits, polls, downloads what ended, sends again what may yet succeed, and writes the dataset once all is
    settled. Exit code 3 says that something still runs.
    """
    from batchfast.export import write_partial
    from batchfast.runs import check_writable

    with _existing() as session:
        row = session.up_to_date(_resolve(session.store, run))
        target = _target(row, output)
        with session.work(row) as engine:
            if not no_send:
                check_writable(target)
            progress = engine.one_pass(sends=not no_send, everything=True)
            if partial:
                path, rows = write_partial(engine.ctx, Path(row.output_file))
                _say(f"wrote {count(rows, 'row')} to {path}, as far as the run is settled")
            written = session.settle(engine.ctx, progress, output=target, force=force)
        return _finish(session, engine.ctx, progress, written, target)


@cli.command(epilog=_example("batchfast cancel latest", "batchfast collect latest    # keeps what finished"))
@run_argument
@global_options
def cancel(run: str | None) -> int:
    """Cancel at the providers, keep what finished, send nothing more."""
    from batchfast.engine import cancel_run

    with _existing() as session:
        row = _resolve(session.store, run)
        if not any(shard.state in OPEN for shard in session.store.shards(row.no)):
            raise ConfigError(f"run {row.id} has settled: there is nothing to cancel")
        missed = cancel_run(session.context(row))
        ledger = asdict(session.store.ledger(row))
    _say(f"run {row.id}: cancel was asked for; {ledger_line(ledger)}")
    if missed:
        _say(
            runnable(
                f"could not be cancelled yet: {', '.join(missed)}; try again: batchfast cancel {row.id}",
                _options().used,
            )
        )
        return ERROR
    _say(runnable(f"keep what finished with: batchfast watch {row.id}", _options().used))
    return DONE


@cli.command(epilog=_example("batchfast retry latest", "batchfast watch latest"))
@run_argument
@global_options
def retry(run: str | None) -> int:
    """Send again what failed for good, what expired and what was cancelled.

    Each of these requests has all its tries again; what has a row is left alone.
    """
    from batchfast.resend import ask_again

    with _existing() as session:
        row = session.up_to_date(_resolve(session.store, run))
        with session.work(row) as engine:
            asked = ask_again(engine.ctx)
            if not asked:
                raise ConfigError(f"run {row.id} has no request that ended without a row: there is nothing to retry")
        _say(f"run {row.id}: {count(asked, 'request')} will be sent again")
        with session.work(session.store.run(row.id)) as engine:  # which asks for the keys that are needed now
            progress = engine.send_all()
        return _sent(session, row, progress, Path.cwd())


# -- looking


@cli.command(epilog=_example("batchfast status", "batchfast status latest --json"))
@run_argument
@global_options
def status(run: str | None) -> None:
    """All runs, or the batches of one. No network.

    With --json and no RUN always a list, with RUN one object.
    """
    with _open_store() as store:
        rows = store.runs()
        if run is None and _options().json:
            click.echo(json.dumps([run_status(store, row) for row in rows], ensure_ascii=False))
        elif run is None and len(rows) != 1:
            click.echo(runs_view([(row, store.ledger(row), store.rows(row.no)) for row in rows]))
        else:
            _report(run_status(store, _resolve(store, run)), _run_view)


@cli.command(epilog=_example("batchfast show latest 17"))
@click.argument("words", nargs=-1, required=True, metavar="[RUN] N")
@global_options
def show(words: tuple[str, ...]) -> None:
    """Request N from prompt to raw reply to rows."""
    if len(words) > 2 or not (words[-1].isascii() and words[-1].isdecimal()):
        raise click.UsageError("say which request, for example: batchfast show latest 17")
    from batchfast.show import show as show_request

    with _existing() as session:
        row = _resolve(session.store, words[0] if len(words) == 2 else None)
        _report(show_request(session.context(row, offline=True), int(words[-1])), show_view)


@cli.command(epilog=_example("batchfast parse --provider openai batch_67_output.jsonl"))
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
                result = asdict(decoder.decode(line))
            except ValueError as exc:
                _say(f"{file}, line {number}: {one_line(str(exc))}; skipped")
                bad += 1
                continue
            del result["ending"]
            click.echo(json.dumps(result, ensure_ascii=False))
    return ERROR if bad else DONE


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


def _finite(_: click.Context, parameter: click.Parameter, value: float) -> float:
    if not math.isfinite(value):
        raise click.BadParameter(f"{value} is not a number of seconds", param=parameter)
    return value


@cli.group(epilog=_example("batchfast fake serve --port 8000"))
@global_options
def fake() -> None:
    """The fake provider, for other programs."""


@fake.command(epilog=_example("batchfast fake serve --port 8000 --batch-seconds 10"))
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 takes a free one.")
@click.option("--batch-seconds", type=click.FloatRange(min=0), default=1.0, envvar="BATCHFAST_FAKE_SECONDS",
              show_default=True, callback=_finite,
              help="Time from a batch's create to its end.")  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True, help="Other seed, other answers.")
@click.option("--words", type=(click.IntRange(min=1), click.IntRange(min=1)), default=(60, 150), show_default=True,
              metavar="LEAST MOST", help="Words of a text, roughly.")  # fmt: skip
@click.option("--faults", type=click.Path(path_type=Path), metavar="FILE", help="A fault script in TOML to play.")
@click.option("--host", default="127.0.0.1", show_default=True,
              help="Where to listen; anything but loopback lets others in.")  # fmt: skip
@global_options
def serve(port: int, batch_seconds: float, seed: int, words: tuple[int, int], faults: Path | None, host: str) -> None:
    """
    Serve until Ctrl-C; prints the lines that point the official SDKs here.

    While it serves, /_fake moves its time, plans faults and tells the bill: see "The fake" in the README.
    """
    from batchfast.fake import FakeServer, read_faults

    planned = read_faults(faults) if faults else []
    folder = _home().make().fake
    try:
        fake = FakeServer(folder, host=host, port=port, batch_seconds=batch_seconds, seed=seed, words=words)
    except ValueError as exc:
        raise click.UsageError(str(exc)) from exc
    try:
        server = fake.start()
    except OSError as exc:
        if exc.filename is not None:  # its folder, not the network
            raise
        raise ConfigError(
            f"cannot listen on {host}, port {port}: {exc.strerror or exc}; choose another with --host and --port"
        ) from exc
    try:
        if stale := server.planned():
            _say(f"{count(len(stale), 'fault')} planned before: /_fake/faults shows them, a DELETE there forgets them")
        server.plan(*planned)
        for name, value in server.env.items():
            click.echo(f"export {name}={value}")
        sys.stdout.flush()
        _say(f"serving the fake providers at {server.url}; stop with Ctrl-C")
        threading.Event().wait()
    finally:
        server.unplan(*planned)
        server.stop()


# -- what the commands share


def _options() -> Options:
    return click.get_current_context().find_root().ensure_object(Options)


def _say(text: str) -> None:
    click.echo(text, err=True)


def _report(data: dict[str, Any], view: Callable[[dict[str, Any]], str]) -> None:
    click.echo(json.dumps(data, ensure_ascii=False) if _options().json else view(data))


def _home(spec: Path | None = None) -> Home:
    options = _options()
    if options.home:
        options.used = Home(Path(options.home).absolute())
    else:
        options.used = home_for(spec.absolute().parent if spec else Path.cwd())
    return options.used


def _target(run: RunRow, output: Path | None) -> Path:
    """Where a person wants the dataset."""
    return output.absolute() if output else Path(run.output_file)


def _open_store() -> Store:
    return Store(_home().database, create=False)


def _session(home: Home) -> Session:
    from batchfast.session import Session

    return Session(home)


def _existing() -> Session:
    """The session of a command that has no use for a home without a run: it makes none."""
    _open_store().close()
    return _session(_home())


def _load(spec: Path) -> Spec:
    from batchfast.spec import load_spec

    return load_spec(spec)


def _resolve(store: Store, name: str | None) -> RunRow:
    """The run a person means; with --fake only fake runs are looked at when no name says otherwise."""
    fake = _options().fake
    runs = store.runs()
    if fake and name in (None, "latest") and runs and not any(run.fake for run in runs):
        raise ConfigError(f"no fake runs in {store.path.parent}; --fake or BATCHFAST_FAKE is set")
    run = store.resolve(name, fake=True if fake and name in (None, "latest") else None)
    if fake and not run.fake:
        raise ConfigError(
            f"run {run.id} was sent to {', '.join(run.endpoints)}, not to the fake: "
            "leave --fake out (or unset BATCHFAST_FAKE)"
        )
    return run


def _announce(session: Session, run: RunRow, new: bool) -> None:
    ledger = session.store.ledger(run)
    where = "FAKE " if run.fake else ""
    if new:
        files = count(len(session.store.shards(run.no)), "file")
        _say(f"{where}run {run.id}: {count(ledger.total, 'request')} in {files}")
    else:
        _say(f"{where}run {run.id} goes on: {ledger_line(asdict(ledger))}")


def _check_output(ctx: Context, target: Path, instead: str = "use -o FILE or --force", *, force: bool = False) -> None:
    """
    Before money is spent: can the rows be written, and will they land where a person looks for them?

    Raises:
        ConfigError: They could be written nowhere.
    """
    from batchfast.export import choose_path
    from batchfast.runs import check_writable

    check_writable(target)
    if force or not (others := _others(ctx, target)):
        return
    try:
        path = choose_path(ctx, target)
    except ConfigError as exc:
        raise ConfigError(
            f"{others}, and the file that would take its place, hold something else than this run's rows; "
            f"nothing was sent: {instead}"
        ) from exc
    _say(f"{others} holds something else and will be left alone: the rows will go to {path}")


def _others(ctx: Context, target: Path) -> str:
    """Which of the dataset's files hold what this run did not write; empty where none does."""
    from batchfast.export import failures_path, ours

    return " and ".join(str(path) for path in (target, failures_path(target)) if not ours(ctx, path))


def _say_held(run: RunRow, reason: str) -> None:
    _say(f"batchfast: run {run.id} is held: {plain(reason)}")
    _say(runnable(f"mend that, then: batchfast collect {run.id}", _options().used))


def _sent(session: Session, run: RunRow, progress: Progress, folder: Path) -> int:
    """Say what was sent, and what a person does next; the exit code that goes with it."""
    status = run_status(session.store, session.store.run(run.id))
    click.echo(json.dumps(status) if _options().json else run.id)
    _say_what_was_sent(status)
    if progress.held:
        _say_held(run, status["reason"] or progress.held)
        return ERROR
    _say_what_comes_next(status, folder)
    return DONE if progress.running or not progress.ledger.waiting else NOT_READY


def _say_what_was_sent(status: dict[str, Any]) -> None:
    ledger = status["requests"]
    batches = sum(batch["state"] == "running" for batch in status["batches"])
    sent = f"{count(ledger['in_flight'], 'request')} in {count(batches, 'batch', 'batches')}"
    _say(f"sent: {sent}; waiting: {ledger['waiting']:,}")
    for batch in status["batches"]:
        if batch["note"] and batch["state"] != "running":
            _say(f"{batch['provider']} {batch['model_id']} shard {batch['shard']}: {one_line(batch['note'], 300)}")
    if status["collect_by"]:
        _say(f"collect by: {status['collect_by']}")


def _say_what_comes_next(status: dict[str, Any], folder: Path) -> None:
    name = status["run"]
    _say(runnable(f"next: batchfast watch {name}   (or, later: batchfast collect {name})", _options().used))
    if status["requests"]["waiting"]:
        _say(f"or by cron: */15 * * * *  {cron_command(name, folder, _options().used)}")


def _run_view(status: dict[str, Any]) -> str:
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    command = status["next_command"]
    return run_view(status | {"next_command": runnable(command, _options().used) if command else None}, width)


def _drive(session: Session, run: RunRow, output: Path | None, force: bool, spec: Spec | None = None) -> int:
    target = _target(run, output)
    with session.work(run, spec.providers if spec else None) as engine:
        _check_output(engine.ctx, target, force=force)
        with _live(session.store, run) as show_progress:
            progress = engine.drive(show_progress)
        written = session.settle(engine.ctx, progress, output=target, force=force)
    return _finish(session, engine.ctx, progress, written, target)


def _live(store: Store, run: RunRow) -> AbstractContextManager[Callable[[Progress], None]]:
    """A display that follows the run, on a terminal only."""
    if not sys.stderr.isatty():
        return nullcontext(lambda _: None)
    from batchfast.live import LiveView

    return LiveView(store, run)


def _finish(session: Session, ctx: Context, progress: Progress, written: Written | None, target: Path) -> int:
    """Say how a pass or a loop ended; the exit code that goes with it."""
    from batchfast.session import not_ready

    run = session.store.run(ctx.run.id)
    status = run_status(session.store, run)
    if _options().json:
        click.echo(json.dumps(status))
    if written is None:
        if not progress.held:
            raise not_ready(run, progress)
        _say_held(run, status["reason"] or progress.held)
        return ERROR
    if not _options().json:
        click.echo(str(written.path))
    _say_what_came(session, ctx, status, written)
    if written.path != target:
        _say(f"({_others(ctx, target) or target} holds something else and was left alone)")
    return DONE if written.rows else ERROR


def _say_what_came(session: Session, ctx: Context, status: dict[str, Any], written: Written) -> None:
    run = ctx.run
    fake = "FAKE " if run.fake else ""
    _say(f"{fake}run {run.id} {status['state']}: {count(written.rows, 'row')} in {written.path}")
    if written.failures:
        reasons = failures_line(session.store.failure_reasons(run.no))
        _say(f"{count(written.failed, 'request')} gave no row: {reasons}; see {written.failures}")
    if not run.fake:
        _say(f"cost: {money(status['cost'])}")


# -- the way in


class _ToStderr(logging.Handler):
    """What the library logs, on whatever stderr is at that moment: the live view puts its own in place."""

    def emit(self, record: logging.LogRecord) -> None:
        _say(plain(record.getMessage()))


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
            code = cli.main(arguments, prog_name="batchfast", standalone_mode=False, obj=options) or DONE
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
        _say("batchfast: interrupted; nothing is lost: the same command continues")
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
        _say(f"batchfast: {plain(runnable(str(exc), options.used))}")
        return NOT_READY if isinstance(exc, NotReady | RunBusy) else ERROR
    if verbose:
        _say("".join(traceback.format_exception(exc)).rstrip())
    if isinstance(exc, sqlite3.DatabaseError) and (
        known := database_trouble(exc, options.used.database if options.used else "the database")
    ):
        _say(f"batchfast: {known}")
        return NOT_READY if primary_code(exc) in IN_USE else ERROR
    if isinstance(exc, OSError):
        _say(f"batchfast: {plain(system_trouble(exc))}")
        return ERROR
    _say(f"batchfast: {type(exc).__name__}: {one_line(str(exc), 300)} (a defect in batchfast: -v shows where)")
    return ERROR
