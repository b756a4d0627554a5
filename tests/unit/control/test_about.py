from __future__ import annotations

import pytest

from bpftune.control.about import About


@pytest.mark.parametrize(("observe", "mode"), [(False, "tune"), (True, "observe")])
def test_says_how_and_when_it_was_started(observe: bool, mode: str) -> None:
    about = About([], observe, started_unix=1_000_000.5)
    assert about.mode == mode
    assert about.started == "1970-01-12T13:46:40.500Z"
