"""What the admin paused: it gets no change until it is resumed. Pure.

A pause is of a tuner, a tunable, a network namespace, or of everything; or of what one
tuner has put into tables for one namespace, after a rollback of that. It is not kept: a
daemon that was started again tunes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bpftune.text import printable

if TYPE_CHECKING:
    from bpftune.ledger import Entry
    from bpftune.model import Netns

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
        self._rows: dict[str, tuple[str, str]] = {}  # "TUNER in NETNS": the two

    def names(self) -> list[str]:
        """Return what is paused, in order."""
        return sorted({*self._names, *self._rows})

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def cover(self, entry: Entry) -> bool:
        """Tell whether *entry*'s tunable is to be left as it is."""
        if not self._names:
            return False
        netns = entry.netns
        mine = {EVERYTHING, entry.tuner, entry.tunable.name, f"#{netns.cookie}"}
        return not self._names.isdisjoint(mine | {printable(str(netns))})

    def cover_rows(self, tuner: str, netns: Netns) -> bool:
        """Tell whether *tuner*'s rows of tables for *netns* are not to be in force."""
        if not self._names and not self._rows:
            return False
        place, cookie = printable(str(netns)), f"#{netns.cookie}"
        if not self._names.isdisjoint({EVERYTHING, tuner, place, cookie}):
            return True
        held = self._rows.values()
        return (tuner, place) in held or (tuner, cookie) in held

    def cover_tuner(self, name: str) -> bool:
        """Tell whether all that tuner *name* may want is paused."""
        return not self._names.isdisjoint({EVERYTHING, name})

    def pause(self, name: str) -> None:
        """Pause *name*. Raises TooManyError."""
        self._make_room(name)
        self._names.add(name)

    def pause_rows(self, tuner: str, netns: Netns) -> str:
        """Pause what *tuner* has in tables for *netns*; return what that is called.

        Raises TooManyError.
        """
        place = printable(str(netns))
        name = f"{tuner} in {place}"
        self._make_room(name)
        self._rows[name] = tuner, place
        return name

    def _make_room(self, name: str) -> None:
        names = self.names()
        if len(names) >= MOST and name not in names:
            raise TooManyError(f"{MOST} things are paused already")

    def meant(self, name: str | None) -> list[str]:
        """Return what a resume of *name*, or of all, ends, in order.

        A tuner or a namespace stands for its rows of tables, too.
        """
        if name is None:
            return self.names()
        rows = [one for one, both in self._rows.items() if name in {one, *both}]
        return sorted({*self._names.intersection({name}), *rows})

    def resume(self, name: str | None) -> list[str]:
        """Resume *name*, or all; return what was paused of it."""
        meant = self.meant(name)
        for one in meant:
            self._names.discard(one)
            self._rows.pop(one, None)
        return meant
