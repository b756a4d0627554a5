"""What happens when, all of it decided by a seed.

The time is divided into rounds. Most of a round is one calm life of the daemon,
long enough to measure slopes; the rest are rough lives, of seconds, that end by a
kill more often than not. What the world does meanwhile is the same in both.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

ROUND_S = 3600.0
CALM_SHARE = 0.75
ROUGH_LIFE_S = (1.0, 15.0)
LEAST_LIFE_S = 0.5


class End(StrEnum):
    """How a life of the daemon ends."""

    KILL = "SIGKILL"
    TERM = "SIGTERM"
    INT = "SIGINT"


class Kind(StrEnum):
    """What the world does."""

    CONNECT = "connect"
    """Short connections to networks that differ."""

    CHURN = "churn"
    """Network namespaces come, do something and go."""

    POKE = "poke"
    """Events are caused, and by them changes."""

    STALL = "stall"
    """The daemon gets no time while more events come than there is room for."""

    BOUT = "bout"
    """A transfer over a path on which the buffers are too small."""

    RENEW = "renew"
    """A namespace that is looked after ends, and a new one takes its place."""

    SET = "set"
    """The admin sets a sysctl."""

    SET_SAME = "set the same"
    """The admin writes what is there already."""

    SET_BAD = "set nonsense"
    """The admin writes what the kernel refuses."""

    SET_WORD = "set a word"
    """The admin chooses a congestion control."""

    ADOPT = "adopt"
    """The admin gives back what is theirs."""

    PAUSE = "pause"
    """The admin pauses a namespace, or resumes it."""

    ASK = "ask"
    """A client asks."""

    RUDE = "rude"
    """A client says nonsense, or nothing."""


PER_MINUTE = {
    Kind.CONNECT: 12.0,
    Kind.CHURN: 4.0,
    Kind.POKE: 8.0,
    Kind.STALL: 2.0,
    Kind.BOUT: 1.0,
    Kind.RENEW: 1.5,
    Kind.SET: 3.0,
    Kind.SET_SAME: 2.0,
    Kind.SET_BAD: 2.0,
    Kind.SET_WORD: 1.0,
    Kind.ADOPT: 1.5,
    Kind.PAUSE: 1.0,
    Kind.ASK: 6.0,
    Kind.RUDE: 3.0,
}


@dataclass(frozen=True, order=True)
class Act:
    """Something that the world does *at_s* after the beginning.

    *number* is at random, for whoever has to choose something in it.
    """

    at_s: float
    kind: Kind
    number: int


@dataclass(frozen=True)
class Life:
    """One run of the daemon, from *begin_s* until it is ended at *until_s*.

    A *calm* one is measured. One that is *early* is ended without waiting for it to
    be ready, *abrupt* ones in the middle of whatever happens. *roll_back*: then all
    is rolled back.
    """

    begin_s: float
    until_s: float
    end: End
    calm: bool = False
    early: bool = False
    abrupt: bool = False
    roll_back: bool = False

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.until_s - self.begin_s


@dataclass(frozen=True)
class Plan:
    """All lives, one after the other, and all acts, in order."""

    lives: tuple[Life, ...]
    acts: tuple[Act, ...]


def plan(seed: int, seconds: float) -> Plan:
    """Return what happens in *seconds*."""
    return Plan(tuple(lives(seed, seconds)), tuple(acts(seed, seconds)))


def lives(seed: int, seconds: float) -> Iterator[Life]:
    """Yield the lives of the daemon in *seconds*, without a gap."""
    chance = random.Random(seed)
    rounds = max(1, round(seconds / ROUND_S))
    round_s = seconds / rounds
    for number in range(rounds):
        begin_s = number * round_s
        calm_until_s = begin_s + CALM_SHARE * round_s
        yield _ended(chance, Life(begin_s, calm_until_s, End.TERM, calm=True))
        yield from _rough(chance, calm_until_s, begin_s + round_s)


def _rough(chance: random.Random, begin_s: float, until_s: float) -> Iterator[Life]:
    while begin_s < until_s:
        end_s = begin_s + chance.uniform(*ROUGH_LIFE_S)
        if until_s - end_s < LEAST_LIFE_S:
            end_s = until_s
        early = chance.random() < 0.25
        abrupt = chance.random() < 0.5
        life = Life(begin_s, end_s, End.TERM, early=early, abrupt=early or abrupt)
        yield _ended(chance, life)
        begin_s = end_s


def _ended(chance: random.Random, life: Life) -> Life:
    end = chance.choices((End.KILL, End.TERM, End.INT), (6, 3, 1))[0]
    return Life(
        life.begin_s,
        life.until_s,
        end,
        calm=life.calm,
        early=life.early,
        abrupt=life.abrupt,
        roll_back=chance.random() < 0.4,
    )


def acts(seed: int, seconds: float) -> list[Act]:
    """Return all acts in *seconds*: each kind comes at random, at its own rate."""
    found = []
    for kind, per_minute in PER_MINUTE.items():
        # One kind more changes nothing about the others.
        chance = random.Random(f"{seed} {kind}")
        at_s = chance.expovariate(per_minute / 60)
        while at_s < seconds:
            found.append(Act(at_s, kind, chance.getrandbits(32)))
            at_s += chance.expovariate(per_minute / 60)
    return sorted(found)
