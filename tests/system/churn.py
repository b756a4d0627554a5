"""Network namespaces in numbers: bare ones, that are quickly made and gone."""

from __future__ import annotations

import ctypes
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

from tests.system.daemon import OURS

from bpftune.lab.namespaces import set_namespace

CLONE_NEWNET, MS_BIND, MNT_DETACH = 0x40000000, 4096, 2
SYSCTL = Path("/proc/sys/net/ipv4/tcp_wmem")
LIBC = ctypes.CDLL(None, use_errno=True)


def check(result: int) -> None:
    assert result == 0, os.strerror(ctypes.get_errno())


def in_thread(do: Callable[[], None]) -> None:
    """Call *do* in a thread that may change its namespace."""
    thread = threading.Thread(target=do)
    thread.start()
    thread.join()


def make(names: range) -> None:
    """Make namespaces and connect in each."""

    def live() -> None:
        for number in names:
            check(LIBC.unshare(CLONE_NEWNET))
            file = churned(number)
            file.touch()
            here = b"/proc/thread-self/ns/net"
            check(LIBC.mount(here, bytes(file), None, MS_BIND, None))
            with socket.socket() as one:
                one.connect_ex(("127.0.0.1", 9))

    in_thread(live)


def pass_by(count: int, text: str) -> None:
    """Let nameless namespaces come, one after the other, that write and go."""

    def live() -> None:
        for _ in range(count):
            check(LIBC.unshare(CLONE_NEWNET))
            SYSCTL.write_text(text)
            with socket.socket() as one:
                one.connect_ex(("127.0.0.1", 9))

    in_thread(live)


def set_in(names: range, text: str) -> None:
    """Write *text* to a tunable inside each."""

    def live() -> None:
        for number in names:
            set_namespace(churned(number))
            SYSCTL.write_text(text)

    in_thread(live)


def churned(number: int) -> Path:
    return Path(f"/run/netns/{OURS}{number}-churn")


def unmake(names: range) -> None:
    for number in names:
        file = churned(number)
        if file.exists():
            LIBC.umount2(bytes(file), MNT_DETACH)
            file.unlink()
