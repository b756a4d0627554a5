"""The send side: the maximum of ``net.ipv4.tcp_wmem``.

A hint from BPF starts looks at the sockets of one destination; epochs of looks
go to ``policy.limit``, whose verdicts become requests here. All functions take
the state of one network namespace and return the next.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from bpftune.model import (
    Change,
    Event,
    Facts,
    Keep,
    Prefix,
    Request,
    Sampled,
    Tunable,
    Wake,
    Watch,
)
from bpftune.policy import limit
from bpftune.policy.epoch import LOOKS_PER_SLICE, Gathering, gather, slice_seconds
from bpftune.tuners.tcp_buffer import say

if TYPE_CHECKING:
    from collections.abc import Mapping

TCP_WMEM = Tunable("net.ipv4.tcp_wmem")

MOST_PATHS = 64
MOST_WATCHED = 4
LOOKS_ASKED = LOOKS_PER_SLICE * 25
FIRST_PATIENCE = 10  # checks of a minute each before an unused limit shrinks
LONGEST_PATIENCE = 24 * 60
FIRST_DOUBT_S = 10.0
LONGEST_DOUBT_S = 3600.0
UNUSED = "unused"  # the name of the timer that looks for an unused limit


@dataclass(frozen=True, slots=True)
class SndbufLimited(Event):
    """A sender looked held back by ``tcp_wmem[2]`` at the end of a round trip."""

    prefix: Prefix
    limit_bytes: int
    min_rtt_us: int


@dataclass(frozen=True, slots=True)
class Watched:
    """One destination: the climb, the epoch in the making, and our doubts."""

    path: limit.Path = field(default_factory=limit.Path)
    gathering: Gathering = field(default_factory=Gathering)
    watching: bool = False
    every_s: float = 0.0
    doubt_s: float = FIRST_DOUBT_S
    deaf_until_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Senders:
    """What is known of one network namespace's senders."""

    paths: Mapping[Prefix, Watched] = field(default_factory=dict)
    unused_checks: int = 0
    patience: int = FIRST_PATIENCE
    shrank: bool = False

    def climbing(self, other_than: Prefix | None = None) -> bool:
        """Tell if a path, or another path than this, holds the limit."""
        return any(w.path.climb for p, w in self.paths.items() if p != other_than)

    def put(self, prefix: Prefix, watched: Watched) -> Senders:
        """Remember *watched*, most recent last; forget the oldest idle ones."""
        paths = {p: w for p, w in self.paths.items() if p != prefix}
        paths[prefix] = watched
        for old in list(paths)[: max(0, len(paths) - MOST_PATHS)]:
            if not paths[old].watching:
                del paths[old]
        return replace(self, paths=paths)


Answer = tuple[Senders, list[Request]]


def on_hint(state: Senders, event: SndbufLimited, facts: Facts) -> Answer:
    """Look closer at a destination whose sender seems short of buffer."""
    watched = state.paths.get(event.prefix, Watched())
    waiting = max(watched.path.wait_until_s, watched.deaf_until_s)
    busy = sum(w.watching for w in state.paths.values()) >= MOST_WATCHED
    known = TCP_WMEM in facts.values and TCP_WMEM not in facts.yielded
    if not known or watched.watching or busy or facts.now_s < waiting:
        return state, []
    every_s = slice_seconds(event.min_rtt_us) / LOOKS_PER_SLICE
    watched = replace(watched, watching=True, every_s=every_s, gathering=Gathering())
    return state.put(event.prefix, watched), [Watch(event.prefix, every_s, LOOKS_ASKED)]


def on_sampled(state: Senders, event: Sampled, facts: Facts) -> Answer:
    """Take in one look at the sockets of a destination."""
    if event.prefix is None:
        return _on_unused_check(state, event, facts)
    watched = state.paths.get(event.prefix)
    known = TCP_WMEM in facts.values and TCP_WMEM not in facts.yielded
    if watched is None or not watched.watching or not known:
        return state, [Watch(event.prefix, 0, 0)]
    path, now_s = watched.path, facts.now_s
    if path.climb and now_s < path.climb.settle_until_s:
        watched = replace(watched, gathering=Gathering())
        return _renewed(state, event, watched)
    ceiling = facts.values[TCP_WMEM][2]
    gathering, epoch = gather(watched.gathering, event.sockets, ceiling)
    if epoch is None and path.climb is not None:
        epoch = limit.out_of_patience(gathering)
        gathering = gathering if epoch is None else Gathering()
    watched = replace(watched, gathering=gathering)
    verdicts: tuple[limit.Verdict, ...] = ()
    if epoch is not None:
        may_climb = not state.climbing(other_than=event.prefix)
        path, verdicts = limit.step(path, epoch, ceiling, now_s, may_climb=may_climb)
    hopeless = gathering.hopeless
    if hopeless is not None:
        path, verdicts = limit.give_back(path, None, now_s, hopeless, None)
    watched = replace(watched, path=path)
    requests = [_request(event.prefix, verdict, facts) for verdict in verdicts]
    if any(isinstance(verdict, limit.Raise) for verdict in verdicts):
        requests.append(Wake(UNUSED, 60))
        state = _grew(state)
        watched = replace(watched, doubt_s=FIRST_DOUBT_S)
    bored = hopeless is not None or path.content >= 2
    if path.climb is None and (bored or now_s < path.wait_until_s):
        return _rested(state, event.prefix, watched, requests, now_s)
    state, more = _renewed(state, event, watched)
    return state, requests + more


def _grew(state: Senders) -> Senders:
    """Grow again after shrinking: the shrink was a mistake, be more patient."""
    patience = state.patience * 2 if state.shrank else state.patience
    return replace(
        state,
        unused_checks=0,
        shrank=False,
        patience=min(patience, LONGEST_PATIENCE),
    )


def _renewed(state: Senders, event: Sampled, watched: Watched) -> Answer:
    assert event.prefix is not None  # noqa: S101  callers have looked
    requests: list[Request] = []
    if event.left <= LOOKS_ASKED // 2:  # early: should a look be lost, others come
        requests.append(Watch(event.prefix, watched.every_s, LOOKS_ASKED))
    return state.put(event.prefix, watched), requests


def _rested(
    state: Senders,
    prefix: Prefix,
    watched: Watched,
    requests: list[Request],
    now_s: float,
) -> Answer:
    """Stop looking, and believe the next hint only after a while."""
    watched = replace(
        watched,
        watching=False,
        gathering=Gathering(),
        deaf_until_s=now_s + watched.doubt_s,
        doubt_s=min(2 * watched.doubt_s, LONGEST_DOUBT_S),
        path=replace(watched.path, streak=0, content=0),
    )
    return state.put(prefix, watched), [*requests, Watch(prefix, 0, 0)]


def _request(prefix: Prefix, verdict: limit.Verdict, facts: Facts) -> Request:
    low, default, _ = facts.values[TCP_WMEM]
    match verdict:
        case limit.Raise():
            return Change(
                TCP_WMEM,
                (low, default, verdict.level),
                why=say.short_of_buffer(prefix, verdict),
                trial=str(prefix),
                sockets=len(verdict.epoch.starved) or 1,
                evidence=say.epoch_facts(prefix, verdict.epoch),
            )
        case limit.Kept():
            evidence = say.gain_facts(verdict.gain) | say.epoch_facts(
                prefix, verdict.after
            )
            return Keep(TCP_WMEM, say.kept(prefix, verdict), verdict.proved, evidence)
        case limit.TakenBack():
            return Change(
                TCP_WMEM,
                (low, default, verdict.paid),
                why=say.taken_back(verdict),
                record="taken_back",
                trial=str(prefix),
                evidence=say.gain_facts(verdict.gain)
                | say.epoch_facts(prefix, verdict.after),
            )


def on_refused(state: Senders, value: tuple[int, ...], facts: Facts) -> Answer:
    """End the climb whose raise to *value* was refused, with what is in force."""
    for prefix, watched in state.paths.items():
        climb = watched.path.climb
        if climb is None or climb.level != value[2]:
            continue
        path, verdicts = limit.refused(watched.path, facts.now_s)
        requests = [_request(prefix, verdict, facts) for verdict in verdicts]
        stopped = replace(watched, path=path)
        return _rested(state, prefix, stopped, requests, facts.now_s)
    return state, []


def on_wake(state: Senders, facts: Facts) -> Answer:
    """Check once a minute that a limit above what was found is used."""
    if TCP_WMEM not in facts.values or TCP_WMEM in facts.yielded:
        return state, []
    now, found = facts.values[TCP_WMEM][2], facts.found[TCP_WMEM][2]
    if now <= found:
        return replace(state, unused_checks=0), []
    half = max(found, now // 2)
    return state, [Watch(None, 0, 1, sndbuf_bytes=half + 1), Wake(UNUSED, 60)]


def _on_unused_check(state: Senders, event: Sampled, facts: Facts) -> Answer:
    if event.sockets or state.climbing() or TCP_WMEM not in facts.values:
        return replace(state, unused_checks=0), []
    checks = state.unused_checks + 1
    if checks < state.patience:
        return replace(state, unused_checks=checks), []
    low, default, now = facts.values[TCP_WMEM]
    half = max(facts.found[TCP_WMEM][2], now // 2)
    if half >= now:
        return replace(state, unused_checks=0), []
    shrunk = Change(
        TCP_WMEM,
        (low, default, half),
        why=f"no sender used more than half of it for {checks} minutes",
        record="shrunk",
        evidence={"checks": checks},
    )
    return replace(state, unused_checks=0, shrank=True), [shrunk]
