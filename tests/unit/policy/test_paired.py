from __future__ import annotations

import math
import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpftune.policy.paired import MOST_TOLD, Pairs

COUNTS = st.integers(0, 200).flatmap(
    lambda total: st.tuples(st.integers(0, total), st.just(total))
)


def odds_exactly(won: int, total: int) -> Fraction:
    """The product of Krichevsky and Trofimov's predictions over 1/2 each."""
    odds, wins, losses = Fraction(1), 0, 0
    for is_win in [True] * won + [False] * (total - won):
        ahead = wins if is_win else losses
        odds *= 2 * (ahead + Fraction(1, 2)) / (wins + losses + 1)
        wins, losses = wins + is_win, losses + (not is_win)
    return odds


@given(COUNTS)
def test_the_odds_are_the_product_of_predictions(counts: tuple[int, int]) -> None:
    won, total = counts
    exact = odds_exactly(won, total)
    assert math.log(Pairs(won, total).odds) == pytest.approx(
        math.log(exact.numerator) - math.log(exact.denominator), abs=1e-6
    )


@given(st.integers(0, 60))
def test_the_odds_are_a_martingale_when_nothing_matters(total: int) -> None:
    mean = sum(
        math.comb(total, won) / 2**total * Pairs(won, total).odds
        for won in range(total + 1)
    )
    assert mean == pytest.approx(1)


def test_however_often_one_looks_chance_rarely_proves_anything() -> None:
    chance = random.Random(4)
    alarms = 0
    for _ in range(2000):
        pairs = Pairs()
        for _ in range(300):
            pairs = pairs.add(won=chance.random() < 0.5)
            if pairs.proves_gain(0.05) or pairs.proves_harm(0.05):
                alarms += 1
                break
    assert alarms <= 0.05 * 2000


@given(COUNTS)
def test_gain_and_harm_mirror_each_other(counts: tuple[int, int]) -> None:
    won, total = counts
    pairs, mirrored = Pairs(won, total), Pairs(total - won, total)
    assert pairs.proves_gain(0.01) == mirrored.proves_harm(0.01)
    assert not (pairs.proves_gain(0.01) and pairs.proves_harm(0.01))


def test_it_reads_well() -> None:
    assert str(Pairs(16, 16)) == "won 16 of 16 pairs, odds 9,172:1"
    assert str(Pairs(4, 8)) == "won 4 of 8 pairs, odds 0.3:1"
    assert str(Pairs(900, 900)).endswith(f"odds more than {MOST_TOLD:,.0f}:1")
