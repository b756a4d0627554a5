from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpftune.records import Record, as_line
from bpftune.sink import Sink


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Page:
    """A target in memory, which may have no room, or be broken."""

    records: list[Record] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    trouble: str = ""
    takes: bool = True
    closed: bool = False

    def write(self, record: Record, now_unix: float) -> bool:
        if self.takes:
            self.records.append(record)
            self.times.append(now_unix)
        return self.takes

    def close(self) -> None:
        self.closed = True

    def lines(self) -> list[str]:
        return [as_line(record) for record in self.records]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def page() -> Page:
    return Page()


@pytest.fixture
def sink(page: Page, clock: Clock) -> Sink:
    return Sink([page], monotonic=clock, wall=lambda: 7.0)


def test_equal_records_are_written_once_and_counted(
    sink: Sink, page: Page, clock: Clock
) -> None:
    again = Record("rejected", "no memory", "tcp_buffer")
    for _ in range(42):
        sink.write(again)
    assert page.lines() == ["tcp_buffer rejected: no memory"]
    clock.now += 599
    sink.tick()
    assert len(page.lines()) == 1
    clock.now += 1
    sink.tick()
    assert page.lines()[1:] == ["tcp_buffer rejected: no memory (41 times in 10 min)"]
    assert page.records[1].extra["times"] == 41
    sink.tick()
    assert len(page.lines()) == 2
    sink.write(again)
    assert len(page.lines()) == 3


def test_another_record_ends_the_count_first(sink: Sink, page: Page) -> None:
    for why in ("a", "a", "a", "b"):
        sink.write(Record("rejected", why, "x"))
    assert page.lines() == [
        "x rejected: a",
        "x rejected: a (2 times in 0 s)",
        "x rejected: b",
    ]


def test_tuners_do_not_end_each_others_counts(sink: Sink, page: Page) -> None:
    for _ in range(50):
        sink.write(Record("rejected", "a", "x"))
        sink.write(Record("rejected", "b", "y"))
    assert page.lines() == ["x rejected: a", "y rejected: b"]


def test_a_flood_is_cut_and_counted(sink: Sink, page: Page, clock: Clock) -> None:
    for number in range(1000):
        sink.write(Record("rejected", str(number), "flood"))
    sink.write(Record("rejected", "calm", "other"))
    assert len(page.lines()) == Sink.BURST + 1
    clock.now += 1
    sink.write(Record("rejected", "later", "flood"))
    assert page.lines()[-2:] == [
        f"flood lost: {1000 - Sink.BURST} records were not written, for there were "
        "too many",
        "flood rejected: later",
    ]


def test_what_was_held_back_is_told_at_the_end(sink: Sink, page: Page) -> None:
    for number in range(Sink.BURST + 5):
        sink.write(Record("rejected", str(number), "flood"))
    sink.close()
    assert page.lines()[-1].startswith("flood lost: 5 records")
    assert page.closed


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz")), max_size=300))
def test_every_record_is_written_or_counted(said: list[tuple[str, str]]) -> None:
    page = Page()
    sink = Sink([page], monotonic=Clock())
    for tuner, why in said:
        sink.write(Record("rejected", why, tuner))
    sink.close()
    told = [
        one.extra.get("times", one.extra.get("suppressed", 1)) for one in page.records
    ]
    assert sum(map(int, map(str, told))) == len(said)


def test_each_record_goes_to_all_targets_with_mode_and_time(clock: Clock) -> None:
    pages = Page(), Page()
    sink = Sink(pages, mode="observe", monotonic=clock, wall=lambda: 7.0)
    sink.write(Record("started", "a"))
    for page in pages:
        assert [record.mode for record in page.records] == ["observe"]
        assert page.times == [7.0]


def test_what_a_target_could_not_take_waits_for_it(clock: Clock) -> None:
    sleeping, awake = Page(takes=False), Page()
    sink = Sink([sleeping, awake], monotonic=clock, wall=lambda: clock.now)
    for number in range(3):
        sink.write(Record("degraded", f"{number}"))
    assert len(awake.records) == 3
    clock.now += 5
    sleeping.takes = True
    sink.write(Record("degraded", "last"))
    assert [record.why for record in sleeping.records] == ["0", "1", "2", "last"]
    assert sleeping.times == [100.0, 100.0, 100.0, 105.0]
    assert len(awake.records) == 4


def test_more_than_may_wait_is_counted_and_the_count_is_told_there(
    clock: Clock,
) -> None:
    sleeping, awake = Page(takes=False), Page()
    sink = Sink([sleeping, awake], monotonic=clock)
    for number in range(Sink.BACKLOG + 3):
        sink.write(Record("degraded", f"{number}"))
    sleeping.takes = True
    sink.write(Record("degraded", "last"))
    assert [record.why for record in sleeping.records] == [
        *map(str, range(Sink.BACKLOG)),
        "3 records were not written, for nobody read them",
        "last",
    ]
    assert sleeping.records[-2].extra == {"unread": 3}
    assert len(awake.records) == Sink.BACKLOG + 4


@given(st.lists(st.booleans() | st.none(), max_size=300))
def test_a_target_that_comes_and_goes_gets_all_in_order_or_counted(
    moments: list[bool | None],
) -> None:
    """It goes (False), comes back (True), or something happens (None)."""
    page, clock = Page(), Clock()
    sink = Sink([page], monotonic=clock)
    told = 0
    for moment in moments:
        clock.now += Sink.AGAIN_S
        if moment is None:
            sink.write(Record("change", f"{told}"))
            told += 1
        else:
            page.takes = moment
            sink.tick()
    page.takes = True
    sink.close()
    whys = [int(one.why) for one in page.records if one.record == "change"]
    unread = [one.extra["unread"] for one in page.records if one.record == "lost"]
    assert whys == sorted(set(whys))
    assert len(whys) + sum(int(str(count)) for count in unread) == told


def test_what_waits_is_written_though_nothing_else_happens(
    sink: Sink, page: Page, clock: Clock
) -> None:
    sink.tick()
    page.takes = False
    sink.write(Record("started", "a"))
    page.takes = True
    sink.tick()
    assert page.records == []
    clock.now += Sink.AGAIN_S
    sink.tick()
    assert [record.why for record in page.records] == ["a"]


def test_a_slow_reader_has_a_moment_longer_at_the_end(clock: Clock) -> None:
    class Slow(Page):
        tries = 0

        def write(self, record: Record, now_unix: float) -> bool:
            self.tries += 1
            self.takes = self.tries % 3 == 0
            return super().write(record, now_unix)

    slow = Slow()
    sink = Sink([slow], monotonic=clock)
    for number in range(5):
        sink.write(Record("stopped", f"{number}"))
    sink.close()
    assert [record.why for record in slow.records] == list("01234")


def test_why_a_target_fails_is_told_to_the_others_once(clock: Clock) -> None:
    failing, well = Page(takes=False, trouble="the disk is full"), Page()
    sink = Sink([failing, well], monotonic=clock)
    for number in range(5):
        sink.write(Record("rejected", f"{number}", "x"))
    failing.takes, failing.trouble = True, ""
    sink.write(Record("rejected", "5", "x"))
    failing.takes, failing.trouble = False, "the disk is full"
    sink.write(Record("rejected", "6", "x"))
    told = [one.why for one in well.records if one.record == "degraded"]
    assert told == ["the disk is full"]
    assert len(well.records) == 8


def test_all_targets_may_fail_at_once(clock: Clock) -> None:
    pages = [Page(takes=False, trouble=f"trouble {number}") for number in range(3)]
    sink = Sink(pages, monotonic=clock)
    sink.write(Record("started", "a"))
    sink.close()
    assert all(page.closed for page in pages)


def test_targets_come_and_go(sink: Sink, page: Page) -> None:
    guest = Page()
    sink.write(Record("started", "before"))
    sink.add(guest)
    sink.write(Record("rejected", "while", "x"))
    sink.remove(guest)
    sink.write(Record("rejected", "after", "x"))
    assert [record.why for record in guest.records] == ["while"]
    assert not guest.closed
    assert len(page.records) == 3
