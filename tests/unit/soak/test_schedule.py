from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.soak.judge import WARM_UP_S, WARM_UP_SHARE
from tests.soak.schedule import (
    CALM_SHARE,
    PER_MINUTE,
    RUSH,
    RUSH_S,
    End,
    Kind,
    acts,
    lives,
    plan,
    rush_seconds,
)

SEEDS, SECONDS = st.integers(0, 10**6), st.floats(20, 2000)


@given(SEEDS, SECONDS)
def test_lives_follow_each_other_to_the_end(seed: int, seconds: float) -> None:
    found = list(lives(seed, seconds))
    assert found[0].begin_s == 0
    assert found[-1].until_s == pytest.approx(seconds)
    for one, after in pairwise(found):
        assert one.until_s == pytest.approx(after.begin_s)
    assert all(life.seconds > 0 for life in found)


@given(SEEDS, SECONDS)
def test_most_of_the_time_is_calm(seed: int, seconds: float) -> None:
    found = list(lives(seed, seconds))
    calm = [life for life in found if life.calm]
    assert calm
    assert sum(life.seconds for life in calm) == pytest.approx(CALM_SHARE * seconds)
    assert not any(life.early or life.abrupt for life in calm)
    assert not found[-1].calm


@given(SEEDS, SECONDS)
def test_acts_are_in_order_and_within_the_time(seed: int, seconds: float) -> None:
    found = acts(seed, seconds)
    assert found == sorted(found)
    assert all(0 < act.at_s < seconds for act in found)


def test_a_seed_decides_all() -> None:
    assert plan(4, 600) == plan(4, 600)
    assert plan(4, 600) != plan(5, 600)


def test_a_longer_soak_begins_with_the_same_acts() -> None:
    """Though not at the same times: its rush is longer."""
    short, long = plan(3, 300).acts, plan(3, 3000).acts
    for kind in Kind:
        first = [act.number for act in short if act.kind is kind]
        assert first == [act.number for act in long if act.kind is kind][: len(first)]


@given(SEEDS)
def test_each_round_begins_with_a_rush(seed: int) -> None:
    begins_s, rush_s = (0.0, 3600.0), rush_seconds(7200)
    at_s = [act.at_s for act in acts(seed, 7200)]

    def per_second(from_s: float, until_s: float) -> float:
        return sum(from_s <= one < until_s for one in at_s) / (until_s - from_s)

    for begin_s in begins_s:
        end_s = begin_s + rush_s
        usual = per_second(end_s, begin_s + 3600)
        assert 0.8 < per_second(begin_s, end_s) / (RUSH * usual) < 1.25


@given(SECONDS)
def test_the_rush_is_over_long_before_the_warm_up_is(seconds: float) -> None:
    calm_s = CALM_SHARE * seconds
    warm_up_s = min(WARM_UP_S, WARM_UP_SHARE * calm_s)
    assert rush_seconds(seconds) <= warm_up_s / 2 + 1e-9


def test_in_an_hour_all_kinds_come_about_as_often_as_planned() -> None:
    found = acts(1, 3600)
    for kind in Kind:
        count = sum(act.kind is kind for act in found if act.at_s > RUSH_S)
        assert 0.6 < count / (55 * PER_MINUTE[kind]) < 1.5


def test_in_an_hour_all_ends_come() -> None:
    found = list(lives(1, 3600))
    assert {life.end for life in found} == set(End)
    assert sum(life.end is End.KILL for life in found) > len(found) / 3
    for word in ("early", "abrupt", "roll_back"):
        assert {getattr(life, word) for life in found} == {True, False}
