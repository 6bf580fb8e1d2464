"""
What can go wrong, as a tree.

```
BatchfastError
├── ConfigError          the input is wrong, nothing was sent
│   └── RequestTooLarge  one request alone is over the provider's file limit
├── ProviderError        a provider's answer, or none; the only errors of the network
│   └── MissingKey       no API key where one is needed
├── StoreError           no such run, newer schema, unreadable file, a run in use
│   └── RunBusy          another process works on the run
├── ExecutorError        the processes or machines that should have done the work did not
├── NotReady             collect came too early
└── PublishError         the Hub refused; local rows are untouched
```

Every message says what happened, to which run, and what to do next.
"""

from __future__ import annotations


class BatchfastError(Exception):
    """Base of all errors that batchfast raises on purpose."""


class ConfigError(BatchfastError):
    """The input is wrong and nothing was sent: mend the spec or the arguments."""


class RequestTooLarge(ConfigError):
    """
    One request alone exceeds what a provider takes in a file.

    Args:
        custom_id: The request's id on the wire.
        size_bytes: Size of a file that holds only this request.
        max_bytes: The limit for a file.
        max_tokens: The setting that this limit comes from, where it is not the provider's own (tokens).
    """

    def __init__(self, custom_id: str, size_bytes: int, max_bytes: int, *, max_tokens: int | None = None) -> None:
        limit = f"the provider's limit of {max_bytes:,}: shorten its prompt"
        if max_tokens is not None:
            limit = f"the {max_bytes:,} that max_enqueued_tokens = {max_tokens} stands for: raise it"
        super().__init__(f"request {custom_id} alone makes a file of {size_bytes:,} bytes, over {limit}")
        self.custom_id = custom_id
        self.size_bytes = size_bytes
        self.max_bytes = max_bytes


class ProviderError(BatchfastError):
    """
    A call to a provider failed.

    Attributes:
        provider: "openai", "anthropic" or "gemini".
        operation: The seam's method, for example "create".
        remote_id: The batch or file it was about, where one was named.
        status_code: HTTP status, or None where no answer came.
        retryable: The same call may succeed later without a person's help.
        kind: "bad_key", "no_credit", "rate_limit", "not_found", "refused" (any other 4xx),
            "server" (5xx) or "network" (no complete answer).
        retry_after_s: Seconds the provider asked to wait, or None.
        maybe_accepted: The provider may have done what was asked although the call failed.
    """

    def __init__(
        self,
        message: str,
        *,
        provider: str,
        operation: str,
        kind: str,
        remote_id: str | None = None,
        status_code: int | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.provider = provider
        self.operation = operation
        self.kind = kind
        self.remote_id = remote_id
        self.status_code = status_code
        self.retry_after_s = retry_after_s

    @property
    def retryable(self) -> bool:
        return self.kind in ("rate_limit", "server", "network")

    @property
    def maybe_accepted(self) -> bool:
        return self.kind in ("server", "network")


class MissingKey(ProviderError):
    """No API key for a provider; nothing was sent."""

    def __init__(self, provider: str, variables: tuple[str, ...]) -> None:
        names = " or ".join(variables)
        super().__init__(
            f"no API key for {provider}: set {names} in the environment or in a .env file beside the spec, "
            "or pass api_key= in Python; to try everything without a key add --fake",
            provider=provider,
            operation="key",
            kind="bad_key",
        )
        self.variables = variables


class StoreError(BatchfastError):
    """The home or its database cannot serve: no such run, a newer schema, an unreadable file."""


class RunBusy(StoreError):
    """Another process works on this run; try again when it is done."""


class ExecutorError(BatchfastError):
    """
    Processes or machines that should make or read files did not: a cluster that cannot be used, a worker that died.

    What was done before stays done; the same call continues.
    """


class NotReady(BatchfastError):
    """
    The run has not settled yet.

    Attributes:
        run_id: The run.
        running: How many of its batches have not ended.
    """

    def __init__(self, message: str, *, run_id: str, running: int) -> None:
        super().__init__(message)
        self.run_id = run_id
        self.running = running


class PublishError(BatchfastError):
    """The Hub refused; local rows are untouched."""
