"""How long the kernel's tick is, in which TCP counts busy time."""

from __future__ import annotations

import time

CLOCK_MONOTONIC_COARSE = 6
"""Goes on at each tick: ``clock_getres()`` gives TICK_NSEC (posix-timers.c)."""


def tick_ns() -> int:
    """Return the length of a jiffy in nanoseconds, 10**9 / CONFIG_HZ."""
    return round(time.clock_getres(CLOCK_MONOTONIC_COARSE) * 1e9)
