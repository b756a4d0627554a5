from __future__ import annotations

import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpftune.policy.paired import MOST_STEPS, STEP, Differences, Pairs, log_odds

DIFFERENCES = st.lists(st.floats(-5, 5), max_size=80)


def test_the_odds_are_those_of_the_formula() -> None:
    won, pairs = 83, 120
    exact = (
        math.gamma(won + 0.5)
        * math.gamma(pairs - won + 0.5)
        * 2.0**pairs
        / (math.pi * math.gamma(pairs + 1))
    )
    assert math.exp(log_odds(won, pairs)) == pytest.approx(exact, rel=1e-9)
    assert Pairs(won, pairs).odds == pytest.approx(exact, rel=1e-9)
    assert Pairs().odds == pytest.approx(1.0)


@given(st.integers(0, 400), st.data())
def test_the_odds_are_a_fair_game_against_chance(
    pairs: int, data: st.DataObject
) -> None:
    """What a coin is expected to make of them is what they were."""
    won = data.draw(st.integers(0, pairs))
    now = Pairs(won, pairs)
    logs = [log_odds(won + more, pairs + 1) - log_odds(won, pairs) for more in (0, 1)]
    assert statistics.fmean(map(math.exp, logs)) == pytest.approx(1.0)
    assert now.add(won=True) == Pairs(won + 1, pairs + 1)
    assert now.add(won=False) == Pairs(won, pairs + 1)


def test_seven_pairs_are_the_least_that_reach_twenty_to_one() -> None:
    assert Pairs(6, 6).odds < 20 < Pairs(7, 7).odds
    assert Pairs(7, 7).proved(0.05)
    assert not Pairs(0, 7).proved(0.05)  # it is proved to lose


def test_what_is_said_of_pairs() -> None:
    assert Pairs(83, 120).words() == "won 83 of 120 pairs, odds 617:1"
    assert Pairs(6, 10).words() == "won 6 of 10 pairs, which proves nothing"
    assert Pairs(1000, 1000).words() == "won 1000 of 1000 pairs, odds over 1000000:1"


def alarms_at(chance: float, alpha: float, runs: int, pairs: int) -> float:
    """Share of runs that are proved at any of the looks after each pair."""
    dice, alarms = random.Random(5), 0
    bars = [
        next(
            (won for won in range(n // 2, n + 1) if Pairs(won, n).proved(alpha)), n + 1
        )
        for n in range(pairs + 1)
    ]
    for _ in range(runs):
        won = 0
        for n in range(1, pairs + 1):
            won += dice.random() < chance
            if won >= bars[n]:
                alarms += 1
                break
    return alarms / runs


@pytest.mark.parametrize("alpha", [0.05, 0.01])
@pytest.mark.parametrize("chance", [0.5, 0.45])
def test_looking_after_each_pair_raises_no_more_false_alarms_than_promised(
    chance: float, alpha: float
) -> None:
    assert alarms_at(chance, alpha, runs=3000, pairs=400) <= alpha


@pytest.mark.slow
@pytest.mark.parametrize(
    ("gain", "pairs"), [(1.4, 45), (1.2, 180), (1.1, 760)], ids=["40%", "20%", "10%"]
)
def test_as_many_pairs_prove_a_gain_as_were_foretold(gain: float, pairs: int) -> None:
    """At a deviation of 0.5 of the log of the ratio of two, and alpha 1 %."""
    dice, took = random.Random(11), []
    for _ in range(400):
        state = Pairs()
        while not state.proved(0.01):
            state = state.add(won=dice.gauss(math.log(gain), 0.5) > 0)
        took.append(state.pairs)
    assert statistics.fmean(took) == pytest.approx(pairs, rel=0.2)


# --- how much ----------------------------------------------------------------


def differences(dice: random.Random, median: float, count: int) -> Differences:
    state = Differences()
    for _ in range(count):
        state = state.add(median + dice.gauss(0, 0.5))
    return state


def test_nothing_is_known_of_the_size_before_enough_pairs() -> None:
    assert Differences().interval() == (-math.inf, math.inf)
    low, high = differences(random.Random(1), 0.3, 5).interval()
    assert (low, high) == (-math.inf, math.inf)


def test_the_interval_closes_in_on_the_median() -> None:
    dice = random.Random(2)
    low, high = differences(dice, 0.3, 500).interval(0.05)
    assert 0.1 < low < 0.3 < high < 0.5


def test_the_true_median_is_hardly_ever_left_at_any_look() -> None:
    dice, left, alpha, runs = random.Random(3), 0, 0.1, 200
    for _ in range(runs):
        state = Differences()
        for _ in range(120):
            state = state.add(0.2 + dice.choice([-1, 1]) * dice.paretovariate(0.7))
            low, high = state.interval(alpha)
            if not low <= 0.2 <= high:
                left += 1
                break
    assert left / runs <= alpha


@given(DIFFERENCES)
def test_sizes_agree_with_signs_and_take_bounded_room(nats: list[float]) -> None:
    state, signs = Differences(), Pairs()
    for one in nats:
        state = state.add(one)
        signs = signs.add(won=one >= 0)
    low, high = state.interval()
    assert low <= high
    assert state.pairs == len(nats)
    assert len(state.bins) <= 2 * MOST_STEPS + 1
    # A gain that its signs prove is one whose size is told to be above zero.
    assert (low >= 0) == signs.proved()


@given(DIFFERENCES, st.integers(-50, 50))
def test_a_gain_that_all_have_in_common_moves_the_interval_by_as_much(
    nats: list[float], steps: int
) -> None:
    inside = [one for one in nats if abs(one) < 2]
    here, there = Differences(), Differences()
    for one in inside:
        bin_ = math.floor(one / STEP)
        here = here.add((bin_ + 0.5) * STEP)
        there = there.add((bin_ + steps + 0.5) * STEP)
    for mine, other in zip(here.interval(), there.interval(), strict=True):
        assert other == pytest.approx(mine + steps * STEP) or mine == other
