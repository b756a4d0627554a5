"""What the learner loses, proves and forgets, over hours of synthetic traffic."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from bpftune.policy.choice import add, begin
from bpftune.policy.next_arm import step
from bpftune.policy.reward import SizeClass, Sums

from .congestion_rivals import (
    SAFE,
    Always,
    Bpftune,
    FlowLearner,
    GreedyBlocks,
    Rival,
    play,
    worth,
)
from .congestion_world import BBR, CUBIC, MB, Path, Policy, Users

HOUR = 3600.0
SHALLOW, DEEP, CLEAN = Path(buffer_bdp=0.25), Path(buffer_bdp=4), Path(buffer_bdp=1)


def users(count: int, *sizes: float, think_s: float = 0.5) -> Users:
    return Users(count, tuple(size * MB for size in sizes), think_s)


WORLDS: dict[str, tuple[Path, list[Users]]] = {
    "shallow": (SHALLOW, [users(4, 10, 20, 40)]),
    "shallow, foreign flows": (
        SHALLOW,
        [users(2, 10, 20, 40), Users(2, (10 * MB, 40 * MB), 0.5, CUBIC)],
    ),
    "deep": (DEEP, [users(4, 10, 40)]),
    "0.1 % loss": (Path(loss=0.001), [users(1, 40)]),
    "1 % loss": (Path(loss=0.01), [users(1, 10)]),
    "8 BDP": (Path(50, 0.020, 8), [users(1, 10)]),
    "few flows": (Path(loss=0.001), [users(1, 40, think_s=30)]),
}

POLICIES: dict[str, Callable[[], Policy]] = {
    "bpftune": Bpftune,
    "greedy blocks": GreedyBlocks,
    "greedy flows": FlowLearner,
    "rival": Rival,
    "cubic": lambda: Always(CUBIC),
    "bbr": lambda: Always(BBR),
}


@pytest.mark.slow
def test_loses_least() -> None:
    """Mean regret in nats, against the better of both algorithms for all."""
    regrets: dict[str, list[float]] = {name: [] for name in POLICIES}
    for path, group in WORLDS.values():
        worths = {
            name: worth(play(path, group, policy(), HOUR / 2))
            for name, policy in POLICIES.items()
        }
        best = max(worths["cubic"], worths["bbr"])
        for name, value in worths.items():
            regrets[name].append(best - value)
    mean = {name: statistics.fmean(values) for name, values in regrets.items()}
    print({name: round(value, 3) for name, value in mean.items()})
    print(dict(zip(WORLDS, (round(v, 3) for v in regrets["bpftune"]), strict=True)))
    assert mean["bpftune"] <= 0.15
    assert max(regrets["bpftune"]) <= 0.5
    others = [value for name, value in mean.items() if name != "bpftune"]
    assert mean["bpftune"] <= min(others) / 2


TURNS = {
    "loss": (Path(loss=0.001, buffer_bdp=1.5), BBR, SHALLOW, CUBIC, users(2, 10, 40)),
    "1 % loss": (Path(loss=0.01, buffer_bdp=2), BBR, SHALLOW, CUBIC, users(4, 10, 40)),
    "deep": (DEEP, BBR, SHALLOW, CUBIC, users(4, 10, 40)),
    "shallow": (SHALLOW, CUBIC, DEEP, BBR, users(4, 10, 40)),
    "shallow, two": (
        SHALLOW,
        CUBIC,
        Path(loss=0.001, buffer_bdp=1.5),
        BBR,
        users(2, 10, 40),
    ),
}


def blocks_to(right: str, us: Bpftune, turned_s: float, until_s: float) -> int:
    """Return how many blocks it took until three in a row were right."""
    arms = [one.ended.block.arm for at_s, one in us.steps if turned_s < at_s <= until_s]
    for number in range(len(arms) - 2):
        if all(arm == right for arm in arms[number : number + 3]):
            return number
    return len(arms)


@pytest.mark.slow
def test_finds_the_better_arm_again_when_the_path_turns_and_turns_back() -> None:
    turn_s = 1500.0
    there, back = [], []
    for first, first_arm, second, second_arm, group in TURNS.values():
        us = Bpftune()
        changes = [(turn_s, second), (2 * turn_s, first)]
        play(first, [group], us, 3 * turn_s, changes=changes)
        there.append(blocks_to(second_arm, us, turn_s, 2 * turn_s))
        back.append(blocks_to(first_arm, us, 2 * turn_s, 3 * turn_s))
    print(sorted(there), sorted(back))
    assert statistics.median(there) <= 4
    assert statistics.median(back) <= 4
    assert max(there + back) <= 6


@dataclass
class Alike:
    """Blocks of arms that differ by name only, without a path behind them."""

    noise: float
    drift: float = 0.0
    seed: int = 1

    def run(self, blocks: int) -> Bpftune:
        chance = random.Random(self.seed)
        us = Bpftune(choice=begin(CUBIC, SAFE, 0.0))
        level = 0.0
        for number in range(1, blocks + 1):
            level = 0.9 * level + chance.gauss(0, self.drift)
            worth_ = math.exp(chance.gauss(0, self.noise) + level)
            sums = {
                SizeClass.LARGE: Sums(
                    10, 10**7, int(10**6 / worth_), 10**7 * 40_000, 40_000, 0, 0, 7000
                )
            }
            us.look(40.0 * number, {us.choice.block.run: sums})
        return us


@pytest.mark.slow
@pytest.mark.parametrize(("noise", "drift"), [(0.2, 0.0), (0.1, 0.1)])
def test_chance_proves_nothing(noise: float, drift: float) -> None:
    """Odds of 100:1 come by chance in one of a hundred at most.

    Where the path drifts by a quarter of a nat, a sentence may be wrong more often.
    """
    runs = [Alike(noise, drift, seed).run(250) for seed in range(100)]
    proved = sum(us.choice.proof.is_proved(BBR) for us in runs)
    said = sum(bool(us.said) for us in runs)
    off = statistics.fmean(us.arms_of().count(BBR) / len(us.steps) for us in runs)
    print(f"proved {proved}, said {said}, off the default {off:.1%}")
    assert proved <= 1
    assert said <= (0.03 if drift else 0.01) * len(runs)
    assert off <= (0.25 if drift else 0.17)


@pytest.mark.slow
def test_nothing_is_said_of_a_clean_path_where_the_arms_are_alike() -> None:
    for seed in range(10):
        us = Bpftune()
        group = users(4, 10, 40) if seed % 2 else users(2, 10, think_s=5)
        play(CLEAN, [group], us, HOUR / 2, seed=seed, same=True)
        assert not us.said
        assert not us.choice.proof.is_proved(BBR)


@pytest.mark.slow
def test_what_is_better_is_proved_in_the_long_run() -> None:
    """Without that, a test that chance proves nothing would pass by itself."""
    chance = random.Random(3)
    choice = begin(CUBIC, SAFE, 0.0)
    for number in range(1, 3000):
        better = 1.5 if choice.block.arm == BBR else 1.0
        busy_us = int(1e6 / better * chance.lognormvariate(0, 0.1))
        sums = Sums(10, 10**7, busy_us, 10**7 * 40_000, 40_000, 0, 0, 7000)
        choice = add(choice, choice.block.run, {SizeClass.LARGE: sums}, 40.0 * number)
        choice, _ = step(choice, 40.0 * number)
        if choice.proof.is_proved(BBR):
            break
    print(f"proved after {number} blocks: {choice.proof.of(BBR)}")
    assert choice.proof.is_proved(BBR)
