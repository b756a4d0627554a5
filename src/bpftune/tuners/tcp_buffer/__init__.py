"""Size TCP buffers to what connections provably need.

The kernel sizes each socket's send buffer by itself, up to
``net.ipv4.tcp_wmem[2]``. A connection over a path with a larger
bandwidth-delay product is held back by that limit, and nothing says so. This
tuner notices, doubles the limit, measures the same sockets before and after,
and keeps only what paid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bpftune.model import (
    Event,
    Facts,
    NetnsCookie,
    NetnsGone,
    Rejected,
    Request,
    Sampled,
    Survey,
    Tuner,
    Wake,
    Watch,
    Woken,
    Yielded,
)
from bpftune.tuners import beside
from bpftune.tuners.tcp_buffer import send
from bpftune.tuners.tcp_buffer.send import TCP_WMEM, Senders, SndbufLimited

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_NAMESPACES = 4096
SURVEY = "survey_senders"
SURVEY_S = 60.0


@dataclass(frozen=True, slots=True)
class CannotOptIn(Event):
    """The kernel cannot call us back for sockets older than the daemon."""


class TcpBuffer(Tuner):
    """Keeps the state of each network namespace; the decisions are in ``send``."""

    def __init__(self) -> None:
        """Name the BPF programs and what goes without them."""
        super().__init__(
            name="tcp_buffer",
            summary="Size TCP send buffers to what connections provably need",
            tunables=(TCP_WMEM,),
            events=(SndbufLimited, CannotOptIn),
            bpf_object=beside(__file__, "tcp_buffer.bpf.o"),
            losses={
                "watch_senders": "connections that are short of send buffer are "
                "found once a minute only, by a pass over sockets",
                SURVEY: "connections older than the daemon are not looked after",
            },
        )
        self.senders: dict[NetnsCookie, Senders] = {}

    def init(self, facts: Facts) -> Iterable[Request]:
        """Find the connections that were there before us."""
        del facts
        return [Survey(SURVEY, everywhere=True)]

    def event_handler(self, event: Event, facts: Facts) -> Iterable[Request]:
        """Pass *event* to the side it concerns and remember the new state."""
        if isinstance(event, CannotOptIn):
            return [Wake(SURVEY, SURVEY_S)]
        if isinstance(event, Woken) and event.name == SURVEY:
            return [Survey(SURVEY)]
        state = self.senders.pop(event.netns_cookie, Senders())
        state, requests = _decide(state, event, facts)
        if state != Senders():
            self.senders[event.netns_cookie] = state
            if len(self.senders) > MOST_NAMESPACES:
                del self.senders[self._least_missed()]
        return requests

    def _least_missed(self) -> NetnsCookie:
        """Return the namespace heard of longest ago in which nothing climbs."""
        idle = (c for c, s in self.senders.items() if not s.climbing())
        return next(idle, next(iter(self.senders)))


def _decide(state: Senders, event: Event, facts: Facts) -> send.Answer:
    """Pass *event* to the function for it; anything else changes nothing."""
    match event:
        case SndbufLimited():
            return send.on_hint(state, event, facts)
        case Sampled():
            return send.on_sampled(state, event, facts)
        case Woken(name=send.UNUSED):
            return send.on_wake(state, facts)
        case Rejected(tunable=tunable, value=value) if tunable == TCP_WMEM:
            return send.on_refused(state, value, facts)
        case Yielded(tunable=tunable) if tunable == TCP_WMEM:
            return Senders(), [Watch(prefix, 0, 0) for prefix in state.paths]
        case NetnsGone():
            state = Senders()
    return state, []


tuner = TcpBuffer()
