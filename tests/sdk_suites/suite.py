"""The pytest plugin under which an SDK's tests run: seeds before each, nothing mocked, nothing skipped."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Self

import pytest

from batchfast.fake import FakeServer

from .proxy import SeedingProxy
from .tables import EXEMPT, PLACEHOLDERS

_NOT_RUN = frozenset({"skip", "skipif", "xfail"})


class Suite:
    """
    Args:
        sdk: "openai" or "anthropic".
        fake: What `proxy` stands before.
    """

    def __init__(self, sdk: str, fake: FakeServer, proxy: SeedingProxy) -> None:
        self._placeholders = [one for one in PLACEHOLDERS if one.call.split("/")[1] == sdk]
        self._exempt = [one for one in EXEMPT if one.sdk == sdk]
        self._exempted: list[str] = []
        self._fake = fake
        self._proxy = proxy
        self._wrong: list[str] = []

    @pytest.hookimpl(trylast=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        # Of two fixtures with one name the later registered is taken, and the mocking ones are registered by now.
        session.config.pluginmanager.register(_Unmocked())

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            for node in item.listchain():
                node.own_markers[:] = [mark for mark in node.own_markers if mark.name not in _NOT_RUN]
        for exempt in self._exempt:
            tests = [one for one in items if fnmatchcase(one.nodeid, exempt.tests)]
            for item in tests:
                item.add_marker(pytest.mark.xfail(reason=exempt.reason, raises=exempt.raises, strict=True))
            self._exempted.append(f"{len(tests)} exempt, {exempt.tests}: {exempt.reason}")
            if not tests:
                self._wrong.append(f"exempt, but there is no such test: {exempt.tests}")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        self._proxy.seed()

    def pytest_runtest_teardown(self) -> None:
        assert not self._fake.errors

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            self._wrong.append(f"skipped: {report.nodeid}")

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        unused = [one for one in self._placeholders if one not in self._proxy.used]
        self._wrong += [f"in the table, but no test sends it: {one.call}, {one.where}" for one in unused]
        if self._wrong and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for line in self._exempted:
            terminalreporter.write_line(line)
        for line in self._wrong:
            terminalreporter.write_line(f"ERROR {line}", red=True)


class _Unmocked:
    """In place of the routers by which the SDKs' tests answer some calls themselves: the calls go out."""

    @pytest.fixture
    def respx_mock(self) -> Iterator[Self]:
        yield self

    @pytest.fixture
    def respx2_mock(self) -> Iterator[Self]:
        yield self

    def get(self, path: str) -> Self:
        del path
        return self

    def mock(self, return_value: object) -> None:
        del return_value
