"""One call over a daemon's control socket, as any process may make it."""

from __future__ import annotations

import json
import socket
import struct
import time
from pathlib import Path
from typing import Any

from tests.pace import patient

Reply = dict[str, Any]


def connect(path: Path, deadline_s: float = 10.0) -> socket.socket:
    """Return a connection to the daemon; whoever waits on it waits no longer.

    It waits its turn to be let in: with a time-out of Python's it would not.
    """
    most_s = patient(deadline_s)
    connection = socket.socket(socket.AF_UNIX)
    timeval = struct.pack("@ll", int(most_s), int(most_s % 1 * 1e6))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeval)
    connection.connect(str(path))
    connection.settimeout(most_s)
    return connection


def exchange(connection: socket.socket, method: str, **parameters: object) -> Reply:
    """Return the reply. Raises OSError if the daemon hangs up."""
    request = {"method": f"io.bpftune.{method}", "parameters": parameters}
    connection.sendall(json.dumps(request).encode() + b"\0")
    heard = b""
    while not heard.endswith(b"\0"):
        if not (data := connection.recv(1 << 16)):
            raise ConnectionResetError("the daemon hung up")
        heard += data
    reply: Reply = json.loads(heard[:-1])
    return reply


def call(
    path: Path, method: str, deadline_s: float = 10.0, **parameters: object
) -> Reply:
    """Connect, call and hang up; as ``exchange``."""
    with connect(path, deadline_s) as connection:
        return exchange(connection, method, **parameters)


def answer_s(path: Path, method: str = "Status") -> float:
    """Return how long a client waits for an answer, from its connecting on."""
    began_s = time.monotonic()
    reply = call(path, method)
    took_s = time.monotonic() - began_s
    assert "error" not in reply, reply
    return took_s


def slowest_s(path: Path, rounds: int = 6, answers: int = 50) -> float:
    """Return the slowest of so many answers, in the quickest of the rounds.

    A machine whose processors are all taken lets a process wait for longer than
    the daemon needs, now and then. Were it the daemon, it would do so each time.
    """
    return min(max(answer_s(path) for _ in range(answers)) for _ in range(rounds))
