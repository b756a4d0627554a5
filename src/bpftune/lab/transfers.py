"""Flows of transfers, each on a connection of its own and told one by one."""

from __future__ import annotations

import math
import select
import socket
import time
from typing import TYPE_CHECKING

from bpftune.lab.flow import CHUNK, NEVER_S, Flow, Stage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bpftune.lab.child import Record

LOOK_S = 0.1
"""How often a transfer is looked at."""

CONNECT_S = 60.0
"""A path that loses a fifth of all packets loses four SYN in a row now and then, and
the fifth follows after 15 s."""


def next_turn_s(
    number: int, users: Sequence[tuple[float, int]], passed_s: float
) -> float:
    """Return from when on flow *number* may begin a transfer.

    *users* are how many flows may, each with since when; before that, and without
    any, all may. Never is infinite.
    """
    spans = [(0.0, math.inf), *users]
    ends_s = [since_s for since_s, _ in users] + [NEVER_S]
    for (since_s, count), until_s in zip(spans, ends_s, strict=True):
        if number < count and passed_s < until_s:
            return max(since_s, passed_s)
    return NEVER_S


class TransferFlow(Flow):
    """Transfers, each on a connection of its own.

    Each is timed from before it connects until the peer, who has read all,
    closes.
    """

    def __init__(self, number: int, plan: Record) -> None:
        """Begin to connect for the first transfer, if it is this flow's turn."""
        self.latencies_s: list[float] = []
        self.transfers: list[Record] = []
        self.left_bytes = 0
        self.made_s = time.monotonic()
        self.stage = Stage.CLOSED
        self.socket = socket.socket()
        self.socket.close()
        super().__init__(number, plan)

    def connect(self) -> None:
        """Begin to connect, and a transfer with that, or wait for this flow's turn."""
        now_s = self.began_s = time.monotonic()
        self.seen_bytes = self.srtt_us_bytes = 0
        self.congestion_control = ""
        passed_s, users = now_s - self.made_s, self.plan.get("users", ())
        turn_s = next_turn_s(self.number, users, passed_s)
        if turn_s <= passed_s:
            super().connect()
            self.due_s = now_s + CONNECT_S
        else:
            self.due_s = self.made_s + turn_s

    def begin(self, now_s: float) -> None:
        """Have something to send."""
        self.left_bytes = self.plan["transfer_bytes"]
        self.due_s = now_s + LOOK_S

    def wants(self) -> int:
        """Return the poll events it waits for."""
        return select.POLLOUT if self.left_bytes else select.POLLIN

    def ready(self, _what: int, _now_s: float) -> None:
        """Send what is left and say so, or take the end."""
        try:
            while self.left_bytes:
                self.left_bytes -= self.socket.send(CHUNK[: self.left_bytes])
                if not self.left_bytes:
                    self.socket.shutdown(socket.SHUT_WR)
            self.socket.recv(1)
        except BlockingIOError:
            return
        self.completed(time.monotonic())

    def completed(self, now_s: float) -> None:
        """Take note of how it went; the next follows."""
        self.latencies_s.append(round(now_s - self.began_s, 6))
        self.end()
        self.note(self.latencies_s[-1])
        self.due_s = now_s + self.plan["think_s"]
        if not self.plan["think_s"]:
            self.connect()

    def time_came(self, now_s: float) -> None:
        """Look at a transfer that takes its time, or begin the next."""
        if self.stage is Stage.OPEN:
            self.learn()
            self.due_s = now_s + LOOK_S
        else:
            self.connect()

    def learn(self) -> None:
        """Take note of what TCP knows, and of the round trip of what was acked since.

        The socket of a transfer that is over still knows all.
        """
        super().learn()
        if self.stage is Stage.OPEN:
            acked_bytes = self.known["bytes_acked"]
            self.srtt_us_bytes += self.known["rtt_us"] * (acked_bytes - self.seen_bytes)
            self.seen_bytes = acked_bytes
            name = self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
            self.congestion_control = name.rstrip(b"\0").decode()

    def note(self, took_s: float) -> None:
        """Note what became of the transfer that ended."""
        known = self.known
        self.transfers.append(
            {
                "flow": self.number,
                "began_s": self.began_s,
                "took_s": took_s,
                "bytes": self.plan["transfer_bytes"],
                "segments": known["data_segments_out"],
                "retransmitted": known["retransmitted_segments"],
                "srtt_s": round(self.srtt_us_bytes / max(1, self.seen_bytes) / 1e6, 6),
                "last_srtt_s": known["rtt_us"] / 1e6,
                "min_rtt_s": known["min_rtt_us"] / 1e6,
                "congestion_control": self.congestion_control,
            }
        )

    def report(self) -> Record:
        """Return what TCP knows, and which transfers ended since the last report."""
        taken_s, self.latencies_s = self.latencies_s, []
        transfers, self.transfers = self.transfers, []
        return {**super().report(), "latencies_s": taken_s, "transfers": transfers}


class DownloadFlow(TransferFlow):
    """The same the other way: one byte asks for a transfer, its last byte ends it."""

    def sizes(self) -> tuple[int, int]:
        """Return the sizes of a request and of the transfer it asks for."""
        return 1, self.plan["transfer_bytes"]

    def begin(self, now_s: float) -> None:  # noqa: ARG002 - its end is its last byte
        """Ask."""
        self.socket.send(b"?")
        self.left_bytes = self.plan["transfer_bytes"]
        self.due_s = NEVER_S

    def wants(self) -> int:
        """Return the poll events it waits for."""
        return select.POLLIN

    def ready(self, _what: int, _now_s: float) -> None:
        """Take what came; the transfer is over with its last byte."""
        try:
            while self.left_bytes:
                received = self.socket.recv(min(self.left_bytes, 1 << 16))
                if not received:
                    raise SystemExit("the sender closed the connection")
                self.left_bytes -= len(received)
        except BlockingIOError:
            return
        self.completed(time.monotonic())

    def note(self, took_s: float) -> None:
        """Note nothing: the socket that sends is the other end's."""
