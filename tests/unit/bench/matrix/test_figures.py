from __future__ import annotations

from typing import Any

import pytest
from bench.matrix.cases import CASES
from bench.matrix.figures import (
    cautions,
    geometric_mean,
    overall,
    row,
    rows,
    spread,
    whole_gains,
)
from tests.unit.bench.matrix.runs import made

LAN = next(case for case in CASES if case.name == "lan")
BLOAT = next(case for case in CASES if case.name == "bufferbloat")
S = int(LAN.steady_s)


def steady(mbit: float, **more: object) -> dict[str, object]:
    return made(LAN, mbit=[1.0] * 5 + [mbit] * S, **more)  # type: ignore[arg-type]


def test_a_spread_is_the_median_and_the_ends() -> None:
    assert spread([3, None, 1, 2]) == {
        "median": 2, "least": 1, "most": 3, "all": [3, 1, 2],
    }  # fmt: skip
    assert spread([None]) is None


def test_each_gain_is_that_of_a_pair_of_the_same_seed() -> None:
    base = {1: steady(10), 2: steady(40), 4: steady(1)}
    runs = {1: steady(20), 2: steady(60), 3: steady(999)}
    found = row(LAN, runs, base, {})
    gain = found["measures"]["goodput"]["gain"]
    assert gain["all"] == [pytest.approx(2), pytest.approx(1.5)]
    assert found["measures"]["goodput"]["level"]["median"] == pytest.approx(60e6)
    assert found["of_oracle"] is None
    assert found["reached_s"] is None


def test_the_whole_is_counted_as_long_as_both_ran() -> None:
    late = {1: made(LAN, mbit=[1, 1, 1, 1, 99, 99])}
    short = {1: made(LAN, mbit=[1, 1, 1, 1])}
    assert whole_gains(LAN, late, short) == [pytest.approx(1)]


def test_how_soon_nine_tenths_of_the_oracle_were_reached_is_told() -> None:
    oracle = {1: steady(100), 2: steady(100)}
    runs = {1: steady(95), 2: steady(50)}
    found = row(LAN, runs, {}, oracle)
    assert found["reached_s"]["median"] == pytest.approx(5)
    assert found["never_reached"] == 1
    assert found["of_oracle"]["all"] == [pytest.approx(0.95), pytest.approx(0.5)]


def test_of_a_time_nine_tenths_are_a_tenth_more() -> None:
    def bloat(ms: float) -> dict[str, object]:
        return made(BLOAT, mbit=[50] * 30, rtt_ms=[170] * 10 + [ms] * 20)

    found = row(BLOAT, {1: bloat(21.5)}, {1: bloat(170)}, {1: bloat(20)})
    assert found["never_reached"] == 0
    assert found["reached_s"]["median"] == pytest.approx(8), "its median has it by then"
    gain = found["measures"]["round trip"]["gain"]["median"]
    assert gain == pytest.approx(170 / 21.5)
    assert found["measures"]["goodput"]["gain"]["median"] == pytest.approx(1)


def test_writes_and_decisions_are_counted() -> None:
    told = [{"record": "started"}, {"record": "change"}, {"record": "kept"}]
    run = steady(
        5, records=told, writes={"net.ipv4.tcp_wmem": 2, "net.ipv4.tcp_rmem": 1}
    )
    found = row(LAN, {1: run}, {}, {})
    assert found["writes"]["median"] == 3
    assert found["decisions"]["median"] == 2


def test_what_may_have_spoiled_a_run_is_told() -> None:
    assert cautions(steady(1, late_s=0.09)) == []
    run = steady(
        1,
        late_s=0.11,
        emulator_busy=0.9,
        waited_s=0.03,
        writes={"net.ipv4.tcp_wmem": 1},
    )
    assert len(cautions(run)) == 4
    assert len(cautions({**run, "tuner": "self"})) == 3


def test_the_mean_is_geometric_and_of_the_first_measures_only() -> None:
    def told(gain: float, least: float) -> dict[str, Any]:
        return {"gain": {"median": gain, "least": least}}

    results: dict[str, dict[str, Any]] = {
        "a": {
            "x": {
                "measures": {"rtt": told(4, 3), "goodput": told(0.9, 0.8)},
                "of_oracle": {"median": 0.5},
            }
        },
        "b": {"x": {"measures": {"goodput": told(1, 0.7)}, "of_oracle": None}},
        "c": {},
    }
    found = overall(results, "x")
    assert found["cases"] == 2
    assert found["gain"] == pytest.approx(2)
    assert found["of_oracle"] == pytest.approx(0.5)
    assert found["worst"] == {"case": "a", "measure": "goodput", "gain": 0.9}
    assert found["worst_pair"] == {"case": "b", "measure": "goodput", "gain": 0.7}
    assert overall(results, "nobody")["gain"] is None


def test_a_mean_with_nothing_in_it_is_nothing() -> None:
    assert geometric_mean([]) is None
    assert geometric_mean([2, 8]) == pytest.approx(4)
    assert geometric_mean([2, 0.0]) == 0


def test_a_tuner_without_runs_has_no_place_in_the_row() -> None:
    found = rows(LAN, {"none": {1: steady(10)}, "bpftune": {1: steady(9)}, "tuned": {}})
    assert set(found) == {"none", "bpftune"}
    assert found["bpftune"]["measures"]["goodput"]["gain"]["median"] == pytest.approx(
        0.9
    )
