"""Blocks in turn, in worlds where the truth is known."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from bpftune.policy.alternate import (
    CONTROLS,
    LEAST_BLOCKS,
    MOST_BLOCKS,
    PAIRS,
    Alternation,
    Unit,
    Verdict,
    see,
)

OLD, NEW = 16, 128
ENDS = {Verdict.PAID, Verdict.UNPAID}


@dataclass
class Truth:
    """Units that come one after the other; *gain* in nats is what NEW saves."""

    gain: float = 0.0
    deviation: float = 0.1
    drift: float = 0.0  # of the log of the cost, per unit
    kinds: int = 1
    seed: int = 1

    def units(self) -> Iterator[tuple[object, float]]:
        chance = random.Random(self.seed)
        number = 0
        while True:
            kind = chance.randrange(self.kinds)
            cost = kind + number * self.drift + chance.gauss(0, self.deviation)
            yield kind, cost
            number += 1


def run(truth: Truth) -> tuple[Verdict, Alternation, int]:
    """Return how it ends, and after how many switches."""
    state = Alternation(OLD, NEW)
    switches = 0
    for kind, cost in truth.units():
        level = NEW if state.trying_new else OLD
        saved = truth.gain if state.trying_new else 0.0
        state, verdict = see(state, Unit(kind, level, cost - saved))
        if verdict in ENDS:
            return verdict, state, switches
        switches += verdict is not None
    raise AssertionError("units never end")


def test_a_clear_gain_is_paid_after_two_blocks_of_each() -> None:
    verdict, state, switches = run(Truth(gain=0.3))
    assert verdict is Verdict.PAID
    assert switches == 3
    assert state.pairs.won == state.pairs.pairs == LEAST_BLOCKS * PAIRS
    assert state.gain == pytest.approx(0.3, abs=0.1)


def test_a_gain_too_small_to_matter_is_not_paid_however_well_proved() -> None:
    verdict, state, _ = run(Truth(gain=0.02, deviation=0.001))
    assert verdict is Verdict.UNPAID
    assert state.pairs.won == state.pairs.pairs


def test_harm_ends_it() -> None:
    verdict, state, _ = run(Truth(gain=-0.5))
    assert verdict is Verdict.UNPAID
    assert state.pairs.won == 0
    assert state.blocks <= LEAST_BLOCKS


@pytest.mark.parametrize("drift", [0.0, 0.001, -0.001])
@pytest.mark.parametrize("kinds", [1, 3])
def test_no_effect_is_rarely_paid_even_as_things_drift(
    drift: float, kinds: int
) -> None:
    paid = switches = 0
    for seed in range(400):
        verdict, _, made = run(Truth(drift=drift, kinds=kinds, seed=seed))
        paid += verdict is Verdict.PAID
        switches = max(switches, made)
    assert paid <= 0.01 * 400
    assert switches <= 2 * MOST_BLOCKS


def test_only_units_of_one_kind_are_compared() -> None:
    state = Alternation(OLD, NEW)
    for _ in range(CONTROLS):
        state, verdict = see(state, Unit("small", OLD, 1.0))
    assert verdict is Verdict.TRY_NEW
    for _ in range(100):
        state, verdict = see(state, Unit("large", NEW, 0.5))
        assert verdict is None
    assert state.pairs.pairs == 0


def test_what_began_under_the_other_level_does_not_count() -> None:
    state = Alternation(OLD, NEW, trying_new=True, controls=(Unit(0, OLD, 1.0),) * 24)
    for _ in range(PAIRS):
        state, verdict = see(state, Unit(0, OLD, 0.5))
        assert verdict is None
    assert state.on_strangers_only
    state, _ = see(state, Unit(0, NEW, 0.5))
    assert state.pairs.pairs == 1
    assert not state.on_strangers_only


def test_a_tie_is_no_pair() -> None:
    state = Alternation(OLD, NEW, trying_new=True, controls=(Unit(0, OLD, 1.0),) * 24)
    state, _ = see(state, Unit(0, NEW, 1.0))
    assert state.pairs.pairs == 0
