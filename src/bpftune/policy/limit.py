"""Grow a limit while it pays, give back what does not.

The state of one path is a plain value that ``step`` is given with each epoch
and returns with a verdict; nothing here knows which sysctl it is about.

    idle --two epochs worth it--> climb: double, settle, measure the same sockets
    climb --paid--> double again while still starved, else done
    climb --no gain--> on over a plateau (twice at most), or back to what paid

Whether an epoch is worth a trial is learned (``policy.threshold``), and where a
size paid before, the climb begins with that. After a climb that paid nothing the
path waits 24 epochs before the next, twice as long each time, so writes stay few
and no limit cycle is possible.

What is fixed was measured, and is of the measurement rather than of what is worth
doing: when a gain can be told from noise, how long a limit takes to show, when a
plateau ends, how much loss is too much.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bpftune.policy.climb import (
    FIRST_WAIT_EPOCHS,
    PAYS,
    Answer,
    Climb,
    Kept,
    Path,
    Raise,
    TakenBack,
    Verdict,
    double,
    give_back,
    refused,
    rest,
    settle_s,
)
from bpftune.policy.epoch import MOST_LOSSY_SLICES, Epoch, Gathering, compare
from bpftune.policy.evidence import chance_of_separation
from bpftune.policy.paired import ALPHA
from bpftune.policy.threshold import EDGES, FIRST_TRUSTED, Outlook

if TYPE_CHECKING:
    from bpftune.policy.evidence import Estimate

STARVED = EDGES[FIRST_TRUSTED]  # share of looks; the queue's own jitter is below it
SURE_ERRORS = 4.0  # of a gain by age, which need not be seen twice then
MOST_LOOKS, MOST_LOOKS_STARVED = 5, 2
MOST_UNFAIR, MOST_UNFAIR_IN_TURN = 5, 40  # connections that come one after another
LOSSY_SLICES_STARVED = 6
MOST_MORE_LOSS = 0.02  # share of segments; BBR's own threshold (BBRLossThresh)
MOST_MISSES = 2

NOTHING_KNOWN = Outlook()

__all__ = [
    "Climb",
    "Kept",
    "Path",
    "Raise",
    "TakenBack",
    "Verdict",
    "give_back",
    "refused",
]


def out_of_patience(gathering: Gathering) -> Epoch | None:
    """Return a murky epoch if a trial met so much loss that it has to decide.

    A larger limit may overshoot, which takes a dozen round trips to heal. But
    where senders are still short between the losses, the limit itself may be the
    cause: a sender that starts anew whenever its buffer drains (bbr stays in
    STARTUP, and was seen to lose 10 % for good) heals at the next doubling only.
    """
    if gathering.lossy <= LOSSY_SLICES_STARVED:
        return None
    epoch = gathering.murky_epoch
    if epoch.hit < STARVED and gathering.lossy <= MOST_LOSSY_SLICES:
        return None
    return epoch


def step(
    path: Path,
    epoch: Epoch,
    limit: int,
    now_s: float,
    *,
    may_climb: bool,
    in_turn: bool = False,
    outlook: Outlook = NOTHING_KNOWN,
) -> Answer:
    """Take in *epoch*, measured under *limit*; return what follows.

    *may_climb* is False while another path of the namespace holds the limit.
    *in_turn*: connections follow each other, and ``by_age`` can compare them.
    *outlook* is what earlier trials taught.
    """
    if path.climb is not None:
        return _judge(path, path.climb, epoch, now_s, in_turn=in_turn)
    if path.limit != limit:
        path = replace(path, limit=limit, base=None, last=None, streak=0, content=0)
    is_worth_it = outlook.is_worth_trying(epoch.hit)
    path = replace(
        path,
        base=_better(path.base, epoch),
        streak=path.streak + 1 if is_worth_it else 0,
        content=0 if is_worth_it else path.content + 1,
        last=epoch,
    )
    lived = in_turn or bool(path.base and path.base.sockets & epoch.sockets)
    if path.streak < 2 or not lived or not may_climb or now_s < path.wait_until_s:
        return path, ()
    base = path.base or epoch
    level = outlook.first_step(limit) if path.leaps else 2 * limit
    climb = Climb(
        level, limit, limit, base, now_s + settle_s(epoch), epoch.hit, outlook
    )
    return replace(path, climb=climb, streak=0), (Raise(level, limit, epoch, climb),)


def _better(base: Epoch | None, epoch: Epoch) -> Epoch:
    """Return the faster of two epochs on the same sockets, else the newer."""
    if base is None:
        return epoch
    gain = compare(epoch, base)
    return base if gain is not None and gain.value < 0 else epoch


def _judge(
    path: Path, climb: Climb, epoch: Epoch, now_s: float, *, in_turn: bool
) -> Answer:
    starved = epoch.hit >= STARVED
    gain = compare(epoch, climb.best)
    if gain is None:
        climb = replace(climb, unfair=climb.unfair + 1)
        if climb.unfair < (MOST_UNFAIR_IN_TURN if in_turn else MOST_UNFAIR):
            return replace(path, climb=climb), ()
        return give_back(path, epoch, now_s, "connections came and went", None)
    if epoch.murky and not _pays_in_spite_of_loss(climb.best, epoch, gain):
        return _missed(path, climb, epoch, None, now_s, starved=starved)
    sure = is_proved(climb.best, epoch, gain)
    return _weigh(path, climb, epoch, gain, now_s, starved=starved, sure=sure)


def by_age(
    path: Path,
    epoch: Epoch,
    gain: Estimate,
    now_s: float,
    *,
    starved: bool,
    proved: bool = False,
) -> Answer:
    """Take in what connections made since the raise gained on those before it.

    *epoch*: the slices that there are; *starved*: they are still held back;
    *proved*: all of them got more than all of those.
    """
    climb = path.climb
    if climb is None:
        return path, ()
    sure = proved or gain.value >= SURE_ERRORS * gain.error
    # The same lives count again at the next look, so nothing is seen twice.
    climb = replace(climb, gained=0)
    path, verdicts = _weigh(path, climb, epoch, gain, now_s, starved=starved, sure=sure)
    proved = proved and gain.at_least(PAYS)
    return path, tuple(
        replace(one, by_age=True, proved=proved) if isinstance(one, Kept) else one
        for one in verdicts
    )


def _weigh(
    path: Path,
    climb: Climb,
    epoch: Epoch,
    gain: Estimate,
    now_s: float,
    *,
    starved: bool,
    sure: bool,
) -> Answer:
    """Decide on a gain, or look again while it is in doubt."""
    climb = _noted(climb, gain)
    most = MOST_LOOKS_STARVED if starved else MOST_LOOKS
    once = climb.gained == 1 and gain.at_least(PAYS) and not sure
    doubtful = gain.near(PAYS) or (gain.value < PAYS and climb.unpaid < 2)
    # Every look has its chance of a gain that is none: a weak one is seen twice.
    if (doubtful and climb.looks < most) or (once and climb.looks <= most):
        return replace(path, climb=climb), ()
    if gain.at_least(PAYS) and not once:
        return _paid(path, climb, epoch, gain, now_s, starved=starved)
    return _missed(path, climb, epoch, gain, now_s, starved=starved)


def _noted(climb: Climb, gain: Estimate) -> Climb:
    """Count a look, and what it found."""
    first_won = gain.value > 0 if climb.first_won is None else climb.first_won
    return replace(
        climb,
        looks=climb.looks + 1,
        unpaid=climb.unpaid + gain.below(PAYS),
        gained=climb.gained + gain.at_least(PAYS),
        first_won=first_won,
    )


def is_proved(before: Epoch, after: Epoch, gain: Estimate) -> bool:
    """Tell whether a gain is too good to be chance: each slice beats each before.

    Of five and five slices one order of 252 is that. Nothing is assumed of how
    rates are distributed. That the path itself became faster meanwhile cannot be
    told apart: nobody was left without the change.
    """
    common = before.sockets & after.sockets
    slow, fast = before.slice_rates(common), after.slice_rates(common)
    if not slow or not fast or chance_of_separation(len(slow), len(fast)) > ALPHA:
        return False
    return gain.at_least(PAYS) and min(fast) > max(slow)


def _pays_in_spite_of_loss(before: Epoch, after: Epoch, gain: Estimate) -> bool:
    """Tell if a gain is proved and hardly costs more loss than there was.

    bbr stays in recovery for long stretches in which it loses next to nothing.
    """
    more = after.loss_share - before.loss_share
    return gain.at_least(PAYS) and more <= MOST_MORE_LOSS


def _missed(
    path: Path,
    climb: Climb,
    epoch: Epoch,
    gain: Estimate | None,
    now_s: float,
    *,
    starved: bool,
) -> Answer:
    """No gain was proved: climb on over a plateau, or end."""
    climb = replace(climb, misses=climb.misses + 1)
    # What paid before pays at once or not at all.
    if starved and climb.misses <= MOST_MISSES and not climb.is_leap:
        return double(path, climb, epoch, now_s, gain)
    path = replace(path, climb=climb)
    if gain is None:
        why = "it brought lasting loss"
        return give_back(path, epoch, now_s, why, None, harm=True)
    if not starved and not gain.below(PAYS) and climb.level <= 2 * climb.paid:
        kept = Kept(
            climb.level,
            gain,
            paid=False,
            proved=False,
            before=climb.best,
            after=epoch,
            climb=climb,
        )
        return rest(path, climb.level, epoch, now_s), (kept,)
    why = "no gain" if gain.below(PAYS) else "no gain could be shown"
    if starved:
        why += ", though still short"
    return give_back(path, epoch, now_s, why, gain)


def _paid(
    path: Path,
    climb: Climb,
    epoch: Epoch,
    gain: Estimate,
    now_s: float,
    *,
    starved: bool,
) -> Answer:
    kept = Kept(
        climb.level,
        gain,
        paid=True,
        proved=is_proved(climb.best, epoch, gain),
        before=climb.best,
        after=epoch,
        climb=climb,
        climb_on=starved,
    )
    path = replace(path, wait_epochs=FIRST_WAIT_EPOCHS)
    if not starved:
        return replace(path, climb=None, limit=climb.level, base=epoch, streak=0), (
            kept,
        )
    climb = replace(
        climb,
        paid=climb.level,
        best=epoch,
        misses=0,
        pressure=epoch.hit,
        first_won=None,
    )
    path, verdicts = double(path, climb, epoch, now_s, None)
    return path, (kept, *verdicts)
