"""What is measured of a run, and when one run did better than another: pure.

A run is a JSON result of ``bpftune lab run``. A measure is a level of one of its
series over a time, and a *gain* is how many times better one level is than another,
whichever way better is.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

Run = dict[str, Any]

IN_A_ROW_S = 5
"""A level is reached where that many seconds in a row have it together."""


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One series of a run, in *unit* of *one_unit* bits per second or seconds.

    *of* is which traffic's, the measured one's by default, else one of ``beside``. Of
    a rate the level is the mean, of a time the median, and less is better.
    """

    name: str
    series: str
    unit: str
    one_unit: float
    is_time: bool = False
    of: str = ""

    def _told(self, run: Run) -> Sequence[float | None]:
        side = run["beside"].get(self.of, {}) if self.of else run
        told: Sequence[float | None] = side.get(self.series, ())
        return told

    def level(self, run: Run, begin_s: float, end_s: float) -> float | None:
        """Return the level between two times, None if nothing was told then."""
        told = self._told(run)[int(begin_s) : int(end_s)]
        known = [number for number in told if number is not None]
        if not known:
            return None
        return statistics.median(known) if self.is_time else statistics.fmean(known)

    def steady(self, run: Run, steady_s: float) -> float | None:
        """Return the level of the last *steady_s* of a run."""
        seconds = run["parameters"]["seconds"]
        return self.level(run, max(0.0, seconds - steady_s), seconds)

    def gain(self, level: float | None, base: float | None) -> float | None:
        """Return how many times better *level* is than *base*, None if unknown.

        No goodput at all is no better than nothing: 0.
        """
        if level is None or not base or (self.is_time and not level):
            return None
        return base / level if self.is_time else level / base

    def reached_s(self, run: Run, goal: float) -> float | None:
        """Return when *goal* was reached first, in seconds; None if it never was."""
        for begin in range(len(self._told(run)) - IN_A_ROW_S + 1):
            gain = self.gain(self.level(run, begin, begin + IN_A_ROW_S), goal)
            if gain is not None and gain >= 1:
                return float(begin)
        return None


GOODPUT = Measure(
    name="goodput", series="series_bits_per_s", unit="Mbit/s", one_unit=1e6
)
FOREIGN = Measure(
    name="goodput of others",
    series="series_bits_per_s",
    unit="Mbit/s",
    one_unit=1e6,
    of="foreign",
)
BULK = Measure(
    name="goodput beside",
    series="series_bits_per_s",
    unit="Mbit/s",
    one_unit=1e6,
    of="also",
)
RTT = Measure(
    name="round trip", series="series_rtt_s", unit="ms", one_unit=1e-3, is_time=True
)
LATENCY = Measure(
    name="time to answer",
    series="series_latency_s",
    unit="ms",
    one_unit=1e-3,
    is_time=True,
)
