from __future__ import annotations

import time

from bpftune.kernel.tick import tick_ns


def test_a_tick_is_that_of_a_kernel_configuration() -> None:
    assert 10**9 / tick_ns() in (100, 250, 1000) or tick_ns() == 3_333_333


def test_coarse_time_goes_on_by_ticks() -> None:
    clock = time.CLOCK_MONOTONIC + 5  # CLOCK_MONOTONIC_COARSE
    first = time.clock_gettime_ns(clock)
    while (second := time.clock_gettime_ns(clock)) == first:
        pass
    # Ticks may be missed, never split; NTP stretches them a little.
    ticks = (second - first) / tick_ns()
    assert abs(ticks - round(ticks)) < 0.01
    assert round(ticks) >= 1
