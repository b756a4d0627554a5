"""Is it proved? Rates with their errors, from a handful of noisy slices.

A rate is a ratio of sums (bytes over busy ticks), taken over a few slices of
time. One stalled or bursty slice must not decide, so the slowest and the
fastest are left out; the error of such a trimmed mean comes from winsorised
deviations (Tukey and McLaughlin 1963; Yuen 1974), that of a ratio from its
residuals (Cochran, Sampling Techniques, 3rd ed., 6.4).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

LEAST_ERROR = 0.005
"""No comparison of two rates is trusted to better than this, in nats: equal
slices come from coarse ticks, not from certainty."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A logarithm of a rate, or a difference of two, with its standard error."""

    value: float
    error: float

    def __sub__(self, other: Estimate) -> Estimate:
        return Estimate(self.value - other.value, math.hypot(self.error, other.error))

    def at_least(self, bar: float) -> bool:
        """Reach *bar*, and be two standard errors away from nothing."""
        return self.value >= max(bar, 2 * self.error)

    def below(self, bar: float) -> bool:
        """Stay below *bar* with two standard errors to spare."""
        return self.value + 2 * self.error < bar

    def near(self, bar: float) -> bool:
        """Lie too close to *bar* to be told from it."""
        return abs(self.value - bar) < 2 * self.error


def log_rate(amounts: Sequence[float], times: Sequence[float]) -> Estimate | None:
    """Return log(sum of amounts / sum of times), trimmed, with its error.

    One amount and one time per slice. With five or more slices the slowest and
    the fastest are left out. None if nothing moved or no time was spent.
    """
    rows = [(a, t) for a, t in zip(amounts, times, strict=True) if t > 0]
    if len(rows) < 2:
        return None
    rows.sort(key=lambda row: row[0] / row[1])
    trim = 1 if len(rows) >= 5 else 0
    kept = rows[trim : len(rows) - trim]
    amount, time = sum(a for a, _ in kept), sum(t for _, t in kept)
    if amount <= 0:
        return None
    rate = amount / time
    # Winsorised: the trimmed slices count as much as their neighbours.
    residuals = [a - rate * t for a, t in kept]
    residuals += [residuals[0], residuals[-1]] * trim
    n, h = len(rows), len(kept)
    squares = sum(r * r for r in residuals) / (n - 1)
    error = math.sqrt(squares * n) / h / (amount / h)
    return Estimate(math.log(rate), max(error, LEAST_ERROR))


def chance_of_separation(before: int, after: int) -> float:
    """Return how likely all of *after* lie above all of *before* by chance.

    If it is all the same which is which, each order is as likely: the extreme of
    the rank test of Mann and Whitney (1947).
    """
    return 1 / math.comb(before + after, after)
