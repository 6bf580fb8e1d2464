"""The pytest plugin, as its users meet it: pytest inside pytest."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

# What a run in this process would load is here already, and stays: pytester forgets modules that it sees for the first
# time, and a second copy of a module has other classes.
for _module in ("anthropic", "google.genai", "openai", "vcr", "batchfast.cassettes.tape", "batchfast.datasets"):
    pytest.importorskip(_module)

IMPORTS = """
import os, socket, time, unittest
import httpx2, openai, pytest
from anthropic import Anthropic
from google import genai
from openai import AsyncOpenAI, OpenAI
from batchfast import NotReady
from batchfast.datasets import RawDataset
from batchfast.fake import Fault
from batchfast.llms import OpenAIProvider
from batchfast.schema.config import RawDatasetConfig

def list_files(**settings):
    with OpenAI(max_retries=0, **settings) as client:
        return client.files.list().data

def upload(name, content=b"{}"):
    with OpenAI() as client:
        return client.files.create(file=(name, content), purpose="batch")
"""

CASSETTE = """\
version: 1
interactions:
- request: {method: GET, uri: 'https://api.openai.com/v1/files', body: null, headers: {}}
  response:
    status: {code: 200, message: OK}
    headers: {content-type: [application/json]}
    body: {string: '{"object": "list", "data": [], "has_more": false}'}
- request: {method: GET, uri: 'https://api.openai.com/v1/batches', body: null, headers: {}}
  response:
    status: {code: 200, message: OK}
    headers: {content-type: [application/json]}
    body: {string: '{"object": "list", "data": [], "has_more": false}'}
"""


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    """A user's suite, with settings as strict as pytest can be."""
    pytester.makeini(
        "[pytest]\naddopts = --strict-markers --strict-config -p no:cacheprovider\nfilterwarnings = error\n"
    )
    return pytester


def run(suite: pytest.Pytester, tests: str, *options: str) -> pytest.RunResult:
    suite.makepyfile(test_user=IMPORTS + tests)
    return suite.runpytest_inprocess(*options)


# batchfast_fake


def test_fake_leads_every_sdk_to_itself_for_the_test(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever keys, accounts, endpoints and proxies the environment has: before and after, it has them again."""
    names = ["OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "GOOGLE_GEMINI_BASE_URL", "HTTP_PROXY", "http_proxy"]
    names += ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY", "ANTHROPIC_AUTH_TOKEN"]
    names += ["OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "BATCHFAST_FAKE", "GOOGLE_GENAI_USE_VERTEXAI"]
    names += ["GOOGLE_GENAI_CLIENT_MODE"]
    for name in names:
        monkeypatch.setenv(name, "1" if "FAKE" in name or "VERTEX" in name else "http://192.0.2.1:9")
    monkeypatch.setenv("GOOGLE_GENAI_CLIENT_MODE", "replay")
    monkeypatch.setenv("all_proxy", "socks5://192.0.2.1:9")  # httpx fails at the mere sight of it, without socksio
    monkeypatch.delenv("NO_PROXY")
    tests = """
    def environment():
        return {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}

    ambient = environment()

    def test_led(batchfast_fake):
        seen = []
        with httpx2.Client(event_hooks={"request": [seen.append]}) as http:
            OpenAI(http_client=http).files.list()
        with Anthropic() as claude, genai.Client() as gemini:
            claude.messages.batches.list()
            list(gemini.batches.list())
        assert [call.provider for call in batchfast_fake.calls] == ["openai", "anthropic", "gemini"]
        assert "openai-organization" not in seen[0].headers

    def test_led_back():
        assert environment() == ambient
    """
    run(suite, _dedent(tests)).assert_outcomes(passed=2)


@pytest.mark.parametrize("order", [("test_one", "test_two"), ("test_two", "test_one")])
def test_fake_is_empty_for_each_test_in_any_order(suite: pytest.Pytester, order: tuple[str, ...]) -> None:
    tests = """
    @pytest.mark.batchfast_faults(Fault("delay", route="upload", seconds=0))
    def test_one(batchfast_fake):
        upload("a.jsonl")
        assert len(list_files()) == 1

    def test_two(batchfast_fake):
        upload("b.jsonl")
        assert [file.filename for file in list_files()] == ["b.jsonl"]
        assert batchfast_fake.planned() == []
    """
    result = run(suite, _dedent(tests), "-p", "no:randomly", *(f"test_user.py::{name}" for name in order))
    result.assert_outcomes(passed=2)


@pytest.mark.parametrize("workers", ["0", "2"])
def test_unknown_route_fails_its_test_and_no_other(suite: pytest.Pytester, workers: str) -> None:
    """One message; where the test fails by itself, that failure stands first and says it too."""
    tests = """
    import httpx2

    def list_files(fake):
        assert httpx2.get(fake.base_urls["openai"] + "/files", headers={"authorization": "Bearer k"}).is_success

    def test_before(batchfast_fake):
        list_files(batchfast_fake)

    def test_swallows(batchfast_fake):
        httpx2.get(batchfast_fake.base_urls["openai"] + "/horses")

    def test_fails(batchfast_fake):
        httpx2.get(batchfast_fake.base_urls["openai"] + "/horses").raise_for_status()

    def test_after(batchfast_fake):
        list_files(batchfast_fake)
    """
    suite.makepyfile(test_user=_dedent(tests))
    result = suite.runpytest_inprocess("-n", workers)
    result.assert_outcomes(passed=2, failed=2)
    result.stdout.fnmatch_lines_random(
        ["the fake has no route GET /openai/v1/horses", "E * httpx2.HTTPStatusError: *", "E * the fake has no route *"]
    )
    result.stdout.no_fnmatch_line("*During handling*")


def test_planned_fault_that_never_fired_fails_its_test(suite: pytest.Pytester) -> None:
    """Planned by a mark or by the test; a test that is skipped or expected to fail stays so."""
    tests = """
    @pytest.mark.batchfast_faults(Fault("lose", route="create", nth=1))
    def test_marked():
        list_files()

    def test_planned(batchfast_fake):
        batchfast_fake.plan(Fault("cut", provider="gemini"))

    @pytest.mark.batchfast_faults({"does": "status", "status": 500})
    def test_fired():
        with pytest.raises(openai.InternalServerError):
            list_files()

    @pytest.mark.batchfast_faults({"does": "cut"})
    def test_skipped():
        pytest.skip("not today")

    @pytest.mark.xfail(strict=True)
    @pytest.mark.batchfast_faults({"does": "cut"})
    def test_expected():
        pass
    """
    result = run(suite, _dedent(tests))
    result.assert_outcomes(passed=1, failed=2, skipped=1, xfailed=1)
    result.stdout.fnmatch_lines(
        [
            "a planned fault never fired: Fault('lose', route='create', nth=1)",
            "a planned fault never fired: Fault('cut', provider='gemini')",
        ]
    )


def test_exception_inside_the_fake_is_raised_in_the_test(suite: pytest.Pytester) -> None:
    """Also where the client swallows the 500; a note where the test fails of it. Other complaints are notes to it."""
    tests = """
    def breaks(*args):
        raise LookupError("mislaid")

    @pytest.fixture
    def broken(batchfast_fake, monkeypatch):
        monkeypatch.setattr("batchfast.fake.files.Files.all", breaks)

    @pytest.mark.batchfast_faults(Fault("lose", route="create"))
    def test_swallows(broken):
        with pytest.raises(openai.InternalServerError):
            list_files()

    def test_fails(broken):
        list_files()
    """
    result = run(suite, _dedent(tests))
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*def breaks(*", "E * LookupError: mislaid", "E * a planned fault never fired: *"])
    result.stdout.fnmatch_lines(["E * openai.InternalServerError: *", "E * in breaks", "E * LookupError: mislaid"])


# Marks


def test_faults_come_as_objects_tables_and_files(suite: pytest.Pytester) -> None:
    """Those of the module and the class count too; a file is looked for beside the test's module."""
    suite.mkdir("faults").joinpath("slow.toml").write_text(
        '[[faults]]\ndoes = "delay"\nseconds = 0\n\n[[faults]]\ndoes = "lag"\nroute = "list"\n', encoding="utf-8"
    )
    tests = """
    pytestmark = pytest.mark.batchfast_faults(Fault("delay", route="list", seconds=0))

    @pytest.mark.batchfast_faults({"does": "delay", "provider": "openai", "seconds": 0})
    class TestBoth:
        @pytest.mark.batchfast_faults("faults/slow.toml", Fault("lag", provider="openai"))
        def test_all(self, batchfast_fake):
            with OpenAI() as client:
                client.batches.list()
            found = [(fault.does, fault.route, fault.provider) for fault, _ in batchfast_fake.planned()]
            assert found == [
                ("delay", "list", None), ("delay", None, "openai"),
                ("delay", None, None), ("lag", "list", None), ("lag", None, "openai"),
            ]
    """
    run(suite, _dedent(tests)).assert_outcomes(passed=1)


def test_fault_that_cannot_be_is_named(suite: pytest.Pytester) -> None:
    tests = """
    @pytest.mark.batchfast_faults({"does": "lsoe"})
    def test_misspelt(): ...

    @pytest.mark.batchfast_faults("nowhere.toml")
    def test_absent(): ...

    @pytest.mark.batchfast_faults({"does": "cut"}, nth=1)
    def test_named(): ...

    @pytest.mark.batchfast_faults(["lose"])
    def test_list(): ...

    @pytest.mark.batchfast_faults
    def test_none(): ...
    """
    result = run(suite, _dedent(tests))
    result.assert_outcomes(errors=5)
    result.stdout.fnmatch_lines(
        [
            "mark batchfast_faults: *unknown fault 'lsoe'; did you mean 'lose'?",
            "mark batchfast_faults: *nowhere.toml: *",
            *["mark batchfast_faults: each argument is a Fault, a dict or the name of a TOML file"] * 3,
        ]
    )
    result.stdout.no_fnmatch_line("*During handling*")


def test_mark_brings_its_fixture_before_the_test_s_own(suite: pytest.Pytester) -> None:
    """A client built in a fixture that knows nothing of the fake reaches it; also in a unittest class."""
    tests = """
    @pytest.fixture
    def client():
        with OpenAI(max_retries=0) as client:
            yield client

    @pytest.mark.batchfast_faults(Fault("status", route="list_files", status=429))
    @pytest.mark.parametrize("turn", [1, 2])
    def test_client(client, turn):
        with pytest.raises(openai.RateLimitError):
            client.files.list()

    class Old(unittest.TestCase):
        @pytest.mark.batchfast_faults(Fault("status", route="list_files", status=429))
        def test_old(self):
            with self.assertRaises(openai.RateLimitError):
                list_files()

        @pytest.mark.batchfast_faults(Fault("cut"))
        def test_unfired(self): ...
    """
    run(suite, _dedent(tests)).assert_outcomes(passed=3, failed=1)


def test_mark_that_a_conftest_adds_counts_too(suite: pytest.Pytester) -> None:
    """Also for one turn of a parametrized test alone; without the fixture such a test would pass for nothing."""
    suite.makeconftest(
        """
        import pytest
        from batchfast.fake import Fault

        @pytest.hookimpl(trylast=True)
        def pytest_collection_modifyitems(items):
            for item in items:
                if item.name == "test_turn[2]":
                    item.add_marker(pytest.mark.batchfast_faults(Fault("status", route="list_files", status=429)))
        """
    )
    tests = """
    @pytest.mark.parametrize("turn", [1, 2])
    def test_turn(request, turn):
        if turn == 1:
            assert "OPENAI_BASE_URL" not in os.environ
        else:
            with pytest.raises(openai.RateLimitError):
                list_files()
    """
    run(suite, _dedent(tests)).assert_outcomes(passed=2)


def test_async_tests_use_the_same_fixtures(suite: pytest.Pytester) -> None:
    tests = """
    pytestmark = pytest.mark.anyio

    @pytest.fixture
    def anyio_backend():
        return "asyncio"

    async def test_lists(batchfast_fake):
        async with AsyncOpenAI() as client:
            assert (await client.files.list()).data == []

    @pytest.mark.batchfast_faults(Fault("lose", route="create"))
    async def test_unfired():
        async with AsyncOpenAI() as client:
            await client.files.list()

    @pytest.mark.batchfast_cassette("user/lists")
    async def test_played(batchfast_cassette):
        async with AsyncOpenAI() as client:
            assert (await client.files.list()).data == (await client.batches.list()).data == []
    """
    _write_cassette(suite)
    run(suite, _dedent(tests)).assert_outcomes(passed=2, failed=1)


# Home and clock


def test_home_is_temporary_and_of_the_test_alone(suite: pytest.Pytester) -> None:
    tests = """
    homes = set()

    @pytest.mark.parametrize("turn", [1, 2])
    def test_home(batchfast_home, batchfast_fake, tmp_path, turn):
        assert not batchfast_home.exists()
        output = tmp_path / "out.jsonl"
        config = RawDatasetConfig(document_types=["essay"], topics=["snow"], output_file=str(output))
        RawDataset(config).generate([OpenAIProvider("gpt-4.1-mini")])
        assert len(output.read_text().splitlines()) == 5
        assert (batchfast_home / "state.db").is_file()
        homes.add(batchfast_home)
        assert len(homes) == turn
    """
    run(suite, _dedent(tests)).assert_outcomes(passed=2)


def test_clock_lets_batchfast_and_scripts_wait_in_no_time(suite: pytest.Pytester) -> None:
    """Batches that take ten hours, waited for by batchfast, by a script, and not at all."""
    suite.makeini("[pytest]\nbatchfast_batch_seconds = 36000\n")
    tests = """
    @pytest.fixture
    def dataset(batchfast_home, batchfast_clock, tmp_path):
        config = RawDatasetConfig(document_types=["essay"], topics=["snow"], output_file=str(tmp_path / "out.jsonl"))
        return RawDataset(config, clock=batchfast_clock)

    def test_generate(dataset, batchfast_clock):
        started = batchfast_clock.now()
        assert dataset.generate([OpenAIProvider("gpt-4.1-mini")]).is_file()
        assert batchfast_clock.now() - started >= 36000

    def test_collect(dataset, batchfast_clock):
        run = dataset.submit([OpenAIProvider("gpt-4.1-mini")])
        batchfast_clock.advance(hours=9, minutes=59)
        with pytest.raises(NotReady):
            run.collect()
        batchfast_clock.advance(seconds=60)
        assert RawDataset.open(run.id, clock=batchfast_clock).collect().is_file()

    def test_script(batchfast_fake, batchfast_clock, monkeypatch):
        monkeypatch.setattr("time.sleep", batchfast_clock.sleep)
        body = b'{"model": "gpt-4.1", "input": "Hi"}'
        line = b'{"custom_id": "a", "method": "POST", "url": "/v1/responses", "body": ' + body + b"}"
        file = upload("a.jsonl", line)
        polls = 0
        with OpenAI() as client:
            batch = client.batches.create(
                input_file_id=file.id, endpoint="/v1/responses", completion_window="24h"
            )
            while client.batches.retrieve(batch.id).status != "completed":
                time.sleep(3600)
                polls += 1
        assert polls == 10
    """
    run(suite, _dedent(tests)).assert_outcomes(passed=3)


# Cassettes


def test_cassette_answers_and_must_be_played_to_its_end(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An endpoint in the environment is not asked, and no key is needed."""
    _write_cassette(suite)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://192.0.2.1/v1")
    tests = """
    @pytest.mark.batchfast_cassette("user/lists")
    def test_all():
        with OpenAI() as client:
            assert client.files.list().data == client.batches.list().data == []

    @pytest.mark.batchfast_cassette("user/lists")
    def test_half(batchfast_cassette):
        list_files()
        assert batchfast_cassette.play_count == 1

    @pytest.mark.batchfast_cassette("user/lists", allow_unplayed=True)
    def test_allowed():
        list_files()

    @pytest.mark.batchfast_cassette("openai/complete", allow_unplayed=True)
    def test_shipped(batchfast_cassette):
        assert len(batchfast_cassette) > 3

    @pytest.mark.batchfast_cassette("user/lists", allow_unplayed=True)
    def test_other_call():
        list_files()
        list_files()
    """
    result = run(suite, _dedent(tests))
    result.assert_outcomes(passed=3, failed=2)
    result.stdout.fnmatch_lines(
        ["cassette user/lists: 1 of its 2 calls were not made, the first of them GET /v1/batches (*)"]
    )


def test_cassette_that_is_not_there_names_the_nearest(suite: pytest.Pytester) -> None:
    """So does a mark without a name, and one beside the fake, which would get no call."""
    _write_cassette(suite, "tapes")
    suite.makeini("[pytest]\nbatchfast_cassettes = tapes\n")
    tests = """
    @pytest.mark.batchfast_cassette("user/list")
    def test_misspelt(): ...

    @pytest.mark.batchfast_cassette()
    def test_nameless(): ...

    @pytest.mark.batchfast_cassette("user/lists", allow_unplaid=True)
    def test_unknown(): ...

    @pytest.mark.batchfast_cassette("user/lists")
    def test_both(batchfast_fake): ...
    """
    result = run(suite, _dedent(tests))
    result.assert_outcomes(errors=4)
    result.stdout.fnmatch_lines(
        [
            "no cassette 'user/list' in *tapes*did you mean user/lists*",
            'name one cassette: @pytest.mark.batchfast_cassette("openai/complete")',
            "batchfast_fake and batchfast_cassette exclude each other in one test",
        ]
    )


# The network


NETWORK = """
from pytest_socket import SocketConnectBlockedError

def test_name(recwarn):
    with pytest.raises(SocketConnectBlockedError, match='"api.openai.com"'):
        list_files(base_url="https://api.openai.com/v1", api_key="k")

def test_address(recwarn):
    assert socket.getaddrinfo("192.0.2.1", 80)  # nobody has to be asked
    with pytest.raises(SocketConnectBlockedError, match='"192.0.2.1"'):
        socket.create_connection(("192.0.2.1", 80))

def test_fake(batchfast_fake):
    list_files()

def test_loopback_by_name():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(("localhost", server.getsockname()[1])).close()

def test_other_lookups(recwarn):
    with pytest.raises(SocketConnectBlockedError, match='"example.org"'):
        socket.gethostbyname("example.org")
    with pytest.raises(SocketConnectBlockedError, match='"example.org"'):
        socket.gethostbyname_ex("example.org")

@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_async(anyio_backend, recwarn):
    with pytest.raises(SocketConnectBlockedError, match='"api.openai.com"'):
        async with AsyncOpenAI(base_url="https://api.openai.com/v1", api_key="k") as client:
            await client.files.list()
"""


RULES = """
import socket
import pytest

def is_open(host):
    try:
        socket.create_connection((host, 1), timeout=1)
    except OSError:  # nobody listens there
        return True
    except RuntimeError:  # pytest-socket's
        return False

def looks_up():
    try:
        socket.getaddrinfo("localhost.invalid", 1)
    except OSError:  # there is no such host
        return True
    except RuntimeError:
        return False

pytestmark = pytest.mark.filterwarnings("ignore:A test tried")
"""


def run_apart(suite: pytest.Pytester, tests: str, *options: str) -> pytest.RunResult:
    """In a process of its own: pytest-socket keeps its guards in the socket module."""
    suite.makepyfile(test_user=tests)
    return suite.runpytest_subprocess(*options)


def test_blocked_network_leaves_loopback_alone(suite: pytest.Pytester) -> None:
    """Names are not looked up, so the message shows the name; addresses are not connected to."""
    run_apart(suite, IMPORTS + NETWORK, "--batchfast-block-network").assert_outcomes(passed=6)


@pytest.mark.parametrize(
    ("setting", "options", "blocked"),
    [("false", [], False), ("true", [], True), ("false", ["--batchfast-block-network"], True)],
)
def test_network_is_open_unless_asked(
    suite: pytest.Pytester, setting: str, options: list[str], *, blocked: bool
) -> None:
    """127.0.0.2 stands for the world: loopback, but none of the addresses that stay open."""
    suite.makeini(f"[pytest]\nbatchfast_block_network = {setting}\n")
    tests = f"""
    def test_world():
        assert is_open("127.0.0.2") is {not blocked}
        assert looks_up() is {not blocked}
    """
    run_apart(suite, RULES + _dedent(tests), *options).assert_outcomes(passed=1)


def test_rules_of_pytest_socket_go_first(suite: pytest.Pytester) -> None:
    """Its marks say more than ours: everything allowed, another host allowed, nothing allowed."""
    tests = """
    @pytest.mark.enable_socket
    def test_enabled():
        assert is_open("127.0.0.2")
        assert looks_up()

    def test_enabled_by_fixture(socket_enabled):
        assert is_open("127.0.0.2")
        assert looks_up()

    @pytest.mark.allow_hosts(["127.0.0.2"])
    def test_allowed():
        assert is_open("127.0.0.2")
        assert not is_open("127.0.0.1")
        assert looks_up()

    @pytest.mark.disable_socket
    def test_disabled():
        assert not is_open("127.0.0.1")
    """
    run_apart(suite, RULES + _dedent(tests), "--batchfast-block-network").assert_outcomes(passed=4)


def test_hosts_allowed_by_option_stay_allowed(suite: pytest.Pytester) -> None:
    """`--allow-hosts` is taken as it is, and everything open by `--force-enable-socket`."""
    tests = """
    def test_allowed(pytestconfig):
        everything = pytestconfig.getoption("force_enable_socket")
        assert is_open("127.0.0.2")
        assert is_open("127.0.0.1") is looks_up() is everything
    """
    options = ["--batchfast-block-network", "--allow-hosts=127.0.0.2"]
    run_apart(suite, RULES + _dedent(tests), *options).assert_outcomes(passed=1)
    run_apart(suite, RULES + _dedent(tests), *options, "--force-enable-socket").assert_outcomes(passed=1)


def test_blocking_without_pytest_socket_says_what_to_install(suite: pytest.Pytester) -> None:
    result = run(suite, "", "--batchfast-block-network", "-p", "no:socket")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert [line for line in result.errlines if line] == [
        "ERROR: --batchfast-block-network needs pytest-socket: pip install 'batchfast[pytest]'"
    ]


# What it costs, and how it shows


def test_session_without_its_fixtures_loads_nothing_of_it(suite: pytest.Pytester) -> None:
    """No server, no SDK, no vcrpy, no pytest-socket; the same when the network is not to be blocked."""
    tests = """
    import sys

    def test_own():
        heavy = {"starlette", "uvicorn", "vcr", "openai", "anthropic", "google.genai", "pytest_socket", "pydantic"}
        assert "batchfast.pytest_plugin" in sys.modules
        assert not heavy & sys.modules.keys()
        assert not [name for name in sys.modules if name.startswith("batchfast.") and name not in
            ("batchfast.pytest_plugin", "batchfast.errors")]
    """
    suite.makepyfile(test_user=_dedent(tests))
    suite.runpytest_subprocess("-p", "no:socket").assert_outcomes(passed=1)


def test_pytest_itself_lists_marks_fixtures_and_options(suite: pytest.Pytester) -> None:
    marks = suite.runpytest_inprocess("--markers").stdout
    marks.fnmatch_lines(["@pytest.mark.batchfast_faults(*): *", "@pytest.mark.batchfast_cassette(name, *): *"])
    fixtures = suite.runpytest_inprocess("--fixtures").stdout.str()
    for name in ("batchfast_fake", "batchfast_home", "batchfast_clock", "batchfast_cassette"):
        assert f"\n{name} -- " in fixtures
    assert "_batchfast_server" not in fixtures
    help_ = suite.runpytest_inprocess("--help").stdout.str()
    for name in (
        "--batchfast-block-network",
        "batchfast_block_network",
        "batchfast_batch_seconds",
        "batchfast_cassettes",
    ):
        assert name in help_


def _dedent(text: str) -> str:
    return "\n".join(line.removeprefix("    ") for line in text.splitlines())


def _write_cassette(suite: pytest.Pytester, folder: str = "cassettes") -> None:
    place = Path(suite.path, folder, "user")
    place.mkdir(parents=True)
    (place / "lists.yaml").write_text(CASSETTE, encoding="utf-8")
