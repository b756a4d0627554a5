"""What is told of traffic when it is over, from the reports of its two ends."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from bpftune.lab.series import latency_series_s, rtt_series_s
from bpftune.lab.traffic import Requests, Transfers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bpftune.lab.child import Record
    from bpftune.lab.link import EmulatedLink
    from bpftune.lab.traffic import Flows


def measured(flows: Flows, steady_s: float) -> Record:
    """Return all that is told of traffic; the last *steady_s* are what counts."""
    return {**_goodput(flows, steady_s), **_sender(flows, steady_s)}


def _goodput(flows: Flows, steady_s: float) -> dict[str, Any]:
    per_flow = flows.per_flow_bits_per_s(steady_s)
    return {
        "goodput_bits_per_s": sum(per_flow),
        "goodput_whole_bits_per_s": flows.goodput_bits_per_s(),
        "per_flow_bits_per_s": per_flow,
        "series_bits_per_s": flows.series(),
        "series_rtt_s": rtt_series_s(flows.senders(), flows.started_s),
        "series_latency_s": latency_series_s(flows.senders(), flows.started_s),
        "waited_s": flows.waited_s(),
    }


def _sender(flows: Flows, steady_s: float) -> dict[str, Any]:
    """Return what the senders' reports say; times are medians of steady reports.

    What was sent again is that of the transfers that ended, or of the connections
    there are.
    """
    reports = flows.senders()
    last = flows.latest()
    begin_s = reports[-1]["t_s"] - steady_s if reports else 0.0
    late = [report["flows"] for report in reports if report["t_s"] > begin_s]
    steady = [flow for report in late for flow in report]
    transfers = flows.transfers()
    sent = sum(one["segments"] for one in transfers)
    again = sum(one["retransmitted"] for one in transfers)
    if not transfers:
        sent = sum(flow["data_segments_out"] for flow in last)
        again = sum(flow["retransmitted_segments"] for flow in last)
    return {
        "retransmitted_share": again / sent if sent else 0.0,
        "rtt_min_s": min((f["min_rtt_us"] for f in last), default=0) / 1e6 or None,
        "rtt_median_s": _median([flow["rtt_us"] / 1e6 for flow in steady]),
        "transfers": transfers,
        "destination": flows.destination,
        **_completed(flows, steady, steady_s),
    }


def _completed(flows: Flows, steady: list[Record], steady_s: float) -> dict[str, Any]:
    """Return how many requests or transfers there were, and how long they took."""
    if isinstance(flows.traffic, Transfers):
        taken_s = sorted(took_s for flow in steady for took_s in flow["latencies_s"])
        count = len(taken_s)
        median_s = _median(taken_s)
        p99_s = taken_s[count * 99 // 100] if count else None
    elif isinstance(flows.traffic, Requests):
        asked = [flow for flow in steady if flow["completed"]]
        count = sum(flow["completed"] for flow in asked)
        median_s = _median([flow["latency_median_s"] for flow in asked])
        p99_s = _median([flow["latency_p99_s"] for flow in asked])
    else:
        return dict.fromkeys(("requests_per_s", "latency_median_s", "latency_p99_s"))
    return {
        "requests_per_s": count / steady_s,
        "latency_median_s": median_s,
        "latency_p99_s": p99_s,
    }


def _median(numbers: list[float]) -> float | None:
    return statistics.median(numbers) if numbers else None


def emulated(paths: Sequence[EmulatedLink]) -> dict[str, Any]:
    """Return what the emulators say: of the first path, the times of the worst."""
    told = [path.carried() for path in paths]
    if not told or not all(told):
        return {"dropped_share": None, "late_s": None, "emulator_busy": None}
    there = told[0][0]
    gone = there["dropped"] + there["lost"]
    return {
        "dropped_share": gone / max(1, there["offered"]),
        "late_s": max(direction["late_s"] for pair in told for direction in pair),
        "emulator_busy": max(one["cpu_s"] / max(0.1, one["wall_s"]) for one, _ in told),
    }
