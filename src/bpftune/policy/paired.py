"""Is a difference proved? Signs of pairs, at any number of looks.

Each pair is one unit without and one with the change, and one of the two wins.
Of *won* in *pairs*,

    E = Gamma(won + 1/2) Gamma(pairs - won + 1/2) 2^pairs / (pi Gamma(pairs + 1))

is the odds against pure chance: the likelihood of the signs under all chances of
winning, weighted by Jeffreys' prior, over that under one half. Under pure chance
it is a martingale that begins at 1, so it ever reaches 1/alpha with probability
alpha at most (Ville 1939; Robbins 1970; Ramdas et al., Game-theoretic statistics
and safe anytime-valid inference, 2023). Nothing is assumed of the distribution,
and looking again costs nothing. If chance favours the other side, it only gets
harder to prove this one.

The size of the difference comes from the same test: a shift is believed as long
as the pairs, less that shift, are not proved to have a winner. That is a
confidence sequence for the median (Darling and Robbins, Confidence sequences for
mean, variance, and median, 1967).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

ALPHA = 0.01
STEP = 0.01
"""Sizes are told to a hundredth of a nat, always to the smaller side."""
MOST_STEPS = 300
"""Differences beyond e^3 count as that: a 20-fold gain needs no finer measure."""
MOST_ODDS = 1_000_000


def log_odds(won: int, pairs: int) -> float:
    """Return the logarithm of E, the odds against pure chance."""
    return (
        math.lgamma(won + 0.5)
        + math.lgamma(pairs - won + 0.5)
        + pairs * math.log(2)
        - math.log(math.pi)
        - math.lgamma(pairs + 1)
    )


@dataclass(frozen=True, slots=True)
class Pairs:
    """How many pairs there were, and how many of them the change won."""

    won: int = 0
    pairs: int = 0

    def add(self, *, won: bool) -> Pairs:
        """Count one more pair. Two that are equal are no pair."""
        return Pairs(self.won + won, self.pairs + 1)

    @property
    def odds(self) -> float:
        """The odds against pure chance, whoever wins."""
        return math.exp(min(log_odds(self.won, self.pairs), 700.0))

    def proved(self, alpha: float = ALPHA) -> bool:
        """Tell whether the change is proved to win more than it loses."""
        is_ahead = 2 * self.won > self.pairs
        return is_ahead and log_odds(self.won, self.pairs) >= -math.log(alpha)

    def words(self) -> str:
        """Say it: ``won 83 of 120 pairs, odds 617:1``."""
        odds = self.odds
        if odds < 1:
            return f"won {self.won} of {self.pairs} pairs, which proves nothing"
        most = f"over {MOST_ODDS}" if odds > MOST_ODDS else f"{odds:.0f}"
        return f"won {self.won} of {self.pairs} pairs, odds {most}:1"


@dataclass(frozen=True, slots=True)
class Differences:
    """Paired differences of logarithms, in bins of ``STEP``; bounded in size.

    *bins* counts them by the lower edge, in steps.
    """

    bins: Mapping[int, int] = field(default_factory=dict)

    def add(self, nats: float) -> Differences:
        """Take in one difference: with the change less without."""
        steps = max(-MOST_STEPS, min(MOST_STEPS, math.floor(nats / STEP)))
        return Differences({**self.bins, steps: self.bins.get(steps, 0) + 1})

    @property
    def pairs(self) -> int:
        """How many there are."""
        return sum(self.bins.values())

    def interval(self, alpha: float = ALPHA) -> tuple[float, float]:
        """Return what the median difference lies between, in nats.

        At all looks together it errs with probability *alpha* at most; infinite
        where too little is known. The lower end is what may be quoted: the
        estimate itself flatters whoever was chosen for it.
        """
        pairs, above = self.pairs, 0
        low, high = -math.inf, math.inf
        # Above an edge lie at least the counts of the bins from that edge on.
        for steps in sorted(self.bins, reverse=True):
            if not Pairs(pairs - above, pairs).proved(alpha):
                break
            high = (steps + 1) * STEP
            above += self.bins[steps]
        above = pairs
        for steps in sorted(self.bins):
            if not Pairs(above, pairs).proved(alpha):
                break
            low = steps * STEP
            above -= self.bins[steps]
        # The outermost bins have no outer edge.
        return (
            low if low > -MOST_STEPS * STEP else -math.inf,
            high if high <= MOST_STEPS * STEP else math.inf,
        )
