"""At start: take over what an earlier run of the daemon left in force.

What the journal says is compared with what is in force. What was set by us is
ours again, with the original that was found back then; anything else is the
admin's by now. A trial in the middle of which the earlier run ended is taken
back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bpftune.kernel.errors import KernelError
from bpftune.model import Yield
from bpftune.reconcile import MOST_NAMESPACES
from bpftune.records import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bpftune.carry import Carrier
    from bpftune.entry import Entry
    from bpftune.journal import Replayed
    from bpftune.ledger import Ledger
    from bpftune.machine import Machine
    from bpftune.model import Netns, NetnsCookie, Tuner, Value

LOOKS = 2  # one that may not be entered for a moment is not gone
WHY = "an earlier run ended in mid-trial"


class Adoption:
    """One start of the daemon; use it once."""

    def __init__(
        self,
        machine: Machine,
        ledger: Ledger,
        carrier: Carrier,
        tell: Callable[[Record], None],
    ) -> None:
        """Bring *ledger*, which knows nothing yet, up to date."""
        self._machine = machine
        self._ledger = ledger
        self._carrier = carrier
        self._tell = tell

    def adopt(self, earlier: Replayed, tuners: Iterable[Tuner]) -> None:
        """Take over what *earlier* tells, as far as it is there.

        One summary record for each value, and one for what could not be read.
        """
        self._tell_damage(earlier)
        entries = self._reachable(earlier.entries)
        known = {tunable.name: tunable for one in tuners for tunable in one.tunables}
        for entry in entries:
            entry.tunable = known.get(entry.tunable.name, entry.tunable)
            self._ledger.restore(entry)
        # Before anything is written, and with all of it: the old journal goes.
        try:
            self._ledger.begin()
        except KernelError as error:
            why = f"{error}; no value is changed until it can be"
            self._tell(Record("degraded", why))
        for entry in entries:
            self._compare(entry)
        self._carrier.settle(None, WHY)
        for entry in entries:
            if entry.ours:
                self._carrier.adopted(entry, _found_words(entry))

    def _tell_damage(self, earlier: Replayed) -> None:
        if not earlier.damage:
            return
        why = f"the journal is damaged: {earlier.damage}"
        extra = {"skipped": earlier.skipped, "cut_bytes": earlier.cut_bytes}
        self._tell(Record("degraded", why, extra=extra))

    def _reachable(self, entries: list[Entry]) -> list[Entry]:
        """Leave out namespaces that are gone, with a word; know names anew."""
        try:
            there = self._look(entries)
        except (KernelError, OSError) as error:  # so nothing is given up
            self._tell(Record("degraded", f"cannot look for namespaces: {error}"))
            return entries
        reached = [entry for entry in entries if entry.netns.cookie in there]
        for entry in reached:
            entry.netns = there[entry.netns.cookie]
        gone = len(entries) - len(reached)
        if gone:
            many = "1 value" if gone == 1 else f"{gone} values"
            why = f"{many} of an earlier run went with their network namespaces"
            self._tell(Record("lost", why, extra={"netns_gone": gone}))
        return reached

    def _look(self, entries: list[Entry]) -> dict[NetnsCookie, Netns]:
        """Return the namespaces that are there."""
        there: dict[NetnsCookie, Netns] = {}
        for _ in range(LOOKS):
            if all(entry.netns.cookie in there for entry in entries):
                break
            there.update((e.cookie, e) for e in self._machine.namespaces.everywhere())
        if len(there) >= MOST_NAMESPACES:  # more than a look finds
            raise KernelError("there are too many")
        return there

    def _compare(self, entry: Entry) -> None:
        """Find out whose the value in force is."""
        cookie, name = entry.netns.cookie, entry.tunable.name
        try:
            now = self._machine.sysctls.read(cookie, name)
        except KernelError as error:  # it is looked at again when it matters
            self._tell(Record("degraded", str(error), entry.tuner, name, entry.netns))
            return
        setting = self._machine.admins_values.get(name)
        if entry.yielded:
            self._ledger.seen(entry, now)
        elif not self._ledger.resolve(entry, now):
            why = f"since an earlier run set {_words(entry.expected)}, somebody set it"
            self._hand_over(entry, why, now)
        elif setting is not None and cookie == self._machine.namespaces.host.cookie:
            why = f"{setting.file} line {setting.line} sets it"
            self._hand_over(entry, why, now, by_file=True)

    def _hand_over(
        self, entry: Entry, why: str, now: Value, *, by_file: bool = False
    ) -> None:
        request = Yield(entry.tunable, why)
        self._carrier.hand_over(request, entry.netns.cookie, now, by_file=by_file)


def _words(value: Value) -> str:
    return " ".join(map(str, value))


def _found_words(entry: Entry) -> str:
    writes = "1 write" if entry.changes == 1 else f"{entry.changes} writes"
    return f"an earlier run set it in {writes}, found at {_words(entry.found)}"
