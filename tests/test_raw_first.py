"""Raw results: whole or not at all, JSON line by line, and twice before a line counts as missing."""

from __future__ import annotations

import gzip
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from batchfast.errors import ProviderError
from batchfast.fake import FakeServer, Fault
from batchfast.llms import PROVIDERS
from batchfast.records import RemoteFile
from tests.helpers import MODELS, provider, session, spec

each_provider = pytest.mark.parametrize("name", sorted(PROVIDERS))
LINES = b"".join(b'{"number": %d}\n' % number for number in range(2_000))
PACKED = gzip.compress(LINES)


class Verbatim:
    """A server that answers each call with the same bytes, whatever HTTP thinks of them, and hangs up."""

    def __init__(self) -> None:
        self.answer = b""
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                connection.recv(65_536)
                connection.sendall(self.answer)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65_536):
                    pass

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


@pytest.fixture
def verbatim() -> Iterator[Verbatim]:
    server = Verbatim()
    yield server
    server.close()


def sized(body: bytes, *headers: bytes, length: int | None = None) -> bytes:
    return head(b"content-length: %d" % (len(body) if length is None else length), *headers) + body


def chunked(body: bytes, *headers: bytes, last: bool = True) -> bytes:
    parts = [body[at : at + 1_000] for at in range(0, len(body), 1_000)]
    sent = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    return head(b"transfer-encoding: chunked", *headers) + sent + (b"0\r\n\r\n" if last else b"")


def head(*headers: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\n" + b"".join(line + b"\r\n" for line in headers) + b"\r\n"


GZIP = b"content-encoding: gzip"
WHOLE = {
    "sized": sized(LINES),
    "chunked": chunked(LINES),
    "sized gzip": sized(PACKED, GZIP),
    "chunked gzip": chunked(PACKED, GZIP),
    "two gzip files": sized(gzip.compress(LINES[:100]) + gzip.compress(LINES[100:]), GZIP),
}
BROKEN = {
    "sized, cut": sized(LINES[:-15], length=len(LINES)),
    "chunked, cut": chunked(LINES[:-15], last=False),
    "sized gzip, cut": sized(PACKED[:-20], GZIP, length=len(PACKED)),
    "chunked gzip, cut": chunked(PACKED[:-20], GZIP, last=False),
    "half a gzip file, all of it": sized(PACKED[: len(PACKED) // 2], GZIP),
    "half a gzip file in all chunks": chunked(PACKED[: len(PACKED) // 2], GZIP),
    "no gzip file": sized(LINES, GZIP),
    "until the connection ends": head() + LINES,
    "gzip until the connection ends": head(GZIP) + PACKED,
}


def download(name: str, verbatim: Verbatim) -> bytes:
    one = provider(name, api_key="any-key-will-do", base_url=verbatim.url, timeout=10)
    return b"".join(one.download(RemoteFile("output", "files/x")))


@each_provider
@pytest.mark.parametrize("how", WHOLE)
def test_a_whole_download_is_taken(name: str, how: str, verbatim: Verbatim) -> None:
    """By its length or by its last chunk, compressed or not: the bytes as the service has them."""
    verbatim.answer = WHOLE[how]
    assert download(name, verbatim) == LINES


@each_provider
@pytest.mark.parametrize("how", BROKEN)
def test_a_download_is_complete_only_where_the_transport_says_so(name: str, how: str, verbatim: Verbatim) -> None:
    """Cut between two lines it would read like a whole file, and in an expired batch like nothing more to come."""
    verbatim.answer = BROKEN[how]
    with pytest.raises(ProviderError) as caught:
        download(name, verbatim)
    assert caught.value.kind == "network"


@each_provider
def test_a_cut_download_leaves_nothing_behind(
    name: str, fake: FakeServer, plan: Callable[..., None], tmp_path: Path
) -> None:
    """The file has its name only once it is whole; the next pass downloads it again, and nothing is sent again."""
    plan(Fault("cut", provider=name, route="results", nth=1))
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(provider(name), topics=6), fake=True)
        with home.work(run) as engine:
            engine.send_all()
            engine.one_pass(everything=True)
            assert [path.name for path in (home.home.run(run.id) / "results").iterdir()] == []
            assert engine.one_pass(everything=True).ledger.succeeded == 6
    assert len(fake.batches(name)) == 1


@each_provider
@pytest.mark.parametrize("does", ["drop", "duplicate"])
def test_a_line_is_looked_for_twice_before_it_is_missing(
    name: str, does: str, fake: FakeServer, plan: Callable[..., None], tmp_path: Path
) -> None:
    """Fewer lines than requests in a completed batch: one second download, then *missing*; none where all are there."""
    plan(Fault("drop" if does == "drop" else "duplicate", custom_id=r"-2-1$"))
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(provider(name), topics=6), fake=True)
        with home.work(run) as engine:
            engine.send_all()
            engine.one_pass(everything=True)
        kinds = [(row.outcome, row.error_type) for row in home.store.attempts(run.no, 2)]
    assert kinds == [("failed", "missing") if does == "drop" else ("succeeded", None)]
    assert [call.route for call in fake.calls].count("results") == (2 if does == "drop" else 1)


@each_provider
def test_a_line_that_is_no_json_causes_a_second_download(
    name: str, fake: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A garbled line in a body that came whole: the second download has it."""
    kind = PROVIDERS[name]
    first, calls = kind.download, []

    def garbled(self: object, file: RemoteFile) -> Iterator[bytes]:
        body = b"".join(first(self, file))  # type: ignore[arg-type]
        calls.append(file)
        yield body[:-20] + b"\n" if len(calls) == 1 else body

    monkeypatch.setattr(kind, "download", garbled)
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(provider(name), topics=6), fake=True)
        with home.work(run) as engine:
            engine.send_all()
            assert engine.one_pass(everything=True).ledger.succeeded == 6
    assert len(calls) == 2


@pytest.mark.parametrize("name", sorted(MODELS))
def test_counts_are_recorded_and_never_believed(
    name: str, fake: FakeServer, plan: Callable[..., None], tmp_path: Path
) -> None:
    """The service counts an answer as an error: its number stands beside the batch, ours are from the lines."""
    plan(Fault("miscount", provider=name))
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(provider(name), topics=6), fake=True)
        with home.work(run) as engine:
            engine.send_all()
            ledger = engine.one_pass(everything=True).ledger
        counts = next(iter(home.store.batches(run.no).values())).counts
    assert (ledger.succeeded, ledger.failed) == (6, 0)
    wrong = {"openai": "failed", "anthropic": "errored", "gemini": "failedRequestCount"}[name]
    assert counts[wrong] == 1
