"""What is known of one destination, to choose a congestion control for it.

A plain value: ``add`` takes in what BPF summed up, ``next_arm.step`` decides.
Constants were chosen by simulation, see docs/congestion.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from bpftune.policy.blocks import Block
from bpftune.policy.excursion import Proof
from bpftune.policy.reward import SizeClass, Sums

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bpftune.policy.arms import Arm
    from bpftune.policy.veto import Veto

WORTH_TRIAL = 0.1
"""Share of the bytes in flows of the largest class without which all is the same."""

CARRIED = 0.9
"""The weight, from block to block, of which flows carried the bytes."""

DISTURBED = 0.25
"""The weight of what was learned before a limit of the path became another."""

MIN_RTT_S = 300.0
"""The least round trip is that of the last five to ten minutes."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What is known of one destination.

    *known*: the arms, by size of flows. *carried*: the bytes of late, by size;
    *carried_small* those of flows too short to count.
    *standing* is the arm that was last said to be best. *min_rtts*: the least round
    trip since *min_rtt_s*, and that of the five minutes before, in microseconds.
    """

    default: str
    arms: tuple[str, ...]
    block: Block
    standing: str
    known: Mapping[SizeClass, Mapping[str, Arm]] = field(default_factory=dict)
    carried: Mapping[SizeClass, float] = field(default_factory=dict)
    carried_small: float = 0.0
    vetoes: Mapping[str, Veto] = field(default_factory=dict)
    proof: Proof = field(default_factory=Proof)
    min_rtts: tuple[int, int] = (0, 0)
    min_rtt_s: float = 0.0

    @property
    def acting(self) -> SizeClass:
        """The class of flows that carries most bytes."""
        sizes = {
            size: self.carried.get(size, 0.0) + self.block.of(size).bytes_acked
            for size in SizeClass
        }
        return max(SizeClass, key=lambda size: (sizes[size], size))

    @property
    def is_worth_trial(self) -> bool:
        """Whether enough bytes are in flows for which the arm matters."""
        total = self.carried_small + sum(self.carried.values())
        return self.carried.get(SizeClass.LARGE, 0.0) >= WORTH_TRIAL * max(1.0, total)

    @property
    def needs_watch(self) -> bool:
        """Whether flows are to be told apart before and after their start-up."""
        return len(self.arms) > 1 and (not self.carried or self.is_worth_trial)

    @property
    def min_rtt_us(self) -> int:
        """The least round trip of late, 0 if unknown."""
        return min((rtt for rtt in self.min_rtts if rtt), default=0)

    def arms_of(self, size: SizeClass) -> Mapping[str, Arm]:
        """Return what is known of the arms for flows of one class."""
        return self.known.get(size, {})


def begin(default: str, arms: tuple[str, ...], now_s: float, *, run: int = 1) -> Choice:
    """Return what is known of a destination at first; *default* is one of *arms*.

    *run* is the number of the first run.
    """
    return Choice(default, arms, Block(default, run, now_s), standing=default)


def disturbed(choice: Choice, now_s: float) -> Choice:
    """Begin the block anew, as a buffer's limit was on trial for the same flows.

    What was learned counts for less: rates of before and after differ.
    """
    known = {
        size: {name: arm.scaled(DISTURBED) for name, arm in arms.items()}
        for size, arms in choice.known.items()
    }
    block = choice.block
    block = Block(block.arm, block.run + 1, now_s, block.trial)
    return replace(choice, known=known, block=block, proof=Proof(choice.proof.pairs))


def offer(choice: Choice, default: str, arms: tuple[str, ...], now_s: float) -> Choice:
    """Take in that the kernel offers *arms* now, and the admin's *default*.

    The block goes on unless its arm is gone or was the old default. What is known of
    an arm that vanished is kept, it may come back.
    """
    if (choice.default, choice.arms) == (default, arms):
        return choice
    block, standing, proof = choice.block, choice.standing, choice.proof
    if block.arm not in arms or default != choice.default:
        block = Block(default, block.run + 1, now_s)
    if standing not in arms or default != choice.default:
        standing = default
    if default != choice.default:
        proof = Proof()  # the comparisons were with another one
    return replace(
        choice,
        default=default,
        arms=arms,
        block=block,
        standing=standing,
        proof=proof,
    )


def add(
    choice: Choice,
    run: int,
    sums: Mapping[SizeClass, Sums],
    now_s: float,
    small_bytes: int = 0,
) -> Choice:
    """Take in what was summed up since the last time, of flows begun in *run*.

    Those of an earlier run lived on and are no evidence, but for the least round
    trip. *small_bytes* were carried by flows too short to count.
    """
    rtts = [one.min_rtt_us for one in sums.values() if one.min_rtt_us > 0]
    choice = _see_rtt(choice, min(rtts, default=0), now_s)
    if run != choice.block.run:
        return choice
    return replace(choice, block=choice.block.add(sums, small_bytes))


def _see_rtt(choice: Choice, rtt_us: int, now_s: float) -> Choice:
    present, before = choice.min_rtts
    if now_s - choice.min_rtt_s >= MIN_RTT_S and rtt_us:
        return replace(choice, min_rtts=(rtt_us, present), min_rtt_s=now_s)
    least = min((rtt for rtt in (present, rtt_us) if rtt), default=0)
    return replace(choice, min_rtts=(least, before))
