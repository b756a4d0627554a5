"""What became of a choice, in words for people and numbers for machines."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from bpftune.policy.arms import Arm, error
from bpftune.policy.harm import Harm
from bpftune.policy.reward import Score, score
from bpftune.text import seconds_words

if TYPE_CHECKING:
    from bpftune.policy.choice import Choice
    from bpftune.policy.next_arm import Next
    from bpftune.policy.reward import SizeClass

SAME_RATE = 0.05
SAME_DELAY = 0.1
SAME_LOSS = 0.005


def record(choice: Choice, following: Next) -> tuple[str, str] | None:
    """Return the kind of record and the sentence due after a step, if any is.

    *choice* is that after the step. Kinds: ``chosen`` if another arm is best, and
    ``ended`` if a block did harm.
    """
    ended = following.ended
    if ended.harm is not None:
        return "ended", _harm(choice, following)
    if following.is_settled:
        return "chosen", _chosen(choice, ended.size)
    return None


def records(choice: Choice, following: Next) -> list[tuple[str, str]]:
    """Return kinds and sentences of all that is due after a step, in order.

    Besides those of ``record``: ``tries`` as another arm comes into force without
    being known for better, or goes on, and ``ended`` as it leaves without harm.
    """
    ended, arm = following.ended, following.arm
    is_other, was_trial = arm != ended.block.arm, ended.block.trial
    due = record(choice, following)
    told = [] if due is None else [due]
    if due is None and is_other and (was_trial or not following.is_trial):
        told.append(("ended", _back(choice, following)))
    if due is None and not is_other and was_trial and not following.is_trial:
        told.append(("tries", _goes_on(choice, following)))
    if is_other and following.is_trial:
        told.append(("tries", _tries(choice, following)))
    return told


def best(choice: Choice) -> str:
    """Say why the arm that stands is the best one: for ``explain``."""
    if choice.standing != choice.default:
        return _chosen(choice, choice.acting)
    known = choice.arms_of(choice.acting)
    if choice.default not in known:
        return f"{choice.default}: nothing is known yet"
    own = estimate(choice, choice.acting, choice.default)
    if not choice.is_worth_trial:
        return f"{choice.default}: {own}; too few bytes in large flows for a trial"
    others = [
        f"{name} {estimate(choice, choice.acting, name)}"
        for name in choice.arms
        if name != choice.default and name in known
    ]
    against = f" against {', '.join(others)}" if others else ""
    return f"{choice.default}: {own}{against}"


def waits(choice: Choice, now_s: float) -> list[str]:
    """Say which arms have to wait after trials that ended early."""
    said = []
    for name, veto in choice.vetoes.items():
        if name in choice.arms and veto.forbids(now_s):
            trials = f"{veto.early_ends} trial" + "s" * (veto.early_ends != 1)
            left = seconds_words(veto.until_s - now_s)
            said.append(
                f"{name} waits for {left}, after {trials} in a row that ended early"
            )
    return said


def estimate(choice: Choice, size: SizeClass, name: str) -> str:
    """Say what an arm is worth: ``3.0 ± 0.1 in 4 blocks (41 flows)``.

    In nats: of the rate in Mbit/s, over the round trip as a multiple of the least.
    """
    known = choice.arms_of(size)
    arm = known.get(name, Arm())
    worth = arm.mean + _log_least(choice)
    blocks = f"{arm.blocks} block" + "s" * (arm.blocks != 1)
    flows = f"{arm.flows} flow" + "s" * (arm.flows != 1)
    return f"{worth:.1f} ± {error(known, name):.1f} in {blocks} ({flows})"


def evidence(choice: Choice, following: Next) -> dict[str, object]:
    """Return the numbers behind a step: for machines."""
    ended = following.ended
    facts: dict[str, object] = {
        "arm": ended.block.arm,
        "block": ended.block.run,
        "flows": ended.block.of(ended.size).flows,
        "size": ended.size.name.lower(),
        "randomised": False,
    }
    if ended.score is not None:
        facts |= _score(ended.score, choice)
    if ended.harm is not None:
        facts["harm"] = ended.harm.value
    for name, arm in choice.arms_of(ended.size).items():
        facts[f"{name}_reward_nats"] = round(arm.mean + _log_least(choice), 3)
        facts[f"{name}_blocks"] = arm.blocks
        facts[f"{name}_flows"] = arm.flows
    pairs = choice.proof.of(choice.standing)
    facts["proved"] = choice.proof.is_proved(choice.standing)
    facts["odds"] = round(pairs.odds, 2)
    return facts


def _score(one: Score, choice: Choice) -> dict[str, object]:
    return {
        "reward_nats": round(one.value + _log_least(choice), 3),
        "bytes_per_s": round(math.exp(one.log_rate) * 1e6 / 8),
        "srtt_us": round(1000 * math.exp(one.log_srtt)),
        "charged_loss_share": round(one.loss, 4),
        "min_rtt_us": choice.min_rtt_us,
    }


def _log_least(choice: Choice) -> float:
    """Return ln of the path's least round trip in ms; 0 if it is unknown."""
    return math.log(choice.min_rtt_us / 1000) if choice.min_rtt_us else 0.0


def _chosen(choice: Choice, size: SizeClass) -> str:
    known, arm, default = choice.arms_of(size), choice.standing, choice.default
    own = f"{arm} from now on: {estimate(choice, size, arm)}"
    others = [name for name in (default, *choice.arms) if name != arm and name in known]
    if not others:
        return own
    other = others[0]
    against = f"{other} {estimate(choice, size, other)}"
    return f"{own} against {against}: {_parts(choice, known[other], known[arm])}" + (
        f" ({choice.proof.of(arm).words()})" if choice.proof.is_proved(arm) else ""
    )


def _parts(choice: Choice, old: Arm, new: Arm) -> str:
    """Tell which parts of the reward differ, from *old* to *new*."""
    parts = []
    if abs(new.log_rate - old.log_rate) <= SAME_RATE:
        parts.append("same rate")
    else:
        rates = math.exp(old.log_rate), math.exp(new.log_rate)
        parts.append(f"{_plain(rates[0])} to {_plain(rates[1])} Mbit/s")
    if abs(new.log_srtt - old.log_srtt) > SAME_DELAY:
        least = _log_least(choice)
        delays = [math.exp(max(0.0, one.log_srtt - least)) for one in (old, new)]
        parts.append(f"queueing delay {delays[0]:.1f}x to {delays[1]:.1f}x")
    if abs(new.loss - old.loss) > SAME_LOSS:
        parts.append(f"retransmits {_percent(old.loss)} to {_percent(new.loss)}")
    return ", ".join(parts)


def _harm(choice: Choice, following: Next) -> str:
    ended, default, arm = following.ended, choice.default, following.ended.block.arm
    size = ended.size if ended.harmed is None else ended.harmed
    sums = ended.block.of(size)
    usual = choice.arms_of(size).get(default, Arm())
    seen = score(sums, usual.early_loss)
    stays = (
        f"stays {default}: {arm} trial" if ended.block.trial else f"{default}: {arm}"
    )
    what = f"{stays} ended after {sums.flows} flow" + "s" * (sums.flows != 1)
    if seen is None:
        return what
    if ended.harm is Harm.LOSS:
        lost, least = _percent(seen.loss), _percent(usual.loss)
        return f"{what}, {lost} retransmits against {least}"
    least_ms = _log_least(choice)
    return f"{what}, {seen.value + least_ms:.1f} against {usual.mean + least_ms:.1f}"


def _back(choice: Choice, following: Next) -> str:
    ended, arm = following.ended, following.arm
    name, size = ended.block.arm, ended.size
    if ended.score is None:
        flows = ended.block.of(size).flows
        few = f"{flows} flow" + "s" * (flows != 1)
        return f"back to {arm}: {few} with {name} in its block, too few to tell"
    own, other = (estimate(choice, size, one) for one in (arm, name))
    return f"back to {arm}: {own} against {name} {other}"


def _goes_on(choice: Choice, following: Next) -> str:
    arm, size = following.arm, following.ended.size
    others = [one for one in choice.arms if one != arm and one in choice.arms_of(size)]
    against = ", ".join(f"{one} {estimate(choice, size, one)}" for one in others)
    own = estimate(choice, size, arm)
    return f"goes on with {arm}: {own} against {against}, not yet sure"


def _tries(choice: Choice, following: Next) -> str:
    arm, size, before = following.arm, following.ended.size, following.ended.block.arm
    usual = f"{before} {estimate(choice, size, before)}"
    if not choice.arms_of(size).get(arm, Arm()).blocks:
        return f"tries {arm} for new connections: unknown here, against {usual}"
    own = estimate(choice, size, arm)
    return f"tries {arm} again for new connections: {own} against {usual}"


def _plain(number: float) -> str:
    return f"{number:.0f}" if number >= 100 else f"{number:.3g}"


def _percent(share: float) -> str:
    percent = 100 * share
    return f"{percent:.0f} %" if percent >= 1.95 or not percent else f"{percent:.2g} %"
