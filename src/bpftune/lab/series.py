"""Round trips and latencies second by second, from the sender's reports."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bpftune.lab.child import Record


def by_second(told: Iterable[tuple[float, float]]) -> list[float | None]:
    """Return the median of each second of numbers *told*, each with when in seconds.

    None where nothing was told, and nothing of what was told before second 0.
    """
    found: list[list[float]] = []
    for at_s, number in told:
        if at_s >= 0:
            found.extend([] for _ in range(int(at_s) + 1 - len(found)))
            found[int(at_s)].append(number)
    return [statistics.median(numbers) if numbers else None for numbers in found]


def rtt_series_s(reports: Sequence[Record], started_s: float) -> list[float | None]:
    """Return the smoothed round trips of the connections, their median.

    A connection that was not looked at yet has none.
    """
    return by_second(
        (report["t_s"] - started_s, flow["rtt_us"] / 1e6)
        for report in reports
        for flow in report["flows"]
        if flow.get("rtt_us")
    )


def latency_series_s(reports: Sequence[Record], started_s: float) -> list[float | None]:
    """Return how long requests or transfers took that ended in that second."""
    return by_second(
        (report["t_s"] - started_s, took_s)
        for report in reports
        for flow in report["flows"]
        for took_s in _latencies_s(flow)
    )


def _latencies_s(flow: Record) -> list[float]:
    if "latencies_s" in flow:
        return list(flow["latencies_s"])
    median_s = flow.get("latency_median_s")
    return [] if median_s is None else [median_s]
