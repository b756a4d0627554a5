"""Which runs there are, in which order, and how long that takes: pure."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, NamedTuple

from bench.matrix.cases import CASES, Case
from bench.matrix.oracle import grid
from bench.matrix.tuners import NONE, ORACLE, OURS, TUNERS, Tuner

if TYPE_CHECKING:
    from collections.abc import Sequence

SETUP_S = 2.0
"""What a run takes at most beside its traffic: namespaces, a daemon that starts.

A core matrix of 118 runs took 0.7 s for each, at two processors."""

REPEATS = {"quick": 1, "core": 3, "full": 5}


class Planned(NamedTuple):
    """One run to be: the *repeat* is the seed that is common to a pair."""

    case: Case
    tuner: Tuner
    repeat: int

    @property
    def seconds(self) -> float:
        """How long its traffic runs."""
        return self.case.seconds if self.tuner.learns else self.case.fixed_s

    @property
    def name(self) -> str:
        """What it is called on disk."""
        return f"{self.case.name}-{self.repeat}-{self.tuner.name}"


def cases_of(size: str) -> list[Case]:
    """Return the cases of the ``quick``, the ``core`` or the ``full`` matrix."""
    if size == "full":
        return list(CASES)
    return [
        case for case in CASES if case.is_quick or (size == "core" and case.is_core)
    ]


def tuners_of(size: str) -> list[Tuner]:
    """Return the tuners of the ``quick``, the ``core`` or the ``full`` matrix."""
    return [NONE, OURS] if size == "quick" else list(TUNERS)


def plan(
    cases: Sequence[Case], tuners: Sequence[Tuner], repeats: int, seed: int
) -> list[Planned]:
    """Return the runs in the order of running; *seed* decides it.

    Each repeat goes through all cases, and a case's tuners run one after the other, so
    that what is compared was measured within minutes; in which order is random, so
    that nobody always comes first or after the same one.
    """
    dice = random.Random(seed)  # noqa: S311 - an order, no secret
    runs = []
    for repeat in range(1, repeats + 1):
        for case in dice.sample(cases, len(cases)):
            shuffled = dice.sample(tuners, len(tuners))
            runs += [Planned(case, tuner, repeat) for tuner in shuffled]
    return runs


def duration_s(runs: Sequence[Planned], grids: Sequence[Case]) -> float:
    """Return how long *runs* take, and the oracle's search for *grids* before."""
    searches_s = sum(len(grid(case)) * (case.fixed_s + SETUP_S) for case in grids)
    return searches_s + sum(one.seconds + SETUP_S for one in runs)


def searched(runs: Sequence[Planned]) -> list[Case]:
    """Return the cases that an oracle has to be found for, each once."""
    return list(
        {one.case.name: one.case for one in runs if one.tuner == ORACLE}.values()
    )
