"""An upload streams its file from the disk: memory does not grow with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from batchfast.fake import FakeServer
from batchfast.records import Request
from tests.helpers import MODELS, provider

SMALL_BYTES = 1 << 10
LARGE_BYTES = 64 << 20
# The largest piece that an SDK holds is Gemini's, of 8 MB, once in its hands and once in the connection's.
MOST_KB = 24 << 10

# A small upload first, so that all is loaded; VmHWM, because what getrusage says of a child can be its parent's peak.
SENDS = """
import sys
from pathlib import Path
from batchfast.jsonl import sha256_of
from batchfast.llms import PROVIDERS
from batchfast.records import Shard
name, model, url, *paths = sys.argv[1:]
provider = PROVIDERS[name](model, api_key="any", base_url=url)
for path in map(Path, paths):
    lines = sum(1 for _ in path.open("rb"))
    shard = Shard(label=path.stem, id_prefix="run", path=path, requests=lines, size_bytes=path.stat().st_size)
    sha256_of(path)
    provider.create(shard, provider.upload(shard))
    print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""

linux = pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="peak memory is read from Linux's /proc")


def write_requests(path: Path, name: str, size_bytes: int) -> Path:
    """A submission file of at least so many bytes."""
    model = provider(name)
    with path.open("wb") as file:
        while file.tell() < size_bytes:
            request = Request(custom_id=f"run-{file.tell()}-1", prompt="word " * 2000, num_samples=1)
            file.write(model.encode(request) + b"\n")
    return path


@linux
@pytest.mark.parametrize("name", sorted(MODELS))
def test_sending_a_large_file_takes_no_more_memory_than_a_small_one(
    fake: FakeServer, tmp_path: Path, name: str
) -> None:
    """64 MB are hashed, uploaded and made a batch, with the real SDK: the process grows by some pieces at most."""
    files = [write_requests(tmp_path / f"{size}.jsonl", name, size) for size in (SMALL_BYTES, LARGE_BYTES)]
    command = [sys.executable, "-c", SENDS, name, MODELS[name], fake.base_urls[name], *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    before_kb, after_kb = map(int, done.stdout.split())
    assert after_kb - before_kb < MOST_KB
    assert [batch.requests for batch in fake.batches(name)] == [files[1].read_bytes().count(b"\n"), 1]
