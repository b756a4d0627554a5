"""The columns of the matrix: who tunes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bpftune.lab.contender import contender

VALUES = Path(__file__).parent / "values"


@dataclass(frozen=True)
class Tuner:
    """One column: *contender* is what ``bpftune lab --tuner`` takes.

    Of the oracle that differs from case to case, and is empty here. One that *learns*
    has its time for it.
    """

    name: str
    title: str
    contender: str
    learns: bool = False


NONE = Tuner("none", "none", "none", learns=True)
"""It has nothing to learn, but runs as long as those that are compared with it."""

ORACLE = Tuner("oracle", "best by hand", "")
OURS = Tuner("bpftune", "bpftune", "self", learns=True)
TUNERS = (
    NONE,
    Tuner("esnet", "ESnet 10G", f"sysctl:{VALUES / 'esnet-10g.conf'}"),
    Tuner("tuned", "TuneD", f"sysctl:{VALUES / 'tuned-network-throughput.conf'}"),
    ORACLE,
    OURS,
)
COMMANDS = "other"


def other(text: str, number: int) -> Tuner:
    """Return the column of a ``cmd:`` or ``sysctl:`` that somebody asked for.

    *number* tells it from others of theirs. ContenderError if it is none.
    """
    contender(text)
    title = text if len(text) <= 24 else f"{text[:23]}…"
    learns = not text.startswith("sysctl:")
    return Tuner(f"{COMMANDS}{number}", title.replace("|", "/"), text, learns=learns)
