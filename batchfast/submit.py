"""
Shards to batches. The only place that spends money.

Before a create the shard stands in the store as *submitting*, with the newest batch the provider lists (the fence).
Whatever happens then, the next pass can look above the fence for what became of it, and sends again only what is
certainly not there.

Sending is `begin`, an upload, and `conclude`. Only uploads may run elsewhere meanwhile: they cost nothing. Creates,
which do, are made here one after the other, as is every step in the store.
"""

from __future__ import annotations

from collections.abc import Callable

from batchfast.admission import put_off, refused_at_create
from batchfast.clock import iso, seconds_of
from batchfast.context import Context
from batchfast.errors import ProviderError
from batchfast.jsonl import lines_of, sha256_of
from batchfast.outcomes import Absent, without_results
from batchfast.records import Candidate, Positions, RequestError, split_custom_id
from batchfast.status import resend_command
from batchfast.store import ShardRow, ShardState

# After a refusal for rate or quota that names no time of its own (seconds).
_WAIT_AFTER_REFUSAL_S = 30.0


def begin(ctx: Context, row: ShardRow) -> bool:
    """
    Enter the intent to send a waiting shard: from here on it counts as in flight.

    Returns:
        False if it stays as it was: the entry's other shards need not be tried, or another process was first.
    """
    provider = ctx.provider(row)
    shard = ctx.shard(row)
    if not shard.path.is_file() or sha256_of(shard.path) != row.sha256:
        ctx.hold("changed file", f"{shard.path} is missing or was changed, so it was not sent: put it back", row)
        return False
    try:
        fence = provider.newest()
    except ProviderError as exc:
        if exc.kind in ("refused", "not_found"):
            ctx.hold("refused", f"{row.provider} does not list batches at {provider.endpoint()}: {exc}", row)
        else:
            _put_off(ctx, row, exc)
        return False
    return ctx.store.move(row.id, "waiting", "submitting", fence=fence, intent_at=ctx.now(), absent_at=None, note=None)


def upload_of(ctx: Context, row: ShardRow) -> Callable[[], str | None]:
    """What uploads a shard and returns its file's id. Touches no store, so that it may be called in any thread."""
    provider, shard = ctx.provider(row), ctx.shard(row)
    return lambda: provider.upload(shard) if row.file_id is None else row.file_id


def conclude(ctx: Context, row: ShardRow, upload: Callable[[], str | None], *, creates: bool = True) -> bool:
    """
    Finish what `begin` began: the upload's outcome, the create and its outcome.

    A create whose answer did not come leaves the shard *submitting*, for `recover`.

    Args:
        row: As it was before `begin`.
        upload: Returns the file's id, or raises the upload's error.
        creates: False where the entry's provider has refused since: the shard waits again, and keeps its file.

    Returns:
        False if the provider takes nothing just now, so that the entry's other shards need not be tried.
    """
    try:
        file_id = upload()
    except ProviderError as exc:
        return _after_failed_upload(ctx, row, exc)
    # An upload takes minutes, in which a person may cancel, or another shard find that nothing can be sent.
    if not creates or ctx.held or ctx.store.cancel_requested(ctx.run.no):
        ctx.store.move(row.id, "submitting", "waiting", file_id=file_id)
        return False
    # Now the create is about to be made: how long its absence is doubted counts from here.
    if not ctx.store.update_shard(row.id, "submitting", file_id=file_id, intent_at=ctx.now()):
        return False
    try:
        remote_id = ctx.provider(row).create(ctx.shard(row), file_id)
    except ProviderError as exc:
        _after_failed_create(ctx, row, exc)
        return exc.kind == "refused"
    _adopt(ctx, row, remote_id, "submitting", f"sent as {remote_id}")
    return True


def _after_failed_upload(ctx: Context, row: ShardRow, exc: ProviderError) -> bool:
    """Returns as `conclude`. A file that may have arrived is looked for, like a batch, before it is sent again."""
    if exc.kind in ("refused", "not_found"):
        _refuse(ctx, row, exc)
        return True
    if exc.maybe_accepted:
        ctx.store.update_shard(row.id, "submitting", note=str(exc))
    else:
        _back_to_waiting(ctx, row, exc)
    return False


def _after_failed_create(ctx: Context, row: ShardRow, exc: ProviderError) -> None:
    if exc.maybe_accepted:
        # A body of many megabytes takes minutes: it may have been accepted only now.
        ctx.store.update_shard(row.id, "submitting", note=str(exc), intent_at=ctx.now())
        ctx.note("warning", f"no clear answer to a create ({exc}); looking before sending again", row)
    elif exc.kind == "rate_limit":
        refused_at_create(ctx, row, str(exc), exc.retry_after_s)
    elif exc.kind in ("bad_key", "no_credit"):
        _back_to_waiting(ctx, row, exc)
    elif row.file_id is not None:
        # A file from an earlier try may have expired: upload it afresh once before giving up.
        ctx.store.move(row.id, "submitting", "waiting", file_id=None, note=str(exc))
    else:
        _refuse(ctx, row, exc)


def _refuse(ctx: Context, row: ShardRow, exc: ProviderError) -> None:
    """The provider will not take this shard: its requests fail with the provider's words."""
    error = RequestError(type=exc.kind, message=str(exc), status_code=exc.status_code)
    without_results(ctx, ctx.store.shard(row.id), Absent("failed", error), refused=True)


def _back_to_waiting(ctx: Context, row: ShardRow, exc: ProviderError) -> None:
    """The provider certainly made no batch: the shard may be sent again."""
    ctx.store.move(row.id, "submitting", "waiting")
    _put_off(ctx, row, exc)


def _put_off(ctx: Context, row: ShardRow, exc: ProviderError) -> None:
    if exc.kind in ("bad_key", "no_credit"):
        ctx.hold(exc.kind.replace("_", " "), str(exc), row)
        return
    put_off(ctx, row, exc.retry_after_s or _WAIT_AFTER_REFUSAL_S, str(exc))
    ctx.note("waits", f"not sent yet: {exc}", row)


def recover(ctx: Context, row: ShardRow) -> float:
    """
    Find out what became of a create whose outcome is unknown, and act on it.

    Adopts a batch that is ours. Believes in its absence only after two listings, the second at least
    `recheck_after_s` after the intent, because listings lag. Never sends by itself: a shard that is certainly not
    there goes back to *waiting*.

    Returns:
        How long the provider asked to wait before the next look (seconds).
    """
    provider = ctx.provider(row)
    try:
        candidates = provider.find(ctx.shard(row), row.fence)
        ours, unproven = _judge(ctx, row, candidates)
    except ProviderError as exc:
        # Only where it is submitting: an uncertain one keeps its question.
        ctx.store.update_shard(row.id, "submitting", note=f"cannot look for it: {exc}")
        if exc.kind == "bad_key":
            ctx.hold("bad key", str(exc), row)
        return exc.retry_after_s or 0.0
    if ours:
        _adopt(ctx, row, ours[0], row.state, f"found as {ours[0]}")
        if len(ours) > 1:
            ctx.note("warning", f"the provider lists more than one batch of this shard: {', '.join(ours)}", row)
    elif unproven:
        question = _question(ctx, row, unproven)
        moved = ctx.store.move(row.id, row.state, "uncertain", absent_at=None, note=question)
        if moved and question != row.note:
            ctx.note("uncertain", question, row)
    else:
        _believe_absence(ctx, row, next((c.file_id for c in candidates if c.certain and c.file_id), row.file_id))
    return 0.0


def _question(ctx: Context, row: ShardRow, unproven: list[str]) -> str:
    which = f"batch {unproven[0]}" if len(unproven) == 1 else f"one of the batches {', '.join(unproven)}"
    return (
        f"{which} may be this shard; only results can tell, and there are none yet. To send it again, and maybe pay "
        f"twice: {resend_command(ctx.run.id, row)}"
    )


def _judge(ctx: Context, row: ShardRow, candidates: list[Candidate]) -> tuple[list[str], list[str]]:
    """Batches that are certainly this shard's; where there is none, those that may be."""
    owned = ctx.store.owned_remote_ids(row.provider)
    batches = [(c.remote_id, c.certain) for c in candidates if c.remote_id is not None and c.remote_id not in owned]
    certain = [remote_id for remote_id, sure in batches if sure]
    if certain:
        return certain, []
    unproven = []
    for remote_id, _ in batches:
        verdict = _prove(ctx, row, remote_id)
        if verdict is True:
            return [remote_id], []
        if verdict is None:
            unproven.append(remote_id)
    return [], unproven


def _prove(ctx: Context, row: ShardRow, remote_id: str) -> bool | None:
    """Whether a batch's results carry this shard's custom_ids; None while there are no results."""
    provider = ctx.provider(row)
    snapshot = provider.poll(remote_id)
    for file in snapshot.files:
        for line in lines_of(provider.download(file)):
            found = split_custom_id(provider.decode(line).custom_id)
            return found is not None and _belongs(ctx, row, *found)
    return None


def _belongs(ctx: Context, row: ShardRow, prefix: str, index: int, attempt: int) -> bool:
    position, entry = divmod(index, len(ctx.providers))
    mine = prefix == ctx.id_prefix and attempt == row.attempt and entry == row.entry
    return mine and any(position in numbers for numbers in Positions(row.positions).ranges())


def _believe_absence(ctx: Context, row: ShardRow, file_id: str | None) -> None:
    now = ctx.clock.now()
    intent = seconds_of(row.intent_at) if row.intent_at else now
    old_enough = now - intent >= ctx.recheck_after_s
    if row.absent_at is None or not old_enough:
        # A clock set back must not make the wait endless: count from now on.
        restart = {"intent_at": iso(now)} if now < intent else {}
        ctx.store.update_shard(row.id, row.state, absent_at=row.absent_at or iso(now), **restart)
        return
    if ctx.store.move(row.id, row.state, "waiting", file_id=file_id, note=None):
        ctx.note("waits", "the provider twice listed no batch of this shard: it is sent again", row)


def _adopt(ctx: Context, row: ShardRow, remote_id: str, state: ShardState, message: str) -> None:
    if ctx.store.accept(row.id, state, remote_id, ctx.now()):
        ctx.note("running", message, row)
