"""
What the three services share: how a call is read, counted, spoiled by planned faults and answered. No wire
    format.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, QueryParams, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from batchfast.fake.faults import Fault
from batchfast.fake.records import Batch
from batchfast.fake.shapes import parse_json
from batchfast.fake.state import State

_IN_MEMORY_BYTES = 1 << 20
_CHUNK_BYTES = 1 << 18


class BadBody(Exception):
    """The body of a call is no JSON object; services answer it as theirs does."""


@dataclass(frozen=True)
class Incoming:
    """
    One call, its body read.

    Args:
        origin: Where the client found the service, without a slash at the end; for absolute URLs in answers.
        body: At its start; on disk if it is large.
        lag_s: A list leaves out what is younger than this.
    """

    origin: str
    path: Mapping[str, str]
    query: QueryParams
    headers: Headers
    body: IO[bytes]
    form: Mapping[str, str | UploadFile]
    lag_s: float | None = None

    def json(self) -> dict[str, Any]:
        """The body as a JSON object; {} if there is none. Raises BadBody."""
        try:
            body = parse_json(self.body.read() or b"{}")
        except ValueError as exc:
            raise BadBody(str(exc)) from exc
        if not isinstance(body, dict):
            raise BadBody("not a JSON object")
        return body

    def whole(self, name: str, default: int, *, least: int = 1, most: int = 1 << 31) -> int | None:
        """A whole number from the query, within its bounds; None if it is none."""
        text = self.query.get(name)
        if text is None:
            return default
        return int(text) if text.isdecimal() and len(text) < 12 and least <= int(text) <= most else None


Handler = Callable[[Incoming], Response]


@dataclass(frozen=True)
class Endpoint:
    """A route of a service; `name` is how faults and tests call it. The handler runs in a worker thread."""

    method: str
    path: str
    name: str
    handler: Handler


class Service(Protocol):
    """One provider's API."""

    name: str
    prefix: str
    state: State

    def endpoints(self) -> list[Endpoint]: ...

    def refuse(self, call: Incoming) -> Response | None:
        """An answer for a call that may not come in (no key, a bad one), else None."""
        ...

    def settled(self, batch: Batch) -> Batch:
        """A batch that has ended, with its outcome; the first call writes its results."""
        ...

    def failure(self, status: int, message: str | None = None, code: str | None = None) -> Response:
        """The service's error for a status, in its own words where none are given."""
        ...


def serve(
    service: Service,
    endpoint: Endpoint,
    seen: Callable[[str, str, Request], None],
    drop: Callable[[Request], None],
) -> Callable[[Request], Awaitable[Response]]:
    """
    Make an endpoint callable over HTTP.

    Args:
        seen: Told of each call: service, route, request.
        drop: Breaks the connection a request came by.
    """

    async def run(request: Request) -> Response:
        seen(service.name, endpoint.name, request)
        faults = await run_in_threadpool(service.state.plan.for_call, service.name, endpoint.name)
        does = {fault.does: fault for fault in faults}
        with tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES) as body:
            form: Mapping[str, str | UploadFile] = {}
            if request.headers.get("content-type", "").startswith("multipart/form-data"):
                try:
                    form = await request.form()
                except HTTPException as exc:
                    return service.failure(400, str(exc.detail))
            else:
                async for chunk in request.stream():
                    body.write(chunk)
                body.seek(0)
            call = Incoming(
                origin=f"{request.url.scheme}://{request.headers.get('host', '')}{service.prefix}",
                path=request.path_params,
                query=request.query_params,
                headers=request.headers,
                body=body,
                form=form,
                lag_s=does["lag"].seconds if "lag" in does else None,
            )
            if "delay" in does:
                await asyncio.sleep(does["delay"].seconds)
            # Only now, with the body read: a client that is still sending would see its connection break.
            response = _planned(service, does["status"]) if "status" in does else service.refuse(call)
            if response is None:
                response = await run_in_threadpool(_handle, service, endpoint, call)
            if form:
                await request.close()
        if "hang" in does:
            await _wait_for_disconnect(request, does["hang"].seconds)
        if "deny" in does:
            response = _planned(service, does["deny"])
        if "lose" in does or "hang" in does:
            drop(request)
            await asyncio.sleep(0)  # lets the loop tell the server that the client is gone
            return _Nothing()
        if "garble" in does:
            response = _Garbled(response)
        return _Cut(response) if "cut" in does else response

    return run


async def _wait_for_disconnect(request: Request, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while (await request.receive())["type"] != "http.disconnect":
                pass


def _handle(service: Service, endpoint: Endpoint, call: Incoming) -> Response:
    try:
        return endpoint.handler(call)
    except BadBody as exc:
        return service.failure(400, f"We could not parse the JSON body of your request. ({exc})")


def _planned(service: Service, fault: Fault) -> Response:
    response = service.failure(fault.status, fault.message, fault.code)
    if fault.body is not None:
        response = Response(fault.body, fault.status, media_type="text/plain")
    if fault.retry_after is not None:
        response.headers["retry-after"] = f"{fault.retry_after:g}"
    return response


def send_file(path: Path, headers: Mapping[str, str], media_type: str | None) -> Response:
    """The bytes of a file, piece by piece."""
    sized = {"content-length": str(path.stat().st_size), **headers}
    return StreamingResponse(read_chunks(path), headers=sized, media_type=media_type)


def read_chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as source:
        yield from iter(lambda: source.read(_CHUNK_BYTES), b"")


class _Nothing(Response):
    """No answer at all."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive, send


class _Cut(Response):
    """The first half of another answer's body; the server then closes the unfinished connection."""

    def __init__(self, whole: Response) -> None:
        super().__init__()
        self._whole = whole

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        left = int(self._whole.headers["content-length"]) // 2

        async def send_half(message: MutableMapping[str, Any]) -> None:
            nonlocal left
            if message["type"] == "http.response.body":
                body = message.get("body", b"")[:left]
                left -= len(body)
                message = {**message, "body": body, "more_body": True}
            await send(message)

        await self._whole(scope, receive, send_half)


class _Garbled(Response):
    """Another answer with the first byte of its body spoiled: its JSON, or its first line, cannot be read."""

    def __init__(self, whole: Response) -> None:
        super().__init__(headers=dict(whole.headers))
        self._whole = whole

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        spoiled = False

        async def send_spoiled(message: MutableMapping[str, Any]) -> None:
            nonlocal spoiled
            if not spoiled and message.get("body"):
                message = {**message, "body": b"!" + message["body"][1:]}
                spoiled = True
            await send(message)

        await self._whole(scope, receive, send_spoiled)
