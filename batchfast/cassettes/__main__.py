"""`python -m batchfast.cassettes record`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import click

from batchfast.cassettes.record import most_it_costs, read_head, record_fake, record_live
from batchfast.cassettes.scenarios import PROVIDERS, scenarios
from batchfast.errors import BatchfastError, ConfigError
from batchfast.llms import AnthropicProvider, GeminiProvider, OpenAIProvider, Provider

_KINDS: dict[str, Callable[[str], Provider]] = {
    "openai": OpenAIProvider,
    "anthropic": AnthropicProvider,
    "gemini": GeminiProvider,
}


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """The cassettes that come with batchfast."""


@main.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--live", is_flag=True, help="Record from the services, with your keys and at your cost.")
@click.option("--provider", "providers", multiple=True, type=click.Choice(PROVIDERS), help="Only this service.")
@click.option(
    "--to",
    "folder",
    type=click.Path(path_type=Path),
    default=Path("cassettes"),
    help="Where to write; default: cassettes.",
)
@click.option("--yes", is_flag=True, help="Do not ask whether to spend.")
def record(names: tuple[str, ...], *, live: bool, providers: tuple[str, ...], folder: Path, yes: bool) -> None:
    """
    Record cassettes, all or those named.

    They are recorded from the fake, within seconds and for nothing. With --live they come from the services, which
    takes minutes to hours; what it costs at most is said first.

    Example: python -m batchfast.cassettes record openai/complete openai/failures
    """
    try:
        chosen = _chosen(names, providers)
        if live:
            _record_live(chosen, folder, yes=yes)
        else:
            for provider, name in chosen:
                _say(provider, name, changed=record_fake(provider, name, folder))
    except BatchfastError as exc:
        raise click.ClickException(str(exc)) from exc


def _chosen(names: tuple[str, ...], providers: tuple[str, ...]) -> list[tuple[str, str]]:
    known = [(provider, name) for provider in providers or PROVIDERS for name in scenarios(provider)]
    unknown = set(names) - {f"{provider}/{name}" for provider, name in known}
    if unknown:
        listed = ", ".join(f"{provider}/{name}" for provider, name in known)
        raise ConfigError(f"nothing to record by the name of {', '.join(sorted(unknown))}; there are: {listed}")
    return [(provider, name) for provider, name in known if not names or f"{provider}/{name}" in names]


def _record_live(chosen: list[tuple[str, str]], folder: Path, *, yes: bool) -> None:
    can = []
    for provider, name in chosen:
        reason = scenarios(provider)[name].only_fake
        if reason is None:
            can.append((provider, name))
        else:
            path = folder / provider / f"{name}.yaml"
            kept = f"; {path} stays as recorded from {read_head(path).source}" if path.exists() else ""
            click.echo(f"{provider}/{name}: skipped, {reason}{kept}", err=True)
    if not can:
        raise ConfigError("nothing is left to record at the services")
    keys = {provider: _KINDS[provider]("any").key() for provider, _ in can}
    costs = [most_it_costs(provider, scenarios(provider)[name]) for provider, name in can]
    known = [cost for cost in costs if cost is not None]
    beside = "" if len(known) == len(costs) else ", and what the models without a known price cost"
    click.echo(f"{len(can)} recordings at the services, for at most ${sum(known):.4f}{beside}", err=True)
    _agree(yes=yes)
    failed = 0
    for provider, name in can:
        try:
            changed = record_live(provider, name, folder, key=keys[provider])
        except BatchfastError as exc:  # what else was agreed to is not lost with it
            click.echo(exc, err=True)
            failed += 1
        else:
            _say(provider, name, changed=changed)
    if failed:
        raise BatchfastError(f"{failed} of {len(can)} not recorded")


def _agree(*, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigError("nobody is here to agree to the cost: add --yes")
    click.confirm("Record?", abort=True, err=True)


def _say(provider: str, name: str, *, changed: bool) -> None:
    click.echo(f"{provider}/{name}: {'recorded' if changed else 'as it was'}")


if __name__ == "__main__":
    main()
