"""Which congestion control comes next for one destination? Decided in blocks of time.

    first block: the default's
    a block ends --> what it was worth is learned --> the next arm
    a block that does harm ends early --> the default's turn

Constants were chosen by simulation, see docs/congestion.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bpftune.policy.arms import HANDICAP, best_known, deviation, index, update
from bpftune.policy.blocks import USUAL, Block, Pace
from bpftune.policy.choice import CARRIED, Choice
from bpftune.policy.harm import Harm, harm_of
from bpftune.policy.reward import Score, SizeClass, score
from bpftune.policy.veto import Veto

if TYPE_CHECKING:
    from collections.abc import Mapping

SURE = 3.0
"""Standard errors, of the difference of two single blocks, from which a sentence says
that another arm is best. More blocks in a row make nothing surer: what drifts with
time, and spoils the comparison, spoils all of them."""


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
    choice = _freshen(_let_wait(choice, ended, now_s), now_s)
    standing = _standing(choice, ended, now_s)
    is_settled = standing != choice.standing
    choice = replace(choice, standing=standing)
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
    if ended.harm is not None and not ended.block.trial:
        veto = veto.turned(now_s)
    elif ended.harm is not None or (ended.score is None and ended.block.trial):
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
    usable = _usable(choice, now_s)
    best = best_known(known, usable, default)
    if ended.score is None or not may_try:
        return best, False
    # The first of equals: the default is put before the others.
    usable.sort(key=lambda name: name != default)
    arm = max(usable, key=lambda name: index(known, name, default, prior.get(name)))
    return arm, arm != best


def _usable(choice: Choice, now_s: float) -> list[str]:
    """Return the arms that need not wait."""
    return [
        name
        for name in choice.arms
        if name == choice.default or not choice.vetoes.get(name, Veto()).forbids(now_s)
    ]


def _standing(choice: Choice, ended: Ended, now_s: float) -> str:
    """Return which arm may be said to be best: another only if that is sure."""
    standing, default = choice.standing, choice.default
    if ended.harm is not None and ended.block.arm == standing:
        return default
    known = choice.arms_of(ended.size)
    if standing not in known:
        return standing
    best = best_known(known, _usable(choice, now_s), default)
    difference = known[best].mean - known[standing].mean if best in known else 0.0
    doubt = math.sqrt(2) * deviation(known)
    sure = difference > max(HANDICAP, SURE * doubt)
    return best if best != standing and sure else standing
