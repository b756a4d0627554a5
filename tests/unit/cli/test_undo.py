from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.cli.schemas import check
from tests.unit.cli.served import ROWS, STEP, Served

from bpftune.cli import main, undo
from bpftune.cli.errors import ExitCode
from bpftune.history import read
from bpftune.model import Netns, NetnsCookie, Tunable
from bpftune.records import Record
from bpftune.rollback import Selection, Step


def test_tells_what_went_back_what_not_and_why(
    daemon: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rollback", "--all"]) == ExitCode.OK
    _, first, second, last, rows = capsys.readouterr().out.splitlines()
    assert first == ("set     tcp_wmem max  host   8 MiB -> 4 MiB  found at first")
    assert second.startswith("skip    tcp_wmem max  web    8 MiB")
    assert second.endswith("somebody set it since")
    assert last.startswith("1 value went back")
    assert last.endswith("bpftune adopt net.ipv4.tcp_wmem")
    assert rows == (
        "congestion: 12 destinations back to the default, until: bpftune resume "
        "congestion"
    )
    assert daemon.asked[0]["parameters"] == {"all": True}


def test_a_dry_run_says_that_it_is_one(
    daemon: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rollback", "--netns", "web", "--dry-run"]) == ExitCode.OK
    output = capsys.readouterr().out
    assert "would set" in output
    assert "Nothing was changed." in output
    assert "congestion: 12 destinations would go back to the default." in output
    assert daemon.asked[0]["parameters"] == {"netns": "web", "dry_run": True}


def test_one_that_fails_is_an_error_the_rest_is_told(
    daemon: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = {**STEP, "action": "fail", "why": "read-only"}
    daemon.answers["Rollback"] = {"parameters": {"steps": [STEP, failed]}}
    assert main(["rollback", "--all"]) == ExitCode.FAILED
    assert "read-only" in capsys.readouterr().out
    daemon.answers["Rollback"] = {"parameters": {"steps": []}}
    assert main(["rollback", "c17"]) == ExitCode.OK
    assert "Nothing of bpftune's" in capsys.readouterr().out


def test_where_no_sysctl_was_changed_only_rows_are_told(
    daemon: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.answers["Rollback"] = {"parameters": {"steps": [], "rows": ROWS}}
    assert main(["rollback", "--all", "--dry-run"]) == ExitCode.OK
    assert capsys.readouterr().out == (
        "congestion: 12 destinations would go back to the default.\n"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "rollback of what?"),
        (["--all", "c17"], "--all takes no other choice"),
        (["--all", "--netns", "web"], "--all takes no other choice"),
        (["c17", "--tunable", "x"], "has its tunable and namespace already"),
    ],
)
def test_what_to_undo_is_never_guessed(
    daemon: Served,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    assert main(["rollback", *words]) == ExitCode.USAGE
    assert message in capsys.readouterr().err
    assert not daemon.asked


def test_without_a_daemon_the_journal_is_undone_and_the_history_told(
    run_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[object, ...]] = []

    def offline(
        directory: Path,
        selection: Selection,
        *,
        dry_run: bool,
        tell: Callable[[Record], None],
    ) -> list[Step]:
        asked.append((directory, selection, dry_run))
        tell(Record("rolled_back", "back to the value found"))
        netns, tunable = Netns(NetnsCookie(1), "host"), Tunable("net.ipv4.tcp_wmem")
        old, new = (4096, 16384, 8388608), (4096, 16384, 4194304)
        done = Step(netns, tunable, "c17", "set", old, new, "found at first")
        gone = Netns(NetnsCookie(2), "a\nb")
        return [done, Step(gone, tunable, None, "skip", None, new, "it is gone")]

    monkeypatch.setattr(undo, "rollback_offline", offline)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert main(["rollback", "c17", "--json"]) == ExitCode.OK
    output = capsys.readouterr()
    first, second = json.loads(output.out)["steps"]
    assert first == STEP
    assert second["now"] == []
    assert second["netns"]["name"] == r"a\x0ab"
    check("rollback", json.loads(output.out))
    assert "the daemon is not running; undoing from its journal" in output.err
    assert asked == [(run_dir, Selection(change="c17"), False)]
    assert [one["record"] for one in read(run_dir / "state")] == ["rolled_back"]
    assert main(["rollback", "c17"]) == ExitCode.OK
    assert r"a\x0ab" in capsys.readouterr().out


@pytest.mark.usefixtures("run_dir")
def test_without_a_journal_there_is_nothing_to_undo(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert main(["rollback", "--all"]) == ExitCode.OK
    assert capsys.readouterr().out == "Nothing of bpftune's is in force there.\n"


@pytest.mark.usefixtures("run_dir")
def test_without_a_daemon_only_root_may(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert main(["rollback", "--all"]) == ExitCode.NOT_PERMITTED
    assert "sudo bpftune rollback" in capsys.readouterr().err
