from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpftune.cli import terminal
from bpftune.cli.terminal import coloured, say_paged, say_table, say_wrapped, table


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


LONG = "tcp_wmem max 512 KiB -> 1 MiB in netns sender (1 of 1 sockets)"


@pytest.mark.usefixtures("tty")
def test_tables_fit_the_terminal_and_lose_nothing() -> None:
    text = table(("STATE", "WHAT"), [("on", LONG), ("x" * 60, LONG)])
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert max(map(len, plain.splitlines())) <= 50
    assert plain.replace(" ", "").replace("\n", "").count("x") >= 60
    assert "sockets)" in plain


@pytest.mark.usefixtures("tty")
def test_states_have_their_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [("on",), ("off",), ("on the host",)]
    text = table(("STATE",), rows)
    assert "\x1b[32mon" in text
    assert "\x1b[31moff" in text
    assert "\x1b[1mSTATE" in text
    assert "\non the host" in text
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in table(("STATE",), rows)


def test_piped_tables_are_plain_whatever_rich_would_like(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "20")
    assert table(("A", "B"), [("on", LONG)]) == f"A   B\non  {LONG}"


@given(st.lists(st.tuples(st.text(max_size=30), st.text(max_size=30)), max_size=4))
def test_any_cell_is_one_line_without_markup(rows: list[tuple[str, str]]) -> None:
    lines = table(("A", "B"), rows).split("\n")
    assert len(lines) == len(rows) + 1
    assert all(" " <= c <= "~" or c == "±" for line in lines for c in line)


@pytest.mark.usefixtures("tty")
def test_what_is_long_goes_through_the_pager(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = tmp_path / "seen"
    monkeypatch.setenv("PAGER", f"tee '{seen}'")
    say_paged("a\nb")
    assert seen.read_text() == "a\nb\n"
    monkeypatch.setenv("PAGER", "true")  # it reads nothing
    say_paged("x" * 1_000_000)
    for plain in ("cat", "", "/nonexistent/less"):
        monkeypatch.setenv("PAGER", plain)
        capsys.readouterr()
        say_paged("a\nb")
        assert capsys.readouterr().out == "a\nb\n"


def test_no_pager_without_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PAGER", f"{sys.executable} -c 'raise SystemExit(1)'")
    say_paged("a")
    assert capsys.readouterr().out == "a\n"
