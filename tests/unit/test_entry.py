from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpftune.entry import Entry, entry_from
from bpftune.model import Netns, NetnsCookie, Tunable, Value
from tests.unit.fakes import FOUND, HOST, MIB, TCP_WMEM, wmem

GROWN = wmem(8 * MIB)

numbers = st.integers(-(2**63), 2**63)
values = st.tuples(numbers, numbers, numbers)
counts = st.integers(0, 2**64 - 1)
texts = st.text(max_size=30)


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    """Return an entry as it may come out of the journal."""
    return Entry(
        netns=Netns(NetnsCookie(draw(counts)), draw(st.none() | texts)),
        tunable=Tunable(draw(st.text(min_size=1, max_size=30))),
        tuner=draw(texts),
        found=draw(values),
        expected=draw(values),
        settled=draw(values),
        yielded=draw(st.booleans()),
        trial=draw(st.none() | texts),
        intended=draw(st.none() | values),
        written=draw(st.none() | values),
        changes=draw(counts),
        change_id=draw(st.none() | texts),
        earlier_ids=draw(st.lists(texts, max_size=5)),
        grant_bytes=draw(counts),
        sockets=draw(counts),
        noted=True,
    )


@given(entries())
def test_an_entry_comes_back_from_json_as_it_was(entry: Entry) -> None:
    assert entry_from(json.loads(json.dumps(entry.as_fields("is")))) == entry


def an_entry(expected: Value = FOUND, intended: Value | None = None) -> Entry:
    return Entry(HOST, TCP_WMEM, "x", FOUND, expected, expected, intended=intended)


@pytest.mark.parametrize(
    ("now", "ours"),
    [
        ((8192, 32768, 8 * MIB), True),
        ((8192, 16384, 4 * MIB), True),
        ((8192, 32768, 4 * MIB), True),
        (FOUND, False),
        ((8192, 32768, 5 * MIB), False),
        ((8192, 32768), False),
    ],
)
def test_a_write_in_doubt_may_have_been_done_in_part(now: Value, *, ours: bool) -> None:
    assert an_entry(intended=(8192, 32768, 8 * MIB)).set_by_us(now) == ours


def test_what_we_wrote_last_is_ours_and_nothing_else() -> None:
    entry = an_entry(GROWN)
    entry.written = GROWN
    assert entry.set_by_us(GROWN)
    assert not entry.set_by_us(FOUND)
    assert not entry.set_by_us(wmem(16 * MIB))


def test_a_change_is_known_by_its_own_id_and_by_those_it_builds_on() -> None:
    entry = an_entry(GROWN)
    entry.change_id, entry.earlier_ids = "c9", ["c7", "c8"]
    assert [entry.is_of(one) for one in ("c6", "c7", "c8", "c9")] == [
        *(False, True, True, True)
    ]


def test_what_a_file_of_the_admins_sets_is_found_out_anew_by_the_next_run() -> None:
    entry = an_entry()
    entry.yielded = True
    assert entry.counts
    entry.by_file = True
    assert not entry.counts
    assert entry.as_fields("is")["yielded"] is False
