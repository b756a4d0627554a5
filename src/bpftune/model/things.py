"""What all else is about: tunables, namespaces, destinations, sockets, tables."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Any, NewType

NetnsCookie = NewType("NetnsCookie", int)
"""The kernel's number of a network namespace (``SO_NETNS_COOKIE``)."""

Value = tuple[int, ...]
"""A sysctl's whole value; triples such as ``tcp_wmem`` are kept whole."""


@dataclass(frozen=True, slots=True)
class Tunable:
    """A kernel setting that a tuner may change.

    *name* is the dotted sysctl name. *per_netns* is what the newest kernel
    does; whether the file exists in a namespace is probed there. *is_range*:
    its two numbers are the ends of a range, which grows by getting wider.
    """

    name: str
    per_netns: bool = True
    is_range: bool = False


@dataclass(frozen=True, slots=True)
class Netns:
    """A network namespace as people and the kernel call it.

    *name* is ``host`` for the daemon's own, the name under ``/run/netns`` if
    there is one, else None.
    """

    cookie: NetnsCookie
    name: str | None = None

    def __str__(self) -> str:
        return self.name or f"#{self.cookie}"


@dataclass(frozen=True, slots=True)
class Prefix:
    """A destination: /24 of IPv4 or /48 of IPv6. C: ``struct prefix``.

    *family* is AF_INET or AF_INET6; *address* is 16 bytes in network order,
    masked, of which IPv4 uses the first four. IPv4-mapped IPv6 is IPv4.
    """

    family: int
    length: int
    address: bytes

    def __str__(self) -> str:
        size = 4 if self.family == socket.AF_INET else 16
        text = socket.inet_ntop(self.family, self.address[:size])
        return f"{text}/{self.length}"

    @classmethod
    def of(cls, text: str) -> Prefix:
        """Return the destination that *text* names as ``str`` does it.

        Raises ValueError for any other text.
        """
        address, _, _ = text.partition("/")
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        length = 24 if family == socket.AF_INET else 48
        try:
            packed = socket.inet_pton(family, address)
        except OSError as error:
            raise ValueError(f"{text!r} is no destination") from error
        prefix = cls(int(family), length, packed.ljust(16, b"\0"))
        if str(prefix) != text or any(packed[length // 8 :]):
            raise ValueError(f"{text!r} is no destination")
        return prefix


@dataclass(frozen=True, slots=True)
class Table:
    """A map of a tuner's BPF object that the tuner writes or empties.

    *name* is the map's in C; *key* and *value* are frozen dataclasses named as
    their structs are (``PathKey``: ``struct path_key``). The first field of a key
    is ``netns_cookie``.
    """

    name: str
    key: type[Any]
    value: type[Any]


@dataclass(frozen=True, slots=True)
class SocketSample:
    """One TCP socket at one instant. C: ``struct socket_sample``.

    Times called ``_jiffies`` are in the kernel's ticks; ``now_jiffies`` and
    ``now_ns`` (CLOCK_MONOTONIC) of two samples give the length of a tick.
    Busy, rwnd-limited and sndbuf-limited times are those of ``tcp_get_info()``
    (``TCP_CHRONO_*``); busy contains the other two. *unread_bytes* wait for the
    application; what it got is ``bytes_received - unread_bytes``. *rcv_rtt_us* is
    the receiver's own estimate, 0 before the first. *cwnd_age_jiffies* is the time
    since the congestion window changed: the age of a connection that only
    receives (``tcp_init_transfer()``).
    """

    cookie: int
    now_ns: int
    now_jiffies: int
    bytes_acked: int
    busy_jiffies: int
    rwnd_limited_jiffies: int
    sndbuf_limited_jiffies: int
    sndbuf_bytes: int
    wmem_queued_bytes: int
    notsent_bytes: int
    snd_wnd_bytes: int
    mss_bytes: int
    in_flight_segments: int
    cwnd_segments: int
    srtt_us: int
    min_rtt_us: int
    segments_out: int
    retransmitted_segments: int
    ca_state: int
    userlocks: int
    bytes_received: int
    unread_bytes: int
    rcvbuf_bytes: int
    rcv_wnd_bytes: int
    rcv_wscale: int
    rcv_rtt_us: int
    rcvlowat_bytes: int
    ooo_segments: int
    cwnd_age_jiffies: int
