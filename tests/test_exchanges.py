"""Every exchange with a provider goes wrong once, in every way: nothing is paid twice, and no byte of a row changes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from batchfast.fake import FakeServer, Fault
from batchfast.home import Home
from batchfast.jsonl import located_lines
from batchfast.llms import PROVIDERS
from batchfast.store import Ledger
from tests.helpers import MODELS, FakeClock, provider, session, spec

# What each service says when it has too much to do.
OVERLOADED = {"openai": 503, "anthropic": 529, "gemini": 503}
# Those of the quick tests may well have been accepted; the others come with the slow ones.
MISHAPS = ("lose", "deny", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("cut", "garble", "fail", "rate")))


@dataclass(frozen=True)
class Ended:
    """What came of a run: its rows, batches sent and accepted (counts), and how often each answer is on disk."""

    rows: bytes
    ledger: Ledger
    shards: int
    accepted: int
    billed: int
    answers: Counter[str]


def play(fake: FakeServer, folder: Path, name: str, *faults: Fault, **settings: Any) -> Ended:
    """Run three requests in two batches, uploaded at once, to the end; after every pass the ledger is added up."""
    fake.reset()
    fake.plan(*faults)
    clock = FakeClock(fake)
    with session(fake, folder, clock) as home:
        wanted = spec(provider(name, max_requests_per_batch=2, **settings), output_file=str(folder / "out.jsonl"))
        run, _ = home.enter(wanted, fake=True)
        with home.work(run) as engine:
            progress = engine.drive()
            written = home.settle(engine.ctx, progress)
        shards = len(home.store.shards(run.no))
        answers = answers_on_disk(home.home, name, run.id)
    assert written is not None and written.failures is None
    assert clock.time - clock.start < 3_600
    return Ended(
        written.path.read_bytes(),
        progress.ledger,
        shards,
        len(fake.batches(name)),
        fake.ledger()[name]["requests"]["succeeded"],
        answers,
    )


def answers_on_disk(home: Home, name: str, run_id: str) -> Counter[str]:
    """How often each answer that was billed is in the raw results, by custom_id."""
    decode = PROVIDERS[name]("any").decode
    lines = [line for path in (home.run(run_id) / "results").iterdir() for _, line in located_lines(path)]
    return Counter(result.custom_id for result in map(decode, lines) if result.outcome == "succeeded")


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Ended, list[str]]]:
    """By provider: an undisturbed run, and the routes of its exchanges in turn."""
    runs = {}
    with FakeServer(batch_seconds=0) as fake:
        for name in sorted(MODELS):
            ended = play(fake, tmp_path_factory.mktemp(name), name)
            runs[name] = ended, [call.route for call in fake.calls]
    return runs


def mishap(kind: str, name: str, route: str, nth: int) -> Fault:
    if kind == "rate":
        return Fault("status", name, route, nth, status=429, retry_after=40)
    if kind == "fail":
        return Fault("status", name, route, nth, status=500)
    if kind == "deny":
        return Fault("deny", name, route, nth, status=OVERLOADED[name])
    return Fault(kind, name, route, nth)  # type: ignore[arg-type]


def each(routes: list[str]) -> list[tuple[str, int]]:
    """Exchanges as faults name them: the nth of its route."""
    return [(route, routes[: number + 1].count(route)) for number, route in enumerate(routes)]


@pytest.mark.parametrize("name", sorted(MODELS))
@pytest.mark.parametrize("kind", MISHAPS)
def test_an_exchange_that_goes_wrong_costs_nothing(
    fake: FakeServer, tmp_path: Path, quiet: dict[str, tuple[Ended, list[str]]], name: str, kind: str
) -> None:
    """
    Each in turn: its answer is lost, cut, unreadable or a lie (503 or 529 although the work was done), or it is refused
    (500, 429 with Retry-After). Two batches are accepted, each answer is on disk once, the rows are the same.
    """
    expected, routes = quiet[name]
    assert (expected.shards, expected.accepted, expected.billed, len(expected.answers)) == (2, 2, 3, 3)
    for route, nth in each(routes):
        fault = mishap(kind, name, route, nth)
        ended = play(fake, tmp_path / f"{route}-{nth}", name, fault)
        assert fake.fired(fault) == 1
        check(ended, expected)


def check(ended: Ended, expected: Ended) -> None:
    assert ended.rows == expected.rows
    assert (ended.ledger, ended.shards, ended.accepted) == (expected.ledger, expected.shards, expected.accepted)
    assert sorted(ended.answers.values()) == [1] * ended.billed


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(MODELS))
def test_an_exchange_that_hangs_costs_nothing(
    fake: FakeServer, tmp_path: Path, quiet: dict[str, tuple[Ended, list[str]]], name: str
) -> None:
    """The work is done and nothing is said until the timeout, here of half a second."""
    expected, routes = quiet[name]
    for route, nth in each(routes):
        fault = Fault("hang", name, route, nth)
        ended = play(fake, tmp_path / f"{route}-{nth}", name, fault, timeout=0.5)
        assert fake.fired(fault) == 1
        check(ended, expected)


@pytest.mark.parametrize("name", sorted(MODELS))
@pytest.mark.parametrize("nth", [1, 2])
def test_a_doubled_line_changes_nothing(
    fake: FakeServer, tmp_path: Path, quiet: dict[str, tuple[Ended, list[str]]], name: str, nth: int
) -> None:
    """A result line comes twice, in the first or in the second batch: it counts once."""
    expected, _ = quiet[name]
    ended = play(fake, tmp_path / "run", name, fault := Fault("duplicate", name, nth=nth, custom_id="-[02]-1$"))
    assert fake.fired(fault) == 1
    assert (ended.rows, ended.ledger, ended.accepted) == (expected.rows, expected.ledger, 2)
    assert sorted(ended.answers.values()) == [1, 1, 2]


@pytest.mark.parametrize("name", sorted(MODELS))
@pytest.mark.parametrize("nth", [1, 2])
def test_a_missing_line_is_asked_for_again_alone(
    fake: FakeServer, tmp_path: Path, quiet: dict[str, tuple[Ended, list[str]]], name: str, nth: int
) -> None:
    """A request of the first or of the second batch has no line: it is bought once more, and nothing else is."""
    expected, _ = quiet[name]
    ended = play(fake, tmp_path / "run", name, fault := Fault("drop", name, nth=nth, custom_id="-[02]-1$"))
    assert fake.fired(fault) == 1
    assert (ended.rows, ended.ledger, ended.shards, ended.accepted) == (expected.rows, expected.ledger, 3, 3)
    assert (sorted(ended.answers.values()), ended.billed) == ([1, 1, 1], 4)
