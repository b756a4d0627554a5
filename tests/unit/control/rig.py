"""A server on a real socket, a service that answers as it is told, and clients."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bpftune.control.access import Peer
from bpftune.control.client import GoneError, peer_of
from bpftune.control.framing import Call, CallError, reply
from bpftune.control.server import Server
from tests.unit.fakes import Clock

Message = dict[str, Any]
MOST_TURNS = 10_000
PIECE = b" " * 16384


class Echo:
    """Answers with what it was asked; some methods take long, or never end."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.trusted: list[bool] = []
        self.closed = 0
        self.steps = 0

    def answer(self, call: Call, *, trusted: bool) -> Iterator[bytes | None]:
        self.calls.append(call)
        self.trusted.append(trusted)
        if call.method == "t.Fail":
            raise CallError("t.Failed", why="told to")
        if call.method == "t.Watch":
            return
        if call.method == "t.Big":
            yield reply({"text": "x" * call.parameters["bytes"]})
            return
        try:
            for _ in range(call.parameters.get("steps", 0)):
                self.steps += 1
                yield None
            for _ in range(call.parameters.get("pieces", 0)):
                self.steps += 1
                yield PIECE
            if call.method == "t.Break":
                raise GoneError("the rest is gone")
        finally:
            self.closed += 1
        yield reply({"method": call.method, "parameters": call.parameters})

    def is_watch(self, call: Call) -> bool:
        return call.method == "t.Watch"


class Peeking:
    """A client's end: never waits longer than the server has something to do."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(rig.path))
        self.socket.setblocking(False)
        self.heard = bytearray()
        self.is_cut_off = False

    def send(self, data: bytes) -> None:
        """Send all of it, or as much as the server takes before it hangs up."""
        rest = memoryview(data)
        for _ in range(MOST_TURNS):
            if not rest:
                return
            try:
                rest = rest[self.socket.send(rest) :]
            except BlockingIOError:
                self.rig.server.turn()
            except (BrokenPipeError, ConnectionResetError):
                self.is_cut_off = True
                return
        raise AssertionError("the server does not take it")

    def call(self, method: str, **members: object) -> None:
        self.send(json.dumps({"method": method, **members}).encode() + b"\0")

    def listen(self) -> None:
        try:
            while data := self.socket.recv(1 << 16):
                self.heard += data
            self.is_cut_off = True
        except BlockingIOError:
            pass
        except ConnectionResetError:
            self.is_cut_off = True

    def take(self) -> Message | None:
        """Return the next message that was heard as a whole."""
        message, end, rest = self.heard.partition(b"\0")
        if not end:
            return None
        self.heard = rest
        found: Message = json.loads(message)
        return found

    def next(self) -> Message:
        """Let the server work until a message is there, and return it."""
        self.rig.until(self.has_message)
        message = self.take()
        assert message is not None
        return message

    def has_message(self) -> bool:
        self.listen()
        return b"\0" in self.heard

    def was_cut_off(self) -> bool:
        self.listen()
        return self.is_cut_off


class Rig:
    """A server, and what its clients are taken for."""

    def __init__(self, directory: Path, group: int | None = None) -> None:
        self.path = directory / "control"
        self.clock = Clock()
        self.service = Echo()
        self.peer: Peer | None = None
        self.server = Server(
            self.path,
            self.service,
            group=group,
            identify=self._identify,
            clock=self.clock,
        )
        self.clients: list[Peeking] = []

    def _identify(self, connection: socket.socket) -> Peer:
        return self.peer or peer_of(connection)

    def connect(self, uid: int | None = None) -> Peeking:
        """Return a client that is connected, and taken for *uid*'s."""
        self.peer = None if uid is None else Peer(uid, uid)
        client = Peeking(self)
        self.clients.append(client)
        self.server.turn()
        return client

    def until(self, holds: Callable[[], bool]) -> None:
        for _ in range(MOST_TURNS):
            if holds():
                return
            self.server.turn()
        raise AssertionError("the server has turned for nothing")

    def pass_time(self, seconds: float) -> None:
        self.clock.now_s += seconds
        self.server.turn()

    def close(self) -> None:
        for client in self.clients:
            client.socket.close()
        self.server.close()
