"""The command line as a person types it: exit codes, what goes where, and one clear line for what is wrong."""

from __future__ import annotations

import errno
import json
import os
import pty
import shlex
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from batchfast.cli import cli, execute
from batchfast.clock import SystemClock
from batchfast.fake import FakeServer, Fault
from batchfast.home import Home
from batchfast.lock import run_lock
from batchfast.status import cost
from batchfast.store import Store
from batchfast.views import money, run_view
from tests.helpers import read

SPEC = """
[dataset]
document_types = ["essay"]
topics = ["Tides", "Vacuum"]
num_samples_per_prompt = 2
output_file = "out.jsonl"

[[providers]]
provider = "openai"
model_id = "gpt-4.1-mini"

[[providers]]
provider = "anthropic"
model_id = "claude-haiku-4-5"
"""


@pytest.fixture(autouse=True)
def quick_fake(monkeypatch: pytest.MonkeyPatch) -> None:
    """The built-in fake's batches end at once."""
    monkeypatch.setenv("BATCHFAST_FAKE_SECONDS", "0")


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "spec.toml"
    path.write_text(SPEC, encoding="utf-8")
    return path


class Terminal:
    """Runs command lines in this process and keeps what they print."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *words: object) -> tuple[int, str, str]:
        code = execute([str(word) for word in words])
        printed = self._capsys.readouterr()
        return code, printed.out, printed.err


@pytest.fixture
def batchfast(capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(capsys)


def test_run_writes_the_dataset_and_a_second_run_changes_nothing(
    batchfast: Terminal, spec: Path, tmp_path: Path
) -> None:
    """Data on stdout, everything else on stderr; the same line again submits nothing and leaves the same bytes."""
    code, out, err = batchfast("run", spec, "--fake")
    assert (code, out.strip()) == (0, str(tmp_path / "out.jsonl"))
    assert "FAKE" in err
    first = (tmp_path / "out.jsonl").read_bytes()
    assert len(read(tmp_path / "out.jsonl")) == 8
    code, _, err = batchfast("run", spec, "--fake")
    assert code == 0
    assert "4 succeeded" in err
    assert (tmp_path / "out.jsonl").read_bytes() == first
    code, out, _ = batchfast("status", "--json", "latest")
    status = json.loads(out)
    assert [batch["attempt"] for batch in status["batches"]] == [1, 1]


def test_status_json_has_the_promised_shape(batchfast: Terminal, spec: Path) -> None:
    """Other people's scripts rely on these keys."""
    batchfast("run", spec, "--fake")
    code, out, _ = batchfast("status", "latest", "--json")
    status = json.loads(out)
    assert code == 0
    assert {
        "run",
        "fake",
        "state",
        "reason",
        "requests",
        "rows",
        "collect_by",
        "next_command",
        "batches",
        "cost",
    } <= set(status)
    assert status["requests"] == {
        "total": 4, "succeeded": 4, "failed": 0, "expired": 0, "cancelled": 0, "in_flight": 0, "waiting": 0,
    }  # fmt: skip
    assert (status["fake"], status["state"], status["rows"]) == (True, "done", 8)
    batch = status["batches"][0]
    keys = ["provider", "model_id", "shard", "attempt", "remote_id", "state", "remote_state", "requests", "collect_by"]
    assert set(keys) <= set(batch)
    assert (batch["provider"], batch["state"], batch["remote_state"]) == ("openai", "ended", "completed")


def test_submit_prints_the_run_id_and_collect_finishes(
    batchfast: Terminal, spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tonight and tomorrow: the id alone on stdout; a collect too early exits 3, the run is not harmed."""
    monkeypatch.setenv("BATCHFAST_FAKE_SECONDS", "3600")
    code, out, err = batchfast("--fake", "submit", spec)
    run = out.strip()
    assert code == 0
    assert run.startswith("fake-")
    assert "4 requests in 2 batches" in err
    assert f"batchfast collect {run}" in err
    assert "collect by: 20" in err
    code, out, err = batchfast("collect", run, "--home", tmp_path / ".batchfast")
    assert (code, out) == (3, "")
    assert "still open" in err
    assert f"batchfast watch {run}" in err
    with FakeServer(tmp_path / ".batchfast" / "fake") as server:
        server.finish_all()
    code, out, _ = batchfast("watch", run)
    assert (code, out.strip()) == (0, str(tmp_path / "out.jsonl"))
    code, _, err = batchfast("submit", spec, "--fake")
    assert code == 1
    assert "has been submitted before" in err
    assert run in err


def test_a_real_submit_after_a_fake_run_is_a_run_of_its_own(batchfast: Terminal, spec: Path) -> None:
    """It stops for want of a key, before anything else, with the variable's name."""
    batchfast("run", spec, "--fake")
    code, out, err = batchfast("submit", spec)
    assert (code, out) == (1, "")
    assert err.startswith("batchfast: no API key for openai: set OPENAI_API_KEY")
    assert err.count("\n") == 1


def test_a_key_from_a_dotenv_file_is_used_and_not_exported(
    batchfast: Terminal, spec: Path, tmp_path: Path, fake: FakeServer
) -> None:
    """Keys come from `.env` beside the spec; the environment is not written to."""
    base_urls = fake.base_urls
    (tmp_path / ".env").write_text("OPENAI_API_KEY=one\nANTHROPIC_API_KEY=two\n")
    text = SPEC.replace('"gpt-4.1-mini"', f'"gpt-4.1-mini"\nbase_url = "{base_urls["openai"]}"')
    spec.write_text(text.replace('"claude-haiku-4-5"', f'"claude-haiku-4-5"\nbase_url = "{base_urls["anthropic"]}"'))
    assert batchfast("run", spec)[0] == 0
    assert "OPENAI_API_KEY" not in os.environ


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("output_file", "outputfile"), "output_file"),
        (('topics = ["Tides", "Vacuum"]', "topics = []"), "topics"),
        (('"openai"', '"openia"'), "openai"),
        (("[[providers]]", "[[provider]]"), "providers"),
        (("num_samples_per_prompt = 2", "num_samples_per_prompt = 0"), "num_samples_per_prompt"),
        (('model_id = "claude-haiku-4-5"', 'model_id = "c"\nfrequency_penalty = 1'), "frequency_penalty"),
        (("num_samples_per_prompt = 2", 'prompts = ["about {topic}"]'), "{num_samples}"),
        (
            ("num_samples_per_prompt = 2", 'prompts = ["{num_samples} {language_name} {document_type} {topics}"]'),
            "{topics}",
        ),
        (
            ("num_samples_per_prompt = 2", 'prompts = ["{num_samples} {language_name} {document_type} {topic} {{x}}"]'),
            "{{x}}",
        ),
    ],
)
def test_a_bad_spec_is_one_clear_line(
    batchfast: Terminal, spec: Path, tmp_path: Path, change: tuple[str, str], said: str
) -> None:
    """Exit 1, the file's name, what is wrong, nothing written."""
    spec.write_text(SPEC.replace(*change))
    for command in ("plan", "submit", "run"):
        code, out, err = batchfast(command, spec, "--fake")
        assert (code, out) == (1, "")
        assert said in err
        assert str(spec) in err
        assert "Traceback" not in err
    assert not (tmp_path / ".batchfast").exists()


def test_a_spec_that_is_missing_or_not_utf8(batchfast: Terminal, tmp_path: Path) -> None:
    """Exit 1 and one line."""
    code, _, err = batchfast("run", tmp_path / "none.toml")
    assert code == 1
    assert "none.toml" in err
    (tmp_path / "latin.toml").write_bytes(b'a = "\xe9"')
    code, _, err = batchfast("run", tmp_path / "latin.toml")
    assert code == 1
    assert "UTF-8" in err


def test_a_wrong_command_line_exits_2(batchfast: Terminal, spec: Path) -> None:
    """Unknown commands and options, and missing arguments."""
    for words in (["nonsense"], ["run"], ["run", spec, "--nonsense"], ["show"], ["parse", "--provider", "x", "f"]):
        assert batchfast(*words)[0] == 2


def test_an_unknown_run_exits_1(batchfast: Terminal, spec: Path) -> None:
    """It names the run and where to look."""
    batchfast("run", spec, "--fake")
    for command in ("status", "watch", "collect", "cancel"):
        code, _, err = batchfast(command, "nothing")
        assert code == 1
        assert "no run nothing" in err
        assert "batchfast status" in err


def test_fake_on_a_real_run_is_refused_with_both_names(
    batchfast: Terminal, spec: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run is bound to where it was sent."""
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:9")
    code, out, err = batchfast("submit", spec)
    assert code == 3
    assert "waiting: 4" in err
    run = out.strip()
    code, _, err = batchfast("collect", run, "--fake")
    assert code == 1
    assert "http://127.0.0.1:9/v1" in err
    assert "fake" in err


def test_nowhere_to_write_is_said_before_sending(batchfast: Terminal, spec: Path, tmp_path: Path) -> None:
    """An output folder that cannot be written."""
    (tmp_path / "file").touch()
    spec.write_text(SPEC.replace("out.jsonl", "file/out.jsonl"))
    code, _, err = batchfast("run", spec, "--fake")
    assert code == 1
    assert "cannot write" in err
    assert "output_file" in err


def test_a_corrupt_or_newer_database_is_one_line(batchfast: Terminal, spec: Path, tmp_path: Path) -> None:
    """And the file is left as it was."""
    (tmp_path / ".batchfast").mkdir()
    (tmp_path / ".batchfast" / "state.db").write_bytes(b"x" * 5000)
    for words in (["status"], ["run", spec, "--fake"]):
        code, _, err = batchfast(*words)
        assert code == 1
        assert "cannot be read" in err
        assert err.count("\n") == 1


def test_plan_needs_no_key_and_writes_nothing(batchfast: Terminal, spec: Path, tmp_path: Path) -> None:
    """Requests, rows, files, bytes, tokens and money; three prompts in full."""
    code, out, _ = batchfast("plan", spec, "--json")
    plan = json.loads(out)
    assert code == 0
    assert (plan["requests"], plan["rows"]) == (4, 8)
    assert [entry["files"] for entry in plan["providers"]] == [1, 1]
    assert 0 < plan["cost_batch_usd"] < plan["cost_list_usd"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["spec.toml", "user"]
    code, out, _ = batchfast("plan", spec)
    assert "Tides" in out
    assert "about Tides" not in plan["note"]


def test_plan_counts_the_bytes_that_compile_writes(batchfast: Terminal, spec: Path, tmp_path: Path) -> None:
    """Files and bytes are those of the files."""
    _, out, _ = batchfast("plan", spec, "--json")
    planned = [entry["bytes"] for entry in json.loads(out)["providers"]]
    code, out, _ = batchfast("compile", spec, "-o", tmp_path / "files")
    assert code == 0
    files = [Path(line) for line in out.split()]
    assert [path.stat().st_size for path in files] == planned
    assert [path.name for path in files] == [
        "0-openai-gpt-4.1-mini-0-1.jsonl",
        "1-anthropic-claude-haiku-4-5-0-1.jsonl",
    ]


def test_init_writes_a_spec_that_runs_and_never_overwrites(batchfast: Terminal, tmp_path: Path) -> None:
    """The first minute: init, run --fake."""
    assert batchfast("init")[0] == 0
    code, out, _ = batchfast("run", "batchfast.toml", "--fake")
    assert code == 0
    assert read(Path(out.strip()))
    before = (tmp_path / "batchfast.toml").read_bytes()
    code, _, err = batchfast("init")
    assert code == 1
    assert "was left as it is" in err
    assert (tmp_path / "batchfast.toml").read_bytes() == before


def test_show_tells_one_request_from_prompt_to_rows(batchfast: Terminal, spec: Path) -> None:
    """Place in the grid, prompt, every attempt with its batch, raw reply, rows."""
    batchfast("run", spec, "--fake")
    code, out, _ = batchfast("show", "latest", 3, "--json")
    shown = json.loads(out)
    assert code == 0
    assert (shown["request"], shown["provider"], shown["metadata"]["topic"]) == (3, "anthropic", "Vacuum")
    assert "Vacuum" in shown["prompt"]
    assert json.loads(shown["attempts"][0]["raw_text"])["texts"] == shown["attempts"][0]["texts"]
    code, out, _ = batchfast("show", 0)
    assert code == 0
    assert "--- raw reply" in out
    code, _, err = batchfast("show", 99)
    assert (code, "requests 0 to 3" in err) == (1, True)


def test_terminal_output_holds_no_control_characters(batchfast: Terminal, spec: Path) -> None:
    """A topic that tries to move the cursor is shown harmless."""
    spec.write_text(SPEC.replace('"Tides"', '"\\u001b[2J\\u202eTides"'))
    batchfast("run", spec, "--fake")
    _, out, _ = batchfast("show", 0)
    assert "\x1b" not in out
    assert "\u202e" not in out


def test_cancel_ends_what_runs_and_the_rest_is_collected(
    batchfast: Terminal, spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancel, then watch: settled without rows exits 1; cancelling twice says there is nothing left."""
    monkeypatch.setenv("BATCHFAST_FAKE_SECONDS", "3600")
    batchfast("submit", spec, "--fake")
    code, _, err = batchfast("cancel")
    assert code == 0
    assert "cancel was asked for" in err
    with FakeServer(tmp_path / ".batchfast" / "fake") as server:
        server.advance(hours=1)
    code, _, err = batchfast("watch")
    assert code == 1
    assert "cancelled: 0 rows" in err
    assert "4 cancelled" in err
    code, _, err = batchfast("cancel")
    assert code == 1
    assert "nothing to cancel" in err


def test_parse_gives_one_line_per_request(batchfast: Terminal, tmp_path: Path) -> None:
    """What the provider says, normalised; an unreadable line is named and skipped."""
    line = {
        "custom_id": "a",
        "result": {
            "type": "succeeded",
            "message": {
                "model": "claude-haiku-4-5-20251001",
                "content": [{"type": "text", "text": "caf\u00e9"}],
                "stop_reason": "max_tokens",
                "usage": {"input_tokens": 5, "cache_read_input_tokens": 2, "output_tokens": 7},
            },
        },
    }
    file = tmp_path / "results.jsonl"
    file.write_text(json.dumps(line) + "\nnot json\n")
    code, out, err = batchfast("parse", "--provider", "anthropic", file)
    assert code == 1
    assert "line 2" in err
    assert json.loads(out) == {
        "custom_id": "a",
        "outcome": "succeeded",
        "text": "caf\u00e9",
        "finish_reason": "max_tokens",
        "model": "claude-haiku-4-5-20251001",
        "usage": {
            "input_tokens": 7, "output_tokens": 7, "cached_input_tokens": 2, "cache_write_tokens": None,
            "reasoning_tokens": None,
        },
        "error": None,
    }  # fmt: skip


def test_parse_with_the_wrong_provider_is_no_answer(batchfast: Terminal, tmp_path: Path) -> None:
    """One provider's file read as another's: skipped and said, never reported as failed requests."""
    lines = {
        "openai": {"custom_id": "a", "response": {"status_code": 200, "body": {}}, "error": None},
        "anthropic": {"custom_id": "a", "result": {"type": "canceled"}},
        "gemini": {"key": "a", "error": {"code": 3}},
    }
    for owner, line in lines.items():
        file = tmp_path / f"{owner}.jsonl"
        file.write_text(json.dumps(line))
        for name in lines:
            code, out, _ = batchfast("parse", "--provider", name, file)
            assert (code == 0) is (name == owner)
            assert bool(out) is (name == owner)


def test_every_help_ends_with_a_worked_example(batchfast: Terminal) -> None:
    """`--help` of each command, the group's too."""
    commands = list(cli.commands)
    for words in ([], *([name] for name in commands), ["fake", "serve"]):
        code, out, _ = batchfast(*words, "--help")
        assert code == 0
        assert "batchfast" in out.split("Example:")[1]


def test_importing_stays_light() -> None:
    """No SDK for the package; neither SDK nor pydantic, web server or sqlite-utils for `status`."""
    sdks = ["openai", "anthropic", "google.genai"]
    heavy = [*sdks, "pydantic", "uvicorn", "starlette", "faker", "genai_prices", "sqlite_utils", "rich"]
    for module, unwanted in (("batchfast.cli", heavy), ("batchfast.datasets", [*sdks, "uvicorn", "faker"])):
        code = f"import sys, {module}; print([name for name in {unwanted} if name in sys.modules])"
        found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        assert found.stdout == "[]\n"


def test_ctrl_c_loses_nothing_and_the_same_line_continues(
    spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted while it waits: exit 130 and one line; the same command then finishes with one batch each."""
    monkeypatch.setenv("BATCHFAST_FAKE_SECONDS", "2")
    command = [sys.executable, "-m", "batchfast", "run", str(spec), "--fake", "-v"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, cwd=tmp_path)
    assert process.stderr is not None
    sent = (line for line in process.stderr if "sent as" in line)
    assert len(list(islice(sent, 2))) == 2
    process.send_signal(signal.SIGINT)
    rest = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 130
    assert "the same command continues" in rest
    assert "Traceback" not in rest
    again = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert "sent as" not in again.stderr
    assert len(read(tmp_path / "out.jsonl")) == 8


def test_fake_serve_prints_exports_that_work(tmp_path: Path) -> None:
    """The lines set the SDKs' variables; Ctrl-C ends it."""
    command = [sys.executable, "-m", "batchfast", "fake", "serve", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    assert process.stdout is not None
    assert process.stderr is not None
    lines = [process.stdout.readline().strip() for _ in range(6)]
    variables = dict(line.removeprefix("export ").split("=", 1) for line in lines)
    assert {"OPENAI_BASE_URL", "OPENAI_API_KEY", "ANTHROPIC_BASE_URL", "GOOGLE_GEMINI_BASE_URL"} <= set(variables)
    from openai import OpenAI

    with OpenAI(base_url=variables["OPENAI_BASE_URL"], api_key=variables["OPENAI_API_KEY"]) as client:
        assert client.batches.list().data == []
    process.stderr.readline()
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode == 130


def test_fake_serve_plays_a_fault_script(tmp_path: Path) -> None:
    """The script is what goes wrong, and only while it is given: the next start on the same home plans nothing."""
    (tmp_path / "faults.toml").write_text("[[faults]]\ndoes = 'status'\nroute = 'list'\nstatus = 503\n", "utf-8")
    from openai import InternalServerError, OpenAI

    for options, fails in ((["--faults", "faults.toml"], True), ([], False)):
        command = [sys.executable, "-m", "batchfast", "fake", "serve", "--port", "0", "--words", "10", "20", *options]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
        ) as serve:
            assert serve.stdout is not None
            lines = [serve.stdout.readline().strip() for _ in range(6)]
            variables = dict(line.removeprefix("export ").split("=", 1) for line in lines)
            with OpenAI(base_url=variables["OPENAI_BASE_URL"], api_key="any", max_retries=0) as client:
                if fails:
                    with pytest.raises(InternalServerError):
                        client.batches.list()
                else:
                    assert client.batches.list().data == []
            serve.send_signal(signal.SIGINT)


def test_fake_serve_refuses_what_it_cannot_do(batchfast: Terminal, tmp_path: Path) -> None:
    """One line each, before anything listens."""
    (tmp_path / "faults.toml").write_text("[[faults]]\ndoes = 'loose'\n", "utf-8")
    code, out, err = batchfast("fake", "serve", "--faults", "faults.toml")
    assert (code, out) == (1, "")
    assert err == "batchfast: faults.toml: fault 1: unknown fault 'loose'; did you mean 'lose'?\n"
    code, _, err = batchfast("fake", "serve", "--words", "20", "10")
    assert (code, "words must be least and most, from 1 up, not (20, 10)" in err) == (2, True)
    code, _, err = batchfast("fake", "serve", "--host", "")
    assert (code, "host must name an address" in err) == (2, True)
    code, _, err = batchfast("fake", "serve", "--host", "192.0.2.1")
    assert (code, "cannot listen on 192.0.2.1" in err) == (1, True)
    (tmp_path / ".batchfast" / "fake").mkdir()
    (tmp_path / ".batchfast" / "fake" / "state.db").write_bytes(b"no database" * 100)
    code, _, err = batchfast("fake", "serve", "--port", "0")
    assert (code, "delete the folder" in err, "Traceback" in err) == (1, True, False)


# -- the output file


@pytest.mark.usefixtures("usual_interrupts")
def test_submit_warns_of_a_foreign_output_file_before_it_sends(
    batchfast: Terminal, spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is time for Ctrl-C; otherwise the rows go beside, and the file keeps its bytes."""
    (tmp_path / "out.jsonl").write_text("mine\n")
    with monkeypatch.context() as patch:
        patch.setattr("batchfast.engine.Engine.send_all", lambda _: signal.raise_signal(signal.SIGINT))
        code, _, err = batchfast("submit", spec, "--fake")
    assert (code, "will be left alone: the rows will go to" in err) == (130, True)
    code, out, _ = batchfast("submit", spec, "--fake")
    assert code == 0
    code, path, err = batchfast("watch")
    assert (code, path.strip()) == (0, str(tmp_path / f"out.{out.strip()}.jsonl"))
    assert f"({tmp_path / 'out.jsonl'} holds something else and was left alone)" in err
    assert (tmp_path / "out.jsonl").read_text() == "mine\n"


def test_submit_sends_nothing_where_the_rows_could_go_nowhere(batchfast: Terminal, spec: Path, tmp_path: Path) -> None:
    """Both names are someone else's: exit 1, and every request still waits."""
    run = json.loads(batchfast("plan", spec, "--fake", "--json")[1])["run"]
    for name in ("out.jsonl", f"out.{run}.jsonl"):
        (tmp_path / name).write_text("mine\n")
    code, out, err = batchfast("submit", spec, "--fake")
    assert (code, out) == (1, "")
    assert "nothing was sent" in err
    assert json.loads(batchfast("status", run, "--json")[1])["requests"]["waiting"] == 4


@pytest.mark.parametrize("command", ["run", "watch", "collect"])
def test_an_output_that_cannot_be_written_is_said_before_sending(
    batchfast: Terminal, spec: Path, tmp_path: Path, command: str
) -> None:
    """`-o` into what is no folder: exit 1, and every request still waits."""
    (tmp_path / "file").touch()
    spec.write_text(SPEC.replace("out.jsonl", "sub/out.jsonl"))
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "out.jsonl").write_text("mine")
    name = json.loads(batchfast("plan", spec, "--fake", "--json")[1])["run"]
    (tmp_path / "sub" / f"out.{name}.jsonl").write_text("mine")
    assert batchfast("submit", spec, "--fake")[0] == 1  # entered, and nothing sent
    subject = spec if command == "run" else name
    code, _, err = batchfast(command, subject, "--fake", "-o", tmp_path / "file" / "out.jsonl")
    assert (code, "cannot write" in err) == (1, True)
    assert json.loads(batchfast("status", name, "--json")[1])["requests"]["waiting"] == 4


def test_a_run_that_exists_checks_its_output_file_too(batchfast: Terminal, spec: Path, tmp_path: Path) -> None:
    """Its folder has become a file: said before anything is sent."""
    spec.write_text(SPEC.replace("out.jsonl", "sub/out.jsonl"))
    name = json.loads(batchfast("plan", spec, "--fake", "--json")[1])["run"]
    (tmp_path / "sub").mkdir()
    for file in ("out.jsonl", f"out.{name}.jsonl"):
        (tmp_path / "sub" / file).write_text("mine")
    assert batchfast("submit", spec, "--fake")[0] == 1
    for file in (tmp_path / "sub").iterdir():
        file.unlink()
    (tmp_path / "sub").rmdir()
    (tmp_path / "sub").touch()
    code, _, err = batchfast("collect", "latest")
    assert (code, "cannot write" in err) == (1, True)
    assert json.loads(batchfast("status", name, "--json")[1])["requests"]["waiting"] == 4


def test_output_chosen_by_hand_is_not_called_something_else(batchfast: Terminal, spec: Path, tmp_path: Path) -> None:
    """`-o` goes elsewhere because it was asked to, and says nothing of files left alone."""
    code, out, err = batchfast("run", spec, "--fake", "-o", "other.jsonl")
    assert (code, out.strip()) == (0, str(tmp_path / "other.jsonl"))
    assert "left alone" not in err
    (tmp_path / "foreign.jsonl").write_text("mine\n")
    code, out, err = batchfast("collect", "-o", "foreign.jsonl")
    assert code == 0
    assert f"({tmp_path / 'foreign.jsonl'} holds something else and was left alone)" in err
    code, out, err = batchfast("collect", "-o", "foreign.jsonl", "--force")
    assert (code, out.strip()) == (0, str(tmp_path / "foreign.jsonl"))
    assert "left alone" not in err


# -- what goes wrong around us


def _database_error(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("as SQLite says it")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (_database_error(sqlite3.SQLITE_BUSY), 3, "is in use by another program"),
        (_database_error(sqlite3.SQLITE_BUSY_SNAPSHOT), 3, "is in use by another program"),
        (_database_error(sqlite3.SQLITE_LOCKED), 3, "try again"),
        (_database_error(sqlite3.SQLITE_FULL), 1, "free space and run the same command: nothing is lost"),
        (_database_error(sqlite3.SQLITE_IOERR_WRITE), 1, "disk is full or fails"),
        (_database_error(sqlite3.SQLITE_READONLY), 1, "cannot be written"),
        (_database_error(sqlite3.SQLITE_CANTOPEN), 1, "cannot be written"),
        (_database_error(sqlite3.SQLITE_CORRUPT), 1, "is damaged"),
        (_database_error(sqlite3.SQLITE_NOTADB), 1, "restore it from a backup; raw results stay in runs/"),
        (PermissionError(errno.EACCES, "Permission denied", "/a/b"), 1, "batchfast: /a/b: Permission denied\n"),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "free space and run the same command again"),
    ],
)
def test_trouble_with_disk_or_database_is_one_line_and_no_defect(
    batchfast: Terminal, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int, said: str
) -> None:
    """What a person can mend is said so; a database in use is a matter of trying again: exit 3."""

    def fail() -> None:
        raise error

    monkeypatch.setattr("batchfast.cli.look.open_store", fail)
    got, out, err = batchfast("status")
    assert (got, out) == (code, "")
    assert said in err
    assert err.count("\n") == 1
    assert "defect" not in err


def test_the_command_for_a_damaged_database_names_the_home(
    batchfast: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As every command in a message does: it works as it stands, where the reader stands."""

    def fail(_: Store) -> None:
        raise _database_error(sqlite3.SQLITE_CORRUPT)

    Home(Path("elsewhere").absolute()).make()
    Store(Path("elsewhere/state.db")).close()
    monkeypatch.setattr(Store, "runs", fail)
    said = batchfast("status", "--home", "elsewhere")[2]
    assert f"batchfast collect RUN --home {Path('elsewhere').absolute()} --reparse -o FILE" in said


def test_a_defect_is_called_one(batchfast: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where SQLite found it; `-v` shows where."""

    def fail() -> None:
        raise sqlite3.OperationalError("no such column: x")

    monkeypatch.setattr("batchfast.cli.look.open_store", fail)
    code, _, err = batchfast("status")
    assert (code, err.count("\n"), "a defect in batchfast" in err) == (1, 1, True)
    assert "Traceback" in batchfast("status", "-v")[2]


def test_a_database_locked_by_another_program_exits_3(
    batchfast: Terminal, spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever looks at state.db with another tool, and writes, delays but breaks nothing."""
    monkeypatch.setenv("BATCHFAST_FAKE_SECONDS", "3600")
    batchfast("submit", spec, "--fake")
    from batchfast.store import Store

    opened = Store.__init__

    def impatient(store: Store, *words: Any, **named: Any) -> None:
        opened(store, *words, **named)
        store.connection.execute("PRAGMA busy_timeout = 50")

    monkeypatch.setattr(Store, "__init__", impatient)
    other = sqlite3.connect(tmp_path / ".batchfast" / "state.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        code, _, err = batchfast("cancel")
    finally:
        other.close()
    assert code == 3
    assert "in use by another program" in err


def test_a_database_that_is_locked_when_it_is_opened_needs_no_backup(
    batchfast: Terminal, spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is wrong with it: exit 3."""
    batchfast("run", spec, "--fake")
    connect = sqlite3.connect
    other = connect(tmp_path / ".batchfast" / "state.db", isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr("sqlite3.connect", lambda path, **named: connect(path, **named | {"timeout": 0.05}))
    try:
        code, _, err = batchfast("status")
    finally:
        other.close()
    assert code == 3
    assert "in use by another program" in err
    assert "backup" not in err


# -- Ctrl-C


@pytest.fixture
def usual_interrupts() -> Iterator[None]:
    """SIGINT as a person's shell leaves it, whoever started the tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def _swallowed() -> None:
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        return


def _made_another_error() -> None:
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt as exc:
        raise RuntimeError("a library's own words") from exc


class _Dying:
    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


def _lost_in_a_finalizer() -> None:
    _Dying()
    time.sleep(30)  # not really: the interrupt comes once more
    raise AssertionError


def _passed_on() -> None:
    signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("meets", [_swallowed, _made_another_error, _lost_in_a_finalizer, _passed_on])
@pytest.mark.usefixtures("usual_interrupts")
def test_ctrl_c_is_130_whatever_it_meets_on_its_way(
    batchfast: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, meets: Callable[[], None]
) -> None:
    """A library may swallow it or make its own error of it; the old handler is back afterwards."""
    from batchfast.store import Store

    def interrupted() -> Store:
        meets()
        return Store(tmp_path / "state.db")

    monkeypatch.setattr("batchfast.cli.look.open_store", interrupted)
    code, _, err = batchfast("status")
    assert code == 130
    assert err.strip() == "batchfast: interrupted; nothing is lost: the same command continues"


# -- what to type next


def _real(monkeypatch: pytest.MonkeyPatch, fake: FakeServer, openai_key: str = "k") -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", fake.base_urls["openai"])
    monkeypatch.setenv("ANTHROPIC_BASE_URL", fake.base_urls["anthropic"])
    monkeypatch.setenv("OPENAI_API_KEY", openai_key)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")


def test_a_held_run_exits_1_and_says_what_to_do(
    batchfast: Terminal, spec: Path, fake: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of `submit`, `collect`, `watch` and `run` alike; no word of waiting, and it goes on once the key is mended."""
    _real(monkeypatch, fake, openai_key="bad-one")
    code, out, err = batchfast("submit", spec)
    run = out.strip()
    said = (f"batchfast: run {run} is held: bad key", f"mend that, then: batchfast collect {run}\n")
    assert code == 1
    assert all(line in err for line in said)
    assert "next:" not in err
    assert "cron" not in err
    status = json.loads(batchfast("status", run, "--json")[1])
    assert (status["state"], status["next_command"]) == ("held", f"batchfast collect {run}")
    for words in (["collect"], ["watch"], ["run", spec]):
        code, _, err = batchfast(*words)
        assert code == 1
        assert all(line in err for line in said)
    monkeypatch.setenv("OPENAI_API_KEY", "good")
    assert batchfast("watch")[0] == 0


def test_commands_to_type_next_name_a_home_that_would_not_be_found(
    batchfast: Terminal, spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the lines of `submit` and in errors; not where the current folder leads there."""
    monkeypatch.setenv("BATCHFAST_FAKE_SECONDS", "3600")
    home = tmp_path / "my home"
    option = f"--home {shlex.quote(str(home))}"
    _, out, err = batchfast("submit", spec, "--fake", "--home", home)
    run = out.strip()
    assert f"next: batchfast watch {run} {option} " in err
    assert f"batchfast collect {run} {option})" in err
    assert f"batchfast collect {run} {option} " in batchfast("submit", spec, "--fake", "--home", home)[2]
    monkeypatch.setenv("BATCHFAST_HOME", str(home))
    code, _, err = batchfast("collect")
    assert (code, f"batchfast watch {run} {option}" in err) == (3, True)
    assert f"next: batchfast watch {run} {option}" in batchfast("status")[1]
    assert f"see: batchfast status {option}" in batchfast("status", "nothing")[2]
    monkeypatch.delenv("BATCHFAST_HOME")
    assert "--home" not in batchfast("submit", spec, "--fake")[2]


def test_the_cron_line_works_as_it_stands(
    batchfast: Terminal, tmp_path: Path, fake: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """cron knows no PATH and no current folder, and takes % for a newline."""
    _real(monkeypatch, fake)
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:9")
    folder = tmp_path / "50% of it"
    folder.mkdir()
    (folder / "spec.toml").write_text(SPEC)
    program = tmp_path / "bin dir" / "batchfast"
    program.parent.mkdir()
    program.touch()
    monkeypatch.setattr(sys, "argv", [str(program)])
    code, out, err = batchfast("submit", folder / "spec.toml")
    run, place = out.strip(), shlex.quote(str(folder)).replace("%", r"\%")
    assert code == 0
    assert f"*/15 * * * *  cd {place} && {shlex.quote(str(program))} collect {run}\n" in err
    other = tmp_path / "other"
    monkeypatch.setattr(sys, "argv", ["-c"])
    _, out, err = batchfast("submit", folder / "spec.toml", "--home", other)
    assert f"cd {place} && batchfast collect {out.strip()} --home {other}\n" in err


def test_cancel_says_which_batches_it_could_not_reach(
    batchfast: Terminal, spec: Path, fake: FakeServer, plan: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 1 with their ids and the command to repeat, which then reaches them."""
    _real(monkeypatch, fake)
    plan(Fault("stick"), Fault("status", provider="openai", route="cancel", status=429, nth=1))
    run = batchfast("submit", spec)[1].strip()
    missed = json.loads(batchfast("status", "latest", "--json")[1])["batches"][0]["remote_id"]
    code, _, err = batchfast("cancel")
    assert code == 1
    assert f"could not be cancelled yet: {missed}; try again: batchfast cancel {run}\n" in err
    code, _, err = batchfast("cancel")
    assert (code, "could not" in err) == (0, False)


# -- homes and runs


def test_commands_about_runs_make_no_home(batchfast: Terminal, tmp_path: Path) -> None:
    """Where there is none they say so, and leave nothing behind."""
    for words in (["collect"], ["watch"], ["cancel"], ["show", 0], ["status"]):
        code, out, err = batchfast(*words)
        assert (code, out) == (1, "")
        assert "no home at" in err
    assert not (tmp_path / ".batchfast").exists()


def test_a_home_without_runs_says_so(batchfast: Terminal, spec: Path, tmp_path: Path) -> None:
    """`compile` makes a home, and no run."""
    batchfast("compile", spec, "-o", tmp_path / "files")
    assert batchfast("status")[:2] == (0, "no runs yet\n")
    assert batchfast("status", "--json")[:2] == (0, "[]\n")
    assert batchfast("status", "--fake")[0] == 0


def test_status_json_is_a_list_of_runs_or_the_run_that_was_named(batchfast: Terminal, spec: Path) -> None:
    """Its shape depends on the command line, never on how many runs there are."""
    for number in (1, 2):
        batchfast("run", spec, "--fake", *(["--again", "-o", "again.jsonl"] if number == 2 else []))
        listed = json.loads(batchfast("status", "--json")[1])
        assert len(listed) == number
        assert json.loads(batchfast("status", "latest", "--json")[1]) == listed[0]


def test_fake_without_a_fake_run_is_said(
    batchfast: Terminal, spec: Path, fake: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A forgotten BATCHFAST_FAKE is named."""
    _real(monkeypatch, fake)
    run = batchfast("submit", spec)[1].strip()
    monkeypatch.setenv("BATCHFAST_FAKE", "1")
    code, _, err = batchfast("collect")
    assert code == 1
    assert "no fake runs in" in err
    assert "BATCHFAST_FAKE is set" in err
    assert "unset BATCHFAST_FAKE" in batchfast("collect", run)[2]


def test_the_home_comes_from_the_environment_and_runs_may_be_shortened(
    batchfast: Terminal, spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`BATCHFAST_HOME`; any unambiguous beginning of an id; an ambiguous one names the runs."""
    monkeypatch.setenv("BATCHFAST_HOME", str(tmp_path / "elsewhere"))
    batchfast("run", spec, "--fake")
    assert (tmp_path / "elsewhere" / "state.db").is_file()
    assert not (tmp_path / ".batchfast").exists()
    run = json.loads(batchfast("status", "latest", "--json")[1])["run"]
    assert json.loads(batchfast("status", run[:9], "--json")[1])["run"] == run
    batchfast("run", spec, "--fake", "--again", "-o", "again.jsonl")
    assert json.loads(batchfast("status", run, "--json")[1])["run"] == run
    code, _, err = batchfast("status", run[:9])
    assert (code, "is ambiguous" in err, f"{run}-2" in err) == (1, True, True)
    assert "several runs" in batchfast("collect")[2]


def test_a_home_is_closed_to_others(tmp_path: Path) -> None:
    """Mode 700, also where the folder was there before; a folder that all users share is refused."""
    (tmp_path / "home").mkdir(mode=0o755)
    assert Home(tmp_path / "home").make().path.stat().st_mode & 0o777 == 0o700
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o1777)
    code = execute(["--home", str(tmp_path / "shared"), "fake", "serve", "--port", "0"])
    assert (code, list((tmp_path / "shared").iterdir())) == (1, [])


# -- collect


def test_collect_no_send_spends_nothing(batchfast: Terminal, spec: Path, fake: FakeServer, plan: Callable[..., None],
                                        monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """What waits is left waiting, and nothing moves by itself: exit 3 until it may be sent."""
    _real(monkeypatch, fake)
    plan(Fault("status", provider="openai", route="create", status=429, retry_after=0.01, nth=1))
    batchfast("submit", spec)
    code, _, err = batchfast("collect", "--no-send")
    assert (code, "2 of 4 requests are still open" in err) == (3, True)
    ledger = json.loads(batchfast("status", "latest", "--json")[1])["requests"]
    assert (ledger["succeeded"], ledger["waiting"]) == (2, 2)
    assert batchfast("watch")[0] == 0


def test_collect_partial_writes_what_is_settled(
    batchfast: Terminal, spec: Path, tmp_path: Path, fake: FakeServer, plan: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Beside the dataset, which does not appear before its time."""
    _real(monkeypatch, fake)
    plan(Fault("stick", provider="openai"))
    batchfast("submit", spec)
    code, _, err = batchfast("collect", "--partial")
    assert (code, "wrote 4 rows to" in err) == (3, True)
    assert len(read(tmp_path / "out.partial.jsonl")) == 4
    assert not (tmp_path / "out.jsonl").exists()


# -- looking


def test_odd_numbers_are_wrong_command_lines(batchfast: Terminal) -> None:
    """A digit that is no decimal, seconds that are no number: exit 2."""
    for words in (["show", "\u00b2"], ["show", "latest", "\u0663"]):
        assert batchfast(*words)[0] == 2
    for seconds in ("nan", "inf", "-1"):
        code, _, err = batchfast("fake", "serve", "--batch-seconds", seconds)
        assert (code, "batch-seconds" in err) == (2, True)


def test_parse_names_a_missing_file_and_blames_no_file_for_a_closed_pipe(batchfast: Terminal, tmp_path: Path) -> None:
    """Who reads us may go: exit 1 without a word about the input."""
    code, _, err = batchfast("parse", "--provider", "openai", tmp_path / "none.jsonl")
    assert code == 1
    assert f"cannot read {tmp_path / 'none.jsonl'}: No such file or directory; name a result file" in err
    file = tmp_path / "results.jsonl"
    file.write_text('{"custom_id": "a", "result": {"type": "expired"}}\n' * 20_000)
    command = [sys.executable, "-m", "batchfast", "parse", "--provider", "anthropic", str(file)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    process.stdout = None
    assert (process.communicate()[1], process.returncode) == ("", 1)


def test_no_answer_costs_nothing(
    batchfast: Terminal, spec: Path, fake: FakeServer, plan: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which is known, and not "unknown"."""
    _real(monkeypatch, fake)
    plan(Fault("error", status=400))
    batchfast("submit", spec)
    assert "spent: nothing yet" in batchfast("status")[1]
    code, _, err = batchfast("watch")
    assert (code, "cost: nothing\n" in err) == (1, True)
    assert "spent: nothing\n" in batchfast("status")[1]
    assert money(cost([]) | {"unpriced": 1}) == "unknown, 1 answer without a known price"


def test_the_table_of_a_run_fits_the_terminal(batchfast: Terminal, spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long ids are shortened on a terminal only; whoever pipes gets them whole."""
    batchfast("run", spec, "--fake")
    status = json.loads(batchfast("status", "latest", "--json")[1])
    status["batches"][0]["note"] = "something long enough to be cut " * 2
    ids = [batch["remote_id"] for batch in status["batches"]]
    assert all(name in run_view(status) for name in ids)
    narrow = run_view(status, 100)
    assert max(len(line) for line in narrow.split("\n")) <= 100
    assert all(name[:7] in narrow for name in ids)
    monkeypatch.setenv("COLUMNS", "90")
    assert all(name in batchfast("status")[1] for name in ids)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert max(len(line) for line in batchfast("status")[1].split("\n")[4:-2]) <= 90


def test_one_is_singular(batchfast: Terminal, spec: Path) -> None:
    """1 request in 1 file, 1 row."""
    one = SPEC.split('[[providers]]\nprovider = "anthropic"')[0].replace('"Tides", ', "")
    spec.write_text(one.replace("num_samples_per_prompt = 2", "num_samples_per_prompt = 1"))
    assert "1 request, 1 row expected" in batchfast("plan", spec)[1]
    err = batchfast("submit", spec, "--fake")[2]
    assert ": 1 request in 1 file\n" in err
    assert "sent: 1 request in 1 batch;" in err
    assert "1 row in" in batchfast("watch")[2]


# -- where a person, or a script, reads along


def test_json_names_commands_that_work_from_anywhere(
    batchfast: Terminal, spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the home that a command typed elsewhere would not find by itself: status, submit and collect."""
    monkeypatch.setenv("BATCHFAST_FAKE_SECONDS", "3600")
    home = tmp_path / "elsewhere"
    for words in (("submit", spec, "--fake"), ("status", "latest"), ("collect", "latest"), ("status",)):
        _, out, _ = batchfast(*words, "--home", home, "--json")
        answer = json.loads(out)
        answer = answer[0] if isinstance(answer, list) else answer
        assert answer["next_command"].endswith(f"--home {home}")


def test_every_json_answer_is_json(batchfast: Terminal, spec: Path, tmp_path: Path) -> None:
    """Also of commands whose answer is a path, or nothing; one value a line."""
    for words in (
        ("init", tmp_path / "new.toml"),
        ("plan", spec),
        ("compile", spec, "-o", tmp_path / "files"),
        ("submit", spec, "--fake"),
        ("cancel",),
        ("collect",),
        ("watch",),
        ("show", "0"),
        ("status",),
        ("clean",),
        ("doctor", "--fake"),
    ):
        _, out, _ = batchfast(*words, "--json")
        assert out, words
        assert [json.loads(line) for line in out.splitlines()], words


@pytest.mark.parametrize("name", ["", "a\udcff.jsonl"])
def test_an_output_name_that_cannot_be_recorded_is_refused_before_anything_is_sent(
    batchfast: Terminal, spec: Path, tmp_path: Path, name: str
) -> None:
    """A wrong command line, exit 2; and no home is made."""
    code, _, err = batchfast("run", spec, "--fake", "-o", name)
    assert (code, "no name of a file" in err) == (2, True)
    assert not (tmp_path / ".batchfast").exists()


def test_a_spec_in_a_folder_whose_name_is_no_text(batchfast: Terminal, tmp_path: Path) -> None:
    """The dataset's path could not be recorded: one clear line, nothing sent."""
    folder = tmp_path / "a\udcff"
    folder.mkdir()
    (folder / "spec.toml").write_text(SPEC, encoding="utf-8")
    code, _, err = batchfast("run", folder / "spec.toml", "--fake", "--home", tmp_path / "home")
    assert (code, "not UTF-8" in err, "defect" in err) == (1, True, False)


def test_without_a_stdout_nothing_is_a_defect(batchfast: Terminal, spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`batchfast status >&-`: Python then has None in its place."""
    batchfast("run", spec, "--fake")
    monkeypatch.setattr("sys.stdout", None)
    for words in (("status",), ("doctor", "--fake")):
        assert execute([*words]) == 0


def test_no_color_is_honoured(spec: Path) -> None:
    """Also on a terminal."""
    outputs = []
    for colour in ("", "1"):
        here, there = pty.openpty()
        environment = {**os.environ, "NO_COLOR": colour, "TERM": "xterm"}
        command = [sys.executable, "-m", "batchfast", "doctor", "--fake"]
        subprocess.run(command, cwd=spec.parent, env=environment, stdout=there, check=True)
        os.close(there)
        outputs.append(os.read(here, 65_536))
        os.close(here)
    assert b"\x1b[" in outputs[0]
    assert b"\x1b[" not in outputs[1]


def test_a_process_that_is_refused_changes_nothing(
    batchfast: Terminal, spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings of the spec are taken over by whoever holds the run, not by who was told to wait."""
    monkeypatch.setenv("BATCHFAST_FAKE_SECONDS", "3600")
    _, out, _ = batchfast("submit", spec, "--fake")
    spec.write_text(SPEC.replace('"out.jsonl"', '"other.jsonl"'), encoding="utf-8")
    home = Home(tmp_path / ".batchfast")
    with run_lock(home, out.strip(), SystemClock()):
        assert batchfast("run", spec, "--fake")[0] == 3
        assert batchfast("collect")[0] == 3
        with Store(home.database) as store:
            assert store.runs()[0].output_file == str(tmp_path / "out.jsonl")
    assert batchfast("collect")[0] == 3
    with Store(home.database) as store:
        assert store.runs()[0].output_file == str(tmp_path / "other.jsonl")


def test_off_a_terminal_the_deadline_is_said_once(
    batchfast: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`nohup batchfast run ...` waits for hours: whoever looks at its output finds until when it may."""
    monkeypatch.setenv("BATCHFAST_FAKE_SECONDS", "1")
    path = tmp_path / "spec.toml"
    path.write_text(SPEC)
    _, _, err = batchfast("run", path, "--fake")
    assert err.count("collect by: ") == 1
