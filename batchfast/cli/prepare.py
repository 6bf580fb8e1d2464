"""Commands before anything is sent: `init`, `plan`, `compile`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from batchfast.cli.finding import cluster, find_home, load
from batchfast.cli.options import current, example, executor_option, global_options, report, say, spec_argument
from batchfast.errors import ConfigError
from batchfast.store import Store
from batchfast.terminal import json_line
from batchfast.views import count, plan_view


@click.command(epilog=example("batchfast init my.toml && batchfast run my.toml --fake"))
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
    if current().json:
        click.echo(json_line({"spec": str(file)}))
    say(f"wrote {file}; try: batchfast run {file} --fake")


@click.command(epilog=example("batchfast plan examples/three_providers.toml"))
@spec_argument
@global_options
def plan(spec: Path) -> None:
    """Show what a spec would send and cost. No key, no network, nothing written."""
    from batchfast.plan import plan as make_plan

    report(make_plan(load(spec), fake=current().fake), plan_view)


@click.command(
    "compile",
    epilog=example(
        "batchfast compile examples/three_providers.toml -o files",
        "batchfast compile million.toml -o /shared/files --executor dask://head:8786",
    ),
)
@spec_argument
@click.option("-o", "--output", "folder", type=click.Path(path_type=Path, file_okay=False), required=True,
              help="Folder for the submission files.")  # fmt: skip
@executor_option
@global_options
def compile_(spec: Path, folder: Path, scheduler: str | None) -> None:
    """Write the submission files, to upload by hand.

    Exactly the lines that `submit` would send. No key, no network, no run. With --json a line for each file.
    """
    from batchfast.runs import compile_files

    loaded = load(spec)
    home = find_home(spec).make()
    with Store(home.database) as store:
        files = compile_files(
            loaded,
            store,
            folder,
            fake=current().fake,
            executor=cluster(scheduler, folder),
            meter=current().display,
        )
        for path, requests in files:
            size = path.stat().st_size
            about = {"path": str(path), "requests": requests, "bytes": size}
            click.echo(json_line(about) if current().json else str(path), sys.stdout)  # named as in `say`
            say(f"{path.name}: {count(requests, 'request')}, {size:,} bytes")
