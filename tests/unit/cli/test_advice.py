from __future__ import annotations

import json

import pytest
from tests.unit.cli.served import ADVICE, Served

from bpftune.cli import main
from bpftune.cli.errors import ExitCode


@pytest.mark.usefixtures("daemon")
def test_advice_tells_what_why_and_how(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["advise"]) == ExitCode.DRIFT
    assert capsys.readouterr().out.splitlines() == [
        "a3f9c1  tcp_wmem max 4 MiB -> 8 MiB, on the host",
        "        why: sockets were held back by it",
        "        do:  sysctl -w net.ipv4.tcp_wmem='4096 16384 8388608'",
        "Do it: bpftune apply ID. Hear no more of it: bpftune ignore ID",
    ]


def test_what_is_ignored_is_not_told_but_counted(
    daemon: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    old = {**ADVICE, "id": "b", "ignored": True, "netns": {"cookie": 7, "name": None}}
    daemon.answers["Advise"] = {"parameters": {"advice": [old]}}
    assert main(["advise"]) == ExitCode.OK
    assert capsys.readouterr().out.splitlines() == [
        "No advice.",
        "1 piece of advice that you ignore: bpftune advise --all",
    ]
    assert main(["advise", "--json"]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out)["advice"] == []
    assert main(["advise", "--all"]) == ExitCode.OK
    assert "in netns #7 (ignored)" in capsys.readouterr().out


def test_apply_and_ignore_name_the_advice(
    daemon: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["apply", "a3f9c1"]) == ExitCode.OK
    assert "Undo: sysctl -w" in capsys.readouterr().out
    assert main(["ignore", "a3f9c1"]) == ExitCode.OK
    assert "a3f9c1 is ignored" in capsys.readouterr().out
    assert [asked["parameters"] for asked in daemon.asked] == 2 * [{"id": "a3f9c1"}]


def test_who_may_not_is_told(
    daemon: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.refuse("Apply", "io.bpftune.NotPermitted", why="only root may change")
    assert main(["apply", "a3f9c1"]) == ExitCode.NOT_PERMITTED
    told = "bpftune: only root may change. Try it as root.\n"
    assert capsys.readouterr().err == told
