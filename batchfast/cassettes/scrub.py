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

from batchfast.cassettes.clients import ADDRESSES

if TYPE_CHECKING:
    from vcr.request import Request  # type: ignore[import-untyped]

BOUNDARY = "batchfast-cassette"
_STAND_IN = "scrubbed"
_REQUEST_HEADERS = re.compile(r"accept|content-type|anthropic-(version|beta)|x-goog-upload-(?!url|control-url).*")
_RESPONSE_HEADERS = re.compile(
    r"content-(type|disposition|encoding)|location|retry-after(-ms)?|www-authenticate|vary|x-should-retry|(x-)?request-id"
    r"|openai-(version|organization|project)|anthropic-(organization|workspace)-id|x-goog-upload-.*"
)
_FIXED_HEADERS = {
    "request-id": f"req_011C{20 * '0'}",
    "x-request-id": f"req_{32 * '0'}",
    "openai-organization": f"org-{_STAND_IN}",
    "openai-project": f"proj_{_STAND_IN}",
    "anthropic-organization-id": "00000000-0000-0000-0000-000000000000",
    "anthropic-workspace-id": f"wrkspc_{_STAND_IN}",
}
SECRET_PARAMETERS = frozenset({"key", "api_key", "access_token"})
_SIGNED = (
    "upload_id|x-goog-signature|x-goog-credential|x-amz-signature|x-amz-credential|x-amz-security-token"
    "|signature|sig|sktid|skoid|token"
)
_BOUNDARY = re.compile(r'boundary="?([^";,\s]+)"?')
_UUID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_NO_UUID = "00000000-0000-0000-0000-000000000000"
# In JSON within text these may be escaped, each time once more.
_AND, _IS = r"(?:[?&]|\\+u0026)", r"(?:=|\\+u003[dD])"
_VALUE = r"[^&\s\"'\\]+"
_OWNER = r"(?:organi[sz]ation|org|workspace|project|account)"
_OWNER_ID = rf"{_OWNER}(?:_?(?:id|uuid|number))?"

# Order counts: an Anthropic key is also shaped like one of OpenAI's. A `*` or `...` is how services mask keys in
# messages; quotes may be escaped, for JSON stands in strings, and again in YAML.
_SHAPES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), stand_in)
    for pattern, stand_in in (
        (r"\bBearer +(?!realm=)[\w.~+/*=-]{6,}", f"Bearer {_STAND_IN}"),
        (r"(?i)\b(?!Bearer )(bearer) +(?=\S*\d)[\w.~+/*=-]{16,}", rf"\1 {_STAND_IN}"),
        (r"\bsk-(?:[\w*-]{5,}(?:\.{3}[\w*-]+)?|[\w*-]*\.{3}[\w*-]+)", f"sk-{_STAND_IN}"),
        (r"\bAIza[\w*-]{8,}", f"AIza-{_STAND_IN}"),
        (r"\b(AQ\.|ya29\.)[\w*.-]{8,}", rf"\1{_STAND_IN}"),
        (r"\bhf_\w{8,}", f"hf_{_STAND_IN}"),
        (r"\bAKIA[A-Z0-9]{8,}", f"AKIA-{_STAND_IN}"),
        (r"\beyJ[\w-]{8,}\.[\w.-]+", f"eyJ-{_STAND_IN}"),
        (r"\borg-[\w*]{3,}", f"org-{_STAND_IN}"),
        (r"\b(proj|wrkspc|acct|user)_[A-Za-z0-9]{8,}", rf"\1_{_STAND_IN}"),
        (r"\buser-(?=\w*[A-Z0-9])[A-Za-z0-9]{8,}", f"user-{_STAND_IN}"),
        (r"\bprojects/\d+", "projects/0"),
        (r"(?i)\b(project(?: number)? )\d{4,}", r"\g<1>0"),
        (rf"(?i)\b({_OWNER}\b\W{{1,4}}){_UUID}", rf"\g<1>{_NO_UUID}"),
        (rf"(?i)({_AND}(?:{_SIGNED}){_IS}){_VALUE}", rf"\1{_STAND_IN}"),
        (rf"({_AND}(?:{'|'.join(sorted(SECRET_PARAMETERS))}){_IS}){_VALUE}", rf"\1{_STAND_IN}"),
        (rf"""(?i)((\\*"){_OWNER_ID}\2\s*:\s*\2)(?!{_STAND_IN}\b)[^"\\]+""", rf"\1{_STAND_IN}"),
        (rf"""(?i)((\\*"){_OWNER_ID}\2\s*:\s*)\d+""", r"\g<1>0"),
        (rf"""(?i)(\\*")({_OWNER})\1\s*:\s*\{{[^{{}}]*\}}""", rf"\1\2\1: {{\1id\1: \1{_STAND_IN}\1}}"),
        (r"""(?i)\b(account=(\\*"))[^"\\]+""", rf"\1{_STAND_IN}"),
        (r"""((\\*")request_id\2\s*:\s*\2)req_\w+""", rf"\g<1>req_011C{20 * '0'}"),
        (r"[\w.+-]+@[\w-]+(\.[\w-]+)*\.[A-Za-z]{2,}", "someone@example.com"),
        (r"(?<![\w.])/(home|root|Users|tmp|work|var|opt)/[\w.-]+", rf"/\1/{_STAND_IN}"),
        (r"(?<![\w./])(?:\d{1,3}\.){3}\d{1,3}\b", "192.0.2.1"),
    )
)
# What the scrubber drops as a whole or cannot mend; where it is found in a cassette, that is not written.
_NEVER = re.compile(
    r"""(?xim)
    ^\s*"?(authorization|x-api-key|x-goog-api-key|(set-)?cookie|user-agent|cf-ray|x-stainless[\w-]*)"?:
    | \b[A-Z]:\\(?![nrtu"\\])\w+ | \blocalhost\b
    | https?://(?!([\w-]+\.)*(openai\.com|anthropic\.com|claude\.com|googleapis\.com|google\.com|google\.dev)\b)[^\s"'\\]+
    | ^\s*content-encoding: | !!binary  # not to be read, so not to be cleaned either
    """
)


def left_in(text: str) -> list[str]:
    """What stands in a cassette that must not: whatever scrubbing would change, and what it cannot mend."""
    found = [
        match[0] for shape, stand_in in _SHAPES for match in shape.finditer(text) if match.expand(stand_in) != match[0]
    ]
    never = [match[0].strip() for match in _NEVER.finditer(text)]
    return found + [one for one in never if not one.startswith(tuple(ADDRESSES.values()))]


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
        asked = [(name, value) for name, value in parse_qsl(parts.query, True) if name not in SECRET_PARAMETERS]
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
