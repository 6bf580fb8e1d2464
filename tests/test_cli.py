"""The command line as a person types it: exit codes, what goes where, and one clear line for what is wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from batchfast.cli import cli, execute
from batchfast.fake import FakeServer
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
    for line in process.stderr:
        if "sent as msgbatch" in line:
            process.send_signal(signal.SIGINT)
            break
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
