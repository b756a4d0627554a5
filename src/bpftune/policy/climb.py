"""The state of a climb and its verdicts: the plain values of ``policy.limit``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bpftune.policy.threshold import Outlook

if TYPE_CHECKING:
    from bpftune.outcome import Finding
    from bpftune.policy.epoch import Epoch
    from bpftune.policy.evidence import Estimate

FIRST_WAIT_EPOCHS = 24
"""Before a path is tried again, doubling each time: it bounds the writes of a path
whatever the odds of others are, so it is not learned."""


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
        return self.outlook.predicted_nats(self.pressure, self.level / self.paid)


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
