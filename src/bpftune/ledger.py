"""What is in force, since when it is ours or the admin's, and the originals.

One entry per namespace and tunable, made when the tunable is first met. The
ledger is told before a value is written (``intend``), and after (``applied``,
``failed``); it never reads or writes the kernel.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bpftune.model import Netns, NetnsCookie, Tunable, Value


@dataclass(slots=True)
class Entry:
    """One tunable in one network namespace.

    *found* is the value met first, *expected* the one we believe is there,
    *settled* the last that is not on trial. *grant_bytes* is what sockets may
    use beyond *found*, *sockets* the most that were ever counted for it.
    """

    netns: Netns
    tunable: Tunable
    tuner: str
    found: Value
    expected: Value
    settled: Value
    yielded: bool = False
    trial: str | None = None
    intended: Value | None = None
    changes: int = 0
    change_id: str | None = None
    grant_bytes: int = 0
    sockets: int = 1
    raises_s: list[float] = field(default_factory=list)

    @property
    def ours(self) -> bool:
        """Whether a value of ours is in force."""
        return not self.yielded and self.expected != self.found


class Ledger:
    """All entries, by namespace and tunable."""

    def __init__(self) -> None:
        """Begin with nothing known."""
        self._entries: dict[NetnsCookie, dict[Tunable, Entry]] = {}
        self._serial = 0

    def meet(self, netns: Netns, tunable: Tunable, tuner: str, value: Value) -> Entry:
        """Return the entry of *tunable*; make it with *value* if it is new."""
        mine = self._entries.setdefault(netns.cookie, {})
        if tunable not in mine:
            mine[tunable] = Entry(netns, tunable, tuner, value, value, value)
        return mine[tunable]

    def get(self, cookie: NetnsCookie, tunable: Tunable) -> Entry | None:
        """Return the entry of *tunable*, if it was met."""
        return self._entries.get(cookie, {}).get(tunable)

    def of(self, cookie: NetnsCookie) -> dict[Tunable, Entry]:
        """Return what is known of one namespace."""
        return self._entries.get(cookie, {})

    def __iter__(self) -> Iterator[Entry]:
        for mine in list(self._entries.values()):
            yield from list(mine.values())

    def __len__(self) -> int:
        """Return the number of namespaces known."""
        return len(self._entries)

    def cookies(self) -> list[NetnsCookie]:
        """Return the namespaces known, the longest known first."""
        return list(self._entries)

    def intend(self, entry: Entry, value: Value) -> None:
        """Note that *value* is about to be written."""
        entry.intended = value

    def applied(self, entry: Entry, value: Value, *, trial: str | None) -> None:
        """Note that *value* was written and read back; on *trial* or settled."""
        entry.intended = None
        entry.expected = value
        entry.changes += 1
        if trial is not None:
            self._serial += 1
            entry.change_id = f"c{self._serial}"
        entry.trial = trial
        if trial is None:
            entry.settled = value
        if value == entry.found:
            entry.grant_bytes = 0
            entry.sockets = 1

    def failed(self, entry: Entry) -> None:
        """Note that the intended value was refused.

        The one before is expected still; if another is in force, the next
        comparison finds that somebody set it.
        """
        entry.intended = None

    def kept(self, entry: Entry) -> None:
        """Note that the value on trial stays."""
        entry.trial = None
        entry.settled = entry.expected

    def yield_to_admin(self, entry: Entry, value: Value) -> None:
        """Note that the tunable is the admin's, and *value* theirs."""
        entry.yielded = True
        entry.expected = entry.settled = value
        entry.trial = None
        entry.grant_bytes = 0

    def adopt(self, entry: Entry, value: Value) -> None:
        """Take a tunable back from the admin, with *value* in force."""
        entry.yielded = False
        entry.expected = entry.settled = value

    def forget(self, cookie: NetnsCookie) -> None:
        """Drop a namespace that is gone."""
        self._entries.pop(cookie, None)

    def in_force(self) -> list[Entry]:
        """Return the entries in which a value of ours is in force."""
        return [entry for entry in self if entry.ours]

    def granted_bytes(self) -> int:
        """Return what all sockets may use beyond the values found."""
        return sum(entry.grant_bytes for entry in self)
