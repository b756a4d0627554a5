"""Maps whose rows are dataclasses, in the kernel."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bpftune.compile import compile_one, find_clang
from bpftune.kernel.bpf import BpfObject
from bpftune.kernel.bpf_error import BpfError
from bpftune.kernel.bpf_map import BATCH, BpfMap
from bpftune.kernel.btf import BtfError
from bpftune.model import NetnsCookie, Prefix
from tests.leftovers import in_cycles


@dataclass(frozen=True, slots=True)
class Place:
    netns_cookie: NetnsCookie
    prefix: Prefix


@dataclass(frozen=True, slots=True)
class Content:
    name: bytes
    negative: int
    ports: tuple[int, ...]


SOURCE = Path(__file__).with_name("rows.bpf.c")


@pytest.fixture(scope="module")
def bpf() -> Iterator[BpfObject]:
    with BpfObject(compile_one(find_clang(), SOURCE)) as opened:
        opened.load()
        yield opened


@pytest.fixture
def rows(bpf: BpfObject) -> Iterator[BpfMap[Place, Content]]:
    found = BpfMap(bpf, "rows", Place, Content)
    yield found
    found.take()


def place(number: int) -> Place:
    address = number.to_bytes(4, "big").ljust(16, b"\0")
    return Place(NetnsCookie(2**63 + number), Prefix(2, 24, address))


CONTENT = Content(b"a name".ljust(16, b"\0"), -7, (1, 2, 65535))


def test_rows_come_back_as_they_were_put(rows: BpfMap[Place, Content]) -> None:
    assert rows.get(place(1)) is None
    rows.put(place(1), CONTENT)
    rows.put(place(2), Content(bytes(16), 0, (0, 0, 0)))
    assert rows.get(place(1)) == CONTENT
    rows.remove(place(2))
    rows.remove(place(2))
    assert rows.take() == [(place(1), CONTENT)]
    assert rows.take() == []


def test_all_rows_are_taken_whatever_their_number(
    rows: BpfMap[Place, Content],
) -> None:
    for count in (BATCH - 1, BATCH, BATCH + 1, 1000):
        for number in range(count):
            rows.put(place(number), CONTENT)
        taken = rows.take()
        assert len(taken) == count
        assert dict(taken) == dict.fromkeys(map(place, range(count)), CONTENT)


def test_a_bucket_with_more_rows_than_are_taken_at_once_is_taken_too(
    rows: BpfMap[Place, Content], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bpftune.kernel.bpf_map.BATCH", 1)
    for number in range(1000):
        rows.put(place(number), CONTENT)
    assert len(rows.take()) == 1000


def test_taking_leaves_no_cycles(rows: BpfMap[Place, Content]) -> None:
    def take() -> None:
        for number in range(BATCH + 1):
            rows.put(place(number), CONTENT)
        assert len(rows.take()) == BATCH + 1

    assert in_cycles(take) == 0


def test_a_full_map_says_so(rows: BpfMap[Place, Content]) -> None:
    for number in range(1000):
        rows.put(place(number), CONTENT)
    with pytest.raises(BpfError, match="rows cannot be changed") as caught:
        rows.put(place(1000), CONTENT)
    assert caught.value.number == errno.E2BIG


def test_a_value_that_does_not_fit_is_refused(rows: BpfMap[Place, Content]) -> None:
    for wrong in (
        Content(b"a name", -7, (1, 2, 3)),
        Content(bytes(17), -7, (1, 2, 3)),
        Content(bytes(16), -(2**40), (1, 2, 3)),
        Content(bytes(16), -7, (1, 2)),
    ):
        with pytest.raises(ValueError, match="Content"):
            rows.put(place(1), wrong)
    assert rows.take() == []


def test_other_types_than_the_maps_are_refused(bpf: BpfObject) -> None:
    with pytest.raises(BtfError, match=r"rows has keys and values of \(32, 32\) bytes"):
        BpfMap(bpf, "rows", Prefix, Content)
    with pytest.raises(BpfError, match="no map nosuch"):
        BpfMap(bpf, "nosuch", Place, Content)


def test_maps_that_cannot_be_taken_from_say_so(bpf: BpfObject) -> None:
    row = BpfMap(bpf, "one_row", Number, Content)
    with pytest.raises(BpfError, match="one_row cannot be read"):
        row.take()


@dataclass(frozen=True, slots=True)
class Number:
    number: int
