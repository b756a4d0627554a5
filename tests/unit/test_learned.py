from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpftune.learned import (
    HALF_LIFE_S,
    MOST_FAILED,
    MOST_SIZES,
    MOST_SIZES_PER_NETNS,
    MOST_TUNABLES,
    SIZE_LIFE_S,
    Learned,
)
from bpftune.model import Netns, NetnsCookie
from bpftune.outcome import Finding, Level, Size
from bpftune.policy.paired import Pairs
from tests.unit.fakes import BLUE, HOST, MIB, RED, TCP_WMEM
from tests.unit.test_outcome import trial

WMEM = TCP_WMEM.name
NEAR = "10.0.1.0/24"
NAMELESS = Netns(NetnsCookie(9))
UNPAID = [Finding.UNPAID, Finding.UNPROVEN, Finding.HARM]
FINDINGS = st.sampled_from([None, *Finding])


def take_in(learned: Learned, netns: Netns = RED, **change: object) -> None:
    learned.take_in(netns, WMEM, trial(**change), 5000.0)


def test_a_trial_that_paid_is_counted_at_its_level_and_its_size_is_remembered() -> None:
    learned = Learned(5000.0)
    take_in(learned, pressure=0.5, gain_nats=0.4)
    known = learned.known(RED)
    assert known.levels[WMEM][3] == Level(1.0, 0.0, 0.4)
    assert known.sizes[WMEM, NEAR] == Size(8 * MIB, 0.4, 5000.0)
    assert learned.pairs[WMEM] == Pairs(1, 1)
    assert learned.changed


def test_levels_are_everybodys_sizes_are_of_the_namespace() -> None:
    learned = Learned(5000.0)
    take_in(learned)
    assert learned.known(BLUE).levels == learned.known(RED).levels
    assert learned.known(BLUE).sizes == {}
    assert learned.known(Netns(NetnsCookie(77), RED.name)).sizes  # after a reboot


def test_of_a_nameless_namespace_only_the_levels_are_kept() -> None:
    learned = Learned(5000.0)
    take_in(learned, NAMELESS)
    assert learned.sizes == {}
    assert learned.levels[WMEM][4].paid == 1.0
    assert learned.known(NAMELESS).sizes == {}


@pytest.mark.parametrize("finding", [None, Finding.VOID])
def test_what_came_to_nothing_teaches_nothing(finding: Finding | None) -> None:
    learned = Learned(5000.0)
    take_in(learned, finding=finding)
    assert not learned.changed
    assert (learned.levels, learned.pairs, learned.sizes) == ({}, {}, {})


@pytest.mark.parametrize("finding", UNPAID)
def test_a_size_that_does_not_pay_any_more_is_forgotten(finding: Finding) -> None:
    learned = Learned(5000.0)
    take_in(learned, size=16 * MIB)
    take_in(learned, size=32 * MIB, old_size=16 * MIB, finding=finding)
    assert learned.known(RED).sizes[WMEM, NEAR].size == 16 * MIB  # more did not
    take_in(learned, size=16 * MIB, finding=finding)
    assert learned.sizes == {}


def test_a_climb_adds_up_what_its_steps_gained() -> None:
    learned = Learned(5000.0)
    take_in(learned, gain_nats=0.6)
    take_in(learned, old_size=8 * MIB, size=16 * MIB, gain_nats=0.3)
    size = learned.known(RED).sizes[WMEM, NEAR]
    assert size.size == 16 * MIB
    assert size.gain_nats == pytest.approx(0.9)
    take_in(learned, old_size=4 * MIB, size=16 * MIB, gain_nats=0.8)  # at once
    assert learned.known(RED).sizes[WMEM, NEAR].gain_nats == pytest.approx(0.8)


def test_what_fails_again_and_again_for_one_destination_counts_once() -> None:
    """One peer's odd traffic must not decide for all."""
    learned = Learned(5000.0)
    for _ in range(40):
        take_in(learned, finding=Finding.UNPAID)
    assert learned.levels[WMEM][4].unpaid == 1.0
    take_in(learned, RED, destination="10.0.2.0/24", finding=Finding.UNPAID)
    take_in(learned, BLUE, finding=Finding.UNPAID)
    assert learned.levels[WMEM][4].unpaid > 2.9
    take_in(learned)
    take_in(learned, finding=Finding.UNPAID)  # it paid in between
    assert learned.levels[WMEM][4].unpaid > 3.7


def test_old_counts_fade_and_old_sizes_go() -> None:
    learned = Learned(5000.0)
    take_in(learned)
    learned.age(5000.0 + HALF_LIFE_S)
    assert learned.levels[WMEM][4].paid == pytest.approx(0.5)
    assert learned.known(RED).sizes
    learned.age(5000.0 + SIZE_LIFE_S)
    assert learned.sizes == {}
    assert learned.pairs[WMEM] == Pairs(1, 1)  # a proof does not fade


def test_a_clock_that_jumps_back_changes_no_count() -> None:
    learned = Learned(9e8)
    take_in(learned)
    before = learned.levels
    learned.age(5.0)
    assert learned.levels == before
    learned.age(6.0)
    assert learned.levels == before


def test_nothing_to_age_is_nothing_to_save() -> None:
    learned = Learned(5000.0)
    learned.age(1e9)
    assert not learned.changed


def test_what_is_said_of_it() -> None:
    learned = Learned(5000.0)
    assert learned.words(WMEM) == []
    for number in range(8):
        take_in(learned, destination=f"10.0.{number}.0/24", gain_nats=0.5)
    assert learned.words(WMEM) == [
        "held back in 70% to 100% of looks: at this level it paid in 7 of 7 trials",
        "measured once before and once after, it won 8 of 8 pairs, odds 50:1",
    ]


def test_everything_is_bounded() -> None:
    learned = Learned(5000.0)
    for number in range(MOST_TUNABLES + 5):
        learned.take_in(RED, f"net.x{number}", trial(), 0.0)
    assert len(learned.levels) == len(learned.pairs) == MOST_TUNABLES
    learned = Learned(5000.0)
    for number in range(MOST_SIZES_PER_NETNS + 5):
        take_in(learned, destination=f"10.1.{number}.0/24")
    assert len(learned.sizes["red"]) == MOST_SIZES_PER_NETNS
    assert (WMEM, "10.1.4.0/24") not in learned.sizes["red"]  # the oldest went
    assert (WMEM, "10.1.5.0/24") in learned.sizes["red"]
    for number in range(2 * MOST_SIZES):
        netns = Netns(NetnsCookie(100 + number), f"n{number % 100}")
        take_in(learned, netns, destination=f"10.2.{number}.0/24")
        take_in(learned, netns, destination=f"10.3.{number}.0/24", finding="unpaid")
    assert sum(map(len, learned.sizes.values())) == MOST_SIZES
    assert "red" not in learned.sizes
    assert len(learned._failed) == MOST_FAILED


@given(
    st.lists(
        st.tuples(
            FINDINGS, st.floats(0, 1), st.floats(-20, 20), st.integers(1, 2**31 - 1)
        ),
        max_size=30,
    )
)
def test_whatever_is_taken_in_stays_in_bounds(
    trials: list[tuple[Finding | None, float, float, int]],
) -> None:
    learned = Learned(5000.0)
    for finding, pressure, gain, size in trials:
        take_in(
            learned, HOST, finding=finding, pressure=pressure, gain_nats=gain, size=size
        )
    for level in learned.levels.get(WMEM, ()):
        assert 0 <= level.trials <= 51
        assert abs(level.gain_nats) <= 51
    assert all(
        abs(one.gain_nats) < 22 for one in learned.sizes.get("host", {}).values()
    )
