"""Which run a spec means: the one that exists, or a new one; and how a new one is compiled and entered."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import asdict
from itertools import chain, count
from pathlib import Path
from typing import Any

from batchfast.clock import Clock, iso
from batchfast.cluster import DaskCluster
from batchfast.errors import ConfigError, StoreError
from batchfast.grid import Grid
from batchfast.home import Home, stem_of
from batchfast.jsonl import replacing
from batchfast.llms.base import Provider
from batchfast.meter import Meter
from batchfast.parallel import compile_run
from batchfast.records import ShardPlan
from batchfast.snapshot import conduct_of, differences, snapshot_bytes, snapshot_id
from batchfast.spec import Spec
from batchfast.store import RunRow, Store
from batchfast.terminal import is_utf8

FAKE = "fake"


def run_name(spec: Spec, *, fake: bool) -> str:
    """Id of the first run of a spec."""
    return ("fake-" if fake else "") + snapshot_id(spec.snapshot)


def is_fake(run_id: str) -> bool:
    """Whether a run of that name was sent to the fake."""
    return run_id.startswith(f"{FAKE}-")


def existing_run(store: Store, spec: Spec, *, fake: bool) -> RunRow | None:
    """The newest run of the same snapshot, sent to the same kind of place."""
    sid = snapshot_id(spec.snapshot)
    return next((run for run in store.runs() if run.snapshot_id == sid and run.fake == fake), None)


def free_name(home: Home, store: Store, spec: Spec, *, fake: bool) -> str:
    """
    The id that a new run of the spec gets: with `-2`, `-3` after it where it was submitted before.

    A folder that holds results is taken too, also where the database knows no such run any more.
    """
    taken = {run.id for run in store.runs()}
    name = run_name(spec, fake=fake)
    names = chain((name,), (f"{name}-{number}" for number in count(2)))
    return next(one for one in names if one not in taken and not (home.run(one) / "results").exists())


def check_endpoints(run: RunRow, providers: Sequence[Provider]) -> None:
    """
    Raises:
        ConfigError: A provider names another base URL than the run was sent to.
    """
    for provider, recorded in zip(providers, run.endpoints, strict=True):
        if provider.base_url and not run.fake and provider.endpoint() != recorded:
            raise ConfigError(
                f"run {run.id} was sent to {recorded}, but {provider.name} {provider.model_id} now says "
                f"{provider.endpoint()}: remove base_url, or pay for a new run with --again"
            )


def check_output(home: Home, store: Store, spec: Spec, output: Path, *, fake: bool) -> None:
    """
    Raises:
        ConfigError: Another snapshot writes to the same file; says what differs.
    """
    for run in store.runs():
        if run.fake == fake and Path(run.output_file) == output and run.snapshot_id != snapshot_id(spec.snapshot):
            old = json.loads(home.snapshot(run.id).read_bytes())
            changes = "; ".join(differences(old, spec.snapshot)) or "other settings"
            raise ConfigError(
                f"run {run.id} already writes {output}, from another spec ({changes}): give this one another "
                f"output_file, or add --again to pay for all of it as a run of its own "
                f"(--extend {run.id}, which pays only for what is new, is not available yet)"
            )


def check_writable(output: Path) -> None:
    """
    Raises:
        ConfigError: The dataset could not be written to its folder.
    """
    if not is_utf8(str(output)):
        raise ConfigError(f"{str(output)!a} is no name that can be recorded (not UTF-8); choose another output_file")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output.parent):
            pass
    except OSError as exc:
        raise ConfigError(
            f"cannot write to {output.parent}: {exc.strerror or exc}; choose another output_file"
        ) from exc


def create_run(
    home: Home,
    store: Store,
    spec: Spec,
    run_id: str,
    endpoints: Sequence[str],
    output: Path,
    clock: Clock,
    executor: Executor | DaskCluster | None = None,
    meter: Meter | None = None,
) -> RunRow:
    """
    Compile every shard to disk, then enter the run with all of them. Nothing is sent.

    Args:
        executor: As in `compile_run`.
        meter: Told how far that is.

    Raises:
        RequestTooLarge: A request that no file can hold; nothing was entered.
    """
    shutil.rmtree(home.run(run_id), ignore_errors=True)  # left by a run that was never entered
    with replacing(_made(home.snapshot(run_id))) as file:
        file.write(snapshot_bytes(spec.snapshot))
    prefix = f"{run_id}-{store.nonce()}"
    shards = list(_compile(spec, prefix, home.run(run_id) / "requests", executor, meter))
    run = {
        "id": run_id,
        "fake": int(all(endpoint == FAKE for endpoint in endpoints)),
        "snapshot_id": snapshot_id(spec.snapshot),
        "endpoints": json.dumps(list(endpoints)),
        "conduct": conduct_text(spec),
        "spec_path": str(spec.path.absolute()) if spec.path else None,
        "output_file": str(output),
        "requests": len(Grid(spec.snapshot)),
        "state": "submitting",
        "created_at": iso(clock.now()),
    }
    return store.add_run(run, shards)


def compile_files(
    spec: Spec,
    store: Store,
    folder: Path,
    *,
    fake: bool,
    executor: Executor | DaskCluster | None = None,
    meter: Meter | None = None,
) -> Iterator[tuple[Path, int]]:
    """
    The files that `submit` would send, as `<folder>/<stem>.jsonl`: those of the run that exists, or of the next one.

    Args:
        executor, meter: As in `create_run`.

    Yields:
        Each file and how many requests it has, once it is on disk.

    Raises:
        ConfigError: The folder cannot be written.
        RequestTooLarge: A request that no file can hold.
    """
    existing = existing_run(store, spec, fake=fake)
    prefix = f"{existing.id if existing else run_name(spec, fake=fake)}-{store.nonce()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise ConfigError(f"cannot write to {folder}: {exc.strerror or exc}; choose another folder") from exc
    for shard in _compile(spec, prefix, folder, executor, meter):
        stem = stem_of(shard.entry, shard.provider, shard.model_id, shard.number, shard.attempt)
        yield folder / f"{stem}.jsonl", shard.requests


def _compile(
    spec: Spec, prefix: str, folder: Path, executor: Executor | DaskCluster | None, meter: Meter | None
) -> Iterator[ShardPlan]:
    with (meter or Meter()).step("compiling", "requests", len(Grid(spec.snapshot))) as step:
        for plan in compile_run(spec.snapshot, spec.providers, prefix, folder, executor=executor):
            step.advance(plan.requests, size_bytes=plan.size_bytes)
            yield plan


def conduct_text(spec: Spec) -> str:
    """JSON of the settings that a later process needs and that decide no request; never a key."""
    providers = [conduct_of(provider) for provider in spec.providers]
    return json.dumps(asdict(spec.conduct) | {"providers": providers})


def snapshot_of(home: Home, run_id: str) -> dict[str, Any]:
    """
    Raises:
        StoreError: The snapshot is gone or damaged.
    """
    path = home.snapshot(run_id)
    try:
        snapshot = json.loads(path.read_bytes())
    except (OSError, ValueError) as exc:
        raise StoreError(f"run {run_id}: {path} cannot be read ({exc}); restore it from a backup") from exc
    if not isinstance(snapshot, dict):
        raise StoreError(f"run {run_id}: {path} is not a snapshot; restore it from a backup")
    return snapshot


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
