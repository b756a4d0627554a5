from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpftune.policy.cohort import LEAST_POINTS, MOST_LIVES, Cohorts, Life, Seen

OLD, NEW = 1 << 20, 2 << 20


def live(
    state: Cohorts,
    limit: int,
    cookie: int,
    rate: float,
    *,
    born: int = 0,
    ticks: int = 1000,
    held: bool = False,
) -> Cohorts:
    """Let one connection live alone for *ticks*, and end."""
    state = state.see(limit, born, ())
    for age in range(10, ticks + 1, 10):
        one = Seen(cookie, born, age, int(rate * age), held=held)
        state = state.see(limit, born + age, (one,))
    return state.see(limit, born + ticks + 1, ())


def test_a_life_is_known_between_its_points() -> None:
    life = Life(OLD, (10, 20), (100, 300))
    assert life.log_at(10) == pytest.approx(math.log(100))
    assert life.log_at(15) == pytest.approx(math.log(200))
    assert life.log_at(20) == pytest.approx(math.log(300))
    assert life.log_at(9) is life.log_at(21) is None
    assert Life(OLD).log_at(1) is None
    assert Life(OLD).oldest == 0


def test_connections_under_twice_the_limit_got_twice_as_much() -> None:
    state = live(Cohorts(), OLD, 1, 100.0)
    state = live(state, NEW, 2, 200.0, born=2000)
    gain = state.gain(NEW, OLD)
    assert gain is not None
    assert gain.value == pytest.approx(math.log(2), abs=1e-6)
    # Of one connection each, no more is known than what is usual.
    assert gain.error == pytest.approx(0.1 * math.sqrt(2))
    assert gain.at_least(0.05)
    assert len(state.ripe(NEW, OLD)) == 1


def test_many_connections_of_equal_rates_tell_small_gains_too() -> None:
    state = Cohorts()
    for number in range(10):
        state = live(state, OLD, number, 100.0, born=2000 * number)
    for number in range(10, 20):
        state = live(state, NEW, number, 110.0, born=2000 * number)
    gain = state.gain(NEW, OLD)
    assert gain is not None
    assert gain.at_least(0.05)


def test_proved_is_when_each_new_connection_got_more_than_any_old() -> None:
    state = Cohorts()
    for number in range(5):
        state = live(state, OLD, number, 100.0 + number, born=2000 * number)
    for number in range(5, 10):
        state = live(state, NEW, number, 110.0 + number, born=2000 * number)
    assert state.is_proved(NEW, OLD, 0.01)  # one order of 252
    assert not state.is_proved(NEW, OLD, 0.001)
    assert not state.is_proved(OLD, NEW, 0.01)
    assert not state.is_proved(NEW, 4 * NEW, 0.01)
    slow = live(state, NEW, 11, 103.0, born=30_000)
    assert not slow.is_proved(NEW, OLD, 0.01)


def test_a_connection_that_a_raise_met_alive_tells_of_the_time_before_only() -> None:
    state = Cohorts()
    for age in range(10, 2001, 10):
        limit = OLD if age <= 1000 else NEW
        state = state.see(limit, age, (Seen(1, 0, age, 100 * age),))
    (life,) = state.of(OLD)
    assert life.over
    assert 900 <= life.oldest <= 1000
    assert state.of(NEW) == []
    assert state.gain(NEW, OLD) is None


def test_what_was_made_before_the_raise_is_not_taken_for_new() -> None:
    """It was found only after the raise: a search comes now and then."""
    state = live(Cohorts(), OLD, 1, 100.0, ticks=1000)
    for age in range(300, 1000, 10):
        state = state.see(NEW, 1000 + age, (Seen(2, 1000, age, 500 * age),))
    assert state.of(NEW) == []


def test_the_young_are_not_ripe_until_they_are_as_old_or_over() -> None:
    state = live(Cohorts(), OLD, 1, 100.0).see(NEW, 1500, ())
    for age in range(10, 500, 10):
        state = state.see(NEW, 2000 + age, (Seen(2, 2000, age, 100 * age),))
    assert len(state.of(NEW)) == 1
    assert state.ripe(NEW, OLD) == []
    assert len(state.see(NEW, 2600, ()).ripe(NEW, OLD)) == 1
    assert state.ripe(NEW, NEW // 4) == []  # nothing to compare with


def test_who_was_held_back_for_a_third_of_its_life_starves() -> None:
    (held,) = live(Cohorts(), OLD, 1, 100.0, held=True).of(OLD)
    (free,) = live(Cohorts(), OLD, 1, 100.0).of(OLD)
    assert held.starved
    assert not free.starved
    assert not replace(held, held=held.looks // 3).starved


@given(
    st.lists(
        st.tuples(
            st.sampled_from([OLD, NEW, 4 * NEW]),
            st.integers(0, 60),
            st.integers(-5, 400),
            st.integers(0, 1 << 40),
        ),
        max_size=300,
    )
)
def test_whatever_is_seen_it_stays_bounded_and_in_order(
    looks: list[tuple[int, int, int, int]],
) -> None:
    state = Cohorts()
    for now, (limit, cookie, age, delivered) in enumerate(looks):
        state = state.see(limit, now, (Seen(cookie, now - age, age, delivered),))
        assert len(state.lives) <= MOST_LIVES
    for life in state.lives.values():
        assert list(life.ages) == sorted(set(life.ages))
        assert len(life.ages) == len(life.bytes_) <= 70
        assert life.counts == (len(life.ages) >= LEAST_POINTS)
    for new in (OLD, NEW):
        gain = state.gain(new, 4 * NEW)
        assert gain is None or (math.isfinite(gain.value) and gain.error > 0)
