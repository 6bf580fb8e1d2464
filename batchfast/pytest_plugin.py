"""
Fixtures, marks and options for tests of whatever is built on the batch APIs; pytest finds them by itself.

```python
@pytest.mark.batchfast_faults(Fault("lose", route="create", nth=1))
def test_nightly_pays_once(batchfast_fake: FakeServer) -> None:
    nightly.main()  # the SDKs' own variables point to the fake
    assert len(batchfast_fake.batches("openai")) == 1
```

fixtures    batchfast_fake  batchfast_home  batchfast_clock  batchfast_cassette
marks       batchfast_faults(...)  batchfast_cassette(name)
options     --batchfast-block-network, or `batchfast_block_network` in the configuration file
            `batchfast_batch_seconds`, `batchfast_cassettes` in the configuration file

Every pytest session on the machine imports this module, also where nobody asks for it: at its top stand the standard
library and pytest alone.
"""

from __future__ import annotations

import ipaddress
import socket
import sys
import traceback
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from vcr.cassette import Cassette  # type: ignore[import-untyped]

    from batchfast.fake import FakeServer, Fault

# Each would lead an SDK, or batchfast, elsewhere or to other credentials than the variables that the fixtures set:
# google-genai prefers GOOGLE_API_KEY to GEMINI_API_KEY, and Vertex AI to both; BATCHFAST_FAKE starts another fake.
_DIVERTING = (
    "OPENAI_ADMIN_KEY", "OPENAI_API_TYPE", "OPENAI_CUSTOM_HEADERS", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID",
    "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_CUSTOM_HEADERS", "ANTHROPIC_PROFILE",
    "GOOGLE_API_KEY", "GOOGLE_GENAI_CLIENT_MODE", "GOOGLE_GENAI_USE_ENTERPRISE", "GOOGLE_GENAI_USE_VERTEXAI",
    "BATCHFAST_FAKE",
)  # fmt: skip
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_BASE_URLS = ("OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "GOOGLE_GEMINI_BASE_URL")
_KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY")

_LOOPBACK = ("127.0.0.1", "::1", "localhost")

# What is asked when the test's own code is through: it yields what the test is to fail with.
_CHECK = pytest.StashKey[Callable[[], Iterator[BaseException]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("batchfast", "batch APIs without the services (batchfast)")
    group.addoption(
        "--batchfast-block-network",
        action="store_true",
        help="Refuse every connection and name lookup of a test but those of this machine (loopback). Needs "
        "pytest-socket, whose marks and --allow-hosts widen or narrow it. Not covered: connect_ex, UDP, functions of "
        "the socket module imported by name before the test, and child processes.",
    )
    parser.addini("batchfast_block_network", "true: as --batchfast-block-network.", type="bool", default=False)
    parser.addini(
        "batchfast_batch_seconds",
        "How long a batch takes in the fake, in seconds of its own time (0: it has ended when first looked at).",
        default="0",
    )
    parser.addini(
        "batchfast_cassettes",
        "Folders of the cassettes for the mark batchfast_cassette, looked through before those that come with "
        "batchfast (default: cassettes, beside the configuration file).",
        type="paths",
        default=None,
    )


@pytest.hookimpl(tryfirst=True)  # before pytest-socket reads its own options
def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        'batchfast_faults(*faults): plan what goes wrong in batchfast_fake: Fault objects, dicts ({"does": "lose", '
        '"route": "create"}) or TOML files beside the test\'s module. One that never fires fails the test.',
    )
    config.addinivalue_line(
        "markers",
        'batchfast_cassette(name, allow_unplayed=False): answer HTTP from a recorded cassette ("openai/complete"); '
        "nothing is recorded. An answer that was not asked for fails the test unless allow_unplayed is true.",
    )
    if config.getoption("--batchfast-block-network") or config.getini("batchfast_block_network"):
        _block_network(config)


# What a mark asks for, and what fails a test


@pytest.hookimpl(wrapper=True, tryfirst=True)  # after all others: a conftest may add marks there
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None, object, object]:
    """A mark brings its fixture along, before the test's own, which may build clients from the environment."""
    result = yield
    for item in items:
        if isinstance(item, pytest.Function):
            for mark, fixture in (("batchfast_cassette", "batchfast_cassette"), ("batchfast_faults", "batchfast_fake")):
                if item.get_closest_marker(mark) and fixture not in item.fixturenames:
                    # A new list: the turns of a parametrized test have one in common, and not each has the mark.
                    item.fixturenames = [fixture, *item.fixturenames]
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """What the fake or a cassette has to complain of fails the test itself; a test that fails anyway gets a note."""
    try:
        return (yield)
    finally:
        check = item.stash.get(_CHECK, None)
        problems = list(check()) if check else []
        failure = sys.exception()
        if failure is None and problems:
            failure = problems.pop(0)
            _add_notes(failure, problems)
            raise failure
        if failure is not None:
            _add_notes(failure, problems)


def _add_notes(failure: BaseException, problems: list[BaseException]) -> None:
    for problem in problems:
        plain = isinstance(problem, pytest.fail.Exception)
        failure.add_note(str(problem) if plain else "".join(traceback.format_exception(problem)))


@contextmanager
def _plainly(what: str = "") -> Iterator[None]:
    """A ConfigError fails the test with its message alone; the way it took through batchfast explains nothing."""
    from batchfast.errors import ConfigError

    try:
        yield
    except ConfigError as exc:
        raise pytest.fail.Exception(f"{what}{exc}", pytrace=False) from None


def _lead_to(variables: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*_DIVERTING, *_BASE_URLS, *_PROXIES):
        monkeypatch.delenv(name, raising=False)
    # Also against a proxy in the settings of the system, which is asked where the environment says nothing.
    for name, value in {**variables, "NO_PROXY": ",".join(_LOOPBACK), "no_proxy": ",".join(_LOOPBACK)}.items():
        monkeypatch.setenv(name, value)


# The fake


@pytest.fixture(scope="session")
def _batchfast_server(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[FakeServer]:
    from batchfast.fake import FakeServer

    seconds = float(pytestconfig.getini("batchfast_batch_seconds"))
    with FakeServer(tmp_path_factory.mktemp("batchfast-fake"), batch_seconds=seconds) as server:
        yield server


@pytest.fixture
def batchfast_fake(
    _batchfast_server: FakeServer, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> FakeServer:
    """
    The batch APIs of OpenAI, Anthropic and Gemini on a loopback port: a `batchfast.fake.FakeServer`, empty.

    Started once per session (per xdist worker), wiped for each test. For the test the SDKs' variables hold its URLs and
    dummy keys, so `OpenAI()`, `Anthropic()`, `genai.Client()` and `RawDataset(...)` reach it without an argument;
    proxies, and variables that would lead elsewhere, are unset. A batch has ended when first looked at: the setting
    `batchfast_batch_seconds` changes that for all tests, the fault "stick" for one.

    The test fails if it called a route the fake does not have, or if a planned fault never fired; an exception inside
    the fake is raised in it.
    """
    if request.node.get_closest_marker("batchfast_cassette"):
        pytest.fail("batchfast_fake and batchfast_cassette exclude each other in one test", pytrace=False)
    _batchfast_server.reset()
    _batchfast_server.plan(*_marked_faults(request.node))
    _lead_to(_batchfast_server.env, monkeypatch)
    request.node.stash[_CHECK] = partial(_problems_of, _batchfast_server)
    return _batchfast_server


def _marked_faults(item: pytest.Item) -> Iterator[Fault]:
    """The faults of an item's marks, those of its module and class first."""
    from batchfast.fake.faults import Fault, read_faults

    for mark in reversed(list(item.iter_markers("batchfast_faults"))):
        known = [isinstance(given, Fault | str | Path | Mapping) for given in mark.args]
        if mark.kwargs or not known or not all(known):
            pytest.fail(
                "mark batchfast_faults: each argument is a Fault, a dict or the name of a TOML file", pytrace=False
            )
        for given in mark.args:
            if isinstance(given, Fault):
                yield given
            else:
                with _plainly("mark batchfast_faults: "):
                    yield from read_faults(given if isinstance(given, Mapping) else item.path.parent / given)


def _problems_of(server: FakeServer) -> Iterator[BaseException]:
    yield from server.errors
    lines = [f"the fake has no route {route}" for route in server.unknown_routes]
    lines += [f"a planned fault never fired: {_shown(fault)}" for fault in server.unfired()]
    if lines:
        yield pytest.fail.Exception("\n".join(lines), pytrace=False)


def _shown(fault: Fault) -> str:
    """A fault as one writes it: without what is as always."""
    given = [(one.name, getattr(fault, one.name), one.default) for one in fields(fault)[1:]]
    settings = [f", {name}={value!r}" for name, value, default in given if value != default]
    return f"Fault({fault.does!r}{''.join(settings)})"


# batchfast's own surroundings


@pytest.fixture
def batchfast_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary home for batchfast, named by `BATCHFAST_HOME` for the test: its path. Nothing is in it yet."""
    home = tmp_path_factory.mktemp("batchfast") / ".batchfast"
    monkeypatch.setenv("BATCHFAST_HOME", str(home))
    return home


class VirtualClock:
    """
    Time in which nobody waits, for a test and its fake: real time, and what was slept or advanced on top of it.

    A `batchfast.clock.Clock`.
    """

    def __init__(self, fake: FakeServer) -> None:
        self._fake = fake

    def now(self) -> float:
        """Seconds since 1970."""
        return self._fake.now()

    def sleep(self, seconds: float) -> None:
        """Return at once, that much later; can stand in for `time.sleep`."""
        self.advance(seconds=seconds)

    def advance(self, *, seconds: float = 0, minutes: float = 0, hours: float = 0, days: float = 0) -> None:
        """Move it forward; the same as `advance` of the fake."""
        self._fake.advance(seconds=seconds, minutes=minutes, hours=hours, days=days)


@pytest.fixture
def batchfast_clock(batchfast_fake: FakeServer) -> VirtualClock:
    """
    Time that passes when the test says so: `advance(seconds=, minutes=, hours=, days=)` moves it and the fake's time.

    What batchfast waits for passes at once with `RawDataset(config, clock=batchfast_clock)` and
    `RawDataset.open(run_id, clock=batchfast_clock)`; a script that waits by `time.sleep`, with
    `monkeypatch.setattr("time.sleep", batchfast_clock.sleep)`, which the SDKs' pauses between retries use as well.
    Neither `time.time()` nor `asyncio.sleep()` nor another process (the command line, say) knows of it.
    """
    return VirtualClock(batchfast_fake)


# Cassettes


@pytest.fixture
def batchfast_cassette(
    request: pytest.FixtureRequest, pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Cassette]:
    """
    HTTP answered from the cassette that the mark `batchfast_cassette` names: vcrpy's `Cassette`. Needs no server.

    For the test dummy keys are set, and base URLs and proxies unset. Each answer is given once; a call that is not on
    the cassette raises vcrpy's own exception, or what the SDK makes of it. The test fails if an answer was not
    asked for.
    """
    from batchfast.cassettes import play

    mark = request.node.get_closest_marker("batchfast_cassette")
    if mark is None or len(mark.args) != 1 or mark.kwargs.keys() - {"allow_unplayed"}:
        pytest.fail('name one cassette: @pytest.mark.batchfast_cassette("openai/complete")', pytrace=False)
    folders = pytestconfig.getini("batchfast_cassettes") or [pytestconfig.rootpath / "cassettes"]
    with ExitStack() as stack:
        with _plainly():
            cassette = stack.enter_context(play(mark.args[0], folders=folders))
        _lead_to(dict.fromkeys(_KEYS, "cassette-key"), monkeypatch)
        if not mark.kwargs.get("allow_unplayed"):
            request.node.stash[_CHECK] = partial(_unplayed, mark.args[0], cassette)
        yield cassette


def _unplayed(name: str, cassette: Cassette) -> Iterator[BaseException]:
    calls = [f"{one.method} {one.path}" for one in cassette.requests]
    left = [call for number, call in enumerate(calls) if not cassette.play_counts[number]]
    if left:
        yield pytest.fail.Exception(
            f"cassette {name}: {len(left)} of its {len(calls)} calls were not made, the first of them {left[0]} "
            "(allow_unplayed=True permits that)",
            pytrace=False,
        )


# The network


def _block_network(config: pytest.Config) -> None:
    if not hasattr(config.option, "allow_hosts"):
        raise pytest.UsageError("--batchfast-block-network needs pytest-socket: pip install 'batchfast[pytest]'")
    config.option.allow_hosts = config.option.allow_hosts or ",".join(_LOOPBACK)
    if not config.option.force_enable_socket:
        config.pluginmanager.register(_Lookups(config.option.allow_hosts.split(",")), "batchfast-lookups")


class _Lookups:
    """
    Refuses to look up the names of hosts that pytest-socket would not let a test connect to.

    Otherwise the name goes to a name server outside, a machine without one fails differently, and the message shows
    an address in place of the name. A test with rules of its own (pytest-socket's marks) is left to those.
    """

    def __init__(self, allowed: list[str]) -> None:
        self._allowed = [host.strip() for host in allowed]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        own_rules = [mark for mark in item.iter_markers() if mark.name in ("allow_hosts", "enable_socket")]
        with pytest.MonkeyPatch.context() as patch:
            if not own_rules and "socket_enabled" not in getattr(item, "fixturenames", ()):
                for function in (socket.getaddrinfo, socket.gethostbyname, socket.gethostbyname_ex):
                    patch.setattr(socket, function.__name__, partial(self._look_up, function))
            return (yield)

    def _look_up(self, function: Callable[..., Any], host: str | bytes | None, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name and name not in self._allowed and not _is_address(name):
            from pytest_socket import SocketConnectBlockedError

            raise SocketConnectBlockedError(self._allowed, name)
        return function(host, *args, **kwargs)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
