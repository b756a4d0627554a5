"""Which congestion control for one destination? Learned in blocks of time.

    first block: the default's
    a block ends --> what it was worth is learned --> the next arm
    a block that does harm ends early --> the default's turn

The state of a destination is a plain value; ``add`` takes in what BPF summed up,
``step`` decides. Constants were chosen by simulation, see docs/congestion.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from bpftune.policy.arms import HANDICAP, Arm, best_known, deviation, index, update
from bpftune.policy.blocks import USUAL, Block, Pace
from bpftune.policy.excursion import Proof
from bpftune.policy.harm import Harm, harm_of
from bpftune.policy.reward import Score, SizeClass, Sums, score
from bpftune.policy.veto import Veto

if TYPE_CHECKING:
    from collections.abc import Mapping

WORTH_TRIAL = 0.1
"""Share of the bytes in flows of the largest class without which all is the same."""

CARRIED = 0.9
"""The weight, from block to block, of which flows carried the bytes."""

SURE = 3.0
"""Standard errors, of the difference of two single blocks, from which a sentence says
that another arm is best. More blocks in a row make nothing surer: what drifts with
time, and spoils the comparison, spoils all of them."""

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


@dataclass(frozen=True, slots=True)
class Ended:
    """A block is over, and was judged by flows of class *size*.

    *score* is None if it was void. *harm* and *harmed*: why it ended early, and in
    which class that was seen. *gain* over the default's mean, in nats, is what
    other destinations may learn from; None for the default's own, or if void.
    """

    block: Block
    size: SizeClass
    score: Score | None
    harm: Harm | None = None
    harmed: SizeClass | None = None
    gain: float | None = None


@dataclass(frozen=True, slots=True)
class Next:
    """What comes next: *arm*, from now on under the number *run*.

    *is_trial*: it is not the best one known, and must not run beside another trial
    of the same device. *is_settled*: the choice's ``standing`` is another.
    """

    arm: str
    run: int
    is_trial: bool
    ended: Ended
    is_settled: bool = False


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


def step(
    choice: Choice,
    now_s: float,
    *,
    may_try: bool = True,
    prior: Mapping[str, float] | None = None,
    pace: Pace = USUAL,
) -> tuple[Choice, Next | None]:
    """Decide, if the block is over.

    *may_try* is False while another destination of the same device is on trial.
    *prior* tells what arms gained elsewhere, in nats over the default.
    """
    size = choice.acting
    harm, harmed = harm_of(choice.block, choice.default, choice.known, size)
    if harm is None and not choice.block.is_full(size, now_s, pace):
        return choice, None
    choice, ended = _learn(choice, size, now_s, pace)
    ended = replace(ended, harm=harm, harmed=harmed)
    choice = _let_wait(choice, ended, now_s)
    standing = _standing(choice, ended)
    is_settled = standing != choice.standing
    choice = _freshen(replace(choice, standing=standing), now_s)
    arm, is_trial = _next(choice, ended, now_s, may_try=may_try, prior=prior or {})
    run = choice.block.run + (arm != choice.block.arm)
    choice = replace(choice, block=Block(arm, run, now_s, is_trial))
    return choice, Next(arm, run, is_trial, ended, is_settled)


def _learn(
    choice: Choice, size: SizeClass, now_s: float, pace: Pace
) -> tuple[Choice, Ended]:
    """Take in the block that ended, class by class."""
    block, known, vetoes = choice.block, dict(choice.known), choice.vetoes
    acting: Score | None = None
    gain: float | None = None
    for one, sums in block.sums.items():
        default = choice.arms_of(one).get(choice.default)
        seen = score(sums, sums.early_loss if default is None else default.early_loss)
        if seen is None or block.is_void(one, pace):
            continue
        known[one], turned = update(choice.arms_of(one), block.arm, seen, sums.flows)
        if one != size:
            continue
        acting = seen
        if turned:
            vetoes = {name: veto.lifted(now_s) for name, veto in vetoes.items()}
        if block.arm != choice.default and default is not None:
            gain = seen.value - default.mean
    proof = choice.proof.see(
        block.arm,
        is_default=block.arm == choice.default,
        kind=size,
        worth=None if acting is None else acting.value,
    )
    carried = {
        one: CARRIED * choice.carried.get(one, 0.0) + block.of(one).bytes_acked
        for one in SizeClass
    }
    choice = replace(
        choice,
        known=known,
        carried=carried,
        carried_small=CARRIED * choice.carried_small + block.small_bytes,
        vetoes=vetoes,
        proof=proof,
    )
    return choice, Ended(block, size, acting, gain=gain)


def _let_wait(choice: Choice, ended: Ended, now_s: float) -> Choice:
    """Let an arm wait that did harm, or of which a trial told nothing."""
    name = ended.block.arm
    if name == choice.default:
        return choice
    veto = choice.vetoes.get(name, Veto())
    if ended.harm is not None or (ended.score is None and ended.block.trial):
        veto = veto.ended_early(now_s)
    elif ended.score is not None:
        veto = Veto()
    return replace(choice, vetoes={**choice.vetoes, name: veto})


def _freshen(choice: Choice, now_s: float) -> Choice:
    """Forget what is known of the arms whose wait is over."""
    over = {name for name, veto in choice.vetoes.items() if veto.is_over(now_s)} - {
        choice.default
    }
    if not over:
        return choice
    known = {
        size: {name: arm for name, arm in arms.items() if name not in over}
        for size, arms in choice.known.items()
    }
    vetoes = {
        name: replace(veto, waits=False) if name in over else veto
        for name, veto in choice.vetoes.items()
    }
    return replace(choice, known=known, vetoes=vetoes)


def _next(
    choice: Choice,
    ended: Ended,
    now_s: float,
    *,
    may_try: bool,
    prior: Mapping[str, float],
) -> tuple[str, bool]:
    """Return the next arm, and whether that is a trial."""
    default = choice.default
    known = choice.arms_of(choice.acting)
    if ended.harm is not None or not choice.is_worth_trial or default not in known:
        return default, False
    usable = [
        name
        for name in choice.arms
        if name == default or not choice.vetoes.get(name, Veto()).forbids(now_s)
    ]
    best = best_known(known, usable, default)
    if ended.score is None or not may_try:
        return best, False
    # The first of equals: the default is put before the others.
    usable.sort(key=lambda name: name != default)
    arm = max(usable, key=lambda name: index(known, name, default, prior.get(name)))
    return arm, arm != best


def _standing(choice: Choice, ended: Ended) -> str:
    """Return which arm may be said to be best: another only if that is sure."""
    standing, default = choice.standing, choice.default
    if ended.harm is not None and ended.block.arm == standing:
        return default
    known = choice.arms_of(ended.size)
    if standing not in known:
        return standing
    best = best_known(known, choice.arms, default)
    difference = known[best].mean - known[standing].mean if best in known else 0.0
    doubt = math.sqrt(2) * deviation(known)
    sure = difference > max(HANDICAP, SURE * doubt)
    return best if best != standing and sure else standing
