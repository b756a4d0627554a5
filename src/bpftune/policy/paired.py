"""Is it proved? Pairs that were won, whatever the numbers behind them look like.

Each unit under the old setting is paired with the next one under the new. If the
setting does not matter, each pair is won with probability 1/2. The likelihood ratio
of the mixture of all other probabilities (Jeffreys' prior, Beta(1/2, 1/2); Krichevsky
and Trofimov 1981) against 1/2 is an e-value: by Ville's inequality (1939) it reaches
1/alpha with probability alpha at most, however often one looks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

MOST_TOLD = 1e6
"""Odds beyond that are of no use to anybody."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """How many pairs there were, and how many of them the new setting won."""

    won: int = 0
    total: int = 0

    def add(self, *, won: bool) -> Pairs:
        """Return this with one more pair; a tie is none."""
        return Pairs(self.won + won, self.total + 1)

    @property
    def odds(self) -> float:
        """How many times likelier than by chance: the e-value, two-sided.

        ``Gamma(s + 1/2) Gamma(n - s + 1/2) 2^n / (pi Gamma(n + 1))`` with s of n won.
        """
        log = (
            math.lgamma(self.won + 0.5)
            + math.lgamma(self.total - self.won + 0.5)
            + self.total * math.log(2)
            - math.log(math.pi)
            - math.lgamma(self.total + 1)
        )
        return math.exp(min(log, 700.0))

    def proves_gain(self, alpha: float) -> bool:
        """Tell if the new setting wins; wrong with probability *alpha* at most."""
        return 2 * self.won > self.total and self.odds >= 1 / alpha

    def proves_harm(self, alpha: float) -> bool:
        """Tell if the new setting loses; wrong with probability *alpha* at most."""
        return 2 * self.won < self.total and self.odds >= 1 / alpha

    def __str__(self) -> str:
        odds = min(self.odds, MOST_TOLD)
        more = "more than " if self.odds > MOST_TOLD else ""
        told = f"{odds:,.0f}" if odds >= 10 else f"{odds:.1f}"
        return f"won {self.won} of {self.total} pairs, odds {more}{told}:1"
