"""
Our own files and batches at the providers, deleted once the dataset is safe on disk: `batchfast clean`.

Deleted is what a run owns: the batches in its shards' rows with the files those name, and uploads that carry the name
of one of its shards. Nothing else on the account is touched.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from batchfast.context import Context
from batchfast.errors import ConfigError, NotReady, ProviderError, StoreError
from batchfast.export import dataset_sha256
from batchfast.jsonl import make_durable, sha256_of
from batchfast.rawfiles import collected_files
from batchfast.store import OPEN, RunRow, ShardRow, Store

_RECORDS_STAY = "there is no call to delete a batch; what stays is a record without prompts and answers"


_NOT_FOUND = "not found with this key: gone already, or of another account"


@dataclass(frozen=True, slots=True)
class Remote:
    """
    Something of ours at a provider.

    Attributes:
        kind: "input file", "output file", "error file", "batch", or "rest" for all that was not tried any more.
        id: Its id there; None for the rest.
        why: Why it was not deleted; None where it was.
        until: When it goes by itself, where that is known (UTC ISO 8601).
    """

    provider: str
    kind: str
    id: str | None
    why: str | None = None
    until: str | None = None


@dataclass(slots=True)
class Cleaned:
    """
    What became of everything that a run had at its providers.

    Attributes:
        dataset: The file whose rows the raw results on disk give.
        deleted: Gone.
        absent: Not found: gone before, or of another account than that of the key.
        kept: Cannot be deleted.
        failed: Could not be deleted this time.
    """

    dataset: Path
    deleted: list[Remote] = field(default_factory=list)
    absent: list[Remote] = field(default_factory=list)
    kept: list[Remote] = field(default_factory=list)
    failed: list[Remote] = field(default_factory=list)

    def report(self, run: RunRow) -> dict[str, Any]:
        """The answer of `clean RUN --json`."""
        groups = {
            name: [asdict(one) for one in getattr(self, name)] for name in ("deleted", "absent", "kept", "failed")
        }
        return {"run": run.id, "fake": run.fake, "dataset": str(self.dataset), **groups}


def clean(ctx: Context) -> Cleaned:
    """
    Delete what the run has at its providers. Safe to repeat: what is gone counts as deleted.

    Raises:
        NotReady: The run has not settled; nothing was deleted.
        ConfigError, StoreError: Its dataset, or a raw file, is not on disk as it should be; nothing was deleted.
    """
    need_settled(ctx.store, ctx.run)
    cleaned = Cleaned(_make_safe(ctx))
    rows = ctx.store.shards(ctx.run.no)
    for entry in range(len(ctx.providers)):
        sweep = _Sweep(ctx, cleaned, entry, [row for row in rows if row.entry == entry])
        try:
            sweep.batches()
            sweep.uploads()
        except ProviderError as exc:  # a bad key, a provider out of reach: the rest would only fail likewise
            cleaned.failed.append(Remote(sweep.provider.name, "rest", None, str(exc)))
    return cleaned


def need_settled(store: Store, run: RunRow) -> None:
    """
    Raises:
        NotReady: Requests are still open, or the dataset was not written since they ended.
    """
    running = len(store.shards(run.no, *OPEN))
    if running or run.settled_at is None:
        raise NotReady(
            f"run {run.id} has not settled yet, so nothing was deleted; first: batchfast collect {run.id}",
            run_id=run.id,
            running=running,
        )


# -- before anything is deleted


def _make_safe(ctx: Context) -> Path:
    """
    The dataset's file, once it and every raw file are known to be whole and on the disk.

    That the rows come out of the raw files now, and are those of the dataset, is worth more than any size: it reads
    every answer that counts.
    """
    raw = _raw_files(ctx)
    sha256 = dataset_sha256(ctx)
    path = next((path for path in _places(ctx, sha256) if path.is_file() and sha256_of(path) == sha256), None)
    if path is None:
        raise ConfigError(
            f"run {ctx.run.id}: {ctx.run.output_file} does not hold the rows of its raw results (is it gone, or "
            f"changed?), so nothing was deleted; write it again with: batchfast collect {ctx.run.id}"
        )
    for one in (path, *raw):
        make_durable(one)
    return path


def _places(ctx: Context, sha256: str) -> list[Path]:
    """Where the run wrote these rows, the place that was asked for first."""
    wanted = Path(ctx.run.output_file)
    return sorted(ctx.store.outputs(ctx.run.no, sha256), key=lambda path: path != wanted)


def _raw_files(ctx: Context) -> list[Path]:
    """Every raw file that collected lines point into, each as long as they say."""
    paths: list[Path] = []
    for path, problem in collected_files(ctx.store, ctx.run.no, ctx.result_file):
        if problem:
            raise StoreError(f"run {ctx.run.id}: {path} {problem}, so nothing was deleted; restore it from a backup")
        paths.append(path)
    return paths


# -- deleting


class _Sweep:
    """Deletes what one provider entry of a run has, and says what became of each thing."""

    def __init__(self, ctx: Context, cleaned: Cleaned, entry: int, rows: list[ShardRow]) -> None:
        self._ctx = ctx
        self._cleaned = cleaned
        self._rows = rows
        self._known = ctx.store.deleted(ctx.run.no)
        self.provider = ctx.providers[entry]

    def batches(self) -> None:
        """The result files of each batch, then the batch: the other way round nobody would know the files."""
        for row in self._rows:
            for remote_id in self._ctx.store.batches_of(row.id):
                if remote_id not in self._known:
                    self._batch(row, remote_id)

    def uploads(self) -> None:
        """Input files: those the shards know of, and those that carry a shard's name after a lost answer."""
        labels = {self._ctx.shard(row).label: row for row in self._rows}
        sent = {row.file_id: row for row in self._rows if row.file_id is not None}
        found = {ref: row for ref, row in sent.items() if ref not in self._known}
        # What is listed is there, whatever was noted once.
        found |= {file.ref: labels[file.label] for file in self.provider.uploads() if file.label in labels}
        for ref, row in found.items():
            self._delete(row, "input file", ref)
        self._mention_what_was_kept()

    def _batch(self, row: ShardRow, remote_id: str) -> None:
        try:
            snapshot = self.provider.poll(remote_id)
        except ProviderError as exc:
            if exc.kind == "not_found":
                self._absent("batch", remote_id)
            else:
                self._not_deleted("batch", remote_id, exc)
            return
        absent = [path for file in snapshot.files if not (path := self._ctx.result_file(row, file.kind)).is_file()]
        if snapshot.outcome is None or absent:
            why = f"{absent[0]} is not on disk" if absent else f"it is still {snapshot.remote_state}"
            self._cleaned.kept.append(Remote(self.provider.name, "batch", remote_id, why, snapshot.collect_by))
            return
        files = [file for file in snapshot.files if file.ref not in (remote_id, *self._known)]
        done = [self._delete(row, f"{file.kind} file", file.ref, snapshot.collect_by) for file in files]
        if all(done):
            self._batch_itself(row, remote_id)

    def _batch_itself(self, row: ShardRow, remote_id: str) -> None:
        if self.provider.deletes_batches:
            self._delete(row, "batch", remote_id)
        else:
            self._cleaned.kept.append(Remote(self.provider.name, "batch", remote_id, _RECORDS_STAY))

    def _delete(self, row: ShardRow, kind: str, ref: str, until: str | None = None) -> bool:
        """Delete one thing; False where it is worth another try."""
        try:
            self.provider.delete(ref)
        except ProviderError as exc:
            return self._not_deleted(kind, ref, exc, until)
        self._ctx.store.record_deleted(self._ctx.run.no, row.id, self._ctx.now(), ref)
        self._cleaned.deleted.append(Remote(self.provider.name, kind, ref))
        return True

    def _not_deleted(self, kind: str, ref: str, exc: ProviderError, until: str | None = None) -> bool:
        """Note why; False where it is worth another try. What would stop everything after it too is raised."""
        about = Remote(self.provider.name, kind, ref, str(exc).replace(f" {ref}", "", 1), until)
        if exc.kind == "not_found":
            self._absent(kind, ref)
            return True
        if exc.kind == "refused":
            self._cleaned.kept.append(about)
            self._ctx.store.event(self._ctx.run.no, self._ctx.now(), "kept", json.dumps(asdict(about)))
            return True
        if exc.kind != "server":
            raise exc
        self._cleaned.failed.append(about)
        return False

    def _absent(self, kind: str, ref: str) -> None:
        self._cleaned.absent.append(Remote(self.provider.name, kind, ref, _NOT_FOUND))

    def _mention_what_was_kept(self) -> None:
        """What could not be deleted an earlier time, until it goes by itself: its batch may tell of it no more."""
        for event in self._ctx.store.events(self._ctx.run.no):
            if event["kind"] == "kept":
                kept = Remote(**json.loads(event["message"]))
                now = {one.id for one in self._cleaned.kept}
                if kept.provider == self.provider.name and kept.id not in now and (kept.until or "") > self._ctx.now():
                    self._cleaned.kept.append(kept)
