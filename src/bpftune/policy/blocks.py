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


@dataclass(frozen=True, slots=True)
class Pace:
    """When a block ends.

    As it is *least_s* old, *lives* times as old as its flows live (so that the other
    arm's flows, which live on into it, are few), and has *enough_flows*. At the latest
    after *longest_s*; then *least_flows* must do, with fewer the block is void. A
    laboratory may go faster.
    """

    least_s: float = 30.0
    lives: float = 10.0
    enough_flows: int = 10
    longest_s: float = 300.0
    least_flows: int = 3


USUAL = Pace()


@dataclass(frozen=True, slots=True)
class Block:
    """A block under *arm*, and the sums over its flows by their size.

    *run* is the number of the run of blocks under the same arm: a flow counts if it
    began in this run. A *trial* is under an arm that is not the best one known.
    *small_bytes* were carried by flows too short to count.
    """

    arm: str
    run: int
    since_s: float
    trial: bool = False
    sums: Mapping[SizeClass, Sums] = field(default_factory=dict)
    small_bytes: int = 0

    def add(self, sums: Mapping[SizeClass, Sums], small_bytes: int = 0) -> Block:
        """Return the block with what came in since the last look."""
        kept = dict(self.sums)
        for size, more in sums.items():
            kept[size] = kept.get(size, Sums()) + more
        return replace(self, sums=kept, small_bytes=self.small_bytes + small_bytes)

    def of(self, size: SizeClass) -> Sums:
        """Return the sums over the flows of one class."""
        return self.sums.get(size, Sums())

    @property
    def flows(self) -> int:
        """How many flows of any size there were."""
        return sum(sums.flows for sums in self.sums.values())

    def is_full(self, size: SizeClass, now_s: float, pace: Pace = USUAL) -> bool:
        """Whether it is long enough to be judged by flows of class *size*."""
        sums = self.of(size)
        age_s = now_s - self.since_s
        if age_s >= pace.longest_s:
            return True
        needed_s = max(pace.least_s, pace.lives * sums.life_s)
        return sums.flows >= pace.enough_flows and age_s >= needed_s

    def is_void(self, size: SizeClass, pace: Pace = USUAL) -> bool:
        """Whether it tells nothing, having had too few flows of class *size*."""
        return self.of(size).flows < pace.least_flows
