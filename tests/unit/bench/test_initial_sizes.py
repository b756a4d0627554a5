from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from bench import initial_sizes
from bench.initial_sizes import DAEMON, daemon_scenario, took
from tests.unit.lab.results import RESULT

from bpftune.lab.triples import RMEM

if TYPE_CHECKING:
    from pathlib import Path

    from bpftune.lab.run import Result
    from bpftune.lab.scenario import Scenario


def lives(*lives_s: float) -> list[dict[str, float]]:
    return [{"began_s": 1.0, "ended_s": 1.0 + life_s, "flow": 0} for life_s in lives_s]


def test_the_spread_is_the_middle_half() -> None:
    seen = took(lives(1, 2, 3, 4, 5, 6, 7))
    assert (seen.low_s, seen.median_s, seen.high_s) == (2, 4, 6)
    assert seen.transfers == 7


@pytest.mark.parametrize("name", DAEMON)
def test_the_daemon_begins_with_less_than_the_kernels_own(name: str) -> None:
    initial = daemon_scenario(name).rmem_initial_bytes
    assert initial is not None
    assert initial < initial_sizes.KERNELS_OWN["rmem"]


def test_each_size_is_told_against_the_kernels_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(scenario: Scenario, tuner: str) -> Result:
        if tuner == "self":
            values = [
                {"t_s": 0, "end": "receiver", "tunable": RMEM, "value": [1, 16384, 9]},
                {"t_s": 9, "end": "receiver", "tunable": RMEM, "value": [1, 131072, 9]},
            ]
            return replace(
                RESULT,
                values=values,
                writes={RMEM: 1},
                connections=[*lives(*[1.0] * 24), *lives(*[0.5] * 24)],
                records=[{"record": "kept", "why": "sooner"}],
            )
        slow = (scenario.rmem_initial_bytes or 0) < initial_sizes.KERNELS_OWN["rmem"]
        life_s = 0.9 if slow else 0.45
        return replace(RESULT, connections=lives(*[life_s] * 9))

    monkeypatch.setattr(initial_sizes, "run_scenario", run)
    out = tmp_path / "initial.json"
    assert initial_sizes.main(["--quick", "--out", str(out)]) == 0
    told = capsys.readouterr().out
    assert (
        "| tcp_rmem 16 KiB | cubic | 150 kB | 9 | 0.900 s | 2.00 (2.00-2.00) |" in told
    )
    assert "| tcp_wmem 1024 KiB | cubic | 150 kB | 9 | 0.450 s | 1.00" in told
    assert "| small-beginnings | 16 -> 128 KiB | 1 | 0.50 |" in told
    assert json.loads(out.read_text())["schema"] == 1
