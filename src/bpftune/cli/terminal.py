"""How output looks: colours where they are wanted, columns that line up."""

from __future__ import annotations

import io
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import textwrap
from contextlib import suppress
from typing import TYPE_CHECKING

from bpftune.text import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

GREEN, YELLOW, RED, BOLD = "32", "33", "31", "1"

STYLES = {
    "on": "green",
    "ours": "green",
    "kept": "green",
    "set": "green",
    "trial": "yellow",
    "on trial": "yellow",
    "paused": "yellow",
    "skip": "yellow",
    "degraded": "red",
    "unsupported": "red",
    "off": "red",
    "fail": "red",
}
"""Colours of states, wherever a table has a cell of that word."""

SCHEMA = 1
NEVER_WRAPPED = 14
ENDLESS = 100_000  # columns of what is no terminal


def is_terminal() -> bool:
    """Tell whether a person reads standard output as it comes."""
    return sys.stdout.isatty()


def wants_colour() -> bool:
    """Tell whether standard output is a terminal whose user wants colours."""
    return (
        is_terminal()
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM") != "dumb"
    )


def width() -> int:
    """Return the columns to write in; no less than 40."""
    return max(40, shutil.get_terminal_size((80, 24)).columns)


def coloured(text: str, colour: str) -> str:
    """Return *text* in *colour* if that is wanted."""
    return f"\x1b[{colour}m{text}\x1b[0m" if wants_colour() else text


def say(text: str = "") -> None:
    """Write one line of our own to standard output."""
    sys.stdout.write(f"{text}\n")


def say_json(fields: Mapping[str, object]) -> None:
    """Write one JSON object with the schema's number to standard output."""
    sys.stdout.write(json.dumps({"schema": SCHEMA, **fields}, indent=2) + "\n")


def wrapped(first: str, text: str, indent: int | None = None) -> list[str]:
    """Return *text* after *first*, wrapped to the terminal and indented below it.

    *indent* is the width of *first* where colours make it longer than it looks.
    """
    indent = len(first) if indent is None else indent
    room = max(width() - indent, 20)
    # Piped lines stay whole, for grep.
    lines = [one_line(text)]
    if is_terminal():
        lines = textwrap.wrap(lines[0], room, break_long_words=False) or [""]
    return [
        f"{' ' * indent if number else first}{line}".rstrip()
        for number, line in enumerate(lines)
    ]


def say_wrapped(first: str, text: str, indent: int | None = None) -> None:
    """Write what ``wrapped`` returns to standard output."""
    for line in wrapped(first, text, indent):
        say(line)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return *rows* in columns under *header*, as text.

    It fits the terminal. Piped lines stay whole and have neither boxes nor
    colours. A cell that is one word of ``STYLES`` has that word's colour.
    """
    # Rich costs 60 ms and is wanted by few verbs.
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    drawn = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for number, title in enumerate(header):
        widest = max((len(row[number]) for row in rows), default=0)
        drawn.add_column(title, overflow="fold", no_wrap=widest <= NEVER_WRAPPED)
    for row in rows:
        cells = [one_line(cell) for cell in row]
        drawn.add_row(*(Text(cell, STYLES.get(cell, "")) for cell in cells))
    console = Console(
        file=io.StringIO(),
        width=width() if is_terminal() else ENDLESS,
        color_system="standard" if wants_colour() else None,
        force_terminal=wants_colour(),
        no_color=not wants_colour(),
        legacy_windows=False,
    )
    with console.capture() as captured:
        console.print(drawn)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def say_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a ``table`` to standard output."""
    say(table(header, rows))


def say_paged(text: str) -> None:
    """Write *text*; on a terminal, one page after the other if it is long."""
    pager = shlex.split(os.environ.get("PAGER", "less"))
    if not is_terminal() or not pager or pager == ["cat"]:
        say(text)
        return
    environment = {"LESS": "FRX", "LESSCHARSET": "utf-8", **os.environ}
    try:
        shown = subprocess.Popen(
            pager, stdin=subprocess.PIPE, env=environment, text=True
        )
    except OSError:  # there is no less here
        say(text)
        return
    # Ctrl-C is for the pager.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with suppress(BrokenPipeError):  # it was left before the end
            shown.communicate(text + "\n")
        shown.wait()
    finally:
        signal.signal(signal.SIGINT, before)
