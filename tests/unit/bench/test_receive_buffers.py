from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from bench import grid, receive_buffers, send_buffers
from bench.receive_buffers import (
    small_host_maximum,
    window_ceiling_bits_per_s,
    window_scale,
)
from tests.unit.lab.results import RESULT

from bpftune.lab.scenario import KIB, MIB
from bpftune.lab.triples import RMEM, WMEM

if TYPE_CHECKING:
    from pathlib import Path

    from bpftune.lab.run import Result
    from bpftune.lab.scenario import Scenario


@pytest.mark.parametrize(
    ("rmem_max", "host_rmem_max", "scale"),
    [
        (64 * KIB, 32 * KIB, 1),
        (32 * KIB, 32 * KIB, 0),
        (256 * KIB, 212_992, 3),
        (64 * KIB, 212_992, 2),
        (1 * MIB, 4 * MIB, 7),
        (64 * MIB, 4 * MIB, 11),
        (2 << 30, 4 * MIB, 14),
    ],
)
def test_windows_are_shifted_by_the_larger_maximum(
    rmem_max: int, host_rmem_max: int, scale: int
) -> None:
    assert window_scale(rmem_max, host_rmem_max) == scale


def test_a_live_flow_gets_no_more_than_its_windows_allow() -> None:
    most = window_ceiling_bits_per_s(256 * KIB, 212_992, 150_000_000)
    assert most == pytest.approx(27.96e6, rel=0.001)
    case = small_host_maximum()
    assert case.most_bits_per_s == pytest.approx(most)
    assert case.host == {"net.core.rmem_max": 212_992}


@pytest.mark.parametrize("bench", [receive_buffers, send_buffers])
def test_cases_have_names_of_their_own(bench: object) -> None:
    names = [case.name for case in bench.cases()]  # type: ignore[attr-defined]
    assert len(set(names)) == len(names)


def test_cases_without_benefit_run_two_minutes_and_mind_both_limits() -> None:
    calm = [case for case in receive_buffers.cases() if not case.has_benefit]
    assert {case.scenario.seconds for case in calm} == {120.0}
    assert {case.tunables for case in calm} == {(RMEM, WMEM)}


def test_quick_is_one_flow_that_stays_and_one_that_connects_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(scenario: Scenario, _tuner: str) -> Result:
        values = [
            {"t_s": 0.0, "end": "receiver", "tunable": RMEM, "value": [1, 2, MIB]}
        ]
        return replace(
            RESULT,
            parameters={"reconnect_s": scenario.reconnect_s, "flows": scenario.flows},
            values=values,
            writes={RMEM: 0},
        )

    monkeypatch.setattr(grid, "run_scenario", run)
    out = tmp_path / "results" / "receive.json"
    assert receive_buffers.main(["--quick", "--out", str(out)]) == 0
    told = json.loads(out.read_text())
    names = [row["case"] for row in told["rows"]]
    assert names == ["receiver-short 1 cubic", "receiver-anew 1 cubic"]
    assert "| receiver-anew 1 cubic |" in capsys.readouterr().out
