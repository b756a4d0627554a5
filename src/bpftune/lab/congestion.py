"""Giving a namespace a default congestion control that the host restricts.

A namespace other than the host's takes only an algorithm on the host's
``net.ipv4.tcp_allowed_congestion_control``, and only at the moment of the
write. So the list is longer for some microseconds, under a lock, and what it
was is on disk before: whoever takes the lock next puts it back if we died.
"""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bpftune.lab.namespaces import RUN, LabError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bpftune.lab.namespaces import Namespace

ALLOWED = Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control")
AVAILABLE = Path("/proc/sys/net/ipv4/tcp_available_congestion_control")


def _put_back(note: Path) -> None:
    """Undo what *note* tells of, unless somebody changed the list since."""
    try:
        told = json.loads(note.read_text())
        if ALLOWED.read_text().split() == told["ours"]:
            ALLOWED.write_text(" ".join(told["found"]))
    except FileNotFoundError:
        return
    except (ValueError, KeyError, TypeError):
        pass  # torn: it is complete before the list changes
    note.unlink()


@contextmanager
def _locked() -> Iterator[Path]:
    """Yield the path of the note, alone on this host and after any repair."""
    RUN.mkdir(mode=0o700, exist_ok=True)
    lock = os.open(RUN / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        note = RUN / "allowed.json"
        _put_back(note)
        yield note
    finally:
        os.close(lock)


def repair() -> None:
    """Put the host's list back if a laboratory died while it was longer."""
    if (RUN / "allowed.json").exists():
        with _locked():
            pass


def set_default(namespace: Namespace, algorithm: str) -> None:
    """Make *algorithm* the default of new sockets in *namespace*."""
    if algorithm not in AVAILABLE.read_text().split():
        raise LabError(
            f"congestion control {algorithm} is not available here: "
            f"{AVAILABLE.read_text().strip()}"
        )
    name = "net.ipv4.tcp_congestion_control"
    # Read under the lock only: another laboratory may hold the list longer.
    with _locked() as note:
        found = ALLOWED.read_text().split()
        if algorithm in found:
            namespace.set_sysctl(name, algorithm)
            return
        # The kernel lists them in its own order, so this is how it reads back.
        ours = [a for a in AVAILABLE.read_text().split() if a in {*found, algorithm}]
        note.write_text(json.dumps({"found": found, "ours": ours}))
        try:
            ALLOWED.write_text(" ".join(ours))
            namespace.set_sysctl(name, algorithm)
        finally:
            _put_back(note)
