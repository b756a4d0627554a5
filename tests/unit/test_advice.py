from __future__ import annotations

import binascii
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpftune import advice
from bpftune.advice import MOST, MOST_IGNORED, Book, InvalidFileError
from bpftune.model import Netns, NetnsCookie, Value
from bpftune.records import Record
from tests.unit.fakes import BLUE, FOUND, MIB, RED, TCP_WMEM, wmem

GROWN = wmem(8 * MIB)


def advised(
    netns: Netns = RED, new: Value = GROWN, tunable: str = TCP_WMEM.name
) -> Record:
    return Record("advice", "short", "t", tunable, netns, FOUND, new, undo="do it")


def noted(book: Book, record: Record) -> str:
    one = book.note(record)
    assert one is not None
    return one.id


def test_the_same_advice_has_the_same_id_in_every_run() -> None:
    first, second = noted(Book(), advised()), noted(Book("other boot"), advised())
    assert first == second == "640438"


def test_another_value_place_or_tunable_has_another_id() -> None:
    records = [
        advised(),
        advised(new=wmem(16 * MIB)),
        advised(BLUE),
        advised(tunable="net.ipv4.tcp_rmem"),
    ]
    assert len({noted(Book(), record) for record in records}) == 4


def test_a_cookie_means_something_else_after_the_next_boot() -> None:
    nameless = Netns(NetnsCookie(77))
    assert noted(Book("a"), advised(nameless)) != noted(Book("b"), advised(nameless))


def test_later_advice_about_the_same_takes_the_place_of_earlier() -> None:
    book = Book()
    noted(book, advised())
    later = noted(book, advised(new=wmem(16 * MIB)))
    noted(book, advised(BLUE))
    assert [one.new for one in book.all()] == [wmem(16 * MIB), wmem(8 * MIB)]
    assert book.get(later) == book.all()[0]
    assert book.get("000000") is None


def test_what_is_no_advice_is_not_noted() -> None:
    book = Book()
    assert book.note(Record("change", "x", "t", "a.b", RED, (1,), (2,))) is None
    assert book.note(Record("advice", "x", "t")) is None
    assert not book.all()


def test_knows_how_many_sockets_it_is_for() -> None:
    book = Book()
    record = Record("advice", "x", "t", "a.b", RED, (1,), (2,), extra={"sockets": 7})
    one = book.note(record)
    assert one is not None
    assert one.sockets == 7


@given(st.lists(st.tuples(st.integers(1, 4000), st.integers(1, 9)), max_size=600))
def test_is_bounded_and_every_id_is_of_one_advice(
    told: list[tuple[int, int]],
) -> None:
    book = Book()
    for cookie, value in told:
        netns = Netns(NetnsCookie(cookie))
        mark = noted(book, advised(netns, (value,)))
        found = book.get(mark)
        assert found is not None
        assert (found.netns, found.new) == (netns, (value,))
    ids = [one.id for one in book.all()]
    assert len(set(ids)) == len(ids) <= MOST


def test_two_that_would_share_an_id_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    checksum = binascii.crc32
    monkeypatch.setattr(
        advice,
        "crc32",
        lambda data: 7 if data.startswith(b"0 ") else checksum(data),
    )
    book = Book()
    first, second = noted(book, advised(RED)), noted(book, advised(BLUE))
    assert first == "000007"
    assert second != first
    one = book.get(first)
    assert one is not None
    assert one.netns == RED


def test_what_does_not_hold_any_more_is_forgotten() -> None:
    book = Book()
    noted(book, advised())
    blue = noted(book, advised(BLUE))
    book.keep(lambda one: one.netns == BLUE)
    assert [one.id for one in book.all()] == [blue]
    book.drop(blue)
    assert not book.all()


# --- ignored -------------------------------------------------------------------


def test_what_is_ignored_stays_so_in_the_next_run(tmp_path: Path) -> None:
    path, book = tmp_path / "ignored.json", Book()
    assert not book.ignore("640438")
    mark = noted(book, advised())
    assert book.ignore(mark)
    assert book.all()[0].ignored
    book.save(path)
    again = Book()
    again.load(path)
    one = again.note(advised())
    assert one is not None
    assert one.ignored
    other = again.note(advised(new=wmem(16 * MIB)))
    assert other is not None
    assert not other.ignored


def test_forgets_what_was_ignored_longest_ago(tmp_path: Path) -> None:
    path, book = tmp_path / "ignored.json", Book()
    for number in range(MOST_IGNORED + 10):
        book.ignore(noted(book, advised(new=(number + 1,))))
    book.save(path)
    again = Book()
    again.load(path)
    assert len(json.loads(path.read_text())["ignored"]) == MOST_IGNORED
    first, last = again.note(advised(new=(1,))), again.note(advised(new=(1034,)))
    assert first is not None
    assert last is not None
    assert (first.ignored, last.ignored) == (False, True)


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{", "{}", '{"version":2,"ignored":[]}', "[" * 60_000),
        *('{"version":1}', '{"version":1,"ignored":{}}'),
        *('{"version":1,"ignored":[1]}', '{"version":1,"ignored":["../etc"]}'),
        json.dumps({"version": 1, "ignored": ["000000"] * (MOST_IGNORED + 1)}),
        " " * 70_000,
    ],
)
def test_a_file_that_is_not_what_was_written_says_so(tmp_path: Path, text: str) -> None:
    path = tmp_path / "ignored.json"
    path.write_text(text)
    with pytest.raises(InvalidFileError, match=str(path)):
        Book().load(path)


def test_the_file_may_be_cut_anywhere(tmp_path: Path) -> None:
    path, book = tmp_path / "ignored.json", Book()
    book.ignore(noted(book, advised()))
    book.save(path)
    whole = path.read_bytes()
    for end in range(len(whole) - 1):
        path.write_bytes(whole[:end])
        if whole[:end].rstrip().endswith(b"}"):
            continue
        with pytest.raises(InvalidFileError):
            Book().load(path)


def test_a_file_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    with pytest.raises(InvalidFileError, match="directory"):
        Book().load(tmp_path)
