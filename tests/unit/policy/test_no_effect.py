"""Trials of what has no effect: how often are they said to pay?

The path alone limits, but many looks find the buffer in the way, so trials are
made, and each is noise against noise.
"""

from __future__ import annotations

from collections import Counter

import pytest

from bpftune.policy.epoch import Gathering, gather, slice_seconds
from bpftune.policy.limit import Kept, Path, Raise, TakenBack, step
from tests.unit.policy.world import World

MIB = 1 << 20
TRIALS = 1000
NOISES = (0.05, 0.2, 0.5)  # of the logarithm of a rate, from look to look


def outcome(world: World) -> str:
    """Return what the first trial in *world* comes to."""
    state, path = Gathering(), Path()
    period_s = slice_seconds(world.rtt_s * 1e6) / 8
    while world.now_s < 300.0:
        looks = world.looks(period_s)
        if path.climb is not None and world.now_s < path.climb.settle_until_s:
            state = Gathering()
            continue
        state, epoch = gather(state, looks)
        if epoch is None:
            continue
        path, verdicts = step(path, epoch, world.limit, world.now_s, may_climb=True)
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
