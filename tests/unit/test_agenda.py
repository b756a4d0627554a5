from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpftune.agenda import RECHECKS_S, Agenda, Looking
from bpftune.model import Recheck, Tuner, Wake, Watch
from tests.unit.fakes import BLUE, HOST, RED, TCP_WMEM, prefix

TUNER, OTHER = Tuner("one", "of them"), Tuner("another", "of them")
ADMINS = Recheck(TCP_WMEM.name, (1, 2, 3), 0, b"sysctl", "1\t2\t3")


def look_times(agenda: Agenda, start_s: float, end_s: float) -> list[float]:
    """Follow *agenda* as the daemon does; return when it looked."""
    now_s, times = start_s, []
    while now_s <= end_s:
        times += [now_s for _ in agenda.due_looks(now_s)]
        due_s = agenda.next_s()
        if due_s is None:
            break
        now_s = max(now_s, due_s)
    return times


def test_nothing_is_due_when_nothing_was_asked() -> None:
    agenda = Agenda()
    assert agenda.next_s() is None
    assert agenda.due_looks(1e9) == []
    assert agenda.due_wakes(1e9) == []
    assert agenda.due_rechecks(1e9) == []


# --- looks -------------------------------------------------------------------


def test_the_first_look_is_at_once_and_the_others_follow_in_rhythm() -> None:
    agenda = Agenda()
    agenda.watch(TUNER, HOST.cookie, Watch(None, 0.25, 4), 10.0)
    assert look_times(agenda, 10.0, 99.0) == [10.0, 10.25, 10.5, 10.75]


def test_each_look_tells_how_many_follow() -> None:
    agenda = Agenda()
    agenda.watch(TUNER, HOST.cookie, Watch(None, 1, 2), 0.0)
    (first,) = agenda.due_looks(0.0)
    assert first.left == 1
    (last,) = agenda.due_looks(1.0)
    assert last.left == 0
    assert agenda.next_s() is None


def test_a_watch_renewed_midway_keeps_its_rhythm() -> None:
    agenda = Agenda()
    agenda.watch(TUNER, HOST.cookie, Watch(None, 1.0, 5), 0.0)
    assert look_times(agenda, 0.0, 1.5) == [0.0, 1.0]
    agenda.watch(TUNER, HOST.cookie, Watch(None, 1.0, 2), 1.5)
    assert look_times(agenda, 1.5, 99.0) == [2.0, 3.0]


def test_a_watch_renewed_at_its_last_look_keeps_its_rhythm() -> None:
    agenda = Agenda()
    agenda.watch(TUNER, HOST.cookie, Watch(None, 1.0, 1), 0.0)
    (last,) = agenda.due_looks(0.0)
    assert last.left == 0
    agenda.watch(TUNER, HOST.cookie, Watch(None, 1.0, 2), 0.001)
    assert look_times(agenda, 0.001, 99.0) == [1.0, 2.0]


def test_a_watch_that_begins_anew_long_after_its_end_looks_at_once() -> None:
    agenda = Agenda()
    agenda.watch(TUNER, HOST.cookie, Watch(None, 1.0, 1), 0.0)
    agenda.due_looks(0.0)
    agenda.watch(TUNER, HOST.cookie, Watch(None, 1.0, 1), 50.0)
    assert look_times(agenda, 50.0, 99.0) == [50.0]


def test_a_faster_watch_does_not_wait_for_the_slower_one_it_replaces() -> None:
    agenda = Agenda()
    agenda.watch(TUNER, HOST.cookie, Watch(None, 100.0, 5), 0.0)
    agenda.due_looks(0.0)
    agenda.watch(TUNER, HOST.cookie, Watch(None, 0.5, 1), 1.0)
    assert agenda.next_s() == 1.5


def test_a_count_of_zero_ends_a_watch() -> None:
    agenda = Agenda()
    agenda.watch(TUNER, HOST.cookie, Watch(prefix(1), 1.0, 5), 0.0)
    agenda.watch(TUNER, HOST.cookie, Watch(prefix(1), 0, 0), 0.5)
    agenda.watch(TUNER, HOST.cookie, Watch(prefix(2), 0, 0), 0.5)
    assert agenda.next_s() is None


def test_watches_of_other_prefixes_namespaces_and_tuners_stand_beside() -> None:
    agenda = Agenda()
    for tuner in (TUNER, OTHER):
        for netns in (RED, BLUE):
            for number in (1, 2):
                watch = Watch(prefix(number), 1, 1)
                agenda.watch(tuner, netns.cookie, watch, 0.0)
    assert len(look_times(agenda, 0.0, 9.0)) == 8


@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.floats(0, 0.2), st.integers(1, 50)),
        min_size=1,
        max_size=40,
    )
)
def test_no_demand_whatever_makes_more_than_a_hundred_looks_a_second(
    asked: list[tuple[int, float, int]],
) -> None:
    agenda = Agenda()
    for number, every_s, count in asked:
        agenda.watch(TUNER, HOST.cookie, Watch(prefix(number), every_s, count), 0.0)
    times = look_times(agenda, 0.0, 3.0)
    for index, first in enumerate(times):
        assert sum(first <= other < first + 0.999 for other in times[index:]) <= 100


def test_when_too_many_are_asked_for_all_get_their_turn() -> None:
    agenda, seen = Agenda(), list[Looking]()
    for number in range(300):
        agenda.watch(TUNER, HOST.cookie, Watch(prefix(number), 0.01, 100), 0.0)
    now_s = 0.0
    while now_s < 6.5:
        seen += agenda.due_looks(now_s)
        now_s = agenda.next_s() or 99.0
    assert {look.watch.prefix for look in seen} == {prefix(n) for n in range(300)}


# --- timers ------------------------------------------------------------------


@given(st.floats(0, 1e7), st.floats(60, 1e5))
def test_a_long_timer_falls_on_a_whole_minute_not_before_its_time(
    now_s: float, after_s: float
) -> None:
    agenda = Agenda()
    agenda.wake(TUNER, HOST.cookie, Wake("tea", after_s), now_s)
    due_s = agenda.next_s()
    assert due_s is not None
    assert due_s % 60 == 0
    assert now_s + after_s <= due_s < now_s + after_s + 60


def test_a_short_timer_is_exact_and_rings_once() -> None:
    agenda = Agenda()
    agenda.wake(TUNER, RED.cookie, Wake("tea", 59.5), 1.0)
    assert agenda.due_wakes(60.4) == []
    (rung,) = agenda.due_wakes(60.5)
    assert (rung.tuner, rung.cookie, rung.name) == (TUNER, RED.cookie, "tea")
    assert agenda.due_wakes(999.0) == []


def test_a_timer_set_again_is_moved() -> None:
    agenda = Agenda()
    agenda.wake(TUNER, HOST.cookie, Wake("tea", 5), 0.0)
    agenda.wake(TUNER, HOST.cookie, Wake("tea", 30), 0.0)
    assert agenda.due_wakes(29.0) == []
    assert len(agenda.due_wakes(30.0)) == 1


# --- second looks at sysctls -------------------------------------------------


def test_a_write_is_looked_at_now_and_again_for_a_second() -> None:
    agenda, times = Agenda(), []
    agenda.recheck(HOST.cookie, ADMINS, 10.0)
    while (due_s := agenda.next_s()) is not None:
        times += [due_s for _ in agenda.due_rechecks(due_s)]
    assert times == [10.0 + after_s for after_s in RECHECKS_S]


def test_of_several_writes_the_value_before_the_first_and_the_last_writer_count() -> (
    None
):
    agenda = Agenda()
    agenda.recheck(HOST.cookie, ADMINS, 0.0)
    agenda.recheck(
        HOST.cookie, Recheck(TCP_WMEM.name, (9, 9, 9), 1000, b"sh", "9"), 0.5
    )
    (one,) = agenda.due_rechecks(0.5)
    assert one.recheck == replace(ADMINS, uid=1000, comm=b"sh")


def test_a_change_that_was_found_is_not_looked_for_any_more() -> None:
    agenda = Agenda()
    agenda.recheck(HOST.cookie, ADMINS, 0.0)
    agenda.settled(HOST.cookie, TCP_WMEM.name)
    agenda.settled(RED.cookie, TCP_WMEM.name)
    assert agenda.next_s() is None


# --- forgetting --------------------------------------------------------------


@pytest.fixture
def busy() -> Agenda:
    agenda = Agenda()
    for tuner in (TUNER, OTHER):
        for netns in (RED, BLUE):
            agenda.watch(tuner, netns.cookie, Watch(None, 1, 1), 0.0)
            agenda.wake(tuner, netns.cookie, Wake("tea", 1), 0.0)
    for netns in (RED, BLUE):
        agenda.recheck(netns.cookie, ADMINS, 0.0)
    return agenda


def test_nothing_is_due_in_a_namespace_that_is_gone(busy: Agenda) -> None:
    busy.forget(RED.cookie)
    looks = [look for now_s in (1.0, 2.0, 3.0) for look in busy.due_looks(now_s)]
    assert {look.cookie for look in looks} == {BLUE.cookie}
    assert {wake.cookie for wake in busy.due_wakes(9.0)} == {BLUE.cookie}
    assert {one.cookie for one in busy.due_rechecks(9.0)} == {BLUE.cookie}


def test_a_tuner_that_is_dropped_gets_no_more_of_what_it_asked(busy: Agenda) -> None:
    busy.drop(TUNER)
    looks = [look for now_s in (1.0, 2.0, 3.0) for look in busy.due_looks(now_s)]
    assert {look.tuner for look in looks} == {OTHER}
    assert {wake.tuner for wake in busy.due_wakes(9.0)} == {OTHER}
    assert len(busy.due_rechecks(9.0)) == 2  # the admin's writes are everybody's


def test_knows_who_writes_a_sysctl_there_or_elsewhere() -> None:
    agenda = Agenda()
    here, there = RED.cookie, BLUE.cookie
    name = "net.ipv4.tcp_wmem"
    mine, other = Recheck(name, (1,), 7, b"me"), Recheck(name, (1,), 8, b"you")
    assert agenda.write_of(here, name) is None
    agenda.recheck(there, other, 0.0)
    assert agenda.write_of(here, name) == other
    assert agenda.write_from(here, name) is None
    agenda.recheck(here, mine, 0.0)
    assert agenda.write_of(here, name) == agenda.write_from(here, name) == mine
    assert agenda.write_of(here, "net.ipv4.tcp_rmem") is None


@pytest.mark.parametrize("late_s", [0.0, 0.003, 0.5])
def test_what_is_due_each_minute_is_not_due_every_other_one(late_s: float) -> None:
    """A timer is heard a little after its minute, and set again for the next."""
    agenda, now_s = Agenda(), 0.0
    agenda.wake(TUNER, HOST.cookie, Wake("tea", 60), now_s)
    for minute in range(1, 6):
        due_s = agenda.next_s()
        assert due_s == 60.0 * minute
        now_s = due_s + late_s
        assert agenda.due_wakes(now_s)
        agenda.wake(TUNER, HOST.cookie, Wake("tea", 60), now_s)
