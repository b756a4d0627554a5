"""The sender's flows: bulk, bursts or requests, and what TCP knows of them.

Nothing here waits: a flow says what it waits for, and is called when it came.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from enum import Enum, auto
from typing import TYPE_CHECKING

from bpftune.lab.receiver import HELLO
from bpftune.lab.tcp_info import tcp_info

if TYPE_CHECKING:
    from bpftune.lab.child import Record

CONNECT_S = 10.0
CHUNK = memoryview(bytes(1 << 17))
CHUNKS_AT_ONCE = 16
NEVER_S = float("inf")
REPORTED = (
    "ca_state", "rtt_us", "min_rtt_us", "cwnd", "unacked", "notsent_bytes",
    "snd_wnd_bytes", "bytes_acked", "busy_us", "rwnd_limited_us",
    "sndbuf_limited_us", "data_segments_out", "retransmitted_segments",
)  # fmt: skip


def _raise_if(error: int) -> None:
    if error not in {0, errno.EINPROGRESS}:
        raise OSError(error, os.strerror(error))


class Stage(Enum):
    """Where a flow's connection is."""

    CONNECTING = auto()
    OPEN = auto()
    CLOSED = auto()


class Flow:
    """One flow: a connection, or one after the other. This one is bulk."""

    def __init__(self, number: int, plan: Record) -> None:
        """Begin to connect."""
        self.number = number
        self.plan = plan
        self.known: Record = dict.fromkeys(REPORTED, 0)
        self.connect()

    def connect(self) -> None:
        """Begin to connect; a round trip later it is ``established``."""
        plan = self.plan
        family = socket.AF_INET6 if ":" in plan["address"] else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.setblocking(False)
        if plan["sndbuf_bytes"]:
            self.socket.setsockopt(
                socket.SOL_SOCKET, socket.SO_SNDBUF, plan["sndbuf_bytes"]
            )
        if plan["congestion_control"]:
            self.socket.setsockopt(
                socket.IPPROTO_TCP,
                socket.TCP_CONGESTION,
                plan["congestion_control"].encode(),
            )
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stage = Stage.CONNECTING
        self.due_s = time.monotonic() + CONNECT_S
        _raise_if(self.socket.connect_ex((plan["address"], plan["port"])))

    def established(self, now_s: float) -> None:
        """Say who it is, or raise OSError if it could not connect."""
        _raise_if(self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
        self.socket.send(HELLO.pack(self.number, *self.sizes()))
        self.stage = Stage.OPEN
        self.begin(now_s)

    def sizes(self) -> tuple[int, int]:
        """Return the sizes in bytes of a request and of its answer; 0: none."""
        return self.plan.get("request_bytes", 0), self.plan.get("response_bytes", 0)

    def begin(self, now_s: float) -> None:
        """Know when this connection's time is over."""
        life_s = self.plan.get("reconnect_s")
        self.due_s = now_s + life_s if life_s else NEVER_S

    def end(self) -> None:
        """Close the connection, and remember what TCP knew of it."""
        self.learn()
        self.socket.close()
        self.stage = Stage.CLOSED

    def wants(self) -> int:
        """Return the poll events it waits for."""
        return select.POLLOUT

    def ready(self, _what: int, _now_s: float) -> None:
        """Write until the send buffer is full.

        A quick receiver may never let that happen, and others wait for their turn.
        """
        try:
            for _ in range(CHUNKS_AT_ONCE):
                self.socket.send(CHUNK)
        except BlockingIOError:
            pass

    def time_came(self, _now_s: float) -> None:
        """End this connection and open the next."""
        self.end()
        self.connect()

    def learn(self) -> None:
        """Take note of what TCP knows; between connections there is nothing new."""
        if self.stage is Stage.OPEN:
            info = tcp_info(self.socket)
            self.known = {name: info[name] for name in REPORTED}

    def report(self) -> Record:
        """Return what TCP knows of this connection, or of the last."""
        self.learn()
        return self.known


class BurstFlow(Flow):
    """An application that gets something to send from time to time."""

    def begin(self, now_s: float) -> None:
        """Make the first burst due."""
        self.left_bytes = 0
        self.due_s = now_s

    def wants(self) -> int:
        """Return the poll events it waits for."""
        return select.POLLOUT if self.left_bytes else 0

    def ready(self, _what: int, _now_s: float) -> None:
        """Write what is left of the bursts."""
        try:
            while self.left_bytes:
                self.left_bytes -= self.socket.send(CHUNK[: self.left_bytes])
        except BlockingIOError:
            pass

    def time_came(self, now_s: float) -> None:
        """Add a burst."""
        self.left_bytes += self.plan["burst_bytes"]
        self.due_s += self.plan["every_s"]
        self.ready(0, now_s)


class RequestFlow(Flow):
    """Requests one after the other, each timed until its last byte is back."""

    def __init__(self, number: int, plan: Record) -> None:
        """Begin to connect."""
        super().__init__(number, plan)
        self.latencies_s: list[float] = []

    def begin(self, now_s: float) -> None:
        """Make the first request due."""
        self.unsent_bytes = 0
        self.awaited_bytes = 0
        self.asked_s = 0.0
        self.due_s = now_s

    def wants(self) -> int:
        """Return the poll events it waits for."""
        return select.POLLIN | (select.POLLOUT if self.unsent_bytes else 0)

    def ready(self, what: int, now_s: float) -> None:
        """Go on with the request, or take the answer."""
        try:
            while self.unsent_bytes:
                self.unsent_bytes -= self.socket.send(CHUNK[: self.unsent_bytes])
            while what and self.awaited_bytes:
                received = self.socket.recv(min(self.awaited_bytes, 1 << 16))
                if not received:
                    raise SystemExit("the receiver closed the connection")
                self.awaited_bytes -= len(received)
        except BlockingIOError:
            return
        if self.awaited_bytes == 0:
            now_s = time.monotonic()
            self.latencies_s.append(now_s - self.asked_s)
            self.due_s = now_s + self.plan["think_s"]
            self.awaited_bytes = -1
            if not self.plan["think_s"]:
                self.time_came(now_s)

    def time_came(self, now_s: float) -> None:
        """Send the next request."""
        self.due_s = NEVER_S
        self.asked_s = now_s
        self.unsent_bytes = self.plan["request_bytes"]
        self.awaited_bytes = self.plan["response_bytes"]
        self.ready(0, now_s)

    def report(self) -> Record:
        """Return what TCP knows, and the latencies since the last report."""
        sorted_s = sorted(self.latencies_s)
        self.latencies_s = []
        count = len(sorted_s)
        return {
            **super().report(),
            "completed": count,
            "latency_median_s": sorted_s[count // 2] if count else None,
            "latency_p99_s": sorted_s[count * 99 // 100] if count else None,
        }
