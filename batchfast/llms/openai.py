"""OpenAI: chat completions through the Files and Batches APIs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from batchfast.errors import ProviderError
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
    from openai import OpenAI

_ENDPOINT: Final = "/v1/chat/completions"
_LABEL = "batchfast"  # the key of our label in a batch's metadata
_BATCHES_A_PAGE = 100
_FILES_A_PAGE = 10_000

_RUNNING = frozenset({"validating", "in_progress", "finalizing", "cancelling"})
_ENDED: dict[str, Literal["completed", "failed", "expired", "cancelled"]] = {
    "completed": "completed",
    "failed": "failed",
    "expired": "expired",
    "cancelled": "cancelled",
}
_ENDINGS: dict[str, Ending] = {
    # chat completions
    "stop": "complete",
    "length": "truncated",
    "content_filter": "blocked",
    # responses
    "completed": "complete",
    "max_output_tokens": "truncated",
    "refusal": "refused",
}


class OpenAIProvider(Provider):
    __doc__ = Provider.__doc__

    name = "openai"
    deletes_batches = False
    key_variables = ("OPENAI_API_KEY",)
    url_variable = "OPENAI_BASE_URL"
    default_url = "https://api.openai.com/v1"
    # OpenAI reference, batches.create: up to 50,000 requests and 200 MB; read 2026-11.
    hard_limits = Limits(max_requests=50_000, max_bytes=200_000_000)
    default_max_requests = 50_000
    refused_extra: ClassVar[Mapping[str, str]] = {
        "n": "asks for several replies, of which one would be read: use num_samples_per_prompt",
        "max_tokens": "is an older name: use max_completion_tokens",
    }
    ending_states = frozenset({"cancelling", "completed"})

    # pure

    def _own_body(self, schema: dict[str, Any], token_limit: int | None) -> dict[str, Any]:
        named = {"name": "samples", "strict": True, "schema": schema}
        return {
            "model": self.model_id,
            "messages": [],
            "max_completion_tokens": token_limit,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "frequency_penalty": self.frequency_penalty,
            "response_format": {"type": "json_schema", "json_schema": named},
        }

    def _line(self, request: Request) -> dict[str, Any]:
        messages = [{"role": "user", "content": request.prompt}]
        if self.system_prompt is not None:
            messages.insert(0, {"role": "system", "content": self.system_prompt})
        body = {**self._body(request), "messages": messages}
        return {"custom_id": request.custom_id, "method": "POST", "url": _ENDPOINT, "body": body}

    def prompt_of(self, line: bytes) -> str:
        return str(wire.load_object(line)["body"]["messages"][-1]["content"])

    def decode(self, line: bytes) -> Result:
        """
        One line of an output or error file: chat completions, responses, and what never ran.

        Raises:
            ValueError: Not a JSON object, or without a custom_id.

        Source:
            OpenAI reference, batch output objects, and recorded files of 2023-11 to 2026-08; read 2026-11.
        """
        return decode_usual(line) or decode_any(line)

    def said(self, line: bytes) -> Said | None:
        found = typed.read_again(typed.chat_said, line)
        if found is None:
            return None
        choice = found.response.body.choices[0]
        return choice.message.content, _ENDINGS.get(choice.finish_reason, "other")

    # network

    def upload(self, shard: Shard) -> str | None:
        with shard.opened() as file, self._calling("upload"):
            # No expires_after: OpenAI keeps batch inputs for 30 days by itself.
            response = self._sdk().files.with_raw_response.create(
                file=(f"{shard.label}.jsonl", file, "application/jsonl"), purpose="batch"
            )
        return self._word(self._answer(response.http_response.content, "upload"), "id", "upload")

    def create(self, shard: Shard, file_id: str | None) -> str:
        with self._calling("create"):
            response = self._sdk().batches.with_raw_response.create(
                input_file_id=file_id or "",
                endpoint=_ENDPOINT,
                completion_window="24h",
                metadata={_LABEL: shard.label},
            )
        return self._word(self._answer(response.http_response.content, "create"), "id", "create")

    def newest(self) -> str | None:
        page = self._page("newest", "batches", limit=1)
        return next((as_word(as_object(batch).get("id")) for batch in as_list(page.get("data"))), None)

    def find(self, shard: Shard, fence: str | None) -> list[Candidate]:
        # Files first: a batch that appears in between is then still seen, and its file not taken for an unused one.
        files = [file.ref for file in self.uploads() if file.label == shard.label]
        found: list[Candidate] = []
        for batch in self._walk("batches", fence):
            remote_id, file_id = as_word(batch.get("id")), as_word(batch.get("input_file_id"))
            labelled = as_object(batch.get("metadata")).get(_LABEL) == shard.label
            # Some compatible servers drop metadata; the file's name is then as good a label.
            if remote_id and (labelled or file_id in files):
                found.append(Candidate(remote_id, file_id, certain=True))
        used = {candidate.file_id for candidate in found}
        return found + [Candidate(None, file_id, certain=True) for file_id in files if file_id not in used]

    def poll(self, remote_id: str) -> BatchSnapshot:
        with self._calling("poll", remote_id):
            response = self._sdk().batches.with_raw_response.retrieve(remote_id)
        snapshot = snapshot_of(self._answer(response.http_response.content, "poll", remote_id))
        expiries = [moment for file in snapshot.files if (moment := self._expiry(file.ref))]
        return dataclasses.replace(
            snapshot,
            remote_id=remote_id,
            collect_by=min(expiries, default=None),
        )

    def download(self, file: RemoteFile) -> Iterator[bytes]:
        with (
            self._calling("download", file.ref),
            self._sdk().files.with_streaming_response.content(file.ref) as response,
        ):
            yield from wire.whole_body(response.http_response)

    def cancel(self, remote_id: str) -> None:
        with self._cancelling(remote_id):
            self._sdk().batches.with_raw_response.cancel(remote_id)

    def delete(self, ref: str) -> None:
        with self._calling("delete", ref):
            self._sdk().files.with_raw_response.delete(ref)

    def batches(self) -> Iterator[ListedBatch]:
        for batch in self._walk("batches", None):
            yield ListedBatch(as_word(as_object(batch.get("metadata")).get(_LABEL)), snapshot_of(batch))

    def uploads(self) -> Iterator[ListedFile]:
        for file in self._walk("files", None):
            ref, name = as_word(file.get("id")), as_word(file.get("filename")) or ""
            if ref and name.endswith(".jsonl") and file.get("purpose") in ("batch", None):
                yield ListedFile(name.removesuffix(".jsonl"), ref)

    def _sdk(self) -> OpenAI:
        if self._client is None:
            from openai import OpenAI

            self._client = OpenAI(
                api_key=self.key(),
                base_url=self.endpoint(),
                max_retries=0,
                timeout=self._http().timeout,
                http_client=self._http(),
            )
        client: OpenAI = self._client
        return client

    def _page(self, operation: str, what: str, after: str | None = None, limit: int | None = None) -> dict[str, Any]:
        query = {"after": after} if after else {}
        with self._calling(operation):
            if what == "files":
                files = self._sdk().files.with_raw_response
                answer = files.list(purpose="batch", limit=limit or _FILES_A_PAGE, extra_query=query).http_response
            else:
                batches = self._sdk().batches.with_raw_response
                answer = batches.list(limit=limit or _BATCHES_A_PAGE, extra_query=query).http_response
        return self._answer(answer.content, operation)

    def _walk(self, what: str, fence: str | None) -> Iterator[dict[str, Any]]:
        """All listed objects, newest first, down to the fence."""
        after: str | None = None
        while True:
            page = self._page("find", what, after)
            listed = [as_object(entry) for entry in as_list(page.get("data"))]
            for entry in listed:
                if fence is not None and entry.get("id") == fence:
                    return
                yield entry
            last = as_word(listed[-1].get("id")) if listed else None
            if last is None or page.get("has_more") is False:
                return
            if last == after:
                # "Not there" would have the shard sent, and paid, again.
                raise self._unreadable("find", None, f"the list of {what} repeats itself from page to page")
            after = last

    def _expiry(self, file_id: str) -> str | None:
        """When a file goes: information, without which the batch's end is still known."""
        try:
            with self._calling("poll", file_id):
                response = self._sdk().files.with_raw_response.retrieve(file_id)
            return wire.utc(self._answer(response.http_response.content, "poll", file_id).get("expires_at"))
        except ProviderError as exc:
            if exc.kind == "bad_key":
                raise
            return None

    def _sdk_errors(self) -> tuple[type[Exception], ...]:
        import openai

        return (openai.OpenAIError,)

    def _error(self, exc: Exception, operation: str, remote_id: str | None) -> ProviderError:
        body = as_object(getattr(exc, "body", None))
        response = getattr(exc, "response", None)
        return wire.provider_error(
            exc,
            provider=self.name,
            operation=operation,
            remote_id=remote_id,
            key=self.key(),
            status_code=as_count(getattr(exc, "status_code", None)),
            words=(as_word(body.get("code")), as_word(body.get("type"))),
            message=as_word(body.get("message")),
            retry_after=wire.retry_after_s(response.headers) if response is not None else None,
        )


def decode_usual(line: bytes) -> Result | None:
    """As `decode_any`, for a plain answer of chat completions; None for any other line."""
    found = typed.read(typed.chat_line, line)
    if found is None:
        return None
    body = found.response.body
    choice, usage = body.choices[0], body.usage
    given, made = usage.prompt_tokens_details, usage.completion_tokens_details
    return Result(
        found.custom_id,
        "succeeded",
        choice.message.content,
        choice.finish_reason,
        body.model,
        Usage(
            usage.prompt_tokens,
            usage.completion_tokens,
            given.cached_tokens if given else None,
            given.cache_write_tokens if given else None,
            made.reasoning_tokens if made else None,
        ),
        None,
        _ENDINGS.get(choice.finish_reason, "other"),
    )


def decode_any(line: bytes) -> Result:
    """As `OpenAIProvider.decode`, whatever stands where."""
    data = wire.load_object(line)
    custom_id = as_word(data.get("custom_id"))
    if custom_id is None:
        raise ValueError("a line without a custom_id")
    if not data.keys() & {"response", "error"}:
        raise ValueError("a line without response and error: not one of OpenAI's")
    if _is_error(data.get("error")):
        return _never_ran(custom_id, data["error"])
    response = as_object(data.get("response"))
    status = as_count(response.get("status_code"))
    body = response.get("body")
    if status is None and _is_answer(body):  # compatible servers: an answer without its status
        status = 200
    if status is None or not 200 <= status < 300:
        return _refused_with(custom_id, status or 0, body)
    if not isinstance(body, dict):
        error = wire.request_error("no_body", "the response has no body", status_code=status, retryable=True)
        return Result(custom_id, "failed", error=error)
    if body.get("object") == "response" or "output" in body:
        return _from_responses(custom_id, body)
    return _from_chat(custom_id, body)


def snapshot_of(batch: Mapping[str, Any]) -> BatchSnapshot:
    """
    A batch object as OpenAI writes it. `collect_by` is not in it: only the result files know when they go.

    A batch that is completed, counts answers and names no output file may name it later.

    Source:
        OpenAI reference, the batch object, and recorded batches of 2023-11 to 2026-08; read 2026-11.
    """
    state = as_word(batch.get("status")) or "unknown"
    word = {"canceled": "cancelled", "canceling": "cancelling"}.get(state.lower(), state.lower())
    outcome = _ENDED.get(word)
    output, errors = as_word(batch.get("output_file_id")), as_word(batch.get("error_file_id"))
    counts = wire.counts_of(batch.get("request_counts"))
    files = (
        *([RemoteFile("output", output)] if output else ()),
        *([RemoteFile("error", errors)] if errors else ()),
    )
    return BatchSnapshot(
        remote_id=as_text(batch.get("id")) or "",
        outcome=outcome,
        remote_state=state,
        known_state=word in _RUNNING or word in _ENDED,
        counts=counts,
        errors=tuple(_batch_errors(batch.get("errors"))),
        files=files if outcome is not None else (),
        late=outcome == "completed" and output is None and bool(counts.get("completed")),
        created_at=wire.utc(batch.get("created_at")),
        ended_at=wire.utc(batch.get(f"{word}_at")) if outcome is not None else None,
    )


def _batch_errors(errors: object) -> Iterator[RequestError]:
    """Errors of a batch as a whole; a bad line of the file is named in the message."""
    for entry in as_list(errors) or as_list(as_object(errors).get("data")):
        line = as_count(as_object(entry).get("line"))
        message = as_text(as_object(entry).get("message")) or ""
        yield wire.request_error(
            as_word(as_object(entry).get("code")), message if line is None else f"line {line}: {message}"
        )


def _is_error(error: object) -> bool:
    """Some compatible servers write {}, or an object of nulls, for none."""
    return any(error.values()) if isinstance(error, dict) else bool(error)


def _is_answer(body: object) -> bool:
    about = as_object(body)
    return any(isinstance(about.get(name), list) for name in ("choices", "output")) and not _is_error(
        about.get("error")
    )


def _never_ran(custom_id: str, error: object) -> Result:
    """A line whose top-level `error` is set: the request was not executed."""
    about = as_object(error)
    code = as_word(about.get("code"))
    message = about.get("message") if about else error
    if code == "batch_expired":
        return Result(custom_id, "expired", error=wire.request_error(code, message, retryable=True))
    if code in ("batch_cancelled", "batch_canceled"):
        return Result(custom_id, "cancelled", error=wire.request_error(code, message, retryable=False))
    kind = code or as_word(about.get("type"))
    return Result(custom_id, "failed", error=wire.request_error(kind, message, words=[as_word(about.get("type"))]))


def _refused_with(custom_id: str, status: int, body: object) -> Result:
    """A request that ran into an HTTP error; status 0 is OpenAI's own way of saying that no answer came."""
    about = as_object(as_object(body).get("error"))
    code, kind = as_word(about.get("code")), as_word(about.get("type"))
    message = about.get("message") or as_object(body).get("message") or (body if isinstance(body, str) else None)
    if status == 0 and not message:
        message = "no response came back for this request"
    error = wire.request_error(
        code or kind or ("no_response" if status == 0 else None), message, status_code=status, words=[kind]
    )
    return Result(custom_id, "failed", error=error, model=as_word(as_object(body).get("model")))


def _from_chat(custom_id: str, body: Mapping[str, Any]) -> Result:
    """A chat completion; also what only resembles one (embeddings have no choices, completions a plain text)."""
    choice = as_object(next(iter(as_list(body.get("choices"))), None))
    message = as_object(choice.get("message"))
    text = _chat_text(message.get("content"), choice.get("text"))
    refusal = as_word(message.get("refusal"))
    finish = as_word(choice.get("finish_reason"))
    if refusal is not None and not text:
        text, finish = refusal, "refusal"
    return Result(
        custom_id,
        "succeeded",
        text=text,
        finish_reason=finish,
        model=as_word(body.get("model")),
        usage=_usage(body.get("usage")),
        ending=_ENDINGS.get(finish or "", "other"),
    )


def _chat_text(content: object, completion: object) -> str | None:
    if isinstance(content, list):  # compatible servers: parts instead of a string
        return joined(as_text(as_object(part).get("text")) for part in content)
    text = as_text(content)
    return as_text(completion) if text is None else text


def _from_responses(custom_id: str, body: Mapping[str, Any]) -> Result:
    """A body of the Responses API, whose own status may still say that it failed."""
    status = as_word(body.get("status"))
    model, usage = as_word(body.get("model")), _usage(body.get("usage"))
    if status in ("failed", "cancelled"):
        about = as_object(body.get("error"))
        kind = as_word(about.get("code")) or as_word(about.get("type")) or status
        error = wire.request_error(kind, about.get("message"), words=[as_word(about.get("type"))])
        return Result(custom_id, "failed" if status == "failed" else "cancelled", None, None, model, usage, error)
    # Reasoning items come before the message, so the text is not simply in the first one.
    parts = [
        as_object(part)
        for item in as_list(body.get("output"))
        if as_object(item).get("type") == "message"
        for part in as_list(as_object(item).get("content"))
    ]
    text = joined(as_text(part.get("text")) for part in parts if part.get("type") == "output_text")
    refusal = joined(as_text(part.get("refusal")) for part in parts if part.get("type") == "refusal")
    finish = status
    if refusal and not text:
        text, finish = refusal, "refusal"
    elif status == "incomplete":
        finish = as_word(as_object(body.get("incomplete_details")).get("reason")) or status
    ending = _ENDINGS.get(finish or "", "other")
    return Result(custom_id, "succeeded", text, finish, model, usage, ending=ending)


def _usage(usage: object) -> Usage | None:
    """Chat completions and responses name the same counts differently; both include cached and reasoning tokens."""
    about = as_object(usage)
    given = as_object(about.get("prompt_tokens_details")) or as_object(about.get("input_tokens_details"))
    made = as_object(about.get("completion_tokens_details")) or as_object(about.get("output_tokens_details"))
    return wire.usage_or_none(
        Usage(
            input_tokens=as_count(about.get("prompt_tokens", about.get("input_tokens"))),
            output_tokens=as_count(about.get("completion_tokens", about.get("output_tokens"))),
            cached_input_tokens=as_count(given.get("cached_tokens")),
            cache_write_tokens=as_count(given.get("cache_write_tokens")),
            reasoning_tokens=as_count(made.get("reasoning_tokens")),
        )
    )
