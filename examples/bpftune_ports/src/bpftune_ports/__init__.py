"""Widen the range of local ports when connections find none free.

A connection to one address and port takes a local port of its own out of
``net.ipv4.ip_local_port_range``; when all are taken, ``connect()`` fails with
EADDRNOTAVAIL. That is proof of need, so there is nothing to try out: the range
grows by a step, and stays when no connection has failed for a minute.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bpftune.model import (
    Change,
    Event,
    Facts,
    Keep,
    Prefix,
    Request,
    Tunable,
    Tuner,
    Value,
    Wake,
    Woken,
)
from bpftune.tuners import beside

if TYPE_CHECKING:
    from collections.abc import Iterable

PORT_RANGE = Tunable("net.ipv4.ip_local_port_range", is_range=True)

# First the top, where nothing listens, then down, but not to where services
# are: one that starts later would find its port taken.
STEPS: tuple[Value, ...] = ((32768, 65535), (16384, 65535), (10240, 65535))

CALM, CALM_S = "calm", 60.0


@dataclass(frozen=True, slots=True)
class PortsExhausted(Event):
    """A connection to *destination* failed for lack of a local port."""

    destination: Prefix


tuner = Tuner(
    name="ports",
    summary="Widen the range of local ports when connections find none free",
    tunables=(PORT_RANGE,),
    events=(PortsExhausted,),
    bpf_object=beside(__file__, "ports.bpf.o"),
    losses={"see_no_port": "connections that find no free port are not noticed"},
)


def wider(value: Value) -> Value | None:
    """Return the next wider range, or None if there is none."""
    low, high = value
    for step_low, step_high in STEPS:
        wide = (min(low, step_low), max(high, step_high))
        if wide != value:
            return wide
    return None


@tuner.on(PortsExhausted)
def widen(event: PortsExhausted, facts: Facts) -> Iterable[Request]:
    """Widen the range by a step, and see whether that was enough."""
    value = facts.values.get(PORT_RANGE)
    if value is None or PORT_RANGE in facts.yielded:
        return ()
    low, high = value
    wide = wider(value)
    if wide is None:
        return [Wake(CALM, CALM_S)]
    why = f"a connection to {event.destination} found no port of {low}-{high} free"
    return [Change(PORT_RANGE, wide, why), Wake(CALM, CALM_S)]


@tuner.on(Woken)
def keep(event: Woken, facts: Facts) -> Iterable[Request]:
    """Keep the range: each failure puts this off, so there was none."""
    return [Keep(PORT_RANGE, "no connection has lacked a port since", proved=True)]
