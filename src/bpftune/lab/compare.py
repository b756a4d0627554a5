"""Two tuners on one scenario, in pairs, so that the machine's moods cancel."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bpftune.lab.run import Result, run_scenario

if TYPE_CHECKING:
    from collections.abc import Callable

    from bpftune.lab.scenario import Scenario


@dataclass(frozen=True)
class Comparison:
    """Pairs of runs: the first tuner's and the second's."""

    scenario: str
    tuners: tuple[str, str]
    pairs: list[tuple[Result, Result]]

    @property
    def ratios(self) -> list[float]:
        """The second's headline over the first's, pair by pair."""
        return [
            second.headline / first.headline if first.headline else math.inf
            for first, second in self.pairs
        ]

    @property
    def ratio(self) -> float:
        """The geometric mean of ``ratios``; 0 if one of them is."""
        if min(self.ratios) <= 0:
            return 0.0
        if math.inf in self.ratios:
            return math.inf
        return statistics.geometric_mean(self.ratios)

    def as_json(self) -> dict[str, Any]:
        """Return one object for machines; an infinite ratio is null."""
        finite = [r if math.isfinite(r) else None for r in (*self.ratios, self.ratio)]
        return {
            "schema": 1,
            "scenario": self.scenario,
            "tuners": list(self.tuners),
            "ratio": finite[-1],
            "ratios": finite[:-1],
            "pairs": [[a.as_json(), b.as_json()] for a, b in self.pairs],
        }


def compare(
    scenario: Scenario,
    tuners: tuple[str, str],
    repeat: int = 1,
    seed: int = 0,
    progress: Callable[[str], Callable[[float, float], None] | None] = lambda _: None,
) -> Comparison:
    """Run both tuners *repeat* times; who goes first alternates.

    Both runs of a pair have the same seed. *progress* is told what begins and
    returns what ``run_scenario`` calls.
    """
    pairs: list[tuple[Result, Result]] = []
    for number in range(repeat):
        order = (0, 1) if number % 2 == 0 else (1, 0)
        results: dict[int, Result] = {}
        for side in order:
            tuner = tuners[side]
            told = progress(f"pair {number + 1} of {repeat}, {tuner}")
            results[side] = run_scenario(scenario, tuner, seed + number, told)
        pairs.append((results[0], results[1]))
    return Comparison(scenario.name, tuners, pairs)
