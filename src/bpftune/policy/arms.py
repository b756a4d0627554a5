"""Which of several arms is best, from blocks that differ by more than chance.

An index policy of the UCB family (Auer, Cesa-Bianchi and Fischer 2002) with the
deviation learned, forgetting by discount (Garivier and Moulines 2011), and Page's
two-sided CUSUM (1954) for a path that turned. All was chosen by simulation, see
``tests/unit/policy/congestion_world.py``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bpftune.policy.reward import Score

HANDICAP = 0.1
"""Nats that an arm other than the default must be better by: a change that gains a
tenth is not worth its explanation, and keeps equal arms on the default."""

EXPLORATION = 0.7
USUAL_DEVIATION = 0.3
"""Of the reward of one block, before any is known: as if two blocks had told so."""

REMEMBERED = 0.98
"""The weight of a block falls to a half within 34."""

CUSUM_ALLOWANCE = 0.5
CUSUM_ALARM = 8.0
CUSUM_FROM = 3
MOST_Z = 4.0
"""No block counts as further off, in deviations, once three are known: one outlier,
such as the block in which the path turned, would hide what follows."""

PRIOR_BLOCKS = 0.5
"""What is known from other destinations counts as half a block: it delays or
hastens the first trial, and is forgotten after it."""


@dataclass(frozen=True, slots=True)
class Arm:
    """What is known of one arm, in one size class.

    *n*, *s* and *ss* are the discounted number, sum and sum of squares of rewards;
    the sums of their parts have the same weights. *blocks* and *flows* are plain
    counts, since the last alarm.
    """

    n: float = 0.0
    s: float = 0.0
    ss: float = 0.0
    log_rates: float = 0.0
    log_srtts: float = 0.0
    losses: float = 0.0
    early_losses: float = 0.0
    up: float = 0.0
    down: float = 0.0
    blocks: int = 0
    flows: int = 0

    @property
    def mean(self) -> float:
        """The discounted mean reward; 0 if nothing is known."""
        return self.s / self.n if self.n else 0.0

    @property
    def log_rate(self) -> float:
        """The mean of ln(Mbit/s)."""
        return self.log_rates / self.n if self.n else 0.0

    @property
    def log_srtt(self) -> float:
        """The mean of ln(ms)."""
        return self.log_srtts / self.n if self.n else 0.0

    @property
    def loss(self) -> float:
        """The mean share of segments sent again that was charged."""
        return self.losses / self.n if self.n else 0.0

    @property
    def early_loss(self) -> float:
        """The mean share of segments sent again in start-up."""
        return self.early_losses / self.n if self.n else 0.0

    @property
    def squares(self) -> float:
        """The sum of squared deviations from the mean."""
        return max(0.0, self.ss - self.s * self.mean)

    def scaled(self, factor: float) -> Arm:
        """Return this with the weight of all that is known times *factor*."""
        return replace(
            self,
            n=factor * self.n,
            s=factor * self.s,
            ss=factor * self.ss,
            log_rates=factor * self.log_rates,
            log_srtts=factor * self.log_srtts,
            losses=factor * self.losses,
            early_losses=factor * self.early_losses,
        )

    def with_block(self, score: Score, flows: int, most: float = math.inf) -> Arm:
        """Return this with one more block, its worth *most* nats off the mean."""
        worth = score.value
        if self.n:
            worth = max(self.mean - most, min(self.mean + most, worth))
        return replace(
            self,
            n=self.n + 1,
            s=self.s + worth,
            ss=self.ss + worth**2,
            log_rates=self.log_rates + score.log_rate,
            log_srtts=self.log_srtts + score.log_srtt,
            losses=self.losses + score.loss,
            early_losses=self.early_losses + score.early_loss,
            blocks=self.blocks + 1,
            flows=self.flows + flows,
        )


def deviation(arms: Mapping[str, Arm]) -> float:
    """Return the standard deviation of one block's reward, pooled over the arms."""
    squares = math.fsum(arm.squares for arm in arms.values())
    freedom = math.fsum(max(0.0, arm.n - 1) for arm in arms.values())
    return math.sqrt((squares + 2 * USUAL_DEVIATION**2) / (freedom + 2))


def error(arms: Mapping[str, Arm], name: str) -> float:
    """Return the standard error of the mean of arm *name*."""
    arm = arms.get(name, Arm())
    return deviation(arms) / math.sqrt(max(arm.n, 1e-3))


def update(
    arms: Mapping[str, Arm], name: str, score: Score, flows: int
) -> tuple[dict[str, Arm], bool]:
    """Take in a block of *flows* under arm *name*; return what is known then.

    And whether the path turned: then nothing but this block is known. What the
    blocks before told is of another path, and a twentieth of it kept the better arm
    out for ten blocks.
    """
    arm, turned, most = arms.get(name, Arm()), False, math.inf
    if arm.n >= CUSUM_FROM:
        spread = deviation(arms) * math.sqrt(1 + 1 / arm.n)
        z = max(-MOST_Z, min(MOST_Z, (score.value - arm.mean) / spread))
        up = max(0.0, arm.up + z - CUSUM_ALLOWANCE)
        down = max(0.0, arm.down - z - CUSUM_ALLOWANCE)
        arm = replace(arm, up=up, down=down)
        turned = max(up, down) > CUSUM_ALARM
        most = math.inf if turned else MOST_Z * spread
    if turned:
        arm, known = Arm(), {}
    else:
        known = {one: other.scaled(REMEMBERED) for one, other in arms.items()}
    known[name] = arm.scaled(REMEMBERED).with_block(score, flows, most)
    return known, turned


def index(
    arms: Mapping[str, Arm],
    name: str,
    default: str,
    prior: float | None = None,
) -> float:
    """Return what arm *name* may be worth at best; the largest is tried next.

    *prior* is what it gained over the default elsewhere, in nats. Without one, an
    arm that was never seen may be worth anything.
    """
    arm = arms.get(name, Arm())
    n, mean, spread = arm.n, arm.mean, deviation(arms)
    if not n:
        if prior is None:
            return math.inf
        # However alike this path's blocks are, nothing of this arm is known here.
        n, spread = PRIOR_BLOCKS, USUAL_DEVIATION
        mean = arms.get(default, Arm()).mean + prior
    total = max(math.e, math.fsum(one.n for one in arms.values()))
    bonus = EXPLORATION * spread * math.sqrt(2 * math.log(total) / n)
    return mean - HANDICAP * (name != default) + bonus


def best_known(arms: Mapping[str, Arm], offered: Iterable[str], default: str) -> str:
    """Return the arm with the largest mean, those never seen left out."""
    best, most = default, -math.inf
    for name in offered:
        arm = arms.get(name)
        if arm is None or not arm.n:
            continue
        worth = arm.mean - HANDICAP * (name != default)
        if worth > most:
            best, most = name, worth
    return best
