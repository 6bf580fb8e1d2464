"""
What carries this home's mark at a provider, but belongs to no shard any more: batches that nobody collects, and uploads
that nobody needs.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from batchfast.clock import seconds_of
from batchfast.doctor.accounts import Account
from batchfast.doctor.finding import Finding
from batchfast.errors import ProviderError
from batchfast.jsonl import lines_of
from batchfast.llms import Provider
from batchfast.records import BatchSnapshot, ListedBatch, ListedFile, split_custom_id
from batchfast.session import Session
from batchfast.store import OPEN
from batchfast.views import count

# Newest batches and uploads of an account that are looked at (count).
MAX_BATCHES = 2_000
_MAX_UPLOADS = 20_000

# Results of others that are opened to read whose they are, where batches carry no name (count).
MAX_OPENED = 200

# How far the clocks here and there may be apart (seconds).
_SLACK_S = 86_400.0


@dataclass(frozen=True, slots=True)
class _Runs:
    """What this home knows of its runs, to hold a listing against."""

    mark: re.Pattern[str]
    owned: set[str]
    known: set[str]
    open: set[str]
    seeking: set[str]  # a create of theirs got no clear answer
    given_up: str  # what was said of shards that were sent again although they may have been accepted
    since: float

    @classmethod
    def of(cls, session: Session, provider: Provider) -> _Runs:
        """
        As they are now: to be asked after the listing, so that what another process sends meanwhile has its owner, or,
        looked at before the owners, a create that is under way.
        """
        store, runs = session.store, session.store.runs()
        seeking = {run.id for run in runs if store.shards(run.no, "submitting", "uncertain")}
        return cls(
            mark=re.compile(rf"(?P<run>.+)-{store.nonce()}(-\d+-\d+-\d+)?"),
            seeking=seeking,
            given_up="\n".join(
                event["message"] for run in runs for event in store.events(run.no) if event["kind"] == "resend"
            ),
            owned=store.owned_remote_ids(provider.name),
            known={run.id for run in runs},
            open={run.id for run in runs if store.shards(run.no, *OPEN)},
            since=min(seconds_of(run.created_at) for run in runs) - _SLACK_S,
        )

    def run_of(self, label: str | None) -> str | None:
        """Whose run's a label or the beginning of a custom_id is; None where it is not from this home."""
        found = self.mark.fullmatch(label or "")
        return found["run"] if found else None


def look_for_leftovers(session: Session, account: Account) -> list[Finding]:
    """Orphans on one account. Bounded: says where it did not look further."""
    provider = account.provider
    try:
        uploads = list(islice(provider.uploads(), _MAX_UPLOADS))
        batches = list(islice(provider.batches(), MAX_BATCHES))
        runs = _Runs.of(session, provider)
        findings = [*_orphans(provider, runs, batches), *_nameless(provider, runs, batches)]
        findings += _uploads(provider, runs, uploads)
    except ProviderError as exc:
        return [Finding("leftovers", "warning", f"{provider.name} could not be searched for leftovers: {exc}")]
    if not findings:
        what = f"{count(len(batches), 'batch', 'batches')} on the account"
        findings = [Finding("leftovers", "ok", f"{provider.name}: nothing of this home is without an owner ({what})")]
    if len(batches) == MAX_BATCHES:
        message = f"{provider.name}: only the newest {MAX_BATCHES:,} batches were looked at"
        findings.append(Finding("leftovers", "note", message))
    return findings


def _orphans(provider: Provider, runs: _Runs, batches: list[ListedBatch]) -> Iterator[Finding]:
    opened = 0
    for batch in batches:
        snapshot = batch.snapshot
        if snapshot.remote_id in runs.owned:
            continue
        run = runs.run_of(batch.label)
        if provider.name == "anthropic" and snapshot.files and _may_be_ours(snapshot, runs):
            if opened == MAX_OPENED:
                message = f"anthropic: only {MAX_OPENED:,} ended batches of others were opened to see whose they are"
                yield Finding("leftovers", "note", message)
                return
            opened += 1
            run = runs.run_of(_first_mark(provider, snapshot))
        if run is not None:
            yield _orphan(provider, runs, run, snapshot)


def _nameless(provider: Provider, runs: _Runs, batches: list[ListedBatch]) -> Iterator[Finding]:
    """Running batches of nobody here that carry no name: only their results will tell whose they are."""
    running = [
        batch.snapshot
        for batch in batches
        if batch.label is None and batch.snapshot.outcome is None and batch.snapshot.remote_id not in runs.owned
    ]
    if provider.name != "anthropic":
        return
    for snapshot in running:
        if snapshot.remote_id in runs.given_up:
            message = f"anthropic batch {snapshot.remote_id} may be a shard that was sent again, and runs and costs"
            yield Finding("leftovers", "warning", message, how_to_cancel(provider, snapshot.remote_id))
    others = sum(snapshot.remote_id not in runs.given_up and _may_be_ours(snapshot, runs) for snapshot in running)
    if others:
        which = count(others, "running batch", "running batches")
        yield Finding("leftovers", "note", f"anthropic: {which} without a name: only results will tell whose")


def _may_be_ours(snapshot: BatchSnapshot, runs: _Runs) -> bool:
    return snapshot.created_at is None or seconds_of(snapshot.created_at) >= runs.since


def _first_mark(provider: Provider, snapshot: BatchSnapshot) -> str | None:
    """How the custom_ids in a batch's results begin, by the first of them."""
    for line in lines_of(provider.download(snapshot.files[0])):
        try:
            found = split_custom_id(provider.decode(line).custom_id)
        except ValueError:
            return None
        return found[0] if found else None
    return None


def _orphan(provider: Provider, runs: _Runs, run: str, snapshot: BatchSnapshot) -> Finding:
    about = f"{provider.name} batch {snapshot.remote_id} ({snapshot.remote_state}) of run {run}"
    if run in runs.seeking:
        return Finding("leftovers", "note", f"{about} has no owner yet", f"adopt it with: batchfast collect {run}")
    why = "no shard owns it" if run in runs.known else "which this home does not know"
    if snapshot.outcome is None:
        advice = how_to_cancel(provider, snapshot.remote_id)
        return Finding("leftovers", "error", f"{about}: {why}, and it runs and costs", advice)
    if run in runs.known:
        advice = "nothing is missing: the run has answers of its own; delete it at the provider if you like"
        return Finding("leftovers", "warning", f"{about}: {why}; it may have been paid for a second time", advice)
    advice = "was state.db replaced by an older one? Put the newer one back, then: batchfast collect"
    return Finding("leftovers", "warning", f"{about}, {why}: its answers were paid for and not collected", advice)


def how_to_cancel(provider: Provider, remote_id: str) -> str:
    """What cancels a batch by hand; the key stays in its variable, which a shell knows only from its environment."""
    place = provider.key_place() or ""
    first = f"cancel it (first set {place.replace(' in ', ' as in ', 1)})" if place.endswith(".env") else "cancel it"
    return f"{first}: {_cancel_command(provider, remote_id)}"


def _cancel_command(provider: Provider, remote_id: str) -> str:
    key = f"${provider.api_key_env or provider.key_variables[0]}"
    paths = {
        "openai": f"/batches/{remote_id}/cancel",
        "anthropic": f"/v1/messages/batches/{remote_id}/cancel",
        "gemini": f"/v1beta/{remote_id}:cancel",
    }
    headers = {
        "openai": f'-H "Authorization: Bearer {key}"',
        "anthropic": f'-H "x-api-key: {key}" -H "anthropic-version: 2023-06-01"',
        "gemini": f'-H "x-goog-api-key: {key}"',
    }
    url = shlex.quote(provider.endpoint() + paths[provider.name])
    return f"curl -X POST {url} {headers[provider.name]}"


def _uploads(provider: Provider, runs: _Runs, uploads: list[ListedFile]) -> Iterator[Finding]:
    """Input files of runs that need them no more."""
    found = Counter(run for file in uploads if (run := runs.run_of(file.label)))
    for run, number in found.items():
        files = f"{provider.name} has {count(number, 'input file')} of run {run}"
        if run not in runs.known:
            message = f"{files}, which this home does not know"
            yield Finding("leftovers", "note", message, "they go by themselves within 30 days")
        elif run not in runs.open:
            yield Finding("leftovers", "note", f"{files}, which has settled", f"delete them: batchfast clean {run}")
