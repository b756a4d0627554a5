"""Blocks of time: all new flows to one destination use one arm.

Flows that share a path compare badly: one bbr among three cubic flows takes 85 of
100 Mbit/s where the buffer is a quarter of the bandwidth-delay product, and 3 where
it is four times that; yet all-bbr gains nothing in the first case and halves the
delay in the second. So blocks are compared, not flows (a switchback experiment:
Bojinov, Simchi-Levi and Zhao 2023, Design and analysis of switchback experiments).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from bpftune.policy.reward import SizeClass, Sums

if TYPE_CHECKING:
    from collections.abc import Mapping

LEAST_S = 30.0
LIVES = 10
"""A block is ten times as long as a flow, so that the other arm's flows, which live
on into it, are few."""

ENOUGH_FLOWS = 10
LONGEST_S = 300.0
LEAST_FLOWS = 3
"""After ``LONGEST_S`` three flows must do; with fewer the block is void."""


@dataclass(frozen=True, slots=True)
class Block:
    """A block under *arm*, and the sums over its flows by their size.

    *run* is the number of the run of blocks under the same arm: a flow counts if it
    began in this run. A *trial* is under an arm that is not the best one known.
    """

    arm: str
    run: int
    since_s: float
    trial: bool = False
    sums: Mapping[SizeClass, Sums] = field(default_factory=dict)

    def add(self, sums: Mapping[SizeClass, Sums]) -> Block:
        """Return the block with what came in since the last look."""
        kept = dict(self.sums)
        for size, more in sums.items():
            kept[size] = kept.get(size, Sums()) + more
        return replace(self, sums=kept)

    def of(self, size: SizeClass) -> Sums:
        """Return the sums over the flows of one class."""
        return self.sums.get(size, Sums())

    @property
    def flows(self) -> int:
        """How many flows of any size there were."""
        return sum(sums.flows for sums in self.sums.values())

    def is_full(self, size: SizeClass, now_s: float) -> bool:
        """Whether it is long enough to be judged by flows of class *size*."""
        sums = self.of(size)
        age_s = now_s - self.since_s
        if age_s >= LONGEST_S:
            return True
        return sums.flows >= ENOUGH_FLOWS and age_s >= max(LEAST_S, LIVES * sums.life_s)

    def is_void(self, size: SizeClass) -> bool:
        """Whether it tells nothing, having had too few flows of class *size*."""
        return self.of(size).flows < LEAST_FLOWS
