from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bpftune.paths import run_dir, state_dir


@pytest.mark.parametrize(
    ("variable", "directory", "usual"),
    [
        ("BPFTUNE_RUN_DIR", run_dir, "/run/bpftune"),
        ("BPFTUNE_STATE_DIR", state_dir, "/var/lib/bpftune"),
    ],
)
def test_directories_can_be_moved(
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    directory: Callable[[], Path],
    usual: str,
) -> None:
    monkeypatch.delenv(variable, raising=False)
    assert directory() == Path(usual)
    monkeypatch.setenv(variable, "")
    assert directory() == Path(usual)
    monkeypatch.setenv(variable, "/somewhere")
    assert directory() == Path("/somewhere")
