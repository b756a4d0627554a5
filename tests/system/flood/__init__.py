"""A tuner that is sent many events and does nothing about them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bpftune.model import Event, Facts, Request, Tunable, Tuner
from bpftune.tuners import beside

SOURCE = "net.ipv4.tcp_app_win"
EVENTS_PER_READ = 20


@dataclass(frozen=True, slots=True)
class Drop(Event):
    """One of many."""


class Flood(Tuner):
    """Looks at what is true, as all do, and asks for nothing."""

    def __init__(self) -> None:
        super().__init__(
            "flood",
            "be sent many events",
            (Tunable("net.ipv4.tcp_wmem"),),
            (Drop,),
            beside(__file__, "flood.bpf.o"),
        )

    def init(self, facts: Facts) -> Iterable[Request]:
        del facts
        return []

    def event_handler(self, event: Event, facts: Facts) -> Iterable[Request]:
        del event, facts
        return []


tuner = Flood()
