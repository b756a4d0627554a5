from __future__ import annotations

import pytest
from tests.unit.cli.served import TUNABLE, Served

from bpftune.cli import main


def test_pause_says_what_is_paused_and_how_to_go_on(
    daemon: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pause", "tcp_buffer"]) == 0
    output = capsys.readouterr().out
    assert output.startswith("Paused: tcp_buffer\n")
    assert "bpftune resume" in output
    assert daemon.asked[0]["parameters"] == {"what": "tcp_buffer"}


def test_resume_without_a_word_is_everything(
    daemon: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["resume"]) == 0
    assert capsys.readouterr().out == "Nothing is paused.\n"
    assert "parameters" not in daemon.asked[0]


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
