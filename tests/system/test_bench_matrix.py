"""The columns of the matrix set what they say, in a real run."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from bench.matrix.cases import CASES
from bench.matrix.execute import Store, contender_of, run, search
from bench.matrix.plan import Planned
from bench.matrix.tuners import NONE, ORACLE, TUNERS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

CASE = replace(
    next(case for case in CASES if case.name == "lossier"),
    seconds=2,
    fixed_s=2,
    steady_s=1,
    sizes_bytes=(4 << 20,),
)
LIMITS = {
    "none": (4 << 20, 32 << 20),
    "esnet": (33554432, 33554432),
    "tuned": (16777216, 16777216),
}


@pytest.mark.parametrize("name", LIMITS)
def test_fixed_values_are_in_force_from_the_beginning(name: str) -> None:
    tuner = next(one for one in TUNERS if one.name == name)
    done = run(Planned(CASE, tuner, 1), tuner.contender, None)
    values = done["result"]["values"]
    last = {one["end"]: one["value"][-1] for one in values}
    assert (last["sender"], last["receiver"]) == LIMITS[name]
    assert all(one["t_s"] < 0.5 for one in values)
    assert CASE.measures[0].steady(done["result"], CASE.steady_s)


def test_what_is_found_by_hand_is_found_and_set(tmp_path: Path) -> None:
    store = Store(tmp_path / "out", tmp_path / "oracle")
    tried: list[str] = []

    def begins(what: str, _seconds: float) -> Callable[[float, float], None]:
        tried.append(what)
        return lambda _passed_s, _goodput: None

    found = search(CASE, store, begins)
    assert len(tried) == len(found["points"]) >= 1
    planned = Planned(CASE, ORACLE, 1)
    done = run(planned, contender_of(planned, found, store), None)
    used = {one["congestion_control"] for one in done["result"]["transfers"]}
    assert used <= {found["chosen"]["control"]}
    again = run(Planned(CASE, NONE, 1), NONE.contender, None)
    used = {one["congestion_control"] for one in again["result"]["transfers"]}
    assert used <= {"cubic"}
