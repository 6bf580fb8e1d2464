"""Which of the SDKs' modules run, what their placeholders stand for, and which of their tests may fail."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

# What else is called test_files.py there is about other services' files (vector stores, containers, agents), or
# about how a client turns its arguments into a form.
MODULES = {
    "openai": ("tests/api_resources/test_batches.py", "tests/api_resources/test_files.py"),
    "anthropic": (
        "tests/api_resources/messages/test_batches.py",
        "tests/api_resources/beta/messages/test_batches.py",
        "tests/api_resources/test_files.py",
        "tests/api_resources/beta/test_files.py",
    ),
}


class Seed(StrEnum):
    """What the fake holds before every test; of each list the older comes first."""

    OPENAI_FILE = "a batch file"
    OPENAI_INPUT = "the input file of the batches"
    OPENAI_ENDED = "a completed batch of OpenAI's"
    OPENAI_RUNNING = "a running batch of OpenAI's"
    ANTHROPIC_ENDED = "an ended batch of Anthropic's"
    ANTHROPIC_RUNNING = "a running batch of Anthropic's"
    ANTHROPIC_FILE = "a file of Anthropic's that can be downloaded"
    ANTHROPIC_PAGE = "the cursor of the second page of Anthropic's files"


class Placeholder(NamedTuple):
    """
    A value in the SDKs' tests that no service would take, and what the proxy puts in its place.

    Attributes:
        call: Method and path, as the test sends them.
        where: "path", "query <name>" or "body <name>".
        written: As the test has it.
        means: The id of a seed, or a plain value; None leaves it out.
    """

    call: str
    where: str
    written: str
    means: Seed | str | None


PLACEHOLDERS = (
    Placeholder("POST /openai/v1/batches", "body input_file_id", "input_file_id", Seed.OPENAI_INPUT),
    Placeholder("GET /openai/v1/batches", "query after", "after", Seed.OPENAI_RUNNING),
    Placeholder("GET /openai/v1/batches", "query limit", "0", "1"),
    Placeholder("GET /openai/v1/batches/batch_id", "path", "batch_id", Seed.OPENAI_ENDED),
    Placeholder("POST /openai/v1/batches/batch_id/cancel", "path", "batch_id", Seed.OPENAI_RUNNING),
    Placeholder("GET /openai/v1/files", "query after", "after", Seed.OPENAI_FILE),
    Placeholder("GET /openai/v1/files", "query limit", "0", "1"),
    # Taken as it is, but then the list to check is empty.
    Placeholder("GET /openai/v1/files", "query purpose", "purpose", "batch"),
    Placeholder("GET /openai/v1/files/file_id", "path", "file_id", Seed.OPENAI_FILE),
    Placeholder("GET /openai/v1/files/file_id/content", "path", "file_id", Seed.OPENAI_FILE),
    Placeholder("DELETE /openai/v1/files/file_id", "path", "file_id", Seed.OPENAI_FILE),
    Placeholder("GET /anthropic/v1/messages/batches", "query after_id", "after_id", Seed.ANTHROPIC_RUNNING),
    Placeholder("GET /anthropic/v1/messages/batches", "query before_id", "before_id", Seed.ANTHROPIC_ENDED),
    # Results are asked for by the address in this answer, which has the true id.
    Placeholder(
        "GET /anthropic/v1/messages/batches/message_batch_id", "path", "message_batch_id", Seed.ANTHROPIC_ENDED
    ),
    Placeholder(
        "DELETE /anthropic/v1/messages/batches/message_batch_id", "path", "message_batch_id", Seed.ANTHROPIC_ENDED
    ),
    Placeholder(
        "POST /anthropic/v1/messages/batches/message_batch_id/cancel",
        "path", "message_batch_id", Seed.ANTHROPIC_RUNNING,
    ),
    Placeholder("GET /anthropic/v1/files", "query page", "page", Seed.ANTHROPIC_PAGE),
    # By the SDK's own docstring not to be sent beside a limit and a page, which the same test sends.
    Placeholder("GET /anthropic/v1/files", "query ids[]", "string", None),
    # Taken as it is, but then the list to check is empty: the fake has no sessions.
    Placeholder("GET /anthropic/v1/files", "query scope_id", "scope_id", None),
    Placeholder("GET /anthropic/v1/files/file_id", "path", "file_id", Seed.ANTHROPIC_FILE),
    Placeholder("GET /anthropic/v1/files/file_id/content", "path", "file_id", Seed.ANTHROPIC_FILE),
    Placeholder("DELETE /anthropic/v1/files/file_id", "path", "file_id", Seed.ANTHROPIC_FILE),
)  # fmt: skip

# The SDKs' tests answer a download themselves and look for this in it; here the seeded file says it.
FILE_CONTENT = b'{"foo": "bar"}\n'


class Exempt(NamedTuple):
    """
    Tests that run, and fail in one known way.

    One that passes, fails in another way, or is no longer there is an error: then the entry goes.

    Attributes:
        tests: A pattern of their ids.
        raises: What they end with.
    """

    sdk: str
    tests: str
    raises: type[Exception]
    reason: str


EXEMPT = (
    Exempt(
        "anthropic",
        "tests/api_resources/*messages/test_batches.py::*::test_method_results*",
        AssertionError,
        'looks for {"foo": "bar"} among the results of a batch: no service sends such a line',
    ),
)
