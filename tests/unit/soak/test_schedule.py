from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.soak.schedule import CALM_SHARE, PER_MINUTE, End, Kind, acts, lives, plan

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
    short, long = plan(3, 300).acts, plan(3, 3000).acts
    assert tuple(act for act in long if act.at_s < 300) == short


def test_in_an_hour_all_kinds_come_about_as_often_as_planned() -> None:
    found = acts(1, 3600)
    for kind in Kind:
        count = sum(act.kind is kind for act in found)
        assert 0.6 < count / (60 * PER_MINUTE[kind]) < 1.5


def test_in_an_hour_all_ends_come() -> None:
    found = list(lives(1, 3600))
    assert {life.end for life in found} == set(End)
    assert sum(life.end is End.KILL for life in found) > len(found) / 3
    for word in ("early", "abrupt", "roll_back"):
        assert {getattr(life, word) for life in found} == {True, False}
