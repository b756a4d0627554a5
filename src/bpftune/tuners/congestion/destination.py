"""One destination: which algorithm, and which window, its new connections get.

What BPF added up goes in, what the table is to say comes out. The decisions are
those of ``policy.choice`` and ``policy.window``.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from errno import errorcode
from typing import TYPE_CHECKING

from bpftune.model import Prefix, Tell
from bpftune.policy import choice_words
from bpftune.policy.algorithms import Ecn, arms
from bpftune.policy.blocks import Block
from bpftune.policy.choice import Choice, add, begin, disturbed, offer
from bpftune.policy.next_arm import Next, step
from bpftune.policy.reward import SizeClass, Sums
from bpftune.policy.window import (
    DEFAULT_SEGMENTS,
    Transfer,
    Use,
    Window,
    on_transfer,
    wants_transfers,
)
from bpftune.tuners.congestion.maps import Assignment, padded

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from bpftune.policy.blocks import Pace
    from bpftune.tuners.congestion.maps import FlowSums, SumsKey, TransferSent
    from bpftune.tuners.congestion.offer import Offer

HALF_LIFE_S = 7 * 86400.0

_KINDS = {"change": "tries", "kept": "chosen", "taken_back": "ended"}


@dataclass(frozen=True, slots=True)
class Destination:
    """What is known of it.

    *device* is the index of the network device that leads there, 0 if unknown.
    *seen_s* is when it was last heard of. *busy*: a buffer's limit is on trial for
    its connections.
    """

    prefix: Prefix
    choice: Choice
    window: Window = field(default_factory=Window)
    device: int = 0
    seen_s: float = 0.0
    busy: bool = False
    ecn: Ecn = field(default_factory=Ecn)

    @property
    def on_trial(self) -> bool:
        """Whether an arm is in force that is not the best one known."""
        return self.choice.block.trial

    @property
    def is_off(self) -> bool:
        """Whether an arm is in force that is not the default."""
        return self.choice.block.arm != self.choice.default

    @property
    def is_valued(self) -> bool:
        """Whether something was found that is better than what the kernel does."""
        return (
            self.choice.standing != self.choice.default
            or self.window.segments != DEFAULT_SEGMENTS
        )

    def shares_device(self, other: Destination) -> bool:
        """Whether both may have a bottleneck in common."""
        return 0 in (self.device, other.device) or self.device == other.device

    def assignment(self, now_s: float) -> Assignment:
        """Return what the table is to say."""
        choice, segments = self.choice, self.window.in_force
        return Assignment(
            arm=padded(choice.block.arm if self.is_off else ""),
            found=padded(choice.default),
            run=choice.block.run,
            on_trial=int(self.is_off or choice.needs_watch),
            initial_window=0 if segments == DEFAULT_SEGMENTS else segments,
            tell_transfers=int(wants_transfers(self.window, now_s)),
        )


def meet(
    prefix: Prefix, offered: Offer, failed: Collection[str], now_s: float
) -> Destination:
    """Return a destination of which nothing is known, under the default.

    Runs are numbered from the time on: connections that began under an earlier
    acquaintance may still live, and must not be taken for new ones.
    """
    names = arms(offered.default, offered.available, failed)
    choice = begin(offered.default, names, now_s, run=first_run(now_s))
    return Destination(prefix, choice, seen_s=now_s)


def first_run(now_s: float) -> int:
    """Return a number that no earlier run had; no block ends twice in a second."""
    return 1 + int(now_s) % (1 << 31)


def resumed(known: Destination, now_s: float) -> Destination:
    """Return what was saved of it, as it is looked after again.

    What was learned long ago counts for less, a half for each week. It goes on with
    what was best, from a block that begins now.
    """
    share = 0.5 ** ((now_s - known.seen_s) / HALF_LIFE_S)
    choice = known.choice
    learned = {
        size: {name: arm.scaled(share) for name, arm in of_size.items()}
        for size, of_size in choice.known.items()
    }
    block = Block(choice.standing, first_run(now_s), now_s)
    choice = replace(choice, known=learned, block=block)
    return replace(known, choice=choice, seen_s=now_s)


def offered_anew(
    known: Destination, offered: Offer, failed: Collection[str], now_s: float
) -> Destination:
    """Return it with what the kernel offers now."""
    ecn = replace(known.ecn, permitted="dctcp" in offered.allowed)
    names = arms(offered.default, offered.available, failed, ecn)
    choice = offer(known.choice, offered.default, names, now_s)
    return replace(known, choice=choice, ecn=ecn)


def left(
    before: Destination, after: Destination, failed: Mapping[str, int]
) -> Tell | None:
    """Tell that an arm in force is gone, if it is; *failed* have an errno each."""
    arm, default = before.choice.block.arm, after.choice.default
    if after.choice.block.arm == arm:
        return None
    if arm in failed:
        cause = f"the kernel refuses {arm} ({errorcode.get(failed[arm], failed[arm])})"
    elif default != before.choice.default:
        cause = f"the default was {before.choice.default}"
    else:
        cause = f"{arm} is not offered any more"
    why = f"back to {default}: {cause}"
    return Tell("ended", after.prefix, why, {"arm": arm, "default": default})


def see(
    known: Destination, rows: Iterable[tuple[SumsKey, FlowSums]], now_s: float
) -> Destination:
    """Take in what connections did since the last time."""
    sums: dict[int, dict[SizeClass, Sums]] = defaultdict(dict)
    small: dict[int, int] = defaultdict(int)
    choice, device, ecn = known.choice, known.device, known.ecn
    for key, row in rows:
        sums[key.run][SizeClass(key.size_class)] = as_sums(row)
        small[key.run] += row.small_bytes
        device = row.device or device
        ecn = replace(
            ecn,
            negotiated=ecn.negotiated or row.ecn_flows > 0,
            ce_marks=ecn.ce_marks + row.ce_marked,
        )
    for run, of_run in sums.items():
        choice = add(choice, run, of_run, now_s, small[run])
    ecn = replace(ecn, rtt_us=choice.min_rtt_us)
    return replace(known, choice=choice, device=device, ecn=ecn, seen_s=now_s)


def as_sums(row: FlowSums) -> Sums:
    """Return a row of the table as the policy has it."""
    return Sums(
        flows=row.flows,
        bytes_acked=row.bytes_acked,
        busy_us=row.busy_us,
        srtt_us_bytes=row.srtt_us_bytes,
        min_rtt_us=row.min_rtt_us,
        early_segments=row.early_segments,
        early_retransmitted=row.early_retransmitted,
        late_segments=row.late_segments,
        late_retransmitted=row.late_retransmitted,
    )


def heed_buffers(known: Destination, now_s: float, *, busy: bool) -> Destination:
    """Take in whether a buffer's limit is on trial for its connections."""
    if known.busy and not busy:
        return replace(known, busy=False, choice=disturbed(known.choice, now_s))
    return known if known.busy == busy else replace(known, busy=busy)


def decide(
    known: Destination,
    now_s: float,
    pace: Pace,
    *,
    may_try: bool,
    prior: Mapping[str, float],
) -> tuple[Destination, Next | None, list[Tell]]:
    """Decide on the arm, if the block is over, and tell of it."""
    choice, following = step(
        known.choice,
        now_s,
        may_try=may_try and not known.busy,
        prior=prior,
        pace=pace,
    )
    if following is None:
        return known, None, []
    window = known.window
    if following.arm != following.ended.block.arm:
        window = replace(window, trial=None)  # the two would be compared across arms
    facts = choice_words.evidence(choice, following)
    tells = [
        Tell(kind, known.prefix, why, facts)
        for kind, why in choice_words.records(choice, following)
    ]
    return replace(known, choice=choice, window=window), following, tells


def judge_transfer(
    known: Destination, event: TransferSent, now_s: float
) -> tuple[Destination, list[Tell]]:
    """Take in one transfer, for the window that connections begin with."""
    transfer = Transfer(
        bytes_acked=event.bytes_acked,
        took_us=event.took_us,
        initial_segments=event.initial_segments,
        final_segments=event.final_segments,
        first_segments=event.first_segments,
        first_retransmitted=event.first_retransmitted,
    )
    window, use = on_transfer(
        known.window, transfer, now_s, may_try=not known.on_trial and not known.busy
    )
    tells = [_window_told(known, use, window)] if use and use.record else []
    return replace(known, window=window, seen_s=now_s), tells


def _window_told(known: Destination, use: Use, window: Window) -> Tell:
    facts: dict[str, object] = {
        "initial_window": use.segments,
        "arm": known.choice.block.arm,
        "first_loss": round(window.first_loss, 4),
    }
    why = f"initial window of {use.segments} segments: {use.why}"
    return Tell(_KINDS[use.record], known.prefix, why, facts)


def explained(known: Destination, now_s: float) -> list[str]:
    """Say what is known, and what is in force, for ``explain``."""
    choice, block = known.choice, known.choice.block
    said = [choice_words.best(choice)]
    age_s = round(now_s - block.since_s)
    flows = f"{block.flows} flow" + "s" * (block.flows != 1)
    how = "on trial" if block.trial else "in use"
    said.append(f"{block.arm} is {how}: {flows} in {age_s} s of this block")
    said += choice_words.waits(choice, now_s)
    untried = [
        name
        for name in choice.arms
        if not any(name in choice.arms_of(size) for size in SizeClass)
    ]
    if untried and choice.is_worth_trial:
        said.append(f"not tried yet: {', '.join(untried)}")
    if known.window.in_force != DEFAULT_SEGMENTS:
        trial = " on trial" if known.window.trial else ""
        said.append(
            f"connections begin with {known.window.in_force} segments{trial}, "
            f"{DEFAULT_SEGMENTS} is the kernel's"
        )
    return said
