"""Measure if the congestion tuner finds the better algorithm, and what others pay.

Each case runs with bpftune, and as a reference with cubic and with bbr for all
connections. A run is written to ``bench/results/congestion`` as soon as it is over; a
reference that is there already, with the same parameters, is not run again. With
several seeds the table tells the median, the least and the most.

    python -m bench.congestion [CASE]... [--seeds 1,2,3] [--seconds N]
        [--reference-seconds N] [--runs self,cubic,bbr] [--set KEY=VALUE]...
        [--saved] [--out DIRECTORY]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.congestion_figures import OURS, Figures, Run, figures
from bpftune.lab.errors import LabError
from bpftune.lab.run import run_scenario
from bpftune.lab.scenario import Scenario, override
from bpftune.lab.scenarios import find
from bpftune.lab.turns import shortened

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

RESULTS = Path(__file__).parent / "results" / "congestion"
RUNS = (OURS, "cubic", "bbr")
REFERENCE_S = 600.0
"""As long as a reference takes at most: nothing is learned in it."""


class Need:
    """What a figure has to be."""

    def __init__(self, least: float | None = None, most: float | None = None) -> None:
        """Take the bounds, both included; None is no bound."""
        self.least = least
        self.most = most

    def holds(self, figure: float | None) -> bool:
        """Tell whether *figure* is there and within the bounds."""
        if figure is None:
            return False
        low = self.least is None or figure >= self.least
        return low and (self.most is None or figure <= self.most)

    def __str__(self) -> str:
        """Say it."""
        bounds = ((">=", self.least), ("<=", self.most))
        return " and ".join(f"{sign} {b:g}" for sign, b in bounds if b is not None)


@dataclass(frozen=True)
class Case:
    """A scenario, what is needed of its figures, and what is only told."""

    name: str
    needs: Mapping[str, Need] = field(default_factory=dict)
    told: Sequence[str] = ()

    @property
    def scenario(self) -> Scenario:
        """The scenario of that name."""
        return find(self.name)


RATES = ("mbit_self", "mbit_cubic", "mbit_bbr")
FOREIGN = (
    "foreign_mbit_self",
    "foreign_mbit_cubic",
    "foreign_mbit_bbr",
    "whole_mbit_self",
    "whole_mbit_cubic",
    "whole_mbit_bbr",
    "foreign_resent",
    "foreign_rtt",
    "whole_resent",
    "off_time",
    "trials",
    "early_ends",
    "early_flows",
    "most_early_flows",
)
CASES = (
    Case(
        "lossy-long",
        {"gain": Need(least=5), "blocks": Need(most=4)},
        (*RATES, "learned_s"),
    ),
    Case(
        "lossier",
        {"gain": Need(least=8), "blocks": Need(most=4)},
        (*RATES, "learned_s"),
    ),
    Case(
        "lossy-short",
        {"gain": Need(least=0.97), "took": Need(most=1 / 0.97)},
        ("took_s_self", "took_s_cubic", "took_s_bbr", "trials"),
    ),
    Case(
        "bufferbloat",
        {"rtt": Need(most=0.5), "gain": Need(least=0.99), "blocks": Need(most=4)},
        (
            *RATES,
            "rtt_ms_self",
            "rtt_ms_cubic",
            "rtt_ms_bbr",
            "last_rtt",
            "last_rtt_ms_cubic",
            "last_rtt_ms_bbr",
            "learned_s",
        ),
    ),
    Case(
        "shallow-shared",
        {
            "off_time": Need(most=0.06),
            "whole_gain": Need(least=0.97),
            "whole_resent": Need(most=1.3),
            "early_flows": Need(most=4),
        },
        (
            *RATES,
            "off_flows",
            "trials",
            "early_ends",
            "most_early_flows",
            "whole_resent_self",
            "whole_resent_cubic",
            "whole_resent_bbr",
        ),
    ),
    Case("shallow-foreign", {"foreign_gain": Need(least=0.9)}, FOREIGN),
    Case("one-bdp-foreign", {"foreign_gain": Need(least=0.9)}, FOREIGN),
    Case(
        "two-answers",
        {
            "gain": Need(least=5),
            "late_off_time": Need(least=0.9),
            "second_late_off_time": Need(most=0.1),
            "second_gain": Need(least=0.97),
        },
        (
            *RATES,
            "blocks",
            "learned_s",
            "second_mbit_self",
            "second_mbit_cubic",
            "second_mbit_bbr",
            "second_resent",
            "second_early_ends",
            "second_early_flows",
            "second_most_early_flows",
            "second_off_time",
        ),
    ),
    Case(
        "path-turns",
        {
            "part1_off_time": Need(least=0.9),
            "part2_off_time": Need(most=0.1),
            "part3_off_time": Need(least=0.9),
        },
        [
            f"part{part}_{figure}"
            for part in (1, 2, 3)
            for figure in ("settled_s", "gain", *RATES, "resent_self", "resent_cubic")
        ],
    ),
)


def say(text: str) -> None:
    """Show progress."""
    print(text, file=sys.stderr, flush=True)


def scenario_of(scenario: Scenario, who: str, reference_s: float) -> Scenario:
    """Return *scenario* as it is run where *who* decides."""
    if who == OURS:
        return scenario
    short = shortened(scenario, min(scenario.seconds, reference_s))
    return replace(short, congestion_control=who, hurry=1.0)


def saved(file: Path, scenario: Scenario) -> Run | None:
    """Return the run in *file* if it is of that very scenario."""
    if not file.exists():
        return None
    run: Run = json.loads(file.read_text())
    return run if run["parameters"] == asdict(scenario) else None


def run_once(scenario: Scenario, who: str, seed: int, file: Path) -> Run | None:
    """Run *scenario* where *who* decides, and write it down; None if it failed."""
    say(f"{scenario.name}, seed {seed}, {who}: {scenario.seconds:.0f} s")
    tuner = "self" if who == OURS else "none"
    try:
        run = run_scenario(scenario, tuner, seed).as_json()
    except LabError as error:
        say(f"    failed: {error}")
        return None
    del run["connections"]  # transfers tell the same and more
    file.write_text(json.dumps(run))
    return run


def measure(
    scenario: Scenario, seed: int, options: argparse.Namespace
) -> dict[str, Run]:
    """Return the runs of *scenario* with that seed, by who decides."""
    runs = {}
    for who in RUNS:
        one = scenario_of(scenario, who, options.reference_seconds)
        file = options.out / f"{scenario.name}-{seed}-{who}.json"
        run = saved(file, one)
        if who in options.runs and not options.saved and (run is None or who == OURS):
            run = run_once(one, who, seed, file)
        if run is not None:
            runs[who] = run
    return runs


def rows(case: Case, of_seeds: Sequence[Figures]) -> Iterable[str]:
    """Return the lines of the table about one case; references alone need nothing."""
    is_judged = any(f"mbit_{OURS}" in one for one in of_seeds)
    for name in (*case.needs, *case.told, "late_ms", "waited_ms"):
        known = [one[name] for one in of_seeds if one.get(name) is not None]
        numbers = [number for number in known if number is not None]
        need = case.needs.get(name) if is_judged else None
        if not numbers:
            median, span = None, "-"
        else:
            median = statistics.median(numbers)
            span = f"{median:.4g} ({min(numbers):.4g} to {max(numbers):.4g})"
        verdict = "" if need is None else "yes" if need.holds(median) else "NO"
        yield f"| {case.name} | {name} | {span} | {need or ''} | {verdict} |"


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.congestion",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [case.name for case in CASES]
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(names))
    parser.add_argument("--seeds", default="1", help="numbers with commas between")
    parser.add_argument("--seconds", type=float, help="how long a run takes")
    parser.add_argument("--reference-seconds", type=float, default=REFERENCE_S)
    parser.add_argument("--runs", default=",".join(RUNS), help="which of them")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--saved", action="store_true", help="run nothing, only tell")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(argv)
    if unknown := set(options.cases) - set(names):
        parser.error(f"no case {', '.join(unknown)}; there are {', '.join(names)}")
    options.runs = options.runs.split(",")
    if unknown := set(options.runs) - set(RUNS):
        parser.error(f"no run {', '.join(unknown)}; there are {', '.join(RUNS)}")
    options.seeds = [int(seed) for seed in options.seeds.split(",")]
    return options


def main(argv: list[str] | None = None) -> int:
    """Measure the cases asked for, and tell; the number of figures not as needed."""
    options = parse(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    lines: list[str] = []
    for case in CASES:
        if options.cases and case.name not in options.cases:
            continue
        scenario = override(case.scenario, options.set)
        if options.seconds is not None:
            scenario = shortened(scenario, options.seconds)
        of_seeds = []
        for seed in options.seeds:
            runs = measure(scenario, seed, options)
            if not runs:
                continue
            of_seeds.append(figures(runs))
            for line in rows(case, of_seeds[-1:]):
                say(line)
        told = list(rows(case, of_seeds))
        lines += told
        summary = {"schema": 1, "case": case.name, "figures": of_seeds}
        (options.out / f"{case.name}.json").write_text(json.dumps(summary, indent=1))
    print("| case | figure | median (least to most) | needed | so |")
    print("|---|---|---|---|---|")
    print("\n".join(lines))
    return sum(line.endswith("| NO |") for line in lines)


if __name__ == "__main__":
    sys.exit(main())
