"""How output looks: colours where they are wanted, columns that line up."""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING

from bpftune.text import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

GREEN, YELLOW, RED, BOLD = "32", "33", "31", "1"

SCHEMA = 1


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


def coloured(text: str, colour: str) -> str:
    """Return *text* in *colour* if that is wanted."""
    return f"\x1b[{colour}m{text}\x1b[0m" if wants_colour() else text


def say(text: str = "") -> None:
    """Write one line of our own to standard output."""
    sys.stdout.write(f"{text}\n")


def say_json(fields: Mapping[str, object]) -> None:
    """Write one JSON object with the schema's number to standard output."""
    sys.stdout.write(json.dumps({"schema": SCHEMA, **fields}, indent=2) + "\n")


def say_wrapped(first: str, text: str, indent: int | None = None) -> None:
    """Write *text* after *first*, wrapped to the terminal and indented below it.

    *indent* is the width of *first* where colours make it longer than it looks.
    """
    indent = len(first) if indent is None else indent
    width = max(40, shutil.get_terminal_size((80, 24)).columns) - indent
    # Piped lines stay whole, for grep.
    lines = [one_line(text)]
    if is_terminal():
        lines = textwrap.wrap(lines[0], max(width, 20), break_long_words=False) or [""]
    for number, line in enumerate(lines):
        say(f"{' ' * indent if number else first}{line}".rstrip())


def say_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write *rows* in columns under *header*; the last column is not padded."""
    table = [[one_line(cell) for cell in row] for row in rows]
    widths = [
        max(len(header[i]), *(len(row[i]) for row in table)) if table else 0
        for i in range(len(header) - 1)
    ]
    for number, row in enumerate([list(header), *table]):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        line = "  ".join([*cells, row[-1]])
        say(line if number else coloured(line, BOLD))
