"""Commands that look after what is left: `clean`, `doctor`."""

from __future__ import annotations

import click

from batchfast.cli.codes import DONE, ERROR
from batchfast.cli.finding import existing, resolve
from batchfast.cli.options import current, example, global_options, report, run_argument, say
from batchfast.hints import runnable
from batchfast.views import clean_view


@click.command(epilog=example("batchfast collect latest && batchfast clean latest"))
@run_argument
@global_options
def clean(run: str | None) -> int:
    """Delete our files at the providers, once the dataset is safe on disk.

    Deletes only what is this run's own, and lists what cannot be deleted. The raw results on disk stay, so that collect
    still writes the dataset.
    """
    from batchfast.clean import clean as delete_remains
    from batchfast.clean import need_settled

    with existing() as session:
        row = resolve(session.store, run)
        need_settled(session.store, row)
        with session.work(row) as engine:
            cleaned = delete_remains(engine.ctx)
    report(cleaned.report(row), clean_view)
    if cleaned.failed:
        say(runnable(f"not everything could be deleted; try again: batchfast clean {row.id}", current().used))
    return ERROR if cleaned.failed else DONE
