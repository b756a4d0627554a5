"""Does a block under another arm do harm? Then it ends at once."""

from __future__ import annotations

import math
from enum import Enum
from typing import TYPE_CHECKING

from bpftune.policy.reward import SizeClass, score

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bpftune.policy.arms import Arm
    from bpftune.policy.blocks import Block

EARLY_FLOWS = 4
"""How many flows show it in a trial. To wait for the other arm's flows to be over
first does more harm: bbr starves them where the buffer is shallow, so they last."""

LATER_FLOWS = 10
"""How many show it of the best arm known: it is looked at in each of many blocks, and
four flows in bad luck would come by in one of them."""

WORSE = 1.5
"""Nats below the default's mean: a rate, or a round trip, 4.5 times as bad."""

MORE_LOSS = 0.02
"""BBR's own threshold, ``BBRLossThresh``; over what the default loses. A block cannot
see the flows of others, but what they suffer shows as loss."""


def more_loss(flows: int, *, trial: bool) -> float:
    """Return the share that so many flows may lose over what the default loses.

    Of the best arm known few flows may lose more than many, so that chance does not
    throw it out: where 1 % is lost at random, transfers of 10 MB, the first ten of a
    block of bbr were seen to lose 3.5 %, and 62 before them none. Over a path that had
    become shallow ten lost 4.3 and 8.3 %.
    """
    return MORE_LOSS if trial else MORE_LOSS * (1 + math.sqrt(LATER_FLOWS / flows))


class Harm(Enum):
    """Why a block ended before its time."""

    LOSS = "loss"
    WORTH = "worth"


def harm_of(
    block: Block,
    default: str,
    known: Mapping[SizeClass, Mapping[str, Arm]],
    size: SizeClass,
) -> tuple[Harm, SizeClass] | tuple[None, None]:
    """Tell what harm *block* does so far, and in which class of flows it shows.

    Flows of class *size* carry most; but the largest show loss best. What is *known*
    of the *default* is what it is compared with.
    """
    if block.arm == default:
        return None, None
    enough = EARLY_FLOWS if block.trial else LATER_FLOWS
    for one in sorted({size, SizeClass.LARGE}):
        usual = known.get(one, {}).get(default)
        if block.of(one).flows < enough or usual is None:
            continue
        seen = score(block.of(one), usual.early_loss)
        if seen is None:
            continue
        allowed = more_loss(block.of(one).flows, trial=block.trial)
        if seen.loss > usual.loss + allowed:
            return Harm.LOSS, one
        if one == size and seen.value < usual.mean - WORSE:
            return Harm.WORTH, one
    return None, None
