"""Is this level of pressure worth a trial? What earlier trials say.

Pressure is the share of looks that found a limit in the way. It is told apart in
a few levels, and each has the count of trials that paid and that did not. A level
is tried while the most that its chance of paying may be (Wilson's upper bound)
reaches ``LEAST_CHANCE``: of an unknown one that is certain, so it is tried. A
level below all that jitter alone brings about is tried only when the one above it
surely pays.

The levels themselves are a scale to count in: where on it to act is learned.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bpftune.outcome import Level

if TYPE_CHECKING:
    from collections.abc import Sequence

EDGES = (0.05, 0.10, 0.20, 0.40, 0.70)
"""Where the levels begin."""
FIRST_TRUSTED = 1
"""The level from which on the unknown is tried. A send queue's own jitter brings
up to a tenth of the looks (measured: of 31 cases above that, 30 were short)."""
KEPT = 0.98  # of each count, per trial: the last 50 or so count
LEAST_CHANCE = 0.1
"""A trial that fails lasts for half a minute or so, one that pays is worth as
much for as long as the path is used: one in ten pays for the other nine."""
SURE_CHANCE = 0.75
Z = 1.645  # one-sided, 95 %
LEAST_TRIALS = 3  # before the gains of earlier ones correct a prediction
MOST_GAIN_NATS = 1.0


def level_of(pressure: float) -> int:
    """Return the number of the level that *pressure* belongs to; -1 if to none."""
    return sum(pressure >= edge for edge in EDGES) - 1


def bounds(level: Level) -> tuple[float, float]:
    """Return between what the chance of paying lies (Wilson 1927)."""
    n = level.trials
    if n <= 0:
        return 0.0, 1.0
    share = level.paid / n
    middle = share + Z * Z / (2 * n)
    width = Z * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
    least = (middle - width) / (1 + Z * Z / n)
    most = (middle + width) / (1 + Z * Z / n)
    return max(0.0, least), min(1.0, most)


def counted(level: Level, gain_nats: float, *, paid: bool) -> Level:
    """Return *level* with one more trial, the old ones worth a little less.

    What a single one gained counts within bounds.
    """
    gain_nats = max(-MOST_GAIN_NATS, min(MOST_GAIN_NATS, gain_nats))
    return Level(
        KEPT * level.paid + paid,
        KEPT * level.unpaid + (not paid),
        KEPT * level.gain_nats + gain_nats,
    )


def faded(level: Level, share: float) -> Level:
    """Return *level* with only *share* of what it counted."""
    return Level(share * level.paid, share * level.unpaid, share * level.gain_nats)


def words(level: Level) -> str:
    """Say how often trials paid, in the numbers that still count."""
    trials = round(level.trials)
    if not trials:
        return "nothing was tried at this level before"
    paid = min(trials, round(level.paid))
    noun = "trial" if trials == 1 else "trials"
    return f"at this level it paid in {paid} of {trials} {noun}"


def most_nats(pressure: float, factor: float) -> float:
    """Return the most that a limit *factor* times as large can gain.

    Who is held back can at most become as much faster as the limit becomes larger,
    and is held back for *pressure* of the time.
    """
    return math.log1p(pressure * (factor - 1))


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is to be expected of raising one tunable for one destination.

    *size* is what paid there before, *size_gain_nats* what it brought.
    """

    levels: Sequence[Level] = ()
    size: int = 0
    size_gain_nats: float = 0.0

    def level(self, pressure: float) -> Level:
        """Return what was counted at the level of *pressure*."""
        number = level_of(pressure)
        return self.levels[number] if 0 <= number < len(self.levels) else Level()

    def is_worth_trying(self, pressure: float) -> bool:
        """Tell whether the odds are good enough for a trial."""
        number = level_of(pressure)
        if number < 0:
            return False
        if number < FIRST_TRUSTED:
            above = self.level(EDGES[number + 1])
            if bounds(above)[0] < SURE_CHANCE:
                return False
        return bounds(self.level(pressure))[1] >= LEAST_CHANCE

    def predicted_nats(self, pressure: float, factor: float) -> float:
        """Return the gain to expect of a limit *factor* times as large.

        The most that is possible, or what earlier trials at this level gained where
        that is less.
        """
        most = most_nats(pressure, factor)
        level = self.level(pressure)
        if level.trials < LEAST_TRIALS:
            return most
        return min(most, max(0.0, level.gain_nats / level.trials))

    def predicted_again_nats(self, pressure: float, factor: float) -> float:
        """Return the gain to expect of the size that paid before."""
        return min(most_nats(pressure, factor), max(0.0, self.size_gain_nats))

    def first_step(self, limit: int) -> int:
        """Return the size to try first: twice *limit*, or at once what paid before."""
        return max(2 * limit, self.size)
