from __future__ import annotations

import json

import pytest

from bpftune.cli.lab import lab_main
from bpftune.lab.scenarios import SCENARIOS


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
