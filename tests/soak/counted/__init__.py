"""A tuner that counts its events, and changes something with every twentieth."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bpftune.model import (
    Change,
    Event,
    Facts,
    Keep,
    NetnsCookie,
    NetnsGone,
    Rejected,
    Request,
    Tunable,
    Tuner,
    Value,
)
from bpftune.tuners import beside

SOURCE = "net.ipv4.tcp_stdurg"
"""When the soak's reader reads it in a namespace, events are sent from there."""

EVENTS_PER_READ = 20
ABOUT = "192.0.2.0/24"
"""Whoever asks to have it explained is told the counts."""

SOMAXCONN = Tunable("net.core.somaxconn")
PORTS = Tunable("net.ipv4.ip_local_port_range", is_range=True)
STEPS = 4
REFUSED_S = 60.0
WARD = "ward"
"""What is in the names of the namespaces in which something is changed."""


@dataclass(frozen=True, slots=True)
class Poke(Event):
    """One of many; *number* counts them from 1 on."""

    number: int


class Counter(Tuner):
    """Counts, and goes up, stays, goes up and comes down again, in each namespace."""

    def __init__(self) -> None:
        super().__init__(
            "counted",
            "count events, and change something now and then",
            (SOMAXCONN, PORTS),
            (Poke,),
            beside(__file__, "counted.bpf.o"),
        )
        self.handled = self.disordered = self.last = 0
        self.steps: dict[NetnsCookie, int] = {}
        self.refused_s: dict[NetnsCookie, float] = {}

    def event_handler(self, event: Event, facts: Facts) -> Iterable[Request]:
        cookie = event.netns_cookie
        match event:
            case Poke():
                self.count(event)
            case Rejected():
                self.refused_s[cookie] = facts.now_s
            case NetnsGone():
                self.steps.pop(cookie, None)
                self.refused_s.pop(cookie, None)
        if not isinstance(event, Poke) or event.number % EVENTS_PER_READ:
            return []
        if WARD not in (facts.netns.name or ""):
            return []
        # Who is refused waits; while it is paused the same is asked again and again.
        if facts.now_s < self.refused_s.get(cookie, -REFUSED_S) + REFUSED_S:
            return []
        step = self.steps[cookie] = self.steps.get(cookie, 0) + 1
        tunable = self.tunables[step % len(self.tunables)]
        if tunable not in facts.values or tunable in facts.yielded:
            return []
        return [request_for(tunable, step // len(self.tunables), facts)]

    def count(self, event: Poke) -> None:
        self.handled += 1
        self.disordered += event.number <= self.last
        self.last = event.number

    def explain(self, about: str, now_s: float) -> Iterable[str]:
        del now_s
        if about == ABOUT:
            yield f"handled {self.handled}, disordered {self.disordered}"


def request_for(tunable: Tunable, step: int, facts: Facts) -> Request:
    """Return what is to be done to *tunable*, by turns."""
    why = f"step {step}"
    match step % STEPS:
        case 0 | 2:
            return Change(tunable, above(facts, tunable), why, trial="nobody")
        case 1:
            return Keep(tunable, why, proved=False)
        case _:
            return Change(tunable, facts.found[tunable], why, record="taken_back")


def above(facts: Facts, tunable: Tunable) -> Value:
    """Return more than is in force: each number is another."""
    value = facts.values[tunable]
    if tunable.is_range:
        return (value[0] - 10, value[1] + 10)
    return tuple(number + 16 for number in value)


tuner = Counter()
