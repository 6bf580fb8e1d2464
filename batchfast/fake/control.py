"""
The fake's own routes, under `/_fake`: what `FakeServer` offers in Python, for programs in any language.

Bodies are JSON, faults also TOML; what cannot be done is answered 400 with one line under `error`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from batchfast.errors import ConfigError
from batchfast.fake.faults import read_faults
from batchfast.fake.server import FakeServer
from batchfast.fake.shapes import parse_json

Json = dict[str, Any]


def routes(server: FakeServer) -> list[Route]:
    """
    ```
    GET    /_fake/state     time, batches per provider, calls, unknown routes, errors
    GET    /_fake/ledger    per provider: accepted, answered, charged
    POST   /_fake/advance   {"seconds": 1, "minutes": 1, "hours": 1, "days": 1}, each as wished
    POST   /_fake/finish    {"batch": "<id>"}, or {} for all of them
    GET    /_fake/faults    the plan, and how often each fault fired
    POST   /_fake/faults    {"faults": [{"does": "lose", "route": "create"}]}, or the same in TOML
    DELETE /_fake/faults    forget the plan
    POST   /_fake/reset     forget everything
    ```
    """

    def state(_: Json) -> Json:
        return {
            "time": server.now(),
            "batches": {name: [one._asdict() for one in server.batches(name)] for name in server.base_urls},
            "calls": [call._asdict() for call in list(server.calls)],
            "unknown_routes": list(server.unknown_routes),
            "errors": [repr(exc) for exc in list(server.errors)],
        }

    def advance(body: Json) -> Json:
        given = _only(body, "seconds", "minutes", "hours", "days")
        if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in given.values()):
            raise ConfigError("seconds, minutes, hours and days are numbers")
        try:
            server.advance(**given)
        except ValueError as exc:
            raise ConfigError(str(exc)) from exc
        return {"time": server.now()}

    def finish(body: Json) -> Json:
        _only(body, "batch")
        if "batch" not in body:
            server.finish_all()
            return {}
        try:
            server.finish(str(body["batch"]))
        except KeyError:
            raise ConfigError(f"there is no batch {body['batch']!r}") from None
        return {}

    def faults(_: Json) -> Json:
        return {"faults": [{"fault": fault.as_dict(), "fired": fired} for fault, fired in server.planned()]}

    def plan(body: Json) -> Json:
        planned = read_faults(body)
        server.plan(*planned)
        return {"planned": len(planned)}

    def forget(_: Json) -> Json:
        server.forget_faults()
        return {}

    def reset(_: Json) -> Json:
        server.reset()
        return {}

    return [
        Route("/state", _route(state), methods=["GET"]),
        Route("/ledger", _route(lambda _: server.ledger()), methods=["GET"]),
        Route("/advance", _route(advance), methods=["POST"]),
        Route("/finish", _route(finish), methods=["POST"]),
        Route("/faults", _route(faults), methods=["GET"]),
        Route("/faults", _route(plan), methods=["POST"]),
        Route("/faults", _route(forget), methods=["DELETE"]),
        Route("/reset", _route(reset), methods=["POST"]),
    ]


def _route(handler: Callable[[Json], Json]) -> Callable[[Request], Any]:
    async def run(request: Request) -> Response:
        try:
            return JSONResponse(await run_in_threadpool(handler, _body(await request.body())))
        except ConfigError as exc:
            return JSONResponse({"error": str(exc)}, 400)

    return run


def _body(raw: bytes) -> Json:
    """JSON if it begins like an object, else TOML, as fault scripts are."""
    if not raw.strip():
        return {}
    try:
        if not raw.lstrip().startswith(b"{"):
            return tomllib.loads(raw.decode())
        return dict(parse_json(raw))
    except ValueError as exc:
        raise ConfigError(f"the body is neither a JSON object nor TOML: {exc}") from exc


def _only(body: Json, *names: str) -> Json:
    unknown = [name for name in body if name not in names]
    if unknown:
        raise ConfigError(f"unknown key {unknown[0]!r}; one of: {', '.join(names)}")
    return body
