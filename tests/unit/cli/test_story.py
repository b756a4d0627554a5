from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from tests.unit.cli.served import CHANGE, CHOSEN, Served

from bpftune.cli import main
from bpftune.cli.errors import ExitCode
from bpftune.cli.story import is_about
from bpftune.history import History
from bpftune.model import Netns, NetnsCookie
from bpftune.records import Record

HOST = Netns(NetnsCookie(1), "host")
WMEM = "net.ipv4.tcp_wmem"
T0 = 1769860800.0  # 2026-01-31T12:00:00Z


@pytest.fixture
def kept(run_dir: Path) -> None:
    """Keep a history of three records, and no daemon."""
    history = History(run_dir / "state")
    facts = {"evidence": {"destination": "203.0.113.0/24"}}
    for number, record in enumerate(
        [
            Record("started", "0.1.0", extra={"pid": 1}),
            Record(
                "change", "it was short", "t", WMEM, HOST, (1,), (2,), "c17", "u", facts
            ),
            Record("change", "short too", "t", "vm.x", HOST, (1,), (2,), "c18", "u"),
        ]
    ):
        assert history.write(record, T0 + number)
    history.close()


def test_history_is_the_daemons_to_tell(
    daemon: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--since", "2026-01-31T12:00:00Z", "--netns", "host", "--limit", "9"]
    assert main(["history", *words]) == 0
    header, first, second = capsys.readouterr().out.splitlines()
    assert header.split() == ["TIME", "CHANGE", "WHAT"]
    assert "  c17     tcp_wmem max 4 MiB -> 8 MiB on the host (3 of 4" in first
    assert "Undo" not in first
    assert "kept" in second
    assert daemon.asked[0]["parameters"] == {
        "since": "2026-01-31T12:00:00.000Z",
        "netns": "host",
        "limit": 9,
    }


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize(
    ("words", "changes"),
    [
        ([], [None, "c17", "c18"]),
        (["--limit", "1"], ["c18"]),
        (["--limit", "9"], [None, "c17", "c18"]),
        (["--tunable", WMEM], ["c17"]),
        (["--netns", "web"], []),
        (["--since", "2026-01-31T12:00:02Z"], ["c18"]),
    ],
)
def test_without_a_daemon_the_file_tells(
    capsys: pytest.CaptureFixture[str], words: list[str], changes: list[str | None]
) -> None:
    assert main(["history", "--json", *words]) == 0
    output = capsys.readouterr()
    told = [one["change"] for one in json.loads(output.out)["records"]]
    assert told == changes
    assert "the daemon is not running; reading " in output.err


@pytest.mark.usefixtures("run_dir")
def test_no_history_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["history"]) == 0
    assert capsys.readouterr().out == "Nothing is recorded.\n"
    assert main(["history", "--since", "2h"]) == 0
    assert capsys.readouterr().out == "Nothing is recorded of that.\n"
    assert main(["history", "--since", "soon"]) == ExitCode.USAGE
    assert "soon is no time" in capsys.readouterr().err


@pytest.mark.usefixtures("kept")
def test_who_may_not_read_the_file_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr(Path, "open", refused)
    assert main(["history"]) == ExitCode.NOT_PERMITTED
    assert "cannot read the history" in capsys.readouterr().err


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize("about", ["c17", WMEM, "203.0.113.0/24"])
def test_explain_works_from_the_file_too(
    capsys: pytest.CaptureFixture[str], about: str
) -> None:
    assert main(["explain", about]) == 0
    output = capsys.readouterr().out
    assert "it was short" in output
    assert "short too" not in output


@pytest.mark.usefixtures("kept")
def test_explain_of_what_is_not_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "c99"]) == ExitCode.FAILED
    error = capsys.readouterr().err
    assert "the history has nothing about c99. See what it has: bpftune hist" in error


def test_explain_asks_the_daemon_first(
    daemon: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", "c17"]) == 0
    assert "37 of 40" in capsys.readouterr().out
    daemon.refuse("Explain", "io.bpftune.NoSuch", what="record of c99")
    assert main(["explain", "c99"]) == ExitCode.FAILED
    assert "there is no record of c99" in capsys.readouterr().err


def test_what_a_record_is_about() -> None:
    assert is_about(CHANGE, "c17")
    assert is_about(CHANGE, "203.0.113.0/24")
    assert is_about(CHOSEN, "203.0.113.0/24")
    assert not is_about(CHOSEN, "198.51.100.0/24")
    assert not is_about({**CHANGE, "evidence": None}, "203.0.113.0/24")
