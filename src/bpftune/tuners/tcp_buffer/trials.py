"""The trials of the TCP buffer tuner: what earlier ones taught, what one came to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bpftune.outcome import Finding, Measured, Trial
from bpftune.policy import limit
from bpftune.policy.epoch import Epoch, LimitedBy
from bpftune.policy.threshold import Outlook

if TYPE_CHECKING:
    from bpftune.model import Facts, Prefix, Tunable


def outlook(tunable: Tunable, prefix: Prefix, facts: Facts) -> Outlook:
    """Return what is to be expected of a larger limit for *prefix*."""
    levels = facts.learned.levels.get(tunable.name, ())
    known = facts.learned.sizes.get((tunable.name, str(prefix)))
    if known is None:
        return Outlook(levels)
    return Outlook(levels, known.size, known.gain_nats)


def measured(epoch: Epoch | None) -> Measured | None:
    """Return what an epoch measured, if there was one."""
    if epoch is None:
        return None
    looks, rate = epoch.looks, epoch.rate(epoch.sockets)
    return Measured(
        bytes_per_s=round(epoch.bytes_per_s),
        spread_nats=round(rate.error, 4) if rate else None,
        sockets=len(epoch.sockets | epoch.starved),
        sockets_held_back=len(epoch.starved),
        looks={what.value: looks[what] for what in LimitedBy if looks[what]},
        retransmitted_share=round(epoch.loss_share, 4),
        srtt_us=round(epoch.srtt_us),
        min_rtt_us=round(epoch.min_rtt_us),
    )


def trial(prefix: Prefix, verdict: limit.Verdict) -> Trial:
    """Return the trial that *verdict* begins, goes on with, or ends."""
    climb, gain = verdict.climb, verdict.gain
    proved, after, finding = False, None, None
    match verdict:
        case limit.Kept():
            finding = Finding.PAID if verdict.paid else Finding.UNPROVEN
            proved, after = verdict.proved, verdict.after
        case limit.TakenBack():
            finding, after = verdict.finding, verdict.after
    return Trial(
        destination=str(prefix),
        old_size=climb.paid,
        size=verdict.level,
        pressure=climb.pressure,
        predicted_nats=climb.predicted_nats,
        before=measured(climb.best),
        after=measured(after),
        gain_nats=gain.value if gain else None,
        gain_error_nats=gain.error if gain else None,
        finding=finding,
        proved=proved,
        first_won=climb.first_won,
    )
