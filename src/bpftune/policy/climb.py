"""The state of a climb, its verdicts, and the steps of it that need no judgement.

``policy.limit`` judges; here are the values it judges with, and what raising,
giving back and waiting do to them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from bpftune.outcome import Finding
from bpftune.policy.threshold import Outlook

if TYPE_CHECKING:
    from bpftune.policy.epoch import Epoch
    from bpftune.policy.evidence import Estimate

FIRST_WAIT_EPOCHS = 24
"""Before a path is tried again, doubling each time: it bounds the writes of a path
whatever the odds of others are, so it is not learned."""
LONGEST_WAIT_S = 24 * 3600.0
LEAST_SETTLE_S = 0.5
PAYS = 0.05  # nats; at 0.17 a climb can never come within 5 % of the best


@dataclass(frozen=True, slots=True)
class Climb:
    """A climb under way: *level* is in force, *paid* is what it goes back to.

    *below* was in force before the last raise, *best* was measured at *paid*,
    *pressure* is the share of looks that made us go on from there. *gained*
    counts looks with a gain that wants to be seen twice. *first_won* tells whether
    the first epoch since *best* was faster.
    """

    level: int
    paid: int
    below: int
    best: Epoch
    settle_until_s: float
    pressure: float = 0.0
    outlook: Outlook = field(default_factory=Outlook)
    looks: int = 0
    unfair: int = 0
    unpaid: int = 0
    gained: int = 0
    misses: int = 0
    first_won: bool | None = None

    @property
    def is_leap(self) -> bool:
        """Whether it went at once to what paid before."""
        return self.level > 2 * self.paid and self.below == self.paid

    @property
    def predicted_nats(self) -> float:
        """The gain over *paid* to expect of *level*."""
        factor = self.level / self.paid
        if self.is_leap:
            return self.outlook.predicted_again_nats(self.pressure, factor)
        return self.outlook.predicted_nats(self.pressure, factor)


@dataclass(frozen=True, slots=True)
class Path:
    """What is known of one destination under one limit.

    *leaps* is False once what paid there before did not pay again.
    """

    limit: int = 0
    base: Epoch | None = None
    last: Epoch | None = None
    streak: int = 0  # epochs in a row that were worth a trial
    content: int = 0  # epochs in a row that were not
    wait_until_s: float = 0.0
    wait_epochs: int = FIRST_WAIT_EPOCHS
    leaps: bool = True
    climb: Climb | None = None


@dataclass(frozen=True, slots=True)
class Raise:
    """Raise to *level* from *old*. *gain* tells of the step before, if any.

    *climb* is the one that it belongs to, as it begins or goes on.
    """

    level: int
    old: int
    epoch: Epoch
    climb: Climb
    gain: Estimate | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """*level* stays: it *paid*, or it at least ended the shortage.

    *proved*: such a gain is rare by chance, see ``limit.is_proved``. *climb* is
    as it was when that was found.
    """

    level: int
    gain: Estimate
    paid: bool
    proved: bool
    before: Epoch
    after: Epoch
    climb: Climb
    climb_on: bool = False  # it paid and the sockets still starve
    by_age: bool = False  # new connections were compared with older ones


@dataclass(frozen=True, slots=True)
class TakenBack:
    """*level* is given back to *paid*; the next try is *wait_s* away."""

    level: int
    paid: int
    why: str
    gain: Estimate | None
    wait_s: float
    finding: Finding
    climb: Climb
    after: Epoch | None = None


Verdict = Raise | Kept | TakenBack

Answer = tuple[Path, tuple[Verdict, ...]]
"""The next state of a path, and what follows."""


def settle_s(epoch: Epoch) -> float:
    """Return how long a new limit needs to show: five round trips at least.

    ``sk_sndbuf`` follows within one round trip, the rate within two to six.
    """
    return max(LEAST_SETTLE_S, 5e-6 * epoch.srtt_us)


def double(
    path: Path, climb: Climb, epoch: Epoch, now_s: float, gain: Estimate | None
) -> Answer:
    """Go on to twice the level; *gain* is what is known of the step before."""
    old = climb.level
    climb = replace(
        climb,
        level=2 * old,
        below=old,
        settle_until_s=now_s + settle_s(epoch),
        looks=0,
        unfair=0,
        unpaid=0,
        gained=0,
    )
    return replace(path, climb=climb), (Raise(2 * old, old, epoch, climb, gain),)


def give_back(
    path: Path,
    epoch: Epoch | None,
    now_s: float,
    why: str,
    gain: Estimate | None,
    *,
    harm: bool = False,
) -> Answer:
    """End *path*'s climb at the last level that paid."""
    climb = path.climb
    if climb is None:
        return path, ()
    finding = Finding.HARM if harm else _finding(gain)
    if climb.is_leap and finding is not Finding.VOID:
        path = replace(path, leaps=False)
    rested = rest(path, climb.paid, epoch or climb.best, now_s)
    if climb.level == climb.paid:
        return rested, ()
    wait_s = rested.wait_until_s - now_s
    return rested, (
        TakenBack(
            climb.level,
            climb.paid,
            why,
            gain,
            wait_s,
            finding,
            climb,
            epoch,
        ),
    )


def _finding(gain: Estimate | None) -> Finding:
    """Name what a gain that did not pay is."""
    if gain is None:
        return Finding.VOID
    if gain.below(0.0):
        return Finding.HARM
    return Finding.UNPAID if gain.below(PAYS) else Finding.UNPROVEN


def rest(path: Path, limit: int, epoch: Epoch, now_s: float) -> Path:
    """Leave the climb for *limit* and wait before the next, ever longer."""
    wait_s = min(path.wait_epochs * epoch.seconds, LONGEST_WAIT_S)
    return Path(
        limit=limit,
        wait_until_s=now_s + wait_s,
        wait_epochs=path.wait_epochs * 2,
        leaps=path.leaps,
    )


def refused(path: Path, now_s: float) -> Answer:
    """End the climb whose last ``Raise`` was refused, from the level before."""
    climb = path.climb
    if climb is None:
        return path, ()
    path = replace(path, leaps=path.leaps and not climb.is_leap)
    below = replace(path, climb=replace(climb, level=climb.below))
    return give_back(below, None, now_s, "no room to grow further", None)
