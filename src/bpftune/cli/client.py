"""Talk to the running daemon: its control socket, in Varlink's framing.

One JSON object and a NUL byte each way; ``more`` asks for a stream of replies.
What can go wrong becomes a ``CommandError`` that says what to do.
"""

from __future__ import annotations

import json
import socket
import struct
from typing import TYPE_CHECKING, Any

from bpftune.cli.errors import CommandError, ExitCode
from bpftune.paths import run_dir
from bpftune.text import one_line, printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

INTERFACE = "io.bpftune"
ANSWER_S = 30.0
TIMEVAL = struct.Struct("@ll")
MOST_BYTES = 64 << 20

Reply = dict[str, Any]


class DaemonMissingError(CommandError):
    """No daemon runs here."""

    def __init__(self) -> None:
        """Say how to start one."""
        super().__init__(
            "the daemon is not running",
            "start it with: sudo systemctl start bpftune, or in the foreground: "
            "sudo bpftune",
            ExitCode.NO_DAEMON,
        )


class NoSuchError(CommandError):
    """The daemon knows nothing of that name."""


def socket_path() -> Path:
    """Return where the daemon listens."""
    return run_dir() / "control"


def call(method: str, **parameters: object) -> Reply:
    """Return the daemon's answer to *method*; a parameter that is None is left out.

    Raises DaemonMissingError, NoSuchError, or CommandError with the exit code.
    """
    with _connect() as connection:
        _send(connection, method, parameters)
        return next(_replies(connection))


def stream(method: str, **parameters: object) -> Iterator[Reply]:
    """Yield the daemon's answers to *method* as they come, until it ends."""
    with _connect() as connection:
        _send(connection, method, parameters, more=True)
        connection.settimeout(None)
        yield from _replies(connection)


def _connect() -> socket.socket:
    """Return a connection; where others wait to be let in, wait in their queue.

    A socket with a time-out of Python's would not: it never blocks, and then
    connect(2) of a Unix socket fails at once while the queue is full (EAGAIN).
    """
    path = socket_path()
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    most = TIMEVAL.pack(int(ANSWER_S), int(ANSWER_S % 1 * 1e6))
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, most)
        connection.connect(str(path))
    except OSError as error:
        connection.close()
        raise _unreachable(error, path) from error
    connection.settimeout(ANSWER_S)
    return connection


def _unreachable(error: OSError, path: Path) -> CommandError:
    match error:
        case FileNotFoundError() | ConnectionRefusedError():
            return DaemonMissingError()
        case BlockingIOError():
            return _silent()
    told = f"cannot reach the daemon at {path}: {error.strerror or error}"
    if isinstance(error, PermissionError):
        return CommandError(told, "try it as root", ExitCode.NOT_PERMITTED)
    return CommandError(told)


def _send(
    connection: socket.socket,
    method: str,
    parameters: dict[str, object],
    *,
    more: bool = False,
) -> None:
    given = {key: value for key, value in parameters.items() if value is not None}
    request: dict[str, object] = {"method": f"{INTERFACE}.{method}"}
    if given:
        request["parameters"] = given
    if more:
        request["more"] = True
    try:
        connection.sendall(json.dumps(request).encode() + b"\0")
    except OSError as error:
        raise _cut_off() from error


def _replies(connection: socket.socket) -> Iterator[Reply]:
    """Yield the parameters of each reply until one is the last."""
    pending = bytearray()
    while True:
        end = pending.find(b"\0")
        if end < 0:
            pending += _receive(connection)
            if len(pending) > MOST_BYTES:
                raise _odd("its answer is too long")
            continue
        reply = _parsed(bytes(pending[:end]))
        del pending[: end + 1]
        parameters = escaped(reply.get("parameters") or {})
        if "error" in reply:
            raise _refused(str(reply["error"]), parameters)
        yield parameters
        if not reply.get("continues"):
            return


def _receive(connection: socket.socket) -> bytes:
    try:
        data = connection.recv(1 << 16)
    except TimeoutError as error:
        raise _silent() from error
    except OSError as error:
        raise _cut_off() from error
    if not data:
        raise _cut_off()
    return data


def _parsed(data: bytes) -> Reply:
    try:
        reply = json.loads(data)
    except ValueError as error:
        raise _odd("its answer is no JSON") from error
    if not isinstance(reply, dict) or not isinstance(
        reply.get("parameters") or {}, dict
    ):
        raise _odd("its answer is no object")
    return reply


def escaped(thing: Any) -> Any:
    """Return what JSON held with its text made harmless for a terminal."""
    if isinstance(thing, str):
        lines = thing.split("\n") if thing.startswith("# ") else [thing]
        return "\n".join(map(one_line, lines))  # only metrics have lines
    if isinstance(thing, list):
        return [escaped(one) for one in thing]
    if isinstance(thing, dict):
        return {one_line(key): escaped(thing[key]) for key in thing}
    return thing


def _odd(why: str) -> CommandError:
    return CommandError(
        f"the daemon is not understood: {why}",
        f"is it bpftune that listens at {socket_path()}?",
    )


def _silent() -> CommandError:
    return CommandError(
        f"the daemon did not answer for {ANSWER_S:.0f} s",
        "see what it does: journalctl -u bpftune",
    )


def _cut_off() -> CommandError:
    return CommandError(
        "the daemon ended the connection",
        "it stopped, or too many talk to it; try again",
    )


def _refused(error: str, parameters: Reply) -> CommandError:
    """Return what an *error* of the daemon's means for who asked."""
    kind = error.rpartition(".")[2]
    told = parameters.get("why") or parameters.get("what") or error
    text = one_line(str(told))
    match kind:
        case "NoSuch":
            return NoSuchError(f"there is no {text}", "see bpftune status")
        case "NotPermitted":
            return CommandError(text, "try it as root", ExitCode.NOT_PERMITTED)
        case "Refused":
            return CommandError(f"refused: {text}", code=ExitCode.NOT_PERMITTED)
        case "Busy":
            return CommandError(f"busy: {text}", "try again")
        case "MethodNotFound" | "MethodNotImplemented" | "InterfaceNotFound":
            return CommandError(
                "the daemon that runs is of another version and cannot do this",
                "restart it: sudo systemctl restart bpftune",
            )
    return CommandError(f"the daemon answers {printable(error)}: {text}")
