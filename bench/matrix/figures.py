"""What the runs come to: pure arithmetic on results of the lab.

Every gain is that of a pair: a run against the one without a tuner of the same repeat,
which has the same seed. Told are the median of the pairs, the least and the most.
"""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, Any

from bench.matrix.tuners import NONE, ORACLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bench.matrix.cases import Case
    from bench.matrix.measures import Measure, Run

Record = dict[str, Any]
Runs = dict[int, "Run"]
"""The runs of one tuner in one case, by repeat."""

NEARLY = 0.9
"""What share of the oracle's is said to be reached."""

DECISIONS = frozenset(
    {"change", "kept", "taken_back", "shrunk", "tries", "chosen", "ended"}
)
MOST_LATE_S = 0.1
"""Of the latest packet. TCP waits twice as long before it resends (``TCP_RTO_MIN``);
less looks like a queue for a moment, and hardly a run in a virtual machine is free of
20 ms of it."""

MOST_WAITED_S = 0.02
MOST_BUSY = 0.8


def spread(numbers: Iterable[float | None]) -> Record | None:
    """Return the median, the least and the most, and all; None of nothing."""
    known = [number for number in numbers if number is not None]
    if not known:
        return None
    return {
        "median": statistics.median(known),
        "least": min(known),
        "most": max(known),
        "all": known,
    }


def gains(case: Case, measure: Measure, runs: Runs, base: Runs) -> list[float | None]:
    """Return the gain of each pair of *runs* and *base*."""
    return [
        measure.gain(
            measure.steady(runs[repeat], case.steady_s),
            measure.steady(base[repeat], case.steady_s),
        )
        for repeat in sorted(runs.keys() & base.keys())
    ]


def whole_gains(case: Case, runs: Runs, base: Runs) -> list[float | None]:
    """Return the gain of each pair from the beginning on, as long as both ran."""
    found = []
    for repeat in sorted(runs.keys() & base.keys()):
        pair = runs[repeat], base[repeat]
        end_s = min(one["parameters"]["seconds"] for one in pair)
        levels = [case.measures[0].level(one, 0, end_s) for one in pair]
        found.append(case.measures[0].gain(*levels))
    return found


def reached_s(case: Case, runs: Runs, oracle: Runs) -> list[float | None]:
    """Return when each run first had ``NEARLY`` what the oracle has, in seconds."""
    subject = case.measures[0]
    best = spread(subject.steady(one, case.steady_s) for one in oracle.values())
    if best is None:
        return []
    nearly = 1 / NEARLY if subject.is_time else NEARLY
    goal = best["median"] * nearly
    return [subject.reached_s(one, goal) for _, one in sorted(runs.items())]


def cautions(run: Run) -> list[str]:
    """Return what may have spoiled a run."""
    told = []
    if (run["late_s"] or 0) > MOST_LATE_S:
        told.append("packets late")
    if (run["emulator_busy"] or 0) > MOST_BUSY:
        told.append("emulator busy")
    if run["waited_s"] > MOST_WAITED_S:
        told.append("traffic waited for a CPU")
    if run["tuner"] == "none" and any(run["writes"].values()):
        told.append("something else tuned")
    return told


def row(case: Case, runs: Runs, base: Runs, oracle: Runs) -> Record:
    """Return what one tuner's *runs* of *case* come to."""
    each = [one for _, one in sorted(runs.items())]
    reached = reached_s(case, runs, oracle)
    return {
        "runs": len(runs),
        "measures": {
            measure.name: {
                "level": spread(measure.steady(one, case.steady_s) for one in each),
                "gain": spread(gains(case, measure, runs, base)),
            }
            for measure in case.measures
        },
        "whole_gain": spread(whole_gains(case, runs, base)),
        "of_oracle": spread(gains(case, case.measures[0], runs, oracle)),
        "reached_s": spread(reached),
        "never_reached": sum(one is None for one in reached),
        "writes": spread(sum(one["writes"].values()) for one in each),
        "decisions": spread(
            sum(record.get("record") in DECISIONS for record in one["records"])
            for one in each
        ),
        "rtt_s": spread(one["rtt_median_s"] for one in each),
        "retransmitted_share": spread(one["retransmitted_share"] for one in each),
        "cpu_s": spread(one["tuner_cost"].get("cpu_s") for one in each),
        "cautions": sorted({told for one in each for told in cautions(one)}),
    }


def rows(case: Case, runs: Mapping[str, Runs]) -> Record:
    """Return the row of *case*: what each tuner's runs come to, by its name."""
    base, oracle = runs.get(NONE.name, {}), runs.get(ORACLE.name, {})
    return {name: row(case, one, base, oracle) for name, one in runs.items() if one}


def overall(results: Mapping[str, Record], tuner: str) -> Record:
    """Return what *tuner* comes to over all cases, by their *results*.

    ``gain`` is the geometric mean of the cases' medians, ``worst`` the least median
    of any measure of any case, ``worst_pair`` the least of all pairs.
    """
    subjects: list[float] = []
    shares: list[float] = []
    medians: list[Record] = []
    pairs: list[Record] = []
    for case, of_tuners in results.items():
        one = of_tuners.get(tuner)
        if one is None:
            continue
        for number, (measure, told) in enumerate(one["measures"].items()):
            gain = told["gain"]
            if gain is None:
                continue
            where = {"case": case, "measure": measure}
            medians.append({**where, "gain": gain["median"]})
            pairs.append({**where, "gain": gain["least"]})
            if not number:
                subjects.append(gain["median"])
        if one["of_oracle"]:
            shares.append(one["of_oracle"]["median"])
    return {
        "cases": len(subjects),
        "gain": geometric_mean(subjects),
        "of_oracle": geometric_mean(shares),
        "worst": _least(medians),
        "worst_pair": _least(pairs),
    }


def _least(found: Sequence[Record]) -> Record | None:
    return min(found, key=lambda one: float(one["gain"]), default=None)


def geometric_mean(numbers: Sequence[float]) -> float | None:
    """Return it, None of nothing; 0 if one of them is."""
    if not numbers:
        return None
    if min(numbers) <= 0:
        return 0.0
    return math.exp(statistics.fmean(math.log(number) for number in numbers))
