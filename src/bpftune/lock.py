"""One daemon a machine: the lock that keeps a second one away."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from bpftune.kernel.errors import KernelError
from bpftune.text import printable

if TYPE_CHECKING:
    from contextlib import ExitStack
    from pathlib import Path


class SecondDaemonError(KernelError):
    """Another daemon runs on this machine."""


def lock(directory: Path, stack: ExitStack) -> None:
    """Take the lock that keeps a second daemon away. Raises KernelError."""
    try:
        directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        file = stack.enter_context((directory / "lock").open("a+"))
    except OSError as error:
        raise KernelError(
            f"cannot use {directory}: {error.strerror}",
            "set BPFTUNE_RUN_DIR to a directory that root may write",
        ) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.seek(0)
        raise SecondDaemonError(
            "another bpftune daemon is running on this machine",
            f"stop it first; process {printable(file.readline(32).strip()) or '?'} "
            f"holds {directory / 'lock'}",
        ) from error
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
