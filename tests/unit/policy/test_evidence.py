from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpftune.policy.evidence import (
    LEAST_ERROR,
    Estimate,
    chance_of_separation,
    log_rate,
)

AMOUNTS = st.lists(st.floats(1, 1e12), min_size=5, max_size=5)


def test_the_rate_of_equal_slices_is_exact() -> None:
    rate = log_rate([10.0] * 5, [2.0] * 5)
    assert rate is not None
    assert rate.value == pytest.approx(math.log(5))
    assert rate.error == LEAST_ERROR


def test_one_stalled_and_one_bursty_slice_do_not_count() -> None:
    rate = log_rate([100, 100, 100, 0.001, 1e6], [1.0] * 5)
    assert rate is not None
    assert rate.value == pytest.approx(math.log(100))


def test_no_bytes_or_no_time_give_no_rate() -> None:
    assert log_rate([0, 0, 0, 0, 0], [1.0] * 5) is None
    assert log_rate([1.0] * 5, [0.0] * 5) is None
    assert log_rate([], []) is None


@given(AMOUNTS, st.floats(0.001, 1000))
def test_the_unit_of_amounts_shifts_the_rate_and_leaves_its_error(
    amounts: list[float], scale: float
) -> None:
    times = [1.0] * 5
    one, other = log_rate(amounts, times), log_rate([a * scale for a in amounts], times)
    assert one is not None
    assert other is not None
    assert other.value - one.value == pytest.approx(math.log(scale), abs=1e-6)
    assert other.error == pytest.approx(one.error, rel=1e-6, abs=1e-9)


@given(AMOUNTS)
def test_the_rate_lies_between_the_slices(amounts: list[float]) -> None:
    rate = log_rate(amounts, [1.0] * 5)
    assert rate is not None
    least, most = math.log(min(amounts)), math.log(max(amounts))
    assert least - 1e-9 <= rate.value <= most + 1e-9


def test_the_error_is_that_of_repeated_experiments() -> None:
    dice = random.Random(7)
    rates = [
        log_rate([dice.lognormvariate(3, 0.2) for _ in range(5)], [1.0] * 5)
        for _ in range(4000)
    ]
    values = [rate.value for rate in rates if rate]
    mean = sum(values) / len(values)
    spread = math.sqrt(sum((v - mean) ** 2 for v in values) / len(values))
    claimed = math.sqrt(sum(r.error**2 for r in rates if r) / len(values))
    assert 0.8 < claimed / spread < 1.25


def test_the_words_of_an_estimate() -> None:
    sure, vague = Estimate(0.3, 0.02), Estimate(0.06, 0.05)
    assert sure.at_least(0.05)
    assert not sure.near(0.05)
    assert not sure.below(0.05)
    assert vague.near(0.05)
    assert not vague.at_least(0.05)
    assert Estimate(0.0, 0.01).below(0.05)
    assert (sure - vague).error == pytest.approx(math.hypot(0.02, 0.05))


def test_five_and_five_are_seldom_all_in_order_by_chance() -> None:
    assert chance_of_separation(5, 5) == pytest.approx(1 / 252)
    dice, separated = random.Random(9), 0
    for _ in range(50_000):
        before, after = ([dice.random() for _ in range(5)] for _ in range(2))
        separated += min(after) > max(before)
    assert separated / 50_000 == pytest.approx(1 / 252, rel=0.2)
