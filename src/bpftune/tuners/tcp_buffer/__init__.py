"""Size TCP buffers to what connections provably need.

The kernel sizes each socket's buffers by itself, up to ``net.ipv4.tcp_wmem[2]``
and ``net.ipv4.tcp_rmem[2]``. A connection over a path with a larger
bandwidth-delay product is held back by these limits, and nothing says so. This
tuner notices, doubles the limit, measures the same sockets before and after,
and keeps only what paid.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from bpftune.model import (
    Event,
    Facts,
    NetnsCookie,
    NetnsGone,
    Prefix,
    Rejected,
    Request,
    Sampled,
    Survey,
    Tunable,
    Tuner,
    Wake,
    Woken,
    Yielded,
)
from bpftune.tuners import beside
from bpftune.tuners.tcp_buffer import initial, shrink, side
from bpftune.tuners.tcp_buffer.initial import Initial, Transferred
from bpftune.tuners.tcp_buffer.paths import RECEIVERS, SENDERS, Paths

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_NAMESPACES = 4096
SURVEY_SENDERS, SURVEY_RECEIVERS = "survey_senders", "survey_receivers"
SURVEY_S = 60.0


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
class Sides:
    """What is known of one network namespace."""

    senders: Paths = field(default_factory=lambda: Paths(SENDERS))
    receivers: Paths = field(default_factory=lambda: Paths(RECEIVERS))
    initial: Initial = field(default_factory=Initial)
    surveying: bool = False  # a pass over the receivers is due

    def climbing(self) -> bool:
        """Tell if a limit is on trial there."""
        return (
            self.senders.climbing()
            or self.receivers.climbing()
            or self.initial.on_trial
        )

    def of(self, receivers: bool) -> Paths:
        """Return one side."""
        return self.receivers if receivers else self.senders

    def put(self, paths: Paths) -> Sides:
        """Return both, with *paths* instead of that side's."""
        if paths.side.receivers:
            return replace(self, receivers=paths)
        return replace(self, senders=paths)


Answer = tuple[Sides, "list[Request]"]


class TcpBuffer(Tuner):
    """Keeps the state of each network namespace; the decisions are in ``side``."""

    def __init__(self) -> None:
        """Name the BPF programs and what goes without them."""
        super().__init__(
            name="tcp_buffer",
            summary="Size TCP buffers to what connections provably need",
            tunables=(SENDERS.tunable, RECEIVERS.tunable),
            events=(SndbufLimited, RcvbufLimited, CannotOptIn, Connected, Transferred),
            bpf_object=beside(__file__, "tcp_buffer.bpf.o"),
            losses={
                "watch_senders": "connections that are short of send buffer are "
                "found once a minute only, by a pass over sockets",
                "watch_receivers": "connections that are short of receive buffer are "
                "found once a minute only, by a pass over sockets",
                SURVEY_SENDERS: "connections older than the daemon are not looked "
                "after as senders",
                SURVEY_RECEIVERS: "connections that stay short of receive buffer are "
                "not found",
            },
        )
        self.namespaces: dict[NetnsCookie, Sides] = {}

    def init(self, facts: Facts) -> Iterable[Request]:
        """Find the connections that were there before us."""
        del facts
        return [
            Survey(SURVEY_SENDERS, everywhere=True),
            Survey(SURVEY_RECEIVERS, everywhere=True),
        ]

    def event_handler(self, event: Event, facts: Facts) -> Iterable[Request]:
        """Pass *event* to the side it concerns and remember the new state."""
        state = self.namespaces.pop(event.netns_cookie, Sides())
        state, requests = _decide(state, event, facts)
        if state != Sides():
            self.namespaces[event.netns_cookie] = state
            if len(self.namespaces) > MOST_NAMESPACES:
                del self.namespaces[self._least_missed()]
        return requests

    def _least_missed(self) -> NetnsCookie:
        """Return the namespace heard of longest ago in which nothing climbs."""
        idle = (c for c, s in self.namespaces.items() if not s.climbing())
        return next(idle, next(iter(self.namespaces)))


def _decide(state: Sides, event: Event, facts: Facts) -> Answer:
    """Pass *event* to the function for it; anything else changes nothing."""
    match event:
        case CannotOptIn() | Connected():
            return _survey(state, event)
        case Woken(name=name) if name in {SURVEY_SENDERS, SURVEY_RECEIVERS}:
            return _survey(state, event)
        case Transferred() | Woken(name=initial.TIMER):
            return _initial(state, event, facts)
        case RcvbufLimited() | Rejected(tunable=RECEIVERS.tunable) if (
            state.initial.on_trial
        ):
            return _initial(state, event, facts)
    return _one_side(state, event, facts)


def _survey(state: Sides, event: Event) -> Answer:
    """Look for connections that give no sign."""
    match event:
        case CannotOptIn():
            return state, [Wake(SURVEY_SENDERS, SURVEY_S)]
        case Woken(name=name) if name == SURVEY_SENDERS:
            return state, [Survey(SURVEY_SENDERS)]
        case Connected():
            # A receiver held at its window gives no sign of it: look at all of
            # them once a minute, as long as there are any.
            due = [] if state.surveying else [Wake(SURVEY_RECEIVERS, SURVEY_S)]
            return replace(state, surveying=True), list[Request](due)
    return replace(state, surveying=False), [Survey(SURVEY_RECEIVERS)]


def _initial(state: Sides, event: Event, facts: Facts) -> Answer:
    """Decide on the size that receive buffers begin with."""
    known, may = state.initial, not state.receivers.watching()
    requests: list[Request] = []
    match event:
        case Transferred():
            known, requests = initial.on_transferred(
                known, event, facts, may_switch=may
            )
        case Woken():
            known, requests = initial.on_wake(known, facts, may_switch=may)
        case RcvbufLimited():
            # The hint will come again, when the tunable is free.
            known, requests = initial.make_way(known, facts)
        case Rejected(value=value):
            known = initial.on_refused(known, value, facts)
    return replace(state, initial=known), requests


def _one_side(state: Sides, event: Event, facts: Facts) -> Answer:
    match event:
        case SndbufLimited(prefix=prefix, min_rtt_us=rtt_us):
            answer = side.on_hint(state.senders, prefix, rtt_us, facts)
        case RcvbufLimited(prefix=prefix, min_rtt_us=rtt_us, is_fixed=fixed):
            answer = side.on_hint(
                state.receivers, prefix, rtt_us, facts, is_fixed=bool(fixed)
            )
        case Sampled(receivers=receivers):
            answer = side.on_sampled(state.of(receivers), event, facts)
        case Woken(name=SENDERS.unused):
            answer = shrink.on_wake(state.senders, facts)
        case Woken(name=RECEIVERS.unused):
            answer = shrink.on_wake(state.receivers, facts)
        case Rejected(tunable=SENDERS.tunable, value=value):
            answer = side.on_refused(state.senders, value, facts)
        case Rejected(tunable=RECEIVERS.tunable, value=value):
            answer = side.on_refused(state.receivers, value, facts)
        case Yielded(tunable=tunable):
            return _forget(state, tunable)
        case NetnsGone():
            return Sides(), []
        case _:
            return state, []
    paths, requests = answer
    return state.put(paths), requests


def _forget(state: Sides, tunable: Tunable) -> Answer:
    """Drop all plans for what is the admin's now."""
    if tunable == initial.TUNABLE:
        state = replace(state, initial=Initial())
    for paths in (state.senders, state.receivers):
        if paths.tunable == tunable:
            ends = [paths.watch(prefix, 0, 0) for prefix in paths.paths]
            return state.put(Paths(paths.side)), list[Request](ends)
    return state, []


tuner = TcpBuffer()
