from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import pytest
from bench import congestion
from bench.congestion import CASES, Case, Need, rows, scenario_of
from bench.congestion_figures import (
    Figures,
    Span,
    bits_per_s,
    decisions,
    figures,
    off_default,
    parts,
    resent,
    settled_s,
    srtt_s,
)
from tests.unit.lab.results import RESULT

from bpftune.lab.errors import LabError
from bpftune.lab.scenario import Scenario
from bpftune.lab.scenarios import find

if TYPE_CHECKING:
    from pathlib import Path

    from bpftune.lab.run import Result

SCENARIO = replace(find("lossy-long"), seconds=30.0)
WHOLE = Span(0.0, 30.0)


def transfer(began_s: float, control: str = "cubic", **other: Any) -> dict[str, Any]:
    told = {"took_s": 1.0, "bytes": 100, "segments": 10, "retransmitted": 1}
    told |= {"srtt_s": 0.04, "last_srtt_s": 0.06, "flow": 0, "began_s": began_s}
    return told | {"congestion_control": control} | other


def record(at_s: float, kind: str, why: str, **evidence: Any) -> dict[str, Any]:
    return {
        "record": kind,
        "destination": RESULT.destination,
        "why": why,
        "lab_monotonic_s": 500.0 + at_s,
        "evidence": evidence,
    }


def run(
    mbit: float, *transfers: dict[str, Any], scenario: Scenario = SCENARIO
) -> dict[str, Any]:
    result = replace(
        RESULT,
        parameters=asdict(scenario),
        series_bits_per_s=[mbit * 1e6] * int(scenario.seconds),
        transfers=list(transfers),
        began_s=500.0,
    )
    return result.as_json()


def test_each_case_has_a_scenario_and_figures_to_need() -> None:
    for case in CASES:
        assert case.scenario.traffic == "transfers"
        assert case.needs


def test_goodput_round_trip_and_loss_are_those_of_a_time() -> None:
    side = run(0.0)
    side["series_bits_per_s"] = [1.0] * 20 + [4.0] * 10
    assert bits_per_s(side, WHOLE) == pytest.approx(2.0)
    assert bits_per_s(side, WHOLE.last_third()) == 4.0
    assert bits_per_s(side, Span(30.0, 40.0)) == 0.0
    both = [transfer(0), transfer(1, bytes=300, srtt_s=0.08, segments=30)]
    assert resent(both) == pytest.approx(2 / 40)
    assert srtt_s(both) == pytest.approx(0.07)
    assert resent([]) is srtt_s([]) is None


def test_time_off_the_default_is_that_of_the_transfers() -> None:
    some = [transfer(0, took_s=9.0), transfer(9, "bbr", took_s=1.0)]
    flows, time = off_default(some)
    assert flows == pytest.approx(0.5)
    assert time == pytest.approx(0.1)
    assert off_default([]) == (None, None)


def test_decisions_are_those_on_the_algorithm_of_that_destination() -> None:
    ours = run(1.0)
    chosen = {"arm": "cubic", "flows": 11, "cubic_blocks": 1, "bbr_blocks": 2}
    ours["records"] = [
        {"record": "started"},
        record(9, "chosen", "initial window of 20 segments", initial_window=20),
        record(12.04, "chosen", "bbr from now on: 3.4", **chosen),
        {**record(13, "chosen", "bbr from now on"), "destination": "10.77.9.0/24"},
    ]
    (told,) = decisions(ours, ours, "chosen")
    assert told["after_s"] == 12.0
    assert (told["arm"], told["blocks"], told["flows"]) == ("bbr", 3, 11)


def test_figures_compare_with_the_default() -> None:
    ours = run(90.0, transfer(1, retransmitted=0), transfer(25, "bbr", srtt_s=0.02))
    ours["records"] = [
        record(3, "tries", "tries bbr", arm="cubic", cubic_blocks=1),
        record(4, "ended", "stays cubic", arm="bbr", harm="loss", flows=4),
        record(5, "ended", "back to cubic", arm="bbr", flows=40),
        record(6, "ended", "stays cubic", arm="bbr", harm="loss", flows=4),
        record(7, "ended", "stays cubic", arm="bbr", harm="loss", flows=13),
    ]
    found = figures({"self": ours, "cubic": run(10.0, transfer(25)), "bbr": run(80.0)})
    assert found["gain"] == pytest.approx(9)
    assert found["rtt"] == pytest.approx(0.5)
    assert found["last_rtt"] == pytest.approx(1)
    assert found["mbit_bbr"] == pytest.approx(80)
    assert found["rtt_ms_bbr"] is None
    assert found["whole_resent"] == pytest.approx(0.5)
    assert found["blocks"] is found["learned_s"] is None
    assert (found["trials"], found["early_ends"]) == (1, 3)
    assert (found["early_flows"], found["most_early_flows"]) == (4, 13)
    assert found["off_flows"] == pytest.approx(0.5)
    assert found["late_off_time"] == 1.0
    assert "foreign_gain" not in found
    assert "part1_gain" not in found


def test_what_others_get_and_a_second_destination_are_compared_too() -> None:
    runs = {"self": run(9.0), "cubic": run(9.0)}
    for name, mbit in (("self", 4.0), ("cubic", 5.0)):
        beside = run(mbit, transfer(1), transfer(25))
        second = {**beside, "destination": "10.77.2.0/24"}
        runs[name]["beside"] = {"foreign": beside, "second": second}
    runs["self"]["records"] = [
        {
            **record(9, "chosen", "bbr from now on", cubic_blocks=2),
            "destination": "10.77.2.0/24",
        }
    ]
    found = figures(runs)
    assert found["foreign_gain"] == pytest.approx(0.8)
    assert found["second_gain"] == pytest.approx(0.8)
    assert found["second_blocks"] == 2
    assert found["blocks"] is None


def test_a_path_that_turns_is_told_part_by_part() -> None:
    scenario = replace(SCENARIO, turns="10s loss=0% flows=4; 20s loss=0.1% flows=1")
    began = [transfer(n, "bbr" if n < 13 else "cubic") for n in range(29)]
    ours = run(90.0, *began, scenario=scenario)
    assert parts(ours) == [Span(0, 10), Span(10, 20), Span(20, 30)]
    assert settled_s(ours, Span(10, 20)) == 3
    assert settled_s(ours, Span(11, 13)) is None
    found = figures({"self": ours, "cubic": run(10.0, scenario=scenario)})
    assert found["part1_gain"] == pytest.approx(9)
    assert [found[f"part{n}_off_time"] for n in (1, 2, 3)] == [1, 0, 0]
    assert [found[f"part{n}_settled_s"] for n in (1, 2, 3)] == [0, 3, 0]


def test_references_take_less_time_and_have_their_own_algorithm() -> None:
    hasty = replace(SCENARIO, hurry=4.0)
    assert scenario_of(hasty, "self", 10.0) == hasty
    reference = scenario_of(hasty, "bbr", 10.0)
    assert reference.hurry == 1.0
    assert (reference.congestion_control, reference.seconds) == ("bbr", 10.0)
    assert scenario_of(SCENARIO, "cubic", 100.0).seconds == 30.0


def test_needs_are_bounds() -> None:
    assert str(Need(least=5)) == ">= 5"
    assert str(Need(least=1, most=2)) == ">= 1 and <= 2"
    assert Need(least=5).holds(5.0)
    assert not Need(least=5).holds(4.9)
    assert not Need(most=0.5).holds(0.6)
    assert not Need().holds(None)


def test_lines_tell_the_median_and_whether_it_is_enough() -> None:
    case = Case("some", {"gain": Need(least=5)}, ["blocks"])
    lines = list(rows(case, [{"gain": g, "mbit_self": 9.0} for g in (4.0, 9.0, 6.0)]))
    assert lines[0] == "| some | gain | 6 (4 to 9) | >= 5 | yes |"
    assert lines[1] == "| some | blocks | - |  |  |"
    none: list[Figures] = [{"mbit_self": 1.0}, {}]
    told = [next(iter(rows(case, [one]))) for one in none]
    assert told == ["| some | gain | - | >= 5 | NO |", "| some | gain | - |  |  |"]


def test_each_run_is_on_file_and_references_are_run_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[str, str | None, int]] = []

    def fake(scenario: Scenario, tuner: str, seed: int) -> Result:
        asked.append((tuner, scenario.congestion_control, seed))
        mbit = 80.0 if tuner == "self" else 10.0
        made = run(mbit, transfer(25), scenario=scenario)
        del made["schema"]
        return type(RESULT)(**made)

    monkeypatch.setattr(congestion, "run_scenario", fake)
    asks = ["lossy-long", "--seconds", "30", "--seeds", "1,2", "--out", str(tmp_path)]
    assert congestion.main(asks) == 1, "it never chose"
    assert asked == [
        (tuner, control, seed)
        for seed in (1, 2)
        for tuner, control in (("self", "cubic"), ("none", "cubic"), ("none", "bbr"))
    ]
    assert "| lossy-long | gain | 8 (8 to 8) | >= 5 | yes |" in capsys.readouterr().out
    assert len(list(tmp_path.glob("lossy-long-*.json"))) == 6
    told = json.loads((tmp_path / "lossy-long.json").read_text())
    assert len(told["figures"]) == 2
    asked.clear()
    congestion.main([*asks, "--runs", "self"])
    assert [tuner for tuner, _, _ in asked] == ["self", "self"]
    asked.clear()
    congestion.main([*asks, "--saved"])
    assert not asked
    congestion.main([*asks, "--seeds", "1", "--set", "loss=0.2%", "--runs", "cubic"])
    assert asked == [("none", "cubic", 1)], "another path is run again"


def test_a_run_that_fails_does_not_end_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fake(scenario: Scenario, tuner: str, _seed: int) -> Result:
        if scenario.congestion_control == "bbr":
            raise LabError("flow 3 is not connected")
        made = run(10.0, transfer(25), scenario=scenario)
        del made["schema"]
        return type(RESULT)(**{**made, "tuner": tuner})

    monkeypatch.setattr(congestion, "run_scenario", fake)
    congestion.main(["lossier", "--seconds", "30", "--out", str(tmp_path)])
    assert "| lossier | gain | 1 (1 to 1) |" in capsys.readouterr().out
    assert not (tmp_path / "lossier-1-bbr.json").exists()


@pytest.mark.parametrize("wrong", [["no-such-case"], ["--runs", "reno"]])
def test_wrong_usage_is_told(wrong: list[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        congestion.main([*wrong, "--out", str(tmp_path)])
