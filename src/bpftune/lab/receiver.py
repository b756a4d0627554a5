"""The process that receives: counts what each flow delivers, answers requests."""

from __future__ import annotations

import select
import signal
import socket
import struct
import time
from typing import TYPE_CHECKING

from bpftune.lab.child import Record, begin, say

if TYPE_CHECKING:
    from types import FrameType

HELLO = struct.Struct("!III")
"""What a connection begins with: flow number, request and response size."""

REPORT_S = 0.1
READ_BYTES = 4 << 20
BACKLOG = 4096


class Connection:
    """One accepted connection."""

    def __init__(self, accepted: socket.socket) -> None:
        """Begin; who it is comes with the first bytes."""
        accepted.setblocking(False)
        self.socket = accepted
        self.hello = b""
        self.flow = -1
        self.began_s = time.monotonic()
        self.received_bytes = 0
        self.request_bytes = self.response_bytes = 0
        self.asked_bytes = 0
        self.owed_bytes = 0


class Receiver:
    """All connections of one traffic."""

    def __init__(self, plan: Record) -> None:
        """Listen as planned."""
        family = socket.AF_INET6 if ":" in plan["address"] else socket.AF_INET
        self.listener = socket.socket(family, socket.SOCK_STREAM)
        if plan["rcvbuf_bytes"]:
            self.listener.setsockopt(
                socket.SOL_SOCKET, socket.SO_RCVBUF, plan["rcvbuf_bytes"]
            )
        self.listener.bind((plan["address"], 0))
        self.listener.listen(BACKLOG)
        self.listener.setblocking(False)
        self.reads = plan["reads"]
        self.connections: dict[int, Connection] = {}
        self.counts = [0] * plan["flows"]
        self.buffer = memoryview(bytearray(READ_BYTES))
        self.answer = bytes(1 << 16)
        self.poll = select.epoll()
        self.poll.register(self.listener, select.EPOLLIN)

    def accept(self) -> None:
        """Take all new connections."""
        try:
            while True:
                connection = Connection(self.listener.accept()[0])
                number = connection.socket.fileno()
                self.connections[number] = connection
                if self.reads:
                    self.poll.register(number, select.EPOLLIN)
        except BlockingIOError:
            return

    def read(self, connection: Connection) -> None:
        """Take what is there and answer complete requests."""
        try:
            while connection.flow < 0:
                missing = HELLO.size - len(connection.hello)
                connection.hello += self._some(connection.socket.recv(missing))
                if len(connection.hello) == HELLO.size:
                    (
                        connection.flow,
                        connection.request_bytes,
                        connection.response_bytes,
                    ) = HELLO.unpack(connection.hello)
            while True:
                # MSG_TRUNC: TCP throws the data away instead of copying it.
                size = connection.socket.recv_into(
                    self.buffer, READ_BYTES, socket.MSG_TRUNC
                )
                if not size:
                    raise ConnectionResetError
                self.counts[connection.flow] += size
                connection.received_bytes += size
                if connection.request_bytes:
                    self._asked(connection, size)
                if size < READ_BYTES:
                    return
        except BlockingIOError:
            return
        except OSError:
            self.end(connection)

    def end(self, connection: Connection) -> None:
        """Close the connection and tell what it brought."""
        self.poll.unregister(connection.socket)
        del self.connections[connection.socket.fileno()]
        connection.socket.close()
        if connection.flow >= 0:
            say(
                "connection",
                flow=connection.flow,
                began_s=connection.began_s,
                ended_s=time.monotonic(),
                bytes=connection.received_bytes,
            )

    @staticmethod
    def _some(received: bytes) -> bytes:
        if not received:
            raise ConnectionResetError
        return received

    def _asked(self, connection: Connection, size: int) -> None:
        connection.asked_bytes += size
        while connection.asked_bytes >= connection.request_bytes:
            connection.asked_bytes -= connection.request_bytes
            connection.owed_bytes += connection.response_bytes
        self.pay(connection)

    def pay(self, connection: Connection) -> None:
        """Send what is owed; go on when there is room if it does not fit."""
        try:
            while connection.owed_bytes:
                connection.owed_bytes -= connection.socket.send(
                    self.answer[: connection.owed_bytes]
                )
            self.poll.modify(connection.socket, select.EPOLLIN)
        except BlockingIOError:
            self.poll.modify(connection.socket, select.EPOLLIN | select.EPOLLOUT)

    def serve(self) -> None:
        """Serve for ever; report what arrived every REPORT_S."""
        due_s = time.monotonic() + REPORT_S
        last = [0] * len(self.counts)
        while True:
            for number, what in self.poll.poll(max(0.0, due_s - time.monotonic())):
                if number == self.listener.fileno():
                    self.accept()
                elif connection := self.connections.get(number):
                    if what & select.EPOLLOUT:
                        self.pay(connection)
                    if what & ~select.EPOLLOUT:
                        self.read(connection)
            now_s = time.monotonic()
            if now_s >= due_s:
                delta = [a - b for a, b in zip(self.counts, last, strict=True)]
                say("received", t_s=now_s, bytes=delta)
                last = list(self.counts)
                due_s = max(due_s + REPORT_S, now_s)


def main() -> None:
    """Receive as planned until told to end."""
    plan = begin()

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    receiver = Receiver(plan)
    say("ready", port=receiver.listener.getsockname()[1])
    receiver.serve()


if __name__ == "__main__":
    main()
