"""Decisions are pure, so their tests need no root and no kernel."""

from __future__ import annotations

from bpftune_ports import CALM, PORT_RANGE, PortsExhausted, tuner, wider
from hypothesis import given
from hypothesis import strategies as st

from bpftune.model import (
    Change,
    Facts,
    Keep,
    Memory,
    Netns,
    NetnsCookie,
    Prefix,
    Request,
    Tunable,
    Value,
    Wake,
    Woken,
)

WEB = NetnsCookie(428)
EXHAUSTED = PortsExhausted(WEB, Prefix(2, 24, bytes([203, 0, 113, *[0] * 13])))

ports = st.integers(1, 65535)
ranges = st.tuples(ports, ports).map(lambda pair: tuple(sorted(pair)))


def facts(value: Value | None, *yielded: Tunable) -> Facts:
    values = {} if value is None else {PORT_RANGE: value}
    memory = Memory(1 << 30, 1 << 29, 0, 1 << 27)
    return Facts(Netns(WEB, "web"), 0.0, values, values, frozenset(yielded), memory)


def decide(value: Value | None, *yielded: Tunable) -> list[Request]:
    return list(tuner.event_handler(EXHAUSTED, facts(value, *yielded)))


def test_widens_to_the_top_first() -> None:
    change, wake = decide((32768, 60999))
    assert isinstance(change, Change)
    assert change.value == (32768, 65535)
    assert change.why == (
        "a connection to 203.0.113.0/24 found no port of 32768-60999 free"
    )
    assert isinstance(wake, Wake)
    assert wake.name == CALM


def test_then_goes_down_but_not_to_where_services_are() -> None:
    assert wider((32768, 65535)) == (16384, 65535)
    assert wider((16384, 65535)) == (10240, 65535)
    assert wider((10240, 65535)) is None


def test_waits_when_it_cannot_be_wider() -> None:
    (wake,) = decide((1024, 65535))
    assert isinstance(wake, Wake)


def test_leaves_the_admins_range_alone() -> None:
    assert decide((32768, 60999), PORT_RANGE) == []


def test_does_nothing_where_the_tunable_is_missing() -> None:
    assert decide(None) == []


def test_keeps_what_ended_the_shortage() -> None:
    (kept,) = tuner.event_handler(Woken(WEB, CALM), facts((32768, 65535)))
    assert isinstance(kept, Keep)


@given(ranges)
def test_every_step_is_wider_and_there_are_few(value: Value) -> None:
    steps = 0
    while (wide := wider(value)) is not None:
        assert wide[0] <= value[0]
        assert wide[1] >= value[1]
        value = wide
        steps += 1
    assert steps <= 3
    assert value[0] <= 10240
    assert value[1] == 65535
