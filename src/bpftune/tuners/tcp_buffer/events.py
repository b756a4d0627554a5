"""What the TCP buffer tuner changes, and what its BPF programs tell."""

from __future__ import annotations

from dataclasses import dataclass

from bpftune.model import Event, Prefix, Tunable

WMEM = Tunable("net.ipv4.tcp_wmem")
RMEM = Tunable("net.ipv4.tcp_rmem")

SURVEY_SENDERS, SURVEY_RECEIVERS = "survey_senders", "survey_receivers"
"""BPF programs, and the timers for them."""


@dataclass(frozen=True, slots=True)
class SndbufLimited(Event):
    """A sender looked held back by ``tcp_wmem[2]`` at the end of a round trip."""

    prefix: Prefix
    limit_bytes: int
    min_rtt_us: int


@dataclass(frozen=True, slots=True)
class RcvbufLimited(Event):
    """A receiver's buffer has grown to its limit, ``tcp_rmem[2]``.

    *is_fixed*: ``tcp_moderate_rcvbuf`` is off, and the limit is ``tcp_rmem[1]``.
    """

    prefix: Prefix
    limit_bytes: int
    min_rtt_us: int
    is_fixed: int


@dataclass(frozen=True, slots=True)
class CannotOptIn(Event):
    """The kernel cannot call us back for sockets older than the daemon."""


@dataclass(frozen=True, slots=True)
class Connected(Event):
    """There are connections over a path that is not short."""


@dataclass(frozen=True, slots=True)
class Transferred(Event):
    """A connection that began with a small receive buffer got 15 to 500 kB."""

    prefix: Prefix
    initial_bytes: int
    bytes_received: int
    took_us: int
