"""What a block of time under one congestion control was worth.

The reward is the logarithm of Kleinrock's power (rate over delay; Kleinrock 1979,
Power and deterministic rules of thumb for probabilistic problems in computer
communications) less the harm to neighbours: the share of segments sent again. Two
per cent of those, the share at which BBR takes a path for congested
(``BBRLossThresh``, draft-ietf-ccwg-bbr), cost as much as half the rate.

All is made of sums over the flows of a block, in classes of size: the logarithms of
mixed sizes, averaged, were seen to put the worse algorithm first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

MEDIUM_BYTES = 256 << 10
LARGE_BYTES = 2 << 20
"""What ends in slow start, what hardly leaves it, and the rest. On a path that loses
0.1 % both algorithms were equal at 2 MB and 1.9 times apart at 10 MB."""

LOSS_COST = math.log(2) / 0.02
STARTUP_ALLOWANCE = 0.10
"""BBR's STARTUP overshoots by design: 11 % of a transfer of 10 MB were seen through a
buffer of one bandwidth-delay product, which it ended 1.85 times sooner."""

LEAST_LATE = 0.3
"""Share of the segments after the 20th round trip from which these alone are judged.
Where flows are usually over by then, the few that are not are those in bad luck: with
10 MB at 100 Mbit/s and 40 ms, 1 % lost, most blocks had none, and one 4 % of loss."""


class SizeClass(IntEnum):
    """How much a flow moved; only flows of one class are compared."""

    SMALL = 0
    MEDIUM = 1
    LARGE = 2


def size_class(moved_bytes: int) -> SizeClass:
    """Return the class of a flow that moved *moved_bytes*."""
    if moved_bytes < MEDIUM_BYTES:
        return SizeClass.SMALL
    return SizeClass.MEDIUM if moved_bytes < LARGE_BYTES else SizeClass.LARGE


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums over *flows*, of one size class, that began under one arm.

    A flow counts if it moved 100 kB or lived ten round trips. *busy_us* is the time
    it had something to send (``TCP_CHRONO_BUSY``; never less than a round trip per
    flow, as it comes in jiffies), *srtt_us_bytes* its smoothed round trip times its
    bytes, *min_rtt_us* the least round trip of all, 0 if unknown. *late* segments
    are those sent after a flow's 20th round trip.
    """

    flows: int = 0
    bytes_acked: int = 0
    busy_us: int = 0
    srtt_us_bytes: int = 0
    min_rtt_us: int = 0
    early_segments: int = 0
    early_retransmitted: int = 0
    late_segments: int = 0
    late_retransmitted: int = 0

    def __add__(self, other: Sums) -> Sums:
        rtts = [rtt for rtt in (self.min_rtt_us, other.min_rtt_us) if rtt > 0]
        return Sums(
            self.flows + other.flows,
            self.bytes_acked + other.bytes_acked,
            self.busy_us + other.busy_us,
            self.srtt_us_bytes + other.srtt_us_bytes,
            min(rtts, default=0),
            self.early_segments + other.early_segments,
            self.early_retransmitted + other.early_retransmitted,
            self.late_segments + other.late_segments,
            self.late_retransmitted + other.late_retransmitted,
        )

    @property
    def life_s(self) -> float:
        """The mean time a flow was busy."""
        return self.busy_us / 1e6 / max(1, self.flows)

    @property
    def early_loss(self) -> float:
        """Share of the segments of the first 20 round trips that were sent again."""
        return _share(self.early_retransmitted, self.early_segments)

    @property
    def late_loss(self) -> float:
        """The same of the segments after them."""
        return _share(self.late_retransmitted, self.late_segments)

    @property
    def retransmitted(self) -> float:
        """Share of all segments that were sent again: for words."""
        again = self.early_retransmitted + self.late_retransmitted
        return _share(again, self.early_segments + self.late_segments)


@dataclass(frozen=True, slots=True)
class Score:
    """The parts of a reward: ln of Mbit/s, ln of the round trip in ms, and loss.

    *loss* is what is charged; *early_loss* what was lost in start-up.
    """

    log_rate: float
    log_srtt: float
    loss: float
    early_loss: float = 0.0

    @property
    def value(self) -> float:
        """The reward, in nats.

        Its delay is the round trip itself and not yet its multiple of the path's
        least. That least is the same for all arms, so no comparison changes. But it
        may come to light late: nobody sees an empty queue before the first block
        under an arm that leaves it empty, and what was learned before would have to
        be learned again.
        """
        return self.log_rate - self.log_srtt - LOSS_COST * self.loss


def score(sums: Sums, usual_early_loss: float = 0.0) -> Score | None:
    """Return the score of *sums*; None if they cannot be true or nothing moved.

    *usual_early_loss* is the default's share in start-up.
    """
    if min(sums.bytes_acked, sums.busy_us, sums.srtt_us_bytes) <= 0:
        return None
    return Score(
        log_rate=math.log(8 * sums.bytes_acked / sums.busy_us),
        log_srtt=math.log(sums.srtt_us_bytes / sums.bytes_acked / 1000),
        loss=charged_loss(sums, usual_early_loss),
        early_loss=sums.early_loss,
    )


def charged_loss(sums: Sums, usual_early_loss: float) -> float:
    """Return the share sent again that counts as harm.

    That after start-up. Of start-up what exceeds the usual by more than ten points;
    it stands for all where flows hardly live longer.
    """
    excess = max(0.0, sums.early_loss - usual_early_loss - STARTUP_ALLOWANCE)
    total = sums.early_segments + sums.late_segments
    if sums.late_segments < LEAST_LATE * total:
        return excess
    return max(sums.late_loss, excess)


def _share(part: int, whole: int) -> float:
    return min(1.0, max(0.0, part / whole)) if whole > 0 else 0.0
