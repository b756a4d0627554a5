"""Have the runs run, and keep what came of them, one file each."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from bench.matrix.oracle import CONTROLS, Point, cache_key, choose, grid
from bench.matrix.tuners import ORACLE
from bpftune.lab.congestion import AVAILABLE
from bpftune.lab.errors import LabError, NotPermittedError, NotSupportedError
from bpftune.lab.run import run_scenario

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench.matrix.cases import Case
    from bench.matrix.measures import Run
    from bench.matrix.plan import Planned

    Told = Callable[[float, float], None]
    Begins = Callable[[str, float], Told]

Record = dict[str, Any]
SEARCH_SEED = 0
"""Of no repeat: the oracle is not chosen by the losses that it is measured with."""

TRANSFER = ("began_s", "took_s", "congestion_control")


def kept_of(result: Run) -> Run:
    """Return what is kept of a result: no connections, little of each transfer."""
    beside = result["beside"].items()
    return {
        **_without_much(result),
        "beside": {what: _without_much(other) for what, other in beside},
    }


def _without_much(told: Run) -> Run:
    made = {key: value for key, value in told.items() if key != "connections"}
    made["transfers"] = [
        {key: one[key] for key in TRANSFER} for one in told["transfers"]
    ]
    return made


class Store:
    """The files of one matrix, below a directory; searches outlive it in *cache*."""

    def __init__(self, directory: Path, cache: Path) -> None:
        """Make the directories where they are missing."""
        self.directory = directory
        self.cache = cache
        for made in (directory / "runs", directory / "pictures", cache):
            made.mkdir(parents=True, exist_ok=True)

    def forget(self) -> None:
        """Remove the runs of an earlier matrix."""
        for file in (self.directory / "runs").glob("*.json"):
            file.unlink()

    def saved(self, planned: Planned, contender: str) -> Record | None:
        """Return what is kept of that very run, None if nothing is or it failed."""
        file = self._file(planned)
        if not file.exists():
            return None
        one: Record = json.loads(file.read_text())
        wanted = asdict(planned.case.at(planned.seconds)), contender
        is_same = (one.get("parameters"), one.get("contender")) == json_of(wanted)
        return one if is_same and "result" in one else None

    def keep(self, planned: Planned, one: Record) -> None:
        """Write down what came of a run."""
        self._file(planned).write_text(json.dumps(one))

    def _file(self, planned: Planned) -> Path:
        return self.directory / "runs" / f"{planned.name}.json"


def json_of(pair: tuple[Record, str]) -> tuple[Record, str]:
    """Return *pair* as it reads back from JSON."""
    return json.loads(json.dumps(pair[0])), pair[1]


def run(planned: Planned, contender: str, told: Told | None) -> Record:
    """Run it and return what came of it; a run that fails is told as well.

    Raises LabError where no run can succeed here.
    """
    scenario = planned.case.at(planned.seconds)
    one: Record = {
        "case": planned.case.name,
        "tuner": planned.tuner.name,
        "repeat": planned.repeat,
        "contender": contender,
        "parameters": asdict(scenario),
    }
    try:
        result = run_scenario(scenario, contender, planned.repeat, told)
    except (NotPermittedError, NotSupportedError):
        raise
    except LabError as error:
        return {**one, "failed": str(error)}
    return {**one, "result": kept_of(result.as_json())}


def algorithms() -> list[str]:
    """Return the congestion controls that the kernel offers."""
    return AVAILABLE.read_text().split()


def search(case: Case, store: Store, begins: Begins) -> Record:
    """Return the oracle of *case*: what was found before, or is found now."""
    points = grid(case, [name for name in CONTROLS if name in algorithms()])
    file = store.cache / f"{cache_key(case, points, os.uname().release)}.json"
    if file.exists():
        found: Record = json.loads(file.read_text())
        return found
    levels = [_levels(case, point, file, begins) for point in points]
    chosen = choose(case, levels)
    found = {
        "chosen": points[chosen]._asdict(),
        "points": [
            {**point._asdict(), "levels": level}
            for point, level in zip(points, levels, strict=True)
        ],
    }
    file.write_text(json.dumps(found, indent=1))
    return found


def _levels(
    case: Case, point: Point, file: Path, begins: Begins
) -> dict[str, float | None]:
    """Return the levels of the measures with the values of *point*."""
    values = file.with_suffix(".conf")
    values.write_text(point.as_sysctls())
    told = begins(f"{case.name}, by hand: {point.words()}", case.fixed_s)
    scenario = case.at(case.fixed_s)
    try:
        result = run_scenario(scenario, f"sysctl:{values}", SEARCH_SEED, told)
    finally:
        values.unlink()
    one = result.as_json()
    return {m.name: m.steady(one, case.steady_s) for m in case.measures}


def contender_of(planned: Planned, oracle: Record | None, store: Store) -> str:
    """Return what the lab is to start; the oracle's values get a file to read.

    Empty where no oracle was found.
    """
    if planned.tuner != ORACLE:
        return planned.tuner.contender
    if oracle is None:
        return ""
    values = store.directory / f"by-hand-{planned.case.name}.conf"
    values.write_text(Point(**oracle["chosen"]).as_sysctls())
    return f"sysctl:{values}"
