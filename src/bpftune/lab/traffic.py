"""Traffic over a link, measured where it arrives.

A sender process in the link's first namespace, a receiver process in its
second. Goodput is what the receiver's application read; what TCP knows
(``TCP_INFO``) is the sender's.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from ipaddress import ip_network
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

from bpftune.lab.child import Child, Record
from bpftune.lab.receiver import REPORT_S

if TYPE_CHECKING:
    from bpftune.lab.link import End


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """What every kind of traffic can set.

    *congestion_control* is set on the senders' sockets before they connect;
    None is the namespace's default. *sndbuf_bytes* and *rcvbuf_bytes* are
    SO_SNDBUF and SO_RCVBUF. *reads* False is a receiver that never reads. With
    *uid* both processes are that user, in the group of the same number and no
    other, without any privileges.
    """

    flows: int = 1
    congestion_control: str | None = None
    sndbuf_bytes: int | None = None
    rcvbuf_bytes: int | None = None
    reads: bool = True
    uid: int | None = None


@dataclass(frozen=True, kw_only=True)
class Bulk(Traffic):
    """As much as goes; with *reconnect_s* each connection lives that long."""

    reconnect_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Bursts(Traffic):
    """An application that has *burst_bytes* to send every *every_s*."""

    burst_bytes: int = 1 << 20
    every_s: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Requests(Traffic):
    """One request at a time on a connection that stays open.

    The sender sends *request_bytes*, the receiver answers *response_bytes*; the
    next follows *think_s* after the answer.
    """

    request_bytes: int = 4096
    response_bytes: int = 128
    think_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Transfers(Traffic):
    """Transfers, each on a connection of its own.

    Each flow connects, sends *transfer_bytes* and waits for the end of a receiver
    that has read all; its next transfer follows *think_s* after that. *users* are
    how many flows do so, each with since when in seconds: a transfer under way is not
    cut off. Before that, and without any, all do.
    """

    transfer_bytes: int = 300_000
    think_s: float = 0.0
    users: tuple[tuple[float, int], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Downloads(Transfers):
    """The same asked for by the receiving end: it connects, and closes at the end.

    What is sent goes the same way as in ``Transfers``; only who connects differs,
    and with that when the receiving socket is made: for each transfer anew.
    """


class Joined(Protocol):
    """A link or a way over several: traffic goes from its first end to the second."""

    @property
    def ends(self) -> tuple[End, ...]:
        """Both ends."""


class Flows:
    """Traffic that runs, and what is known of it so far. Times are monotonic."""

    def __init__(self, link: Joined, traffic: Traffic, family: int = 4) -> None:
        """Prepare *traffic* over *link*; nothing runs before ``start``."""
        self.link = link
        self.traffic = traffic
        self.family = family
        self.receiver: Child | None = None
        self.sender: Child | None = None
        self.started_s = 0.0

    @property
    def destination(self) -> str:
        """The /24 or /48 that the traffic goes to, as bpftune tells it."""
        address = self.link.ends[1].address(self.family)
        length = 24 if self.family == 4 else 48
        return str(ip_network(f"{address}/{length}", strict=False))

    def start(self) -> None:
        """Start both processes; returns when all flows are connected."""
        source, target = self.link.ends
        if isinstance(self.traffic, Downloads):  # who asks is called the sender
            source, target = target, source
        plan: Record = {
            "traffic": type(self.traffic).__name__.lower(),
            "address": target.address(self.family),
            **asdict(self.traffic),
        }
        self.receiver = Child(
            "receiver", {**plan, "namespace": str(target.namespace.path)}
        )
        port = self.receiver.wait_for_kind("ready")["port"]
        self.sender = Child(
            "sender", {**plan, "namespace": str(source.namespace.path), "port": port}
        )
        self.sender.wait_for_kind("ready")
        self.started_s = time.monotonic()

    def stop(self) -> None:
        """End both processes; what was measured stays."""
        for child in (self.sender, self.receiver):
            if child is not None:
                child.stop()

    def wait_s(self, seconds: float) -> None:
        """Let the traffic run; LabError if it breaks."""
        if self.sender is not None:
            self.sender.wait_s(seconds)

    def received(self) -> list[Record]:
        """Return the receiver's records: ``t_s`` and, per flow, ``bytes`` since."""
        return self.receiver.of_kind("received") if self.receiver else []

    def connections(self) -> list[Record]:
        """Return those that ended, in the order of their beginning.

        Each has its ``flow``, ``began_s`` and ``ended_s`` since the traffic began,
        and the ``bytes`` that were read.
        """
        ended = self.receiver.of_kind("connection") if self.receiver else []
        made = [
            {
                "flow": one["flow"],
                "began_s": round(one["began_s"] - self.started_s, 3),
                "ended_s": round(one["ended_s"] - self.started_s, 3),
                "bytes": one["bytes"],
            }
            for one in ended
        ]
        return sorted(made, key=lambda one: float(one["began_s"]))

    def transfers(self) -> list[Record]:
        """Return the transfers that ended, as their sender knows them.

        Each has its ``flow``, ``began_s`` since the traffic began, ``took_s``, the
        ``bytes``, how many data ``segments`` were sent and ``retransmitted``,
        ``srtt_s`` weighted by the bytes acked, ``last_srtt_s``, ``min_rtt_s``, and the
        ``congestion_control`` it had at the end.
        """
        told = [
            one
            for record in self.senders()
            for flow in record["flows"]
            for one in flow.get("transfers", ())
        ]
        made = [
            one | {"began_s": round(one["began_s"] - self.started_s, 3)} for one in told
        ]
        return sorted(made, key=lambda one: float(one["began_s"]))

    def senders(self) -> list[Record]:
        """Return the sender's records: ``t_s`` and per flow what TCP knows."""
        return self.sender.of_kind("sent") if self.sender else []

    def per_flow_bits_per_s(
        self, last_s: float | None = None, until_s: float | None = None
    ) -> list[float]:
        """Return each flow's goodput, mean of the *last_s* seconds (None: all).

        *until_s* (monotonic) ends the time looked at; None: the last record.
        """
        records = self.received()
        if until_s is not None:
            records = [record for record in records if record["t_s"] <= until_s]
        totals = [0] * self.traffic.flows
        if not records:
            return [0.0] * len(totals)
        end_s = records[-1]["t_s"]
        begin_s = self.started_s
        if last_s is not None:
            begin_s = max(begin_s, end_s - last_s)
        first_s = None
        for record in records:
            if record["t_s"] <= begin_s:
                first_s = record["t_s"]
                continue
            for flow, size in enumerate(record["bytes"]):
                totals[flow] += size
        span_s = end_s - (first_s if first_s is not None else begin_s)
        return [8 * total / span_s if span_s > 0 else 0.0 for total in totals]

    def goodput_bits_per_s(
        self, last_s: float | None = None, until_s: float | None = None
    ) -> float:
        """Return the goodput of all flows together, see ``per_flow_bits_per_s``."""
        return sum(self.per_flow_bits_per_s(last_s, until_s))

    def series(self, step_s: float = 1.0) -> list[float]:
        """Return the total goodput in bit/s of each whole *step_s* so far."""
        steps: list[float] = []
        records = self.received()
        if not records:
            return steps
        for record in records:
            if record["t_s"] < self.started_s:
                continue
            index = int((record["t_s"] - self.started_s) / step_s)
            steps.extend([0.0] * (index + 1 - len(steps)))
            steps[index] += 8 * sum(record["bytes"]) / step_s
        # The last record of a second comes a little early or late.
        whole = int((records[-1]["t_s"] - self.started_s) / step_s + 0.1)
        return steps[: max(0, whole)]

    def waited_s(self) -> float:
        """Return how late the receiver's reports were in one of a hundred cases."""
        at_s = [record["t_s"] for record in self.received()]
        gaps_s = sorted(late - soon for soon, late in pairwise(at_s))
        return max(0.0, gaps_s[len(gaps_s) * 99 // 100] - REPORT_S) if gaps_s else 0.0

    def latest(self) -> list[dict[str, Any]]:
        """Return, per flow, the newest ``TCP_INFO`` fields."""
        records = self.senders()
        flows: list[dict[str, Any]] = records[-1]["flows"] if records else []
        return flows
