from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpftune.policy.epoch import (
    Epoch,
    Gathering,
    compare,
    gather,
    slice_seconds,
)
from tests.unit.policy.world import World

MIB = 1 << 20


def epochs(world: World, count: int, period_s: float = 0.0625) -> list[Epoch]:
    state, found = Gathering(), []
    for _ in range(10_000):
        state, epoch = gather(state, world.looks(period_s))
        if epoch is not None:
            found.append(epoch)
        if len(found) == count or state.hopeless:
            break
    return found


def test_a_slice_takes_two_round_trips_and_at_least_half_a_second() -> None:
    assert slice_seconds(40_000) == 0.5
    assert slice_seconds(400_000) == pytest.approx(0.8)


def test_an_epoch_counts_every_byte_and_look() -> None:
    world = World(rate=40e6, rtt_s=0.2, limit=4 * MIB, flows=3, noise=0)
    (epoch,) = epochs(world, 1)
    assert epoch.hit == 1.0
    assert epoch.sockets == epoch.starved == {1, 2, 3}
    assert epoch.seconds == pytest.approx(2.5, abs=0.2)
    assert epoch.bytes_per_s == pytest.approx(3 * world.goodput(), rel=0.01)


def test_slices_full_of_loss_are_void_and_end_the_patience() -> None:
    assert epochs(World(rate=40e6, rtt_s=0.2, limit=MIB, loss_share=0.6), 1) == []


def test_no_socket_at_all_ends_the_patience() -> None:
    state = Gathering()
    for _ in range(100):
        state, epoch = gather(state, ())
        assert epoch is None
    assert state.hopeless == "no traffic is left to judge it by"


def test_a_doubled_rate_is_seen_on_the_same_sockets() -> None:
    world = World(rate=40e6, rtt_s=0.2, limit=4 * MIB)
    (before,) = epochs(world, 1)
    world.limit *= 2
    (after,) = epochs(world, 1)
    gain = compare(after, before)
    assert gain is not None
    assert gain.value == pytest.approx(0.69, abs=4 * gain.error + 0.05)


def test_other_sockets_make_no_fair_comparison() -> None:
    world = World(rate=40e6, rtt_s=0.2, limit=4 * MIB)
    (before,) = epochs(world, 1)
    world.first_cookie = 2
    (after,) = epochs(world, 1)
    assert compare(after, before) is None


def test_a_competitor_that_came_makes_no_fair_comparison() -> None:
    world = World(rate=40e6, rtt_s=0.2, limit=4 * MIB)
    (before,) = epochs(world, 1)
    world.flows = 2
    (after,) = epochs(world, 1)
    assert compare(after, before) is None


@given(st.floats(0.002, 1.0), st.integers(1, 8), st.integers(1, 1000))
def test_no_epoch_is_shorter_than_five_slices(
    rtt_s: float, flows: int, seed: int
) -> None:
    world = World(rate=1e7, rtt_s=rtt_s, limit=MIB, flows=flows, seed=seed)
    period_s = slice_seconds(rtt_s * 1e6) / 8
    (epoch,) = epochs(world, 1, period_s)
    assert epoch.seconds >= 5 * slice_seconds(rtt_s * 1e6) * 0.999
