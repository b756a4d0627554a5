"""A range grows by getting wider: its low end may fall below what was found."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpftune.governor import refusal
from bpftune.ledger import Entry
from bpftune.model import Change, Memory, Netns, NetnsCookie, Tunable, Value

PORTS = Tunable("net.ipv4.ip_local_port_range", is_range=True)
MEMORY = Memory(1 << 30, 1 << 29, 0, 1 << 27)
FOUND = (32768, 60999)


def refused(value: Value, expected: Value = FOUND, tunable: Tunable = PORTS) -> str:
    entry = Entry(Netns(NetnsCookie(2)), tunable, "ports", FOUND, expected, FOUND)
    return refusal(Change(tunable, value, "why"), entry, MEMORY, 0, 0.0) or ""


@pytest.mark.parametrize("value", [(32768, 65535), (16384, 60999), (1, 65535)])
def test_a_range_may_get_wider(value: Value) -> None:
    assert refused(value) == ""


def test_a_range_may_go_back_to_what_was_found() -> None:
    assert refused(FOUND, expected=(16384, 65535)) == ""


@pytest.mark.parametrize("value", [(32769, 60999), (32768, 60998), (40000, 65535)])
def test_a_range_never_gets_narrower_than_it_was_found(value: Value) -> None:
    assert "below" in refused(value)
    assert "below" in refused(value, expected=(16384, 65535))


def test_two_numbers_that_are_no_range_only_grow() -> None:
    plain = Tunable("net.some.pair")
    assert "below" in refused((16384, 65535), tunable=plain)
    assert refused((40000, 65535), tunable=plain) == ""


@given(st.tuples(st.integers(-1, 70000), st.integers(-1, 70000)))
def test_whatever_is_let_through_contains_what_was_found(value: Value) -> None:
    if not refused(value):
        assert 0 < value[0] <= FOUND[0]
        assert value[1] >= FOUND[1]
