"""Is it proved that another arm is better? Runs of it between the default's blocks.

A run of blocks under another arm wins if its first block was better than the
default's before it, and its last one better than the default's after it. If the arm
does not matter, that happens in at most half of the runs, whatever made the learner
begin and end them: it begins runs when the default did badly by chance, so the block
before alone would favour the arm; but it ends them when the arm did badly by chance,
so the block after does not. Flows that live on harm the block after, and only that.
The signs of runs make an e-value, see ``policy.paired``.

Proof is slow, as a learner that has found the better arm rarely leaves it. Acting
does not wait for it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from bpftune.policy.paired import Pairs

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

ALPHA = 0.01


@dataclass(frozen=True, slots=True)
class Excursion:
    """A run under *arm*, judged by blocks of one *kind*; *last* is the last's worth."""

    arm: str
    kind: Hashable
    won: bool
    last: float


@dataclass(frozen=True, slots=True)
class Proof:
    """The runs of each arm that are over, and the one under way.

    *control* is the kind and worth of the block before, if that was the default's.
    """

    pairs: Mapping[str, Pairs] = field(default_factory=dict)
    control: tuple[Hashable, float] | None = None
    excursion: Excursion | None = None

    def of(self, arm: str) -> Pairs:
        """Return how many runs of *arm* there were, and how many it won."""
        return self.pairs.get(arm, Pairs())

    def is_proved(self, arm: str) -> bool:
        """Whether *arm* is better; wrong with probability ``ALPHA`` at most."""
        return self.of(arm).proved(ALPHA)

    def see(
        self, arm: str, *, is_default: bool, kind: Hashable, worth: float | None
    ) -> Proof:
        """Take in a block; *worth* is None if it was void."""
        run = self.excursion
        if worth is None:
            return Proof(self.pairs)
        if is_default:
            pairs = dict(self.pairs)
            if run is not None and run.kind == kind and run.last != worth:
                won = run.won and run.last > worth
                pairs[run.arm] = self.of(run.arm).add(won=won)
            return Proof(pairs, control=(kind, worth))
        if run is not None and (run.arm, run.kind) == (arm, kind):
            return replace(self, excursion=replace(run, last=worth))
        if self.control is None or self.control[0] != kind:
            return Proof(self.pairs)
        won = worth > self.control[1]
        return Proof(self.pairs, excursion=Excursion(arm, kind, won, last=worth))
