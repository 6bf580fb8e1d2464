"""Start and stop the fake, and mount the services. Knows no provider's wire format."""

from __future__ import annotations

import math
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from batchfast.fake.faults import Fault
from batchfast.fake.state import State

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

    from batchfast.fake.service import Service

_PREFIXES = {"openai": "/openai/v1", "anthropic": "/anthropic", "gemini": "/gemini"}
_ENV = {
    "openai": ("OPENAI_BASE_URL", "OPENAI_API_KEY"),
    "anthropic": ("ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY"),
    "gemini": ("GOOGLE_GEMINI_BASE_URL", "GEMINI_API_KEY"),
}


_END_OF_TIME = 253_000_000_000  # in the year 9987: later times cannot be written as a date


class Call(NamedTuple):
    """One HTTP call that reached a known route."""

    provider: str
    route: str
    method: str
    path: str


class AcceptedBatch(NamedTuple):
    """
    A batch as a service holds it.

    Attributes:
        state: validating, in_progress, finalizing, cancelling, completed, failed, cancelled or expired,
            whatever the service's own words for it are.
    """

    id: str
    requests: int
    state: str


class FakeServer:
    """
    The batch APIs on a port of this machine, until `stop` or the end of a `with` block.

    Args:
        folder: Where files and batches are kept. Another FakeServer on the same folder, later or at the same
            time and in this process or another, sees the same. None is a temporary folder, removed on stop.
        port: 0 takes a free one.
        batch_seconds: How long a batch takes from create to its end, intermediate states included. With 0 it
            is at its end when first looked at.
        seed: Another seed gives other answers.
        words: Least and most words of a text, roughly. Bounds in a request's own schema come first.
        clock: Unix seconds; `advance` adds to it.

    Attributes:
        calls: Every call to a known route, in the order they came in.
        unknown_routes: "METHOD path" of the calls answered 501 because the fake has no such route.
        errors: Exceptions inside the fake, answered 500.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        batch_seconds: float = 1.0,
        seed: int = 0,
        words: tuple[int, int] = (60, 150),
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not 0 <= batch_seconds < math.inf:
            raise ValueError(f"batch_seconds must be a number of seconds from 0 up, not {batch_seconds}")
        if not 1 <= words[0] <= words[1]:
            raise ValueError(f"words must be least and most, from 1 up, not {words}")
        if not host:
            raise ValueError("host must name an address; 127.0.0.1 is this machine alone")
        self.calls: list[Call] = []
        self.unknown_routes: list[str] = []
        self.errors: list[Exception] = []
        self._kept: Exception | None = None
        self._temporary = folder is None
        self._folder = folder
        self._address = (host, port)
        self._batch_seconds = batch_seconds
        self._seed = seed
        self._words = words
        self._clock = clock
        self._running: _Running | None = None

    def start(self) -> Self:
        """Serve. Returns once calls are answered; raises RuntimeError if it serves already."""
        if self._running is not None:
            raise RuntimeError(f"the fake is running already, at {self.url}")
        listener = _listen(*self._address)
        with ExitStack() as undo:
            undo.callback(listener.close)
            folder = self._folder or Path(tempfile.mkdtemp(prefix="batchfast-fake-"))
            if self._temporary:
                undo.callback(shutil.rmtree, folder)
            state = State(
                folder, batch_seconds=self._batch_seconds, seed=self._seed, words=self._words, clock=self._clock
            )
            undo.callback(state.close)
            services = _services(state)
            self._running = _Running(folder, state, services, listener, self._app(services))
            undo.pop_all()
        return self

    def stop(self) -> None:
        """Stop serving; a second stop does nothing."""
        if self._running is not None:
            running, self._running = self._running, None
            running.stop()
            if self._temporary:
                shutil.rmtree(running.folder)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        host, port = self._here.listener.getsockname()[:2]
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - shown as what can be called
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    @property
    def base_urls(self) -> dict[str, str]:
        """Per provider, the base URL to give to its SDK."""
        return {provider: self.url + prefix for provider, prefix in _PREFIXES.items()}

    @property
    def env(self) -> dict[str, str]:
        """Environment variables that point the SDKs here, dummy keys included."""
        variables = {}
        for provider, (base_url, api_key) in _ENV.items():
            variables[base_url] = self.base_urls[provider]
            variables[api_key] = f"fake-{provider}-key"
        return variables

    # Time

    def now(self) -> float:
        """The fake's time, in unix seconds."""
        return self._state.now()

    def advance(self, *, seconds: float = 0, minutes: float = 0, hours: float = 0, days: float = 0) -> None:
        """Move the fake's time forward, for every process that serves this folder. ValueError if that is backward."""
        total = seconds + 60 * minutes + 3600 * hours + 86_400 * days
        if not total >= 0 or self.now() + total > _END_OF_TIME:
            raise ValueError(f"time moves forward only, to the year 9999 at most, and not by {total} s")
        self._state.advance(total)

    def finish(self, batch: str | AcceptedBatch) -> None:
        """Let one batch end now, given by its id or as `batches` has it. Raises KeyError if there is none."""
        self._state.batches.finish(batch if isinstance(batch, str) else batch.id)

    def finish_all(self) -> None:
        """Let every batch end now."""
        self._state.batches.finish_all()

    def reset(self) -> None:
        """Forget files, batches, faults, calls and time moved forward."""
        self._state.reset()
        self.calls.clear()
        self.unknown_routes.clear()
        self.errors.clear()

    # Faults, and what was seen

    def plan(self, *faults: Fault) -> None:
        """Let things go wrong from now on, until `reset`."""
        self._state.plan.add(faults)

    def unplan(self, *faults: Fault) -> None:
        """Forget these of the planned faults. What is bound to a batch already stays."""
        self._state.plan.remove(faults)

    def forget_faults(self) -> None:
        """Forget the plan. What is bound to a batch already stays."""
        self._state.plan.clear()

    def fired(self, fault: Fault) -> int:
        """How often a planned fault did something: in calls, batches or requests (once their results are made)."""
        return self._state.plan.fired(fault)

    def planned(self) -> list[tuple[Fault, int]]:
        """The faults planned since the last reset, each with how often it fired."""
        return self._state.plan.all()

    def unfired(self) -> list[Fault]:
        """Planned faults that did nothing so far; results not yet looked at are made first."""
        if any(fault.on_requests for fault, fired in self.planned() if not fired):
            self.ledger()
        return [fault for fault, fired in self.planned() if not fired]

    def ledger(self) -> dict[str, dict[str, Any]]:
        """
        What each service accepted, answered and would have charged since the last reset.

        Returns:
            Per provider: `batches` and `requests` by what became of them, `answered_at_once` (live requests),
            `input_tokens`, `output_tokens`, `charged_usd` (live at list price, batches at half of it), and
            `unpriced_models`, which are not in the charge.
        """
        from batchfast.fake.bill import ledger

        return {service.name: ledger(service) for service in self._here.services}

    def batches(self, provider: str) -> list[AcceptedBatch]:
        """The batches a service has accepted, newest first."""
        now = self._state.now()
        return [AcceptedBatch(one.id, one.total, one.phase(now)) for one in self._state.batches.all(provider)]

    # Inside

    @property
    def _here(self) -> _Running:
        if self._running is None:
            raise RuntimeError("the fake is not running: call start(), or use it in a with block")
        return self._running

    @property
    def _state(self) -> State:
        return self._here.state

    def _app(self, services: list[Service]) -> ASGIApp:
        # Imported here: a program that merely has batchfast.fake at hand shall not load a web server.
        from starlette.applications import Starlette
        from starlette.requests import ClientDisconnect
        from starlette.responses import JSONResponse, Response
        from starlette.routing import Mount, Route

        from batchfast.fake import control
        from batchfast.fake.service import serve

        def unknown(request: Request, _: Exception) -> Response:
            route = f"{request.method} {request.url.path}"
            self.unknown_routes.append(route)
            # SDKs would try a 501 again, and a route that is not there does not come back.
            headers = {"x-should-retry": "false"}
            return JSONResponse({"error": {"message": f"the fake has no route {route}"}}, 501, headers)

        def broken(_: Request, exc: Exception) -> Response:
            self._keep(exc)  # before the answer goes out: whoever reads it may look here next
            return JSONResponse({"error": {"message": f"the fake broke: {exc!r}"}}, 500)

        def left(_: Request, exc: Exception) -> Response:
            return Response(str(exc), 499)  # read by nobody: the client has hung up

        mounts = [Mount("/_fake", routes=control.routes(self))]
        mounts += [
            Mount(
                service.prefix,
                routes=[
                    Route(one.path, serve(service, one, self._seen, self._drop), methods=[one.method])
                    for one in service.endpoints()
                ],
            )
            for service in services
        ]
        # 405 is a known path with a method no service has.
        handlers = {404: unknown, 405: unknown, ClientDisconnect: left, Exception: broken}
        app = Starlette(routes=mounts, exception_handlers=handlers)
        app.router.redirect_slashes = False
        return self._watched(app)

    def _watched(self, app: Starlette) -> ASGIApp:
        """The app, with what breaks in it kept: also where an answer has begun and can only be cut off."""

        async def run(scope: Scope, receive: Receive, send: Send) -> None:
            with ExitStack() as stack:
                stack.push(lambda _, exc, __: self._keep(exc))
                await app(scope, receive, send)

        return run

    def _keep(self, exc: BaseException | None) -> None:
        """Keep what breaks, once although it comes by twice; whoever raised it lets it go on."""
        if isinstance(exc, Exception) and exc is not self._kept:
            self._kept = exc
            self.errors.append(exc)

    def _seen(self, provider: str, route: str, request: Request) -> None:
        self.calls.append(Call(provider, route, request.method, request.url.path))

    def _drop(self, request: Request) -> None:
        self._here.drop(request.scope["client"])


def _services(state: State) -> list[Service]:
    from batchfast.fake.anthropic import Anthropic
    from batchfast.fake.gemini import Gemini
    from batchfast.fake.openai import OpenAI

    return [build(state, _PREFIXES[build.name]) for build in (OpenAI, Anthropic, Gemini)]


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's algorithm off only where the protocol is named (socket.create_server leaves it out); with
    # it on, every answer waits 40 ms for an acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen()
    except OSError:
        listener.close()
        raise
    return listener


class _Running:
    """The server thread, from the moment it answers to `stop`."""

    def __init__(
        self, folder: Path, state: State, services: list[Service], listener: socket.socket, app: ASGIApp
    ) -> None:
        import uvicorn

        self.folder = folder
        self.state = state
        self.services = services
        self.listener = listener
        # The log is silent: exceptions are kept in FakeServer.errors, and broken connections are planned.
        config = uvicorn.Config(
            app, log_config=None, log_level=60, access_log=False, lifespan="off", http="h11", ws="none",
            server_header=False,
            timeout_graceful_shutdown=1, timeout_keep_alive=60,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listener]}, name="batchfast-fake", daemon=True
        )
        # The socket listens already: a call that comes before the server is up waits in its queue.
        self._thread.start()

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()
        self.listener.close()
        self.state.close()

    def drop(self, client: tuple[str, int]) -> None:
        """Break a client's connection, in the middle of whatever it waits for."""
        from uvicorn.protocols.http.h11_impl import H11Protocol

        for connection in list(self._server.server_state.connections):
            if isinstance(connection, H11Protocol) and connection.client == client:
                connection.transport.abort()
