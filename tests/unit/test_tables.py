"""What tuners put into their BPF maps, and how long it stays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpftune import tables
from bpftune.kernel.errors import KernelError
from bpftune.kernel.loader import Loader
from bpftune.model import Drop, Netns, NetnsCookie, Put, Table, Take, Taken, Tuner
from bpftune.pauses import EVERYTHING, WHY, Pauses
from bpftune.tables import Tables
from tests.unit.fakes import BLUE, RED, FakeLoader, FakeMap


@dataclass(frozen=True)
class Key:
    netns_cookie: NetnsCookie
    number: int


@dataclass(frozen=True)
class Value:
    number: int


TABLE, OTHER = Table("table", Key, Value), Table("other", Key, Value)
ONE, TWO = NetnsCookie(1), RED.cookie


@pytest.fixture
def loader(monkeypatch: pytest.MonkeyPatch) -> FakeLoader:
    monkeypatch.setattr(tables, "BpfMap", FakeMap)
    return FakeLoader()


def make(
    loader: FakeLoader, *, observe: bool = False, paused: Pauses | None = None
) -> Tables:
    names = {RED.cookie: RED, BLUE.cookie: BLUE}
    return Tables(cast("Loader", loader), paused, names.get, observe=observe)


A, B = Tuner("a", "one"), Tuner("b", "another")


def rows(loader: FakeLoader, tuner: Tuner, table: Table = TABLE) -> dict[Key, Value]:
    return loader.object(tuner).setdefault(table.name, {})


def test_rows_are_put_dropped_and_taken_by_namespace(loader: FakeLoader) -> None:
    ours = make(loader)
    for number in range(3):
        key = Key(ONE, number)
        assert ours.do(A, ONE, Put(TABLE, key, Value(number))) == []
    ours.do(A, TWO, Put(TABLE, Key(TWO, 7), Value(7)))
    ours.do(A, ONE, Drop(TABLE, Key(ONE, 1)))
    ours.do(A, ONE, Drop(TABLE, Key(ONE, 100)))
    assert ours.do(A, ONE, Take(TABLE)) == [
        Taken(ONE, TABLE, ((Key(ONE, 0), Value(0)), (Key(ONE, 2), Value(2)))),
        Taken(TWO, TABLE, ((Key(TWO, 7), Value(7)),)),
    ]
    assert ours.do(A, ONE, Take(TABLE)) == []
    assert ours.evicted() == {("a", "table"): 0}


def test_a_row_of_another_namespace_is_refused(loader: FakeLoader) -> None:
    ours = make(loader)
    with pytest.raises(ValueError, match="another network namespace"):
        ours.do(A, ONE, Put(TABLE, Key(TWO, 1), Value(1)))
    with pytest.raises(ValueError, match="another network namespace"):
        ours.do(A, ONE, Drop(TABLE, Key(TWO, 1)))
    assert loader.objects == {}


def test_observing_puts_nothing_in_but_takes(loader: FakeLoader) -> None:
    ours = make(loader, observe=True)
    ours.do(A, ONE, Put(TABLE, Key(ONE, 1), Value(1)))
    ours.do(A, ONE, Take(TABLE))
    assert rows(loader, A) == {}
    rows(loader, A)[Key(ONE, 2)] = Value(2)  # a BPF program did
    ours.do(A, ONE, Drop(TABLE, Key(ONE, 2)))
    (taken,) = ours.do(A, ONE, Take(TABLE))
    assert taken.rows == ((Key(ONE, 2), Value(2)),)


def test_what_was_put_goes_with_its_namespace_and_with_its_tuner(
    loader: FakeLoader,
) -> None:
    ours = make(loader)
    for tuner in (A, B):
        for cookie in (ONE, TWO):
            for table in (TABLE, OTHER):
                ours.do(tuner, cookie, Put(table, Key(cookie, 1), Value(1)))
    ours.forget(ONE)
    for tuner in (A, B):
        for table in (TABLE, OTHER):
            assert list(rows(loader, tuner, table)) == [Key(TWO, 1)]
    ours.clear(A)
    assert (rows(loader, A), rows(loader, A, OTHER)) == ({}, {})
    assert list(rows(loader, B)) == list(rows(loader, B, OTHER)) == [Key(TWO, 1)]
    ours.forget(TWO)
    assert (rows(loader, B), rows(loader, B, OTHER)) == ({}, {})


def test_maps_that_are_gone_need_no_clearing(loader: FakeLoader) -> None:
    ours = make(loader)
    ours.do(A, ONE, Put(TABLE, Key(ONE, 1), Value(1)))
    rows(loader, A)[None] = None  # type: ignore[index,assignment]  # it is gone
    ours.clear(A)
    ours.forget(ONE)


# --- what is paused -------------------------------------------------------------------


@pytest.mark.parametrize("name", [EVERYTHING, "a", "red", "#2"])
def test_what_is_paused_is_out_of_the_kernel_and_comes_back(
    loader: FakeLoader, name: str
) -> None:
    paused = Pauses()
    ours = make(loader, paused=paused)
    for number in range(3):
        ours.do(A, TWO, Put(TABLE, Key(TWO, number), Value(number)))
    paused.pause(name)
    assert ours.review() == {}
    assert rows(loader, A) == {}
    assert ours.in_force() == {}
    assert ours.why_not(A, TWO) == WHY
    # Meanwhile one is put, one replaced, one dropped; taking goes on.
    ours.do(A, TWO, Put(TABLE, Key(TWO, 3), Value(3)))
    ours.do(A, TWO, Put(TABLE, Key(TWO, 1), Value(10)))
    ours.do(A, TWO, Drop(TABLE, Key(TWO, 0)))
    assert rows(loader, A) == {}
    rows(loader, A, OTHER)[Key(TWO, 7)] = Value(7)
    assert ours.do(A, TWO, Take(OTHER)) == [
        Taken(TWO, OTHER, ((Key(TWO, 7), Value(7)),))
    ]
    paused.resume(name)
    assert ours.why_not(A, TWO) == ""
    assert ours.review() == {}
    assert {key.number: value.number for key, value in rows(loader, A).items()} == {
        1: 10,
        2: 2,
        3: 3,
    }
    assert ours.in_force() == {"a": 3}


@pytest.mark.parametrize("name", ["b", "blue", "#3", "net.ipv4.tcp_wmem", "re"])
def test_a_pause_of_something_else_changes_nothing(
    loader: FakeLoader, name: str
) -> None:
    paused = Pauses()
    ours = make(loader, paused=paused)
    ours.do(A, TWO, Put(TABLE, Key(TWO, 1), Value(1)))
    paused.pause(name)
    ours.review()
    ours.do(A, TWO, Put(TABLE, Key(TWO, 2), Value(2)))
    assert len(rows(loader, A)) == 2


def test_a_row_that_is_put_as_the_pause_begins_does_not_stay(
    loader: FakeLoader,
) -> None:
    paused = Pauses()
    ours = make(loader, paused=paused)
    ours.do(A, TWO, Put(TABLE, Key(TWO, 1), Value(1)))
    paused.pause("a")  # and before it is reviewed
    ours.do(A, TWO, Put(TABLE, Key(TWO, 1), Value(2)))
    assert rows(loader, A) == {}


def test_what_is_paused_is_forgotten_with_its_namespace_and_its_tuner(
    loader: FakeLoader,
) -> None:
    paused = Pauses()
    ours = make(loader, paused=paused)
    paused.pause(EVERYTHING)
    for tuner in (A, B):
        for cookie in (ONE, TWO):
            ours.do(tuner, cookie, Put(TABLE, Key(cookie, 1), Value(1)))
    assert len(ours.known()) == 4
    ours.forget(ONE)
    ours.clear(A)
    assert ours.known() == [(B, RED)]
    paused.resume(None)
    ours.review()
    assert rows(loader, A) == {}
    assert list(rows(loader, B)) == [Key(TWO, 1)]


def test_what_does_not_fit_any_more_is_told_and_tried_again(
    loader: FakeLoader, monkeypatch: pytest.MonkeyPatch
) -> None:
    paused = Pauses()
    ours = make(loader, paused=paused)
    for number in range(2):
        ours.do(A, TWO, Put(TABLE, Key(TWO, number), Value(number)))
    paused.pause("a")
    ours.review()
    paused.resume("a")

    def full(_self: FakeMap, key: Key, _value: Value) -> None:
        raise KernelError(f"no room for {key.number}")

    with monkeypatch.context() as patched:
        patched.setattr(FakeMap, "put", full)
        assert ours.review() == {"a": "no room for 1"}
    assert ours.in_force() == {}
    assert ours.review() == {}
    assert ours.in_force() == {"a": 2}


def test_what_is_in_force_is_counted_by_key_tuner_and_namespace(
    loader: FakeLoader,
) -> None:
    ours = make(loader)
    assert ours.in_force() == {}
    for table in (TABLE, OTHER):  # two rows for the same destination
        ours.do(A, ONE, Put(table, Key(ONE, 1), Value(1)))
    ours.do(A, TWO, Put(TABLE, Key(TWO, 1), Value(1)))
    ours.do(B, TWO, Put(TABLE, Key(TWO, 2), Value(2)))
    assert ours.in_force() == {"a": 2, "b": 1}
    assert ours.in_force(TWO) == {"a": 1, "b": 1}
    assert [(tuner.name, str(netns)) for tuner, netns in ours.known()] == [
        *(("a", "#1"), ("a", "red"), ("b", "red"))
    ]
    ours.do(A, ONE, Drop(OTHER, Key(ONE, 1)))
    assert ours.in_force(ONE) == {"a": 1}
    ours.do(B, ONE, Put(TABLE, Key(ONE, 3), Value(3), changes=False))
    assert ours.in_force(ONE) == {"a": 1}  # it changes nothing
    ours.do(B, ONE, Put(TABLE, Key(ONE, 3), Value(4)))
    assert ours.in_force(ONE) == {"a": 1, "b": 1}
    ours.do(B, ONE, Drop(TABLE, Key(ONE, 3)))
    ours.do(A, ONE, Drop(TABLE, Key(ONE, 1)))
    assert ours.in_force(ONE) == {}


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["put", "drop", "pause", "resume", "forget", "clear"]),
        st.sampled_from([A, B]),
        st.sampled_from([ONE, TWO]),
        st.integers(0, 2),
    ),
    max_size=30,
)


@given(STEPS)
def test_the_kernel_has_what_was_put_and_is_not_paused(
    steps: list[tuple[str, Tuner, NetnsCookie, int]],
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(tables, "BpfMap", FakeMap)
        loader, paused = FakeLoader(), Pauses()
        ours = make(loader, paused=paused)
        wanted: dict[tuple[str, Key], Value] = {}
        for count, (what, tuner, cookie, number) in enumerate(steps):
            key, value = Key(cookie, number), Value(count)
            place = "red" if cookie == TWO else f"#{cookie}"
            name = (EVERYTHING, tuner.name, place)[number]
            match what:
                case "put":
                    ours.do(tuner, cookie, Put(TABLE, key, value))
                    wanted[tuner.name, key] = value
                case "drop":
                    ours.do(tuner, cookie, Drop(TABLE, key))
                    wanted.pop((tuner.name, key), None)
                case "pause":
                    paused.pause(name)
                    ours.review()
                case "resume":
                    paused.resume(name)
                    ours.review()
                case "forget":
                    ours.forget(cookie)
                    wanted = {
                        at: v
                        for at, v in wanted.items()
                        if at[1].netns_cookie != cookie
                    }
                case "clear":
                    ours.clear(tuner)
                    wanted = {at: v for at, v in wanted.items() if at[0] != tuner.name}
            there = {
                (one.name, at): v
                for one in (A, B)
                for at, v in rows(loader, one).items()
            }
            netns = {ONE: Netns(ONE), TWO: RED}
            assert there == {
                (name, at): v
                for (name, at), v in wanted.items()
                if not paused.cover_rows(name, netns[at.netns_cookie])
            }
            assert ours.in_force().total() == len(there)
