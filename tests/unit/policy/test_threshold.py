from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpftune.outcome import Level
from bpftune.policy.threshold import (
    EDGES,
    KEPT,
    Outlook,
    bounds,
    counted,
    faded,
    level_of,
    most_nats,
    words,
)

MIB = 1 << 20
HISTORIES = st.lists(st.booleans(), max_size=300)


def after(history: list[bool], gain_nats: float = 0.5) -> Level:
    """A level at which these trials were made."""
    level = Level()
    for paid in history:
        level = counted(level, gain_nats if paid else 0.0, paid=paid)
    return level


def outlook(number: int, level: Level) -> Outlook:
    """An outlook that knows of one level only."""
    levels = [Level()] * len(EDGES)
    levels[number] = level
    return Outlook(tuple(levels))


def test_levels_lie_beside_each_other() -> None:
    assert [level_of(one) for one in (0.0, 0.04, 0.05, 0.1, 0.3, 0.69, 0.7, 1.0)] == [
        *(-1, -1, 0, 1, 2, 3, 4, 4)
    ]


@pytest.mark.parametrize("pressure", [0.10, 0.2, 0.5, 1.0])
def test_the_unknown_is_tried(pressure: float) -> None:
    assert Outlook().is_worth_trying(pressure)


@pytest.mark.parametrize("pressure", [0.0, 0.04, 0.05, 0.09])
def test_what_jitter_alone_brings_about_is_not(pressure: float) -> None:
    assert not Outlook().is_worth_trying(pressure)


def test_a_level_that_never_pays_is_left_alone_at_last_and_others_are_not() -> None:
    history: list[bool] = []
    while outlook(2, after(history)).is_worth_trying(0.3):
        history.append(False)
        assert len(history) < 50
    assert len(history) > 20  # one in ten is enough, so it takes a while to be sure
    known = outlook(2, after(history))
    assert not known.is_worth_trying(0.2)
    assert known.is_worth_trying(0.4)
    assert known.is_worth_trying(0.19)


def test_a_level_left_alone_is_tried_again_as_memory_fades() -> None:
    level = after([False] * 50)
    assert not outlook(2, level).is_worth_trying(0.3)
    assert outlook(2, faded(level, 0.5)).is_worth_trying(0.3)


def test_what_pays_one_time_in_five_is_always_tried() -> None:
    assert outlook(4, after([True, *[False] * 4] * 40)).is_worth_trying(1.0)


def test_less_pressure_is_tried_where_a_little_more_surely_pays() -> None:
    assert not outlook(1, after([True] * 5)).is_worth_trying(0.07)
    sure = outlook(1, after([True] * 20))
    assert sure.is_worth_trying(0.07)
    assert not sure.is_worth_trying(0.04)


@given(HISTORIES)
def test_what_is_remembered_is_bounded_and_the_bounds_hold_the_share(
    history: list[bool],
) -> None:
    level = after(history)
    assert 0 <= level.trials <= 1 / (1 - KEPT) + 1e-6
    low, high = bounds(level)
    share = level.paid / level.trials if history else 0.5
    assert 0 <= low <= share + 1e-9
    assert share - 1e-9 <= high <= 1


@given(HISTORIES)
def test_one_more_that_pays_never_makes_the_odds_worse(history: list[bool]) -> None:
    level = after(history)
    better, worse = (counted(level, 0, paid=paid) for paid in (True, False))
    assert bounds(better)[1] >= bounds(worse)[1]
    assert bounds(better)[0] >= bounds(worse)[0]


def test_old_trials_count_for_less() -> None:
    assert bounds(after([True] * 50 + [False] * 50))[1] < 0.5
    assert bounds(after([False] * 50 + [True] * 50))[0] > 0.5


def test_what_is_said_of_a_level() -> None:
    assert words(Level()) == "nothing was tried at this level before"
    assert words(Level(1.0)) == "at this level it paid in 1 of 1 trial"
    assert words(Level(37.2, 3.1)) == "at this level it paid in 37 of 40 trials"


# --- predictions -------------------------------------------------------------


def test_who_is_always_held_back_may_gain_what_the_limit_does() -> None:
    assert Outlook().predicted_nats(1.0, 2.0) == pytest.approx(math.log(2))
    assert Outlook().predicted_nats(0.5, 2.0) == pytest.approx(math.log(1.5))
    assert Outlook().predicted_nats(0.0, 2.0) == 0.0


def test_earlier_trials_correct_a_prediction_to_the_smaller_side() -> None:
    assert outlook(4, after([True] * 9, 0.2)).predicted_nats(1.0, 2) == pytest.approx(
        0.2
    )
    assert outlook(4, after([True] * 9, 0.9)).predicted_nats(1.0, 2) == pytest.approx(
        math.log(2)
    )
    assert outlook(4, after([True] * 2, 0.2)).predicted_nats(1.0, 2) == pytest.approx(
        math.log(2)
    )
    assert outlook(4, after([True] * 9, -0.2)).predicted_nats(1.0, 2) == 0.0


@given(st.floats(0, 1), st.floats(1, 64), HISTORIES, st.floats(-3, 3))
def test_nothing_promises_more_than_the_limit_grows(
    pressure: float, factor: float, history: list[bool], gain_nats: float
) -> None:
    known = outlook(level_of(pressure), after(history, gain_nats))
    predicted = known.predicted_nats(pressure, factor)
    assert 0 <= predicted <= most_nats(pressure, factor) <= math.log(factor) + 1e-9


def test_the_first_step_is_a_doubling_or_what_paid_before() -> None:
    assert Outlook().first_step(4 * MIB) == 8 * MIB
    assert Outlook(size=32 * MIB).first_step(4 * MIB) == 32 * MIB
    assert Outlook(size=4 * MIB).first_step(4 * MIB) == 8 * MIB
    again = Outlook(size=32 * MIB, size_gain_nats=0.8)
    assert again.predicted_again_nats(1.0, 8) == 0.8
    assert again.predicted_again_nats(0.1, 8) == pytest.approx(math.log(1.7))
