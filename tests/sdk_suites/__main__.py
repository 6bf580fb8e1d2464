"""`python -m sdk_suites openai`, in the unpacked source distribution of that SDK."""

from __future__ import annotations

import os
import sys

import pytest

from batchfast.fake import FakeServer

from .proxy import SeedingProxy
from .suite import Suite
from .tables import MODULES


def main(sdk: str) -> int:
    """Run an SDK's modules against the fake. Returns pytest's exit code."""
    options = ["-p", "no:batchfast"]
    # The fake stands before pytest looks at its plugins, and the SDKs make an error of every warning.
    options += ["-W", "ignore:Module already imported:pytest.PytestAssertRewriteWarning"]
    # One process, whatever the SDK's settings say: there is one fake, and it is emptied before each test.
    options += ["-n", "0"]
    with FakeServer(batch_seconds=3600) as fake, SeedingProxy(fake) as proxy:
        os.environ["TEST_API_BASE_URL"] = proxy.base_urls[sdk]
        return pytest.main([*options, *MODULES[sdk]], [Suite(sdk, fake, proxy)])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
