from __future__ import annotations

import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpftune.policy.arms import (
    HANDICAP,
    REMEMBERED,
    USUAL_DEVIATION,
    Arm,
    best_known,
    deviation,
    error,
    index,
    update,
)
from bpftune.policy.reward import Score

worths = st.lists(st.floats(-5, 5), min_size=1, max_size=40)


def seen(worth: float) -> Score:
    return Score(log_rate=worth, log_srtt=0.0, loss=0.0)


def fed(values: list[float], name: str = "cubic") -> dict[str, Arm]:
    arms: dict[str, Arm] = {}
    for value in values:
        arms, _ = update(arms, name, seen(value), flows=10)
    return arms


@given(worths)
def test_a_mean_lies_among_what_was_seen(values: list[float]) -> None:
    arm = fed(values)["cubic"]
    assert min(values) - 1e-9 <= arm.mean <= max(values) + 1e-9
    assert arm.squares >= 0


def test_the_weight_of_a_block_fades() -> None:
    arms = fed([1.0, 1.0])
    assert arms["cubic"].n == pytest.approx(1 + REMEMBERED)
    arms, _ = update(arms, "bbr", seen(2.0), 10)
    assert arms["cubic"].n == pytest.approx(REMEMBERED * (1 + REMEMBERED))
    assert arms["cubic"].mean == pytest.approx(1)


def test_the_deviation_is_learned_from_a_usual_one() -> None:
    assert deviation({}) == pytest.approx(USUAL_DEVIATION)
    chance = random.Random(1)
    arms = fed([chance.gauss(0, 0.05) for _ in range(200)])
    assert deviation(arms) == pytest.approx(0.05, rel=0.9)
    assert deviation(arms) < USUAL_DEVIATION / 2
    assert error(arms, "cubic") < deviation(arms) / 5


def test_a_path_that_turned_is_noticed_within_four_blocks_and_all_else_forgotten() -> (
    None
):
    chance = random.Random(2)
    arms = fed([chance.gauss(0, 0.1) for _ in range(30)])
    arms, _ = update(arms, "bbr", seen(0.0), 10)
    turns: list[bool] = []
    while not any(turns):
        arms, turned = update(arms, "cubic", seen(-1.0), 10)
        turns.append(turned)
    assert 2 <= len(turns) <= 4  # one outlier is none
    assert list(arms) == ["cubic"]
    assert arms["cubic"].mean == -1.0
    assert arms["cubic"].blocks == 1


def test_no_turn_is_seen_in_noise() -> None:
    chance = random.Random(3)
    arms: dict[str, Arm] = {}
    turns = 0
    for _ in range(2000):
        arms, turned = update(arms, "cubic", seen(chance.gauss(0, 0.2)), 10)
        turns += turned
    assert turns <= 5


def test_one_absurd_block_moves_little() -> None:
    chance = random.Random(4)
    values = [chance.gauss(0, 0.1) for _ in range(30)]
    before = fed(values)["cubic"].mean
    after = fed([*values, 1e6])["cubic"].mean
    assert abs(after - before) < 0.1
    assert deviation(fed([*values, 1e6])) < 0.3


def test_an_unseen_arm_may_be_worth_anything() -> None:
    arms = fed([5.0])
    assert index(arms, "bbr", "cubic") == math.inf


def test_a_good_name_comes_before_a_bad_one_and_both_are_tried() -> None:
    arms = fed([0.0, 0.1, -0.1])
    good, bad = (index(arms, "bbr", "cubic", prior) for prior in (0.3, -0.3))
    assert good > bad
    assert good > index(arms, "cubic", "cubic")
    arms = fed([chance / 10 for chance in (0, 1, -1) * 4])
    assert index(arms, "bbr", "cubic", -0.3) > index(arms, "cubic", "cubic")


def test_less_known_arms_are_worth_a_look() -> None:
    chance = random.Random(5)
    arms: dict[str, Arm] = {}
    tried = []
    for _ in range(200):
        name = max(("cubic", "bbr"), key=lambda one: index(arms, one, "cubic"))
        tried.append(name)
        arms, _ = update(arms, name, seen(chance.gauss(0, 0.2)), 10)
    assert 0.02 <= tried.count("bbr") / len(tried) <= 0.35


def test_the_default_wins_unless_another_is_better_by_more_than_the_handicap() -> None:
    arms = fed([1.0]) | fed([1.0 + HANDICAP / 2], "bbr")
    assert best_known(arms, ("cubic", "bbr"), "cubic") == "cubic"
    arms = fed([1.0]) | fed([1.0 + 2 * HANDICAP], "bbr")
    assert best_known(arms, ("cubic", "bbr"), "cubic") == "bbr"
    assert best_known(arms, ("cubic",), "cubic") == "cubic"
    assert best_known({}, ("cubic", "bbr"), "cubic") == "cubic"


@given(worths)
def test_the_discounted_mean_is_what_it_says(values: list[float]) -> None:
    if len(values) > 3:
        values = values[:3]  # later ones are bounded
    weights = [REMEMBERED ** (len(values) - 1 - n) for n in range(len(values))]
    mean = math.fsum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)
    assert fed(values)["cubic"].mean == pytest.approx(mean, abs=1e-9)
    assert statistics.fmean(weights) <= 1
