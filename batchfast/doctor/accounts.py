"""Whose keys are there, and which endpoints answer: one short call each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from batchfast.clock import seconds_of
from batchfast.doctor.finding import Finding, Level
from batchfast.errors import BatchfastError, ConfigError, ProviderError
from batchfast.llms import PROVIDERS, Provider
from batchfast.runs import FAKE
from batchfast.session import Session
from batchfast.store import OPEN

# Longest wait for one of the doctor's calls (seconds).
_PATIENCE_S = 20.0

# Runs that ended longer ago have nothing at the providers that could be missed (seconds).
_RECENT_S = 30 * 86_400.0

_BY_KIND = {
    "bad_key": "get a new key from the provider, and put it there",
    "no_credit": "add credit, or raise the limit, at the provider",
    "network": "check the network and the proxy; batches run on meanwhile",
    "rate_limit": "try again in a minute",
    "server": "try again later; batches run on meanwhile",
}


@dataclass(slots=True)
class Account:
    """
    A provider at one endpoint with one key.

    Attributes:
        needed_by: Ids of runs that still have something to send or to collect there.
        answers: Whether it did when it was asked; False before.
    """

    provider: Provider
    fake: bool = False
    needed_by: list[str] = field(default_factory=list)
    answers: bool = False


def accounts_of(session: Session) -> list[Account]:
    """Where the runs of a home were sent that are open or recent. Starts the built-in fake where one was."""
    found: dict[tuple[str, str, str | None], Account] = {}
    for run in session.store.runs():
        shards = session.store.shards(run.no, *OPEN)
        if not shards and session.clock.now() - seconds_of(run.created_at) > _RECENT_S:
            continue
        try:
            providers = session.context(run).providers
        except BatchfastError:
            continue  # its snapshot is gone or damaged, which is said where the files are looked at
        for entry, provider in enumerate(providers):
            fake = run.endpoints[entry] == FAKE
            account = found.setdefault(
                (provider.name, run.endpoints[entry], provider.api_key_env), Account(_patient(provider), fake)
            )
            if any(row.entry == entry for row in shards) and run.id not in account.needed_by:
                account.needed_by.append(run.id)
    return list(found.values())


def usual_accounts(folders: Sequence[Path], others: Iterable[Account]) -> list[Account]:
    """Those a new spec would use without saying more, of the providers that no run was sent to for real."""
    known = {account.provider.name for account in others if not account.fake}
    accounts = [Account(_patient(kind("any"))) for name, kind in PROVIDERS.items() if name not in known]
    for account in accounts:
        account.provider.dotenv_files = tuple(folder / ".env" for folder in dict.fromkeys(folders))
    return accounts


def _patient(provider: Provider) -> Provider:
    provider.timeout = _PATIENCE_S
    return provider


def reach(account: Account) -> Finding:
    """One listing of one batch. Notes in `account` whether it was answered."""
    provider = account.provider
    needed = account.needed_by
    try:
        place, endpoint = provider.key_place(), provider.endpoint()
    except ConfigError as exc:
        return Finding("providers", "error", str(exc))
    if place is None:
        names = " or ".join((provider.api_key_env,) if provider.api_key_env else provider.key_variables)
        if not needed:
            return Finding("providers", "note", f"{provider.name}: no key ({names}); no open run needs one")
        message = f"{provider.name}: no key, but run {needed[0]} has something there"
        return Finding("providers", "error", message, f"set {names} in the environment or in a .env beside the spec")
    key = "" if account.fake else f"; key: {place}"
    try:
        provider.newest()
    except ProviderError as exc:
        level: Level = "error" if needed or exc.kind == "bad_key" else "warning"
        advice = _BY_KIND.get(exc.kind)
        return Finding("providers", level, f"{exc} (at {endpoint}{key})", advice)
    account.answers = True
    where = "the built-in fake" if account.fake else endpoint
    return Finding("providers", "ok", f"{provider.name}: {where} answers{key}")
