"""A hostile user of the control socket: a process of its own, for as long as it lives.

    python siege.py SOCKET WAY UID

*WAY* is one of ``WAYS``. It gives up root for *UID*, says ``begun`` on standard output
once it is at it, and goes on until it is killed. ``nobody`` and ``contained`` instead
ask for every change there is, and say what they were answered, as JSON.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import socket
import sys
import time
from pathlib import Path

CLONE_NEWUSER = 0x10000000
PR_SET_DUMPABLE = 4
CLIENTS = 64
MEGABYTE = 1 << 20
PAUSE_S = 0.01
NO_NAMESPACE = 3
"""The exit status where this user may not make a user namespace."""

CHANGES = {
    "Rollback": {"all": True},
    "Pause": {},
    "Resume": {},
    "Adopt": {"tunable": "net.ipv4.tcp_wmem"},
    "Apply": {"id": "a"},
    "Ignore": {"id": "a"},
}


def connect(path: str) -> socket.socket:
    one = socket.socket(socket.AF_UNIX)
    one.connect(path)
    return one


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def keep_silent(path: str) -> None:
    """Hold as many connections as possible, and make new ones for those cut off."""
    silent = [connect(path) for _ in range(CLIENTS)]
    say("begun")
    while True:
        gone = select.select(silent, [], [], 0.1)[0]
        for one in gone:
            silent.remove(one)
            one.close()
            silent.append(connect(path))
        time.sleep(PAUSE_S)


def send_again(path: str, data: bytes) -> None:
    """Send *data* over and over, on a new connection whenever one is cut off."""
    begun = False
    while True:
        with contextlib.suppress(OSError), connect(path) as one:
            one.settimeout(5)
            one.sendall(data)
            while one.recv(1 << 16):
                pass
        if not begun:
            say("begun")
            begun = True
        time.sleep(PAUSE_S)


def ask(path: str) -> None:
    """Ask for every change, and say what was answered."""
    answers = {}
    for method, parameters in CHANGES.items():
        with connect(path) as one:
            one.settimeout(10)
            call = {"method": f"io.bpftune.{method}", "parameters": parameters}
            one.sendall(json.dumps(call).encode() + b"\0")
            heard = b""
            while not heard.endswith(b"\0") and (data := one.recv(1 << 16)):
                heard += data
            answers[method] = json.loads(heard[:-1]) if heard else None
    say(json.dumps(answers))


def become_root_of_a_namespace() -> None:
    """Be root, with all capabilities, in a user namespace of one's own."""
    uid = os.getuid()
    libc = ctypes.CDLL(None, use_errno=True)
    # Who gave up root has a /proc/self that is root's, until it says otherwise.
    libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
    if libc.unshare(CLONE_NEWUSER):
        sys.exit(NO_NAMESPACE)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    if os.getuid() != 0:
        raise SystemExit("not root of the namespace")


WAYS = {
    "silent": keep_silent,
    "megabyte": lambda path: send_again(path, b"x" * MEGABYTE),
    "garbage": lambda path: send_again(path, bytes(range(256)) * 16 + b"\0"),
    "nobody": ask,
    "contained": ask,
}


def main(path: str, way: str, uid: int) -> None:
    if uid:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    if way == "contained":
        become_root_of_a_namespace()
    WAYS[way](path)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
