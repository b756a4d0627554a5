"""The process that sends: bulk, bursts or requests, and reports what TCP knows."""

from __future__ import annotations

import select
import signal
import socket
import time
from typing import TYPE_CHECKING

from bpftune.lab.child import Record, begin, say
from bpftune.lab.receiver import HELLO
from bpftune.lab.tcp_info import tcp_info

if TYPE_CHECKING:
    from types import FrameType

REPORT_S = 0.5
CHUNK = memoryview(bytes(1 << 17))
CHUNKS_AT_ONCE = 16
NEVER_S = float("inf")
REPORTED = (
    "ca_state", "rtt_us", "min_rtt_us", "cwnd", "unacked", "notsent_bytes",
    "snd_wnd_bytes", "bytes_acked", "busy_us", "rwnd_limited_us",
    "sndbuf_limited_us", "data_segments_out", "retransmitted_segments",
)  # fmt: skip


class Flow:
    """One flow: a connection, or one after the other. This one is bulk."""

    def __init__(self, number: int, plan: Record) -> None:
        """Connect and say who it is."""
        self.number = number
        self.plan = plan
        self.due_s = NEVER_S
        self.connect()

    def connect(self) -> None:
        """Open the connection; takes a round trip."""
        plan = self.plan
        family = socket.AF_INET6 if ":" in plan["address"] else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.settimeout(10)
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
        self.socket.connect((plan["address"], plan["port"]))
        self.socket.setblocking(False)
        self.socket.send(
            HELLO.pack(
                self.number, plan.get("request_bytes", 0), plan.get("response_bytes", 0)
            )
        )
        if plan.get("reconnect_s"):
            self.due_s = time.monotonic() + plan["reconnect_s"]

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
        self.socket.close()
        self.connect()

    def report(self) -> Record:
        """Return what TCP knows."""
        info = tcp_info(self.socket)
        return {name: info[name] for name in REPORTED}


class BurstFlow(Flow):
    """An application that gets something to send from time to time."""

    def __init__(self, number: int, plan: Record) -> None:
        """Connect; the first burst is at once."""
        super().__init__(number, plan)
        self.left_bytes = 0
        self.due_s = time.monotonic()

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
        """Connect; the first request is at once."""
        super().__init__(number, plan)
        self.unsent_bytes = 0
        self.awaited_bytes = 0
        self.asked_s = 0.0
        self.latencies_s: list[float] = []
        self.due_s = time.monotonic()

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
            "requests": count,
            "latency_median_s": sorted_s[count // 2] if count else None,
            "latency_p99_s": sorted_s[count * 99 // 100] if count else None,
        }


FLOWS = {"bulk": Flow, "bursts": BurstFlow, "requests": RequestFlow}


def send(flows: list[Flow]) -> None:
    """Serve all flows for ever; report every REPORT_S."""
    poll = select.epoll()
    registered: dict[int, tuple[Flow, int]] = {}
    report_s = time.monotonic() + REPORT_S
    while True:
        for flow in flows:
            number, wants = flow.socket.fileno(), flow.wants()
            if registered.get(number) == (flow, wants):
                continue
            try:
                poll.modify(number, wants)
            except FileNotFoundError:
                poll.register(number, wants)
            registered[number] = (flow, wants)
        next_s = min(report_s, *(flow.due_s for flow in flows))
        for number, what in poll.poll(max(0.0, next_s - time.monotonic())):
            registered[number][0].ready(what, time.monotonic())
        now_s = time.monotonic()
        for flow in flows:
            if flow.due_s <= now_s:
                flow.time_came(now_s)
        if now_s >= report_s:
            say("sent", t_s=now_s, flows=[flow.report() for flow in flows])
            report_s = max(report_s + REPORT_S, now_s)


def main() -> None:
    """Send as planned until told to end."""
    plan = begin()

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    flows = [FLOWS[plan["traffic"]](number, plan) for number in range(plan["flows"])]
    say("ready")
    send(flows)


if __name__ == "__main__":
    main()
