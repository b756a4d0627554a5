from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest
from tests.unit.lab.results import RESULT

from bpftune.cli.lab import lab_main
from bpftune.lab.run import Result
from bpftune.lab.scenarios import SCENARIOS, find
from bpftune.lab.triples import RMEM, WMEM


def test_lists_every_scenario(capsys: pytest.CaptureFixture[str]) -> None:
    assert lab_main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [s.name for s in SCENARIOS]


def test_lists_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert lab_main(["list", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["schema"] == 1
    assert told["scenarios"][0]["rate_bits_per_s"] == 300_000_000


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["run"],
        ["run", "no-such-scenario"],
        ["run", "long-fat", "--set", "rate=fast"],
        ["run", "long-fat", "--seconds", "never"],
        ["run", "long-fat", "--tuner", "luck"],
        ["compare", "long-fat", "--tuner", "none"],
        ["compare", "long-fat", "--tuner", "none", "--tuner", "self", "--repeat", "0"],
    ],
)
def test_wrong_usage_is_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert lab_main(arguments) == 2
    assert capsys.readouterr().err


def test_help_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert lab_main(["run", "--help"]) == 0
    assert "rtt" in capsys.readouterr().out


def test_not_being_root_is_4(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert lab_main(["run", "long-fat"]) == 4
    assert "root" in capsys.readouterr().err


def told_of(
    result: Result, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    monkeypatch.setattr("bpftune.cli.lab.run_scenario", lambda *_: result)
    assert lab_main(["run", result.scenario]) == 0
    return capsys.readouterr().out


def result_with(
    rmem_max_bytes: int | None, *receive_limits: int, tuner: str = "none"
) -> Result:
    scenario = replace(find("long-fat"), rmem_max_bytes=rmem_max_bytes)
    values = [{"t_s": 0.0, "end": "sender", "tunable": WMEM, "value": [1, 2, 4 << 20]}]
    values += [
        {"t_s": 0.0, "end": "receiver", "tunable": RMEM, "value": [1, 2, limit]}
        for limit in receive_limits
    ]
    return replace(
        RESULT,
        tuner=tuner,
        parameters=asdict(scenario),
        values=values,
        writes={WMEM: 0, RMEM: len(receive_limits) - 1},
    )


def test_the_receivers_limit_is_told_where_it_is_short_or_changed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    roomy = told_of(result_with(128 << 20, 128 << 20), monkeypatch, capsys)
    assert "tcp_wmem max  4 MiB (0 writes)" in roomy
    assert "tcp_rmem" not in roomy
    as_found = told_of(result_with(None, 32 << 20), monkeypatch, capsys)
    assert "tcp_rmem" not in as_found
    short = told_of(result_with(1 << 20, 1 << 20), monkeypatch, capsys)
    assert "tcp_rmem max  1 MiB (0 writes)" in short
    tuned = result_with(None, 32 << 20, 64 << 20, tuner="self")
    changed = told_of(tuned, monkeypatch, capsys)
    assert "tcp_rmem max  32 MiB -> 64 MiB (1 writes)" in changed
    assert "caution" not in changed


def test_another_tuner_of_either_limit_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = told_of(result_with(1 << 20, 1 << 20, 2 << 20), monkeypatch, capsys)
    assert "something else on this machine tuned tcp_rmem" in told


def test_traffic_beside_and_the_algorithms_of_transfers_are_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    transfers = [{"congestion_control": name} for name in ("bbr", "cubic", "bbr")]
    foreign = {"goodput_bits_per_s": 2e6, "retransmitted_share": 0.01}
    plain = result_with(128 << 20, 128 << 20)
    told = told_of(
        replace(plain, transfers=transfers, beside={"foreign": foreign}, waited_s=0.05),
        monkeypatch,
        capsys,
    )
    assert "algorithms    2 bbr, 1 cubic" in told
    assert "foreign       2.0 Mbit/s, 1.000% sent again" in told
    assert "traffic waited 50 ms now and then" in told
    alike = replace(plain, transfers=transfers[1:2])
    assert "algorithms" not in told_of(alike, monkeypatch, capsys)
