"""From looks at sockets to slices and epochs: the measurement of a path.

Several looks at every socket of a path make a *slice* of at least two round
trips, five valid slices make an *epoch*. A slice in which many looks found loss
recovery is void: it tells of the loss, not of the limit. What a look is made of
is another matter: ``policy.sender`` and ``policy.receiver`` tell it.
"""

from __future__ import annotations

import enum
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from bpftune.policy.evidence import Estimate, log_rate

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LOOKS_PER_SLICE = 8
SLICES_PER_EPOCH = 5
LEAST_SLICE_S = 0.5
MOST_LOSSY_SLICES = 15  # three epochs' worth: the path is too lossy to judge
MOST_EMPTY = 16  # looks, or slices, in which nothing moved


def median(values: Iterable[float]) -> float:
    """Return the middle of *values*, the upper one of two.

    The library's ``statistics`` would import decimals and random numbers too.
    """
    ordered = sorted(values)
    return ordered[len(ordered) // 2]


class LimitedBy(enum.Enum):
    """What holds a connection back at one instant."""

    SNDBUF = "our send buffer"
    RCVBUF = "our receive buffer"
    WINDOW_SCALE = "the window scale"
    SENDER = "the sender or the path"
    PEER_WINDOW = "the peer's window"
    APPLICATION = "the application"
    PATH = "the path"
    LOSS = "loss"


HELD_BACK = frozenset({LimitedBy.SNDBUF, LimitedBy.RCVBUF})
"""What a larger limit of ours could cure."""


@dataclass(frozen=True, slots=True)
class Look:
    """One socket at one instant, as the measurement of a path needs it.

    *moved_bytes* and *ticks* are running totals: what went across, and the time
    in which something could have (jiffies, or any unit that all share).
    """

    cookie: int
    now_ns: int
    cause: LimitedBy
    moved_bytes: int
    ticks: int
    srtt_us: int
    min_rtt_us: int
    segments: int = 0
    retransmitted: int = 0


@dataclass(frozen=True, slots=True)
class Slice:
    """What the sockets did between its first and its last look."""

    moved: Mapping[int, tuple[int, int]]  # cookie: bytes, ticks
    looks: Counter[LimitedBy]
    starved: frozenset[int]  # cookies seen limited by our buffer
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
        """Share of looks that found a socket limited by our buffer.

        Of a murky epoch, the share of the looks between the losses.
        """
        looks = self.looks
        total = looks.total() - (looks[LimitedBy.LOSS] if self.murky else 0)
        return sum(looks[cause] for cause in HELD_BACK) / max(1, total)

    @property
    def starved(self) -> frozenset[int]:
        """Sockets that were limited by our buffer at least once."""
        return frozenset().union(*(s.starved for s in self.slices))

    @property
    def sockets(self) -> frozenset[int]:
        """Sockets that moved bytes and lived through the whole epoch."""
        return frozenset.intersection(*(frozenset(s.moved) for s in self.slices))

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

    def moved_bytes(self, sockets: frozenset[int] | None = None) -> int:
        """Bytes that went across in all, or on *sockets* only."""
        return sum(
            moved
            for one in self.slices
            for cookie, (moved, _) in one.moved.items()
            if sockets is None or cookie in sockets
        )

    def rate(self, sockets: frozenset[int]) -> Estimate | None:
        """Return the logarithm of bytes per tick of *sockets*."""
        rows = [
            [s.moved.get(cookie, (0, 0)) for cookie in sockets] for s in self.slices
        ]
        return log_rate(
            [sum(moved for moved, _ in row) for row in rows],
            [sum(ticks for _, ticks in row) for row in rows],
        )

    def slice_rates(self, sockets: frozenset[int]) -> list[float]:
        """Return the bytes per tick of *sockets*, one for each slice."""
        rates = []
        for one in self.slices:
            moved = [one.moved[c] for c in sockets if c in one.moved]
            ticks = sum(count for _, count in moved)
            if ticks:
                rates.append(sum(count for count, _ in moved) / ticks)
        return rates

    @property
    def bytes_per_s(self) -> float:
        """Bytes per second of wall time, all sockets together."""
        return self.moved_bytes() / max(self.seconds, 1e-9)


def compare(after: Epoch, before: Epoch) -> Estimate | None:
    """Return the gain in log rate on the sockets that lived through both.

    None if these carry less than nine tenths of the bytes of either: then
    competitors came or went, and no comparison is fair.
    """
    common = after.sockets & before.sockets
    for epoch in (after, before):
        if epoch.moved_bytes(common) < 0.9 * epoch.moved_bytes():
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
    first: Mapping[int, Look] | None = None
    looks: tuple[Look, ...] = ()
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


def gather(state: Gathering, looks: tuple[Look, ...]) -> tuple[Gathering, Epoch | None]:
    """Add a look at every socket; return the new state and perhaps the epoch.

    An empty one (no socket there) ends the open slice and voids it.
    """
    if not looks:
        return replace(state, first=None, looks=(), empty=state.empty + 1), None
    now_ns = looks[0].now_ns
    last = {look.cookie: look for look in looks}
    if state.first is None:
        length_s = slice_seconds(median(look.min_rtt_us for look in looks))
        return (
            replace(state, first=last, looks=(), start_ns=now_ns, length_s=length_s),
            None,
        )
    seconds = (now_ns - state.start_ns) / 1e9
    if seconds < state.length_s:
        return replace(state, looks=state.looks + looks), None
    # The last look of a slice is the first of the next: no byte goes uncounted.
    begun = replace(state, first=last, looks=(), start_ns=now_ns)
    return _close(begun, _slice(state.first, last, state.looks + looks, seconds))


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
    first: Mapping[int, Look],
    last: Mapping[int, Look],
    looks: tuple[Look, ...],
    seconds: float,
) -> Slice | None:
    moved = {}
    for cookie in first.keys() & last.keys():
        old, new = first[cookie], last[cookie]
        count = new.moved_bytes - old.moved_bytes
        ticks = new.ticks - old.ticks
        if count > 0 and ticks > 0:
            moved[cookie] = (count, ticks)
    if not moved:
        return None
    sent = sum(last[c].segments - first[c].segments for c in moved)
    again = sum(last[c].retransmitted - first[c].retransmitted for c in moved)
    return Slice(
        moved=moved,
        looks=Counter(look.cause for look in looks),
        starved=frozenset(k.cookie for k in looks if k.cause in HELD_BACK),
        srtt_us=median(last[c].srtt_us for c in moved),
        min_rtt_us=median(last[c].min_rtt_us for c in moved),
        seconds=seconds,
        segments=sent,
        retransmitted=again,
    )
