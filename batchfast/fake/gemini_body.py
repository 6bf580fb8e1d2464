"""
What a Gemini request asks for, what is wrong with it, and the response that answers it.
"""

from __future__ import annotations

import random
import re
import string
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from batchfast.fake.ids import letters
from batchfast.fake.replies import Ask, Reply
from batchfast.fake.shapes import (
    WrongType,
    as_list,
    as_number,
    as_object,
    as_objects,
    as_schema,
    as_text,
    as_whole,
)

Json = dict[str, Any]
_URL_SAFE = string.ascii_letters + string.digits + "-_"
_REQUEST_FIELDS = frozenset({
    "model", "contents", "systemInstruction", "tools", "toolConfig", "safetySettings", "generationConfig",
    "cachedContent", "serviceTier", "store",
})  # fmt: skip
_CONFIG_FIELDS = frozenset({
    "audioTimestamp", "candidateCount", "enableEnhancedCivicAnswers", "frequencyPenalty", "imageConfig",
    "logprobs", "maxOutputTokens", "mediaResolution", "modelSelectionConfig", "presencePenalty",
    "responseFormat", "responseJsonSchema", "responseLogprobs", "responseMimeType", "responseModalities",
    "responseSchema", "routingConfig", "seed", "speechConfig", "stopSequences", "temperature",
    "thinkingConfig", "topK", "topP", "translationConfig",
})  # fmt: skip
_SCHEMA_FIELDS = frozenset({
    "type", "format", "title", "description", "nullable", "enum", "default", "items", "minItems", "maxItems",
    "properties", "required", "minProperties", "maxProperties", "minimum", "maximum", "minLength",
    "maxLength", "pattern", "example", "anyOf", "propertyOrdering",
})  # fmt: skip
_PART_FIELDS = frozenset({
    "text", "inlineData", "fileData", "functionCall", "functionResponse", "executableCode", "codeExecutionResult",
    "toolCall", "toolResponse", "thought", "thoughtSignature", "videoMetadata", "partMetadata", "mediaResolution",
})  # fmt: skip
_THINKING_FIELDS = frozenset({"includeThoughts", "thinkingBudget", "thinkingLevel"})
_ROLES = ("user", "model", "function")
_MAX_INT32 = (1 << 31) - 1
# Least and most, of the reference of GenerationConfig.
_WHOLE = {
    "maxOutputTokens": (1, _MAX_INT32), "candidateCount": (1, 8), "seed": (-_MAX_INT32 - 1, _MAX_INT32),
    "topK": (1, _MAX_INT32),
}  # fmt: skip
_NUMBERS = {"temperature": (0, 2), "topP": (0, 1), "presencePenalty": (-2, 2), "frequencyPenalty": (-2, 2)}
_MAX_STOPS = 5
# Members that are the user's own, not the service's: `properties` has names of theirs, the others are theirs entirely.
_FREE_KEYS = ("properties",)
_VERBATIM = ("responseJsonSchema", "_responseJsonSchema", "example", "default", "metadata", "args")


def content_body(request: Json, replies: list[Reply], model: str, ids: random.Random) -> Json:
    """
    Args:
        replies: One for each candidate. What was read counts once.
    """
    thoughts = _thoughts(request, ids)
    read, written = replies[0].input_tokens, sum(reply.output_tokens for reply in replies)
    usage: Json = {
        "promptTokenCount": read,
        "candidatesTokenCount": written,
        "totalTokenCount": read + written + thoughts,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": read}],
    }
    if thoughts:
        usage["thoughtsTokenCount"] = thoughts
    usage["serviceTier"] = "standard"
    return {
        "candidates": [_candidate(reply, index) for index, reply in enumerate(replies)],
        "usageMetadata": usage,
        "modelVersion": model,
        "responseId": letters(ids, 22, _URL_SAFE),
    }


def _candidate(reply: Reply, index: int) -> Json:
    if reply.finish == "refusal":
        return {"finishReason": "PROHIBITED_CONTENT", "index": index}
    finish = "MAX_TOKENS" if reply.finish == "length" else "STOP"
    parts = {"parts": [{"text": reply.text}]} if reply.text else {}
    return {"content": {**parts, "role": "model"}, "finishReason": finish, "index": index}


def written_tokens(body: Json) -> int:
    """The tokens of an answer that are billed as output, thoughts included."""
    usage = body["usageMetadata"]
    return int(usage["candidatesTokenCount"] + usage.get("thoughtsTokenCount", 0))


def _thoughts(request: Json, ids: random.Random) -> int:
    """Tokens thought: some where the request sets a budget other than none."""
    config = (request.get("generationConfig") or {}).get("thinkingConfig") or {}
    budget = int(config.get("thinkingBudget") or 0)
    return 0 if budget == 0 else ids.randint(1, budget if budget > 0 else 500)


def read_asks(request: Json, model: str) -> list[Ask]:
    """One for each candidate wanted."""
    config = request.get("generationConfig") or {}
    schema: Mapping[str, Any] | None = config.get("responseSchema") or config.get("responseJsonSchema")
    if schema is None and config.get("responseMimeType") == "application/json":
        schema = {}
    contents = request.get("contents") or []
    user = "\n".join(texts_of(contents if isinstance(contents, list) else [contents]))
    system = "\n".join(texts_of([request.get("systemInstruction") or {}]))
    limit = config.get("maxOutputTokens")
    ask = Ask(model, system, user, schema, None if limit is None else int(limit), config.get("seed"))
    return [replace(ask, variant=number) for number in range(int(config.get("candidateCount") or 1))]


def texts_of(contents: Iterable[Any]) -> Iterator[str]:
    for content in contents:
        for part in _parts(content):
            yield str(part.get("text", ""))


def _parts(content: Json) -> list[Json]:
    parts = content.get("parts") or []
    return parts if isinstance(parts, list) else [parts]


def _unknown_in_part(part: Json) -> str | None:
    return find_unknown(part, _PART_FIELDS, "request.contents.parts")


def find_problem(request: Json) -> str | None:
    """The message the service would refuse this request with; None if it is good."""
    try:
        return _find_problem(request)
    except WrongType as exc:
        return wrong_value(exc)


def wrong_value(exc: WrongType) -> str:
    return f"Invalid value at '{exc.where}': expected {exc.expected}."


def _find_problem(request: Json) -> str | None:
    config = as_object(request.get("generationConfig"), "generation_config")
    _check_config(config)
    unknown = find_unknown(request, _REQUEST_FIELDS, "request")
    unknown = unknown or find_unknown(config, _CONFIG_FIELDS, "request.generation_config")
    thinking = config.get("thinkingConfig") or {}
    unknown = unknown or find_unknown(thinking, _THINKING_FIELDS, "request.generation_config.thinking_config")
    if unknown is None and isinstance(config.get("responseSchema"), dict):
        unknown = _unknown_in_schema(config["responseSchema"])
    if unknown:
        return unknown
    contents = request.get("contents")
    turns = contents if isinstance(contents, list) else [as_object(contents, "contents")]
    check_contents(turns, "contents")
    check_contents([as_object(request.get("systemInstruction"), "system_instruction")], "system_instruction")
    unknown = next(filter(None, (_unknown_in_part(part) for turn in turns for part in _parts(turn))), None)
    if unknown:
        return unknown
    if any(turn.get("role") not in (None, "", *_ROLES) for turn in turns):
        return "Please use a valid role: user, model."
    if not contents:
        return "* GenerateContentRequest.contents: contents is not specified"
    schemas = [name for name in ("responseSchema", "responseJsonSchema") if config.get(name)]
    if len(schemas) > 1:
        return "Only one of response_schema and response_json_schema may be set."
    if schemas and config.get("responseMimeType") != "application/json":
        return "Response schema is only supported with response mime type: `application/json`"
    return None


def _check_config(config: Json) -> None:
    where = "generation_config"
    for name, (least, most) in _WHOLE.items():
        as_whole(config.get(name), f"{where}.{name}", least=least, most=most, strings=True)
    for name, (lowest, highest) in _NUMBERS.items():
        as_number(config.get(name), f"{where}.{name}", least=lowest, most=highest)
    stops = as_list(config.get("stopSequences"), f"{where}.stop_sequences")
    for index, stop in enumerate(stops):
        if not isinstance(stop, str) or index >= _MAX_STOPS:
            raise WrongType(f"{where}.stop_sequences[{index}]", f"a string, one of at most {_MAX_STOPS}")
    as_text(config.get("responseMimeType"), f"{where}.response_mime_type")
    thinking = as_object(config.get("thinkingConfig"), f"{where}.thinking_config")
    budget = f"{where}.thinking_config.thinking_budget"
    as_whole(thinking.get("thinkingBudget"), budget, least=-1, most=_MAX_INT32, strings=True)
    as_schema(config.get("responseSchema"), f"{where}.response_schema")
    as_schema(config.get("responseJsonSchema"), f"{where}.response_json_schema")


def check_contents(contents: list[Any], where: str) -> None:
    """Raises WrongType."""
    for content in as_objects(contents, where):
        as_text(content.get("role"), f"{where}.role")
        parts = content.get("parts")
        for part in as_objects(parts if isinstance(parts, list) else [as_object(parts, f"{where}.parts")], where):
            as_text(part.get("text"), f"{where}.parts.text")


def find_unknown(fields: Json, known: Iterable[str], where: str) -> str | None:
    name = next((name for name in fields if name not in known), None)
    return f"Invalid JSON payload received. Unknown name \"{name}\" at '{where}': Cannot find field." if name else None


def _unknown_in_schema(schema: Any) -> str | None:
    if not isinstance(schema, dict):
        return None
    inner = [schema.get("items"), *(schema.get("anyOf") or ()), *(schema.get("properties") or {}).values()]
    return find_unknown(schema, _SCHEMA_FIELDS, "request.generation_config.response_schema") or next(
        (problem for problem in map(_unknown_in_schema, inner) if problem), None
    )


def camel_case(value: Any) -> Any:
    """The same JSON with the service's field names in camelCase; the user's own names stay."""
    if isinstance(value, list):
        return [camel_case(one) for one in value]
    if not isinstance(value, dict):
        return value
    made: Json = {}
    for key, inner in value.items():
        name = re.sub(r"(?<=[a-z0-9])_([a-z])", lambda found: found[1].upper(), key)
        if name in _VERBATIM:
            made[name] = inner
        elif name in _FREE_KEYS and isinstance(inner, dict):
            made[name] = {own: camel_case(one) for own, one in inner.items()}
        else:
            made[name] = camel_case(inner)
    return made
