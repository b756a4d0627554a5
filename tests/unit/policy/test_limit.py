from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpftune.outcome import Level
from bpftune.policy.epoch import Epoch, Gathering, compare, gather, slice_seconds
from bpftune.policy.limit import (
    Climb,
    Kept,
    Path,
    Raise,
    TakenBack,
    Verdict,
    give_back,
    is_proved,
    out_of_patience,
    refused,
    step,
)
from bpftune.policy.threshold import EDGES, Outlook
from tests.unit.policy.world import KEPT, World

MIB = 1 << 20
UNKNOWN = Outlook()


@dataclass
class Run:
    """A world under the policy for a while."""

    verdicts: list[Verdict] = field(default_factory=list)
    writes: int = 0
    levels: list[int] = field(default_factory=list)
    path: Path = field(default_factory=Path)


def run(
    world: World, seconds: float, *, most: int = 1 << 40, outlook: Outlook = UNKNOWN
) -> Run:
    """Apply the policy to *world*; raises above *most* are refused."""
    result, state = Run(), Gathering()
    period_s = slice_seconds(world.rtt_s * 1e6) / 8
    end_s = world.now_s + seconds
    while world.now_s < end_s:
        looks = world.looks(period_s)
        climb = result.path.climb
        if climb is not None and world.now_s < climb.settle_until_s:
            state = Gathering()
            continue
        state, epoch = gather(state, looks)
        if epoch is None:
            continue
        result.path, verdicts = step(
            result.path,
            epoch,
            world.limit,
            world.now_s,
            may_climb=True,
            outlook=outlook,
        )
        for verdict in verdicts:
            if isinstance(verdict, Raise) and verdict.level > most:
                result.path, more = refused(result.path, world.now_s)
                apply(result, world, more)
            else:
                apply(result, world, (verdict,))
    return result


def apply(result: Run, world: World, verdicts: tuple[Verdict, ...]) -> None:
    for verdict in verdicts:
        result.verdicts.append(verdict)
        if isinstance(verdict, Raise):
            world.limit = verdict.level
        elif isinstance(verdict, TakenBack):
            world.limit = verdict.paid
        else:
            continue
        result.writes += 1
        result.levels.append(world.limit)


def need(world: World) -> float:
    return world.share() * world.rtt_s / KEPT


@pytest.mark.parametrize("flows", [1, 4, 16])
@pytest.mark.parametrize("rtt_s", [0.02, 0.1, 0.4])
@pytest.mark.parametrize("seed", range(5))
def test_a_starved_path_gets_what_it_needs_and_no_more(
    flows: int, rtt_s: float, seed: int
) -> None:
    world = World(rate=40e6, rtt_s=rtt_s, limit=1, flows=flows, seed=seed)
    world.limit = int(need(world) / 6)
    result = run(world, 60)
    assert need(world) <= world.limit <= 2 * need(world) * 1.001
    assert result.writes <= 6


@pytest.mark.parametrize("seed", range(20))
def test_a_limit_that_is_hit_without_benefit_is_taken_back(seed: int) -> None:
    world = World(rate=5e6, rtt_s=0.1, limit=4 * MIB, false_hits=0.4, seed=seed)
    result = run(world, 120)
    assert world.limit == 4 * MIB or result.path.climb is not None
    assert all(isinstance(v, Raise | TakenBack) for v in result.verdicts)
    assert result.writes <= 12


def test_an_unpaid_climb_waits_twice_as_long_each_time() -> None:
    world = World(rate=5e6, rtt_s=0.1, limit=4 * MIB, false_hits=0.4)
    result = run(world, 1200)
    waits = [v.wait_s for v in result.verdicts if isinstance(v, TakenBack)]
    assert len(waits) >= 4
    for shorter, longer in pairwise(waits):
        assert longer > 1.5 * shorter


@pytest.mark.parametrize(
    "world",
    [
        World(rate=40e6, rtt_s=0.1, limit=8 * MIB, app_rate=1e6),
        World(rate=40e6, rtt_s=0.1, limit=8 * MIB, peer_window=MIB),
        World(rate=5e6, rtt_s=0.1, limit=8 * MIB),
        World(rate=40e6, rtt_s=0.1, limit=MIB, loss_share=0.8),
        World(rate=40e6, rtt_s=0.0005, limit=MIB // 64),
    ],
    ids=["application", "peer window", "path", "loss", "lan"],
)
def test_what_is_limited_by_something_else_causes_no_write(world: World) -> None:
    before = world.limit
    assert run(world, 120).writes == 0
    assert world.limit == before


def test_competition_that_comes_and_goes_is_not_taken_for_gain_or_loss() -> None:
    world = World(rate=40e6, rtt_s=0.1, limit=MIB, flows=2)
    result, state, path = Run(), Gathering(), Path()
    for turn in range(2000):
        world.flows = 2 + (turn // 30) % 2 * 2
        looks = world.looks(0.0625)
        if path.climb and world.now_s < path.climb.settle_until_s:
            continue
        state, epoch = gather(state, looks)
        if epoch:
            path, verdicts = step(path, epoch, world.limit, world.now_s, may_climb=True)
            apply(result, world, verdicts)
    assert not [v for v in result.verdicts if isinstance(v, Kept)]


def test_a_refused_raise_keeps_what_paid() -> None:
    world = World(rate=40e6, rtt_s=0.2, limit=MIB)
    result = run(world, 60, most=4 * MIB)
    assert world.limit == 4 * MIB
    assert isinstance(result.verdicts[-1], Kept)


def test_no_climb_begins_while_another_path_holds_the_limit() -> None:
    world = World(rate=40e6, rtt_s=0.2, limit=MIB)
    path, state = Path(), Gathering()
    for _ in range(400):
        state, epoch = gather(state, world.looks(0.0625))
        if epoch:
            path, verdicts = step(
                path, epoch, world.limit, world.now_s, may_climb=False
            )
            assert verdicts == ()


@pytest.mark.parametrize(("starved", "slices"), [(True, 7), (False, 16)])
def test_a_trial_waits_longer_for_loss_to_end_where_nothing_is_short(
    starved: bool, slices: int
) -> None:
    rate = 40e6 if starved else 1e6
    world, state = World(rate=rate, rtt_s=0.2, limit=MIB, loss_share=0.9), Gathering()
    while (epoch := out_of_patience(state)) is None:
        state, _ = gather(state, world.looks(0.0625))
    assert state.lossy == slices
    assert epoch.murky
    assert (epoch.hit > 0.5) == starved  # of the few looks between the losses


# --- what earlier trials taught ------------------------------------------------


def test_what_paid_before_is_tried_at_once_and_is_judged_all_the_same() -> None:
    world = World(rate=40e6, rtt_s=0.2, limit=2 * MIB)
    result = run(world, 60, outlook=Outlook(size=16 * MIB))
    assert result.levels == [16 * MIB]
    (_, kept) = result.verdicts
    assert isinstance(kept, Kept)
    assert kept.paid
    assert kept.climb.is_leap


def test_what_paid_before_and_still_starves_is_climbed_on_from() -> None:
    world = World(rate=40e6, rtt_s=0.2, limit=MIB)
    result = run(world, 60, outlook=Outlook(size=8 * MIB))
    assert result.levels == [8 * MIB, 16 * MIB]


@pytest.mark.parametrize("false_hits", [0.4, 1.0])
def test_what_paid_before_and_does_not_now_is_taken_back_and_not_tried_again(
    false_hits: float,
) -> None:
    world = World(rate=5e6, rtt_s=0.1, limit=4 * MIB, false_hits=false_hits)
    result = run(world, 300, outlook=Outlook(size=64 * MIB))
    assert result.levels[:2] == [64 * MIB, 4 * MIB]
    assert max(result.levels[2:]) == 32 * MIB  # doublings, over a plateau


def test_a_leap_that_is_refused_is_followed_by_doublings() -> None:
    world = World(rate=40e6, rtt_s=0.2, limit=2 * MIB)
    result = run(world, 200, most=8 * MIB, outlook=Outlook(size=64 * MIB))
    assert world.limit == 8 * MIB
    assert result.levels == [4 * MIB, 8 * MIB]


def test_at_a_level_that_never_paid_nothing_is_tried() -> None:
    world = World(rate=40e6, rtt_s=0.2, limit=2 * MIB)
    levels = [*[Level()] * (len(EDGES) - 1), Level(0.0, 50.0)]
    assert run(world, 60, outlook=Outlook(levels)).writes == 0


def test_a_gain_that_noise_may_be_is_seen_twice_before_it_counts() -> None:
    looks_at_weak: list[int] = []
    for seed in range(40):
        slow, fast = (
            World(rate=rate, rtt_s=0.1, limit=4 * MIB, noise=0.3, seed=seed)
            for rate in (5e6, 5.8e6)
        )
        path = Path(climb=Climb(8 * MIB, 4 * MIB, 4 * MIB, _epoch(slow), 0.0))
        looks, verdicts = 0, tuple[Verdict, ...]()
        while not verdicts:
            path, verdicts = step(path, _epoch(fast), 8 * MIB, 0.0, may_climb=True)
            looks += 1
        kept = [one for one in verdicts if isinstance(one, Kept) and one.paid]
        looks_at_weak += [looks for one in kept if not one.proved]
    assert len(looks_at_weak) >= 5
    assert min(looks_at_weak) == 2


def _epoch(world: World) -> Epoch:
    state = Gathering()
    while True:
        state, epoch = gather(state, world.looks(0.0625))
        if epoch is not None:
            return epoch


def test_proved_is_when_every_slice_beats_every_slice_before() -> None:
    slow, fast = (
        _epoch(World(rate=rate, rtt_s=0.1, limit=64 * MIB)) for rate in (5e6, 7e6)
    )
    gain = compare(fast, slow)
    assert gain is not None
    assert is_proved(slow, fast, gain)
    assert not is_proved(fast, slow, gain)
    mixed = replace(fast, slices=(*fast.slices[:4], slow.slices[0]))
    assert not is_proved(slow, mixed, gain)
    assert not is_proved(slow, replace(fast, slices=fast.slices[:3]), gain)


def test_giving_back_without_a_climb_is_nothing() -> None:
    assert give_back(Path(), None, 0.0, "", None) == (Path(), ())


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10_000),
    st.floats(0.005, 0.5),
    st.floats(1e5, 1e8),
    st.floats(0.02, 0.4),
    st.sampled_from([0.0, 0.05, 0.2, 0.6]),
)
def test_whatever_the_noise_writes_stay_few_and_the_limit_in_reach(
    seed: int, rtt_s: float, rate: float, noise: float, false_hits: float
) -> None:
    world = World(
        rate=rate,
        rtt_s=rtt_s,
        limit=256 * 1024,
        noise=noise,
        false_hits=false_hits,
        seed=seed,
    )
    start, ideal = world.limit, max(need(world), world.limit)
    result = run(world, 120)
    assert world.limit >= start
    assert world.limit <= 16 * ideal  # two plateaus over one doubling, on trial
    assert result.writes <= 40
    settled = result.path.climb.paid if result.path.climb else world.limit
    assert settled <= 4 * ideal
