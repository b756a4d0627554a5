"""A tuner that changes values all the time, up and down, without any need."""

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
    Value,
    Wake,
    Woken,
)
from bpftune.tuners import beside

AGAIN, AGAIN_S = "again", 0.02

TUNABLES = (
    Tunable("net.ipv4.tcp_wmem"),
    Tunable("net.ipv4.tcp_rmem"),
    Tunable("net.core.somaxconn"),
    Tunable("net.ipv4.ip_local_port_range", is_range=True),
)


@dataclass(frozen=True, slots=True)
class Here(Event):
    """There is a namespace."""


class Restless(Tuner):
    """Counts its steps; the way goes up, stays, and comes down again."""

    def __init__(self) -> None:
        super().__init__(
            "restless",
            "change values all the time",
            TUNABLES,
            (Here,),
            beside(__file__, "restless.bpf.o"),
        )
        self.count = 0

    def init(self, facts: Facts) -> Iterable[Request]:
        del facts
        return [Survey("look_around", everywhere=True)]

    def event_handler(self, event: Event, facts: Facts) -> Iterable[Request]:
        if not isinstance(event, Here | Woken):
            return []
        self.count += 1
        requests: list[Request] = [Wake(AGAIN, AGAIN_S)]
        for number, tunable in enumerate(TUNABLES):
            requests.append(request_for(tunable, self.count + number, facts))
        return requests


def request_for(tunable: Tunable, step: int, facts: Facts) -> Request:
    """Return what is to be done to *tunable*, by turns."""
    match step % 5:
        case 0 | 2 | 3:
            up = above(facts.values[tunable], tunable)
            return Change(tunable, up, "restless", trial="nobody")
        case 1:
            return Keep(tunable, "restless", proved=False)
        case _:
            found = facts.found[tunable]
            return Change(tunable, found, "restless", record="taken_back")


def above(value: Value, tunable: Tunable) -> Value:
    """Return more than *value*: each number of it is another."""
    if tunable.is_range:
        return (value[0] - 100, value[1] + 100)
    return tuple(number + 4096 for number in value)


tuner = Restless()
