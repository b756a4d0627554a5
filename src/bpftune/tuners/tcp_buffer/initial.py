"""The size that receive buffers begin with: the second number of ``tcp_rmem``.

It gives the first window. Where the kernel's own 128 KiB were lowered, transfers of
some ten or hundred kilobytes wait for the window to open, a round trip each time.
No initial size gains anything beyond: the kernel offers at most 65535 bytes in a
handshake whatever there is (``tcp_select_initial_window()``), and enlarges the buffer
as fast as slow start needs it. Nor does any of ``tcp_wmem``'s: that buffer follows
the congestion window from the first round trip (``tcp_sndbuf_expand()``).

A transfer is over before it could be measured twice, so both sizes are in force in
turn, and whole transfers are compared (``policy.alternate``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bpftune.model import Change, Facts, Keep, Prefix, Request, Wake
from bpftune.policy.alternate import Alternation, Unit, Verdict, next_block, see
from bpftune.text import seconds_words, size_words
from bpftune.tuners.tcp_buffer import say
from bpftune.tuners.tcp_buffer.paths import RECEIVERS
from bpftune.tuners.tcp_buffer.shrink import is_short

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bpftune.tuners.tcp_buffer.events import Transferred

ENOUGH_BYTES = 128 << 10
"""Twice the largest first window: half of a buffer is overhead. C: INITIAL_ENOUGH."""

TUNABLE = RECEIVERS.tunable
TRIAL = "initial size"
TIMER = "initial size"
BLOCK_S = 60.0
FIRST_WAIT_S = 600.0
LONGEST_WAIT_S = 24 * 3600.0
SETTLE_LIVES = 2
"""After a switch the first to end are the quick ones; so many of the longest lives
later those that end are like all."""


@dataclass(frozen=True, slots=True)
class Initial:
    """What is known of one network namespace.

    *since_s* is when the present block began to count, *longest_us* the longest
    transfer and *largest_bytes* the largest.
    """

    trial: Alternation | None = None
    since_s: float = 0.0
    longest_us: int = 0
    largest_bytes: int = 0
    wait_s: float = FIRST_WAIT_S
    wait_until_s: float = 0.0

    @property
    def on_trial(self) -> bool:
        """Whether the larger size is in force, and may be taken back."""
        return self.trial is not None and self.trial.trying_new


Answer = tuple[Initial, "list[Request]"]


def on_transferred(
    state: Initial, event: Transferred, facts: Facts, *, may_switch: bool
) -> Answer:
    """Take in one transfer; with *may_switch* the other size may come into force."""
    if TUNABLE not in facts.values or TUNABLE in facts.yielded:
        return Initial(), []
    initial = facts.values[TUNABLE][1]
    requests: list[Request] = []
    trial = state.trial
    if trial is None:
        held = event.bytes_received > initial // 2
        if not held or initial >= ENOUGH_BYTES or facts.now_s < state.wait_until_s:
            return state, []
        trial = Alternation(initial, initial)
        state = replace(state, since_s=facts.now_s, longest_us=0, largest_bytes=0)
        requests.append(Wake(TIMER, BLOCK_S))
    elif initial != (trial.new if trial.trying_new else trial.old):
        return _waiting(state, facts, 1), []  # somebody else decided
    state = replace(
        state,
        trial=trial,
        longest_us=max(state.longest_us, event.took_us),
        largest_bytes=max(state.largest_bytes, event.bytes_received),
    )
    if facts.now_s < state.since_s:
        return state, requests
    kind = (event.prefix, event.bytes_received.bit_length())
    unit = Unit(kind, event.initial_bytes, math.log(max(1, event.took_us)))
    after, verdict = see(trial, unit)
    if verdict is Verdict.TRY_NEW and not may_switch:
        return state, requests  # the maximum comes first: wait with what there is
    state, more = _follow(replace(state, trial=after), verdict, facts)
    return state, [*requests, *more]


def _follow(state: Initial, verdict: Verdict | None, facts: Facts) -> Answer:
    trial = state.trial
    assert trial is not None  # noqa: S101  there is no verdict without
    match verdict:
        case Verdict.TRY_NEW:
            return _try_new(state, trial, facts)
        case Verdict.TRY_OLD:
            won = trial.pairs.words()
            why = f"for comparison; it comes again if as many transfers follow ({won})"
            return _settling(state, facts), [_change(facts, trial.old, why, trial)]
        case Verdict.PAID:
            grown = replace(_waiting(state, facts, 1), wait_s=FIRST_WAIT_S)
            keep = Keep(
                TUNABLE, _paid(state, trial), proved=True, evidence=_facts(trial)
            )
            return grown, [keep, Wake(TIMER, BLOCK_S)]
        case Verdict.UNPAID:
            why = f"no gain worth it ({say.percent(trial.gain)}, {trial.pairs.words()})"
            return _taken_back(state, why, facts)
    return state, []


def _try_new(state: Initial, trial: Alternation, facts: Facts) -> Answer:
    if trial.new == trial.old:
        new = _useful(trial.old, state.largest_bytes, facts.values[TUNABLE][2])
        if new == trial.old:  # the maximum is as small
            return _waiting(state, facts, 2), []
        trial = replace(trial, new=new)
    if trial.pairs.pairs:
        why = f"again, for comparison ({trial.pairs.words()})"
        return _tried(state, trial, why, facts)
    sources = {str(prefix) for prefix, _ in _kinds(trial)}
    source = f" from {next(iter(sources))}" if len(sources) == 1 else ""
    why = (
        f"{len(trial.controls)} transfers{source} of up to "
        f"{size_words(state.largest_bytes)} began with a window of about "
        f"{size_words(trial.old // 2)}; compared in turn"
    )
    return _tried(state, trial, why, facts)


def _tried(state: Initial, trial: Alternation, why: str, facts: Facts) -> Answer:
    change = Change(
        TUNABLE,
        _value(facts, trial.new),
        why,
        trial=TRIAL,
        sockets=len(trial.controls),
        evidence=_facts(trial),
    )
    return _settling(replace(state, trial=trial), facts), [change]


def _kinds(trial: Alternation) -> Sequence[tuple[Prefix, int]]:
    return [one.kind for one in trial.controls if isinstance(one.kind, tuple)]


def _useful(initial: int, largest_bytes: int, most: int) -> int:
    """Return the least doubling with a first window as large as the transfers."""
    size = initial
    while size < 2 * largest_bytes and size < ENOUGH_BYTES:
        size *= 2
    return max(initial, min(size, ENOUGH_BYTES, most))


def _value(facts: Facts, initial: int) -> tuple[int, int, int]:
    low, _, most = facts.values[TUNABLE]
    return low, initial, most


def _change(facts: Facts, initial: int, why: str, trial: Alternation) -> Change:
    return Change(
        TUNABLE,
        _value(facts, initial),
        why,
        record="taken_back",
        trial=TRIAL,
        evidence=_facts(trial),
    )


def _settling(state: Initial, facts: Facts) -> Initial:
    """Count only what ends when transfers of all lengths have had the time to."""
    settle_s = SETTLE_LIVES * state.longest_us / 1e6
    return replace(state, since_s=facts.now_s + settle_s)


def _waiting(state: Initial, facts: Facts, times: int) -> Initial:
    """Return the state without a trial, and none before the wait is over."""
    wait_s = min(times * state.wait_s, LONGEST_WAIT_S)
    return Initial(wait_s=wait_s, wait_until_s=facts.now_s + state.wait_s)


def _taken_back(state: Initial, why: str, facts: Facts) -> Answer:
    """End the trial; write only if the larger size is in force."""
    trial = state.trial
    after = _waiting(state, facts, 2)
    if trial is None or facts.values[TUNABLE][1] != trial.new:
        return after, []
    why = f"{why}, next try in {seconds_words(state.wait_s)}"
    return after, [_change(facts, trial.old, why, trial)]


def make_way(state: Initial, facts: Facts) -> Answer:
    """End a trial because the maximum, which matters more, is to be tried."""
    if not state.on_trial:
        return state, []
    return _taken_back(state, "the maximum may be too small, that comes first", facts)


def on_refused(state: Initial, value: tuple[int, ...], facts: Facts) -> Initial:
    """End the trial whose size was refused."""
    refused = state.trial is not None and value[1] == state.trial.new
    return _waiting(state, facts, 2) if refused and state.on_trial else state


def on_wake(state: Initial, facts: Facts, *, may_switch: bool) -> Answer:
    """Once a minute: no block lasts for ever, and memory may be short."""
    if TUNABLE not in facts.values or TUNABLE in facts.yielded:
        return Initial(), []
    again = Wake(TIMER, BLOCK_S)
    trial = state.trial
    if trial is None:
        return _if_short(state, facts, again)
    if facts.now_s < state.since_s + BLOCK_S:
        return state, [again]
    if trial.is_enough and may_switch:
        state, requests = _follow(
            replace(state, trial=next_block(trial)), Verdict.TRY_NEW, facts
        )
        return state, [*requests, again]
    if trial.new == trial.old:  # nothing was written, begin anew
        return replace(state, trial=None), []
    why = "too few transfers to compare"
    if trial.on_strangers_only:
        why = (
            "new connections do not get it: those that are accepted have the size with "
            "which their listener was opened"
        )
    state, requests = _taken_back(state, why, facts)
    return state, requests


def _if_short(state: Initial, facts: Facts, again: Wake) -> Answer:
    """Give back what was grown when TCP is short of memory."""
    now, found = facts.values[TUNABLE][1], facts.found[TUNABLE][1]
    if now <= found:
        return state, []
    if not is_short(facts.memory):
        return state, [again]
    why = say.short_of_memory(facts.memory)
    value = _value(facts, found)
    shrunk = Change(TUNABLE, value, why, record="shrunk", evidence={})
    return _waiting(state, facts, 2), [shrunk]


def _paid(state: Initial, trial: Alternation) -> str:
    sooner, least = (-math.expm1(-nats) for nats in (trial.gain, trial.least_gain))
    return (
        f"transfers of up to {size_words(state.largest_bytes)} ended {sooner:.0%} "
        f"sooner at the median (at least {max(0.0, least):.0%}; "
        f"{trial.pairs.words()}; in turn, not randomised)"
    )


def _facts(trial: Alternation) -> dict[str, object]:
    if not trial.gains:
        return {"transfers": len(trial.controls)}
    squares = math.fsum((gain - trial.gain) ** 2 for gain in trial.gains)
    spread = math.sqrt(squares / len(trial.gains))
    return {
        "pairs": trial.pairs.pairs,
        "pairs_won": trial.pairs.won,
        "odds": round(trial.pairs.odds, 2),
        "gain_nats": round(trial.gain, 4),
        "gain_deviation_nats": round(spread, 4),
        "randomised": False,
    }
