"""Commands that work on a run: `submit`, `run`, `watch`, `collect`, `cancel`, `retry`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batchfast.cli.codes import DONE, ERROR
from batchfast.cli.finding import existing, find_home, load, open_session, resolve, target_of
from batchfast.cli.options import (
    again_option,
    current,
    example,
    executor_option,
    force_option,
    global_options,
    output_option,
    run_argument,
    say,
    say_waiting,
    spec_argument,
    wait_option,
)
from batchfast.cli.progress import announce, check_output, drive, finish, sent, typed
from batchfast.errors import ConfigError
from batchfast.hints import runnable
from batchfast.status import run_status
from batchfast.store import OPEN, RunRow
from batchfast.terminal import is_terminal, json_line, one_line
from batchfast.views import count, ledger_line
from batchfast.views import usd as money_usd

if TYPE_CHECKING:
    from batchfast.session import Session


@click.command(epilog=example("batchfast submit examples/three_providers.toml", "batchfast collect        # tomorrow"))
@spec_argument
@again_option
@wait_option
@executor_option
@global_options
def submit(spec: Path, again: bool, wait: bool, scheduler: str | None) -> int:
    """Compile and send. Prints the run's id; collect it later, from any process."""
    from batchfast.datasets import already_sent

    loaded = load(spec)
    with open_session(find_home(spec), scheduler) as session:
        run, new = session.enter(loaded, fake=current().fake, again=again)
        if not new and not session.store.shards(run.no, "waiting", "submitting", "uncertain"):
            raise already_sent(run)
        announce(session, run, new)
        with session.work(run, loaded.providers, waits=say_waiting if wait else None) as engine:
            target = target_of(engine.ctx.run, None)
            check_output(engine.ctx, target, "name another output_file, or move one of them away")
            progress = engine.send_all()
        return sent(session, run, progress, spec.absolute().parent)


@click.command(epilog=example("batchfast run examples/space_engineering.toml --fake"))
@spec_argument
@again_option
@output_option
@force_option
@wait_option
@executor_option
@global_options
def run(spec: Path, again: bool, output: Path | None, force: bool, wait: bool, scheduler: str | None) -> int:
    """Submit, watch and collect in one. Interrupted, the same line continues."""
    loaded = load(spec)
    with open_session(find_home(spec), scheduler) as session:
        entered, new = session.enter(loaded, fake=current().fake, again=again)
        announce(session, entered, new)
        return drive(session, entered, output, force, wait, loaded)


@click.command(epilog=example("batchfast watch latest", "batchfast watch latest --wait    # cron is at it just now"))
@run_argument
@output_option
@force_option
@wait_option
@executor_option
@global_options
def watch(run: str | None, output: Path | None, force: bool, wait: bool, scheduler: str | None) -> int:
    """Collect in a loop until nothing can move by itself."""
    with existing(scheduler) as session:
        return drive(session, resolve(session.store, run), output, force, wait)


@click.command(
    epilog=example(
        "batchfast collect latest",
        "batchfast collect latest --reparse -o again.jsonl    # offline, from the raw results",
        "*/15 * * * *  cd /data && batchfast collect latest",
    )
)
@run_argument
@click.option("--no-send", is_flag=True, help="Never spend: send nothing, also nothing again.")
@click.option("--partial", is_flag=True, help="Also write what is settled so far to <stem>.partial.jsonl.")
@click.option("--reparse", is_flag=True, help="Only make the dataset anew from the raw results. No key, no network.")
@output_option
@force_option
@wait_option
@executor_option
@global_options
def collect(
    run: str | None,
    no_send: bool,
    partial: bool,
    reparse: bool,
    output: Path | None,
    force: bool,
    wait: bool,
    scheduler: str | None,
) -> int:
    """One pass over everything that can move.

    Sends what waits, polls, downloads what ended, sends again what may yet succeed, and writes the dataset once all is
    settled. Exit code 3 says that something still runs.

    With --reparse instead, offline: the dataset and its failures file from what is under runs/ alone. Where state.db is
    lost, RUN is the name of a folder there, and -o FILE says where to write.
    """
    if reparse:
        from batchfast.cli.rebuild import rebuild

        if partial:
            raise click.UsageError("--reparse writes what there is: leave --partial out")
        return rebuild(run, output, force=force, wait=wait, scheduler=scheduler)
    from batchfast.export import write_partial
    from batchfast.runs import check_writable

    with existing(scheduler) as session:
        row = resolve(session.store, run)
        with session.work(row, waits=say_waiting if wait else None) as engine:
            target = target_of(engine.ctx.run, output)
            if not no_send:
                check_writable(target)
            progress = engine.one_pass(sends=not no_send, everything=True)
            if partial:
                path, rows = write_partial(engine.ctx, Path(engine.ctx.run.output_file))
                say(f"wrote {count(rows, 'row')} to {path}, as far as the run is settled")
            written = session.settle(engine.ctx, progress, output=target, force=force)
        return finish(session, engine.ctx, progress, written, target)


@click.command(epilog=example("batchfast cancel latest", "batchfast collect latest    # keeps what finished"))
@run_argument
@global_options
def cancel(run: str | None) -> int:
    """Cancel at the providers, keep what finished, send nothing more."""
    from batchfast.engine import cancel_run

    with existing() as session:
        row = resolve(session.store, run)
        if not any(shard.state in OPEN for shard in session.store.shards(row.no)):
            raise ConfigError(f"run {row.id} has settled: there is nothing to cancel")
        missed = cancel_run(session.context(row))
        ledger = asdict(session.store.ledger(row))
        if current().json:
            click.echo(json_line(typed(run_status(session.store, session.store.run(row.id), session.clock.now()))))
    say(f"{_fake(row)}run {row.id}: cancel was asked for; {ledger_line(ledger)}")
    if missed:
        names = one_line(", ".join(missed), None)
        say(runnable(f"could not be cancelled yet: {names}; try again: batchfast cancel {row.id}", current().used))
        return ERROR
    say(runnable(f"keep what finished with: batchfast watch {row.id}", current().used))
    return DONE


@click.command(
    epilog=example("batchfast retry latest", "batchfast watch latest", "batchfast retry latest --resend 0-3-1")
)
@run_argument
@click.option("--resend", "shard", metavar="SHARD", help="Send an uncertain shard again: it may be paid twice.")
@click.option("--yes", is_flag=True, help="With --resend: do not ask.")
@wait_option
@global_options
def retry(run: str | None, shard: str | None, yes: bool, wait: bool) -> int:
    """Send again what failed for good, what expired and what was cancelled.

    Each of these requests has all its tries again; what has a row is left alone.

    With --resend instead one shard, by its name in `status`, of which cannot be told whether the provider accepted it.
    What may be paid twice is said before you are asked.
    """
    from batchfast.resend import ask_again

    if yes and not shard:
        raise click.UsageError("--yes goes with --resend SHARD: nothing else is asked")
    waits = say_waiting if wait else None
    with existing() as session:
        row = resolve(session.store, run)
        if shard:
            return _resend(session, row, shard, yes, waits)
        with session.work(row, waits=waits) as engine:
            asked = ask_again(engine.ctx)
            if not asked:
                raise ConfigError(f"run {row.id} has no request that ended without a row: there is nothing to retry")
            say(f"{_fake(row)}run {row.id}: {count(asked, 'request')} will be sent again")
            progress = engine.send_all()
        return sent(session, row, progress, Path.cwd())


def _resend(session: Session, run: RunRow, name: str, yes: bool, waits: Callable[[str], None] | None) -> int:
    """Nobody holds the run while a person thinks: whatever happens to the shard meanwhile is noticed."""
    from batchfast.resend import give_up_the_question, look_once_more, most_it_may_cost, uncertain_shard

    uncertain_shard(session.store, run, name)
    with session.work(run, waits=waits) as engine:
        shard = look_once_more(engine.ctx, uncertain_shard(session.store, run, name))
        usd = most_it_may_cost(engine.ctx, shard)
        cancelled = session.store.cancel_requested(run.no)
    doubtful = shard.state == "uncertain"
    if doubtful:
        say(runnable(f"shard {name} of run {run.id}: {one_line(shard.note or '', None)}", current().used))
        price = "nobody can say how much" if usd is None else f"{money_usd(usd)} at most"
        say(f"if so, {count(shard.requests, 'request')} will be paid twice ({price}), and answers not used")
        if not yes and not _agreed():
            say("nothing was sent again")
            return ERROR
    else:
        say(f"shard {name} of run {run.id} is {shard.state} now: the question has been answered")
    with session.work(run, waits=waits) as engine:
        if doubtful:
            give_up_the_question(engine.ctx, shard, lifts_cancel=cancelled)
        progress = engine.send_all()
    return sent(session, run, progress, Path.cwd())


def _fake(run: RunRow) -> str:
    return "FAKE " if run.fake else ""


def _agreed() -> bool:
    """
    Raises:
        click.UsageError: There is nobody to ask.
    """
    if not is_terminal(sys.stdin):
        raise click.UsageError("there is no terminal to ask on: add --yes to send it again")
    return click.confirm("Send it again?", err=True)
