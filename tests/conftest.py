"""
What every test stands on: no keys, a home of its own, and one fake for the whole session. That only loopback can be
reached is pytest-socket's doing: see addopts in pyproject.toml.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from batchfast.fake import FakeServer, Fault
from tests.helpers import uploads_end

RECORDED = Path(__file__).resolve().parents[2] / "shared" / "recorded"

# What a shell starts in the background ignores Ctrl-C, and hands that on: to commands, too, that a test sends it to.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Nothing here is timed: a busy machine is no failure.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

_AMBIENT = ("OPENAI_", "ANTHROPIC_", "GOOGLE_", "GEMINI_", "HF_", "BATCHFAST_")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No keys, no proxies, no settings of whoever runs the tests; the current folder is the test's own."""
    for name in list(os.environ):
        if name.startswith(_AMBIENT) or name in _PROXIES:
            monkeypatch.delenv(name)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost,::1")
    home = tmp_path / "user"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def no_upload_is_left() -> Iterator[None]:
    """What a test leaves behind in a thread ends before the next one begins."""
    yield
    uploads_end()


@pytest.fixture(scope="session")
def _fake_of_the_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeServer]:
    with FakeServer(tmp_path_factory.mktemp("fake"), batch_seconds=0) as server:
        yield server


@pytest.fixture
def fake(_fake_of_the_session: FakeServer) -> Iterator[FakeServer]:
    """The fake, empty. A batch ends at once. An unknown route, or an error inside, fails the test."""
    _fake_of_the_session.reset()
    yield _fake_of_the_session
    assert not _fake_of_the_session.unknown_routes
    assert not _fake_of_the_session.errors


@pytest.fixture(scope="session")
def _slow_fake_of_the_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeServer]:
    with FakeServer(tmp_path_factory.mktemp("slow"), batch_seconds=1000) as server:
        yield server


@pytest.fixture
def server(_slow_fake_of_the_session: FakeServer) -> Iterator[FakeServer]:
    """A fake whose batches take 1,000 seconds, for tests that move its time. Fails its test as `fake` does."""
    _slow_fake_of_the_session.reset()
    yield _slow_fake_of_the_session
    assert not _slow_fake_of_the_session.unknown_routes
    assert not _slow_fake_of_the_session.errors


@pytest.fixture
def plan(fake: FakeServer) -> Iterator[Callable[..., None]]:
    """Plan faults; one that never fired fails the test."""
    planned: list[Fault] = []

    def plan_faults(*faults: Fault) -> None:
        planned.extend(faults)
        fake.plan(*faults)

    yield plan_faults
    assert [fault for fault in planned if not fake.fired(fault)] == []
