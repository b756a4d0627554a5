"""What arms gained for other destinations is a hint, never evidence.

The prefixes above a destination (its /16 or /32, and all) hold the votes of those
below. A vote is what one block off the default gained, bounded, so that an absurd
claim counts no more than a plain one. What it does is bounded too: a bad name delays
an arm's first trial by some blocks, a good one puts it first. Then the destination's
own blocks decide. So whoever sends from ten thousand prefixes can tire an honest one,
but not deceive it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bpftune.model import Prefix

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bpftune.policy.reward import SizeClass

MOST_VOTE = 0.3
"""Nats: so that an arm of the worst name is tried after a handful of blocks."""

LEAST_VOTES = 4
REMEMBERED = 0.99

_WIDER = {24: 16, 48: 32}


@dataclass(frozen=True, slots=True)
class Votes:
    """The discounted number and sum of votes, for each class of flows and arm."""

    counts: Mapping[tuple[SizeClass, str], tuple[float, float]] = field(
        default_factory=dict
    )

    def vote(self, size: SizeClass, arm: str, gain: float) -> Votes:
        """Take in that *arm* gained *gain* nats over the default."""
        n, s = self.counts.get((size, arm), (0.0, 0.0))
        bounded = max(-MOST_VOTE, min(MOST_VOTE, gain))
        one = (REMEMBERED * n + 1, REMEMBERED * s + bounded)
        return Votes({**self.counts, (size, arm): one})

    def gain(self, size: SizeClass, arm: str) -> float | None:
        """Return the mean vote for *arm*, None if there are too few."""
        n, s = self.counts.get((size, arm), (0.0, 0.0))
        return s / n if n >= LEAST_VOTES * REMEMBERED**LEAST_VOTES else None


def above(prefix: Prefix) -> tuple[Prefix, Prefix]:
    """Return the prefixes above: the /16 of IPv4 or /32 of IPv6, and all."""
    length = _WIDER[prefix.length]
    kept = prefix.address[: length // 8]
    wide = Prefix(prefix.family, length, kept.ljust(16, b"\0"))
    return wide, Prefix(prefix.family, 0, bytes(16))


def prior(
    levels: Sequence[Votes], size: SizeClass, arms: Sequence[str]
) -> dict[str, float]:
    """Return what each arm gained elsewhere, as the nearest of *levels* knows it."""
    known: dict[str, float] = {}
    for arm in arms:
        for votes in levels:
            gain = votes.gain(size, arm)
            if gain is not None:
                known[arm] = gain
                break
    return known
