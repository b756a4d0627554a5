from __future__ import annotations

import json
from typing import Any

import pytest
from tests.unit.cli.served import STATUS, TUNABLE, Served

from bpftune.cli import main
from bpftune.cli.errors import ExitCode


def told(daemon: Served, **more: Any) -> None:
    daemon.answers["Status"] = {"parameters": {**STATUS, **more}}


@pytest.mark.usefixtures("daemon")
def test_one_screen_tells_how_it_stands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status"]) == ExitCode.OK
    output = capsys.readouterr().out
    lines = output.splitlines()
    assert lines[0] == "bpftune 0.1.0, process 4242, up 2 h 5 min: tuning"
    assert "tcp_buffer  on     Size buffers" in lines
    assert "congestion  on     Choose (now for 12 destinations)" in lines
    (row,) = [line for line in lines if line.endswith("bpftune rollback c17")]
    assert [cell.strip() for cell in row.split("  ") if cell] == [
        *("tcp_wmem max", "host", "4 MiB", "8 MiB", "kept", "bpftune rollback c17")
    ]
    assert "Left to the admin: tcp_wmem in netns web" in lines
    assert "1 piece of advice: bpftune advise" in lines
    assert "lost: 2 (ring buffer full)" in output
    assert "19 MiB of memory and 1 MiB in the kernel, 1.5 s of CPU (0.02% of" in output
    assert len(lines) <= 24
    assert "\x1b" not in output


def test_what_is_under_way_paused_and_observed_is_told(
    daemon: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    told(
        daemon,
        mode="observe",
        paused=["tcp_buffer", "web"],
        in_force=[{**TUNABLE, "state": "trial"}],
        yielded=[],
        advice=0,
        lost=[],
    )
    assert main(["status"]) == ExitCode.OK
    output = capsys.readouterr().out
    assert "observing, writes nothing, paused: tcp_buffer, web" in output
    assert "on trial" in output
    assert "lost: none" in output
    assert "admin" not in output
    assert "advice" not in output


def test_nothing_in_force_is_said(
    daemon: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    told(daemon, in_force=[])
    assert main(["status"]) == ExitCode.OK
    output = capsys.readouterr().out
    assert (
        "In force: no sysctl, every value is as it was found; but a decision" in output
    )
    assert "for 12 destinations" in output
    told(daemon, in_force=[], tuners=STATUS["tuners"][:2])
    assert main(["status"]) == ExitCode.OK
    assert "In force: nothing" in capsys.readouterr().out


@pytest.mark.parametrize("state", ["degraded", "unsupported", "off"])
@pytest.mark.parametrize("words", [["status"], ["status", "--json"]])
def test_a_degraded_daemon_has_its_exit_code(
    daemon: Served, capsys: pytest.CaptureFixture[str], state: str, words: list[str]
) -> None:
    broken = {**STATUS["tuners"][1], "state": state, "why": "no program works"}
    told(daemon, tuners=[STATUS["tuners"][0], broken])
    assert main(words) == ExitCode.DEGRADED
    assert "no program works" in capsys.readouterr().out


@pytest.mark.usefixtures("run_dir")
@pytest.mark.parametrize(
    "words",
    ["status", "verify", "advise", "apply a", "pause", "resume", "adopt x", "watch"],
)
def test_without_a_daemon_there_is_one_exit_code(
    capsys: pytest.CaptureFixture[str], words: str
) -> None:
    assert main(words.split()) == ExitCode.NO_DAEMON
    output = capsys.readouterr()
    assert output.err.startswith("bpftune: the daemon is not running. Start it with")
    assert not output.out


@pytest.mark.usefixtures("daemon")
def test_drift_tells_who(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify"]) == ExitCode.DRIFT
    row = capsys.readouterr().out.splitlines()[1]
    assert "4096 16384 8388608  4096 16384 1" in row
    assert row.endswith("sysctl, uid 0")


@pytest.mark.parametrize("words", [["verify"], ["verify", "--json"]])
def test_no_drift_is_well(
    daemon: Served, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    daemon.answers["Verify"] = {"parameters": {"checked": 2, "drift": []}}
    assert main(words) == ExitCode.OK
    output = capsys.readouterr().out
    if words[1:]:
        assert json.loads(output)["drift"] == []
    else:
        assert output == "2 values checked, all as expected.\n"


@pytest.mark.parametrize(("uptime_s", "is_told"), [(59.0, False), (60.0, True)])
def test_the_start_is_not_taken_for_what_it_costs_each_second(
    daemon: Served,
    capsys: pytest.CaptureFixture[str],
    uptime_s: float,
    is_told: bool,
) -> None:
    told(daemon, uptime_s=uptime_s)
    assert main(["status"]) == ExitCode.OK
    assert ("of one)" in capsys.readouterr().out) == is_told
