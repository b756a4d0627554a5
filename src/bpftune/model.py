"""The narrow waist: everything that passes between the kernel and a decision.

Mechanism (``bpftune.kernel``) produces events and facts and carries out
requests. Tuners and policies turn an event and facts into requests. Nothing
here does any I/O.

    BPF program --Event--> Tuner.event_handler(event, facts) --Request--> daemon
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NewType, TypeVar

from bpftune.outcome import Known

if TYPE_CHECKING:
    from pathlib import Path

    from bpftune.outcome import Trial

NetnsCookie = NewType("NetnsCookie", int)
"""The kernel's number of a network namespace (``SO_NETNS_COOKIE``)."""

Value = tuple[int, ...]
"""A sysctl's whole value; triples such as ``tcp_wmem`` are kept whole."""

E = TypeVar("E", bound="Event")


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


# --- events ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in one network namespace.

    An event from BPF is a subclass whose fields are, in order, those of the C
    struct of that name (``SndbufLimited`` is ``struct sndbuf_limited``);
    the first is always the namespace's cookie. The others, below, are made by
    the daemon.
    """

    netns_cookie: NetnsCookie


@dataclass(frozen=True, slots=True)
class Sampled(Event):
    """The sockets that a ``Watch`` asked for; *left* samples will follow."""

    prefix: Prefix | None
    sockets: tuple[SocketSample, ...]
    left: int
    receivers: bool = False


@dataclass(frozen=True, slots=True)
class Taken(Event):
    """What a ``Take`` found for this namespace: keys with their values."""

    table: Table
    rows: tuple[tuple[Any, Any], ...]


@dataclass(frozen=True, slots=True)
class TextRead(Event):
    """The sysctls of a ``ReadText`` by name; missing if there is no such one."""

    texts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Woken(Event):
    """The time that a ``Wake`` asked for has passed."""

    name: str


@dataclass(frozen=True, slots=True)
class Rejected(Event):
    """A requested change was refused, by the governor or by the kernel."""

    tunable: Tunable
    value: Value
    reason: str


@dataclass(frozen=True, slots=True)
class ValueChanged(Event):
    """Somebody else really changed a tunable: *old* is what we knew.

    *uid* and *comm* name the writer where a hook saw it, else None and "".
    """

    tunable: Tunable
    old: Value
    new: Value
    uid: int | None = None
    comm: bytes = b""


@dataclass(frozen=True, slots=True)
class Yielded(Event):
    """A tunable now belongs to the admin; forget any plan for it."""

    tunable: Tunable


@dataclass(frozen=True, slots=True)
class NetnsGone(Event):
    """The namespace no longer exists; forget what was known of it."""


# --- facts -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Memory:
    """What memory there is, in bytes. ``tcp_*``: all of TCP, host-wide.

    *tcp_pressure_bytes* is ``tcp_mem[1]``, where the kernel begins to save.
    """

    total_bytes: int
    available_bytes: int
    tcp_used_bytes: int
    tcp_pressure_bytes: int


@dataclass(frozen=True, slots=True)
class Facts:
    """What is true as the event is handled, in the event's namespace.

    *values* and *found* have an entry for each of the tuner's tunables that
    exists there: the value now, and the one met first, below which nothing
    shrinks. *yielded* are the admin's. *now_s* is a monotonic clock. *learned* is
    what earlier trials taught.
    """

    netns: Netns
    now_s: float
    values: Mapping[Tunable, Value]
    found: Mapping[Tunable, Value]
    yielded: frozenset[Tunable]
    memory: Memory
    learned: Known = field(default_factory=Known)


# --- requests ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Change:
    """Set *tunable* to *value* in the event's namespace, and say why.

    *record* is ``change`` for the start (or next step) of a trial,
    ``taken_back`` or ``shrunk`` for the way down. *sockets* is how many could
    use what is granted: the governor's memory budget counts on it. *trial*
    names what the change is tried on (a destination): one at a time per
    tunable and namespace. *evidence* is for machines: plain numbers and words.
    *tried* tells the trial that begins, goes on, or ended as this says.
    """

    tunable: Tunable
    value: Value
    why: str
    record: str = "change"
    trial: str = ""
    sockets: int = 1
    evidence: Mapping[str, object] = field(default_factory=dict)
    tried: Trial | None = None


@dataclass(frozen=True, slots=True)
class Keep:
    """The trial of *tunable* is over and its value stays; *tried* tells of it."""

    tunable: Tunable
    why: str
    proved: bool
    evidence: Mapping[str, object] = field(default_factory=dict)
    tried: Trial | None = None


@dataclass(frozen=True, slots=True)
class Watch:
    """Sample the senders to *prefix* (all: None), *count* times, *every_s*.

    Or the *receivers* from there. Only sockets whose buffer, of that side, is at
    least *buffer_bytes* are reported. A later Watch of the same prefix and side
    replaces this one; *count* 0 ends it.
    """

    prefix: Prefix | None
    every_s: float
    count: int
    buffer_bytes: int = 0
    receivers: bool = False


@dataclass(frozen=True, slots=True)
class Nudge:
    """Let the receivers from *prefix* notice that *tunable* was raised.

    Only while *tunable* is on trial there, and only sockets whose receive buffer
    is at least *buffer_bytes*. The kernel goes on sizing them by itself.
    """

    tunable: Tunable
    prefix: Prefix
    buffer_bytes: int


@dataclass(frozen=True, slots=True)
class Advise:
    """Tell that *tunable* limits, at *old*, and that *new* would not.

    For what is a choice of the admin's: it is told, never done.
    """

    tunable: Tunable
    old: Value
    new: Value
    why: str


@dataclass(frozen=True, slots=True)
class Wake:
    """Send ``Woken`` after about *after_s*; a minute or more is rounded up.

    A later Wake of the same name in the same namespace replaces this one.
    """

    name: str
    after_s: float


@dataclass(frozen=True, slots=True)
class Survey:
    """Run the tuner's own iterator *program* in the namespace, once.

    *everywhere* runs it in every namespace that has a process or a name.
    What it finds comes back as events of the tuner's.
    """

    program: str
    everywhere: bool = False


@dataclass(frozen=True, slots=True)
class Recheck:
    """Somebody is writing sysctl *name*: read it again wherever it is known.

    The hook runs before the write and knows the writer's namespace only, so
    values are compared afterwards. *old* is the value before the write in the
    event's namespace. What changed comes back as ``ValueChanged``.
    """

    name: str
    old: Value
    uid: int
    comm: bytes


@dataclass(frozen=True, slots=True)
class Put:
    """Set *value* of *key* in a table; *key* is of the event's namespace."""

    table: Table
    key: Any
    value: Any


@dataclass(frozen=True, slots=True)
class Drop:
    """Remove *key* from a table; it may be missing."""

    table: Table
    key: Any


@dataclass(frozen=True, slots=True)
class Take:
    """Take all entries out of a table, of every namespace.

    They come back as ``Taken``, one event for each namespace that has some.
    """

    table: Table


@dataclass(frozen=True, slots=True)
class ReadText:
    """Read sysctls that are not numbers; comes back as ``TextRead``."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Yield:
    """Hand *tunable* in the event's namespace to the admin.

    *old* is the value before the admin's, where that is known, *uid* and *comm*
    who set it, as in ``ValueChanged``.
    """

    tunable: Tunable
    why: str
    old: Value | None = None
    uid: int | None = None
    comm: bytes = b""


Request = (
    Change
    | Keep
    | Advise
    | Watch
    | Nudge
    | Wake
    | Survey
    | Recheck
    | Put
    | Drop
    | Take
    | ReadText
    | Yield
)
Policy = Callable[[E, Facts], Iterable[Request]]


# --- tuners ------------------------------------------------------------------


class Tuner:
    """A set of tunables, the BPF programs that watch them, and decisions.

    A tuner made only of policies is an instance with policies registered by
    ``on``. One that keeps state derives from this class and overrides the
    three entry points.
    """

    def __init__(
        self,
        name: str,
        summary: str,
        tunables: tuple[Tunable, ...] = (),
        events: tuple[type[Event], ...] = (),
        bpf_object: Path | None = None,
        losses: Mapping[str, str] | None = None,
    ) -> None:
        """Describe a tuner; *name* is that of its folder and man page.

        *events* are the classes that *bpf_object*, a compiled BPF file, emits.
        *losses* tells, for each BPF program, what is lost where this kernel
        cannot run it.
        """
        self.name = name
        self.summary = summary
        self.tunables = tunables
        self.events = events
        self.bpf_object = bpf_object
        self.losses = dict(losses or {})
        self.policies: dict[type[Event], Policy[Any]] = {}

    def on(self, event: type[E]) -> Callable[[Policy[E]], Policy[E]]:
        """Register the decorated policy for *event*."""

        def register(policy: Policy[E]) -> Policy[E]:
            self.policies[event] = policy
            return policy

        return register

    def init(self, facts: Facts) -> Iterable[Request]:
        """Begin: the BPF part is attached; *facts* are the host's."""
        return ()

    def event_handler(self, event: Event, facts: Facts) -> Iterable[Request]:
        """Decide what follows from *event*."""
        policy = self.policies.get(type(event))
        return policy(event, facts) if policy else ()

    def fini(self) -> None:
        """End: no event will follow; the BPF part is still attached."""
