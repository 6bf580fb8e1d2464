"""Gemini: generateContent through the Files API and file-mode batches of the Developer API."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from urllib.parse import quote

from batchfast.errors import ConfigError, ProviderError
from batchfast.llms import typed, wire
from batchfast.llms.base import Provider
from batchfast.llms.wire import as_count, as_list, as_object, as_text, as_word, joined
from batchfast.records import (
    BatchSnapshot,
    Candidate,
    Ending,
    Limits,
    ListedBatch,
    ListedFile,
    RemoteFile,
    Request,
    RequestError,
    Result,
    Said,
    Shard,
    Usage,
)

if TYPE_CHECKING:
    import httpx2
    from google.genai import Client

# The version that every shape read here was seen with; the SDK's own default has changed before.
_VERSION = "v1beta"
_KEPT_S = 48 * 3600  # files, results included
_A_PAGE = 100

_RUNNING = frozenset({"PENDING", "QUEUED", "RUNNING", "CANCELLING", "PAUSED", "UPDATING"})
_ENDED: dict[str, Literal["completed", "failed", "expired", "cancelled"]] = {
    "SUCCEEDED": "completed",
    "PARTIALLY_SUCCEEDED": "completed",
    "FAILED": "failed",
    "CANCELLED": "cancelled",
    "EXPIRED": "expired",
}
# google.rpc.Code: the name, and the HTTP status Google pairs with it.
_RPC = {
    1: ("CANCELLED", 499),
    2: ("UNKNOWN", 500),
    3: ("INVALID_ARGUMENT", 400),
    4: ("DEADLINE_EXCEEDED", 504),
    5: ("NOT_FOUND", 404),
    6: ("ALREADY_EXISTS", 409),
    7: ("PERMISSION_DENIED", 403),
    8: ("RESOURCE_EXHAUSTED", 429),
    9: ("FAILED_PRECONDITION", 400),
    10: ("ABORTED", 409),
    11: ("OUT_OF_RANGE", 400),
    12: ("UNIMPLEMENTED", 501),
    13: ("INTERNAL", 500),
    14: ("UNAVAILABLE", 503),
    15: ("DATA_LOSS", 500),
    16: ("UNAUTHENTICATED", 401),
}
_STATUS_OF_NAME = dict(_RPC.values())
_BLOCKED = frozenset(
    {
        "SAFETY",
        "RECITATION",
        "LANGUAGE",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "MODEL_ARMOR",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
    }
)
# How the SDK trips over an answer that is not as it expects.
_STUMBLES = (ValueError, KeyError, TypeError, AttributeError)
# Fields of generationConfig that people know from the SDK, where they stand one level higher.
_GENERATION_FIELDS = frozenset(
    {
        "frequencyPenalty",
        "maxOutputTokens",
        "presencePenalty",
        "responseMimeType",
        "seed",
        "stopSequences",
        "temperature",
        "thinkingConfig",
        "topK",
        "topP",
    }
)
_OWN_SCHEMA = "would change the form that replies are read in, which batchfast sets itself: leave it out"
_REFUSED_GENERATION_FIELDS = {
    "candidateCount": "asks for several replies, of which one would be read: use num_samples_per_prompt",
    "responseJsonSchema": _OWN_SCHEMA,
    "responseSchema": _OWN_SCHEMA,
}


class GeminiProvider(Provider):
    __doc__ = Provider.__doc__

    name = "gemini"
    deletes_batches = True
    key_variables = ("GEMINI_API_KEY", "GOOGLE_API_KEY")
    url_variable = "GOOGLE_GEMINI_BASE_URL"
    default_url = "https://generativelanguage.googleapis.com"
    # Gemini API docs, batch mode: input files up to 2 GB, no cap on requests is given; read 2026-11.
    hard_limits = Limits(max_requests=1_000_000, max_bytes=2_000_000_000)
    # An expired batch gives nothing back, so a smaller one loses less.
    default_max_requests = 10_000
    refused_extra: ClassVar[Mapping[str, str]] = {
        "model": "has an argument of its own: use model_id",
        **_REFUSED_GENERATION_FIELDS,
        **{f"generationConfig.{name}": why for name, why in _REFUSED_GENERATION_FIELDS.items()},
    }
    ending_states = frozenset(
        f"{prefix}_STATE_{word}"
        for prefix in ("BATCH", "JOB")
        for word in ("CANCELLING", "SUCCEEDED", "PARTIALLY_SUCCEEDED")
    )

    # pure

    def _own_body(self, schema: dict[str, Any], token_limit: int | None) -> dict[str, Any]:
        system = None if self.system_prompt is None else {"parts": [{"text": self.system_prompt}]}
        return {
            "contents": [],
            "systemInstruction": system,
            "generationConfig": {
                "temperature": self.temperature,
                "topP": self.top_p,
                "frequencyPenalty": self.frequency_penalty,
                "maxOutputTokens": token_limit,
                "responseMimeType": "application/json",
                "responseSchema": _rest_schema(schema),
            },
        }

    def _wire_extra(self) -> dict[str, Any]:
        """`extra` in REST's spelling: the service takes snake_case as well, and would then see a field twice."""
        extra = _camel_keys(self.extra)
        if isinstance(extra.get("generationConfig"), dict):
            extra["generationConfig"] = _camel_keys(extra["generationConfig"])
        for key in extra:
            if key in _GENERATION_FIELDS:
                raise ConfigError(f"extra.{key} belongs into extra.generationConfig for gemini")
        return extra

    def _line(self, request: Request) -> dict[str, Any]:
        contents = [{"role": "user", "parts": [{"text": request.prompt}]}]
        return {"key": request.custom_id, "request": {**self._body(request), "contents": contents}}

    def prompt_of(self, line: bytes) -> str:
        return str(wire.load_object(line)["request"]["contents"][-1]["parts"][0]["text"])

    def decode(self, line: bytes) -> Result:
        """
        One line of a results file; successes and errors share it.

        Raises:
            ValueError: Not a JSON object, or without a key.

        Source:
            Gemini API docs, batch mode and GenerateContentResponse, and recorded files of 2025-06 to 2026-08; read
            2026-11.
        """
        return decode_usual(line) or decode_any(line)

    def said(self, line: bytes) -> Said | None:
        found = typed.read_again(typed.generated_said, line)
        return None if found is None else _said(found.response.candidates[0])

    # network

    def upload(self, shard: Shard) -> str | None:
        with shard.opened() as file, self._calling("upload"):
            # An open file rather than its path: of a path the SDK sends the name in a header.
            uploaded = self._sdk().files.upload(
                file=file, config={"mime_type": "application/jsonl", "display_name": shard.label}
            )
        return self._word({"name": uploaded.name}, "name", "upload")

    def create(self, shard: Shard, file_id: str | None) -> str:
        with self._calling("create"):
            batch = self._sdk().batches.create(
                model=self.model_id, src=file_id or "", config={"display_name": shard.label}
            )
        return self._word({"name": batch.name}, "name", "create")

    def newest(self) -> str | None:
        page = self._answer(self._get("newest", "batches", {"pageSize": str(_A_PAGE)}).content, "newest")
        batches = [as_object(batch) for batch in as_list(page.get("operations"))]
        # No order is promised.
        batches.sort(key=lambda batch: as_text(as_object(batch.get("metadata")).get("createTime")) or "")
        return as_word(batches[-1].get("name")) if batches else None

    def find(self, shard: Shard, fence: str | None) -> list[Candidate]:  # noqa: ARG002  # no order, so no fence
        # Files first: a batch that appears in between is then still seen, and its file not taken for an unused one.
        files = [file.ref for file in self.uploads() if file.label == shard.label]
        found: list[Candidate] = []
        for batch in self._walk("batches", "operations"):
            about = as_object(batch.get("metadata"))
            remote_id = as_word(batch.get("name"))
            if remote_id and about.get("displayName") == shard.label:
                file_id = as_word(as_object(about.get("inputConfig")).get("fileName"))
                found.append(Candidate(remote_id, file_id, certain=True))
        # A label is used for one batch only, so that beside it every file with the label is a spent one.
        return found or [Candidate(None, ref, certain=True) for ref in files]

    def poll(self, remote_id: str) -> BatchSnapshot:
        response = self._get("poll", quote(remote_id), {}, remote_id)
        return dataclasses.replace(
            snapshot_of(self._answer(response.content, "poll", remote_id)),
            remote_id=remote_id,
        )

    def download(self, file: RemoteFile) -> Iterator[bytes]:
        # The SDK's own download hands over no chunks: it returns the whole file, or writes it somewhere.
        self._sdk()
        url = f"{self.endpoint()}/{_VERSION}/{quote(file.ref)}:download"
        with (
            self._calling("download", file.ref),
            self._http().stream("GET", url, params={"alt": "media"}, headers=self._headers()) as response,
        ):
            yield from wire.whole_body(response)

    def cancel(self, remote_id: str) -> None:
        with self._cancelling(remote_id):
            self._sdk().batches.cancel(name=remote_id)

    def delete(self, ref: str) -> None:
        with self._calling("delete", ref):
            if ref.startswith("batches/"):
                self._sdk().batches.delete(name=ref)
            else:
                self._sdk().files.delete(name=ref)

    def batches(self) -> Iterator[ListedBatch]:
        for batch in self._walk("batches", "operations"):
            yield ListedBatch(as_word(as_object(batch.get("metadata")).get("displayName")), snapshot_of(batch))

    def uploads(self) -> Iterator[ListedFile]:
        for file in self._walk("files", "files"):
            ref, label = as_word(file.get("name")), as_word(file.get("displayName"))
            if ref and label and file.get("source") != "GENERATED":
                yield ListedFile(label, ref)

    def _sdk(self) -> Client:
        if self._client is None:
            from google.genai import Client, types

            http = self._http()
            http.event_hooks = {**http.event_hooks, "response": [_raise_at_once]}
            options = types.HttpOptions(
                base_url=self.endpoint(),
                api_version=_VERSION,
                timeout=round(self._timeout_s() * 1000),
                httpx_client=http,
            )
            # Said outright, because GOOGLE_GENAI_USE_VERTEXAI would have the calls go elsewhere.
            self._client = Client(vertexai=False, api_key=self.key(), http_options=options)
        client: Client = self._client
        return client

    def _headers(self) -> dict[str, str]:
        return {"x-goog-api-key": self.key()}

    def _get(
        self, operation: str, path: str, query: Mapping[str, str], remote_id: str | None = None
    ) -> httpx2.Response:
        """
        A plain GET over the SDK's own connections.

        The SDK's BatchJob leaves out `error`, `response`, `batchStats` and `inputConfig`: with it a failed batch would
        give no reason, and a file no batch.
        """
        with self._calling(operation, remote_id):
            self._sdk()
            return self._http().get(f"{self.endpoint()}/{_VERSION}/{path}", params=query, headers=self._headers())

    def _walk(self, path: str, name: str) -> Iterator[dict[str, Any]]:
        """All listed objects, in no order that is promised."""
        token = ""
        while True:
            query = {"pageSize": str(_A_PAGE)} | ({"pageToken": token} if token else {})
            page = self._answer(self._get("find", path, query).content, "find")
            yield from map(as_object, as_list(page.get(name)))
            following = as_word(page.get("nextPageToken"))
            if following is None:
                return
            if following == token:
                # "Not there" would have the shard sent, and paid, again.
                raise self._unreadable("find", None, f"the list of {path} repeats itself from page to page")
            token = following

    def _sdk_errors(self) -> tuple[type[Exception], ...]:
        from google.genai import errors

        return (errors.APIError, *_STUMBLES)

    def _error(self, exc: Exception, operation: str, remote_id: str | None) -> ProviderError:
        from google.genai import errors

        status = as_count(getattr(exc, "code", None)) if isinstance(exc, errors.APIError) else None
        about = as_object(as_object(getattr(exc, "details", None)).get("error"))
        details = [as_object(entry) for entry in as_list(about.get("details"))]
        reasons = {as_word(entry.get("reason")) for entry in details}
        message = as_word(about.get("message")) or as_word(getattr(exc, "message", None))
        kind = None
        if isinstance(exc, _STUMBLES) and not isinstance(exc, wire.transport_errors()):
            kind = "server"
        elif "API_KEY_INVALID" in reasons:
            kind = "bad_key"
        elif status == 403 and message and "may not exist" in message:
            kind = "not_found"  # what the service says of a file that is gone
        elif status == 400 and about.get("status") == "FAILED_PRECONDITION" and operation in ("upload", "create"):
            kind = "no_credit"  # billing is not set up, or has to be where the caller is: for a person, not for a retry
        response = getattr(exc, "response", None)
        waits = (wire.retry_after_s(response.headers) if response is not None else None, _retry_delay(details))
        return wire.provider_error(
            exc,
            provider=self.name,
            operation=operation,
            remote_id=remote_id,
            key=self.key(),
            status_code=status,
            words=(next(filter(None, reasons), None), as_word(about.get("status"))),
            message=message,
            retry_after=next((wait for wait in waits if wait is not None), None),
            kind=kind,
        )


def decode_usual(line: bytes) -> Result | None:
    """As `decode_any`, for a plain answer; None for any other line."""
    found = typed.read(typed.generated_line, line)
    if found is None:
        return None
    response = found.response
    candidate, usage = response.candidates[0], response.usage_metadata
    text, ending = _said(candidate)
    return Result(
        found.key,
        "succeeded",
        text,
        candidate.finish_reason,
        response.model_version,
        Usage(
            usage.prompt_token_count + usage.tool_use_prompt_token_count,
            usage.candidates_token_count + usage.thoughts_token_count,
            usage.cached_content_token_count,
            None,
            usage.thoughts_token_count,
        ),
        None,
        ending,
    )


def _said(candidate: typed.Candidate) -> Said:
    text = joined([part.text for part in candidate.content.parts if part.thought is not True])
    return text, _ending(candidate.finish_reason)


def decode_any(line: bytes) -> Result:
    """As `GeminiProvider.decode`, whatever stands where."""
    data = wire.load_object(line)
    custom_id = as_word(data.get("key"))
    if custom_id is None:
        raise ValueError("a line without a key")
    if data.get("error"):
        error = _rpc_error(data["error"])
        return Result(custom_id, "cancelled" if error.type == "CANCELLED" else "failed", error=error)
    if not isinstance(data.get("response"), dict):
        error = wire.request_error("no_response", "neither a response nor an error came back", retryable=True)
        return Result(custom_id, "failed", error=error)
    return _from_response(custom_id, data["response"])


def snapshot_of(batch: Mapping[str, Any]) -> BatchSnapshot:
    """
    An operation of the batch service, as create, get and list write it.

    A batch that succeeded may name its output file a little later: the state is ahead of it now and then. Ours never
    answer inline.

    Source:
        Gemini API docs, batches, and recorded operations of 2026-08; read 2026-11.
    """
    about = as_object(batch.get("metadata"))
    state = as_word(about.get("state")) or "unknown"
    word = state.removeprefix("BATCH_STATE_").removeprefix("JOB_STATE_")
    outcome = _ENDED.get(word)
    output, response = as_object(about.get("output")), as_object(batch.get("response"))
    ref = as_word(output.get("responsesFile")) or as_word(response.get("responsesFile"))
    created_at, ended_at = wire.utc(about.get("createTime")), wire.utc(about.get("endTime"))
    return BatchSnapshot(
        remote_id=as_text(batch.get("name")) or "",
        outcome=outcome,
        remote_state=state,
        known_state=word in _RUNNING or word in _ENDED,
        counts=wire.counts_of(about.get("batchStats")),
        errors=(_rpc_error(batch["error"]),) if batch.get("error") else (),
        files=(RemoteFile("output", ref),) if ref and outcome is not None else (),
        late=outcome == "completed" and ref is None,
        created_at=created_at,
        ended_at=ended_at,
        collect_by=wire.later(ended_at or created_at, _KEPT_S),
    )


def _rest_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """JSON schema to Gemini's own kind: types in capitals, an order of properties, no additionalProperties."""
    rest = {key: value for key, value in schema.items() if key != "additionalProperties"}
    rest["type"] = str(schema["type"]).upper()
    if "items" in schema:
        rest["items"] = _rest_schema(schema["items"])
    if "properties" in schema:
        rest["properties"] = {name: _rest_schema(inner) for name, inner in schema["properties"].items()}
        rest["propertyOrdering"] = list(schema["properties"])
    return rest


def _camel_keys(fields: Mapping[str, Any]) -> dict[str, Any]:
    camel: dict[str, Any] = {}
    for key, value in fields.items():
        first, *others = str(key).split("_")
        name = first + "".join(other[:1].upper() + other[1:] for other in others)
        if name in camel:
            raise ConfigError(f"extra has {name} twice, in two spellings: keep one")
        camel[name] = value
    return camel


def _raise_at_once(response: httpx2.Response) -> None:
    """
    Raise for an error before the SDK sees it: it would send a refused piece of an upload three times, with pauses.
    """
    from google.genai import errors

    piece = "upload" in response.request.headers.get("x-goog-upload-command", "")
    if response.status_code >= 400:
        errors.APIError.raise_for_response(response)
    elif piece and "x-goog-upload-status" not in response.headers:
        raise ValueError("the upload was answered without a word on its state")


def _retry_delay(details: list[dict[str, Any]]) -> float | None:
    """Seconds from google.rpc.RetryInfo, which writes them as "34s"."""
    for entry in details:
        delay = entry.get("retryDelay")
        if isinstance(delay, str):
            return wire.retry_after_s({"retry-after": delay.removesuffix("s")})
    return None


def _rpc_error(error: object) -> RequestError:
    """A google.rpc.Status: its code counts by Google's own list, unless it is an HTTP status already."""
    about = as_object(error)
    code = as_count(about.get("code"))
    name, status = _RPC.get(code or 0, (None, None))
    name = as_word(about.get("status")) or name
    if code is not None and code >= 100:
        status = code
    elif status is None:
        status = _STATUS_OF_NAME.get(name or "")
    message = about.get("message") if about else error
    return wire.request_error(name, message, status_code=status)


def _from_response(custom_id: str, response: Mapping[str, Any]) -> Result:
    candidate = as_object(next(iter(as_list(response.get("candidates"))), None))
    parts = [as_object(part) for part in as_list(as_object(candidate.get("content")).get("parts"))]
    text = joined(as_text(part.get("text")) for part in parts if part.get("thought") is not True)
    finish = as_word(candidate.get("finishReason"))
    blocked = as_word(as_object(response.get("promptFeedback")).get("blockReason"))
    ending = _ending(finish)
    if blocked is not None and not candidate:
        finish, ending = blocked, "blocked"
    return Result(
        custom_id,
        "succeeded",
        text=text,
        finish_reason=finish,
        model=as_word(response.get("modelVersion")),
        usage=_usage(response.get("usageMetadata")),
        ending=ending,
    )


def _ending(finish: str | None) -> Ending:
    if finish == "STOP":
        return "complete"
    if finish == "MAX_TOKENS":
        return "truncated"
    return "blocked" if finish in _BLOCKED else "other"


def _usage(usage: object) -> Usage | None:
    """
    Gemini leaves zeros out. A prompt is never empty, so where its count stands the others were left out for being zero;
    where it does not, what is missing is unknown. Writes to a cache are never told.
    """
    about = as_object(usage)
    prompt = as_count(about.get("promptTokenCount"))
    missing = None if prompt is None else 0
    visible = as_count(about.get("candidatesTokenCount", missing))
    thoughts = as_count(about.get("thoughtsTokenCount", missing))
    tools = as_count(about.get("toolUsePromptTokenCount")) or 0
    return wire.usage_or_none(
        Usage(
            input_tokens=None if prompt is None else prompt + tools,
            # What the model thought costs as much as what it wrote, but is counted apart.
            output_tokens=None if visible is None else visible + (thoughts or 0),
            cached_input_tokens=as_count(about.get("cachedContentTokenCount", missing)),
            reasoning_tokens=thoughts,
        )
    )
