"""The fake as a whole: one folder, several servers, its clock and what it remembers."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anthropic
import httpx2
import pytest

from batchfast.fake import AcceptedBatch, FakeServer, Fault

KEYS = {"x-api-key": "k", "authorization": "Bearer k", "anthropic-version": "2023-06-01"}
PARAMS = {"model": "claude-haiku-4-5", "max_tokens": 900, "messages": [{"role": "user", "content": "About snow."}]}


@contextmanager
def served(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process of its own that serves a folder, killed at the end, and its URL."""
    code = (
        "import sys, time; from pathlib import Path; from batchfast.fake import FakeServer;"
        "fake = FakeServer(Path(sys.argv[1]), batch_seconds=0).start(); print(fake.url, flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", code, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def create(server: FakeServer, count: int = 3) -> str:
    body = {"requests": [{"custom_id": f"r{n}", "params": PARAMS} for n in range(count)]}
    url = server.base_urls["anthropic"] + "/v1/messages/batches"
    return str(httpx2.post(url, headers=KEYS, json=body).json()["id"])


def status(server: FakeServer, batch_id: str) -> str:
    url = f"{server.base_urls['anthropic']}/v1/messages/batches/{batch_id}"
    return str(httpx2.get(url, headers=KEYS).json()["processing_status"])


def results(server: FakeServer, batch_id: str) -> bytes:
    url = f"{server.base_urls['anthropic']}/v1/messages/batches/{batch_id}/results"
    return httpx2.get(url, headers=KEYS).content


def test_submit_tonight_collect_tomorrow(tmp_path: Path) -> None:
    """A server stopped and started again on its folder knows its batches, their seed and its plan."""
    with FakeServer(tmp_path, batch_seconds=3600, seed=1) as tonight:
        tonight.plan(fault := Fault("duplicate", custom_id="r0"))
        batch_id = create(tonight)
        tonight.advance(hours=2)
        expected = results(tonight, batch_id)
    with FakeServer(tmp_path, seed=2) as tomorrow:
        assert status(tomorrow, batch_id) == "ended"
        assert results(tomorrow, batch_id) == expected
        assert tomorrow.fired(fault) == 1


def test_two_servers_on_one_folder_agree(tmp_path: Path) -> None:
    """Batches, cancels, time and results made by one are seen by the other, byte for byte."""
    with FakeServer(tmp_path, batch_seconds=100) as one, FakeServer(tmp_path, batch_seconds=5) as other:
        batch_id = create(one, 10)
        other.advance(seconds=52.5)
        url = f"{other.base_urls['anthropic']}/v1/messages/batches/{batch_id}/cancel"
        assert httpx2.post(url, headers=KEYS).json()["processing_status"] == "canceling"
        assert status(one, batch_id) == "canceling"
        one.finish(batch_id)
        assert one.batches("anthropic") == other.batches("anthropic") == [AcceptedBatch(batch_id, 10, "cancelled")]
        assert results(other, batch_id) == results(one, batch_id)


def test_killed_server_leaves_a_folder_that_works(tmp_path: Path) -> None:
    """SIGKILL after an accepted batch loses nothing."""
    with served(tmp_path) as (process, url):
        body = {"requests": [{"custom_id": "a", "params": PARAMS}]}
        batch_id = httpx2.post(f"{url}/anthropic/v1/messages/batches", headers=KEYS, json=body).json()["id"]
        process.kill()
    with FakeServer(tmp_path) as again:
        assert json.loads(results(again, batch_id))["custom_id"] == "a"


def test_clock_is_a_parameter() -> None:
    """With batch_seconds 0 a batch is over at the first look, even if the clock stands still."""
    with FakeServer(batch_seconds=0, clock=lambda: 1_800_000_000.0) as server:
        batch_id = create(server)
        url = f"{server.base_urls['anthropic']}/v1/messages/batches/{batch_id}"
        batch = httpx2.get(url, headers=KEYS).json()
        assert (batch["processing_status"], batch["ended_at"]) == ("ended", "2027-01-15T08:00:00.000000+00:00")


def test_finish_ends_one_batch_and_finish_all_every(tmp_path: Path) -> None:
    """Each batch has its own end; an unknown id is an error."""
    with FakeServer(tmp_path, batch_seconds=1000) as server:
        first, second = create(server), create(server)
        server.finish(first)
        assert [one.state for one in server.batches("anthropic")] == ["validating", "completed"]
        server.finish_all()
        assert status(server, second) == "ended"
        with pytest.raises(KeyError):
            server.finish("msgbatch_none")


def test_unknown_routes_are_501_and_remembered() -> None:
    """A path no service has, and a method a path does not have."""
    with FakeServer() as server:
        response = httpx2.get(server.base_urls["openai"] + "/assistants", headers=KEYS)
        assert response.status_code == 501 and "GET /openai/v1/assistants" in response.text
        httpx2.put(server.base_urls["openai"] + "/batches", headers=KEYS)
        assert server.unknown_routes == ["GET /openai/v1/assistants", "PUT /openai/v1/batches"]
        server.reset()
        assert server.unknown_routes == []


def test_errors_inside_are_remembered(tmp_path: Path) -> None:
    """An exception in the fake is a 500 to the client and kept for the test."""
    with FakeServer(tmp_path, batch_seconds=0) as server:
        batch_id = create(server)
        for path in (tmp_path / "files").iterdir():
            path.unlink()
        url = f"{server.base_urls['anthropic']}/v1/messages/batches/{batch_id}"
        assert httpx2.get(url, headers=KEYS).status_code == 500
        assert [type(error) for error in server.errors] == [FileNotFoundError]


def test_calls_are_counted_by_route() -> None:
    """Each call to a known route is there with provider, route, method and path."""
    with FakeServer() as server:
        create(server)
        assert server.calls == [("anthropic", "create", "POST", "/anthropic/v1/messages/batches")]


def test_environment_points_the_sdks_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the variables set an SDK needs no argument."""
    with FakeServer() as server:
        for name, value in server.env.items():
            monkeypatch.setenv(name, value)
        with anthropic.Anthropic() as client:
            assert client.messages.batches.list().data == []
        assert set(server.env) == {
            "OPENAI_BASE_URL", "OPENAI_API_KEY", "ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY", "GOOGLE_GEMINI_BASE_URL",
            "GEMINI_API_KEY",
        }  # fmt: skip


def test_temporary_folder_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a folder nothing stays behind; a stopped server says so when used."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    server = FakeServer().start()
    assert len(list(temporary.iterdir())) == 1
    with pytest.raises(RuntimeError):
        server.start()
    server.stop()
    server.stop()
    assert list(temporary.iterdir()) == []
    with pytest.raises(RuntimeError):
        _ = server.url


def test_import_loads_no_server() -> None:
    """batchfast.fake can be imported by anyone at no cost."""
    code = "import sys, batchfast.fake; print({'uvicorn', 'starlette', 'faker'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "set()\n"


def test_large_body_is_read_piece_by_piece(tmp_path: Path) -> None:
    """A create call larger than what is read at once is taken apart at the right places."""
    params = {**PARAMS, "messages": [{"role": "user", "content": 'snow, 雪 and "quotes" \\ ' * 40}]}
    body = {"before": [1, {"a": 2}], "requests": [{"custom_id": f"r{n}", "params": params} for n in range(3000)]}
    with FakeServer(tmp_path, batch_seconds=0) as server:
        url = server.base_urls["anthropic"] + "/v1/messages/batches"
        raw = json.dumps(body, ensure_ascii=False, indent=1).encode()
        assert len(raw) > 3 << 20
        batch = httpx2.post(url, headers=KEYS, content=raw).json()
        assert batch["request_counts"]["processing"] == 3000
        broken = httpx2.post(url, headers=KEYS, content=raw[:-20])
        assert broken.status_code == 400


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_hundred_thousand_requests_in_one_batch(tmp_path: Path) -> None:
    """Under 500 MB, from create to the last result."""
    template = {**PARAMS, "messages": [{"role": "user", "content": "Write 1 text about snow. " + "context " * 100}]}
    requests = (json.dumps({"custom_id": f"r{n}", "params": template}) for n in range(100_000))
    body = f'{{"requests":[{",".join(requests)}]}}'.encode()
    with served(tmp_path) as (process, url):
        batches = f"{url}/anthropic/v1/messages/batches"
        batch_id = httpx2.post(batches, headers=KEYS, content=body, timeout=600).json()["id"]
        counts = httpx2.get(f"{batches}/{batch_id}", headers=KEYS, timeout=600).json()["request_counts"]
        lines = httpx2.get(f"{batches}/{batch_id}/results", headers=KEYS, timeout=600).content.count(b"\n")
        peak_kb = int(Path(f"/proc/{process.pid}/status").read_text().split("VmHWM:")[1].split()[0])
    assert counts["succeeded"] == lines == 100_000
    assert peak_kb < 500_000
