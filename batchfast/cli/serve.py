"""The fake provider for other programs: `fake serve`."""

from __future__ import annotations

import math
import sys
import threading
from pathlib import Path

import click

from batchfast.cli.finding import find_home
from batchfast.cli.options import example, global_options, say
from batchfast.errors import ConfigError
from batchfast.views import count


def _finite(_: click.Context, parameter: click.Parameter, value: float) -> float:
    if not math.isfinite(value):
        raise click.BadParameter(f"{value} is not a number of seconds", param=parameter)
    return value


@click.group(epilog=example("batchfast fake serve --port 8000"))
@global_options
def fake() -> None:
    """The fake provider, for other programs."""


@fake.command(epilog=example("batchfast fake serve --port 8000 --batch-seconds 10"))
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
    folder = find_home().make().fake
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
            say(f"{count(len(stale), 'fault')} planned before: /_fake/faults shows them, a DELETE there forgets them")
        server.plan(*planned)
        for name, value in server.env.items():
            click.echo(f"export {name}={value}")
        sys.stdout.flush()
        say(f"serving the fake providers at {server.url}; stop with Ctrl-C")
        threading.Event().wait()
    finally:
        server.unplan(*planned)
        server.stop()
