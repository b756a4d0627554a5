"""What runs of the matrix could have told."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.matrix.cases import Case
    from bench.matrix.plan import Planned

MBIT = 1e6


def made(
    case: Case,
    *,
    mbit: Sequence[float],
    rtt_ms: Sequence[float | None] = (),
    answer_ms: Sequence[float] = (),
    beside_mbit: Sequence[float] = (),
    tuner: str = "none",
    **more: Any,
) -> dict[str, Any]:
    """Return a run of as many seconds as *mbit* has numbers."""
    told = {"series_bits_per_s": [one * MBIT for one in beside_mbit]}
    scenario = case.at(case.seconds)
    run: dict[str, Any] = {
        "tuner": tuner,
        "parameters": {**asdict(scenario), "seconds": float(len(mbit))},
        "series_bits_per_s": [one * MBIT for one in mbit],
        "series_rtt_s": [None if one is None else one / 1e3 for one in rtt_ms],
        "series_latency_s": [one / 1e3 for one in answer_ms],
        "beside": {"foreign" if scenario.foreign_flows else "also": told},
        "rtt_median_s": 0.02,
        "retransmitted_share": 0.0,
        "writes": {"net.ipv4.tcp_wmem": 0, "net.ipv4.tcp_rmem": 0},
        "values": [
            {
                "t_s": 0.0,
                "end": end,
                "tunable": f"net.ipv4.{name}",
                "value": [1, 2, 4 << 20],
            }
            for end, name in (("sender", "tcp_wmem"), ("receiver", "tcp_rmem"))
        ],
        "records": [],
        "transfers": [],
        "began_s": 100.0,
        "late_s": None,
        "emulator_busy": None,
        "waited_s": 0.0,
        "tuner_cost": {},
    }
    return {**run, **more}


def done(planned: Planned, run: dict[str, Any]) -> dict[str, Any]:
    """Return what is kept of a run that was *planned*."""
    return {
        "case": planned.case.name,
        "tuner": planned.tuner.name,
        "repeat": planned.repeat,
        "contender": planned.tuner.contender,
        "parameters": asdict(planned.case.at(planned.seconds)),
        "result": run,
    }
