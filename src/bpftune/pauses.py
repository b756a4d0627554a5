"""What the admin paused: it gets no change until it is resumed. Pure.

A pause is of a tuner, a tunable, a network namespace, or of everything. It is
not kept: a daemon that was started again tunes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bpftune.text import printable

if TYPE_CHECKING:
    from bpftune.ledger import Entry

EVERYTHING = "everything"
WHY = "paused by the admin"
MOST = 256


class TooManyError(Exception):
    """So many things are paused that one more will not be remembered."""


class Pauses:
    """The names of what is paused."""

    def __init__(self) -> None:
        """Begin with nothing paused."""
        self._names: set[str] = set()

    def names(self) -> list[str]:
        """Return what is paused, in order."""
        return sorted(self._names)

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def cover(self, entry: Entry) -> bool:
        """Tell whether *entry*'s tunable is to be left as it is."""
        if not self._names:
            return False
        netns = entry.netns
        mine = {EVERYTHING, entry.tuner, entry.tunable.name, f"#{netns.cookie}"}
        return not self._names.isdisjoint(mine | {printable(str(netns))})

    def cover_tuner(self, name: str) -> bool:
        """Tell whether all that tuner *name* may want is paused."""
        return not self._names.isdisjoint({EVERYTHING, name})

    def pause(self, name: str) -> None:
        """Pause *name*. Raises TooManyError."""
        if len(self._names) >= MOST and name not in self._names:
            raise TooManyError(f"{MOST} things are paused already")
        self._names.add(name)

    def resume(self, name: str | None) -> bool:
        """Resume *name*, or all; tell whether it was paused."""
        if name is None:
            self._names.clear()
            return True
        known = name in self._names
        self._names.discard(name)
        return known
