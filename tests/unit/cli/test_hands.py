from __future__ import annotations

import pytest
from tests.unit.cli.served import TUNABLE, Served

from bpftune.cli import main


def test_pause_says_what_is_paused_and_how_to_go_on(
    daemon: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pause", "congestion"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "congestion: 12 destinations back to the default.",
        "Paused: congestion",
        "Values in force stay. Go on with: bpftune resume",
    ]
    assert daemon.asked[0]["parameters"] == {"what": "congestion"}


def test_resume_without_a_word_is_everything(
    daemon: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["resume"]) == 0
    assert capsys.readouterr().out == "Nothing is paused.\n"
    assert "parameters" not in daemon.asked[0]


def test_resume_says_what_is_in_force_again(
    daemon: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"tuner": "congestion", "destinations": 1}]
    daemon.answers["Resume"] = {"parameters": {"paused": ["web"], "rows": rows}}
    assert main(["resume", "congestion"]) == 0
    output = capsys.readouterr().out
    assert output.startswith("congestion: 1 destination as before.\nPaused: web\n")


def test_adopt_says_from_which_value_on(
    daemon: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["adopt", "net.ipv4.tcp_wmem", "--netns", "host"]) == 0
    assert "4096 16384 8388608" in capsys.readouterr().out
    given = {"tunable": "net.ipv4.tcp_wmem", "netns": "host"}
    assert daemon.asked[0]["parameters"] == given
    words = {**TUNABLE, "tunable": "a.b", "expected": []}
    daemon.answers["Adopt"] = {"parameters": {"tunables": [words]}}
    assert main(["adopt", "a.b"]) == 0
    assert capsys.readouterr().out == "a.b (host) is bpftune's to tune again.\n"
    daemon.answers["Adopt"] = {"parameters": {"tunables": []}}
    assert main(["adopt", "net.ipv4.tcp_wmem"]) == 0
    assert "was bpftune's to tune already" in capsys.readouterr().out
