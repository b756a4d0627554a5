from __future__ import annotations

from bpftune.advice import Book
from bpftune.control.notes import Notes
from bpftune.records import Record
from tests.unit.fakes import FOUND, MIB, RED, TCP_WMEM, wmem

ADVICE = Record("advice", "x", "t", TCP_WMEM.name, RED, FOUND, wmem(8 * MIB))
CHANGE = Record("change", "x", "t", TCP_WMEM.name, RED, FOUND, wmem(8 * MIB))


def test_what_is_noted_is_told_as_well() -> None:
    told: list[Record] = []
    notes = Notes(told.append, Book())
    for record in (ADVICE, CHANGE):
        notes.hear(record)
    assert told == [ADVICE, CHANGE]
    assert len(notes.book.all()) == 1
    assert sum(next(notes.tally.families()).samples.values()) == 1


def test_ignored_advice_is_noted_and_not_told() -> None:
    told: list[Record] = []
    notes = Notes(told.append, Book())
    notes.hear(ADVICE)
    notes.book.ignore(notes.book.all()[0].id)
    notes.hear(ADVICE)
    assert told == [ADVICE]
    assert notes.book.all()[0].ignored


def test_catches_what_is_told_for_a_while() -> None:
    notes = Notes(lambda _: None, Book())
    notes.hear(ADVICE)
    with notes.catching() as outer:
        notes.hear(CHANGE)
        with notes.catching() as inner:
            notes.hear(ADVICE)
        notes.hear(CHANGE)
    notes.hear(ADVICE)
    assert outer == [CHANGE, CHANGE]
    assert inner == [ADVICE]
