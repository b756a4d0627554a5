from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.cli.served import Served, serving


@pytest.fixture
def run_dir(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a run directory in which no daemon runs; its name is short enough."""
    with tempfile.TemporaryDirectory(prefix="bpftune-") as made:
        monkeypatch.setenv("BPFTUNE_RUN_DIR", made)
        monkeypatch.setenv("BPFTUNE_STATE_DIR", f"{made}/state")
        yield Path(made)


@pytest.fixture
def daemon(run_dir: Path) -> Iterator[Served]:
    """Return a daemon that answers."""
    with serving(run_dir) as served:
        yield served
