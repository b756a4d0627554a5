"""One side of TCP buffers: the maximum of ``tcp_wmem``, or of ``tcp_rmem``.

A hint from BPF starts looks at the sockets of one destination; epochs of looks
go to ``policy.limit``, whose verdicts become requests here. All functions take
the state of one side in one network namespace and return the next.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bpftune.model import (
    Advise,
    Change,
    Facts,
    Keep,
    Nudge,
    Request,
    Sampled,
    Wake,
)
from bpftune.policy import limit, receiver, sender
from bpftune.policy.epoch import (
    LOOKS_PER_SLICE,
    Epoch,
    Gathering,
    LimitedBy,
    Look,
    gather,
    slice_seconds,
)
from bpftune.policy.paired import ALPHA
from bpftune.tuners.tcp_buffer import say, shrink, trials
from bpftune.tuners.tcp_buffer.paths import (
    FIRST_DOUBT_S,
    TCP_MODERATE_RCVBUF,
    Answer,
    Paths,
    Samples,
    Side,
    Watched,
    afresh,
)

if TYPE_CHECKING:
    from bpftune.model import Prefix
    from bpftune.policy.threshold import Outlook

MOST_WATCHED = 4
LOOKS_ASKED = LOOKS_PER_SLICE * 25
LONGEST_DOUBT_S = 3600.0

Judged = tuple[Watched, tuple[limit.Verdict, ...]]


def on_hint(
    state: Paths,
    prefix: Prefix,
    min_rtt_us: int,
    facts: Facts,
    *,
    is_fixed: bool = False,
) -> Answer:
    """Look closer at a destination whose connection seems short of buffer."""
    watched = state.paths.get(prefix, Watched())
    waiting = max(watched.path.wait_until_s, watched.deaf_until_s)
    busy = sum(w.watching for w in state.paths.values()) >= MOST_WATCHED
    may = state.may_change(facts)
    if not may or watched.watching or busy or facts.now_s < waiting:
        return state, []
    every_s = slice_seconds(min_rtt_us) / LOOKS_PER_SLICE
    watched = replace(
        afresh(watched), is_fixed=is_fixed, watching=True, every_s=every_s
    )
    return state.put(prefix, watched), [state.watch(prefix, every_s, LOOKS_ASKED)]


def _looks(
    side: Side, watched: Watched, sockets: Samples, ceiling: int
) -> tuple[Watched, tuple[Look, ...]]:
    """Tell what holds each socket back."""
    if not side.receivers:
        return watched, (*[sender.look_at(one, ceiling) for one in sockets],)
    recent = {
        one.cookie: (*watched.recent.get(one.cookie, ()), one)[-LOOKS_PER_SLICE - 1 :]
        for one in sockets
    }
    rtt_us = receiver.least_rtt_us(sockets, watched.least_rtt_us)
    looks = (*[receiver.look_at(one, ceiling, rtt_us) for one in recent.values()],)
    held = {one.cookie for one in looks if one.cause is LimitedBy.RCVBUF}
    cohorts = watched.cohorts
    if sockets:
        seen = (*[receiver.seen(one, held=one.cookie in held) for one in sockets],)
        cohorts = cohorts.see(ceiling, sockets[0].now_jiffies, seen)
    watched = replace(watched, recent=recent, cohorts=cohorts, least_rtt_us=rtt_us)
    return watched, looks


def _judge_by_age(watched: Watched, now_s: float) -> Judged:
    """See if connections made since the raise tell whether it paid."""
    path, climb, cohorts = watched.path, watched.path.climb, watched.cohorts
    if climb is None:
        return watched, ()
    slices = watched.gathering.slices
    ripe = cohorts.ripe(climb.level, climb.paid)
    if not slices or len(ripe) <= watched.judged:
        return watched, ()
    gain = cohorts.gain(climb.level, climb.paid)
    if gain is None:
        return watched, ()
    starved = ripe[-1].starved
    proved = cohorts.is_proved(climb.level, climb.paid, ALPHA)
    path, verdicts = limit.by_age(
        path, Epoch(slices), gain, now_s, starved=starved, proved=proved
    )
    return replace(watched, path=path, judged=len(ripe)), verdicts


def _judge(
    watched: Watched,
    epoch: Epoch | None,
    ceiling: int,
    now_s: float,
    outlook: Outlook,
    *,
    may: bool,
) -> Judged:
    """Let the policy decide, if there is something to decide on."""
    if epoch is None:
        return _judge_by_age(watched, now_s)
    path = watched.path
    in_turn = bool(watched.cohorts.of(path.climb.paid if path.climb else ceiling))
    path, verdicts = limit.step(
        path,
        epoch,
        ceiling,
        now_s,
        may_climb=may,
        in_turn=in_turn,
        outlook=outlook,
    )
    return replace(watched, path=path), verdicts


def on_sampled(state: Paths, event: Sampled, facts: Facts) -> Answer:
    """Take in one look at the sockets of a destination."""
    if event.prefix is None:
        return shrink.on_unused_check(state, event, facts)
    watched = state.paths.get(event.prefix)
    if watched is None or not watched.watching or not state.may_change(facts):
        return state, [state.watch(event.prefix, 0, 0)]
    now_s = facts.now_s
    ceiling = state.limit_bytes(watched, facts)
    watched, looks = _looks(state.side, watched, event.sockets, ceiling)
    climb = watched.path.climb
    if climb and now_s < climb.settle_until_s:
        return _renewed(state, event, replace(watched, gathering=Gathering()))
    gathering, epoch = gather(watched.gathering, looks)
    if epoch is None and climb is not None:
        epoch = limit.out_of_patience(gathering)
        gathering = gathering if epoch is None else Gathering()
    may = not state.climbing(other_than=event.prefix) and not watched.is_fixed
    watched = replace(watched, gathering=gathering)
    outlook = trials.outlook(state.tunable, event.prefix, facts)
    watched, verdicts = _judge(watched, epoch, ceiling, now_s, outlook, may=may)
    hopeless = gathering.hopeless
    if hopeless is not None:
        path, verdicts = limit.give_back(watched.path, None, now_s, hopeless, None)
        watched = replace(watched, path=path)
    path = watched.path
    requests = _requests(state, event.prefix, verdicts, facts)
    if any(isinstance(verdict, limit.Raise) for verdict in verdicts):
        requests.append(Wake(state.side.unused, 60))
        state = shrink.grew(state)
        watched = replace(watched, doubt_s=FIRST_DOUBT_S, judged=0)
    if watched.is_fixed and path.streak >= 2 and path.last is not None:
        requests.append(_advice(event.prefix, path.last))
        return _rested(state, event.prefix, watched, requests, now_s)
    bored = hopeless is not None or path.content >= 2
    if path.climb is None and (bored or now_s < path.wait_until_s):
        return _rested(state, event.prefix, watched, requests, now_s)
    state, more = _renewed(state, event, watched)
    return state, requests + more


def _renewed(state: Paths, event: Sampled, watched: Watched) -> Answer:
    assert event.prefix is not None  # noqa: S101  callers have looked
    requests: list[Request] = []
    if event.left <= LOOKS_ASKED // 2:  # early: should a look be lost, others come
        requests.append(state.watch(event.prefix, watched.every_s, LOOKS_ASKED))
    return state.put(event.prefix, watched), requests


def _rested(
    state: Paths,
    prefix: Prefix,
    watched: Watched,
    requests: list[Request],
    now_s: float,
) -> Answer:
    """Stop looking, and believe the next hint only after a while."""
    watched = replace(
        afresh(watched),
        watching=False,
        deaf_until_s=now_s + watched.doubt_s,
        doubt_s=min(2 * watched.doubt_s, LONGEST_DOUBT_S),
        path=replace(watched.path, streak=0, content=0),
    )
    return state.put(prefix, watched), [*requests, state.watch(prefix, 0, 0)]


def _requests(
    state: Paths, prefix: Prefix, verdicts: tuple[limit.Verdict, ...], facts: Facts
) -> list[Request]:
    """Say in requests what follows from *verdicts*."""
    requests: list[Request] = []
    for verdict in verdicts:
        requests.append(_request(state.side, prefix, verdict, facts))
        if isinstance(verdict, limit.Raise) and state.side.receivers:
            # Whoever was held back has a buffer of the old limit.
            nearly = int(0.9 * verdict.old)
            requests.append(Nudge(state.tunable, prefix, nearly))
    return requests


def _request(
    side: Side, prefix: Prefix, verdict: limit.Verdict, facts: Facts
) -> Request:
    tunable = side.tunable
    low, default, _ = facts.values[tunable]
    words = say.Words(prefix, receivers=side.receivers)
    tried = trials.trial(prefix, verdict)
    match verdict:
        case limit.Raise():
            return Change(
                tunable,
                (low, default, verdict.level),
                why=words.short_of_buffer(verdict),
                trial=str(prefix),
                sockets=len(verdict.epoch.starved) or 1,
                tried=tried,
            )
        case limit.Kept():
            why = words.kept(verdict)
            return Keep(tunable, why, verdict.proved, tried=tried)
        case limit.TakenBack():
            return Change(
                tunable,
                (low, default, verdict.paid),
                why=say.taken_back(verdict),
                record="taken_back",
                trial=str(prefix),
                tried=tried,
            )


def _advice(prefix: Prefix, epoch: Epoch) -> Advise:
    """Say that the admin's choice holds receivers back."""
    why = say.Words(prefix, receivers=True).short_of_fixed_buffer(epoch)
    return Advise(TCP_MODERATE_RCVBUF, (0,), (1,), why)


def on_refused(state: Paths, value: tuple[int, ...], facts: Facts) -> Answer:
    """End the climb whose raise to *value* was refused, with what is in force."""
    for prefix, watched in state.paths.items():
        climb = watched.path.climb
        if climb is None or climb.level != value[2]:
            continue
        path, verdicts = limit.refused(watched.path, facts.now_s)
        requests = _requests(state, prefix, verdicts, facts)
        stopped = replace(watched, path=path)
        return _rested(state, prefix, stopped, requests, facts.now_s)
    return state, []
