"""Record cassettes, from the fake or from the services."""

from __future__ import annotations

import json
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from importlib.metadata import version
from itertools import groupby, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchfast import __version__
from batchfast.cassettes.clients import ADDRESSES, PACKAGES, connect, failures
from batchfast.cassettes.scenarios import scenarios
from batchfast.cassettes.scenarios.base import BAD_KEY, MAX_TOKENS, MODELS, Scenario
from batchfast.cassettes.scrub import Scrubber, left_in
from batchfast.cassettes.tape import recorder
from batchfast.errors import BatchfastError
from batchfast.fake import FakeServer
from batchfast.fake.ids import repeatable
from batchfast.jsonl import replacing
from batchfast.prices import estimate

if TYPE_CHECKING:
    from vcr.request import Request  # type: ignore[import-untyped]

_FAKE_KEY = "any-key"
_START = datetime(2026, 11, 2, 20, tzinfo=UTC).timestamp()  # of all recordings from the fake
_WORDS = (4, 12)
# From one look at a batch to the next, in parts of its whole time: each of its states is seen.
_STEP = 0.32
_LIVE_WAIT_S = 20.0
_HEAD = re.compile(
    r"# Recorded from (?P<source>.+)\n# on (?P<day>\d{4}-\d\d-\d\d) with (?P<sdk>\S+ \S+)\n# by: (?P<command>.+)\n"
)


@dataclass(frozen=True)
class Head:
    """What stands at the head of a cassette."""

    source: str
    day: date
    sdk: str
    command: str

    @property
    def from_fake(self) -> bool:
        return self.source.startswith("the fake")

    def __str__(self) -> str:
        return f"# Recorded from {self.source}\n# on {self.day} with {self.sdk}\n# by: {self.command}\n"


def read_head(path: Path) -> Head:
    """Raises BatchfastError if the file does not say what it was recorded from."""
    found = _HEAD.match(path.read_text("utf-8"))
    if found is None:
        raise BatchfastError(f"{path} does not begin with what it was recorded from: record it again")
    return Head(found["source"], date.fromisoformat(found["day"]), found["sdk"], found["command"])


def most_it_costs(provider: str, scenario: Scenario) -> float | None:
    """USD, at most, of recording a scenario at the service: as if every byte were a token. None if unknown."""
    total = 0.0
    for line in scenario.lines:
        cost, _, _ = estimate(provider, MODELS[provider], len(json.dumps(line)), MAX_TOKENS)
        if cost is None:
            return None
        total += cost
    return total


def record_fake(provider: str, name: str, folder: Path) -> bool:
    """
    Record a scenario from a fake of its own: same code, same file.

    Returns:
        Whether the file changed; where only the day or a version would differ it stays.

    Raises:
        BatchfastError: The fake broke, lacks a route, a planned fault did not fire, or something is left in the
            cassette that must not be in one.
    """
    scenario = scenarios(provider)[name]
    source = f"the fake of batchfast {__version__}, not from the service"
    fake = FakeServer(batch_seconds=scenario.batch_seconds, clock=lambda: _START, words=_WORDS)
    with repeatable(f"{provider}/{name}"), fake:
        fake.plan(*scenario.faults)
        scrubber = Scrubber(names={fake.base_urls[provider]: ADDRESSES[provider]})
        wait = partial(fake.advance, seconds=_STEP * scenario.batch_seconds)
        tape = _record(
            provider, scenario, scrubber, wait, key=_FAKE_KEY, base_url=fake.base_urls[provider], proxied=False
        )
        wrong = [*fake.unknown_routes, *map(repr, fake.errors)]
        wrong += [f"{fault} did not fire" for fault in scenario.faults if not fake.fired(fault)]
    if wrong:
        raise BatchfastError(f"{provider}/{name}: {'; '.join(wrong)}")
    command = f"python -m batchfast.cassettes record {provider}/{name}"
    return _write(folder / provider / f"{name}.yaml", _head(provider, source, command), tape)


def record_live(provider: str, name: str, folder: Path, *, key: str) -> bool:
    """
    Record a scenario from the service, which bills it. May take hours.

    Returns:
        Whether the file changed.

    Raises:
        BatchfastError: The service did not answer as the scenario expects, or something is left in the cassette that
            must not be in one. A batch may be left at the service.
    """
    scenario = scenarios(provider)[name]
    wait = partial(time.sleep, _LIVE_WAIT_S)
    scrubber = Scrubber([key])
    try:
        tape = _record(provider, scenario, scrubber, wait, key=key, base_url=ADDRESSES[provider], proxied=True)
    except failures(provider) as exc:
        why = scrubber.text(" ".join(str(exc).split()))
        raise BatchfastError(f"{provider}/{name}: not recorded: {type(exc).__name__}: {why}") from exc
    command = f"python -m batchfast.cassettes record --live {provider}/{name}"
    return _write(folder / provider / f"{name}.yaml", _head(provider, ADDRESSES[provider], command), tape)


def _record(
    provider: str,
    scenario: Scenario,
    scrubber: Scrubber,
    wait: Callable[[], None],
    *,
    key: str,
    base_url: str,
    proxied: bool,
) -> str:
    """Run a scenario and return what was said as YAML; by the environment's proxies if `proxied`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cassette.yaml"
        with (
            connect(provider, key=BAD_KEY if scenario.bad_key else key, base_url=base_url, trust_env=proxied) as client,
            recorder(scrubber).use_cassette(str(path), record_mode="all", serializer="readable") as cassette,
        ):
            scenario.run(client, scenario.lines, wait)
            cassette.data[:] = _without_repeats(cassette.data)
        return path.read_text("utf-8")


def _without_repeats(exchanges: Iterable[tuple[Request, Any]]) -> Iterator[tuple[Request, Any]]:
    """
    Of several looks in a row that all saw the same, the first: a batch at a service is looked at for hours.

    Only before a look that saw something else: what an SDK asks for once more, having seen it, it will ask again.
    """
    turns = [list(turn) for _, turn in groupby(exchanges, lambda one: (_asked(one), one[1]["body"]))]
    for turn, following in zip_longest(turns, turns[1:]):
        polled = following and turn[0][0].method == "GET" and _asked(turn[0]) == _asked(following[0])
        yield from turn[:1] if polled else turn


def _asked(exchange: tuple[Request, Any]) -> tuple[str, str, bytes | None]:
    request = exchange[0]
    return request.method, request.uri, request.body


def _head(provider: str, source: str, command: str) -> Head:
    package = PACKAGES[provider]
    return Head(source, datetime.now(UTC).date(), f"{package} {version(package)}", command)


def _write(path: Path, head: Head, tape: str) -> bool:
    if found := left_in(tape):
        # Where it stands tells enough to find it; the thing itself is not for a terminal.
        lines = sorted({tape.count("\n", 0, tape.index(one)) + 1 for one in found})
        numbers = ", ".join(map(str, lines))
        raise BatchfastError(f"{path}: not written: line {numbers} holds what must not be in a cassette")
    if path.exists() and read_head(path).from_fake == head.from_fake:
        before = path.read_text("utf-8")
        if before[len(str(read_head(path))) :] == tape:
            return False
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as out:
        out.write(f"{head}{tape}".encode())
    return True
