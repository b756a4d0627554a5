"""What does a path need, and does the daemon find it? A grid set by hand tells.

For each case with something to gain the *best* is the goodput with limits of
64 MiB, the *need* the smallest doubling of the start that reaches 0.97 of it. Then
the daemon starts from the start, and its last 15 s are compared with the best, its
final limit with the need, its writes counted. In a case without benefit each limit
has to end where it began.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.host import host_sysctl
from bpftune.lab.run import Result, run_scenario
from bpftune.lab.scenario import MIB, Scenario
from bpftune.lab.triples import RMEM, WMEM

if TYPE_CHECKING:
    from collections.abc import Sequence

BEST_BYTES = 64 * MIB
GRID_S = 30.0
REACHES = 0.97
AS_GOOD = 0.95
WHOLE_LIFE = 0.8
"""What share of its time a connection lived that was not cut off by the end."""

FIELDS = {WMEM: "wmem_max_bytes", RMEM: "rmem_max_bytes"}
RESULTS = Path(__file__).parent / "results"


class Best(NamedTuple):
    """What limits set by hand reach; *rounds_bytes* see there."""

    bits_per_s: float
    need_bytes: int
    rounds_bytes: Sequence[int] = ()


@dataclass(frozen=True, kw_only=True)
class Case:
    """One scenario as it is run here.

    The grid sets the maxima of all *tunables* alike; the first is the one that
    *need* and the table are about. *most_bits_per_s* is what the daemon can reach
    where that is less than limits set before the traffic began. *host* are sysctls
    of the whole machine for the time of the case.
    """

    name: str
    scenario: Scenario
    tunables: tuple[str, ...]
    has_benefit: bool = True
    most_bits_per_s: float = float("inf")
    host: dict[str, int] = field(default_factory=dict)

    @property
    def start_bytes(self) -> int:
        """The limit it starts from."""
        return getattr(self.scenario, FIELDS[self.tunables[0]]) or MIB


def say(text: str) -> None:
    """Show progress."""
    print(text, file=sys.stderr, flush=True)


def run_at(case: Case, limit: int) -> Result:
    """Run *case* with *limit*, in bytes, set by hand."""
    limits: dict[str, Any] = {FIELDS[tunable]: limit for tunable in case.tunables}
    result = run_scenario(replace(case.scenario, seconds=GRID_S, **limits), "none")
    say(f"    {limit / MIB:g} MiB: {result.goodput_bits_per_s / 1e6:.1f} Mbit/s")
    return result


def best_and_need(case: Case) -> Best:
    """Return the best goodput and the least doubling that comes close to it."""
    start = case.start_bytes
    roomy = run_at(case, BEST_BYTES)
    best = min(roomy.goodput_bits_per_s, case.most_bits_per_s)
    levels = [start << k for k in range(12) if start << k < BEST_BYTES]
    low, high = 0, len(levels)
    while low < high:  # goodput grows with the limit: search by halves
        middle = (low + high) // 2
        if run_at(case, levels[middle]).goodput_bits_per_s >= REACHES * best:
            high = middle
        else:
            low = middle + 1
    need = levels[low] if low < len(levels) else BEST_BYTES
    return Best(best, need, rounds_bytes(roomy))


def cached_best(case: Case, cache: Path) -> Best:
    """Return ``best_and_need``, measured once and kept in *cache*."""
    known = json.loads(cache.read_text()) if cache.exists() else {}
    if case.name not in known:
        known[case.name] = best_and_need(case)
        cache.write_text(json.dumps(known, indent=1))
    return Best(*known[case.name])


def rounds_bytes(result: Result, after_s: float = 0.0) -> list[int]:
    """Return what the connections that began after *after_s* brought, in bytes.

    The flows connect anew together: the first number is of each flow's first
    connection, all flows together, and so on. A connection that the end of the run
    cut off does not count.
    """
    life_s = result.parameters["reconnect_s"]
    if not life_s:
        return []
    brought: list[list[int]] = [[] for _ in range(result.parameters["flows"])]
    for one in result.connections:
        lived_s = one["ended_s"] - one["began_s"]
        if one["began_s"] >= after_s and lived_s >= WHOLE_LIFE * life_s:
            brought[one["flow"]].append(one["bytes"])
    return [sum(together) for together in zip(*brought, strict=False)]


def first_as_good(result: Result, tunable: str, best: Best) -> int | None:
    """Return which connection after the first change was as good as the best ones.

    1 is the first that began after *tunable* changed; None: no one was.
    """
    met_s = [one["t_s"] for one in result.values if one["tunable"] == tunable]
    if len(met_s) < 2 or not best.rounds_bytes:
        return None
    enough = AS_GOOD * statistics.median(best.rounds_bytes)
    for ordinal, brought in enumerate(rounds_bytes(result, met_s[1]), 1):
        if brought >= enough:
            return ordinal
    return None


def limit_of(result: Result, tunable: str) -> dict[str, int]:
    """Return where the limit began, what the daemon left behind, and its writes."""
    met = result.met(tunable)
    return {
        "start_bytes": met[0][2],
        "final_bytes": met[-1][2],
        "writes": result.writes[tunable],
    }


def row_of(case: Case, result: Result, best: Best | None) -> dict[str, Any]:
    """Return what the daemon's *result* is, compared with the best if there is one."""
    first, *others = case.tunables
    row: dict[str, Any] = {
        "case": case.name,
        "has_benefit": case.has_benefit,
        "tunable": first,
        **limit_of(result, first),
        "beside": {tunable: limit_of(result, tunable) for tunable in others},
        "goodput_bits_per_s": result.goodput_bits_per_s,
        "retransmitted_share": result.retransmitted_share,
        "late_s": result.late_s,
        "records": result.records,
    }
    if best is not None:
        row |= {
            "best_bits_per_s": best.bits_per_s,
            "need_bytes": best.need_bytes,
            "of_best": result.goodput_bits_per_s / best.bits_per_s,
            "of_need": row["final_bytes"] / best.need_bytes,
        }
        if best.rounds_bytes:
            row["first_as_good"] = first_as_good(result, first, best)
    return row


def measure(case: Case, cache: Path) -> dict[str, Any]:
    """Run *case* with the daemon and return its row."""
    say(case.name)
    with host_sysctl(case.host, say) if case.host else nullcontext():
        best = cached_best(case, cache) if case.has_benefit else None
        row = row_of(case, run_scenario(case.scenario, "self"), best)
    say(f"    -> {summary(row)}")
    return row


def _is_unchanged(row: dict[str, Any]) -> bool:
    limits = (row, *row["beside"].values())
    return all(one["start_bytes"] == one["final_bytes"] for one in limits)


def _moves(row: dict[str, Any]) -> str:
    """Return where each limit began and ended, the first without its name."""
    moves = [
        f"{one['start_bytes'] / MIB:g} -> {one['final_bytes'] / MIB:g} MiB"
        for one in (row, *row["beside"].values())
    ]
    names = ["", *(f"{tunable.rpartition('.')[2]} " for tunable in row["beside"])]
    return ", ".join(name + move for name, move in zip(names, moves, strict=True))


def summary(row: dict[str, Any]) -> str:
    """Return one line of the table; writes are those of all its limits."""
    writes = row["writes"] + sum(one["writes"] for one in row["beside"].values())
    text = (
        f"| {row['case']} | {_moves(row)} | {writes} "
        f"| {row['goodput_bits_per_s'] / 1e6:.0f} "
    )
    if not row["has_benefit"]:
        return f"{text}| - | {'unchanged' if _is_unchanged(row) else 'CHANGED'} |"
    need = f"{row['need_bytes'] / MIB:g} MiB, {row['of_need']:.1f}x"
    if "first_as_good" in row:
        need += f", connection {row['first_as_good'] or 'NONE'}"
    return f"{text}| {row['of_best']:.2f} | {need} |"


def run_cases(
    cases: Sequence[Case],
    about: str | None,
    name: str,
    quick: set[str],
    argv: list[str] | None,
) -> int:
    """Measure the cases that *argv* asks for and write the table.

    *about* is told by ``--help``, *name* names the results, *quick* are the names
    of the cases of ``--quick``.
    """
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--only", default="", help="cases whose name has this word")
    parser.add_argument("--quick", action="store_true", help="one flow of cubic only")
    parser.add_argument("--out", type=Path, default=RESULTS / f"{name}.json")
    options = parser.parse_args(argv)
    options.out.parent.mkdir(exist_ok=True)
    cache = options.out.with_name("best.json")
    rows: list[dict[str, Any]] = []
    for case in cases:
        if options.only not in case.name:
            continue
        if options.quick and case.name not in quick:
            continue
        rows.append(measure(case, cache))
        options.out.write_text(json.dumps({"schema": 1, "rows": rows}, indent=1))
    tunable = cases[0].tunables[0].rpartition(".")[2]
    print(f"| case | {tunable} max | writes | Mbit/s | of best | need |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        print(summary(row))
    return 0
