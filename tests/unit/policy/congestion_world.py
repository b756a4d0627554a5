"""A synthetic path: flows of two congestion controls share a bottleneck.

The truth it is made to reproduce was measured on an emulated path (four flows for
the shares, one otherwise); ``test_congestion_world.py`` compares:

    100 Mbit/s, 40 ms, buffer of 0.25 BDP: 4 cubic 20-26 Mbit/s each (0.09 % sent
        again), 1 bbr 85 beside 3 cubic of 3, 4 bbr 20-27 (12.8 %)
    buffer of 4 BDP: 4 cubic 17-31 at 172 ms, 1 bbr 3 beside 3 cubic of 31, 4 bbr
        21-27 at 97 ms
    buffer of 0.05 BDP: cubic 38.6 (0.03 %), bbr 92.6 (3.8 %)
    0.1 % random loss: cubic 12.3, bbr 95.9; 1 %: 2.7 and 95.7
    50 Mbit/s, 20 ms, 8 BDP: cubic 48.3 at 150 ms, bbr 48.1 at 29 ms
    transfers at 0.1 % loss: 2 MB equal, 10 MB 1.9 times, 40 MB 6.5 times sooner

Each flow moves at its share of the bottleneck, weighted by its algorithm, until its
bytes are gone; then its user thinks for a while and begins another. Time goes in
steps. Everything is arithmetic with seeded noise.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from bpftune.policy.reward import SizeClass, Sums, size_class

MSS = 1448
STEP_S = 0.2
SAMPLED_S = 10.0
EARLY_RTTS = 20
USED = 0.96
MB = 1_000_000

CUBIC, BBR = "cubic", "bbr"


@dataclass(frozen=True)
class Path:
    """A bottleneck: *loss* is the share of packets lost at random."""

    rate_mbit: float = 100.0
    rtt_s: float = 0.040
    buffer_bdp: float = 1.0
    loss: float = 0.0

    @property
    def bdp_bytes(self) -> float:
        return self.rate_mbit * 1e6 / 8 * self.rtt_s


@dataclass(frozen=True)
class Users:
    """Who uses it: each one transfer after another, of one of *sizes* bytes.

    *algorithm* is None if bpftune chooses; others are foreign.
    """

    count: int = 1
    sizes: tuple[float, ...] = (10 * MB,)
    think_s: float = 0.5
    algorithm: str | None = None


@dataclass
class Flow:
    """A transfer under way. *srtt*, *lost*: sums weighted by bytes."""

    users: Users
    arm: str
    run: int
    size: float
    began_s: float
    weight: float
    wait_s: float
    moved: float = 0.0
    busy_s: float = 0.0
    srtt: float = 0.0
    early: float = 0.0
    early_lost: float = 0.0
    late_lost: float = 0.0
    min_rtt_s: float = math.inf
    losses: int = 0
    rate: float = 0.0
    told: tuple[float, ...] = (0.0,) * 6
    told_s: float = 0.0


class Policy(Protocol):
    """Who chooses. ``arm`` for each new flow; ``look`` each second."""

    def arm(self) -> tuple[str, int]: ...

    def look(
        self, now_s: float, sums: Mapping[int, Mapping[SizeClass, Sums]]
    ) -> None: ...

    def closed(self, flow: Flow) -> None: ...


def weight_of_bbr(buffer_bdp: float) -> float:
    """How many cubic flows one bbr flow is worth: 28 at 0.25 BDP, 0.095 at 4."""
    return min(40.0, 28 * math.pow(buffer_bdp / 0.25, -2.05))


def used_by_cubic(buffer_bdp: float, flows: int) -> float:
    """Share of the rate that cubic uses: a tiny buffer drains at each loss."""
    return USED * (1 - 1.12 * math.exp(-buffer_bdp / 0.08) / math.sqrt(flows))


def cubic_at_loss(path: Path) -> float:
    """Mbit/s of one cubic flow at random loss: 12.3 at 0.1 %, 2.7 at 1 %."""
    return 12.3 * math.pow(path.loss / 0.001, -0.66) * 0.040 / path.rtt_s


def bbr_loss(buffer_bdp: float, flows: int) -> float:
    """Share that bbr loses to its own queue.

    Several keep up to two BDP in flight, whatever the buffer (Ware et al. 2019,
    Modeling BBR's interactions with loss-based congestion control).
    """
    if flows == 1:
        return 0.044 * max(0.0, 1 - buffer_bdp / 0.4)
    return 0.158 * max(0.0, 1 - buffer_bdp / 1.3)


class World:
    """A path, its users, and a policy that chooses for some of them."""

    def __init__(
        self,
        path: Path,
        users: Iterable[Users],
        policy: Policy,
        *,
        seed: int = 1,
        changes: Iterable[tuple[float, Path]] = (),
        same: bool = False,
        noise: float = 0.2,
    ) -> None:
        """*changes*: the path at later times. *same*: arms differ by name only."""
        self.path = path
        self.policy = policy
        self.random = random.Random(seed)
        self.changes = sorted(changes, key=lambda change: change[0])
        self.same = same
        self.noise = noise
        self.now_s = 0.0
        self.flows: list[Flow] = []
        self.thinking = [
            (self.random.expovariate(1 / max(1e-3, group.think_s)), group)
            for group in users
            for _ in range(group.count)
        ]
        self.sums: dict[int, dict[SizeClass, Sums]] = defaultdict(dict)
        self.totals: dict[int, dict[SizeClass, Sums]] = defaultdict(dict)
        self.arms: dict[str, float] = defaultdict(float)
        self.queue = 0.0

    def run(self, until_s: float) -> None:
        look_s = self.now_s
        while self.now_s < until_s:
            while self.changes and self.changes[0][0] <= self.now_s:
                self.path = self.changes.pop(0)[1]
            self.begin_flows()
            self.move()
            self.now_s += STEP_S
            if self.now_s >= look_s:
                look_s += 1.0
                sums, self.sums = self.sums, defaultdict(dict)
                self.policy.look(self.now_s, sums)

    def begin_flows(self) -> None:
        later = []
        for at_s, users in self.thinking:
            if at_s > self.now_s:
                later.append((at_s, users))
                continue
            arm, run = users.algorithm, 0
            if arm is None:
                arm, run = self.policy.arm()
            self.flows.append(self.begin(users, arm, run))
        self.thinking = later

    def begin(self, users: Users, arm: str, run: int) -> Flow:
        size = self.random.choice(users.sizes) * self.random.lognormvariate(0, 0.2)
        share = self.path.bdp_bytes / (len(self.flows) + 1)
        rounds = math.log2(1 + min(size, share) / (10 * MSS))
        if self.really(arm) == BBR:
            rounds += 1 + 2 * (size > MB)  # and DRAIN
        queue = self.queue if self.flows else 0.0
        wait_s = rounds * self.path.rtt_s * (1 + queue)
        weight = self.random.lognormvariate(0, self.noise)
        return Flow(users, arm, run, size, self.now_s, weight, wait_s)

    def really(self, arm: str) -> str:
        return CUBIC if self.same else arm

    def move(self) -> None:
        """Let one step pass."""
        moving = []
        for flow in self.flows:
            if flow.wait_s > 0:
                flow.busy_s += min(flow.wait_s, STEP_S)
                flow.wait_s -= STEP_S
                flow.min_rtt_s = min(flow.min_rtt_s, self.rtt_when_low())
            else:
                moving.append(flow)
        cubic = [flow for flow in moving if self.really(flow.arm) == CUBIC]
        bbr = [flow for flow in moving if self.really(flow.arm) == BBR]
        self.share(cubic, bbr)
        rtt_s = self.path.rtt_s * (1 + self.queue)
        losses = self.loss_of_cubic(bbr), self.loss_of_bbr(cubic, bbr)
        done = []
        for group, lost in zip((cubic, bbr), losses, strict=True):
            done += [flow for flow in group if self.advance(flow, rtt_s, lost)]
        for flow in done:
            self.flows.remove(flow)
            self.tell(flow, over=True)
            self.policy.closed(flow)
            think_s = self.random.expovariate(1 / max(1e-3, flow.users.think_s))
            self.thinking.append((self.now_s + think_s, flow.users))
        for flow in self.flows:
            if flow.run and flow.busy_s - flow.told_s >= SAMPLED_S:
                self.tell(flow, over=False)
                flow.told_s = flow.busy_s

    def share(self, cubic: list[Flow], bbr: list[Flow]) -> None:
        """Give each its bytes per second, and find how long the queue is."""
        path = self.path
        weight = weight_of_bbr(path.buffer_bdp)
        used = USED if bbr else used_by_cubic(path.buffer_bdp, max(1, len(cubic)))
        left = used * path.rate_mbit * 1e6 / 8
        capacity = left
        wanting = []
        for flow in cubic:
            cap = math.inf
            if path.loss:
                # Slow start ends at the first loss, half of 1 / loss packets in.
                begun = min(left, 0.5 / path.loss * MSS / path.rtt_s)
                fallen = begun * 0.7**flow.losses
                cap = max(cubic_at_loss(path) * 1e6 / 8 * flow.weight, fallen)
            wanting.append((cap / flow.weight, cap, flow.weight, flow))
        wanting += [(math.inf, math.inf, weight * one.weight, one) for one in bbr]
        total = sum(one[2] for one in wanting)
        wanting.sort(key=lambda one: one[0])
        by_cubic = 0.0
        for _, cap, its, flow in wanting:
            flow.rate = min(cap, left * its / total)
            left -= flow.rate
            total -= its
            if self.really(flow.arm) == CUBIC:
                by_cubic += flow.rate
        full = left < 0.03 * capacity
        self.queue = self.queue_in_rtts(cubic, bbr, full, by_cubic / capacity)

    def queue_in_rtts(
        self, cubic: list[Flow], bbr: list[Flow], full: bool, by_cubic: float
    ) -> float:
        buffer = self.path.buffer_bdp
        queue = 0.0
        if cubic and full and by_cubic > 0.1:
            grown = sum(flow.moved for flow in cubic) / self.path.bdp_bytes / 8
            queue = min(0.82 * buffer, grown)
        if bbr and full:
            young = any(flow.moved < 30 * self.path.bdp_bytes for flow in bbr)
            own = 0.45 if len(bbr) == 1 else 1.4
            if young:
                own = max(own, 1.0)
            queue = max(queue, min(buffer, own))
        return queue

    def loss_of_cubic(self, bbr: list[Flow]) -> float:
        own = 0.007 / (1 + 4 * self.path.buffer_bdp) / 2
        beside = 0.25 * bbr_loss(self.path.buffer_bdp, 2) if bbr else 0.0
        return own + beside + self.path.loss

    def loss_of_bbr(self, cubic: list[Flow], bbr: list[Flow]) -> float:
        if cubic and len(bbr) == 1:
            return 0.5 * bbr_loss(self.path.buffer_bdp, 2) + self.path.loss
        return bbr_loss(self.path.buffer_bdp, len(bbr)) + self.path.loss

    def start_up_loss(self, flow: Flow) -> float:
        """Share that is lost in the first round trips, by overshooting."""
        if self.really(flow.arm) == BBR:
            return 0.16 * max(0.0, 1 - self.path.buffer_bdp / 3)
        return 0.04 * max(0.0, 1 - self.path.buffer_bdp / 2)

    def rtt_when_low(self) -> float:
        """The least round trip while the queue swings: cubic takes off 30 %."""
        return self.path.rtt_s * max(1.0, 0.7 * (1 + self.queue))

    def advance(self, flow: Flow, rtt_s: float, lost: float) -> bool:
        moved = min(flow.rate * STEP_S, flow.size - flow.moved)
        took_s = moved / flow.rate if flow.rate else STEP_S
        early = flow.busy_s < EARLY_RTTS * rtt_s
        flow.moved += moved
        flow.busy_s += took_s
        flow.srtt += moved * rtt_s
        flow.min_rtt_s = min(flow.min_rtt_s, self.rtt_when_low())
        if early:
            flow.early += moved
            flow.early_lost += moved * max(lost, self.start_up_loss(flow))
        else:
            flow.late_lost += moved * lost
        if self.path.loss and self.really(flow.arm) == CUBIC and flow.losses < 12:
            flow.losses += self.poisson(self.path.loss * moved / MSS)
        return flow.moved >= flow.size

    def poisson(self, mean: float) -> int:
        if mean > 12:
            return 12
        count, left = 0, self.random.random()
        term = math.exp(-mean)
        while left > term and count < 40:
            left -= term
            count += 1
            term *= mean / count
        return count

    def tell(self, flow: Flow, *, over: bool) -> None:
        """Add what *flow* did since the last time to the sums, as BPF would."""
        first = not any(flow.told)
        if not over and flow.moved < 100_000:
            return
        totals = (
            flow.moved,
            flow.busy_s,
            flow.srtt,
            flow.early,
            flow.early_lost,
            flow.late_lost,
        )
        new = [now - old for now, old in zip(totals, flow.told, strict=True)]
        flow.told = totals
        moved, busy_s, srtt, early, early_lost, late_lost = new
        if moved < 1 or busy_s <= 0:
            return
        late = moved - early
        sums = Sums(
            flows=int(first),
            bytes_acked=int(moved),
            busy_us=int(max(busy_s, self.path.rtt_s) * 1e6),
            srtt_us_bytes=int(srtt * 1e6),
            min_rtt_us=int(flow.min_rtt_s * 1e6),
            early_segments=int(early / MSS),
            early_retransmitted=self.poisson_of(early_lost / MSS),
            late_segments=int(late / MSS),
            late_retransmitted=self.poisson_of(late_lost / MSS),
        )
        size = size_class(int(flow.moved))
        if flow.users.algorithm is None:
            self.add(self.totals[int(self.now_s // 60)], size, sums)
            self.arms[flow.arm] += moved
            if flow.moved >= 100_000 or flow.busy_s >= 10 * self.path.rtt_s:
                self.add(self.sums[flow.run], size, sums)

    def poisson_of(self, mean: float) -> int:
        if mean > 12:
            return max(0, round(self.random.gauss(mean, math.sqrt(mean))))
        return self.poisson(mean)

    @staticmethod
    def add(sums: dict[SizeClass, Sums], size: SizeClass, more: Sums) -> None:
        sums[size] = sums.get(size, Sums()) + more
