"""What ``congestion.bpf.c`` reads, adds up and tells.

The daemon writes ``ASSIGNMENTS``; what comes back is taken out of ``SUMS`` (of
destinations that are in there) and ``STRANGERS`` (of all others).
"""

from __future__ import annotations

from dataclasses import dataclass

from bpftune.model import Event, NetnsCookie, Prefix, Table

NAME_BYTES = 16
WINDOWS = (16, 24, 32, 48, 64, 96, 128)
"""Segments: where a class of ``FlowSums.windows`` ends and the next begins."""

SIZES_BYTES = (256 << 10, 2 << 20)
"""Where a class of sizes ends and the next begins."""

COUNTED_BYTES = 100_000
"""Connections that carried less are in ``small_bytes`` only."""


def padded(name: str) -> bytes:
    """Return an algorithm's name as BPF has it. Raises ValueError."""
    if not name.isascii() or len(name) >= NAME_BYTES or "\0" in name:
        raise ValueError(f"{name!r} is no name of a congestion control")
    return name.encode().ljust(NAME_BYTES, b"\0")


def text(name: bytes) -> str:
    """Return an algorithm's name from BPF; whatever is not ASCII is replaced."""
    return name.split(b"\0", 1)[0].decode("ascii", "replace")


@dataclass(frozen=True, slots=True)
class PathKey:
    """A destination as a network namespace sees it. C: ``struct path_key``."""

    netns_cookie: NetnsCookie
    prefix: Prefix


@dataclass(frozen=True, slots=True)
class Assignment:
    """What connections to a destination shall use. C: ``struct assignment``.

    *arm* and *found* are padded names; *found* is the namespace's default when
    this was decided: where it is another by now, nothing is applied. An empty
    *arm* leaves the default. *run* is a number that tells this decision from those
    before: what connections did that began under it is added up under it, also
    when others followed. *on_trial* has connections remembered, told of while they
    last, and split at the 20th round trip. *initial_window* is in segments, 0 is
    the kernel's. *tell_transfers*: each as ``TransferSent``, four a second at most.
    """

    arm: bytes
    found: bytes
    run: int
    on_trial: int
    initial_window: int
    tell_transfers: int

    @property
    def changes(self) -> bool:
        """Whether connections are to differ from what they would be without it."""
        return any(self.arm) or self.initial_window > 0


@dataclass(frozen=True, slots=True)
class SumsKey:
    """What ``FlowSums`` are of. C: ``struct sums_key``.

    *size_class* is that of what each connection carried, see ``SIZES_BYTES``; one
    that is told of while it lasts keeps the class it had first. *run* is 0 in
    ``STRANGERS``.
    """

    netns_cookie: NetnsCookie
    prefix: Prefix
    run: int
    size_class: int


@dataclass(frozen=True, slots=True)
class FlowSums:
    """Sums over connections. C: ``struct flow_sums``.

    *busy_us*: with something unsent or unacknowledged (TCP_CHRONO_*), at least a
    round trip for each. *srtt_us_bytes*: each byte times the smoothed round trip
    at its time. *small_bytes* are of connections with less than ``COUNTED_BYTES``
    that lived less than ten round trips; they are in nothing else. *early_* is up
    to the 20th round trip of a connection, and all of one that was not on trial.
    *life_us* is the age of the *ended*; of those not on trial their busy time.
    *windows*: how many ended with a congestion window of which class. *device* is the
    index of the network device that the last of them left by, 0 if not known.
    """

    bytes_acked: int
    busy_us: int
    srtt_us_bytes: int
    life_us: int
    small_bytes: int
    early_segments: int
    early_retransmitted: int
    late_segments: int
    late_retransmitted: int
    ce_marked: int
    flows: int
    ended: int
    ecn_flows: int
    min_rtt_us: int
    device: int
    windows: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class BrokenKey:
    """An arm that the kernel refused. C: ``struct broken_key``."""

    netns_cookie: NetnsCookie
    arm: bytes


@dataclass(frozen=True, slots=True)
class Refusal:
    """The positive errno. C: ``struct refusal``."""

    error: int


ASSIGNMENTS = Table("assignments", PathKey, Assignment)
SUMS = Table("sums", SumsKey, FlowSums)
STRANGERS = Table("strangers", SumsKey, FlowSums)
BROKEN = Table("broken", BrokenKey, Refusal)
TABLES = (ASSIGNMENTS, SUMS, STRANGERS, BROKEN)


@dataclass(frozen=True, slots=True)
class ArmFailed(Event):
    """The kernel refused *arm*; it tries no more until it is out of ``BROKEN``."""

    arm: bytes
    error: int


@dataclass(frozen=True, slots=True)
class DefaultChanged(Event):
    """The namespace's default is *now*; assignments made for another rest."""

    prefix: Prefix
    now: bytes


@dataclass(frozen=True, slots=True)
class TransfersSeen(Event):
    """100 kB or more went to destinations that have no assignment.

    *bytes_acked* to this one, just now. Told every ten seconds of a namespace where
    it was 2 MiB or more, each minute of others. ``STRANGERS`` has them all.
    """

    prefix: Prefix
    bytes_acked: int


@dataclass(frozen=True, slots=True)
class SumsBegun(Event):
    """There is something in ``SUMS``, of this destination for one.

    Told of the first entry made after a time without any, and at most twice a second
    of a namespace: whoever found ``SUMS`` empty, a second after it was not, need not
    look again before this comes.
    """

    prefix: Prefix


@dataclass(frozen=True, slots=True)
class TransferSent(Event):
    """15 kB or more were sent, to a destination that has its transfers told.

    *took_us* is without the time that the application left unused. *first_* is what
    was sent, and sent again, in the first round trip.
    """

    prefix: Prefix
    bytes_acked: int
    took_us: int
    initial_segments: int
    final_segments: int
    first_segments: int
    first_retransmitted: int


EVENTS = (ArmFailed, DefaultChanged, TransfersSeen, SumsBegun, TransferSent)
