"""SIGKILL anywhere: the same command finishes, nothing is paid twice, and the bytes are those of an undisturbed run."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.helpers import MODELS, read

CHILD = Path(__file__).with_name("kill_child.py")
# Two batches, and a third for the request that fails once.
NEEDED = 3
SPEC = """
[dataset]
document_types = ["essay"]
topics = ["Tides", "Vacuum", "Bread"]
num_samples_per_prompt = 1
output_file = "out.jsonl"

[run]
recheck_after_s = 0
max_parallel_uploads = {at_once}

[[providers]]
provider = "{provider}"
model_id = "{model}"
max_requests_per_batch = 2
"""


# A point, or of each of the first two uploads whether its file has arrived: see `kill_child`.
Kill = int | tuple[bool, bool]


class Ended(NamedTuple):
    """How a run ended that was killed `kills`, and then went on undisturbed."""

    kills: tuple[Kill, ...]
    killed: int
    accepted: int
    files: list[str]
    out: bytes


def write_spec(folder: Path, name: str, at_once: int = 1) -> Path:
    folder.mkdir()
    path = folder / "spec.toml"
    path.write_text(SPEC.format(provider=name, model=MODELS[name], at_once=at_once))
    return path


def play(folder: Path, name: str, jobs: Sequence[tuple[Kill, ...]], at_once: int = 1) -> list[Ended]:
    """Kill a run at each job's points, one after the other, and let it end; on all cores."""

    def some(jobs: Sequence[tuple[Kill, ...]]) -> list[Ended]:
        specs = [write_spec(folder / "-".join(map(str, kills)), name, at_once) for kills in jobs]
        lines = [json.dumps({"spec": str(spec), "kills": kills}) for spec, kills in zip(specs, jobs, strict=True)]
        done = subprocess.run(
            [sys.executable, CHILD], input="\n".join(lines), capture_output=True, text=True, check=True
        )
        answers = map(json.loads, done.stdout.splitlines())
        return [
            Ended(kills, answer["killed"], answer["accepted"], *written(spec.parent))
            for spec, kills, answer in zip(specs, jobs, answers, strict=True)
        ]

    folder.mkdir()
    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        return [end for ends in pool.map(some, [jobs[first::workers] for first in range(workers)]) for end in ends]


def written(folder: Path) -> tuple[list[str], bytes]:
    """The files of rows and failures in a folder, and the dataset."""
    return sorted(path.name for path in folder.glob("[!.]*.jsonl")), (folder / "out.jsonl").read_bytes()


def undisturbed(folder: Path, name: str, at_once: int = 1) -> tuple[list[str], bytes]:
    """The points of a run that nothing disturbs, and its dataset."""
    spec = write_spec(folder, name, at_once)
    job = json.dumps({"spec": str(spec), "kills": []})
    done = subprocess.run([sys.executable, CHILD], input=job, capture_output=True, text=True, check=True)
    answer = json.loads(done.stdout)
    assert answer["accepted"] == NEEDED
    return answer["points"], spec.with_name("out.jsonl").read_bytes()


def wrong(ends: list[Ended], expected: bytes) -> list[Ended]:
    return [end for end in ends if end[1:] != (len(end.kills), NEEDED, ["out.jsonl"], expected)]


def telling(points: list[str]) -> list[int]:
    """
    Numbers of the points that differ: where "before" one thing follows "after" another, nothing lies between them.

    Around what costs money both are kept.
    """
    following = [*points[1:], ""]
    same = [
        one.startswith("after") and next_one.startswith("before")
        for one, next_one in zip(points, following, strict=True)
    ]
    return [n for n, name in enumerate(points) if not same[n] or name.split()[1] in ("upload", "create", "COMMIT")]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(MODELS))
def test_killed_at_any_point_a_run_still_pays_once(tmp_path: Path, name: str) -> None:
    """Around each write and each call to the provider: three batches needed, three accepted, same bytes."""
    points, expected = undisturbed(tmp_path / "quiet", name)
    assert points.count("before create") == NEEDED
    ends = play(tmp_path / "killed", name, [(point,) for point in telling(points)])
    assert wrong(ends, expected) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gemini", "openai"])
def test_killed_with_two_files_on_their_way_a_run_still_pays_once(tmp_path: Path, name: str) -> None:
    """As before, with the first two shards sent at once; and killed in the uploads, whichever has arrived."""
    points, expected = undisturbed(tmp_path / "quiet", name, at_once=2)
    assert points.count("before create") == NEEDED
    assert points.count("before upload") == NEEDED - 2  # the others are in threads
    moments: list[Kill] = list(product([False, True], repeat=2))
    ends = play(tmp_path / "killed", name, [(kill,) for kill in telling(points) + moments], at_once=2)
    assert wrong(ends, expected) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(MODELS))
def test_killed_again_while_it_recovers_a_run_still_pays_once(tmp_path: Path, name: str) -> None:
    """A second kill: at every third point after the provider took the first batch, and at pairs of points at random."""
    points, expected = undisturbed(tmp_path / "quiet", name)
    taken = points.index("after create")
    pairs = {(taken, second) for second in range(0, 36, 3)}
    chance = random.Random(4)  # noqa: S311
    while len(pairs) < 36:
        first = chance.randrange(len(points))
        pairs.add((first, chance.randrange(len(points) - first)))
    ends = play(tmp_path / "killed", name, sorted(pairs))
    assert wrong(ends, expected) == []


def test_a_run_killed_halfway_and_run_again_gives_the_same_bytes(tmp_path: Path) -> None:
    """The command line: `run --fake` is killed when the first batch was sent; the same line then finishes."""
    command = [sys.executable, "-m", "batchfast", "run", "spec.toml", "--fake", "-v"]
    spec = write_spec(tmp_path / "quiet", "openai")
    subprocess.run(command, cwd=spec.parent, check=True, capture_output=True)
    spec = write_spec(tmp_path / "killed", "openai")
    process = subprocess.Popen(command, cwd=spec.parent, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if "sent as" in line:
            process.kill()
            break
    process.stderr.close()
    assert process.wait() == -signal.SIGKILL
    again = subprocess.run(command, cwd=spec.parent, check=True, capture_output=True, text=True)
    assert again.stderr.count("sent as") + again.stderr.count("found as") <= 1
    assert len(read(spec.with_name("out.jsonl"))) == 3
    assert spec.with_name("out.jsonl").read_bytes() == (tmp_path / "quiet" / "out.jsonl").read_bytes()
