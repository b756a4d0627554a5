from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from bpftune.kernel.errors import KernelError
from bpftune.lock import SecondDaemonError, lock


def test_a_second_daemon_is_told_who_holds_the_lock(tmp_path: Path) -> None:
    with ExitStack() as first, ExitStack() as second:
        lock(tmp_path / "new" / "run", first)
        with pytest.raises(SecondDaemonError, match="another bpftune daemon") as told:
            lock(tmp_path / "new" / "run", second)
    assert str(tmp_path / "new" / "run" / "lock") in told.value.hint


def test_the_lock_is_free_again_at_the_end(tmp_path: Path) -> None:
    for _ in range(2):
        with ExitStack() as stack:
            lock(tmp_path, stack)


def test_a_directory_that_cannot_be_used_is_named_with_a_way_out(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").touch()
    with ExitStack() as stack, pytest.raises(KernelError) as told:
        lock(tmp_path / "file" / "run", stack)
    assert str(tmp_path / "file" / "run") in str(told.value)
    assert "BPFTUNE_RUN_DIR" in told.value.hint
