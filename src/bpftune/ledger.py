"""What is in force, since when it is ours or the admin's, and the originals.

One entry per namespace and tunable, made when the tunable is first met. The
ledger is told before a value is written (``intend``), and after (``applied``,
``failed``); it never reads or writes the kernel. What it is told goes to the
journal, if there is one, so that the originals survive the daemon.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from bpftune.entry import IN_DOUBT, Entry
from bpftune.governor import goes_down
from bpftune.kernel.errors import KernelError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bpftune.journal import Journal
    from bpftune.model import Netns, NetnsCookie, Tunable, Value

__all__ = ["IN_DOUBT", "Entry", "Ledger"]

MOST_IDS = 32  # of earlier changes, which the last one contains


class Ledger:
    """All entries, by namespace and tunable."""

    def __init__(self, journal: Journal | None = None, serial: int = 0) -> None:
        """Begin with nothing known; the next change has number *serial* + 1."""
        self._entries: dict[NetnsCookie, dict[Tunable, Entry]] = {}
        self._serial = serial
        self._journal = journal
        self._behind = journal is not None
        self.trouble = ""
        """Why the journal is not up to date; empty if it is."""

    def meet(self, netns: Netns, tunable: Tunable, tuner: str, value: Value) -> Entry:
        """Return the entry of *tunable*; make it with *value* if it is new."""
        mine = self._entries.setdefault(netns.cookie, {})
        if tunable not in mine:
            mine[tunable] = Entry(netns, tunable, tuner, value, value, value)
        return mine[tunable]

    def restore(self, entry: Entry) -> None:
        """Take over what an earlier run recorded."""
        self._entries.setdefault(entry.netns.cookie, {})[entry.tunable] = entry

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

    # --- a change ------------------------------------------------------------

    def intend(self, entry: Entry, value: Value) -> None:
        """Note that *value* is about to be written.

        Raises JournalError if that cannot be put on file: then it must not be.
        """
        entry.intended = value
        try:
            self._note(entry, "intend")
        except KernelError:
            entry.intended = None
            raise

    def applied(
        self,
        entry: Entry,
        value: Value,
        *,
        trial: str | None,
        grant_bytes: int | None = None,
        sockets: int = 1,
    ) -> None:
        """Note that *value* was written and read back; on *trial* or settled.

        *grant_bytes* (None: as before) and *sockets* are those of the change.
        """
        if trial is not None:
            self._number(entry)
        entry.intended = None
        entry.expected = entry.written = value
        entry.changes += 1
        entry.trial = trial
        if trial is None:
            entry.settled = value
        if value == entry.found:
            entry.grant_bytes = 0
            entry.sockets = 1
            entry.written = None
        if grant_bytes is not None:
            entry.grant_bytes = grant_bytes
        entry.sockets = max(entry.sockets, sockets)
        self._note_after(entry, "applied")

    def _number(self, entry: Entry) -> None:
        """Give the change that was just made an id."""
        if entry.expected == entry.found:
            entry.earlier_ids = []
        elif entry.change_id is not None:
            entry.earlier_ids = [*entry.earlier_ids[1 - MOST_IDS :], entry.change_id]
        self._serial += 1
        entry.change_id = f"c{self._serial}"

    def failed(self, entry: Entry) -> None:
        """Note that the intended value was refused, and the one before is there."""
        entry.intended = None
        self._note_after(entry, "failed")

    def resolve(self, entry: Entry, now: Value) -> bool:
        """Learn from the value in force how a write ended that is in doubt.

        Return whether *now* is expected, or else ours: then it is expected from
        now on, and to be taken back unless it is lower than what was there.
        """
        if entry.intended is None:
            return now == entry.expected
        if now == entry.expected:
            self.failed(entry)
            return True
        if not entry.set_by_us(now):
            return False
        went_down = goes_down(now, entry.expected, entry.tunable)
        self.applied(entry, now, trial=None if went_down else IN_DOUBT)
        return True

    def kept(self, entry: Entry) -> None:
        """Note that the value on trial stays."""
        entry.trial = None
        entry.settled = entry.expected
        self._note_after(entry, "kept")

    # --- the admin -----------------------------------------------------------

    def yield_to_admin(
        self, entry: Entry, value: Value, *, by_file: bool = False
    ) -> None:
        """Note that the tunable is the admin's, and *value* in force.

        *by_file*: a file of theirs sets it, though they wrote nothing yet.
        """
        entry.yielded = True
        entry.trial = None
        if by_file and value == entry.expected:
            entry.by_file = True
            return
        entry.expected = entry.settled = value
        entry.intended = None
        entry.grant_bytes = 0
        if value != entry.written:
            entry.written = None
        self._note_after(entry, "yielded")

    def seen(self, entry: Entry, now: Value) -> None:
        """Note what is in force where the tunable is the admin's."""
        was = entry.counts, entry.intended, entry.written
        if now != entry.expected:
            entry.by_file = False
        entry.expected = now
        entry.intended = None
        if now != entry.written:
            entry.written = None
        if was != (entry.counts, entry.intended, entry.written):
            self._note_after(entry, "seen")

    def adopt(self, entry: Entry, value: Value) -> None:
        """Take a tunable back from the admin, with *value* in force.

        What the admin chose is what is found now, so that neither shrinking nor
        a rollback overwrites it. Where *value* is ours still, or the original,
        what was found at first stays.
        """
        if value != entry.written:
            entry.found, entry.written = value, None
        entry.yielded = entry.by_file = False
        entry.expected = entry.settled = value
        entry.intended = entry.trial = None
        self._note_after(entry, "adopt")

    # --- the way back --------------------------------------------------------

    def rolling_back(self, entry: Entry) -> None:
        """Note that the value found is about to be written, for good.

        It needs no journal: a value found that is there again explains itself.
        """
        entry.intended = entry.found
        entry.yielded = True
        entry.trial = None
        self._note_after(entry, "rolling_back")

    def rolled_back(self, entry: Entry) -> None:
        """Note that the value found is there again, and is left so."""
        entry.intended = entry.written = None
        entry.expected = entry.settled = entry.found
        entry.grant_bytes = 0
        entry.changes = 0
        self._note_after(entry, "rolled_back")

    def not_rolled_back(
        self, entry: Entry, *, yielded: bool, trial: str | None, intended: Value | None
    ) -> None:
        """Note that the value found was refused; all is as it was before."""
        entry.yielded, entry.trial, entry.intended = yielded, trial, intended
        self._note_after(entry, "not_rolled_back")

    # --- all of them ---------------------------------------------------------

    def forget(self, cookie: NetnsCookie) -> None:
        """Drop a namespace that is gone."""
        mine = self._entries.pop(cookie, {})
        if self._journal is None or not any(e.noted for e in mine.values()):
            return
        try:
            if self._behind:
                self.begin()
            else:
                self._journal.append({"step": "gone", "cookie": cookie})
        except KernelError as error:
            self._behind, self.trouble = True, str(error)

    def in_force(self) -> list[Entry]:
        """Return the entries in which a value of ours is in force."""
        return [entry for entry in self if entry.ours]

    def trials(self, cookie: NetnsCookie) -> frozenset[str]:
        """Return what the trials in one namespace are tried on: destinations."""
        mine = self._entries.get(cookie, {}).values()
        named = {entry.trial for entry in mine if entry.trial}
        return frozenset(named - {IN_DOUBT})

    def granted_bytes(self) -> int:
        """Return what all sockets may use beyond the values found."""
        return sum(entry.grant_bytes for entry in self)

    # --- the journal ---------------------------------------------------------

    def begin(self) -> None:
        """Write the journal anew, with what counts. Raises JournalError."""
        if self._journal is None:
            return
        lines = (entry.as_fields("is") for entry in self if entry.counts)
        self._journal.rewrite(lines, self._serial)
        self._behind, self.trouble = False, ""

    def _note(self, entry: Entry, step: str) -> None:
        """Put a step on file. Raises JournalError if that cannot be."""
        entry.noted = True
        if self._journal is None:
            return
        if self._behind:
            self.begin()
        else:
            self._journal.append(entry.as_fields(step))
            if self._journal.is_long:
                with suppress(KernelError):  # it goes on as it is
                    self.begin()

    def _note_after(self, entry: Entry, step: str) -> None:
        """Put on file what was done already, now or before the next step.

        Until then replay has to find it out from the value in force.
        """
        try:
            self._note(entry, step)
        except KernelError as error:
            self._behind, self.trouble = True, str(error)
