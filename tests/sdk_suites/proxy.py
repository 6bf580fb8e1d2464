"""A proxy in front of the fake, for clients that name batches and files which they never made."""

from __future__ import annotations

import json
import socket
import threading
from types import TracebackType
from typing import Any, Self

import httpx2
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from batchfast.fake import FakeServer

from .tables import FILE_CONTENT, PLACEHOLDERS, Placeholder, Seed

_KEYS = {"authorization": "Bearer any", "x-api-key": "any", "anthropic-version": "2023-06-01"}
# What belongs to one connection, or follows from the body.
_OWN_HEADERS = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length"})
_REQUEST = {"model": "gpt-4.1-mini", "input": "About snow."}
_PARAMS = {"model": "claude-haiku-4-5", "max_tokens": 100, "messages": [{"role": "user", "content": "About snow."}]}

Json = dict[str, Any]


class SeedingProxy:
    """
    The fake at another port, where placeholders (`tables.PLACEHOLDERS`) stand for what `seed` has made.

    What is not in that table passes as it is, so whatever is refused is refused by the fake.

    Args:
        fake: Running, and so slow that no batch ends by itself.

    Attributes:
        used: The placeholders met so far.
    """

    def __init__(self, fake: FakeServer) -> None:
        self.used: set[Placeholder] = set()
        self._fake = fake
        self._seeds: dict[Seed, str] = {}
        self._client = httpx2.Client(base_url=fake.url, trust_env=False, timeout=60)
        # Named, or asyncio leaves Nagle's algorithm on and every answer waits 40 ms.
        self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        routes = [Route("/{path:path}", self._forward, methods=["GET", "POST", "DELETE"])]
        config = uvicorn.Config(
            Starlette(routes=routes), log_config=None, log_level=60, lifespan="off", http="h11", ws="none",
            server_header=False, date_header=False, timeout_graceful_shutdown=1,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._listener]}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._listener.close()
        self._client.close()

    @property
    def base_urls(self) -> dict[str, str]:
        """Per provider, the base URL to give to its SDK."""
        url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        return {provider: url + base.removeprefix(self._fake.url) for provider, base in self._fake.base_urls.items()}

    def seed(self) -> dict[Seed, str]:
        """Empty the fake and make the seeds anew. Returns their ids."""
        self._fake.reset()
        line = {"custom_id": "one", "method": "POST", "url": "/v1/responses", "body": _REQUEST}
        file = self._upload(FILE_CONTENT)
        source = self._upload(json.dumps(line).encode())
        batch = {"input_file_id": source, "endpoint": "/v1/responses", "completion_window": "24h"}
        requests = {"requests": [{"custom_id": "one", "params": _PARAMS}]}
        self._seeds = {
            Seed.OPENAI_FILE: file,
            Seed.OPENAI_INPUT: source,
            Seed.OPENAI_ENDED: self._made("/openai/v1/batches", json=batch),
            Seed.OPENAI_RUNNING: self._made("/openai/v1/batches", json=batch),
            Seed.ANTHROPIC_ENDED: self._made("/anthropic/v1/messages/batches", json=requests),
            Seed.ANTHROPIC_RUNNING: self._made("/anthropic/v1/messages/batches", json=requests),
        }
        self._seeds |= self._anthropic_files()
        self._fake.finish(self._seeds[Seed.OPENAI_ENDED])
        self._fake.finish(self._seeds[Seed.ANTHROPIC_ENDED])
        return self._seeds

    def _anthropic_files(self) -> dict[Seed, str]:
        # The fake takes a file of such a name for one that a tool made, which alone can be downloaded.
        names = ("older.json", "generated-newer.json")
        ids = [self._made("/anthropic/v1/files", files={"file": (name, FILE_CONTENT)}) for name in names]
        page = self._client.get("/anthropic/v1/files", headers=_KEYS, params={"limit": 1}).raise_for_status().json()
        return {Seed.ANTHROPIC_FILE: ids[1], Seed.ANTHROPIC_PAGE: page["next_page"]}

    def _upload(self, content: bytes) -> str:
        return self._made("/openai/v1/files", data={"purpose": "batch"}, files={"file": ("seed.jsonl", content)})

    def _made(self, path: str, **body: Any) -> str:
        response = self._client.post(path, headers=_KEYS, **body)
        return str(response.raise_for_status().json()["id"])

    async def _forward(self, request: Request) -> Response:
        body = await request.body()
        call = f"{request.method} {request.url.path}"
        path = "/".join(self._meant(call, "path", part) or "" for part in request.url.path.split("/"))
        asked = request.query_params.multi_items()
        meant = [(name, self._meant(call, f"query {name}", value)) for name, value in asked]
        query = [(name, value) for name, value in meant if value is not None]
        if request.headers.get("content-type") == "application/json" and body:
            body = self._meant_body(call, body)
        # The host stays the proxy's: addresses in answers lead back here.
        headers = [(name, value) for name, value in request.headers.items() if name not in _OWN_HEADERS]
        answer = await run_in_threadpool(
            self._client.request, request.method, path, params=query, content=body, headers=headers
        )
        response = Response(answer.content, answer.status_code)
        for name, value in answer.headers.multi_items():
            if name not in _OWN_HEADERS:
                response.headers.append(name, value)
        if answer.status_code == 501:
            response.headers["x-should-retry"] = "false"  # the SDKs would try an unknown route thrice
        return response

    def _meant_body(self, call: str, body: bytes) -> bytes:
        sent: Json = json.loads(body)
        meant = {
            name: self._meant(call, f"body {name}", value) if isinstance(value, str) else value
            for name, value in sent.items()
        }
        return body if meant == sent else json.dumps(meant).encode()

    def _meant(self, call: str, where: str, written: str) -> str | None:
        """What a value stands for: itself, if the table does not have it; None if it is to be left out."""
        for one in PLACEHOLDERS:
            if (one.call, one.where, one.written) == (call, where, written):
                self.used.add(one)
                return self._seeds[one.means] if isinstance(one.means, Seed) else one.means
        return written
