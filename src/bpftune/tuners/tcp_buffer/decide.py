"""Pass an event to the function for it, with what is known of its namespace."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from bpftune.model import (
    Event,
    Facts,
    NetnsGone,
    Rejected,
    Request,
    Sampled,
    Survey,
    Tunable,
    Wake,
    Woken,
    Yielded,
)
from bpftune.tuners.tcp_buffer import initial, shrink, side
from bpftune.tuners.tcp_buffer.events import (
    SURVEY_RECEIVERS,
    SURVEY_SENDERS,
    CannotOptIn,
    Connected,
    RcvbufLimited,
    SndbufLimited,
    Transferred,
)
from bpftune.tuners.tcp_buffer.initial import Initial
from bpftune.tuners.tcp_buffer.paths import RECEIVERS, SENDERS, Paths

SURVEY_S = 60.0


@dataclass(frozen=True, slots=True)
class Sides:
    """What is known of one network namespace."""

    senders: Paths = field(default_factory=lambda: Paths(SENDERS))
    receivers: Paths = field(default_factory=lambda: Paths(RECEIVERS))
    initial: Initial = field(default_factory=Initial)
    surveying: bool = False  # a pass over the receivers is due

    def climbing(self) -> bool:
        """Tell if a limit is on trial there."""
        return (
            self.senders.climbing()
            or self.receivers.climbing()
            or self.initial.on_trial
        )

    def of(self, receivers: bool) -> Paths:
        """Return one side."""
        return self.receivers if receivers else self.senders

    def put(self, paths: Paths) -> Sides:
        """Return both, with *paths* instead of that side's."""
        if paths.side.receivers:
            return replace(self, receivers=paths)
        return replace(self, senders=paths)


Answer = tuple[Sides, "list[Request]"]


def decide(state: Sides, event: Event, facts: Facts) -> Answer:
    """Pass *event* to the function for it; anything else changes nothing."""
    match event:
        case CannotOptIn() | Connected():
            return _survey(state, event)
        case Woken(name=name) if name in {SURVEY_SENDERS, SURVEY_RECEIVERS}:
            return _survey(state, event)
        case Transferred() | Woken(name=initial.TIMER):
            return _initial(state, event, facts)
        case RcvbufLimited() | Rejected(tunable=RECEIVERS.tunable) if (
            state.initial.on_trial
        ):
            return _initial(state, event, facts)
    return _one_side(state, event, facts)


def _survey(state: Sides, event: Event) -> Answer:
    """Look for connections that give no sign."""
    match event:
        case CannotOptIn():
            return state, [Wake(SURVEY_SENDERS, SURVEY_S)]
        case Woken(name=name) if name == SURVEY_SENDERS:
            return state, [Survey(SURVEY_SENDERS)]
        case Connected():
            # A receiver held at its window gives no sign of it: look at all of
            # them once a minute, as long as there are any.
            due = [] if state.surveying else [Wake(SURVEY_RECEIVERS, SURVEY_S)]
            return replace(state, surveying=True), list[Request](due)
    return replace(state, surveying=False), [Survey(SURVEY_RECEIVERS)]


def _initial(state: Sides, event: Event, facts: Facts) -> Answer:
    """Decide on the size that receive buffers begin with."""
    known, may = state.initial, not state.receivers.watching()
    requests: list[Request] = []
    match event:
        case Transferred():
            known, requests = initial.on_transferred(
                known, event, facts, may_switch=may
            )
        case Woken():
            known, requests = initial.on_wake(known, facts, may_switch=may)
        case RcvbufLimited():
            # The hint will come again, when the tunable is free.
            known, requests = initial.make_way(known, facts)
        case Rejected(value=value):
            known = initial.on_refused(known, value, facts)
    return replace(state, initial=known), requests


def _one_side(state: Sides, event: Event, facts: Facts) -> Answer:
    match event:
        case SndbufLimited(prefix=prefix, min_rtt_us=rtt_us):
            answer = side.on_hint(state.senders, prefix, rtt_us, facts)
        case RcvbufLimited(prefix=prefix, min_rtt_us=rtt_us, is_fixed=fixed):
            answer = side.on_hint(
                state.receivers, prefix, rtt_us, facts, is_fixed=bool(fixed)
            )
        case Sampled(receivers=receivers):
            answer = side.on_sampled(state.of(receivers), event, facts)
        case Woken(name=SENDERS.unused):
            answer = shrink.on_wake(state.senders, facts)
        case Woken(name=RECEIVERS.unused):
            answer = shrink.on_wake(state.receivers, facts)
        case Rejected(tunable=SENDERS.tunable, value=value):
            answer = side.on_refused(state.senders, value, facts)
        case Rejected(tunable=RECEIVERS.tunable, value=value):
            answer = side.on_refused(state.receivers, value, facts)
        case Yielded(tunable=tunable):
            return _forget(state, tunable)
        case NetnsGone():
            return Sides(), []
        case _:
            return state, []
    paths, requests = answer
    return state.put(paths), requests


def _forget(state: Sides, tunable: Tunable) -> Answer:
    """Drop all plans for what is the admin's now."""
    if tunable == initial.TUNABLE:
        state = replace(state, initial=Initial())
    for paths in (state.senders, state.receivers):
        if paths.tunable == tunable:
            ends = [paths.watch(prefix, 0, 0) for prefix in paths.paths]
            return state.put(Paths(paths.side)), list[Request](ends)
    return state, []
