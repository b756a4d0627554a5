"""Events in their order, those of one tuner before their turn, all of them counted."""

from __future__ import annotations

from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from bpftune.inbox import AT_ONCE, MOST_WAITING, Inbox
from bpftune.model import Event, NetnsCookie, Tuner
from tests.unit.fakes import FakeLoader

ONE, OTHER = Tuner("one", "the one"), Tuner("other", "the other")


def test_what_cannot_be_decoded_is_passed_by() -> None:
    loader = FakeLoader()
    inbox = Inbox(cast("Any", loader), "other")
    decode = loader.decode
    cast("Any", loader).decode = lambda record: (
        None if int(record) % 2 else decode(record)
    )
    loader.queue(ONE, *events(5))
    assert [inbox.take() for _ in range(4)] == [
        *((ONE, event) for event in events(5)[::2]),
        None,
    ]
    assert inbox.received == {"one": 3}


def test_of_a_flood_a_bounded_number_waits_here() -> None:
    loader = FakeLoader()
    inbox = Inbox(cast("Any", loader), "other")
    loader.queue(ONE, *events(10_000))
    assert inbox.take() is not None
    assert len(loader.waiting) == 10_000 - AT_ONCE
    for _ in range(3):
        assert inbox.take_first() == []
        assert len(loader.waiting) == 10_000 - MOST_WAITING - 1


def test_each_record_is_looked_at_once_however_often_is_searched() -> None:
    loader = FakeLoader()
    inbox = Inbox(cast("Any", loader), "other")
    looked_at: list[bytes] = []
    tuner_of = loader.tuner_of

    def noted(record: bytes) -> Tuner:
        looked_at.append(record)
        return tuner_of(record)

    cast("Any", loader).tuner_of = noted
    loader.queue(ONE, *events(3000))
    for _ in range(100):
        assert inbox.take_first() == []
    assert len(looked_at) == 3000


@given(
    st.lists(st.sampled_from((ONE, OTHER)), max_size=100),
    st.lists(st.booleans(), max_size=200),
)
def test_each_tuners_events_come_once_and_in_order(
    senders: list[Tuner], hear: list[bool]
) -> None:
    loader = FakeLoader()
    inbox = Inbox(cast("Any", loader), "other")
    for sender, event in zip(senders, events(len(senders)), strict=True):
        loader.queue(sender, event)
    got: list[tuple[Tuner, Event]] = []
    for first in hear:
        if first:
            got += inbox.take_first()
            assert OTHER not in [sender for sender, _ in loader.waiting]
        elif (found := inbox.take()) is not None:
            got.append(found)
    while (found := inbox.take()) is not None:
        got.append(found)
    assert not inbox
    for tuner in (ONE, OTHER):
        sent = [
            event
            for sender, event in zip(senders, events(len(senders)), strict=True)
            if sender is tuner
        ]
        assert [event for sender, event in got if sender is tuner] == sent
        assert inbox.received[tuner.name] == len(sent)


def events(count: int) -> list[Event]:
    return [Event(NetnsCookie(number)) for number in range(count)]
