"""What the command makes of several kernels."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.vm import __main__ as command
from tests.vm.__main__ import ROOT, Outcome, exit_status
from tests.vm.chosen import ALL, COMMANDS, PART, SMOKE
from tests.vm.errors import CannotTryError, GuestBrokeError
from tests.vm.guest import TIMED_OUT, Ended, Guest
from tests.vm.kernels import KERNELS, Kernel

PASSED = Outcome("6.1", "6.1.0", Ended(0, 9, 100, 80), "12 passed")
FAILED = Outcome("6.12", "6.12.1", Ended(1, 9, 100, 80), "1 failed")
LATE = Outcome("6.12", "6.12.1", Ended(TIMED_OUT, 9, 100, 80), "")
NOT_TRIED = Outcome("6.18", "?", None, "there is no apt-get")


def test_a_failure_is_worse_than_what_was_not_tried() -> None:
    assert exit_status([PASSED, PASSED]) == 0
    assert exit_status([PASSED, NOT_TRIED]) == 77
    assert exit_status([NOT_TRIED, FAILED]) == 1
    assert exit_status([LATE]) == 1


def test_each_kernel_has_a_line() -> None:
    assert "passed" in str(PASSED)
    assert "12 passed" in str(PASSED)
    assert "FAILED (1)" in str(FAILED)
    assert "TIMED OUT" in str(LATE)
    assert "NOT TRIED: there is no apt-get" in str(NOT_TRIED)


def test_what_is_chosen_is_there() -> None:
    for chosen in (*SMOKE, *PART, *ALL):
        path, _, test = chosen.removeprefix("--deselect=").partition("::")
        assert (ROOT / path).exists()
        assert not test or f"def {test.partition('[')[0]}(" in (ROOT / path).read_text()
    assert set(SMOKE) <= set(PART)


class Guests:
    """Machines that end as they are told to, by kernel."""

    def __init__(self, *ends: int | type[Exception]) -> None:
        self.ends = list(ends)

    def run(self, hear: object, _deadline_s: float) -> Ended:
        end = self.ends.pop(0)
        if isinstance(end, int):
            assert callable(hear)
            hear("=== 3 passed ===")
            return Ended(end, 9, 100, 80)
        raise end("broken")


def run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, guests: Guests, *words: str
) -> int:
    monkeypatch.setattr(command, "fetch", lambda one: Kernel(f"{one}.0", tmp_path))
    monkeypatch.setattr(Guest, "run", guests.run)
    return command.main([*words, "--out", str(tmp_path), "--at-once", "1"])


def test_all_kernels_are_tried(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    guests = Guests(0, 0, 1, 0)
    assert run(monkeypatch, tmp_path, guests, "all", "--tests", "smoke") == 1
    lines = capsys.readouterr().out.splitlines()[-len(KERNELS) :]
    assert [line.split()[0] for line in lines] == list(KERNELS)
    ends = [line.split()[2] for line in lines]
    assert ends == ["passed", "passed", "FAILED", "passed"]
    assert lines[0].endswith("3 passed")


def test_a_machine_that_breaks_gets_a_second_chance(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    guests = Guests(GuestBrokeError, 0)
    assert run(monkeypatch, tmp_path, guests, "6.1", "--tests", "smoke") == 0
    assert "attempt 1: broken" in capsys.readouterr().out
    guests = Guests(GuestBrokeError, GuestBrokeError)
    assert run(monkeypatch, tmp_path, guests, "6.1", "--tests", "smoke") == 1


def test_what_cannot_be_tried_is_neither_passed_nor_failed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    guests = Guests(CannotTryError)
    assert run(monkeypatch, tmp_path, guests, "6.1", "--tests", "smoke") == 77
    assert "NOT TRIED: broken" in capsys.readouterr().out
    guests = Guests(CannotTryError)
    words = ["6.1", "--tests", "smoke", "--if-possible"]
    assert run(monkeypatch, tmp_path, guests, *words) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("WARNING: NOT TESTED")
    guests = Guests(1)
    assert run(monkeypatch, tmp_path, guests, *words) == 1


def test_either_tests_or_a_command_is_needed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for words in (["6.1"], ["6.1", "--tests", "smoke", "--", "true"]):
        with pytest.raises(SystemExit):
            run(monkeypatch, tmp_path, Guests(), *words)
    assert set(COMMANDS) >= {"smoke", "part", "all", "lists"}


def test_what_root_wrote_is_given_to_the_owner_of_the_checkout(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "6.1").mkdir()
    (tmp_path / "6.1" / "link").symlink_to("/nowhere")
    given = []

    def note(path: Path, uid: int, gid: int, *, follow_symlinks: bool) -> None:
        given.append((path.name, uid, gid, follow_symlinks))

    monkeypatch.setattr("os.chown", note)
    command.give_back(tmp_path, ROOT)
    owner = ROOT.stat()
    mine = owner.st_uid, owner.st_gid, False
    assert given[1:] == [("6.1", *mine), ("link", *mine)]
