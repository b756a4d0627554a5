"""Whoever wants the control socket to fail: ``python -m tests.system.hostile``.

Arguments are a role and the socket. It goes on until its standard input ends, then
prints how often each thing happened to it, as a JSON object.
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import select
import socket
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.system.talk import connect, exchange

SILENT = 64
NOBODY = 65534
PAUSE_S = 0.01
REQUEST_BYTES = 1_000_000
CHANGES: tuple[tuple[str, dict[str, object]], ...] = (
    ("Rollback", {}),
    ("Pause", {}),
    ("Apply", {"id": "a1"}),
)

CLONE_NEWUSER = 0x10000000  # linux/sched.h
PR_SET_DUMPABLE = 4  # linux/prctl.h

Role = Callable[[Path, Counter[str]], Iterator[None]]


def silent(path: Path, happened: Counter[str]) -> Iterator[None]:
    """Hold connections and say nothing; come back when cut off."""
    held: list[socket.socket] = []
    while True:
        while len(held) < SILENT:
            held.append(connect(path))
            happened["connected"] += 1
        for one in select.select(held, [], [], 0)[0]:
            happened["cut off"] += 1
            held.remove(one)
            one.close()
        yield


def crowding(path: Path, happened: Counter[str]) -> Iterator[None]:
    """Come in such numbers that the kernel takes no more, and leave at once."""
    while True:
        try:
            with socket.socket(socket.AF_UNIX) as one:
                one.setblocking(False)
                one.connect(str(path))
                happened["connected"] += 1
        except BlockingIOError:
            happened["full"] += 1
            yield
        if happened["connected"] % 1000 == 0:
            yield  # where the daemon takes all of them, this has an end too


def large(path: Path, happened: Counter[str]) -> Iterator[None]:
    """Send a request that is far too long."""
    request = b'{"method":"io.bpftune.' + b"x" * REQUEST_BYTES + b'"}\0'
    yield from _thrown(path, happened, lambda: request)


def garbage(path: Path, happened: Counter[str]) -> Iterator[None]:
    """Send any bytes at all."""
    chance = random.Random(5)
    yield from _thrown(path, happened, lambda: chance.randbytes(4096) + b"\0")


def _thrown(
    path: Path, happened: Counter[str], data: Callable[[], bytes]
) -> Iterator[None]:
    while True:
        with connect(path) as connection:
            try:
                connection.sendall(data())
                happened["answered" if connection.recv(1) else "cut off"] += 1
            except TimeoutError:
                happened["left waiting"] += 1
            except OSError:
                happened["cut off"] += 1
        yield


def asking(path: Path, happened: Counter[str]) -> Iterator[None]:
    """Ask for what only root may do."""
    while True:
        for method, parameters in CHANGES:
            with connect(path) as connection:
                try:
                    reply = exchange(connection, method, **parameters)
                    happened[str(reply.get("error", "obeyed"))] += 1
                except TimeoutError:
                    happened["left waiting"] += 1
                except OSError:
                    happened["cut off"] += 1
            yield


def rooted(path: Path, happened: Counter[str]) -> Iterator[None]:
    """Ask for it as root of a user namespace of our own."""
    libc = ctypes.CDLL(None, use_errno=True)
    # Who gave up root may not write its own maps otherwise.
    libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
    if libc.unshare(CLONE_NEWUSER):
        raise OSError(ctypes.get_errno(), "no user namespace")
    Path("/proc/self/uid_map").write_text(f"0 {NOBODY} 1")
    happened["uid"] = os.getuid()
    yield from asking(path, happened)


ROLES: dict[str, Role] = {
    "silent": silent,
    "crowding": crowding,
    "large": large,
    "garbage": garbage,
    "asking": asking,
    "rooted": rooted,
}


def main(role: str, path: Path) -> None:
    """Give up root and be hostile."""
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    happened: Counter[str] = Counter()
    for _ in ROLES[role](path, happened):
        if select.select([sys.stdin], [], [], PAUSE_S)[0]:
            break
    sys.stdout.write(json.dumps(happened))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
