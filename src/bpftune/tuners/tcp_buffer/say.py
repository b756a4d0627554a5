"""What the TCP buffer tuner says: sentences for people, facts for machines."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bpftune.policy import threshold
from bpftune.policy.epoch import Epoch, LimitedBy
from bpftune.text import rate_words, seconds_words, size_words

if TYPE_CHECKING:
    from bpftune.model import Memory, Prefix
    from bpftune.policy.evidence import Estimate
    from bpftune.policy.limit import Kept, Raise, TakenBack


def percent(nats: float) -> str:
    """Return a difference of logarithms as a signed percentage."""
    return f"{math.expm1(nats):+.0%}"


def gained(gain: Estimate) -> str:
    """Return a gain with its two standard errors."""
    return f"{percent(gain.value)} ± {math.expm1(2 * gain.error):.0%}"


@dataclass(frozen=True, slots=True)
class Words:
    """Sentences about the sockets of one destination, senders or *receivers*."""

    prefix: Prefix
    receivers: bool = False

    @property
    def peers(self) -> str:
        """Say which sockets."""
        return f"{'from' if self.receivers else 'to'} {self.prefix}"

    def short_of_buffer(self, verdict: Raise) -> str:
        """Say why the limit is doubled."""
        epoch = verdict.epoch
        total = len(epoch.sockets | epoch.starved)
        sentence = (
            f"{len(epoch.starved)} of {total} sockets {self.peers} were held back by "
            f"it in {epoch.hit:.0%} of looks"
        )
        if verdict.gain is not None:
            gain = gained(verdict.gain)
            sentence += f"; the last doubling gained {gain}, not yet proved"
        if verdict.climb.is_leap:
            sentence += f"; {size_words(verdict.level)} paid for them before"
        level = verdict.climb.outlook.level(verdict.climb.pressure)
        if level.trials:
            sentence += f"; {threshold.words(level)}"
        return sentence

    def short_of_fixed_buffer(self, epoch: Epoch) -> str:
        """Say that the kernel may not enlarge what is too small."""
        total = len(epoch.sockets | epoch.starved)
        return (
            f"{len(epoch.starved)} of {total} sockets {self.peers} get a whole window "
            f"per round trip in {epoch.hit:.0%} of looks, and the kernel may not "
            "enlarge their receive buffers: that is the admin's choice"
        )

    def kept(self, verdict: Kept) -> str:
        """Say why a value stays."""
        before, after = verdict.before.bytes_per_s, verdict.after.bytes_per_s
        if not verdict.paid:
            sentence = (
                f"it ended the shortage of sockets {self.peers}; a gain is not proved "
                f"({gained(verdict.gain)})"
            )
            return sentence + window_scale(verdict.after)
        least = percent(verdict.gain.value - 2 * verdict.gain.error)
        proof = f"at least {least}, not randomised"
        if not verdict.proved:
            proof += ", not proved"
        if verdict.by_age:
            return (
                f"new connections {self.peers} got {percent(verdict.gain.value)} at "
                f"the same age ({proof})"
            )
        goodput = "goodput" if self.receivers else "goodput per busy second"
        sentence = (
            f"{goodput} {self.peers} rose {percent(verdict.gain.value)} "
            f"({proof}), {rate_words(before)} to "
            f"{rate_words(after)}"
        )
        if not self.receivers:  # whose own round trips are not measured
            delay = verdict.after.srtt_us - verdict.before.srtt_us
            sentence += f", round trip {delay / 1000:+.0f} ms"
        return sentence + window_scale(verdict.after)


def window_scale(epoch: Epoch) -> str:
    """Say that connections reached what their handshake allows, if they did."""
    looks = epoch.looks
    if looks[LimitedBy.WINDOW_SCALE] <= looks.total() // 2:
        return ""
    return (
        "; these connections are at the largest window that the window scale of "
        "their handshake allows, only new ones can have more"
    )


def unused(checks: int, *, receivers: bool) -> str:
    """Say that nobody needed the limit for *checks* minutes."""
    who = "receiver" if receivers else "sender"
    return f"no {who} used more than half of it for {checks} minutes"


def short_of_memory(memory: Memory) -> str:
    """Say why what was grown is given back, used or not."""
    return (
        f"TCP holds {size_words(memory.tcp_used_bytes)}, and from "
        f"{size_words(memory.tcp_pressure_bytes)} the kernel saves memory; "
        "connections that need the buffer become slower"
    )


def taken_back(verdict: TakenBack) -> str:
    """Say why a value is given back, and when the next try may come."""
    gain = f" ({gained(verdict.gain)})" if verdict.gain else ""
    return f"{verdict.why}{gain}, next try in {seconds_words(verdict.wait_s)}"
