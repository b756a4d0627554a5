from __future__ import annotations

import pytest

from bpftune.cli import terminal
from bpftune.cli.terminal import coloured, say_table, say_wrapped


@pytest.fixture
def tty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "is_terminal", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "50")
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.mark.usefixtures("tty")
def test_colours_on_a_terminal_that_wants_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert coloured("yes", "32") == "\x1b[32myes\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert coloured("yes", "32") == "yes"
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert coloured("yes", "32") == "yes"


@pytest.mark.usefixtures("tty")
def test_wraps_below_itself_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    say_wrapped("name  ", "word " * 20)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 1
    assert all(line.startswith("      word") for line in lines[1:])
    assert max(map(len, lines)) <= 50


def test_keeps_lines_whole_when_piped(capsys: pytest.CaptureFixture[str]) -> None:
    say_wrapped("name  ", "word " * 100)
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_tables_line_up_and_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    say_table(("A", "B"), [("long", "x\n"), ("s", "y")])
    assert capsys.readouterr().out == "A     B\nlong  x\\x0a\ns     y\n"
    say_table(("A", "B"), [])
    assert capsys.readouterr().out.split() == ["A", "B"]
