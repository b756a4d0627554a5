"""Trials and what they taught: plain values, no I/O.

A trial is one raise of one tunable on one destination. What was predicted stands
beside what was measured, so that a record can be judged by whoever reads it.
"""

from __future__ import annotations

import enum
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Finding(enum.StrEnum):
    """What a trial came to.

    PAID: a gain worth the name. UNPAID: provably none. HARM: provably a loss.
    UNPROVEN: neither could be told. VOID: nothing could be compared.
    """

    PAID = "paid"
    UNPAID = "unpaid"
    HARM = "harm"
    UNPROVEN = "unproven"
    VOID = "void"


@dataclass(frozen=True, slots=True)
class Measured:
    """What the sockets of a destination did for the length of one measurement.

    *spread_nats* is the standard error of the logarithm of their rate, None where
    it is not known. *looks* counts what held them back, by cause.
    """

    bytes_per_s: int
    spread_nats: float | None
    sockets: int
    sockets_held_back: int
    looks: Mapping[str, int]
    retransmitted_share: float
    srtt_us: int
    min_rtt_us: int


@dataclass(frozen=True, slots=True)
class Trial:
    """One raise of a limit to *size* from *old_size*, the last that paid.

    *pressure* is the share of looks that were held back as it was decided on.
    Gains are differences of logarithms. *predicted_nats* was said before.
    *finding* is None as long as it is under way, and so is *after*. *randomised*
    is False where everybody got the change: before and after are compared.
    *proved*: such a gain by chance is rarer than one in a hundred.
    *first_won* tells whether the first measurement was above the one before.
    """

    destination: str
    old_size: int
    size: int
    pressure: float
    predicted_nats: float
    before: Measured | None = None
    after: Measured | None = None
    gain_nats: float | None = None
    gain_error_nats: float | None = None
    finding: Finding | None = None
    randomised: bool = False
    proved: bool = False
    first_won: bool | None = None

    def as_facts(self) -> dict[str, object]:
        """Return it as plain numbers and words, rounded to what they are worth."""
        facts = asdict(self)
        for name, digits in (("pressure", 3), ("predicted_nats", 4)):
            facts[name] = round(facts[name], digits)
        for name in ("gain_nats", "gain_error_nats"):
            if facts[name] is not None:
                facts[name] = round(facts[name], 4)
        facts["finding"] = self.finding and str(self.finding)
        return facts


@dataclass(frozen=True, slots=True)
class Level:
    """Trials at one level of pressure; old ones count for less.

    *gain_nats* is the sum of what they gained.
    """

    paid: float = 0.0
    unpaid: float = 0.0
    gain_nats: float = 0.0

    @property
    def trials(self) -> float:
        """How many there were."""
        return self.paid + self.unpaid


@dataclass(frozen=True, slots=True)
class Size:
    """The size that paid for one destination, and what it gained then."""

    size: int
    gain_nats: float
    seen_unix_s: float


@dataclass(frozen=True, slots=True)
class Known:
    """What earlier trials taught, as far as it concerns one network namespace.

    *levels* by the tunable's name, one for each level of pressure, see
    ``policy.threshold``. *sizes* by the tunable's name and the destination.
    It only biases decisions: nothing is granted because of it.
    """

    levels: Mapping[str, tuple[Level, ...]] = field(default_factory=dict)
    sizes: Mapping[tuple[str, str], Size] = field(default_factory=dict)
