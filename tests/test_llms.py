"""The providers' constructors and what they send: pure, without key or network."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import batchfast
from batchfast.errors import ConfigError, MissingKey, ProviderError
from batchfast.llms import PROVIDERS, AnthropicProvider, GeminiProvider, OpenAIProvider, Provider
from batchfast.records import Request

AWKWARD = [
    "plain",
    'braces { } {{name}} {0} and "quotes" and \\ backslashes',
    "lines\nof\r\ntext\tand \x00 control \x1f characters",
    "emoji 👩‍🚀 and 日本語",
    "separators \u2028 \u2029 \u0085 \x0b \x0c",
    "x" * 100_000,
    "",
]
all_providers = pytest.mark.parametrize("make", PROVIDERS.values(), ids=PROVIDERS)


def request_for(prompt: str, num_samples: int = 2) -> Request:
    return Request("0123456789ab-n0nce-7-1", prompt, num_samples)


def body_of(provider: Provider, prompt: str = "Write.", num_samples: int = 2) -> dict[str, Any]:
    line = json.loads(provider.encode(request_for(prompt, num_samples)))
    body: dict[str, Any] = next(line[name] for name in ("body", "params", "request") if name in line)
    return body


def prompt_in(body: dict[str, Any]) -> str:
    """The user's text, wherever the provider has it."""
    if "contents" in body:
        return str(body["contents"][-1]["parts"][0]["text"])
    return str(body["messages"][-1]["content"])


# what is sent


def test_openai_line_is_a_strict_chat_completion() -> None:
    """OpenAI reference, batches.create: custom_id, method, url, body; strict schemas close every object."""
    provider = OpenAIProvider("gpt-4.1-mini", system_prompt="Be brief.", temperature=0.5, max_completion_tokens=200)
    line = json.loads(provider.encode(request_for("Two texts, please.")))
    assert list(line) == ["custom_id", "method", "url", "body"]
    assert (line["custom_id"], line["method"], line["url"]) == (
        "0123456789ab-n0nce-7-1",
        "POST",
        "/v1/chat/completions",
    )
    body = line["body"]
    assert body["model"] == "gpt-4.1-mini"
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Two texts, please."},
    ]
    assert (body["max_completion_tokens"], body["temperature"]) == (200, 0.5)
    assert "top_p" not in body
    assert "frequency_penalty" not in body
    named = body["response_format"]["json_schema"]
    assert (body["response_format"]["type"], named["strict"]) == ("json_schema", True)
    assert named["schema"]["additionalProperties"] is False
    assert named["schema"]["required"] == list(named["schema"]["properties"]) == ["texts"]


def test_anthropic_line_asks_for_a_schema() -> None:
    """Anthropic reference: output_config.format holds type and schema and nothing else; max_tokens is required."""
    provider = AnthropicProvider("claude-haiku-4-5", system_prompt="Be brief.", temperature=0.2, top_p=0.9)
    line = json.loads(provider.encode(request_for("Two texts, please.")))
    assert list(line) == ["custom_id", "params"]
    params = line["params"]
    assert (params["max_tokens"], params["temperature"], params["top_p"]) == (8192, 0.2, 0.9)
    assert params["system"] == "Be brief."
    assert params["messages"] == [{"role": "user", "content": "Two texts, please."}]
    assert set(params["output_config"]["format"]) == {"type", "schema"}
    assert "tools" not in params


def test_gemini_line_is_rest_json() -> None:
    """Gemini API docs, batch mode: nothing converts the lines of a file, so they are REST's own spelling."""
    provider = GeminiProvider(
        "gemini-2.5-flash",
        system_prompt="Be brief.",
        temperature=0,
        top_p=0.5,
        frequency_penalty=0.1,
        max_completion_tokens=9,
    )
    line = json.loads(provider.encode(request_for("Two texts, please.")))
    assert list(line) == ["key", "request"]
    request = line["request"]
    assert request["contents"] == [{"role": "user", "parts": [{"text": "Two texts, please."}]}]
    assert request["systemInstruction"] == {"parts": [{"text": "Be brief."}]}
    config = request["generationConfig"]
    schema = config.pop("responseSchema")
    assert config == {
        "temperature": 0,
        "topP": 0.5,
        "frequencyPenalty": 0.1,
        "maxOutputTokens": 9,
        "responseMimeType": "application/json",
    }
    assert (schema["type"], schema["propertyOrdering"]) == ("OBJECT", ["texts"])
    texts = schema["properties"]["texts"]
    assert (texts["type"], texts["items"]) == ("ARRAY", {"type": "STRING"})
    assert "additionalProperties" not in json.dumps(schema)


@all_providers
@pytest.mark.parametrize("prompt", AWKWARD, ids=lambda prompt: repr(prompt[:12]))
def test_any_prompt_passes_unharmed(make: type[Provider], prompt: str) -> None:
    """Values with braces, quotes, newlines, emoji, U+2028 and 100 kB of text arrive as they were; one line each."""
    line = make("m").encode(request_for(prompt))
    assert b"\n" not in line
    assert prompt_in(body_of(make("m"), prompt)) == prompt
    assert "👩‍🚀" not in prompt or "👩‍🚀".encode() in line


@all_providers
@given(prompt=st.text())
def test_encoding_loses_nothing(make: type[Provider], prompt: str) -> None:
    """Every text that UTF-8 can hold comes back from the line."""
    assert prompt_in(body_of(make("m"), prompt)) == prompt


@all_providers
def test_encoding_twice_gives_the_same_bytes(make: type[Provider]) -> None:
    """Compiling twice gives the same files, also from a second instance and with another size in between."""
    first, second = make("m", system_prompt="s"), make("m", system_prompt="s")
    line = first.encode(request_for("p"))
    first.encode(request_for("p", num_samples=5))
    assert first.encode(request_for("p")) == line == second.encode(request_for("p"))


@all_providers
def test_the_id_comes_first_and_once(make: type[Provider]) -> None:
    """A line can be told apart by its beginning, and nothing depends on which of two ids a parser takes."""
    pairs: list[str] = []
    line = make("m").encode(request_for('{"custom_id":"x","key":"x"}'))
    json.loads(line, object_pairs_hook=lambda found: pairs.extend(name for name, _ in found) or dict(found))
    assert line.startswith((b'{"custom_id":"0123456789ab-n0nce-7-1"', b'{"key":"0123456789ab-n0nce-7-1"'))
    assert pairs.count("custom_id") + pairs.count("key") == 1


@all_providers
def test_lines_hold_no_spaces_they_can_do_without(make: type[Provider]) -> None:
    """Files are limited in bytes."""
    line = make("m").encode(request_for("p"))
    assert line == json.dumps(json.loads(line), ensure_ascii=False, separators=(",", ":")).encode()


@all_providers
def test_half_a_character_is_refused_by_name(make: type[Provider]) -> None:
    """A lone surrogate has no UTF-8: the error says which request holds it."""
    with pytest.raises(ConfigError, match="0123456789ab-n0nce-7-1"):
        make("m").encode(request_for("half \ud83d"))


@pytest.mark.parametrize(
    ("model_id", "forced"),
    [
        ("claude-2.1", True),
        ("claude-instant-1.2", True),
        ("claude-3-opus-20240229", True),
        ("claude-3-5-haiku-latest", True),
        ("claude-3-7-sonnet-20250219", True),
        ("claude-sonnet-4-0", True),
        ("claude-sonnet-4-20250514", True),
        ("claude-opus-4-0", True),
        ("claude-opus-4-20250514", True),
        ("claude-opus-4-1", False),
        ("claude-opus-4-1-20250805", False),
        ("claude-sonnet-4-5", False),
        ("claude-sonnet-4-5-20250929", False),
        ("claude-haiku-4-5-20251001", False),
        ("claude-opus-4-6", False),
        ("claude-sonnet-5", False),
        ("claude-something-new", False),
    ],
)
def test_old_claude_models_are_forced_to_use_a_tool(model_id: str, forced: bool) -> None:
    """Structured output came with Opus 4.1 and Sonnet 4.5; an unknown name is a newer model."""
    params = body_of(AnthropicProvider(model_id))
    assert ("tools" in params) is forced
    assert ("output_config" in params) is not forced
    if forced:
        tool = params["tools"][0]
        assert params["tool_choice"] == {"type": "tool", "name": tool["name"]}
        assert tool["input_schema"]["required"] == ["texts"]


@pytest.mark.parametrize(
    ("model_id", "given_tokens", "sent"),
    [
        ("claude-haiku-4-5", None, 8192),
        ("claude-haiku-4-5", 64_000, 64_000),
        ("claude-3-5-haiku-latest", None, 8192),
        ("claude-3-haiku-20240307", None, 4096),
        ("claude-3-opus-latest", None, 4096),
        ("claude-2.1", None, 4096),
        ("claude-3-haiku-20240307", 100, 100),
    ],
)
def test_anthropic_always_has_a_token_limit(model_id: str, given_tokens: int | None, sent: int) -> None:
    """max_tokens is required: the user's, else 8,192 or what the model can at most."""
    assert body_of(AnthropicProvider(model_id, max_completion_tokens=given_tokens))["max_tokens"] == sent


def test_anthropic_envelope_is_what_the_body_adds_to_the_file() -> None:
    """The body is {"requests":[ lines joined by , ]}: its size is known before it is sent."""
    lines = [AnthropicProvider("m").encode(request_for("p" * n)) for n in range(3)]
    body = b'{"requests":[' + b",".join(lines) + b"]}"
    file = b"".join(line + b"\n" for line in lines)
    assert len(body) == len(file) + AnthropicProvider.hard_limits.envelope_bytes


# extra


def test_extra_reaches_the_body() -> None:
    """`extra` is merged last, nested objects key by key."""
    assert body_of(OpenAIProvider("m", extra={"reasoning_effort": "low"}))["reasoning_effort"] == "low"
    params = body_of(AnthropicProvider("m", extra={"output_config": {"effort": "low"}, "thinking": {"type": "x"}}))
    assert params["output_config"]["effort"] == "low"
    assert set(params["output_config"]) == {"format", "effort"}
    thinking = {"generationConfig": {"thinkingConfig": {"thinkingBudget": 0}}}
    assert body_of(GeminiProvider("m", extra=thinking))["generationConfig"]["thinkingConfig"] == {"thinkingBudget": 0}


def test_gemini_extra_may_be_written_as_in_python() -> None:
    """The service takes snake_case and camelCase; both would be two values for one field."""
    extra = {"generation_config": {"thinking_config": {"thinking_budget": 0}}, "safety_settings": []}
    body = body_of(GeminiProvider("m", extra=extra))
    assert body["safetySettings"] == []
    assert body["generationConfig"]["thinkingConfig"] == {"thinking_budget": 0}
    with pytest.raises(ConfigError, match="responseSchema"):
        GeminiProvider("m", extra={"generation_config": {"response_schema": {}, "responseSchema": {}}})


@pytest.mark.parametrize(
    ("make", "extra", "named"),
    [
        (OpenAIProvider, {"model": "other"}, "extra.model"),
        (OpenAIProvider, {"messages": []}, "extra.messages"),
        (OpenAIProvider, {"response_format": {"type": "text"}}, "extra.response_format.type"),
        (OpenAIProvider, {"max_completion_tokens": 5}, "extra.max_completion_tokens"),
        (OpenAIProvider, {"temperature": 1}, "extra.temperature"),
        (OpenAIProvider, {"stream": True}, "extra.stream"),
        (OpenAIProvider, {"seed": {1, 2}}, "JSON"),
        (OpenAIProvider, {"seed": float("nan")}, "JSON"),
        (OpenAIProvider, {"note": "\ud800"}, "surrogate"),
        (OpenAIProvider, [("seed", 1)], "extra"),
        (OpenAIProvider, {"n": 2}, "extra.n asks for several .* use num_samples_per_prompt"),
        (OpenAIProvider, {"max_tokens": 5}, "extra.max_tokens .* use max_completion_tokens"),
        (GeminiProvider, {"model": "models/x"}, "extra.model .* use model_id"),
        (GeminiProvider, {"generation_config": {"candidate_count": 2}}, "candidateCount .* use num_samples_per_prompt"),
        (GeminiProvider, {"candidateCount": 2}, "extra.candidateCount .* use num_samples_per_prompt"),
        (GeminiProvider, {"generationConfig": {"responseJsonSchema": {}}}, "extra.generationConfig.responseJsonSchema"),
        (GeminiProvider, {"generationConfig": {"responseSchema": {"title": "x"}}}, "batchfast sets itself"),
        (AnthropicProvider, {"max_tokens": 5}, "extra.max_tokens"),
        (AnthropicProvider, {"system": "x"}, "extra.system"),
        (AnthropicProvider, {"output_config": {"format": {"type": "text"}}}, "extra.output_config.format.type"),
        (GeminiProvider, {"contents": []}, "extra.contents"),
        (GeminiProvider, {"system_instruction": {}}, "extra.systemInstruction"),
        (GeminiProvider, {"generationConfig": {"max_output_tokens": 5}}, "extra.generationConfig.maxOutputTokens"),
        (GeminiProvider, {"thinkingConfig": {}}, "extra.generationConfig"),
    ],
)
def test_extra_that_cannot_be_is_refused_at_construction(make: type[Provider], extra: Any, named: str) -> None:
    """A key that batchfast sets itself, set or not, a field in the wrong place, or no JSON: nothing is sent."""
    with pytest.raises(ConfigError, match=named):
        make("m", extra=extra)


@pytest.mark.parametrize(
    "extra", [{"tools": []}, {"tool_choice": {"disable_parallel_tool_use": True}}, {"thinking": {"type": "enabled"}}]
)
def test_a_forced_tool_stands_alone(extra: dict[str, Any]) -> None:
    """Old models answer through a tool they must use: with thinking, or another choice, the service refuses that."""
    (field,) = extra
    with pytest.raises(ConfigError, match=f"extra.{field} does not go with the tool"):
        AnthropicProvider("claude-3-7-sonnet-latest", extra=extra)
    assert body_of(AnthropicProvider("claude-haiku-4-5", extra=extra))[field] == extra[field]


def test_settings_hold_extra_as_it_is_sent() -> None:
    """Nulls are not sent, and Gemini's two spellings are one request: neither makes another run."""
    assert OpenAIProvider("m", extra={"seed": None}).settings() == OpenAIProvider("m").settings()
    snake = {"safety_settings": [], "generation_config": {"thinking_config": {"x": None}, "seed": 1}}
    camel = {"generationConfig": {"seed": 1, "thinkingConfig": {}}, "safetySettings": []}
    made = [GeminiProvider("m", extra=extra) for extra in (snake, camel)]
    first, second = (json.dumps(one.settings()) for one in made)
    assert first == second
    assert made[0].encode(request_for("p")) == made[1].encode(request_for("p"))


@pytest.mark.parametrize("parameter", ["temperature", "top_p", "frequency_penalty"])
def test_zero_has_no_sign(parameter: str) -> None:
    """0, 0.0 and -0.0 are one setting: the same bytes, and the same run."""
    made = [OpenAIProvider("m", **{parameter: zero}) for zero in (0, 0.0, -0.0)]
    assert len({one.encode(request_for("p")) for one in made}) == 1
    assert len({json.dumps(one.settings()) for one in made}) == 1


@all_providers
def test_a_wish_above_the_hard_limit_is_capped(make: type[Provider]) -> None:
    """`max_requests_per_batch` makes files smaller, never larger than the service takes."""
    hard = make.hard_limits
    assert make("m", max_requests_per_batch=7).limits.max_requests == 7
    assert make("m", max_requests_per_batch=hard.max_requests + 1).limits == hard
    assert make("m").limits.max_requests == make.default_max_requests


@all_providers
def test_extra_belongs_to_its_provider(make: type[Provider]) -> None:
    """Changing the mapping afterwards, or a body that was built from it, changes nothing that is sent."""
    extra: dict[str, Any] = {"labels": {"a": "b"}}
    provider = make("m", extra=extra)
    line = provider.encode(request_for("p"))
    extra["labels"]["a"] = "changed"
    assert provider.encode(request_for("p")) == line
    assert provider.settings()["extra"] == {"labels": {"a": "b"}}


# the constructor


@pytest.mark.parametrize(
    ("make", "arguments"),
    [
        (AnthropicProvider, {"frequency_penalty": 0.1}),
        (OpenAIProvider, {"temperature": "hot"}),
        (OpenAIProvider, {"max_completion_tokens": 0}),
        (OpenAIProvider, {"timeout": 0}),
        (OpenAIProvider, {"system_prompt": 5}),
        (OpenAIProvider, {"system_prompt": "\udcff"}),
        (GeminiProvider, {"max_requests_per_batch": True}),
        (GeminiProvider, {"price": {"inputs": 1}}),
    ],
)
def test_bad_arguments_are_refused_at_construction(make: type[Provider], arguments: dict[str, Any]) -> None:
    """One clear line, before anything is compiled."""
    with pytest.raises(ConfigError):
        make("m", **arguments)
    with pytest.raises(ConfigError):
        make(" ")


@all_providers
@pytest.mark.parametrize(
    ("arguments", "named"),
    [({"system_prompt": "half \udcff"}, "system_prompt"), ({"extra": {"a": "\ud800"}}, "extra")],
)
def test_half_a_character_in_a_setting_is_named(make: type[Provider], arguments: Any, named: str) -> None:
    """The request that shows it is none of the user's: the message is about the argument."""
    with pytest.raises(ConfigError, match="surrogate") as caught:
        make("m", **arguments)
    assert named in str(caught.value)
    assert "trial" not in str(caught.value)
    str(caught.value).encode()


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8000",
        "ftp://host",
        "https://",
        "https://user:secret@host",
        "ftp://user:secret@host",
        "https://host/v1?key=secret",
        "https://host/v1#secret",
        "user:secret@host",
        "http://[",
        "http://host:99999",
    ],
)
def test_unusable_base_urls_are_refused(url: str) -> None:
    """A wrong address would look like a network that is down; a password in it would be recorded with the run."""
    with pytest.raises(ConfigError) as caught:
        OpenAIProvider("m", base_url=url).endpoint()
    assert "secret" not in str(caught.value)


@all_providers
def test_endpoint_follows_argument_then_environment(make: type[Provider], monkeypatch: pytest.MonkeyPatch) -> None:
    """`base_url`, else the provider's own variable, else the service; without a slash at the end."""
    assert make("m").endpoint() == make.default_url
    monkeypatch.setenv(make.url_variable, "http://127.0.0.1:1/x/")
    assert make("m").endpoint() == "http://127.0.0.1:1/x"
    assert make("m", base_url="http://127.0.0.1:2").endpoint() == "http://127.0.0.1:2"
    assert make("m").bound_to("http://127.0.0.1:3").endpoint() == "http://127.0.0.1:3"


@all_providers
def test_keys_come_from_argument_environment_or_dotenv(
    make: type[Provider], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In that order; with `api_key_env` from that variable alone; a blank one is none."""
    variable = make.key_variables[-1]
    with pytest.raises(MissingKey, match=make.key_variables[0]):
        make("m").key()
    (tmp_path / ".env").write_text(f"{variable}=from-dotenv\nMINE=my-own\n")
    assert make("m").key() == "from-dotenv"
    monkeypatch.setenv(variable, "from-environment\n")
    assert make("m").key() == "from-environment"
    assert make("m", api_key="given").key() == "given"
    assert make("m", api_key_env="MINE").key() == "my-own"
    monkeypatch.setenv(variable, "  ")
    assert make("m").key() == "from-dotenv"


def test_an_unreadable_dotenv_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a traceback, and not "no key": the file is there."""
    (tmp_path / ".env").write_bytes(b"OPENAI_API_KEY=caf\xe9\n")
    with pytest.raises(ConfigError, match=r"\.env: not UTF-8"):
        OpenAIProvider("m").key()
    monkeypatch.setenv("OPENAI_API_KEY", "from-environment")
    assert OpenAIProvider("m").key() == "from-environment"


def test_a_dotenv_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    """The same for one that belongs to someone else."""
    path = tmp_path / ".env"
    path.write_text("OPENAI_API_KEY=x\n")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("everything can be read here")
    with pytest.raises(ConfigError, match=r"\.env: cannot be read"):
        OpenAIProvider("m").key()


@pytest.mark.parametrize("key", ["sk-abc…def", "sk-abc\ndef"])
def test_a_key_no_header_can_carry_is_a_bad_key(key: str) -> None:
    """Otherwise the transport fails on it with errors of Python's own, some of which show the key."""
    with pytest.raises(ProviderError) as caught:
        OpenAIProvider("m", api_key=key).key()
    assert caught.value.kind == "bad_key"
    assert "abc" not in str(caught.value)


@all_providers
def test_a_copy_makes_its_own_client(make: type[Provider]) -> None:
    """A client is tied to the endpoint it was made for: the copy that `bound_to` returns must not inherit it."""
    provider = make("m", api_key="k", base_url="http://127.0.0.1:1")
    client = provider._sdk()  # noqa: SLF001
    assert provider._sdk() is client  # noqa: SLF001
    other = provider.bound_to("http://127.0.0.1:2")
    assert other._sdk() is not client  # noqa: SLF001
    assert copy.deepcopy(provider).encode(request_for("p")) == provider.encode(request_for("p"))


def test_importing_the_providers_loads_no_sdk() -> None:
    """`plan`, `compile` and `status` shall not wait for libraries they do not use."""
    heavy = ("openai", "anthropic", "google", "httpx2", "pydantic", "dotenv")
    code = f"import sys, batchfast.llms; print([name for name in {heavy} if name in sys.modules])"
    path = {**os.environ, "PYTHONPATH": str(Path(batchfast.__file__).parents[1])}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=path)
    assert run.stdout.strip() == "[]", run.stderr
