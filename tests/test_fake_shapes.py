"""Requests of the wrong shape: the fake refuses them as the services do, and never breaks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchfast.fake import FakeServer, anthropic, gemini_upload, openai
from batchfast.fake.shapes import WrongType, as_schema, find_reference, parse_json

KEYS = {"authorization": "Bearer k", "x-api-key": "k", "x-goog-api-key": "k", "anthropic-version": "2023-06-01"}
SCHEMA = {
    "type": "object",
    "properties": {"texts": {"type": "array", "items": {"type": "string"}}},
    "required": ["texts"],
    "additionalProperties": False,
}
GOOD: dict[str, Any] = {
    "openai": {
        "model": "gpt-4.1-mini",
        "messages": [{"role": "user", "content": "Write of snow."}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "t", "strict": True, "schema": SCHEMA}},
    },
    "responses": {"model": "gpt-4.1-mini", "input": "Write of snow.", "text": {"format": {"type": "text"}}},
    "anthropic": {
        "model": "claude-haiku-4-5",
        "max_tokens": 500,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Write of snow."}]}],
        "tools": [{"name": "t", "input_schema": SCHEMA}],
        "tool_choice": {"type": "tool", "name": "t"},
        "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
    },
    "gemini": {
        "contents": [{"role": "user", "parts": [{"text": "Write of snow."}]}],
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "generationConfig": {
            "responseMimeType": "application/json",
            "responseJsonSchema": SCHEMA,
            "maxOutputTokens": 500,
            "thinkingConfig": {"thinkingBudget": 0},
        },
    },
}
PLACES = {
    "openai": ["model", "messages", "response_format", "n", "max_completion_tokens", "max_tokens", "seed"],
    "responses": ["model", "input", "text", "instructions", "max_output_tokens", "reasoning"],
    "anthropic": ["model", "tool_choice", "tools", "output_config", "messages", "max_tokens", "system"],
    "gemini": ["contents", "generationConfig", "systemInstruction"],
}
WORDS = [
    "type", "name", "schema", "json_schema", "format", "properties", "items", "required", "$ref", "$defs", "#",
    "#/items",
    "enum", "anyOf", "allOf", "not", "if", "contains", "pattern",
    "dependentRequired", "propertyNames", "minItems", "minimum", "multipleOf",
    "object", "array", "integer", "string", "parts",
    "text", "content", "role", "user", "tool", "any", "strict", "description", "9999999999", "thinkingBudget",
]  # fmt: skip
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.just(10**400), st.floats(allow_nan=False), st.just(1e300),
    st.sampled_from(WORDS), st.text(st.characters(exclude_categories=[]), max_size=5),
)  # fmt: skip
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
    max_leaves=12,
)
HANDMADE: list[Any] = [
    None, 0, -1, 1.5, 1e400, True, "", "x", "\ud800", [], [1], ["x"], [None], [[]], [{}], {}, {"type": 5}, {"type": []},
    {"role": 5}, [{"role": "user", "content": 5}], [{"role": "user", "content": [5]}], [{"parts": 5}], [{"parts": [5]}],
    {"parts": [{"text": 5}]}, {"format": 5}, {"format": {"type": "json_schema", "schema": {"properties": 5}}},
    {"type": "json_schema", "json_schema": {"name": 5, "schema": {}}},
    {"type": "json_schema", "json_schema": {"name": "x", "schema": {"$ref": "#"}}},
    {"type": "json_schema", "json_schema": {"name": "x", "schema": {"properties": [1], "type": "object"}}},
    {"responseMimeType": "application/json", "responseJsonSchema": {"minItems": 10**9, "type": "array"}},
    {"thinkingConfig": {"thinkingBudget": "many"}}, {"maxOutputTokens": "many"}, {"type": "tool", "name": {}},
    [{"name": {}, "input_schema": 5}],
]  # fmt: skip
CASES = [(service, place) for service, places in PLACES.items() for place in places]
FUZZ = settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def running() -> Iterator[FakeServer]:
    with FakeServer(batch_seconds=0) as fake:
        yield fake


@pytest.fixture
def server(running: FakeServer) -> Iterator[FakeServer]:
    running.reset()
    yield running
    assert not running.errors
    assert not running.unknown_routes


@pytest.fixture
def http(server: FakeServer) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=server.url, headers=KEYS, timeout=30) as client:
        yield client


def post(http: httpx2.Client, path: str, body: Any) -> httpx2.Response:
    return http.post(path, content=json.dumps(body), headers={"content-type": "application/json"})


def error_of(response: httpx2.Response) -> str | None:
    """The message of an error as all three services nest it, or None for an answer."""
    if response.status_code == 200:
        return None
    assert response.status_code in (400, 403, 404), response.text
    message = response.json()["error"]["message"]
    assert isinstance(message, str)
    return message


def ask(http: httpx2.Client, service: str, request: Any) -> str | None:
    path = {
        "openai": "/openai/v1/chat/completions",
        "responses": "/openai/v1/responses",
        "anthropic": "/anthropic/v1/messages",
        "gemini": "/gemini/v1beta/models/gemini-2.5-flash:generateContent",
    }[service]
    return error_of(post(http, path, request))


def openai_batch(http: httpx2.Client, endpoint: str, bodies: list[Any]) -> dict[str, str | None] | None:
    """Per custom_id the error message or None; None if the batch failed as a whole."""
    lines = [{"custom_id": str(n), "method": "POST", "url": endpoint, "body": body} for n, body in enumerate(bodies)]
    data = "\n".join(map(json.dumps, lines)).encode()
    file = http.post("/openai/v1/files", data={"purpose": "batch"}, files={"file": ("in.jsonl", data)}).json()
    asked = {"input_file_id": file["id"], "endpoint": endpoint, "completion_window": "24h"}
    created = post(http, "/openai/v1/batches", asked)
    assert created.status_code == 200, created.text
    batch = http.get(f"/openai/v1/batches/{created.json()['id']}").json()
    if batch["status"] == "failed":
        assert all(one["message"] and one["code"] for one in batch["errors"]["data"])
        return None
    outcomes: dict[str, str | None] = {}
    for file_id in filter(None, (batch["output_file_id"], batch["error_file_id"])):
        for raw in http.get(f"/openai/v1/files/{file_id}/content").content.split(b"\n")[:-1]:
            line = json.loads(raw)
            error = line["response"]["body"].get("error")
            assert (line["response"]["status_code"] in (400, 404)) == bool(error)
            outcomes[line["custom_id"]] = error["message"] if error else None
    return outcomes


def anthropic_batch(http: httpx2.Client, params: list[Any]) -> dict[str, str | None] | None:
    requests = [{"custom_id": str(n), "params": one} for n, one in enumerate(params)]
    created = post(http, "/anthropic/v1/messages/batches", {"requests": requests})
    if error_of(created):
        return None
    raw = http.get(f"/anthropic/v1/messages/batches/{created.json()['id']}/results").content
    outcomes: dict[str, str | None] = {}
    for line in map(json.loads, raw.split(b"\n")[:-1]):
        result = line["result"]
        outcomes[line["custom_id"]] = result["error"]["error"]["message"] if result["type"] == "errored" else None
    return outcomes


def gemini_batch(http: httpx2.Client, requests: list[Any]) -> dict[str, str | None] | None:
    inlined = [{"request": one, "metadata": {"key": str(n)}} for n, one in enumerate(requests)]
    batch = {"displayName": "x", "inputConfig": {"requests": {"requests": inlined}}}
    created = post(http, "/gemini/v1beta/models/gemini-2.5-flash:batchGenerateContent", {"batch": batch})
    if error_of(created):
        return None
    operation = http.get(f"/gemini/v1beta/{created.json()['name']}").json()
    lines = operation["response"]["inlinedResponses"]["inlinedResponses"]
    return {one["metadata"]["key"]: one["error"]["message"] if "error" in one else None for one in lines}


def batch(http: httpx2.Client, service: str, requests: list[Any]) -> dict[str, str | None] | None:
    if service in ("openai", "responses"):
        path = "/v1/chat/completions" if service == "openai" else "/v1/responses"
        return openai_batch(http, path, requests)
    return anthropic_batch(http, requests) if service == "anthropic" else gemini_batch(http, requests)


def check_everywhere(server: FakeServer, http: httpx2.Client, service: str, place: str, value: Any) -> None:
    """Live and in a batch a request is answered or refused alike, and its neighbour is not touched."""
    request = {**GOOD[service], place: value}
    alone = ask(http, service, request)
    outcomes = batch(http, service, [GOOD[service], request])
    if outcomes is None:
        # JSON that is none (lone surrogates), or another model than the first line's.
        assert alone is not None or place == "model"
    else:
        assert outcomes == {"0": None, "1": alone}
    assert server.errors == []


@pytest.mark.parametrize(("service", "place"), CASES)
def test_any_json_value_gives_an_answer_or_a_well_formed_error(
    server: FakeServer, http: httpx2.Client, service: str, place: str
) -> None:
    """Whatever stands where a number, a string, a list or an object belongs."""

    @FUZZ
    @given(JSON)
    def fuzz(value: Any) -> None:
        check_everywhere(server, http, service, place, value)

    fuzz()


@pytest.mark.parametrize(("service", "place"), CASES)
def test_wrong_types_are_refused_alike_live_and_in_a_batch(
    server: FakeServer, http: httpx2.Client, service: str, place: str
) -> None:
    """The values that come to a tester's mind."""
    for value in HANDMADE:
        check_everywhere(server, http, service, place, value)


@pytest.mark.parametrize(
    ("service", "place", "value"),
    [
        ("openai", "model", 5),
        ("openai", "messages", "hi"),
        ("openai", "messages", [{"role": "user", "content": 5}]),
        ("openai", "response_format", "text"),
        ("openai", "n", "2"),
        ("openai", "n", 10**9),
        ("openai", "max_completion_tokens", "many"),
        ("responses", "text", []),
        ("anthropic", "model", ["claude-haiku-4-5"]),
        ("anthropic", "max_tokens", True),
        ("anthropic", "max_tokens", "500"),
        ("anthropic", "tool_choice", "t"),
        ("anthropic", "tools", [5]),
        ("anthropic", "output_config", {"format": {"type": "json_schema", "schema": {"properties": 5}}}),
        ("anthropic", "messages", [{"role": "user", "content": 5}]),
        ("gemini", "contents", "hi"),
        ("gemini", "generationConfig", []),
        ("gemini", "generationConfig", {"maxOutputTokens": "many"}),
        ("gemini", "systemInstruction", "Be brief."),
    ],
)
def test_wrong_type_is_the_lines_own_error(http: httpx2.Client, service: str, place: str, value: Any) -> None:
    """The batch goes on, and the message names the place."""
    outcomes = batch(http, service, [GOOD[service], {**GOOD[service], place: value}])
    assert outcomes is not None
    assert outcomes["0"] is None
    words = {"generationConfig": "generation_config", "systemInstruction": "system_instruction"}
    assert outcomes["1"] and words.get(place, place) in outcomes["1"]


@FUZZ
@given(st.one_of(JSON, st.sampled_from(HANDMADE)))
def test_creates_of_any_shape_are_answered(server: FakeServer, http: httpx2.Client, value: Any) -> None:
    """What makes a batch or an upload is refused with 400 where it is of the wrong shape."""
    file = http.post("/openai/v1/files", data={"purpose": "batch"}, files={"file": ("in.jsonl", b"{}")}).json()
    wanted = {"input_file_id": file["id"], "endpoint": "/v1/responses", "completion_window": "24h"}
    for name in (*wanted, "metadata", "output_expires_after"):
        error_of(post(http, "/openai/v1/batches", {**wanted, name: value}))
    request = {"custom_id": "a", "params": GOOD["anthropic"]}
    for body in (value, {"requests": value}, {"requests": [value]}, {"requests": [{**request, "params": value}]}):
        error_of(post(http, "/anthropic/v1/messages/batches", body))
    error_of(post(http, "/anthropic/v1/messages/batches", {"requests": [{**request, "custom_id": value}]}))
    create = "/gemini/v1beta/models/gemini-2.5-flash:batchGenerateContent"
    inlined = {"request": GOOD["gemini"], "metadata": {"key": "a"}}
    for batch in (
        value,
        {"inputConfig": value},
        {"inputConfig": {"requests": value}},
        {"inputConfig": {"requests": {"requests": value}}},
        {"inputConfig": {"requests": {"requests": [value]}}},
        {"inputConfig": {"requests": {"requests": [{**inlined, "metadata": value}]}}},
        {"inputConfig": {"requests": {"requests": [{**inlined, "request": value}]}}},
        {"inputConfig": {"fileName": value}},
        {"displayName": value, "inputConfig": {"requests": {"requests": [inlined]}}},
    ):
        response = post(http, create, {"batch": batch})
        if error_of(response) is None:
            assert http.get(f"/gemini/v1beta/{response.json()['name']}").status_code == 200
    start = {"x-goog-upload-command": "start", "content-type": "application/json"}
    for given_file in (value, {"displayName": value}, {"name": value}, {"mimeType": value}):
        error_of(http.post("/gemini/upload/v1beta/files", content=json.dumps({"file": given_file}), headers=start))
    assert server.errors == []


@pytest.mark.parametrize(
    "path",
    ["/openai/v1/responses", "/anthropic/v1/messages/batches", "/gemini/v1beta/models/m:generateContent"],
)
@pytest.mark.parametrize(
    "raw",
    [
        b"[" * 100_000,
        b'{"requests": [' + b"[" * 100_000,
        b'{"requests": [NaN]}',
        b'{"requests": [{"a": "\\ud800"}]}',
    ],
)
def test_what_only_this_parser_takes_is_no_json(server: FakeServer, http: httpx2.Client, path: str, raw: bytes) -> None:
    """Deep nesting, NaN and lone surrogates are refused at the door."""
    response = http.post(path, content=raw, headers={"content-type": "application/json"})
    assert response.status_code == 400
    assert server.errors == []


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"$ref": "#/nowhere"},
        {"$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}]}}, "$ref": "#/$defs/a"},
        {"anyOf": [{"anyOf": [{"$ref": "#"}]}]},
        {"items": None},
        {"required": [1]},
        {"enum": "abc"},
        {"type": "array", "minItems": 10**9},
        {"type": "number", "multipleOf": 0},
        {"type": "integer", "minimum": "1"},
        {"type": "object", "patternProperties": {"a": 5}},
        {"type": "object", "additionalProperties": "no"},
        {"type": "object", "minProperties": 10**9},
        {"type": "object", "dependentRequired": {"a": "b"}},
        {"type": "object", "dependentSchemas": {"a": {"$ref": "#"}}},
        {"type": "array", "items": [{"type": "string"}, 5]},
        {"type": "array", "minContains": -1, "contains": {}},
        {"type": "string", "pattern": 5},
        {"if": {"$ref": "#"}},
        {"not": 5},
        {"$ref": "#absent"},
        {"$ref": "https://example.com/other"},
    ],
)
def test_schema_nothing_can_be_made_for_is_refused(schema: Any) -> None:
    """A schema is the client's own, and the fake has to follow it."""
    with pytest.raises(WrongType):
        as_schema(schema, "schema")


def nest(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def test_json_nests_100_levels_deep() -> None:
    """As deep as protocol buffers go, and no deeper."""
    assert parse_json(json.dumps(nest(100))) == nest(100)
    with pytest.raises(ValueError, match="deeply"):
        parse_json(json.dumps(nest(101)))


def test_schema_of_5000_schemas_is_taken() -> None:
    """The root counts; one more is too large."""
    inner: Any = {f"p{number}": {"type": "string"} for number in range(4999)}
    assert as_schema({"properties": inner}, "schema") == {"properties": inner}
    with pytest.raises(WrongType, match="a smaller schema"):
        as_schema({"properties": {**inner, "one more": {}}}, "schema")


@pytest.mark.parametrize("raw", ["1e999", '{"a": [-1e400]}'])
def test_number_no_float_holds_is_no_json(raw: str) -> None:
    """Python reads infinity, which no answer could repeat."""
    with pytest.raises(ValueError):
        parse_json(raw)


def test_schema_that_refers_to_itself_a_level_down_is_taken() -> None:
    """A tree of nodes is a fine schema."""
    node = {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}}
    assert as_schema(node, "schema") == node


@pytest.mark.parametrize(
    ("reference", "target"),
    [
        ("#", "root"),
        ("#/$defs/x/properties/y", "y"),
        ("#/$defs/a~1b~0c%20d", "escaped"),
        ("#anchored", "anchor"),
        ("https://example.com/inner#/$defs/deep", "deep"),
        ("#/prefixItems/1", "second"),
    ],
)
def test_references_lead_to_their_schema(reference: str, target: str) -> None:
    """Pointers with their escapes, anchors and ids."""
    root = {
        "title": "root",
        "$defs": {
            "x": {"properties": {"y": {"title": "y"}}},
            "a/b~c d": {"title": "escaped"},
            "n": {"$anchor": "anchored", "title": "anchor"},
            "i": {"$id": "https://example.com/inner", "$defs": {"deep": {"title": "deep"}}},
        },
        "prefixItems": [{"title": "first"}, {"title": "second"}],
    }
    found = find_reference(root, reference)
    assert isinstance(found, dict)
    assert found["title"] == target


def test_json_with_surrogate_pairs_is_taken() -> None:
    """Only the half of a pair is no text."""
    assert parse_json('"\\ud83d\\ude00"') == "😀"
    with pytest.raises(ValueError, match="Unicode"):
        parse_json('["\\ud83d"]')


# limits


def test_openai_file_over_200_million_bytes_is_refused(http: httpx2.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """200 MB are read as the smaller number, so what passes here passes there; one byte over is refused."""
    assert openai.MAX_FILE_BYTES == 200_000_000
    monkeypatch.setattr(openai, "MAX_FILE_BYTES", 10)
    for size, status in ((10, 200), (11, 413)):
        files = {"file": ("in.jsonl", b"x" * size)}
        assert http.post("/openai/v1/files", data={"purpose": "batch"}, files=files).status_code == status


def test_anthropic_body_over_256_million_bytes_is_refused(http: httpx2.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole body counts, not its requests alone."""
    assert anthropic.MAX_BODY_BYTES == 256_000_000
    body = {"requests": [{"custom_id": "a", "params": GOOD["anthropic"]}]}
    size = len(json.dumps(body))
    for limit, status in ((size, 200), (size - 1, 413)):
        monkeypatch.setattr(anthropic, "MAX_BODY_BYTES", limit)
        assert post(http, "/anthropic/v1/messages/batches", body).status_code == status


def test_gemini_file_over_2_billion_bytes_is_refused(http: httpx2.Client) -> None:
    """An upload says at its start how much will come."""
    assert gemini_upload.MAX_FILE_BYTES == 2_000_000_000
    for size, status in ((2_000_000_000, 200), (2_000_000_001, 400)):
        headers = {"x-goog-upload-command": "start", "x-goog-upload-header-content-length": str(size)}
        response = http.post("/gemini/upload/v1beta/files", content=b"{}", headers=headers)
        assert response.status_code == status


def test_gemini_pieces_over_the_limit_are_refused(http: httpx2.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the start said less, or nothing."""
    monkeypatch.setattr(gemini_upload, "MAX_FILE_BYTES", 10)
    started = http.post("/gemini/upload/v1beta/files", content=b"{}", headers={"x-goog-upload-command": "start"})
    headers = {"x-goog-upload-command": "upload, finalize", "x-goog-upload-offset": "0"}
    assert http.post(started.headers["x-goog-upload-url"], content=b"x" * 11, headers=headers).status_code == 400


# reasoning models


@pytest.mark.parametrize("model", ["o1", "o3", "o3-mini", "o4-mini", "gpt-5", "gpt-5-nano", "gpt-5.1", "gpt-6-mini"])
@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"max_tokens": 100}, "unsupported_parameter", "max_tokens"),
        ({"temperature": 0.5}, "unsupported_value", "temperature"),
        ({"temperature": 0}, "unsupported_value", "temperature"),
    ],
)
def test_reasoning_models_refuse_old_limit_and_temperature(
    http: httpx2.Client, model: str, fields: dict[str, Any], code: str, param: str
) -> None:
    """A line's own 400, in a batch whose other lines are answered."""
    response = post(http, "/openai/v1/chat/completions", {**GOOD["openai"], "model": model, **fields})
    assert response.status_code == 400
    assert (response.json()["error"]["code"], response.json()["error"]["param"]) == (code, param)
    good = {**GOOD["openai"], "model": model}
    outcomes = openai_batch(http, "/v1/chat/completions", [good, {**good, **fields}])
    assert outcomes is not None
    assert outcomes["0"] is None
    assert outcomes["1"] == response.json()["error"]["message"]


@pytest.mark.parametrize("model", ["gpt-4.1-mini", "gpt-4o", "gpt-5-chat-latest", "gpt-5.1-chat-latest"])
def test_other_models_take_them(http: httpx2.Client, model: str) -> None:
    """As does a reasoning model for the newer name and the default temperature."""
    assert ask(http, "openai", {**GOOD["openai"], "model": model, "max_tokens": 100, "temperature": 0.5}) is None
    newer = {"model": "gpt-5-nano", "max_completion_tokens": 100, "temperature": 1}
    assert ask(http, "openai", {**GOOD["openai"], **newer}) is None
