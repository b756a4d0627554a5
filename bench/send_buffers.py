"""Does the send-buffer tuner find what a path needs? Against a grid by hand.

For each case the *best* is the goodput with a limit of 64 MiB, the *need* the
smallest doubling of the start that reaches 0.97 of it. Then the daemon starts
from the start value, and its last 15 of 60 s are compared with the best, its
final limit with the need, its writes counted. Cases without benefit run for
120 s; there the value has to end where it began.

    python -m bench.send_buffers [--quick] [--only WORD] [--out FILE]
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from bpftune.lab.run import Result, run_scenario
from bpftune.lab.scenario import Scenario, override
from bpftune.lab.scenarios import find
from bpftune.lab.triples import WMEM

MIB = 1 << 20
BEST_BYTES = 64 * MIB
GRID_S = 30.0
REACHES = 0.97
PATHS = ("long-fat", "satellite", "continent")
NO_BENEFIT = ("peer-window", "app-limited", "path-limited", "lossy", "lan")
# The rule was found on the paths above; these are others.
VARIED = {
    "20 Mbit/s x 200 ms": "rate=20mbit rtt=200ms wmem=128KiB",
    "30 Mbit/s x 600 ms": "rate=30mbit rtt=600ms wmem=256KiB",
    "80 Mbit/s x 250 ms, queue 1/2 BDP": (
        "rate=80mbit rtt=250ms wmem=512KiB queue=1250KiB"
    ),
    "200 Mbit/s x 50 ms, queue 3 BDP": (
        "rate=200mbit rtt=50ms wmem=256KiB queue=3700KiB"
    ),
    "100 Mbit/s x 20 ms from 64 KiB": "rate=100mbit rtt=20ms wmem=64KiB",
    "100 Mbit/s x 80 ms, 2 flows": "rate=100mbit rtt=80ms wmem=256KiB flows=2",
    "60 Mbit/s x 120 ms, 0.01 % loss": "rate=60mbit rtt=120ms wmem=256KiB loss=0.01%",
    "80 Mbit/s x 100 ms, new flow each 15 s": (
        "rate=80mbit rtt=100ms wmem=256KiB reconnect=15s"
    ),
    "80 Mbit/s x 100 ms, flow before daemon": (
        "rate=80mbit rtt=100ms wmem=256KiB late=10s seconds=70s"
    ),
}
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Case:
    """One scenario as it is run here."""

    name: str
    scenario: Scenario
    has_benefit: bool = True


def cases() -> list[Case]:
    """Return all cases, those with something to gain first."""
    found = []
    for path, flows, control in product(PATHS, (1, 4, 16), ("cubic", "bbr")):
        scenario = replace(find(path), flows=flows, congestion_control=control)
        found.append(Case(f"{path} {flows} {control}", scenario))
    found.append(Case("long-fat 1 cubic v6", replace(find("long-fat"), family=6)))
    found.append(Case("starved-beside-content", find("starved-beside-content")))
    for name, settings in VARIED.items():
        for control in ("cubic", "bbr"):
            setting = [*settings.split(), f"cc={control}"]
            scenario = override(find("long-fat"), setting)
            found.append(Case(f"varied: {name}, {control}", scenario))
    found += [Case(name, find(name), has_benefit=False) for name in NO_BENEFIT]
    for name in ("peer-window", "path-limited"):
        scenario = replace(find(name), congestion_control="bbr")
        found.append(Case(f"{name} bbr", scenario, has_benefit=False))
    return found


def say(text: str) -> None:
    """Show progress."""
    print(text, file=sys.stderr, flush=True)


def goodput_at(scenario: Scenario, limit: int) -> float:
    """Return the steady goodput, in bits per second, with *limit* set by hand."""
    fixed = replace(scenario, wmem_max_bytes=limit, seconds=GRID_S)
    goodput = run_scenario(fixed, "none").goodput_bits_per_s
    say(f"    {limit / MIB:g} MiB: {goodput / 1e6:.1f} Mbit/s")
    return goodput


def best_and_need(scenario: Scenario) -> tuple[float, int]:
    """Return the best goodput and the least doubling that comes close to it."""
    start = scenario.wmem_max_bytes or MIB
    best = goodput_at(scenario, BEST_BYTES)
    levels = [start << k for k in range(12) if start << k < BEST_BYTES]
    low, high = 0, len(levels)
    while low < high:  # goodput grows with the limit: search by halves
        middle = (low + high) // 2
        if goodput_at(scenario, levels[middle]) >= REACHES * best:
            high = middle
        else:
            low = middle + 1
    return best, levels[low] if low < len(levels) else BEST_BYTES


def cached_best(case: Case, cache: Path) -> tuple[float, int]:
    """Return ``best_and_need``, measured once and kept in *cache*."""
    known = json.loads(cache.read_text()) if cache.exists() else {}
    if case.name not in known:
        known[case.name] = best_and_need(case.scenario)
        cache.write_text(json.dumps(known, indent=1))
    best, need = known[case.name]
    return float(best), int(need)


def settled_limit(result: Result) -> int:
    """Return what the daemon left behind: a trial under way is taken back."""
    for record in reversed(result.records):
        if record.get("tunable") == WMEM and record.get("new"):
            return int(record["new"][2])
    return result.met(WMEM)[0][2]


def measure(case: Case, cache: Path) -> dict[str, Any]:
    """Run *case* with the daemon and return its row."""
    say(case.name)
    row: dict[str, Any] = {"case": case.name, "has_benefit": case.has_benefit}
    if case.has_benefit:
        best, need = cached_best(case, cache)
        row |= {"best_bits_per_s": best, "need_bytes": need}
    result = run_scenario(case.scenario, "self")
    start = result.met(WMEM)[0][2]
    row |= {
        "start_bytes": start,
        "goodput_bits_per_s": result.goodput_bits_per_s,
        "final_bytes": settled_limit(result),
        "writes": result.writes[WMEM],
        "retransmitted_share": result.retransmitted_share,
        "late_s": result.late_s,
        "records": result.records,
    }
    if case.has_benefit:
        row["of_best"] = result.goodput_bits_per_s / best
        row["of_need"] = row["final_bytes"] / need
    say(f"    -> {summary(row)}")
    return row


def summary(row: dict[str, Any]) -> str:
    """Return one line of the table."""
    start, final = row["start_bytes"] / MIB, row["final_bytes"] / MIB
    text = (
        f"| {row['case']} | {start:g} -> {final:g} MiB | {row['writes']} "
        f"| {row['goodput_bits_per_s'] / 1e6:.0f} "
    )
    if row["has_benefit"]:
        need = row["need_bytes"] / MIB
        return f"{text}| {row['of_best']:.2f} | {need:g} MiB, {row['of_need']:.1f}x |"
    return f"{text}| - | {'unchanged' if start == final else 'CHANGED'} |"


def main(argv: list[str] | None = None) -> int:
    """Measure all cases and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="cases whose name has this word")
    parser.add_argument("--quick", action="store_true", help="one flow of cubic only")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "send.json")
    options = parser.parse_args(argv)
    options.out.parent.mkdir(exist_ok=True)
    cache = options.out.with_name("best.json")
    rows = []
    for case in cases():
        if options.only not in case.name:
            continue
        if options.quick and case.name not in {f"{path} 1 cubic" for path in PATHS}:
            continue
        rows.append(measure(case, cache))
        options.out.write_text(json.dumps({"schema": 1, "rows": rows}, indent=1))
    print("| case | tcp_wmem max | writes | Mbit/s | of best | need |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        print(summary(row))
    return 0


if __name__ == "__main__":
    sys.exit(main())
