"""Who chooses in the synthetic world: bpftune, and what it is compared with."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from bpftune.policy.blocks import Block
from bpftune.policy.choice import Choice, add, begin
from bpftune.policy.choice_words import record
from bpftune.policy.next_arm import Next, step
from bpftune.policy.reward import LOSS_COST, Score, SizeClass, Sums, score

from .congestion_world import BBR, CUBIC, Flow, Path, Policy, Users, World

SAFE = (CUBIC, BBR)


@dataclass
class Always:
    """One algorithm for all."""

    name: str

    def arm(self) -> tuple[str, int]:
        return self.name, 1

    def look(self, now_s: float, sums: Mapping[int, Mapping[SizeClass, Sums]]) -> None:
        pass

    def closed(self, flow: Flow) -> None:
        pass


@dataclass
class Bpftune(Always):
    """The learner under test, with what it did and said.

    *may_try* and *prior* are asked for at each step.
    """

    name: str = CUBIC
    choice: Choice = field(default_factory=lambda: begin(CUBIC, SAFE, 0.0))
    may_try: Callable[[], bool] = lambda: True
    prior: Mapping[str, float] | None = None
    said: list[str] = field(default_factory=list)
    steps: list[tuple[float, Next]] = field(default_factory=list)
    off_s: float = 0.0

    def arm(self) -> tuple[str, int]:
        return self.choice.block.arm, self.choice.block.run

    def look(self, now_s: float, sums: Mapping[int, Mapping[SizeClass, Sums]]) -> None:
        for run, more in sums.items():
            self.choice = add(self.choice, run, more, now_s)
        since_s = self.choice.block.since_s
        self.choice, following = step(
            self.choice, now_s, may_try=self.may_try(), prior=self.prior
        )
        if following is None:
            return
        self.steps.append((now_s, following))
        told = record(self.choice, following)
        if told is not None:
            self.said.append(told[1])
        if following.ended.block.arm != self.choice.default:
            self.off_s += now_s - since_s

    def arms_of(self, first_s: float = 0.0) -> list[str]:
        """The arms of the blocks that ended after *first_s*."""
        return [one.ended.block.arm for at_s, one in self.steps if at_s >= first_s]


@dataclass
class GreedyBlocks(Bpftune):
    """Epsilon-greedy over the same blocks with the same reward, no early end."""

    epsilon: float = 0.1
    seed: int = 1
    values: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def look(self, now_s: float, sums: Mapping[int, Mapping[SizeClass, Sums]]) -> None:
        for run, more in sums.items():
            self.choice = add(self.choice, run, more, now_s)
        size = self.choice.acting
        block = self.choice.block
        if not block.is_full(size, now_s):
            return
        seen = score(block.of(size))
        if seen is not None and not block.is_void(size):
            self.values[block.arm].append(seen.value)
        block = Block(self.best(), block.run + 1, now_s)
        self.choice = replace(begin(CUBIC, SAFE, now_s), block=block)

    def best(self) -> str:
        unseen = [arm for arm in SAFE if not self.values[arm]]
        if unseen or self.random.random() < self.epsilon:
            return self.random.choice(unseen or SAFE)
        means = {
            arm: math.fsum(worths[-50:]) / len(worths[-50:])
            for arm, worths in self.values.items()
        }
        return max(means, key=lambda arm: means[arm])


@dataclass
class FlowLearner(Always):
    """Epsilon-greedy over flows, which run side by side; the same reward."""

    name: str = CUBIC
    epsilon: float = 0.1
    seed: int = 1
    values: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def arm(self) -> tuple[str, int]:
        unseen = [arm for arm in SAFE if not self.values[arm]]
        if unseen or self.random.random() < self.epsilon:
            return self.random.choice(unseen or SAFE), 1
        return self.best(), 1

    def best(self) -> str:
        return max(SAFE, key=self.mean)

    def mean(self, arm: str) -> float:
        last = self.values[arm][-200:]
        return math.fsum(last) / len(last) if last else -math.inf

    def closed(self, flow: Flow) -> None:
        self.values[flow.arm].append(self.worth(flow))

    def worth(self, flow: Flow) -> float:
        rate = flow.moved * 8 / flow.busy_s / 1e6
        lost = flow.late_lost / max(1.0, flow.moved - flow.early)
        srtt_ms = 1e3 * flow.srtt / flow.moved
        return math.log(rate) - math.log(srtt_ms) - LOSS_COST * lost


@dataclass
class Rival(FlowLearner):
    """Learns for a whole gateway, from the delivery rate when a flow closes.

    That of an unpaced flow shows its bursts: 48 Mbit/s were read at 28.6.
    """

    epsilon: float = 0.05

    def worth(self, flow: Flow) -> float:
        burst = 1.7 if flow.arm == CUBIC else 1.0
        return math.log(max(1.0, flow.rate) * burst)


def utilities(world: World, first_s: float = 0.0) -> list[float]:
    """What each minute was worth, by the class of flows that carries most."""
    carried: dict[SizeClass, float] = defaultdict(float)
    for minute in world.totals.values():
        for size, sums in minute.items():
            carried[size] += sums.bytes_acked
    acting = max(carried, key=lambda size: carried[size])
    scores: list[Score | None] = [
        score(minute.get(acting, Sums()))
        for number, minute in sorted(world.totals.items())
        if 60 * number >= first_s
    ]
    return [one.value for one in scores if one is not None]


def worth(world: World, first_s: float = 0.0) -> float:
    """The mean over minutes, in nats."""
    values = utilities(world, first_s)
    return math.fsum(values) / len(values)


def play(
    path: Path,
    users: Sequence[Users],
    policy: Policy,
    seconds: float,
    *,
    seed: int = 1,
    changes: Sequence[tuple[float, Path]] = (),
    same: bool = False,
) -> World:
    """Return the world after *seconds* under *policy*."""
    world = World(path, users, policy, seed=seed, changes=changes, same=same)
    world.run(seconds)
    return world
