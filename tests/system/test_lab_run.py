"""Whole runs of scenarios, short."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from bpftune.cli.lab import lab_main
from bpftune.lab.contender import Bpftune, ContenderError
from bpftune.lab.run import run_scenario
from bpftune.lab.scenario import Scenario, override
from bpftune.lab.scenarios import SCENARIOS, find
from bpftune.lab.triples import RMEM, WMEM
from bpftune.lab.turns import shortened, traffic

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.real_machine("rates and times are measured"),
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.name)
def test_every_scenario_runs(scenario: Scenario) -> None:
    result = run_scenario(shortened(scenario, 1.0))
    stalled = scenario.traffic == "stalled"
    assert (result.goodput_whole_bits_per_s == 0) == stalled
    assert len(result.per_flow_bits_per_s) == traffic(scenario).flows
    beside = {
        "foreign": scenario.foreign_flows,
        "also": bool(scenario.also),
        "second": bool(scenario.second),
    }
    assert set(result.beside) == {what for what, is_there in beside.items() if is_there}
    ends = {one["tunable"]: one["end"] for one in result.values}
    assert ends == {WMEM: "sender", RMEM: "receiver"}
    if scenario.wmem_max_bytes:
        assert result.met(WMEM)[0][-1] == scenario.wmem_max_bytes
    if scenario.rmem_max_bytes:
        assert result.met(RMEM)[0][-1] == scenario.rmem_max_bytes
    counted = scenario.traffic in {"requests", "transfers", "downloads"}
    assert (result.requests_per_s is not None) == counted
    assert json.loads(json.dumps(result.as_json()))["schema"] == 1


def test_transfers_are_counted_and_timed(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["run", "short-connections", "--seconds", "2", "--json"]
    settings = ["traffic=transfers", "transfer=20kB", "flows=2", "rtt=20ms"]
    arguments += [f"--set={setting}" for setting in settings]
    assert lab_main(arguments) == 0
    told = json.loads(capsys.readouterr().out)
    assert 5 <= told["requests_per_s"] <= 100
    assert 0.04 <= told["latency_median_s"] <= told["latency_p99_s"]
    assert {one["bytes"] for one in told["connections"]} == {20_000}


def test_flows_of_others_have_their_own_congestion_control() -> None:
    settings = ["transfer=200kB", "cc=bbr", "seconds=3"]
    result = run_scenario(override(find("shallow-foreign"), settings))
    others = result.beside["foreign"]
    assert {one["congestion_control"] for one in result.transfers} == {"bbr"}
    assert {one["congestion_control"] for one in others["transfers"]} == {"cubic"}
    assert others["destination"] == result.destination
    assert others["goodput_bits_per_s"] > 1_000_000
    assert all(0.03 < one["srtt_s"] < 0.2 for one in result.transfers)


@pytest.mark.parametrize("family", [4, 6])
def test_two_destinations_are_behind_one_router(family: int) -> None:
    settings = ["transfer=200kB", "second=rtt=80ms transfer=100kB", "seconds=3"]
    settings.append(f"family={family}")
    result = run_scenario(override(find("two-answers"), settings))
    second = result.beside["second"]
    assert second["destination"] != result.destination
    assert 0.04 <= min(one["min_rtt_s"] for one in result.transfers) < 0.06
    assert 0.08 <= min(one["min_rtt_s"] for one in second["transfers"]) < 0.1
    assert {one["bytes"] for one in second["transfers"]} == {100_000}


def test_a_path_turns_and_users_come_and_go() -> None:
    turns = "1s rate=10mbit flows=3; 3s rate=100mbit flows=1"
    settings = ["transfer=300kB", "loss=0%", f"turns={turns}", "seconds=5"]
    result = run_scenario(override(find("path-turns"), settings))
    began_s = {
        flow: [one["began_s"] for one in result.transfers if one["flow"] == flow]
        for flow in range(3)
    }
    assert began_s[0][0] < 0.5
    assert began_s[0][-1] > 3
    for flow in 1, 2:
        assert 0.5 < began_s[flow][0] < 2
        assert began_s[flow][-1] < 3.5
    assert result.series_bits_per_s[2] < 11e6
    took_s = [one["took_s"] for one in result.transfers if one["flow"] == 0]
    assert took_s[-1] < 0.7 * max(took_s), "it is alone on a fast path again"


def test_downloads_are_counted_and_timed() -> None:
    settings = ["traffic=downloads", "transfer=20kB", "flows=2", "rtt=20ms"]
    result = run_scenario(override(find("short-connections"), [*settings, "seconds=2"]))
    assert result.requests_per_s is not None
    assert result.latency_median_s is not None
    assert result.latency_p99_s is not None
    assert 5 <= result.requests_per_s <= 100
    assert 0.04 <= result.latency_median_s <= result.latency_p99_s
    ends = {one["tunable"]: one["end"] for one in result.values}
    assert ends == {WMEM: "sender", RMEM: "receiver"}


def test_the_initial_sizes_are_set() -> None:
    settings = ["wmem_initial=64KiB", "rmem_initial=256KiB", "seconds=1"]
    result = run_scenario(override(find("continent"), settings))
    assert result.met(WMEM)[0][1:] == [64 << 10, 512 << 10]
    assert result.met(RMEM)[0][1:] == [256 << 10, 128 << 20]


def test_a_sysctl_file_is_a_tuner_of_both_ends(tmp_path: Path) -> None:
    file = tmp_path / "big.conf"
    file.write_text(
        "-net.ipv4.nothing = 1\n"
        "net.ipv4.tcp_wmem = 4096 16384 8000000\n"
        "net.ipv4.tcp_rmem = 4096 131072 9000000\n"
    )
    result = run_scenario(override(find("continent"), ["seconds=1"]), f"sysctl:{file}")
    assert [value[-1] for value in result.met(WMEM)] == [524_288, 8_000_000]
    assert [value[-1] for value in result.met(RMEM)] == [128 << 20, 9_000_000]
    assert result.writes == {WMEM: 1, RMEM: 1}


def test_a_command_is_a_tuner_and_its_cost_is_known(
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["run", "lan", "--seconds", "1", "--tuner", "cmd:sleep 30", "--json"]
    assert lab_main(arguments) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["tuner"] == "cmd:sleep 30"
    assert told["tuner_cost"]["rss_peak_bytes"] > 100_000


def test_a_tuner_that_ends_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    broken = "cmd:sh -c 'echo no such luck >&2; exit 7'"
    assert lab_main(["run", "lan", "--seconds", "5", "--tuner", broken]) == 1
    assert "ended with 7: no such luck" in capsys.readouterr().err
    missing = "cmd:/no/such/program"
    assert lab_main(["run", "lan", "--seconds", "5", "--tuner", missing]) == 1
    assert "No such file" in capsys.readouterr().err


def test_the_tuner_is_awaited_and_its_records_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program = """
import json, os, signal, sys
assert os.path.isdir(os.environ["BPFTUNE_RUN_DIR"])
assert os.path.isdir(os.environ["BPFTUNE_STATE_DIR"])
print(json.dumps({"record": "started"}), file=sys.stderr, flush=True)
signal.pause()
"""

    def begin(self: Bpftune, hurry: float) -> None:  # noqa: ARG001
        super(Bpftune, self).__init__([sys.executable, "-c", program])
        self.directory, self.state, self.only = None, None, "bpftune-lab-"

    monkeypatch.setattr(Bpftune, "__init__", begin)
    result = run_scenario(override(find("lan"), ["seconds=1"]), "self")
    assert [record["record"] for record in result.records] == ["started"]


def test_a_tuner_that_never_starts_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def begin(self: Bpftune, hurry: float) -> None:  # noqa: ARG001
        super(Bpftune, self).__init__(["sh", "-c", "echo bad kernel >&2; exit 5"])
        self.directory, self.state, self.only = None, None, "bpftune-lab-"

    monkeypatch.setattr(Bpftune, "__init__", begin)
    with pytest.raises(ContenderError, match="ended with 5: bad kernel"):
        run_scenario(override(find("lan"), ["seconds=1"]), "self")


def test_two_tuners_are_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "big.conf"
    file.write_text("net.ipv4.tcp_wmem = 4096 16384 8000000\n")
    arguments = ["compare", "continent", "--seconds", "2", "--tuner", "none"]
    assert lab_main([*arguments, "--tuner", f"sysctl:{file}"]) == 0
    told = capsys.readouterr().out
    assert "does" in told
    assert "ratio" in told
    assert lab_main(["run", "continent", "--set", "family=6", "--seconds", "2"]) == 0
    assert "goodput" in capsys.readouterr().out


def test_requests_wait_beside_what_else_goes_over_the_path(tmp_path: Path) -> None:
    case = override(find("requests-beside-bulk"), ["seconds=4"])
    alone = run_scenario(replace(case, also=""))
    file = tmp_path / "a.conf"
    file.write_text("net.ipv4.tcp_congestion_control = bbr\n")
    settings = ["also=traffic=transfers transfer=2MB"]
    beside = run_scenario(override(case, settings), f"sysctl:{file}")
    assert alone.latency_median_s is not None
    assert beside.latency_median_s is not None
    assert beside.latency_median_s > alone.latency_median_s
    assert beside.beside["also"]["goodput_bits_per_s"] > 10e6
    controls = {one["congestion_control"] for one in beside.beside["also"]["transfers"]}
    assert controls == {"bbr"}
    assert len(beside.series_rtt_s) >= 3
    assert len(beside.series_latency_s) >= 3
