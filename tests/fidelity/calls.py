"""Calls to the fake without any SDK between, every answer kept."""

from __future__ import annotations

import json
from types import TracebackType
from typing import Any, Self

import httpx2

from batchfast.fake import FakeServer
from tests.fidelity.facts import Answer

KEYS = {
    "openai": {"authorization": "Bearer any"},
    "anthropic": {"x-api-key": "any", "anthropic-version": "2023-06-01"},
    "gemini": {"x-goog-api-key": "any"},
}
BAD_KEYS = {
    "openai": {"authorization": "Bearer bad-key"},
    "anthropic": {"x-api-key": "bad-key"},
    "gemini": {"x-goog-api-key": "bad-key"},
}


class Caller:
    """
    Attributes:
        answers: What came back from every call, in order.
    """

    def __init__(self, fake: FakeServer, provider: str) -> None:
        self.fake = fake
        self.answers: list[Answer] = []
        self._base = fake.base_urls[provider]
        self._client = httpx2.Client(headers=KEYS[provider])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def call(self, method: str, path: str, *, without: str = "", **options: Any) -> Any:
        """
        The JSON of the answer, or its bytes where it is none.

        Args:
            path: After the base URL, or a whole URL.
            without: A header not to send.
        """
        request = self._client.build_request(method, path if path.startswith("http") else self._base + path, **options)
        request.headers.pop(without, None)
        response = self._client.send(request)
        headers = {name.lower(): value for name, value in response.headers.items()}
        self.answers.append(Answer(method, str(response.url), response.status_code, headers, response.content))
        try:
            return response.json()
        except ValueError:
            return response.content


def jsonl(*lines: object) -> bytes:
    return "".join(json.dumps(line) + "\n" for line in lines).encode()
