"""A small matrix."""

from __future__ import annotations

from typing import Any

from bench.matrix.cases import CASES
from bench.matrix.oracle import grid
from bench.matrix.plan import plan
from bench.matrix.report import report
from bench.matrix.tuners import TUNERS
from tests.unit.bench.matrix.runs import done, made

ABOUT = {
    "kernel": "6.18",
    "cpus": 2,
    "algorithms": ["reno", "bbr", "cubic"],
    "version": "0.1.0",
    "began": "2026-11-27 11:59 UTC",
    "size": "core",
    "repeats": 2,
    "seed": 1,
}
CHOSEN = [case for case in CASES if case.name in {"long-fat", "bufferbloat", "shared"}]
RATES = {"none": 50, "esnet": 60, "tuned": 55, "oracle": 100, "bpftune": 95}
RECORDS = [
    {
        "record": "change",
        "lab_monotonic_s": 105.0,
        "tunable": "net.ipv4.tcp_wmem",
        "new": [4096, 16384, 8 << 20],
        "why": "held back",
    },
    {
        "record": "tries",
        "lab_monotonic_s": 112.0,
        "why": "unknown here",
        "evidence": {"arm": "bbr"},
    },
    {"record": "chosen", "lab_monotonic_s": 115.0, "why": "bbr from now on"},
]
TRANSFERS = [
    {
        "began_s": 2.0 * n,
        "took_s": 1.9,
        "congestion_control": "cubic" if n < 6 else "bbr",
    }
    for n in range(15)
]


def finished() -> list[dict[str, Any]]:
    """Return what came of all runs of three cases."""
    found = []
    for planned in plan(CHOSEN, TUNERS, 2, 1):
        rate = RATES[planned.tuner.name] + planned.repeat
        seconds = int(planned.seconds)
        ours = planned.tuner.name == "bpftune"
        run = made(
            planned.case,
            mbit=[1.0] * 5 + [rate] * (seconds - 5),
            rtt_ms=[5000 / rate] * seconds,
            beside_mbit=[40] * seconds if planned.case.name == "shared" else (),
            tuner=planned.tuner.contender,
            records=RECORDS if ours else [],
            transfers=TRANSFERS if planned.case.name != "long-fat" else [],
        )
        found.append(done(planned, run))
    return found


def matrix() -> dict[str, Any]:
    """Return their matrix."""
    oracles = {
        case.name: {
            "chosen": grid(case)[1]._asdict(),
            "points": [
                {**point._asdict(), "levels": {"goodput": 1e6}} for point in grid(case)
            ],
        }
        for case in CHOSEN
    }
    return report(ABOUT, CHOSEN, TUNERS, finished(), oracles)
