"""The proxy and the plugin under which the SDKs' own tests run. The tests themselves are run by .ci/sdk-suites."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from batchfast.fake import FakeServer
from tests.sdk_suites.proxy import SeedingProxy
from tests.sdk_suites.tables import MODULES, PLACEHOLDERS, Placeholder, Seed

KEYS = {"authorization": "Bearer any", "x-api-key": "any", "anthropic-version": "2023-06-01"}
BATCH = {"endpoint": "/v1/responses", "completion_window": "24h"}


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[FakeServer]:
    with FakeServer(tmp_path / "slow", batch_seconds=3600) as server:
        yield server
        assert not server.errors


@pytest.fixture
def proxy(slow: FakeServer) -> Iterator[SeedingProxy]:
    with SeedingProxy(slow) as proxy:
        yield proxy


@pytest.fixture
def gpt(proxy: SeedingProxy) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=proxy.base_urls["openai"], api_key="any") as client:
        yield client


def send(fake: FakeServer, base_url: str, one: Placeholder) -> Any:
    """The call of a placeholder. Returns the answer's JSON; None if it is refused, or if the batch it makes fails."""
    method, _, path = one.call.partition(" ")
    where, _, name = one.where.partition(" ")
    url = base_url.partition("/" + one.call.split("/")[1])[0] + path
    if where == "body":
        made = httpx2.request(method, url, headers=KEYS, json={**BATCH, name: one.written})
        fake.finish_all()
        batch = httpx2.get(f"{url}/{made.json()['id']}", headers=KEYS).json()
        return None if batch["status"] == "failed" else batch
    # The order is the one in the SDK's test; lists without such a parameter do not mind it.
    query = {"order": "asc", name: one.written} if where == "query" else {}
    answer = httpx2.request(method, url, headers=KEYS, params=query)
    return answer.json() if answer.is_success else None


@pytest.mark.parametrize("one", PLACEHOLDERS, ids=lambda one: f"{one.call} {one.where}")
def test_placeholder_is_taken_through_the_proxy_only(one: Placeholder, slow: FakeServer, proxy: SeedingProxy) -> None:
    """The fake itself refuses every value in the table, or finds nothing by it: an entry that hides nothing goes."""
    service = one.call.split("/")[1]
    proxy.seed()
    plain = send(slow, slow.base_urls[service], one)
    assert plain is None or plain["data"] == []
    assert one not in proxy.used
    proxy.seed()
    meant = send(slow, proxy.base_urls[service], one)
    assert meant is not None
    assert meant.get("data") != []
    assert one in proxy.used


def test_placeholder_stands_for_a_seed_and_nothing_else_is_changed(gpt: openai.OpenAI, proxy: SeedingProxy) -> None:
    """A call with a placeholder is answered as the one with the true id; another unknown id is refused by the fake."""
    seeds = proxy.seed()
    ended = gpt.batches.retrieve(seeds[Seed.OPENAI_ENDED])
    assert ended.status == "completed"
    assert gpt.batches.retrieve("batch_id") == ended
    assert gpt.batches.create(input_file_id="input_file_id", **BATCH).input_file_id == seeds[Seed.OPENAI_INPUT]  # type: ignore[arg-type]
    with pytest.raises(openai.NotFoundError, match="batch_other"):
        gpt.batches.retrieve("batch_other")


def test_seeds_are_fresh_each_time(gpt: openai.OpenAI, proxy: SeedingProxy) -> None:
    """What one test deletes or cancels is there again for the next."""
    proxy.seed()
    gpt.files.delete("file_id")
    gpt.batches.cancel("batch_id")
    proxy.seed()
    assert gpt.files.content("file_id").json() == {"foo": "bar"}
    assert gpt.batches.cancel("batch_id").status == "cancelling"


def test_unknown_route_is_tried_once(gpt: openai.OpenAI, proxy: SeedingProxy, slow: FakeServer) -> None:
    """The SDK does not wait and try again on what the fake does not have."""
    proxy.seed()
    with pytest.raises(openai.InternalServerError, match="no route"):
        gpt.models.list()
    assert slow.unknown_routes == ["GET /openai/v1/models"]


def run_suite(folder: Path, sdk: str, **modules: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m sdk_suites` on a source distribution made here; a module that is not given is empty."""
    for module in MODULES[sdk]:
        path = folder / module
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
        (path.parent / "__init__.py").write_text("")
    (folder / "tests" / "__init__.py").write_text("")
    settings = '[tool.pytest.ini_options]\naddopts = "-n 2"\nfilterwarnings = ["error"]\n'
    for name, text in {"pyproject.toml": settings, **modules}.items():
        (folder / name).write_text(text)
    return subprocess.run(
        [sys.executable, "-m", "sdk_suites", sdk],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_suite_runs_what_is_marked_to_be_skipped_or_mocked(tmp_path: Path) -> None:
    """
    Marks of the SDK's tests and the routers they mock with do not count. A test that skips itself, and an entry of
    the table that no test needs, are errors.
    """
    mocking = "import pytest\n\n@pytest.fixture\ndef respx2_mock():\n    raise RuntimeError('mocked')\n"
    test = """
import os, openai, pytest

@pytest.mark.skip(reason="never")
def test_content(respx2_mock):
    respx2_mock.get("/files/file_id/content").mock(return_value=None)
    with openai.OpenAI(base_url=os.environ["TEST_API_BASE_URL"], api_key="any") as client:
        assert client.files.content("file_id").json() == {"foo": "bar"}

def test_itself():
    pytest.skip("not today")
"""
    files = {"tests/mocking.py": mocking, "tests/conftest.py": "pytest_plugins = ['tests.mocking']\n"}
    run = run_suite(tmp_path, "openai", **files, **{"tests/api_resources/test_files.py": test})
    assert run.returncode == 1, run.stdout + run.stderr
    assert "= 1 passed, 1 skipped in" in run.stdout
    assert "ERROR skipped: tests/api_resources/test_files.py::test_itself" in run.stdout
    assert "no test sends it: DELETE /openai/v1/files/file_id, path" in run.stdout
    assert "no test sends it: GET /openai/v1/files/file_id/content" not in run.stdout


def test_suite_fails_where_an_exemption_is_out_of_date(tmp_path: Path) -> None:
    """An exempt test that passes, one that fails in another way, and an exemption without a test are all errors."""
    passing = "class TestBatches:\n    def test_method_results(self):\n        pass\n"
    failing = "class TestBatches:\n    def test_method_results(self):\n        raise ValueError('another way')\n"
    module = "tests/api_resources/{}messages/test_batches.py"
    run = run_suite(tmp_path / "some", "anthropic", **{module.format(""): passing, module.format("beta/"): failing})
    assert run.returncode == 1, run.stdout + run.stderr
    assert "[XPASS(strict)]" in run.stdout
    assert "ValueError: another way" in run.stdout
    assert "= 2 failed in" in run.stdout
    run = run_suite(tmp_path / "none", "anthropic")
    assert "there is no such test: tests/api_resources/*messages/test_batches.py::*::test_method_res" in run.stdout
