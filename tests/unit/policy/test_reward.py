from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpftune.policy.reward import (
    LARGE_BYTES,
    LOSS_COST,
    MEDIUM_BYTES,
    STARTUP_ALLOWANCE,
    SizeClass,
    Sums,
    charged_loss,
    score,
    size_class,
)

SUMS = Sums(
    flows=4,
    bytes_acked=10_000_000,
    busy_us=1_000_000,
    srtt_us_bytes=10_000_000 * 50_000,
    min_rtt_us=40_000,
    early_segments=1000,
    early_retransmitted=20,
    late_segments=6000,
    late_retransmitted=60,
)

counts = st.integers(0, 10**12)
any_sums = st.builds(Sums, *[counts] * 9)


def test_a_reward_is_rate_over_delay_less_loss() -> None:
    seen = score(SUMS)
    assert seen is not None
    assert math.exp(seen.log_rate) == pytest.approx(80)  # Mbit/s
    assert math.exp(seen.log_srtt) == pytest.approx(50)  # ms
    assert seen.loss == pytest.approx(0.01)
    assert seen.value == pytest.approx(math.log(80 / 50) - math.log(2) / 2)


def test_two_per_cent_of_loss_cost_half_the_rate() -> None:
    lossy = score(replace(SUMS, late_retransmitted=180))
    half = score(replace(SUMS, busy_us=2_000_000))
    assert lossy is not None
    assert half is not None
    assert lossy.value == pytest.approx(half.value)


@given(any_sums, any_sums, any_sums)
def test_sums_add_up_in_any_order(one: Sums, two: Sums, three: Sums) -> None:
    assert one + (two + three) == (three + two) + one
    assert one + Sums() == one


@given(any_sums, st.floats(0, 1))
def test_a_score_is_finite_or_none(sums: Sums, usual: float) -> None:
    seen = score(sums, usual)
    if seen is None:
        assert 0 in {sums.bytes_acked, sums.busy_us, sums.srtt_us_bytes}
    else:
        assert math.isfinite(seen.value)
        assert 0 <= seen.loss <= 1


def test_what_start_up_loses_is_allowed_for() -> None:
    bbr = replace(SUMS, early_retransmitted=110)
    assert charged_loss(bbr, usual_early_loss=0.02) == pytest.approx(0.01)


def test_start_up_that_loses_far_more_than_usual_is_charged() -> None:
    bbr = replace(SUMS, early_retransmitted=200)
    excess = 0.2 - 0.02 - STARTUP_ALLOWANCE
    assert charged_loss(bbr, usual_early_loss=0.02) == pytest.approx(excess)


def test_a_handful_of_late_segments_says_nothing() -> None:
    short = replace(SUMS, late_segments=20, late_retransmitted=10)
    assert charged_loss(short, usual_early_loss=0.02) == 0


def test_the_measured_cases_come_in_the_right_order() -> None:
    """All-bbr loses 10 against 0.7 % at 0.25 BDP; at 8 it has a fifth of the RTT."""

    def value(mbit: float, srtt_ms: float, loss: float) -> float:
        return math.log(mbit) - math.log(srtt_ms) - LOSS_COST * loss

    assert value(23, 50, 0.10) < value(23, 48, 0.007) - 1.5
    assert value(48.1, 29, 0) > value(48.3, 150, 0) + 1.5


def test_classes_have_edges() -> None:
    sizes = [0, MEDIUM_BYTES - 1, MEDIUM_BYTES, LARGE_BYTES - 1, LARGE_BYTES]
    assert [size_class(size) for size in sizes] == [
        SizeClass.SMALL,
        SizeClass.SMALL,
        SizeClass.MEDIUM,
        SizeClass.MEDIUM,
        SizeClass.LARGE,
    ]
