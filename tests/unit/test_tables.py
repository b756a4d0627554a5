"""What tuners put into their BPF maps, and how long it stays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import pytest

from bpftune import tables
from bpftune.kernel.loader import Loader
from bpftune.model import Drop, NetnsCookie, Put, Table, Take, Taken, Tuner
from bpftune.tables import Tables
from tests.unit.fakes import FakeLoader, FakeMap


@dataclass(frozen=True)
class Key:
    netns_cookie: NetnsCookie
    number: int


@dataclass(frozen=True)
class Value:
    number: int


TABLE, OTHER = Table("table", Key, Value), Table("other", Key, Value)
ONE, TWO = NetnsCookie(1), NetnsCookie(2)


@pytest.fixture
def loader(monkeypatch: pytest.MonkeyPatch) -> FakeLoader:
    monkeypatch.setattr(tables, "BpfMap", FakeMap)
    return FakeLoader()


def make(loader: FakeLoader, *, observe: bool = False) -> Tables:
    return Tables(cast("Loader", loader), observe=observe)


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
