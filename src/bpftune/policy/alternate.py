"""Does the other setting pay? Both in turn, block by block, and pairs compared.

For settings that show in units too short to be measured before and after, such as
whole transfers. Each block of units under the new setting is compared with the
block under the old one before it, unit by unit. Whatever drifts with time helps
the old setting as often as the new, once there are two blocks of each (ABAB; a
switchback experiment, Bojinov, Simchi-Levi and Zhao 2023).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import TYPE_CHECKING

from bpftune.policy.epoch import median
from bpftune.policy.paired import ALPHA, Differences, Pairs

if TYPE_CHECKING:
    from collections.abc import Hashable

CONTROLS = 24
"""Units under the old setting: more than pairs, as each pair is of one kind."""

PAIRS = 8
"""The least block that decides little by itself: 8 of 8 are odds of 50:1."""

LEAST_BLOCKS = 2
MOST_BLOCKS = 4
HOPEFUL = 5 / 8
"""What share must be won to go on: 5 of 8 pairs come by chance in one of three."""

LEAST_GAIN = 0.05
"""In nats; a proof that it gains less is no reason to change anything."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit: what makes it comparable, its *level*, and the log of its cost."""

    kind: Hashable
    level: int
    log_cost: float


class Verdict(Enum):
    """What follows."""

    TRY_NEW = auto()
    TRY_OLD = auto()
    PAID = auto()
    UNPAID = auto()


@dataclass(frozen=True, slots=True)
class Alternation:
    """Two levels in turn; *trying_new* tells which is in force.

    *controls* are those units of the latest block under *old* that have no partner
    yet, *blocks* how many under *new* are complete, *gains* the logs of how much less
    each partner under *new* cost, and *strangers* the units of this block that were
    under neither level, or under the other one. After *most_blocks* without a proof
    it ends.
    """

    old: int
    new: int
    trying_new: bool = False
    blocks: int = 0
    controls: tuple[Unit, ...] = ()
    pairs: Pairs = field(default_factory=Pairs)
    block_pairs: int = 0
    gains: tuple[float, ...] = ()
    strangers: int = 0
    most_blocks: int = MOST_BLOCKS

    @property
    def gain(self) -> float:
        """The median of what was gained, in nats; 0 before the first pair.

        Of two in the middle the lower one.
        """
        return -median(-gain for gain in self.gains) if self.gains else 0.0

    @property
    def least_gain(self) -> float:
        """What the median gain is at least, in nats; minus infinity if unknown."""
        differences = Differences()
        for gain in self.gains:
            differences = differences.add(gain)
        return differences.interval()[0]

    @property
    def on_strangers_only(self) -> bool:
        """Whether units came, but none of them under *new*, which is in force."""
        return self.trying_new and not self.block_pairs and self.strangers >= PAIRS

    @property
    def is_enough(self) -> bool:
        """Whether a block under *old* can be compared with."""
        return not self.trying_new and len(self.controls) >= PAIRS


def see(state: Alternation, unit: Unit) -> tuple[Alternation, Verdict | None]:
    """Take in one unit; return what follows, if a block is complete."""
    if unit.level != (state.new if state.trying_new else state.old):
        return replace(state, strangers=state.strangers + 1), None
    if not state.trying_new:
        state = replace(state, controls=(*state.controls, unit))
        full = len(state.controls) >= CONTROLS
        return (next_block(state), Verdict.TRY_NEW) if full else (state, None)
    partner = next((one for one in state.controls if one.kind == unit.kind), None)
    if partner is None or partner.log_cost == unit.log_cost:
        return state, None
    controls = list(state.controls)
    controls.remove(partner)
    gain = partner.log_cost - unit.log_cost
    state = replace(
        state,
        controls=tuple(controls),
        pairs=state.pairs.add(won=gain > 0),
        block_pairs=state.block_pairs + 1,
        gains=(*state.gains, gain),
    )
    return _judge(state) if state.block_pairs >= PAIRS else (state, None)


def next_block(state: Alternation) -> Alternation:
    """Return the beginning of the next block, under the other level."""
    controls = () if state.trying_new else state.controls
    return replace(
        state,
        trying_new=not state.trying_new,
        controls=controls,
        block_pairs=0,
        strangers=0,
    )


def _judge(state: Alternation) -> tuple[Alternation, Verdict]:
    """Decide after a block under *new*."""
    state = replace(state, blocks=state.blocks + 1)
    pairs = state.pairs
    if Pairs(pairs.pairs - pairs.won, pairs.pairs).proved(ALPHA):
        return state, Verdict.UNPAID
    if state.blocks >= LEAST_BLOCKS:
        if pairs.proved(ALPHA) and state.gain >= LEAST_GAIN:
            return state, Verdict.PAID
        hopeless = pairs.won < HOPEFUL * pairs.pairs or state.gain < LEAST_GAIN / 2
        if hopeless or state.blocks >= state.most_blocks:
            return state, Verdict.UNPAID
    return next_block(state), Verdict.TRY_OLD
