"""The window that connections to one destination begin with, where a larger one pays.

Where connections end with large windows the path takes them from the start. Half of
the window that three quarters of the late connections reached is proposed (Flores et
al. 2016, Riptide: jump-starting back-office connections in cloud systems, ICDCS),
at most twice what is in force, so that neighbours hardly notice and transfers may be
compared one by one. It stays if transfers of 15 to 500 kB provably end sooner: both
windows are in force in turn (``policy.alternate``). It is halved where the first
round trip loses more than 2 %.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from bpftune.policy.alternate import Alternation, Unit, Verdict, next_block, see
from bpftune.text import seconds_words

DEFAULT_SEGMENTS = 10
"""RFC 6928; ``TCP_INIT_CWND``."""

MOST_SEGMENTS = 64
"""What the buffers of access links were seen to take (Riptide used up to 100)."""

LEAST_SAMPLES = 5
MOST_SAMPLES = 64
MOST_AGE_S = 600.0
STEP = 2
LEAST_BYTES = 15_000
MOST_BYTES = 500_000
"""Below, all fits into the window there is; above, it is a small part."""

MOST_LOSS = 0.02
"""Of the first round trip; BBR's own threshold for congestion."""

LEAST_SEGMENTS_SENT = 100
MOST_SEGMENTS_SENT = 2000
MOST_BLOCKS = 16
"""One round trip less of four or five wins seven pairs of ten: 80 pairs prove that."""

FIRST_WAIT_S = 600.0
LONGEST_WAIT_S = 24 * 3600.0
LONGEST_BLOCK_S = 600.0


@dataclass(frozen=True, slots=True)
class Transfer:
    """A connection that ended.

    *initial_segments* is the window it began with, *final_segments* that at the end,
    *first_* what it sent, and sent again, in its first round trip. *cwnd_limited*: the
    window grew because it was needed, so that the final one tells of the path.
    """

    bytes_acked: int
    took_us: int
    initial_segments: int
    final_segments: int
    first_segments: int = 0
    first_retransmitted: int = 0
    cwnd_limited: bool = True

    @property
    def is_judge(self) -> bool:
        """Whether the initial window can matter for it."""
        return LEAST_BYTES <= self.bytes_acked <= MOST_BYTES and self.took_us > 0


@dataclass(frozen=True, slots=True)
class Window:
    """What is known of one destination.

    *segments* is what stays in force, *finals* the windows at the end of late
    connections with their times, *first_segments* and *first_retransmitted* what was
    sent under the window in force in first round trips.
    """

    segments: int = DEFAULT_SEGMENTS
    trial: Alternation | None = None
    block_s: float = 0.0
    finals: tuple[tuple[float, int], ...] = ()
    first_segments: int = 0
    first_retransmitted: int = 0
    wait_s: float = FIRST_WAIT_S
    wait_until_s: float = 0.0

    @property
    def in_force(self) -> int:
        """The window that new connections begin with."""
        if self.trial is None:
            return self.segments
        return self.trial.new if self.trial.trying_new else self.trial.old

    @property
    def first_loss(self) -> float:
        """Share sent again in first round trips under the window in force."""
        return self.first_retransmitted / max(1, self.first_segments)

    def proposal(self, now_s: float) -> int:
        """Return half the window that three quarters of late connections reached.

        That in force if too little is known; never less, and at most twice it.
        """
        late = sorted(one for at_s, one in self.finals if now_s - at_s <= MOST_AGE_S)
        if len(late) < LEAST_SAMPLES:
            return self.segments
        quarter = late[(len(late) - 1) // 4]
        most = min(MOST_SEGMENTS, quarter // 2, STEP * self.segments)
        return max(self.segments, most)


@dataclass(frozen=True, slots=True)
class Use:
    """Let new connections begin with *segments*; *why* is for people.

    *record*: ``change``, ``kept`` or ``taken_back``, and "" within a trial.
    """

    segments: int
    why: str
    record: str


def on_transfer(
    window: Window, transfer: Transfer, now_s: float, *, may_try: bool = True
) -> tuple[Window, Use | None]:
    """Take in one connection; return what follows, if anything.

    *may_try* is False while the congestion control of the destination is on trial:
    its blocks would be spoiled.
    """
    window = _note(window, transfer, now_s)
    if _loses(window):
        return _halve(window, now_s)
    if not transfer.is_judge:
        return window, None
    if window.trial is None:
        return _begin(window, now_s, may_try=may_try)
    kind = transfer.bytes_acked.bit_length()
    unit = Unit(kind, transfer.initial_segments, math.log(transfer.took_us))
    trial, verdict = see(window.trial, unit)
    window = replace(window, trial=trial)
    if verdict is None:
        return _hasten(window, now_s)
    return _follow(window, verdict, now_s)


def wants_transfers(window: Window, now_s: float) -> bool:
    """Whether it is of use to hear of each transfer.

    With more than the kernel's window in force, what first round trips lose has to
    be watched.
    """
    is_larger = window.in_force > DEFAULT_SEGMENTS
    return window.trial is not None or is_larger or now_s >= window.wait_until_s


def _note(window: Window, transfer: Transfer, now_s: float) -> Window:
    finals = window.finals
    if transfer.cwnd_limited:
        finals = (*finals, (now_s, transfer.final_segments))[-MOST_SAMPLES:]
    if transfer.initial_segments != window.in_force:
        return replace(window, finals=finals)
    sent = window.first_segments + transfer.first_segments
    again = window.first_retransmitted + transfer.first_retransmitted
    if sent > MOST_SEGMENTS_SENT:  # what was long ago fades
        sent, again = sent // 2, again // 2
    return replace(
        window, finals=finals, first_segments=sent, first_retransmitted=again
    )


def _loses(window: Window) -> bool:
    """Whether the first round trip loses too much, and not by chance.

    By two standard errors of a Poisson count.
    """
    if window.in_force <= DEFAULT_SEGMENTS:
        return False
    if window.first_segments < LEAST_SEGMENTS_SENT:
        return False
    usual = MOST_LOSS * window.first_segments
    return window.first_retransmitted > usual + 2 * math.sqrt(usual)


def _halve(window: Window, now_s: float) -> tuple[Window, Use]:
    lost, old = window.first_loss, window.in_force
    # A window on trial is twice what stays, so half of it is what was.
    segments = max(DEFAULT_SEGMENTS, old // 2)
    window = _rest(window, min(segments, window.segments), now_s)
    why = f"{lost:.1%} of the first round trip were lost with {old} segments"
    return window, Use(window.segments, _again(why, window, now_s), "taken_back")


def _begin(window: Window, now_s: float, *, may_try: bool) -> tuple[Window, Use | None]:
    """Begin to compare, with a block under what is in force: nothing changes yet."""
    proposal = window.proposal(now_s)
    if not may_try or now_s < window.wait_until_s:
        return window, None
    if proposal == window.segments:
        if len(window.finals) < MOST_SAMPLES:
            return window, None
        # Enough was heard: this path takes no more.
        return replace(window, finals=(), wait_until_s=now_s + FIRST_WAIT_S), None
    trial = Alternation(window.segments, proposal, most_blocks=MOST_BLOCKS)
    return replace(window, trial=trial, block_s=now_s), None


def _hasten(window: Window, now_s: float) -> tuple[Window, Use | None]:
    """End a block that takes too long: try with what there is, or give up."""
    trial = window.trial
    if trial is None or now_s - window.block_s < LONGEST_BLOCK_S:
        return window, None
    if trial.is_enough:
        window = replace(window, trial=next_block(trial))
        return _follow(window, Verdict.TRY_NEW, now_s)
    was_new = trial.trying_new
    window = _rest(window, trial.old, now_s)
    why = _again("too few transfers to compare", window, now_s)
    return window, Use(trial.old, why, "taken_back") if was_new else None


def _follow(
    window: Window, verdict: Verdict, now_s: float
) -> tuple[Window, Use | None]:
    trial = window.trial
    if trial is None:
        return window, None
    window = replace(window, block_s=now_s, first_segments=0, first_retransmitted=0)
    match verdict:
        case Verdict.TRY_NEW:
            if trial.pairs.pairs:
                return window, Use(
                    trial.new, f"again, for comparison: {trial.pairs.words()}", ""
                )
            late = len(window.finals)
            why = (
                f"three quarters of {late} late connections reached a window of "
                f"{2 * trial.new} segments or more; compared in turn"
            )
            return window, Use(trial.new, why, "change")
        case Verdict.TRY_OLD:
            return window, Use(trial.old, f"for comparison: {trial.pairs.words()}", "")
        case Verdict.PAID:
            sooner = -math.expm1(-trial.gain)
            window = replace(
                window, trial=None, segments=trial.new, wait_s=FIRST_WAIT_S
            )
            why = (
                f"transfers of 15 to 500 kB ended {sooner:.0%} sooner at the median "
                f"({trial.pairs.words()}; in turn, not randomised)"
            )
            return window, Use(trial.new, why, "kept")
        case Verdict.UNPAID:
            window = _rest(window, trial.old, now_s)
            why = f"no gain worth it ({trial.pairs.words()})"
            return window, Use(trial.old, _again(why, window, now_s), "taken_back")


def _rest(window: Window, segments: int, now_s: float) -> Window:
    """Return the window without a trial, and none before the wait is over."""
    return Window(
        segments=segments,
        finals=window.finals,
        wait_s=min(2 * window.wait_s, LONGEST_WAIT_S),
        wait_until_s=now_s + window.wait_s,
    )


def _again(why: str, window: Window, now_s: float) -> str:
    return f"{why}, next try in {seconds_words(window.wait_until_s - now_s)}"
