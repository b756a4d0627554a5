"""A tuner that does something only where the congestion control is nobody's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bpftune.model import (
    Change,
    Event,
    Facts,
    Keep,
    Request,
    Survey,
    Tunable,
    Tuner,
    Wake,
    Woken,
    Yielded,
)
from bpftune.tuners import beside

SETTING = "net.ipv4.tcp_congestion_control"
SOMAXCONN = Tunable("net.core.somaxconn")
MORE = 1000
AGAIN, AGAIN_S = "again", 0.05


@dataclass(frozen=True, slots=True)
class Here(Event):
    """There is a namespace."""


class Wordy(Tuner):
    """Raises a value once, and takes it back when the setting is the admin's."""

    def __init__(self) -> None:
        super().__init__(
            "wordy",
            "go by a word",
            (SOMAXCONN,),
            (Here,),
            beside(__file__, "wordy.bpf.o"),
            settings=(SETTING,),
        )

    def init(self, facts: Facts) -> Iterable[Request]:
        del facts
        return [Survey("look_around", everywhere=True)]

    def event_handler(self, event: Event, facts: Facts) -> Iterable[Request]:
        if isinstance(event, Yielded):
            found, why = facts.found[SOMAXCONN], facts.admins[SETTING]
            return [Change(SOMAXCONN, found, why, record="taken_back")]
        if not isinstance(event, Here | Woken):
            return []
        return [Wake(AGAIN, AGAIN_S), *raised(facts)]


def raised(facts: Facts) -> list[Request]:
    """Return what raises the value, where that was not done and may be."""
    now, found = facts.values[SOMAXCONN], facts.found[SOMAXCONN]
    if now != found or SETTING in facts.admins:
        return []
    return [
        Change(SOMAXCONN, (now[0] + MORE,), "nobody says no", trial="it"),
        Keep(SOMAXCONN, "it is wanted", proved=False),
    ]


tuner = Wordy()
