"""From looks at sockets to slices and epochs: the measurement of a path.

A *look* is one sample of every sender to a destination. Several looks make a
*slice* of at least two round trips, five valid slices make an *epoch*. A slice
in which many looks found loss recovery is void: it tells of the loss, not of
the limit. Rates are bytes acknowledged per *busy* tick, so an application that
pauses does not look slow (``TCP_CHRONO_BUSY`` in tcp_output.c).
"""

from __future__ import annotations

import enum
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from bpftune.policy.evidence import Estimate, log_rate

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bpftune.model import SocketSample

LOOKS_PER_SLICE = 8
SLICES_PER_EPOCH = 5
LEAST_SLICE_S = 0.5
MOST_LOSSY_SLICES = 15  # three epochs' worth: the path is too lossy to judge
MOST_EMPTY = 16  # looks, or slices, in which nothing moved
LEAST_RTT_US = 1000
SNDBUF_LOCK = 1  # SOCK_SNDBUF_LOCK: the application chose its own size
CA_OPEN, CA_RECOVERY, CA_LOSS = 0, 3, 4  # enum tcp_ca_state


def median(values: Iterable[float]) -> float:
    """Return the middle of *values*, the upper one of two.

    The library's ``statistics`` would import decimals and random numbers too.
    """
    ordered = sorted(values)
    return ordered[len(ordered) // 2]


class LimitedBy(enum.Enum):
    """What holds a sender back at one instant."""

    SNDBUF = "our send buffer"
    PEER_WINDOW = "the peer's window"
    APPLICATION = "the application"
    PATH = "the path"
    LOSS = "loss"


def limited_by(sample: SocketSample, limit: int) -> LimitedBy:
    """Tell what holds *sample*'s socket back, given ``tcp_wmem[2]`` = *limit*.

    The queue tells: a sender short of buffer has a full buffer (a blocked
    writer wakes when a third is free), has sent nearly all of it, and its
    congestion window has room. tcp_chrono's own share of sndbuf-limited time
    misses unpaced senders.
    """
    if sample.ca_state in (CA_RECOVERY, CA_LOSS):
        return LimitedBy.LOSS
    in_flight = sample.in_flight_segments
    if (
        not sample.userlocks & SNDBUF_LOCK
        and sample.min_rtt_us >= LEAST_RTT_US
        and sample.ca_state == CA_OPEN
        and sample.sndbuf_bytes >= 0.98 * limit
        and sample.wmem_queued_bytes >= 0.6 * sample.sndbuf_bytes
        and sample.notsent_bytes <= 0.1 * sample.wmem_queued_bytes
        and in_flight < 0.9 * sample.cwnd_segments
    ):
        return LimitedBy.SNDBUF
    flight_bytes = in_flight * sample.mss_bytes
    if sample.notsent_bytes and flight_bytes + sample.mss_bytes > sample.snd_wnd_bytes:
        return LimitedBy.PEER_WINDOW
    if in_flight >= 0.9 * sample.cwnd_segments:
        return LimitedBy.PATH
    return LimitedBy.APPLICATION


@dataclass(frozen=True, slots=True)
class Slice:
    """What the sockets did between its first and its last look."""

    acked: Mapping[int, tuple[int, int]]  # cookie: bytes acked, busy jiffies
    looks: Counter[LimitedBy]
    starved: frozenset[int]  # cookies seen limited by our send buffer
    srtt_us: float
    min_rtt_us: float
    seconds: float
    segments: int  # sent, retransmissions included
    retransmitted: int

    @property
    def void(self) -> bool:
        """Too much loss recovery to tell anything."""
        return self.looks[LimitedBy.LOSS] > 0.25 * self.looks.total()


@dataclass(frozen=True, slots=True)
class Epoch:
    """Five valid slices of one path at one limit.

    A *murky* one is made of slices full of loss, where a trial found no others.
    """

    slices: tuple[Slice, ...]
    murky: bool = False

    @property
    def looks(self) -> Counter[LimitedBy]:
        """How many looks found which limit."""
        return sum((s.looks for s in self.slices), Counter[LimitedBy]())

    @property
    def hit(self) -> float:
        """Share of looks that found a socket limited by our send buffer.

        Of a murky epoch, the share of the looks between the losses.
        """
        looks = self.looks
        total = looks.total() - (looks[LimitedBy.LOSS] if self.murky else 0)
        return looks[LimitedBy.SNDBUF] / max(1, total)

    @property
    def starved(self) -> frozenset[int]:
        """Sockets that were limited by our send buffer at least once."""
        return frozenset().union(*(s.starved for s in self.slices))

    @property
    def sockets(self) -> frozenset[int]:
        """Sockets that moved bytes and lived through the whole epoch."""
        return frozenset.intersection(*(frozenset(s.acked) for s in self.slices))

    @property
    def srtt_us(self) -> float:
        """Median smoothed round-trip time, own queue included."""
        return median(s.srtt_us for s in self.slices)

    @property
    def min_rtt_us(self) -> float:
        """Median of the least round-trip times."""
        return median(s.min_rtt_us for s in self.slices)

    @property
    def loss_share(self) -> float:
        """Share of the segments sent that were retransmissions."""
        sent = sum(s.segments for s in self.slices)
        return sum(s.retransmitted for s in self.slices) / max(1, sent)

    @property
    def seconds(self) -> float:
        """How long it took, void slices left out."""
        return sum(s.seconds for s in self.slices)

    def bytes_acked(self, sockets: frozenset[int] | None = None) -> int:
        """Bytes acknowledged in all, or on *sockets* only."""
        return sum(
            acked
            for one in self.slices
            for cookie, (acked, _) in one.acked.items()
            if sockets is None or cookie in sockets
        )

    def rate(self, sockets: frozenset[int]) -> Estimate | None:
        """Return the logarithm of bytes acked per busy jiffy of *sockets*."""
        rows = [
            [s.acked.get(cookie, (0, 0)) for cookie in sockets] for s in self.slices
        ]
        return log_rate(
            [sum(acked for acked, _ in row) for row in rows],
            [sum(busy for _, busy in row) for row in rows],
        )

    @property
    def bytes_per_s(self) -> float:
        """Bytes acknowledged per second of wall time, all sockets together."""
        return self.bytes_acked() / max(self.seconds, 1e-9)


def compare(after: Epoch, before: Epoch) -> Estimate | None:
    """Return the gain in log rate on the sockets that lived through both.

    None if these carry less than nine tenths of the bytes of either: then
    competitors came or went, and no comparison is fair.
    """
    common = after.sockets & before.sockets
    for epoch in (after, before):
        if epoch.bytes_acked(common) < 0.9 * epoch.bytes_acked():
            return None
    new, old = after.rate(common), before.rate(common)
    return None if new is None or old is None else new - old


@dataclass(frozen=True, slots=True)
class Gathering:
    """An epoch in the making: finished slices and the looks of the open one."""

    slices: tuple[Slice, ...] = ()
    lossy: int = 0  # slices void for loss, since the last epoch
    void: tuple[Slice, ...] = ()  # the last of them
    empty: int = 0  # looks without a socket, and slices in which nothing moved
    first: Mapping[int, SocketSample] | None = None
    looks: tuple[tuple[int, LimitedBy], ...] = ()
    start_ns: int = 0
    length_s: float = field(default=LEAST_SLICE_S)

    @property
    def murky_epoch(self) -> Epoch:
        """An epoch of the last void slices, for want of others."""
        return Epoch(self.void, murky=True)

    @property
    def hopeless(self) -> str | None:
        """Why waiting for the epoch is useless, or None."""
        if self.empty > MOST_EMPTY:
            return "no traffic is left to judge it by"
        if self.lossy > MOST_LOSSY_SLICES:
            return "too much loss to judge anything"
        return None


def slice_seconds(min_rtt_us: float) -> float:
    """Return how long a slice takes: two round trips, at least half a second."""
    return max(LEAST_SLICE_S, 2e-6 * min_rtt_us)


def gather(
    state: Gathering, samples: tuple[SocketSample, ...], limit: int
) -> tuple[Gathering, Epoch | None]:
    """Add one look; return the new state and, when it is complete, the epoch.

    An empty look (no sender there) ends the open slice and voids it.
    """
    if not samples:
        return replace(state, first=None, looks=(), empty=state.empty + 1), None
    now_ns = samples[0].now_ns
    last = {sample.cookie: sample for sample in samples}
    if state.first is None:
        length_s = slice_seconds(median(s.min_rtt_us for s in samples))
        return (
            replace(state, first=last, looks=(), start_ns=now_ns, length_s=length_s),
            None,
        )
    looks = state.looks + tuple((s.cookie, limited_by(s, limit)) for s in samples)
    seconds = (now_ns - state.start_ns) / 1e9
    if seconds < state.length_s:
        return replace(state, looks=looks), None
    # The last look of a slice is the first of the next: no byte goes uncounted.
    begun = replace(state, first=last, looks=(), start_ns=now_ns)
    return _close(begun, _slice(state.first, last, looks, seconds))


def _close(state: Gathering, done: Slice | None) -> tuple[Gathering, Epoch | None]:
    """Count a finished slice, None if nothing moved in it."""
    if done is None:
        return replace(state, empty=state.empty + 1), None
    if done.void:
        void = (*state.void, done)[-SLICES_PER_EPOCH:]
        return replace(state, lossy=state.lossy + 1, void=void), None
    slices = (*state.slices, done)
    if len(slices) < SLICES_PER_EPOCH:
        return replace(state, slices=slices), None
    return replace(state, slices=(), void=(), lossy=0, empty=0), Epoch(slices)


def _slice(
    first: Mapping[int, SocketSample],
    last: Mapping[int, SocketSample],
    looks: tuple[tuple[int, LimitedBy], ...],
    seconds: float,
) -> Slice | None:
    acked = {}
    for cookie in first.keys() & last.keys():
        old, new = first[cookie], last[cookie]
        moved = new.bytes_acked - old.bytes_acked
        busy = new.busy_jiffies - old.busy_jiffies
        if moved > 0 and busy > 0:
            acked[cookie] = (moved, busy)
    if not acked:
        return None
    return Slice(
        acked=acked,
        looks=Counter(what for _, what in looks),
        starved=frozenset(c for c, what in looks if what is LimitedBy.SNDBUF),
        srtt_us=median(last[c].srtt_us for c in acked),
        min_rtt_us=median(last[c].min_rtt_us for c in acked),
        seconds=seconds,
        segments=sum(last[c].segments_out - first[c].segments_out for c in acked),
        retransmitted=sum(
            last[c].retransmitted_segments - first[c].retransmitted_segments
            for c in acked
        ),
    )
