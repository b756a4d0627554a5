"""The matrix as one JSON object, as ``schema.json`` describes it: pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from bench.matrix.figures import overall, rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bench.matrix.cases import Case
    from bench.matrix.measures import Run
    from bench.matrix.tuners import Tuner

SCHEMA = 1
Record = dict[str, Any]


def by_case(done: Iterable[Record]) -> dict[str, dict[str, dict[int, Run]]]:
    """Return the results of what was run, by case, tuner and repeat."""
    found: dict[str, dict[str, dict[int, Run]]] = defaultdict(lambda: defaultdict(dict))
    for one in done:
        if "result" in one:
            found[one["case"]][one["tuner"]][one["repeat"]] = one["result"]
    return found


def report(
    about: Record,
    cases: Sequence[Case],
    tuners: Sequence[Tuner],
    done: Sequence[Record],
    oracles: Mapping[str, Record],
) -> Record:
    """Return the matrix of what was *done*.

    *about* tells where and how, *oracles* what was found by hand, by case.
    """
    runs = by_case(done)
    results = {case.name: rows(case, runs.get(case.name, {})) for case in cases}
    return {
        "schema": SCHEMA,
        "about": about,
        "tuners": [
            {"name": one.name, "title": one.title, "contender": one.contender}
            for one in tuners
        ],
        "cases": [
            {
                "name": case.name,
                "title": case.title,
                "scenario": case.scenario,
                "settings": list(case.settings),
                "parameters": asdict(case.at(case.seconds)),
                "seconds": case.seconds,
                "fixed_s": case.fixed_s,
                "steady_s": case.steady_s,
                "measures": [
                    {
                        "name": measure.name,
                        "unit": measure.unit,
                        "one_unit": measure.one_unit,
                        "less_is_better": measure.is_time,
                    }
                    for measure in case.measures
                ],
                "oracle": oracles.get(case.name),
                "results": results[case.name],
            }
            for case in cases
        ],
        "overall": {one.name: overall(results, one.name) for one in tuners},
        "failed": [
            {key: one[key] for key in ("case", "tuner", "repeat", "failed")}
            for one in done
            if "failed" in one
        ],
    }
