"""Did connections made under another limit get more? Compared at equal age.

A connection that ends before two epochs are over cannot be measured before and
after. So the connections that were made under one limit are compared with those
made under another, by what they had delivered when they were as old: a young
connection is slow by itself (slow start). Ages are in ticks of the kernel.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from bpftune.policy.evidence import Estimate, chance_of_separation

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_LIVES = 32
LEAST_POINTS = 8
STARVED = 1 / 3  # share of looks; three quarters were seen where it was short
STEP = 1.1  # each point of a life is a tenth older than the one before
USUAL_DEVIATION = 0.1
"""Of the log of what two connections of equal age delivered, before any is known:
counts as two degrees of freedom."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A connection at one instant: when it was made, how old it is, what it got."""

    cookie: int
    born: int
    age: int
    delivered: int
    held: bool = False


@dataclass(frozen=True, slots=True)
class Life:
    """One connection: what it had delivered (*bytes_*) at which *ages*.

    *limit* is what was in force at its birth and at all of these ages. *held* is
    in how many *looks* the limit held it back.
    """

    limit: int
    ages: tuple[int, ...] = ()
    bytes_: tuple[int, ...] = ()
    over: bool = False
    looks: int = 0
    held: int = 0

    @property
    def oldest(self) -> int:
        """The greatest age at which it was seen."""
        return self.ages[-1] if self.ages else 0

    @property
    def counts(self) -> bool:
        """Whether enough is known of it."""
        return len(self.ages) >= LEAST_POINTS

    @property
    def starved(self) -> bool:
        """Whether the limit held it back for long: the beginning is slow anyway."""
        return self.held > STARVED * self.looks

    def grow(self, seen: Seen) -> Life:
        """Add a point, unless it is hardly older than the last."""
        if self.over:
            return self
        life = replace(self, looks=self.looks + 1, held=self.held + seen.held)
        if seen.age < STEP * self.oldest or seen.age <= self.oldest:
            return life
        delivered = (*self.bytes_, max(1, seen.delivered))
        return replace(life, ages=(*self.ages, seen.age), bytes_=delivered)

    def log_at(self, age: int) -> float | None:
        """Return the logarithm of the bytes at *age*; None if it was not seen then."""
        after = bisect_left(self.ages, age)
        if after == len(self.ages) or (after == 0 and self.ages[0] != age):
            return None
        if self.ages[after] == age:
            return math.log(self.bytes_[after])
        young, old = self.ages[after - 1], self.ages[after]
        share = (age - young) / (old - young)
        before = self.bytes_[after - 1]
        return math.log(before + share * (self.bytes_[after] - before))


@dataclass(frozen=True, slots=True)
class Cohorts:
    """The lives of the latest connections of a path, by socket.

    *limit* has been in force since the tick *since*.
    """

    limit: int = 0
    since: int = 0
    lives: Mapping[int, Life] = field(default_factory=dict)

    def see(self, limit: int, now: int, sockets: tuple[Seen, ...]) -> Cohorts:
        """Take in a look at all connections, at tick *now* under *limit*."""
        state = self
        if limit != self.limit:
            # What lives on is no longer comparable; what it was before stays so.
            since = now if self.limit else 0
            state = Cohorts(limit, since, self._all_over())
        here = {one.cookie for one in sockets}
        lives = {
            cookie: life if cookie in here else replace(life, over=True)
            for cookie, life in state.lives.items()
        }
        for one in sockets:
            life = lives.get(one.cookie)
            if life is None and one.born >= state.since:
                life = Life(limit)
            if life is not None:
                lives[one.cookie] = life.grow(one)
        return replace(state, lives=dict(list(lives.items())[-MOST_LIVES:]))

    def _all_over(self) -> dict[int, Life]:
        return {cookie: replace(life, over=True) for cookie, life in self.lives.items()}

    def of(self, limit: int) -> list[Life]:
        """Return the lives under *limit* of which enough is known."""
        return [one for one in self.lives.values() if one.limit == limit and one.counts]

    def ripe(self, limit: int, before: int) -> list[Life]:
        """Return those under *limit* that can be compared with those *before* them.

        They ended, or are as old as the oldest of those.
        """
        old = max((life.oldest for life in self.of(before)), default=0)
        ripe = [one for one in self.of(limit) if one.over or one.oldest >= old]
        return ripe if old else []

    def gain(self, limit: int, before: int) -> Estimate | None:
        """Return how much more was delivered under *limit* than *before*, in nats.

        At the greatest age that some of both have reached. None without any.
        """
        known = self._at_equal_age(limit, before)
        if not all(known):
            return None
        means = [math.fsum(group) / len(group) for group in known]
        squares = 2 * USUAL_DEVIATION**2
        freedom = 2
        for group, mean in zip(known, means, strict=True):
            squares += math.fsum((one - mean) ** 2 for one in group)
            freedom += len(group) - 1
        per_group = sum(1 / len(group) for group in known)
        error = math.sqrt(squares / freedom * per_group)
        return Estimate(means[0] - means[1], error)

    def is_proved(self, limit: int, before: int, alpha: float) -> bool:
        """Tell whether each got more under *limit* than all *before* it.

        And whether that is rarer by chance than *alpha*.
        """
        new, old = self._at_equal_age(limit, before)
        if not new or not old or chance_of_separation(len(old), len(new)) > alpha:
            return False
        return min(new) > max(old)

    def _at_equal_age(self, limit: int, before: int) -> list[list[float]]:
        """Return the logarithms of the bytes of both groups; empty without any."""
        groups = self.of(limit), self.of(before)
        if not all(groups):
            return [[], []]
        age = min(max(life.oldest for life in group) for group in groups)
        logs = [[life.log_at(age) for life in group] for group in groups]
        return [[one for one in group if one is not None] for group in logs]
