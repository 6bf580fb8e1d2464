"""
What the adapters share in reading answers: JSON of any shape, times, headers, errors, and the HTTP client.

Nothing here trusts a type: a provider, a proxy or a compatible server may put anything anywhere, and one odd field
must not cost the answers around it.
"""

from __future__ import annotations

import ipaddress
import json
import math
import re
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from batchfast.clock import iso
from batchfast.errors import ProviderError
from batchfast.records import RequestError, Usage
from batchfast.terminal import plain

if TYPE_CHECKING:
    import httpx2

_TO_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
_FROM_JSON_VALUE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

# Words with which a provider says that waiting will not help, but money will.
NO_CREDIT = frozenset(
    {
        "insufficient_quota",
        "billing_hard_limit_reached",
        "billing_not_active",
        "billing_error",
        "enforced_spend_limit_reached",
    }
)
# What Anthropic says in a 400 that has no word of its own for it.
_NO_CREDIT_TEXTS = ("credit balance is too low", "reached your specified api usage limits")
# Words with which a provider says that the same request may succeed later, whatever the status beside them.
_PASSING = frozenset(
    {
        "api_error",
        "internal_error",
        "overloaded_error",
        "rate_limit_error",
        "rate_limit_exceeded",
        "server_error",
        "service_unavailable",
        "timeout",
        "timeout_error",
        "token_limit_exceeded",
    }
)
# Bearer tokens, the prefixes of the services' keys, and what a service left of a key it masked itself.
_KEY_SHAPES = re.compile(
    r"(?i:bearer\s+)\S+|\bsk-(?:[\w*-]{4,}|(?=[\w-]*(?:\.{3}|…)))(?:[\w*-]*(?:\.{3}|…)[\w*-]+)?"
    r"|\bAIza[\w*-]{8,}|\bAQ\.[\w*-]{16,}|\bhf_\w{8,}|[\w-]*\*{3,}[\w*-]*"
)
_MESSAGE_CHARS = 600
_SHORTEST_KEY = 8  # what is shorter would stand in ordinary words, and is the key of no service
_MAX_WAIT_S = 3600.0
MAX_COUNT = 10**12  # of whatever a provider counts: SQLite can hold the sum over millions of requests
_GZIP = zlib.MAX_WBITS | 16


def compact_json(value: Any) -> str:
    """JSON without spaces and escapes it can do without. Raises `TypeError` or `ValueError` for what is not JSON."""
    return _TO_JSON(value)


def json_text(value: Any) -> str:
    """A value that came out of JSON, as compact JSON again. Raises `ValueError` where it is nested too deeply."""
    try:
        return _FROM_JSON_VALUE(value)
    except RecursionError as exc:
        raise ValueError("JSON nested too deeply") from exc


def load_object(data: bytes) -> dict[str, Any]:
    """A JSON object from its bytes. Raises `ValueError` for anything else."""
    value = None
    try:
        with suppress(UnicodeDecodeError):  # as a cause it would carry all the bytes along, whatever they quote
            value = json.loads(data)
    except RecursionError as exc:
        raise ValueError("JSON nested too deeply") from exc
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def as_object(value: object) -> dict[str, Any]:
    """The object itself, or an empty one."""
    return value if isinstance(value, dict) else {}


def as_list(value: object) -> list[Any]:
    """The list itself, or an empty one."""
    return value if isinstance(value, list) else []


def as_text(value: object) -> str | None:
    """A string that can be written as UTF-8: half a surrogate pair, legal in JSON's escapes, becomes U+FFFD."""
    if not isinstance(value, str):
        return None
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return value


def as_word(value: object) -> str | None:
    """A string with something in it."""
    return as_text(value) or None


def as_count(value: object) -> int | None:
    """A whole number from 0; also from a string of digits, as Google writes 64-bit numbers."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= MAX_COUNT else None


def joined(texts: Iterable[str | None]) -> str | None:
    """The texts in a row, None where there is none at all."""
    found = [text for text in texts if text is not None]
    return "".join(found) if found else None


def counts_of(value: object) -> dict[str, int]:
    """Those entries of an object that are counts."""
    counted = ((key, as_count(number)) for key, number in as_object(value).items())
    return {str(as_text(key)): number for key, number in counted if number is not None}


def usage_or_none(usage: Usage) -> Usage | None:
    """None where nothing is known."""
    return None if usage == Usage() else usage


def utc(value: object) -> str | None:
    """UTC ISO 8601 from seconds since 1970 or from any ISO 8601 text; None where it is neither."""
    if isinstance(value, bool):
        return None
    try:
        if isinstance(value, (int, float)):
            return iso(value)
        if isinstance(value, str):
            moment = datetime.fromisoformat(value)
            return iso((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError, OSError):
        return None
    return None


def later(moment: str | None, seconds: float) -> str | None:
    """A UTC ISO 8601 time moved by seconds."""
    try:
        return iso(datetime.fromisoformat(moment).timestamp() + seconds) if moment else None
    except (ValueError, OverflowError):  # the year 9999
        return None


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """
    Seconds a response asks to wait: `retry-after-ms`, else `retry-after` in seconds or as an HTTP date.

    At most an hour: a wrong header, or a wrong clock here, must not put a run to sleep for days.
    """
    milliseconds = _seconds(headers.get("retry-after-ms"))
    asked = headers.get("retry-after")
    seconds = _seconds(asked) if milliseconds is None else milliseconds / 1000
    if seconds is None and asked:
        try:
            seconds = max(0.0, parsedate_to_datetime(asked).timestamp() - time.time())
        except (ValueError, OverflowError, OSError):
            return None
    return None if seconds is None else min(seconds, _MAX_WAIT_S)


def _seconds(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def scrubbed(text: str, key: str | None = None) -> str:
    """Text from a provider without `key`, without anything that looks like a key, and harmless for a terminal."""
    if key and len(key) >= _SHORTEST_KEY:
        text = text.replace(key, "[key]")
    return _KEY_SHAPES.sub("[key]", plain(text))


def looks_like_a_key(text: str) -> bool:
    return _KEY_SHAPES.search(text) is not None


def scrub_chain(exc: BaseException, key: str | None) -> None:
    """
    Take keys out of what an exception of an SDK says, and those that led to it: it stays the cause of ours, and a
    traceback shows it.
    """
    vars(exc).update({name: _scrubbed_value(value, key) for name, value in vars(exc).items()})
    seen: set[int] = set()
    left: list[BaseException | None] = [exc]
    while left:
        one = left.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        one.args = tuple(_scrubbed_value(one.args, key))
        left += [one.__cause__, one.__context__]


def _scrubbed_value(value: Any, key: str | None) -> Any:
    if isinstance(value, str):
        return scrubbed(value, key)
    if isinstance(value, bytes):
        return scrubbed(value.decode(errors="replace"), key).encode()
    if isinstance(value, dict):
        return {_scrubbed_value(name, key): _scrubbed_value(one, key) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_scrubbed_value(one, key) for one in value]
    return value


def request_error(
    kind: str | None,
    message: object,
    *,
    status_code: int | None = None,
    retryable: bool | None = None,
    words: Iterable[str | None] = (),
) -> RequestError:
    """
    Why one request, or a batch, failed.

    Args:
        kind: The provider's most specific word; without one the status stands in.
        retryable: Where the caller knows; otherwise it follows from the status and the provider's words.
        words: More words of the provider beside `kind`. One about money becomes the error's type: it holds the run.
    """
    known = {word: None for word in (kind, *words) if word}
    if retryable is None:
        retryable = _may_pass(status_code, set(known))
    name = next((word for word in known if word in NO_CREDIT), kind)
    name = name or (f"http_{status_code}" if status_code else "unknown")
    return RequestError(scrubbed(name), scrubbed(as_text(message) or ""), status_code, retryable)


def _may_pass(status_code: int | None, words: set[str]) -> bool:
    if words & NO_CREDIT:
        return False
    if words & _PASSING or status_code in (0, 408, 409, 429):
        return True
    return status_code is not None and status_code >= 500 and status_code != 501


class LeavesEndpoint(Exception):
    """A redirect, or an address in an answer, points away from the endpoint that the key belongs to."""


def http_client(endpoint: str, timeout_s: float) -> httpx2.Client:
    """
    The HTTP client the SDKs are given: it talks to the origin of `endpoint` and to no other.

    Redirects within the origin are followed. Anything else raises `LeavesEndpoint` before a byte is sent: of the
    credentials only `authorization` would be dropped on the way to another host, `x-api-key` and `x-goog-api-key` not.
    """
    import httpx2

    url = httpx2.URL(endpoint)
    home = _origin(url)

    def stay(request: httpx2.Request) -> None:
        if _origin(request.url) != home:
            scheme, host, port = _origin(request.url)
            there = f"{scheme}://{host}" + (f":{port}" if port else "")
            raise LeavesEndpoint(f"{endpoint} points to {there}: batchfast sends your key to no other host")

    return httpx2.Client(
        timeout=httpx2.Timeout(timeout_s, connect=min(timeout_s, 10.0)),
        follow_redirects=True,
        event_hooks={"request": [stay]},
        # A proxy's loopback is another machine's: the call, key included, would go to whatever listens there.
        trust_env=not _is_loopback(url.host),
    )


def whole_body(response: httpx2.Response) -> Iterator[bytes]:
    """
    A streamed answer in chunks. It ends without error only where the transport says that it is complete: all of its
    Content-Length, or the last chunk, has come, and what was compressed is whole.

    Raises:
        httpx2.HTTPError: It broke off, or nothing says where it ends.
    """
    import httpx2

    headers = response.headers
    chunked = "chunked" in headers.get("transfer-encoding", "").lower()
    # HTTP/2 has its own word for the end; an answer that is played from a cassette came by no connection.
    by_connection = response.extensions.get("http_version", b"").startswith(b"HTTP/1")
    if by_connection and not chunked and "content-length" not in headers:
        # It ends with the connection, as one that was cut off does.
        raise httpx2.RemoteProtocolError("the answer says nowhere how long it is, so it may not be whole")
    if headers.get("content-encoding", "").lower() in ("gzip", "x-gzip"):
        yield from _decompressed(response.iter_raw())
    else:
        yield from response.iter_bytes()


def _decompressed(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The client's own decoder takes the beginning of a gzip file for a whole one."""
    import httpx2

    decoder = zlib.decompressobj(_GZIP)
    try:
        for chunk in chunks:
            rest = chunk
            while rest:
                if decoder.eof:  # a gzip file may be several, one after another
                    decoder = zlib.decompressobj(_GZIP)
                yield decoder.decompress(rest)
                rest = decoder.unused_data
    except zlib.error as exc:
        raise httpx2.DecodingError(str(exc)) from exc
    if not decoder.eof:
        raise httpx2.RemoteProtocolError("the compressed answer ends before its end")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def transport_errors() -> tuple[type[Exception], ...]:
    """What `http_client` raises itself: some of it comes through the SDKs as it is."""
    import httpx2

    return (LeavesEndpoint, httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError)


def causes(exc: BaseException) -> Iterator[BaseException]:
    """The exception and what led to it: SDKs wrap what the transport raised."""
    seen: BaseException | None = exc
    while seen is not None:
        yield seen
        seen = seen.__cause__


def provider_error(
    exc: BaseException,
    *,
    provider: str,
    operation: str,
    remote_id: str | None,
    key: str | None,
    status_code: int | None = None,
    words: Iterable[str | None] = (),
    message: str | None = None,
    retry_after: float | None = None,
    kind: str | None = None,
) -> ProviderError:
    """
    The error that crosses the seam, for one that an SDK raised.

    Args:
        words: The provider's own words for it (type, code, reason), most telling first.
        message: The provider's sentence; otherwise the exceptions' own are used.
        kind: Where the caller knows better than status and words.
    """
    strayed = next((one for one in causes(exc) if isinstance(one, LeavesEndpoint)), None)
    known = [word for word in words if word]
    text = message or ": ".join(dict.fromkeys(str(one).rstrip(".") or type(one).__name__ for one in causes(exc)))
    if strayed is not None:
        kind, text = "refused", str(strayed)
    parts = " ".join((*([f"HTTP {status_code}"] if status_code else ()), *known[:1]))
    about = f"{provider} {operation}" + (f" {remote_id}" if remote_id else "")
    line = " ".join(": ".join(filter(None, (about, parts, text))).split())
    return ProviderError(
        scrubbed(line, key)[:_MESSAGE_CHARS],
        provider=provider,
        operation=operation,
        kind=kind or _kind(status_code, set(known), text),
        remote_id=remote_id,
        status_code=status_code,
        retry_after_s=retry_after,
    )


def _kind(status_code: int | None, words: set[str], message: str) -> str:
    if status_code is None:
        return "network"
    if status_code == 402 or words & NO_CREDIT or any(text in message.lower() for text in _NO_CREDIT_TEXTS):
        return "no_credit"
    if status_code in (401, 403):
        return "bad_key"
    if status_code in (404, 410):
        return "not_found"
    if status_code == 429:
        return "rate_limit"
    # 408 and 409 are what servers say when they gave up waiting, for the body or for a lock, 499 what proxies say of a
    # caller who did: like a 5xx. Below 400 nothing was refused, only not understood here. It may have been done.
    if status_code >= 500 or status_code < 400 or status_code in (408, 409, 499):
        return "server"
    return "refused"
