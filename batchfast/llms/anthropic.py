"""Anthropic: messages through the Message Batches API. The input goes inline: there are no files to upload."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any, BinaryIO, Literal
from urllib.parse import quote

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
    from anthropic import Anthropic

_BATCHES = "/v1/messages/batches"
_BATCHES_A_PAGE = 1000
_DAY_S = 86_400
_KEPT_S = 29 * _DAY_S  # results, from the batch's creation
_CHUNK_BYTES = 1 << 20
_BODY_START, _BODY_END = b'{"requests":[', b"]}"

# SDK 2.x asks for a newer version, with which the service refuses temperature and top_p. This one takes them, and is
# the version of every shape that is read here. X-Api-Key is the authentication that belongs to it.
_VERSION = "2023-06-01"

# Models older than output_config.format: structured output comes through a tool they are forced to use.
_WITHOUT_FORMAT = re.compile(
    r"(?:^|[/.])claude-(?:2|instant|3|4-(?:sonnet|opus)-2025|(?:sonnet|opus)-4(?:$|-0(?:$|\D)|-2025))"
)
_TOOL = "write_samples"
_MAX_TOKENS = 8192
# Models that write less than that.
_SHORT = re.compile(r"(?:^|[/.])claude-(?:2|instant|3-(?:opus|sonnet|haiku))")
_SHORT_MAX_TOKENS = 4096

_STATUS_OF_ERROR = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
_ARCHIVED = RequestError("results_gone", "Anthropic has removed the results of this batch, 29 days after its creation")
_ENDINGS: dict[str, Ending] = {
    "end_turn": "complete",
    "stop_sequence": "complete",
    "max_tokens": "truncated",
    "model_context_window_exceeded": "truncated",
    "refusal": "refused",
}


class AnthropicProvider(Provider):
    __doc__ = Provider.__doc__

    name = "anthropic"
    deletes_batches = True
    sends_inline = True
    key_variables = ("ANTHROPIC_API_KEY",)
    url_variable = "ANTHROPIC_BASE_URL"
    default_url = "https://api.anthropic.com"
    # Anthropic reference, create a Message Batch: 100,000 requests or 256 MB; read 2026-11.
    # The commas between the requests are as many as the file's newlines less one.
    hard_limits = Limits(
        100_000, 256_000_000, envelope_bytes=len(_BODY_START) + len(_BODY_END) - 1, told_apart_by_count=True
    )
    default_max_requests = 100_000
    missing_parameters = ("frequency_penalty",)
    ending_states = frozenset({"canceling", "ended"})

    # pure

    def _own_body(self, schema: dict[str, Any], token_limit: int | None) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.model_id,
            "max_tokens": token_limit,
            "system": self.system_prompt,
            "messages": [],
            "temperature": self.temperature,
            "top_p": self.top_p,
        }
        if not _WITHOUT_FORMAT.search(self.model_id):
            return body | {"output_config": {"format": {"type": "json_schema", "schema": schema}}}
        tool = {"name": _TOOL, "description": "Hand over the texts that were asked for.", "input_schema": schema}
        return body | {"tools": [tool], "tool_choice": {"type": "tool", "name": _TOOL}}

    def _refused_extra(self) -> Mapping[str, str]:
        if not _WITHOUT_FORMAT.search(self.model_id):
            return self.refused_extra
        why = f"does not go with the tool that {self.model_id} is made to answer through: leave it out"
        return {**self.refused_extra, **dict.fromkeys(("tools", "tool_choice", "thinking"), why)}

    def token_limit(self, doublings: int = 0) -> int:
        """As `Provider.token_limit`; Anthropic takes no request without one."""
        usual = _SHORT_MAX_TOKENS if _SHORT.search(self.model_id) else _MAX_TOKENS
        return (self.max_completion_tokens or usual) << doublings

    def _line(self, request: Request) -> dict[str, Any]:
        messages = [{"role": "user", "content": request.prompt}]
        return {
            "custom_id": request.custom_id,
            "params": {**self._body(request), "messages": messages},
        }

    def prompt_of(self, line: bytes) -> str:
        return str(wire.load_object(line)["params"]["messages"][-1]["content"])

    def decode(self, line: bytes) -> Result:
        """
        One line of a results file. Of a forced tool's use, the text is its input as JSON.

        Raises:
            ValueError: Not a JSON object, or without a custom_id.

        Source:
            Anthropic reference, Message Batch results, and recorded files of 2025-01 to 2026-08; read 2026-11.
        """
        return decode_usual(line) or decode_any(line)

    def said(self, line: bytes) -> Said | None:
        found = typed.read_again(typed.message_said, line)
        return None if found is None else _said(found.result.message)

    # network

    def upload(self, shard: Shard) -> str | None:  # noqa: ARG002  # the body goes with create
        return None

    def create(self, shard: Shard, file_id: str | None) -> str:  # noqa: ARG002
        import httpx2

        with shard.opened() as file, self._calling("create"):
            size = shard.path.stat().st_size
            length = size + self.hard_limits.envelope_bytes
            # The SDK's own create would hold the whole body in memory, parsed and written again.
            response = self._sdk().post(
                _BATCHES,
                cast_to=httpx2.Response,
                content=_body(file, size),
                options={"headers": {"Content-Length": str(length)}},
            )
        return self._word(self._answer(response.content, "create"), "id", "create")

    def newest(self) -> str | None:
        page = self._page("newest", None, 1)
        return next((as_word(as_object(batch).get("id")) for batch in as_list(page.get("data"))), None)

    def find(self, shard: Shard, fence: str | None) -> list[Candidate]:
        # A batch carries neither name nor metadata: its size is all there is until its results show the custom_ids.
        # An archived one has none to show, and ended weeks ago; a fence that was deleted lets the walk come that far.
        return [
            Candidate(remote_id, None, certain=False)
            for batch in self._walk(fence)
            if (remote_id := as_word(batch.get("id")))
            and not batch.get("archived_at")
            and sum(wire.counts_of(batch.get("request_counts")).values()) == shard.requests
        ]

    def poll(self, remote_id: str) -> BatchSnapshot:
        with self._calling("poll", remote_id):
            response = self._sdk().messages.batches.with_raw_response.retrieve(remote_id).http_response
        snapshot = snapshot_of(self._answer(response.content, "poll", remote_id))
        return dataclasses.replace(
            snapshot,
            remote_id=remote_id,
            files=tuple(dataclasses.replace(file, ref=remote_id) for file in snapshot.files),
        )

    def download(self, file: RemoteFile) -> Iterator[bytes]:
        import httpx2

        # By the batch's id on our own endpoint, not by the results_url in its answer: behind a gateway that URL names
        # another host, to which the key must not go.
        streamed: bool = True
        with self._calling("download", file.ref):
            response = self._sdk().get(
                f"{_BATCHES}/{quote(file.ref, safe='')}/results",
                cast_to=httpx2.Response,
                options={"headers": {"Accept": "application/binary"}},
                stream=streamed,
            )
            with closing(response):
                yield from wire.whole_body(response)

    def cancel(self, remote_id: str) -> None:
        with self._cancelling(remote_id):
            self._sdk().messages.batches.with_raw_response.cancel(remote_id)

    def delete(self, ref: str) -> None:
        """There are no files; a batch is deleted together with what was sent and its results."""
        with self._calling("delete", ref):
            self._sdk().messages.batches.with_raw_response.delete(ref)

    def batches(self) -> Iterator[ListedBatch]:
        for batch in self._walk(None):
            yield ListedBatch(None, snapshot_of(batch))

    def uploads(self) -> Iterator[ListedFile]:
        """None: the body goes with create."""
        yield from ()

    def _sdk(self) -> Anthropic:
        if self._client is None:
            from anthropic import Anthropic, Omit

            headers: dict[str, Any] = {
                "anthropic-version": _VERSION,
                "X-Api-Key": self.key(),
                "Authorization": Omit(),
            }
            self._client = Anthropic(
                api_key=self.key(),
                base_url=self.endpoint(),
                max_retries=0,
                timeout=self._http().timeout,
                default_headers=headers,
                http_client=self._http(),
            )
        client: Anthropic = self._client
        return client

    def _page(self, operation: str, after: str | None, limit: int) -> dict[str, Any]:
        query = {"after_id": after} if after else {}
        with self._calling(operation):
            response = self._sdk().messages.batches.with_raw_response.list(limit=limit, extra_query=query)
        return self._answer(response.http_response.content, operation)

    def _walk(self, fence: str | None) -> Iterator[dict[str, Any]]:
        """All listed batches, newest first, down to the fence."""
        after: str | None = None
        while True:
            page = self._page("find", after, _BATCHES_A_PAGE)
            listed = [as_object(entry) for entry in as_list(page.get("data"))]
            for entry in listed:
                if fence is not None and entry.get("id") == fence:
                    return
                yield entry
            last = as_word(page.get("last_id")) if listed else None
            if last is None or page.get("has_more") is False:
                return
            if last == after:
                # "Not there" would have the shard sent, and paid, again.
                raise self._unreadable("find", None, "the list of batches repeats itself from page to page")
            after = last

    def _sdk_errors(self) -> tuple[type[Exception], ...]:
        import anthropic

        return (anthropic.AnthropicError,)

    def _error(self, exc: Exception, operation: str, remote_id: str | None) -> ProviderError:
        about = as_object(as_object(getattr(exc, "body", None)).get("error"))
        code = as_word(as_object(about.get("details")).get("error_code"))
        response = getattr(exc, "response", None)
        return wire.provider_error(
            exc,
            provider=self.name,
            operation=operation,
            remote_id=remote_id,
            key=self.key(),
            status_code=as_count(getattr(exc, "status_code", None)),
            words=(code, as_word(about.get("type"))),
            message=as_word(about.get("message")),
            retry_after=wire.retry_after_s(response.headers) if response is not None else None,
        )


def decode_usual(line: bytes) -> Result | None:
    """As `decode_any`, for a plain answer; None for any other line."""
    found = typed.read(typed.message_line, line)
    if found is None:
        return None
    message, usage = found.result.message, found.result.message.usage
    said = _said(message)
    if said is None:
        return None
    text, ending = said
    read, written = usage.cache_read_input_tokens, usage.cache_creation_input_tokens
    made = usage.output_tokens_details
    return Result(
        found.custom_id,
        "succeeded",
        text,
        message.stop_reason,
        message.model,
        Usage(
            usage.input_tokens + (read or 0) + (written or 0),
            usage.output_tokens,
            read,
            written,
            made.thinking_tokens if made else None,
        ),
        None,
        ending,
    )


def _said(message: typed.MessageContent) -> Said | None:
    """None where the forced tool was used otherwise than asked for."""
    ending = _ENDINGS.get(message.stop_reason, "other")
    used = [block for block in message.content if block.type == "tool_use" and block.name == _TOOL]
    if not used:
        return joined([block.text for block in message.content if block.type == "text"]), ending
    if used[0].input is None:
        return None
    return typed.to_json(used[0].input).decode(), "complete" if message.stop_reason == "tool_use" else ending


def decode_any(line: bytes) -> Result:
    """As `AnthropicProvider.decode`, whatever stands where."""
    data = wire.load_object(line)
    custom_id = as_word(data.get("custom_id"))
    if custom_id is None:
        raise ValueError("a line without a custom_id")
    if "result" not in data:
        raise ValueError("a line without a result: not one of Anthropic's")
    result = as_object(data.get("result"))
    kind = as_word(result.get("type"))
    if kind == "succeeded" and isinstance(result.get("message"), dict):
        return _from_message(custom_id, result["message"])
    if kind == "expired":
        error = wire.request_error("expired", "not reached before the batch expired", retryable=True)
        return Result(custom_id, "expired", error=error)
    if kind in ("canceled", "cancelled"):
        error = wire.request_error("canceled", "the batch was cancelled before this request", retryable=False)
        return Result(custom_id, "cancelled", error=error)
    return _errored(custom_id, kind, result.get("error"))


def snapshot_of(batch: Mapping[str, Any]) -> BatchSnapshot:
    """
    A Message Batch object. Its one result file is named by the batch's id.

    The service has no word for how a batch ended. Every request has a line in the results, so this decides only about
    a line that got lost: cancelled where somebody cancelled (then nothing is sent again by itself), expired where the
    counts say so, else completed. An archived batch has lost all its lines: they were paid for, so that counts as a
    failure which is not sent again by itself. An ended batch without results that is not archived is not done yet.

    Source:
        Anthropic reference, the Message Batch object, and recorded batches of 2024-10 to 2026-08; read 2026-11.
    """
    state = as_word(batch.get("processing_status")) or "unknown"
    counts = wire.counts_of(batch.get("request_counts"))
    remote_id = as_text(batch.get("id")) or ""
    created_at = wire.utc(batch.get("created_at"))
    outcome: Literal["completed", "failed", "expired", "cancelled"] | None = None
    archived = bool(batch.get("archived_at"))
    there = state == "ended" and bool(batch.get("results_url")) and not archived
    if there:
        outcome = "expired" if counts.get("expired") else "completed"
        if batch.get("cancel_initiated_at"):
            outcome = "cancelled"
    elif state == "ended" and archived:
        outcome = "failed"
    return BatchSnapshot(
        remote_id=remote_id,
        outcome=outcome,
        remote_state=state,
        known_state=state in ("in_progress", "canceling", "ended"),
        counts=counts,
        errors=(_ARCHIVED,) if outcome == "failed" else (),
        files=(RemoteFile("output", remote_id),) if there else (),
        created_at=created_at,
        ended_at=wire.utc(batch.get("ended_at")),
        collect_by=wire.later(created_at, _KEPT_S),
    )


def _body(file: BinaryIO, size: int) -> Iterator[bytes]:
    """The body of a create, from a file of one request a line, without holding more than a chunk of it."""
    yield _BODY_START
    left = size - 1  # without the last newline
    while left > 0 and (chunk := file.read(min(left, _CHUNK_BYTES))):
        left -= len(chunk)
        yield chunk.replace(b"\n", b",")  # within JSON a newline is written \n, so each of these ends a request
    yield _BODY_END


def _from_message(custom_id: str, message: Mapping[str, Any]) -> Result:
    blocks = [as_object(block) for block in as_list(message.get("content"))]
    text = joined(as_text(block.get("text")) for block in blocks if block.get("type") == "text")
    used = next((block for block in blocks if block.get("type") == "tool_use" and block.get("name") == _TOOL), None)
    finish = as_word(message.get("stop_reason"))
    ending = _ENDINGS.get(finish or "", "other")
    if used is not None:
        text = as_text(wire.json_text(used.get("input")))
        ending = "complete" if finish == "tool_use" else ending
    return Result(
        custom_id,
        "succeeded",
        text=text,
        finish_reason=finish,
        model=as_word(message.get("model")),
        usage=_usage(message.get("usage")),
        ending=ending,
    )


def _errored(custom_id: str, kind: str | None, error: object) -> Result:
    """An `errored` line, whose error is nested twice; also any line of a kind never heard of."""
    outer = as_object(error)
    inner = as_object(outer.get("error")) or outer
    name = as_word(inner.get("type")) or kind
    message = inner.get("message") or (f"result of type {kind}" if kind != "errored" else None)
    status = _STATUS_OF_ERROR.get(name or "")
    code = as_word(as_object(inner.get("details")).get("error_code"))
    error = wire.request_error(code or name or "no_result", message, status_code=status, words=[name])
    return Result(custom_id, "failed", error=error)


def _usage(usage: object) -> Usage | None:
    """Anthropic's `input_tokens` are those that touched no cache; ours are all of them."""
    about = as_object(usage)
    plain = as_count(about.get("input_tokens"))
    read, written = as_count(about.get("cache_read_input_tokens")), as_count(about.get("cache_creation_input_tokens"))
    return wire.usage_or_none(
        Usage(
            input_tokens=None if plain is None else plain + (read or 0) + (written or 0),
            output_tokens=as_count(about.get("output_tokens")),
            cached_input_tokens=read,
            cache_write_tokens=written,
            reasoning_tokens=as_count(as_object(about.get("output_tokens_details")).get("thinking_tokens")),
        )
    )
