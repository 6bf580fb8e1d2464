"""
What never gets into a cassette: keys, accounts, cookies, signed addresses, and where and on what machine it was made.

Of headers only those named here are kept. Of addresses and bodies everything is, less what looks like any of these,
with stand-ins of the same shape, so that what reads the answer still can.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

if TYPE_CHECKING:
    from vcr.request import Request  # type: ignore[import-untyped]

BOUNDARY = "batchfast-cassette"
_STAND_IN = "scrubbed"
_REQUEST_HEADERS = re.compile(r"accept|content-type|anthropic-(version|beta)|x-goog-upload-(?!url|control-url).*")
_RESPONSE_HEADERS = re.compile(
    r"content-(type|disposition)|location|retry-after(-ms)?|www-authenticate|vary|x-should-retry|(x-)?request-id"
    r"|openai-(version|organization|project)|anthropic-(organization|workspace)-id|x-goog-upload-.*"
)
_FIXED_HEADERS = {
    "x-request-id": f"req_{32 * '0'}",
    "openai-organization": f"org-{_STAND_IN}",
    "openai-project": f"proj_{_STAND_IN}",
    "anthropic-organization-id": "00000000-0000-0000-0000-000000000000",
    "anthropic-workspace-id": f"wrkspc_{_STAND_IN}",
}
_SECRET_PARAMETERS = frozenset({"key", "access_token"})
_SIGNED = "upload_id|x-goog-signature|x-goog-credential|signature|sig|token"
_BOUNDARY = re.compile(r'boundary="?([^";,\s]+)"?')

# Order counts: an Anthropic key is also shaped like one of OpenAI's. A `*` is how services mask keys in messages.
_SHAPES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), stand_in)
    for pattern, stand_in in (
        (r"(?i)\b(bearer) +[\w.~+/*=-]{16,}", rf"\1 {_STAND_IN}"),
        (r"\bsk-[\w*-]{6,}", f"sk-{_STAND_IN}"),
        (r"\bAIza[\w*-]{10,}", f"AIza-{_STAND_IN}"),
        (r"\b(AQ\.|ya29\.)[\w*.-]{10,}", rf"\1{_STAND_IN}"),
        (r"\borg-[\w*]{3,}", f"org-{_STAND_IN}"),
        (r"\b(proj|wrkspc|acct|user)_[A-Za-z0-9]{8,}", rf"\1_{_STAND_IN}"),
        (r"\buser-[A-Za-z0-9]{20,}", f"user-{_STAND_IN}"),
        (r"\bprojects/\d{4,}", "projects/0"),
        (rf"(?i)([?&](?:{_SIGNED})=)[^&\s\"'\\]+", rf"\1{_STAND_IN}"),
        (r"([?&](?:key|access_token)=)[^&\s\"'\\]+", rf"\1{_STAND_IN}"),
        (r"""("(?:organization|workspace|project|account)(?:_?[iI]d)?"\s*:\s*")[^"]*""", rf"\1{_STAND_IN}"),
        (r"[\w.+-]+@[\w-]+(\.[\w-]+)*\.[A-Za-z]{2,}", "someone@example.com"),
    )
)


class Scrubber:
    """
    Cleans what goes into a cassette. Cleaning what is clean changes nothing.

    Args:
        secrets: Values to remove wherever they stand, whatever their shape: the keys in use.
        names: What to write in place of what else: the service's address for the one that was called.
    """

    def __init__(self, secrets: Iterable[str] = (), names: Mapping[str, str] | None = None) -> None:
        self._exact = {**(names or {}), **dict.fromkeys(filter(None, secrets), _STAND_IN)}

    def text(self, text: str) -> str:
        for exact, stand_in in self._exact.items():
            text = text.replace(exact, stand_in)
        for shape, stand_in in _SHAPES:
            text = shape.sub(stand_in, text)
        return text

    def request(self, request: Request) -> Request:
        """vcrpy's request, changed in place."""
        parts = urlsplit(request.uri)
        asked = [(name, value) for name, value in parse_qsl(parts.query, True) if name not in _SECRET_PARAMETERS]
        request.uri = self.text(urlunsplit(parts._replace(query=urlencode(asked))))
        boundary = _BOUNDARY.search(request.headers.get("content-type", ""))
        headers = {name: value for name, value in request.headers.items() if _REQUEST_HEADERS.fullmatch(name.lower())}
        request.headers = {name.lower(): self.text(value) for name, value in headers.items()}
        body = request.body
        if boundary:
            # A new one for each upload: it would make a difference where there is none.
            request.headers["content-type"] = f"multipart/form-data; boundary={BOUNDARY}"
            body = body.replace(boundary[1].encode(), BOUNDARY.encode())
        request.body = self._bytes(body)
        return request

    def response(self, response: dict[str, Any]) -> dict[str, Any]:
        """vcrpy's response, changed in place; its content decoded."""
        kept = {
            name.lower(): values
            for name, values in response["headers"].items()
            if _RESPONSE_HEADERS.fullmatch(name.lower())
        }
        response["headers"] = {
            name: [_FIXED_HEADERS.get(name) or self.text(value) for value in values]
            for name, values in sorted(kept.items())
        }
        response["body"]["string"] = self._bytes(response["body"]["string"])
        return response

    def _bytes(self, body: bytes | None) -> bytes | None:
        if not body:
            return body
        return self.text(body.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
