"""Trials of what has no effect: how often are they said to pay?

The path alone limits, but many looks find the buffer in the way, so trials are
made, and each is noise against noise.
"""

from __future__ import annotations

import random
from collections import Counter

import pytest

from bpftune.policy.cohort import Cohorts
from bpftune.policy.epoch import Gathering, gather, slice_seconds
from bpftune.policy.limit import Climb, Kept, Path, Raise, TakenBack, by_age, step
from bpftune.policy.paired import ALPHA
from tests.unit.policy.test_climb import epoch
from tests.unit.policy.test_cohort import live
from tests.unit.policy.world import World

MIB = 1 << 20
TRIALS = 1000
NOISES = (0.05, 0.2, 0.5)  # of the logarithm of a rate, from look to look


EPOCH = epoch()


def outcome(world: World) -> str:
    """Return what the first trial in *world* comes to."""
    state, path = Gathering(), Path()
    period_s = slice_seconds(world.rtt_s * 1e6) / 8
    while world.now_s < 300.0:
        looks = world.looks(period_s)
        if path.climb is not None and world.now_s < path.climb.settle_until_s:
            state = Gathering()
            continue
        state, done = gather(state, looks)
        if done is None:
            continue
        path, verdicts = step(path, done, world.limit, world.now_s, may_climb=True)
        for verdict in verdicts:
            match verdict:
                case Kept(paid=True, proved=True):
                    return "proved"
                case Kept(paid=True):
                    return "paid"
                case Kept() | TakenBack():
                    return "not paid"
                case Raise():
                    world.limit = verdict.level
    return "none"


def outcomes(trials: int, **change: float) -> Counter[str]:
    """Count what trials without effect come to; each climb counts as one."""
    return Counter(
        outcome(
            World(
                rate=5e6,
                rtt_s=0.05,
                limit=4 * MIB,
                false_hits=0.4,
                seed=seed,
                **change,  # type: ignore[arg-type]
            )
        )
        for seed in range(trials)
    )


@pytest.mark.parametrize("noise", NOISES)
def test_what_has_no_effect_is_hardly_ever_said_to_pay(noise: float) -> None:
    counts = outcomes(100, noise=noise)
    assert counts["none"] == 0  # there were trials
    assert counts["paid"] + counts["proved"] <= 0.05 * 100
    assert counts["proved"] <= 0.01 * 100


@pytest.mark.slow
@pytest.mark.parametrize("noise", NOISES)
def test_of_a_thousand_trials_without_effect_few_pay_and_fewer_are_proved(
    noise: float,
) -> None:
    counts = outcomes(TRIALS, noise=noise)
    assert counts["none"] == 0
    assert counts["paid"] + counts["proved"] <= 0.05 * TRIALS
    assert counts["proved"] <= 0.01 * TRIALS


# --- connections that follow each other --------------------------------------


def outcome_by_age(dice: random.Random, noise: float, *, starved: bool) -> str:
    """Return what a raise between connections of the same rates comes to."""
    old, new, born, lives = 1 << 20, 2 << 20, 0, Cohorts()
    path = Path(climb=Climb(new, old, old, EPOCH, 0.0, 1.0))
    for number in range(24):
        limit = old if number < 2 else new
        rate = 100 * dice.lognormvariate(0, noise)
        lives = live(lives, limit, number, rate, born=born, ticks=200)
        born += 500
        gain = lives.gain(new, old)
        if gain is None:
            continue
        proved = lives.is_proved(new, old, ALPHA)
        path, verdicts = by_age(path, EPOCH, gain, 0.0, starved=starved, proved=proved)
        if verdicts:
            match verdicts[0]:
                case Kept(paid=True, proved=True):
                    return "proved"
                case Kept(paid=True):
                    return "paid"
            return "not paid"
    return "none"


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.05, 0.1, 0.2])
@pytest.mark.parametrize("starved", [True, False])
def test_connections_that_get_the_same_are_hardly_ever_said_to_get_more(
    noise: float, starved: bool
) -> None:
    dice = random.Random(3)
    counts = Counter(
        outcome_by_age(dice, noise, starved=starved) for _ in range(TRIALS)
    )
    assert counts["none"] == 0
    assert counts["paid"] + counts["proved"] <= 0.05 * TRIALS
    assert counts["proved"] <= 0.01 * TRIALS
