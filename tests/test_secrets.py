"""No key in what is written, printed, logged or raised; nothing untrusted harms a terminal or a folder."""

from __future__ import annotations

import json
import logging
import sqlite3
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from batchfast.cli import execute
from batchfast.errors import ConfigError, ProviderError
from batchfast.fake import FakeServer, Fault
from batchfast.llms import PROVIDERS
from batchfast.records import RemoteFile, Shard
from batchfast.store import Store
from batchfast.terminal import json_line, one_line, plain
from tests.helpers import MODELS, provider, read, session, spec

CANARY = "CANARY"  # stands in every planted key: no part of one may turn up
KEYS = {
    "openai": "sk-proj-CANARY_0123456789-abCANARY",
    "anthropic": "sk-ant-api03-CANARY0123456789-abCANARY",
    "gemini": "AIzaSyCANARY0123456789abCANARY",
    "gemini, new": "AQ.Ab8CANARY0123456789-abCANARY",
    "no known shape": "tokenCANARY/0123456789+abCANARY",
}
VARIABLES = {"openai": "OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY", "gemini": "GEMINI_API_KEY"}
URLS = {"openai": "OPENAI_BASE_URL", "anthropic": "ANTHROPIC_BASE_URL", "gemini": "GOOGLE_GEMINI_BASE_URL"}
SPEC = """
[dataset]
document_types = ["essay"]
topics = ["Tides", "Vacuum", "Orbits"]
num_samples_per_prompt = 1
output_file = "out.jsonl"

[run]
max_attempts = 1

[[providers]]
provider = "{name}"
model_id = "{model}"
{more}
"""
PLANTED = [
    ("openai", "openai", "environment"),
    ("openai", "no known shape", ".env"),
    ("anthropic", "anthropic", ".env"),
    ("anthropic", "no known shape", "environment"),
    ("gemini", "gemini", "api_key_env"),
    ("gemini", "gemini, new", ".env"),
]
ESC = "\x1b[2J\x9b31m\u202etxt\u2066"
HARMFUL = ("\x1b", "\x9b", "\u202e", "\u2066", "\x00")


def echo(key: str) -> str:
    """What a careless service says of a key."""
    return f"that was sent with {key} (Authorization: Bearer {key}, x-api-key={key})"


def written(folder: Path) -> dict[str, bytes]:
    """
    Every file below, but for what may hold a key: the user's own .env, and raw results, which are the bytes that came.
    """
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".env" and path.parent.name != "results"
    }


def assert_no_key_in(folder: Path) -> None:
    files = written(folder)
    assert any(name.endswith("state.db") for name in files)
    assert [name for name, data in files.items() if CANARY.encode() in data] == []


@pytest.fixture
def planted(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fake: FakeServer) -> str:
    """A key where a person may put it, a spec for its provider, and the fake as the provider's endpoint."""
    name, shape, where = request.param
    more = ""
    if where == "environment":
        monkeypatch.setenv(VARIABLES[name], KEYS[shape])
    elif where == ".env":
        (tmp_path / ".env").write_text(f"{VARIABLES[name]}={KEYS[shape]}\n")
    else:
        monkeypatch.setenv("MY_OWN_VARIABLE", KEYS[shape])
        more = 'api_key_env = "MY_OWN_VARIABLE"'
    monkeypatch.setenv(URLS[name], fake.base_urls[name])
    (tmp_path / "spec.toml").write_text(SPEC.format(name=name, model=MODELS[name], more=more))
    return KEYS[shape]


class Terminal:
    """Runs command lines in this process, and keeps what they print and what anything logs."""

    def __init__(self, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
        self._capsys, self._caplog = capsys, caplog
        self.all = ""

    def __call__(self, *words: str) -> str:
        execute(["-v", *words])
        printed = self._capsys.readouterr()
        logged = [logging.Formatter().format(record) for record in self._caplog.records]
        self._caplog.clear()
        new = "\n".join([printed.out, printed.err, *logged])
        self.all += new
        return new


@pytest.fixture
def batchfast(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Terminal:
    caplog.set_level(logging.DEBUG)
    return Terminal(capsys, caplog)


each_planted = pytest.mark.parametrize("planted", PLANTED, indirect=True, ids=lambda one: ", ".join(one))


@each_planted
def test_a_key_that_services_echo_is_in_nothing_the_command_line_leaves(
    planted: str, plan: Callable[..., None], tmp_path: Path, batchfast: Terminal
) -> None:
    """
    Every call fails once with a message that quotes the key, requests fail with it, a batch fails with it; -v
    throughout. Neither what is printed nor any file but the raw results has it.
    """
    name = next(name for name in VARIABLES if f'provider = "{name}"' in (tmp_path / "spec.toml").read_text())
    quoted = echo(planted)
    first = "create" if name == "anthropic" else "upload"
    plan(
        Fault("status", provider=name, route=first, nth=1, status=401, message=quoted),
        Fault("status", provider=name, route="create", nth=2 if first == "create" else 1, status=429, message=quoted,
              retry_after=0.01),
        Fault("status", provider=name, route="poll", nth=(1, 2), status=500, message=quoted),
        Fault("status", provider=name, route="results", nth=1, status=503, message=quoted),
        Fault("error", provider=name, custom_id="-1-1$", status=400, message=quoted),
        Fault("status", provider=name, route="list", nth=3, status=403, body=quoted),
    )  # fmt: skip
    held = batchfast("submit", "spec.toml")
    assert "401" in held
    assert "[key]" in held
    for _ in range(8):
        batchfast("collect")
    if name != "anthropic":
        plan(Fault("fail", provider=name, code="invalid_request", message=quoted))
        batchfast("submit", "spec.toml", "--again")
        batchfast("collect", "latest")
    for words in (
        ["status"],
        ["status", "latest", "--json"],
        ["show", "latest", "1"],
        ["show", "latest", "1", "--json"],
    ):
        batchfast(*words)
    assert CANARY not in batchfast.all
    failures = [line for path in tmp_path.glob("out*.failures.jsonl") for line in read(path)]
    assert any("[key]" in line["message"] for line in failures)
    assert_no_key_in(tmp_path)


# in Python, over servers that answer as they like


Answer = tuple[int, dict[str, str], bytes]


class Scripted:
    """A server of this machine: `answer(method, path, headers, body)` says what it answers; `seen` keeps the calls."""

    def __init__(self, answer: Callable[[str, str, dict[str, str], bytes], Answer]) -> None:
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        here = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                here.seen.append((self.command, self.path, headers))
                status, more, data = answer(self.command, self.path, headers, body)
                self.send_response(status)
                for name, value in {"content-length": str(len(data)), **more}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_DELETE = do_PUT = _answer  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.port = self._http.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


Serve = Callable[[Callable[[str, str, dict[str, str], bytes], Answer]], Scripted]


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers: list[Scripted] = []

    def start(answer: Callable[[str, str, dict[str, str], bytes], Answer]) -> Scripted:
        servers.append(Scripted(answer))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def calls_of(name: str, base_url: str, key: str, folder: Path) -> dict[str, Callable[[], object]]:
    """Every operation of a provider that goes over the network."""
    one = PROVIDERS[name](MODELS[name], key, base_url=base_url, timeout=10)
    path = folder / "shard.jsonl"
    path.write_bytes(b'{"custom_id": "run-n0nce-0-1"}\n')
    shard = Shard("run-n0nce-0-0-1", "run-n0nce", path, 1, path.stat().st_size)
    remote_id = "batches/x" if name == "gemini" else "x"
    calls: dict[str, Callable[[], object]] = {
        "newest": one.newest,
        "find": lambda: one.find(shard, None),
        "create": lambda: one.create(shard, "files/x"),
        "poll": lambda: one.poll(remote_id),
        "download": lambda: list(one.download(RemoteFile("output", "files/x"))),
        "cancel": lambda: one.cancel(remote_id),
        "delete": lambda: one.delete("files/x"),
    }
    return calls if name == "anthropic" else {**calls, "upload": lambda: one.upload(shard)}


def chain(exc: BaseException | None) -> Iterator[BaseException]:
    while exc is not None:
        yield exc
        exc = exc.__cause__ or exc.__context__


@pytest.mark.parametrize("name", sorted(PROVIDERS))
@pytest.mark.parametrize("shape", sorted(KEYS))
def test_no_exception_shows_the_key(name: str, shape: str, serve: Serve, tmp_path: Path) -> None:
    """The service quotes it in body and headers: neither our error nor what led to it, in no form, has it."""
    key = KEYS[shape]
    error = {"message": echo(key), "type": echo(key), "code": key, "status": key, "details": [{"reason": key}]}
    headers = {"x-echo": key, "www-authenticate": f"Bearer {key}", "request-id": key}
    bodies = dict.fromkeys((400, 401, 429), json.dumps({"error": error, "detail": key}).encode())
    bodies[500] = echo(key).encode() + b"\xff"
    status = 0
    server = serve(lambda *_: (status, headers, bodies[status]))
    calls = calls_of(name, server.url, key, tmp_path)
    for status in bodies:  # noqa: B007  # the server answers with it
        for operation, call in calls.items():
            with pytest.raises(ProviderError) as caught:
                call()
            shown = [f"{one}{one!r}{one.args!r}{vars(one).get('body')}" for one in chain(caught.value)]
            assert len(shown) > 1
            assert CANARY not in "".join(shown), operation
            assert CANARY not in "".join(traceback.format_exception(caught.value)), operation
    assert any(key in str(sent) for _, _, sent in server.seen)


@pytest.mark.parametrize("name", sorted(PROVIDERS))
def test_an_answer_that_is_not_utf8_is_not_carried_along(name: str, serve: Serve, tmp_path: Path) -> None:
    """Python's own error for such bytes holds all of them."""
    server = serve(lambda *_: (200, {}, b'{"id": "' + KEYS["openai"].encode() + b'\xff"}'))
    with pytest.raises(ProviderError) as caught:
        calls_of(name, server.url, KEYS["openai"], tmp_path)["newest"]()
    assert CANARY not in "".join(repr(one) for one in chain(caught.value))


@pytest.mark.parametrize("name", sorted(PROVIDERS))
@pytest.mark.parametrize("where", ["another port", "another host", "another scheme", "no scheme", "with a user"])
def test_a_redirect_takes_the_key_nowhere_else(name: str, where: str, serve: Serve, tmp_path: Path) -> None:
    """Whatever the call, whatever differs: the other server sees nothing, and nothing else is asked of the first."""
    elsewhere = serve(lambda *_: (200, {}, b"{}"))
    target = ""
    server = serve(lambda *_: (307, {"location": target}, b""))
    target = {
        "another port": f"{elsewhere.url}/v1/steal",
        "another host": f"http://localhost:{server.port}/v1/steal",
        "another scheme": f"https://127.0.0.1:{server.port}/v1/steal",
        "no scheme": f"//127.0.0.1:{elsewhere.port}/v1/steal",
        "with a user": f"http://u:p@127.0.0.1:{elsewhere.port}/v1/steal",
    }[where]
    for call in calls_of(name, server.url, KEYS[name], tmp_path).values():
        with pytest.raises(ProviderError, match="no other host") as caught:
            call()
        assert caught.value.kind == "refused"
    assert elsewhere.seen == []
    assert [path for _, path, _ in server.seen if "steal" in path] == []


@pytest.mark.parametrize("value", [KEYS["openai"], KEYS["gemini"], "AIzaSyCANARY", "two words", "", 5])
def test_a_key_in_the_place_of_a_variables_name_is_refused_unseen(value: Any) -> None:
    """`api_key_env` is recorded and quoted: a key pasted there must get no further."""
    with pytest.raises(ConfigError, match="api_key_env must be the name") as caught:
        provider("openai", api_key_env=value)
    assert CANARY not in str(caught.value)


def test_a_key_in_a_spec_is_refused_unseen(tmp_path: Path, batchfast: Terminal) -> None:
    """As api_key, misspelt, as a variable's name, in the base URL: one line, without it, and nothing is written."""
    for more in (
        f'api_key = "{KEYS["openai"]}"',
        f'apikey = "{KEYS["openai"]}"',
        f'api_key_env = "{KEYS["openai"]}"',
        f'base_url = "https://user:{KEYS["openai"]}@example.org/v1"',
        f'base_url = "https://example.org/v1?key={KEYS["gemini"]}"',
    ):
        (tmp_path / "spec.toml").write_text(SPEC.format(name="openai", model="m", more=more))
        for words in (["plan"], ["plan", "--json"], ["submit"], ["run"]):
            batchfast(*words, "spec.toml")
        (tmp_path / "spec.toml").unlink()
    assert CANARY not in batchfast.all
    assert [name for name, data in written(tmp_path).items() if CANARY.encode() in data] == []


def test_a_key_given_in_python_stays_in_memory(
    fake: FakeServer, plan: Callable[..., None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """`api_key=`, all three providers at once, every message quoting it: no file, no log record has it."""
    caplog.set_level(logging.DEBUG)
    models = [provider(name, api_key=KEYS["no known shape"], base_url=fake.base_urls[name]) for name in MODELS]
    plan(
        *(Fault("error", provider=name, custom_id="-[0-2]-1$", status=400, message=echo(KEYS["no known shape"]))
          for name in MODELS),
        Fault("status", route="poll", nth=(1, 2, 3), status=500, message=echo(KEYS["no known shape"])),
        Fault("fail", provider="openai", nth=2, message=echo(KEYS["no known shape"])),
    )  # fmt: skip
    with session(fake, tmp_path) as home:
        for again in (False, True):
            run, _ = home.enter(spec(*models), fake=False, again=again)
            with home.work(run, models) as engine:
                home.settle(engine.ctx, engine.drive())
        failures = read(next(tmp_path.glob("out.failures.jsonl")))
        # While the database is open: its write-ahead log holds what was written last.
        assert any(name.endswith("state.db-wal") for name in written(tmp_path))
        assert_no_key_in(tmp_path)
    assert_no_key_in(tmp_path)
    assert any("[key]" in line["message"] for line in failures)
    assert not [record for record in caplog.records if CANARY in logging.Formatter().format(record)]


def test_a_traceback_shows_no_key(
    fake: FakeServer, plan: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batchfast: Terminal
) -> None:
    """The disk is full while a refusal that quotes the key is entered: -v prints all that led to it."""
    monkeypatch.setenv("OPENAI_API_KEY", KEYS["no known shape"])
    monkeypatch.setenv("OPENAI_BASE_URL", fake.base_urls["openai"])
    (tmp_path / "spec.toml").write_text(SPEC.format(name="openai", model="gpt-4.1-mini", more=""))
    plan(Fault("status", route="poll", status=500, message=echo(KEYS["no known shape"]) + ESC))

    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(Store, "record_failed_poll", full)
    printed = batchfast("submit", "spec.toml")
    assert "Traceback" in printed
    assert "InternalServerError" in printed
    assert CANARY not in printed
    assert [one for one in HARMFUL if one in printed] == []


def test_verbose_in_a_process_of_its_own_prints_no_key(
    fake: FakeServer, plan: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a person starts it, with the SDK's own debug log on."""
    monkeypatch.setenv("OPENAI_API_KEY", KEYS["openai"])
    monkeypatch.setenv("OPENAI_BASE_URL", fake.base_urls["openai"])
    monkeypatch.setenv("OPENAI_LOG", "debug")
    (tmp_path / "spec.toml").write_text(SPEC.format(name="openai", model="gpt-4.1-mini", more=""))
    plan(Fault("status", route="upload", status=401, message=echo(KEYS["openai"])))
    line = [sys.executable, "-m", "batchfast", "-v", "submit", "spec.toml"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "[key]" in done.stderr) == (1, True)
    assert CANARY not in done.stdout + done.stderr


# what others write, in terminals and folders


@pytest.mark.parametrize("text", [f"a{one}b" for one in (*HARMFUL, "\u200f", "\x07", "\u2028", "\U000e0041")])
def test_control_characters_reach_no_terminal(text: str) -> None:
    """ESC, C1, bidi overrides, invisible tags: replaced in text, escaped in JSON, which still says the same."""
    assert plain(text).startswith("a\ufffd")
    assert one_line(text + "\nsecond") == plain(text) + " second"
    line = json_line({"text": text})
    assert line.isprintable()
    assert json.loads(line) == {"text": text}


def test_ordinary_text_is_left_alone() -> None:
    """Letters of any script, spaces of any width, newlines and tabs."""
    text = "Ünï\u00a0日本語\u3000नमस्ते 🚀\tx\ny"
    assert plain(text) == text
    assert json_line([text]) == json.dumps([text], ensure_ascii=False)


def test_a_hostile_service_harms_neither_terminal_nor_folder(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batchfast: Terminal
) -> None:
    """
    Ids that climb out of folders, states, models, messages and texts with escape sequences and newlines, a file name
    of the service's own choice: no file has a name from there, and all that is printed is harmless.
    """
    evil = f"../../evil{ESC}\x00\nbatchfast: run x done: 5 rows"
    batch = {"id": evil, "status": f"dreaming{ESC}\nforged", "request_counts": {ESC: 1}, "created_at": 1_800_000_000}
    line: dict[str, Any] = {}

    def answer(method: str, path: str, _: dict[str, str], body: bytes) -> Answer:
        named = {"content-disposition": 'attachment; filename="../../evil.jsonl"'}
        if path.endswith("/content"):
            return 200, named, b"".join(json.dumps(one).encode() + b"\n" for one in line.values())
        if method == "POST" and path.endswith("/files"):
            ids = [json.loads(one)["custom_id"] for one in body.split(b"\r\n") if one.startswith(b'{"custom_id"')
                   for one in one.splitlines()]  # fmt: skip
            error = {"message": f"no{ESC}\nbatchfast: forged", "type": f"odd{ESC}", "code": f"odd\n{ESC}"}
            bad = {"status_code": 400, "body": {"error": error}}
            message = {"content": json.dumps({"texts": [f"text{ESC}"]})}
            choice = {"message": message, "finish_reason": f"stop{ESC}"}
            good = {"status_code": 200, "body": {"model": evil, "choices": [choice]}}
            line.update({one: {"custom_id": one, "response": bad if one.endswith("-1-1") else good} for one in ids})
            return 200, named, json.dumps({"id": evil, "filename": evil}).encode()
        if path.endswith("/cancel"):
            return 500, {}, json.dumps({"error": {"message": evil}}).encode()
        if (path.endswith("/batches") and method == "POST") or "/batches/" in path:
            return 200, named, json.dumps(batch).encode()
        if "/files/" in path:
            return 200, {}, json.dumps({"id": evil, "expires_at": None}).encode()
        return 200, {}, b'{"data": [], "has_more": false}'

    server = serve(answer)
    monkeypatch.setenv("OPENAI_API_KEY", KEYS["openai"])
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    (tmp_path / "spec.toml").write_text(SPEC.format(name="openai", model="../../m/x", more=""))
    batchfast("submit", "spec.toml")
    for words in (["status"], ["status", "--json"], ["collect"], ["cancel"]):
        batchfast(*words)
    batch |= {"status": "completed", "output_file_id": evil, "error_file_id": None}
    batchfast("collect")
    for words in (["status"], ["status", "--json"], ["show", "0"], ["show", "1"], ["show", "1", "--json"]):
        batchfast(*words)
    raw = next(tmp_path.rglob("*.output.jsonl"))
    assert '"finish_reason": "stop\\u001b' in batchfast("parse", "--provider", "openai", str(raw))
    assert [one for one in HARMFUL if one in batchfast.all] == []
    assert "\nbatchfast: forged" not in batchfast.all
    assert "\nbatchfast: run x done" not in batchfast.all
    assert "5 rows" in batchfast.all  # it was shown, on a line of ours
    names = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    run, stem = raw.parents[1].relative_to(tmp_path).as_posix(), "0-openai-_.._m_x-0-1"
    made = {f"{run}/{name}" for name in ("spec.json", f"requests/{stem}.jsonl", f"results/{stem}.output.jsonl")}
    kept = {"spec.toml", "out.jsonl", "out.failures.jsonl", ".batchfast/.gitignore", ".batchfast/state.db"}
    assert {name for name in names if not name.endswith((".lock", "-wal", "-shm"))} == made | kept
    assert list(tmp_path.parent.glob("*evil*")) == []
