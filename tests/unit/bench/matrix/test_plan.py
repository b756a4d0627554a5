from __future__ import annotations

from itertools import groupby

import pytest
from bench.matrix.cases import CASES, Case
from bench.matrix.plan import (
    REPEATS,
    Planned,
    cases_of,
    duration_s,
    plan,
    searched,
    tuners_of,
)
from bench.matrix.tuners import NONE, ORACLE, OURS

from bpftune.lab.turns import turns

HOUR_S = 3600


def runs_of(size: str) -> list[Planned]:
    return plan(cases_of(size), tuners_of(size), REPEATS[size], 1)


def test_every_case_runs_under_every_tuner_once_in_each_repeat() -> None:
    runs = runs_of("core")
    assert len(set(runs)) == len(runs) == 6 * 5 * 3
    assert len({one.name for one in runs}) == len(runs)


def test_what_is_compared_runs_one_after_the_other() -> None:
    blocks = [key for key, _ in groupby(runs_of("full"), lambda r: (r.repeat, r.case))]
    assert len(blocks) == len(set(blocks))


def test_the_order_is_random_and_the_same_for_a_seed() -> None:
    cases, tuners = cases_of("core"), tuners_of("core")
    runs = plan(cases, tuners, 3, 1)
    assert runs == plan(cases, tuners, 3, 1)
    assert runs != plan(cases, tuners, 3, 2)
    first = {one.tuner.name for one in runs[:: len(tuners)]}
    assert len(first) > 2, "nobody is always the first"


@pytest.mark.parametrize(
    ("size", "most_s"), [("quick", 540), ("core", 1.9 * HOUR_S), ("full", 10 * HOUR_S)]
)
def test_each_size_ends_in_its_time(size: str, most_s: float) -> None:
    runs = runs_of(size)
    assert duration_s(runs, searched(runs)) <= most_s


def test_the_smaller_matrices_are_parts_of_the_larger() -> None:
    assert len(cases_of("quick")) == 3
    assert len(cases_of("core")) == 6
    assert set(cases_of("quick")) < set(cases_of("core")) < set(cases_of("full"))
    assert tuners_of("quick") == [NONE, OURS]


def test_only_what_learns_takes_the_time_for_it() -> None:
    for one in runs_of("core"):
        wanted = one.case.seconds if one.tuner in {NONE, OURS} else one.case.fixed_s
        assert one.seconds == wanted


def test_an_oracle_is_searched_once_for_each_case_that_it_runs_in() -> None:
    assert {case.name for case in searched(runs_of("core"))} == {
        case.name for case in cases_of("core")
    }
    assert not searched(runs_of("quick"))
    assert ORACLE not in tuners_of("quick")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_case_is_a_scenario_of_the_lab_and_has_time_to_be_steady(
    case: Case,
) -> None:
    scenario = case.at(case.seconds)
    assert scenario.seconds == case.seconds
    assert case.steady_s <= case.fixed_s <= case.seconds
    assert all(turn.at_s < case.fixed_s for turn in turns(scenario))
    assert scenario.wmem_max_bytes is not None, "whatever the host has"
    assert scenario.rmem_max_bytes is not None
    assert scenario.congestion_control == "cubic"
    assert scenario.hurry == 1
