from __future__ import annotations

import gc
from pathlib import Path

from bpftune.kernel.setns import ElsewhereError, call_in


def test_a_namespace_that_is_gone_leaves_nothing_to_collect(tmp_path: Path) -> None:
    gc.collect()
    gc.disable()  # it comes seldom to a daemon that is idle
    try:
        try:
            call_in(str(tmp_path / "gone"), 1, dict)
        except ElsewhereError:
            pass
        else:
            raise AssertionError
        assert gc.collect() == 0
    finally:
        gc.enable()
