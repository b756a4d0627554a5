"""What unit tests share: the daemon in them has hours behind it in a moment."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _no_collections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what a daemon does each minute for its memory.

    Of a process as large as pytest's a full collection takes a tenth of a second.
    """
    monkeypatch.setattr("bpftune.daemon.give_memory_back", lambda: None)
