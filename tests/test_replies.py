"""Replies read again by their place on disk, here or in other processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from loky import ProcessPoolExecutor

from batchfast import replies
from batchfast.fake import FakeServer
from batchfast.replies import texts_of
from tests.helpers import provider, session, spec


def test_processes_read_the_same_texts_in_the_same_order(
    fake: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In grid order, through blocks that are read ahead, and only for requests that gave rows."""
    monkeypatch.setattr(replies, "_BLOCK", 2)
    monkeypatch.setattr(replies, "_AHEAD", 1)
    with session(fake, tmp_path) as home, ProcessPoolExecutor(2) as pool:
        wanted = spec(provider("openai", max_requests_per_batch=20), provider("gemini"), topics=30)
        run, _ = home.enter(wanted, fake=True)
        with home.work(run) as engine:
            assert engine.drive().settled
            home.store.connection.execute("UPDATE requests SET outcome = 'failed' WHERE idx = 5")
            read_here = list(texts_of(engine.ctx))
            assert list(texts_of(engine.ctx, pool)) == read_here
    assert [given.idx for given in read_here] == [index for index in range(60) if index != 5]
    assert all(len(given.texts) == 2 and all(json.loads(text) for text in given.texts) for given in read_here)


def test_more_files_than_may_be_open_are_read(
    fake: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is opened again where it was closed for another."""
    monkeypatch.setattr(replies, "_MAX_OPEN", 1)
    with session(fake, tmp_path) as home:
        run, _ = home.enter(spec(provider("openai"), provider("gemini")), fake=True)
        with home.work(run) as engine:
            engine.drive()
            assert [given.idx for given in texts_of(engine.ctx)] == list(range(6))
