"""Size TCP buffers to what connections provably need.

The kernel sizes each socket's buffers by itself, up to ``net.ipv4.tcp_wmem[2]``
and ``net.ipv4.tcp_rmem[2]``. A connection over a path with a larger
bandwidth-delay product is held back by these limits, and nothing says so. This
tuner notices, doubles the limit, measures the same sockets before and after,
and keeps only what paid.

An idle machine has no use for the decisions: they are imported with the first event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bpftune.model import Event, Facts, NetnsCookie, Request, Survey, Tuner
from bpftune.tuners import beside
from bpftune.tuners.tcp_buffer.events import (
    RMEM,
    SURVEY_RECEIVERS,
    SURVEY_SENDERS,
    WMEM,
    CannotOptIn,
    Connected,
    RcvbufLimited,
    SndbufLimited,
    Transferred,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bpftune.tuners.tcp_buffer.decide import Sides

MOST_NAMESPACES = 4096


class TcpBuffer(Tuner):
    """Keeps the state of each network namespace; the decisions are in ``side``."""

    def __init__(self) -> None:
        """Name the BPF programs and what goes without them."""
        super().__init__(
            name="tcp_buffer",
            summary="Size TCP buffers to what connections provably need",
            tunables=(WMEM, RMEM),
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
        from bpftune.tuners.tcp_buffer.decide import Sides, decide  # noqa: PLC0415

        state = self.namespaces.pop(event.netns_cookie, Sides())
        state, requests = decide(state, event, facts)
        if state != Sides():
            self.namespaces[event.netns_cookie] = state
            if len(self.namespaces) > MOST_NAMESPACES:
                del self.namespaces[self._least_missed()]
        return requests

    def _least_missed(self) -> NetnsCookie:
        """Return the namespace heard of longest ago in which nothing climbs."""
        idle = (c for c, s in self.namespaces.items() if not s.climbing())
        return next(idle, next(iter(self.namespaces)))


tuner = TcpBuffer()
