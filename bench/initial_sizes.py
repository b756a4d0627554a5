"""Measure if it matters what TCP buffers begin with, and if the daemon knows.

Whole transfers over 100 Mbit/s and 150 ms, timed from connecting to the last byte.
First the second numbers of ``tcp_rmem`` (downloads: each transfer has a new receiving
socket) and of ``tcp_wmem`` (uploads) are set by hand: each size in turn, in one run,
told as a ratio of the median to that of the kernel's own size, with the middle half
of all transfers as the spread. Then the daemon begins from a small one.

    python -m bench.initial_sizes [--quick] [--out FILE]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bpftune.lab.run import run_scenario
from bpftune.lab.scenario import KIB, MIB, Scenario
from bpftune.lab.scenarios import find
from bpftune.lab.triples import RMEM

if TYPE_CHECKING:
    from collections.abc import Iterable

RESULTS = Path(__file__).parent / "results"
SIZES_BYTES = (15_000, 50_000, 150_000, 500_000)
RMEM_INITIAL = (16 * KIB, 32 * KIB, 64 * KIB, 128 * KIB, 1 * MIB)
WMEM_INITIAL = (4 * KIB, 16 * KIB, 1 * MIB)
KERNELS_OWN = {"rmem": 128 * KIB, "wmem": 16 * KIB}
SECONDS = 8.0
DAEMON = ("small-beginnings", "small-listener", "64 KiB to begin with")


class Took(NamedTuple):
    """How long transfers took, in seconds: the median and the middle half."""

    median_s: float
    low_s: float
    high_s: float
    transfers: int


def took(connections: Iterable[dict[str, Any]]) -> Took:
    """Return how long the connections lived."""
    lives_s = sorted(one["ended_s"] - one["began_s"] for one in connections)
    low_s, median_s, high_s = statistics.quantiles(lives_s, n=4)
    return Took(median_s, low_s, high_s, len(lives_s))


def by_hand(side: str, control: str, size_bytes: int) -> list[dict[str, Any]]:
    """Return one row for each initial size of that *side*."""
    rows = []
    for initial in RMEM_INITIAL if side == "rmem" else WMEM_INITIAL:
        scenario = replace(
            find("small-beginnings"),
            traffic="downloads" if side == "rmem" else "transfers",
            congestion_control=control,
            transfer_bytes=size_bytes,
            seconds=SECONDS,
            rmem_initial_bytes=initial if side == "rmem" else KERNELS_OWN["rmem"],
            wmem_initial_bytes=initial if side == "wmem" else KERNELS_OWN["wmem"],
        )
        seen = took(run_scenario(scenario, "none").connections)
        rows.append(
            {
                "side": side,
                "control": control,
                "size_bytes": size_bytes,
                "initial_bytes": initial,
                **seen._asdict(),
            }
        )
    own = next(r for r in rows if r["initial_bytes"] == KERNELS_OWN[side])["median_s"]
    for row in rows:
        row["ratio"] = row["median_s"] / own
        print(hand_line(row), file=sys.stderr, flush=True)
    return rows


def hand_line(row: dict[str, Any]) -> str:
    """Return one line of the first table."""
    own = row["median_s"] / row["ratio"]
    count, median_s = row["transfers"], row["median_s"]
    return (
        f"| tcp_{row['side']} {row['initial_bytes'] // KIB} KiB | {row['control']} "
        f"| {row['size_bytes'] // 1000} kB | {count} | {median_s:.3f} s "
        f"| {row['ratio']:.2f} ({row['low_s'] / own:.2f}-{row['high_s'] / own:.2f}) |"
    )


def daemon_scenario(name: str) -> Scenario:
    """Return a scenario for the daemon."""
    if name in {"small-beginnings", "small-listener"}:
        return find(name)
    # The first window is half of that, and the kernel opens it in time.
    small = find("small-beginnings")
    return replace(small, name=name, rmem_initial_bytes=64 * KIB, seconds=120.0)


def with_daemon(name: str) -> dict[str, Any]:
    """Return what the daemon does."""
    result = run_scenario(daemon_scenario(name), "self")
    met = result.met(RMEM)
    kept = [one for one in result.records if one["record"] == "kept"]
    row = {
        "scenario": name,
        "start_bytes": met[0][1],
        "final_bytes": met[-1][1],
        "writes": result.writes[RMEM],
        "first_s": _median_s(result.connections[:24]),
        "last_s": _median_s(result.connections[-24:]),
        "why": kept[-1]["why"] if kept else "",
        "records": result.records,
    }
    print(daemon_line(row), file=sys.stderr, flush=True)
    return row


def _median_s(connections: list[dict[str, Any]]) -> float:
    return took(connections).median_s


def daemon_line(row: dict[str, Any]) -> str:
    """Return one line of the second table."""
    return (
        f"| {row['scenario']} | {row['start_bytes'] // KIB} -> "
        f"{row['final_bytes'] // KIB} KiB | {row['writes']} "
        f"| {row['last_s'] / row['first_s']:.2f} |"
    )


def main(argv: list[str] | None = None) -> int:
    """Measure and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="150 kB of cubic only")
    parser.add_argument("--out", type=Path, default=RESULTS / "initial.json")
    options = parser.parse_args(argv)
    options.out.parent.mkdir(exist_ok=True)
    sizes = (150_000,) if options.quick else SIZES_BYTES
    controls = ("cubic",) if options.quick else ("cubic", "bbr")
    hand = [
        row
        for side in ("rmem", "wmem")
        for control in controls
        for size_bytes in sizes
        for row in by_hand(side, control, size_bytes)
    ]
    daemon = [with_daemon(name) for name in (DAEMON[:1] if options.quick else DAEMON)]
    options.out.write_text(
        json.dumps({"schema": 1, "by_hand": hand, "daemon": daemon}, indent=1)
    )
    print("| begins with | | transfer | n | median | ratio to the kernel's own |")
    print("|---|---|---|---|---|---|")
    print("\n".join(map(hand_line, hand)))
    print("\n| daemon | begins with | writes | last transfers : first |")
    print("|---|---|---|---|")
    print("\n".join(map(daemon_line, daemon)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
