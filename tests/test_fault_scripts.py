"""The fault scripts in examples/faults: what a plain SDK user sees, and what a run of batchfast makes of it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import openai
import pytest

from batchfast.errors import ConfigError
from batchfast.fake import FakeServer, Fault, read_faults
from tests.helpers import provider, read, session, spec

SCRIPTS = Path(__file__).resolve().parents[1] / "examples" / "faults"
NAMES = sorted(path.stem for path in SCRIPTS.glob("*.toml"))
CREATE = """
import sys, openai
client = openai.OpenAI(base_url=sys.argv[1], api_key="any", max_retries=0)
file = client.files.create(file=("a.jsonl", sys.argv[2].encode()), purpose="batch")
print("uploaded", flush=True)
client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
print("created", flush=True)
"""


@pytest.fixture
def client(fake: FakeServer) -> openai.OpenAI:
    return openai.OpenAI(base_url=fake.base_urls["openai"], api_key="any", max_retries=0)


def play(fake: FakeServer, name: str) -> list[Fault]:
    fake.plan(*(faults := read_faults(SCRIPTS / f"{name}.toml")))
    return faults


def lines(count: int = 6) -> str:
    body = {"model": "gpt-4.1-mini", "messages": [{"role": "user", "content": "About snow."}]}
    made = [
        {"custom_id": f"row-{n}-1", "method": "POST", "url": "/v1/chat/completions", "body": body} for n in range(count)
    ]
    return "\n".join(map(json.dumps, made))


def submit(client: openai.OpenAI) -> openai.types.Batch:
    file = client.files.create(file=("a.jsonl", lines().encode()), purpose="batch")
    return client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")


def ended(client: openai.OpenAI) -> openai.types.Batch:
    return client.batches.retrieve(submit(client).id)


def found(client: openai.OpenAI, file_id: str | None) -> list[dict[str, Any]]:
    return [json.loads(line) for line in client.files.content(file_id or "").read().splitlines()]


def names(results: list[dict[str, Any]]) -> list[str]:
    return [line["custom_id"] for line in results]


IN_ORDER = [f"row-{n}-1" for n in range(6)]


def test_lost_create_response(fake: FakeServer, client: openai.OpenAI) -> None:
    """The create fails, and yet there is a batch."""
    play(fake, "lost_create_response")
    with pytest.raises(openai.APIConnectionError):
        submit(client)
    assert len(client.batches.list().data) == 1


def test_orphaned_by_a_crash(fake: FakeServer, client: openai.OpenAI) -> None:
    """The process is killed while it waits for the answer: the batch is there, its id was never written down."""
    play(fake, "orphaned_by_a_crash")
    command = [sys.executable, "-c", CREATE, fake.base_urls["openai"], lines()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "uploaded\n"
        while not client.batches.list().data:
            pass
        process.kill()
        assert process.stdout.read() == ""
    assert process.returncode == -signal.SIGKILL
    assert len(fake.batches("openai")) == 1


def test_one_rejected_row(fake: FakeServer, client: openai.OpenAI) -> None:
    """One line in the error file, all others in the output file."""
    play(fake, "one_rejected_row")
    batch = ended(client)
    assert names(found(client, batch.error_file_id)) == ["row-3-1"]
    assert names(found(client, batch.output_file_id)) == [name for name in IN_ORDER if name != "row-3-1"]


def test_errors_only_in_the_error_file(fake: FakeServer, client: openai.OpenAI) -> None:
    """Completed, without an output file."""
    play(fake, "errors_only_in_the_error_file")
    batch = ended(client)
    assert (batch.status, batch.output_file_id) == ("completed", None)
    assert names(found(client, batch.error_file_id)) == IN_ORDER


def test_expired_with_partial_results(fake: FakeServer, client: openai.OpenAI) -> None:
    """What was answered in time is in the output file of an expired batch."""
    play(fake, "expired_with_partial_results")
    batch = ended(client)
    assert batch.status == "expired"
    assert len(found(client, batch.output_file_id)) == len(found(client, batch.error_file_id)) == 3


def test_network_error_while_polling(fake: FakeServer, client: openai.OpenAI) -> None:
    """Two polls break; the batch is unharmed."""
    play(fake, "network_error_while_polling")
    batch = ended(client)
    for _ in range(2):
        with pytest.raises(openai.APIConnectionError):
            client.batches.retrieve(batch.id)
    assert client.batches.retrieve(batch.id).status == "completed"


def test_permanently_failing_row(fake: FakeServer, client: openai.OpenAI) -> None:
    """It fails in every batch it is sent in."""
    play(fake, "permanently_failing_row")
    for _ in range(2):
        assert [one["response"]["status_code"] for one in found(client, ended(client).error_file_id)] == [500]


def test_results_out_of_order(fake: FakeServer, client: openai.OpenAI) -> None:
    """The same lines in another order."""
    play(fake, "results_out_of_order")
    came = names(found(client, ended(client).output_file_id))
    assert came != IN_ORDER and sorted(came) == IN_ORDER


def test_missing_result_row(fake: FakeServer, client: openai.OpenAI) -> None:
    """The counts say six, the file holds five."""
    play(fake, "missing_result_row")
    batch = ended(client)
    assert batch.request_counts is not None and batch.request_counts.completed == 6
    assert names(found(client, batch.output_file_id)) == [name for name in IN_ORDER if name != "row-3-1"]


def test_no_files_at_all(fake: FakeServer, client: openai.OpenAI) -> None:
    """Completed, and nothing to download."""
    play(fake, "no_files_at_all")
    batch = ended(client)
    assert (batch.status, batch.output_file_id, batch.error_file_id) == ("completed", None, None)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "orphaned_by_a_crash"])
def test_a_run_comes_through(fake: FakeServer, tmp_path: Path, name: str) -> None:
    """Each request ends in exactly one outcome, nothing is bought twice that was answered, and every fault fired."""
    play(fake, name)
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(provider("openai"), topics=6), fake=True)
        with home.work(run) as engine:
            engine.send_all()
            progress = engine.drive()
            written = home.settle(engine.ctx, progress)
    ledger = progress.ledger
    lost = {"one_rejected_row": 1, "permanently_failing_row": 1, "errors_only_in_the_error_file": 6}.get(name, 0)
    assert (ledger.succeeded, ledger.failed, ledger.total) == (6 - lost, lost, 6)
    assert written is not None and len(read(written.path)) == 2 * (6 - lost)
    bought_again = {"missing_result_row": 1, "no_files_at_all": 6}.get(name, 0)
    assert fake.ledger()["openai"]["requests"]["succeeded"] == 6 - lost + bought_again
    assert fake.unfired() == []


def test_a_script_is_checked(tmp_path: Path) -> None:
    """One line says which fault of which file is wrong, and what was probably meant."""
    script = tmp_path / "faults.toml"
    wrong = {
        "[[faults]]\ndoes = 'lose'\n[[faults]]\ndoes = 'los'": "fault 2: unknown fault 'los'; did you mean 'lose'?",
        "[[faults]]\ndoes = 'lose'\nprovidr = 'openai'": "fault 1: unknown key 'providr'; did you mean 'provider'?",
        "[[faults]]\ndoes = 'lose'\nprovider = 'opneai'": "unknown provider 'opneai'; did you mean 'openai'?",
        "[[faults]]\ndoes = 'lose'\nroute = 'creat'": "unknown route 'creat'; did you mean 'create'?",
        "[[faults]]\nroute = 'create'": "fault 1: the key 'does' is missing",
        "[[faults]]\ndoes = 'lose'\nshare = 0.5": "'lose' makes no use of 'share'",
        "[[faults]]\ndoes = 'error'\nshare = 'half'": "share must be a number, not 'half'",
        "[[faults]]\ndoes = 'error'\nshare = 2": "share must lie above 0 and at most at 1, not 2",
        "[[faults]]\ndoes = 'error'\nnth = 1.5": "nth must be a whole number, not 1.5",
        "[[faults]]\ndoes = 'error'\ncustom_id = '('": "custom_id '(' is no regular expression",
        "[[faults]]\ndoes = 'error'\nnth = 0": "nth counts from 1, not 0",
        "[[faults]]\ndoes = 'error'\nnth = []": "nth counts from 1, not ()",
        "[[faults]]\ndoes = 'error'\nshare = 0": "share must lie above 0",
        "[[faults]]\ndoes = 'status'\nstatus = 99": "99 is no status of an answer with a body",
        "[[faults]]\ndoes = 'status'\nstatus = 204": "204 is no status",
        "[[faults]]\ndoes = 'status'\nstatus = 0": "0 is no status",
        "[[faults]]\ndoes = 'queue'\nnth = 2": "'queue' makes no use of 'nth'",
        "[[faults]]\ndoes = 'fail'\nprovider = 'anthropic'": "a batch at anthropic cannot fail as a whole",
        "[[faults]]\ndoes = 'lose'\nprovider = 'openai'\nroute = 'delete'": "openai has no route 'delete'",
        "[[faults]]\ndoes = 'lag'\nroute = 'create'": "only lists lag, not 'create'",
        "[[fault]]\ndoes = 'lose'": "unknown key 'fault'; a fault script is a list of tables [[faults]]",
        "faults = 3": "a fault script is a list of tables [[faults]]",
        "faults = [3]": "fault 1: not a table",
        "[[faults": "not a fault script in TOML",
        "": "a fault script is a list of tables",
    }
    for text, message in wrong.items():
        script.write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError) as caught:
            read_faults(script)
        assert str(caught.value).startswith(f"{script}: ")
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="cannot read the fault script"):
        read_faults(tmp_path / "absent.toml")


def test_the_same_in_three_spellings() -> None:
    """A file, its text and a mapping say the same."""
    path = SCRIPTS / "network_error_while_polling.toml"
    fault = Fault("lose", route="poll", nth=(2, 3))
    assert read_faults(path) == read_faults(path.read_text(encoding="utf-8")) == [fault]
    assert read_faults(fault.as_dict()) == read_faults({"faults": [fault.as_dict()]}) == [fault]


def test_equal_faults_are_one_whatever_the_number_is_written_as(fake: FakeServer) -> None:
    """1 and 1.0 are the same second."""
    fake.plan(Fault("delay", route="cancel", seconds=1))
    assert fake.fired(Fault("delay", route="cancel", seconds=1.0)) == 0
