"""Is the kernel's value what we think it is? If not, somebody else set it.

Values are compared, not writes: a refused write or one of the same value
changes nothing, and a write that no hook saw is found all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bpftune.kernel.errors import KernelError
from bpftune.kernel.netns import NetnsGoneError
from bpftune.model import NetnsCookie, Recheck, Tunable, Tuner, ValueChanged

if TYPE_CHECKING:
    from bpftune.carry import Sysctls
    from bpftune.entry import Entry
    from bpftune.kernel.netns import Namespaces
    from bpftune.ledger import Ledger

MOST_NAMESPACES = 4096
REREAD_AT_ONCE = 256  # as many as there are sysctl descriptors kept open


class Reconciler:
    """Keeps the ledger true to the kernel."""

    def __init__(
        self, ledger: Ledger, sysctls: Sysctls, namespaces: Namespaces
    ) -> None:
        """Compare *ledger* with what *sysctls* reads."""
        self._ledger = ledger
        self._sysctls = sysctls
        self._namespaces = namespaces
        self._next = 0

    def meet(self, tuner: Tuner, cookie: NetnsCookie, tunable: Tunable) -> Entry | None:
        """Return the entry of *tunable*; None if the namespace has no such file."""
        entry = self._ledger.get(cookie, tunable)
        if entry is not None:
            return entry
        netns = self._namespaces.find(cookie)
        if netns is None:
            raise NetnsGoneError(f"network namespace #{cookie} is gone")
        if not self._sysctls.exists(cookie, tunable.name):
            return None
        self._make_room()
        now = self._sysctls.read(cookie, tunable.name)
        return self._ledger.meet(netns, tunable, tuner.name, now)

    def _make_room(self) -> None:
        """Forget the namespace known longest in which nothing is in force."""
        if len(self._ledger) < MOST_NAMESPACES:
            return
        host = self._namespaces.host.cookie
        for cookie in self._ledger.cookies():
            mine = self._ledger.of(cookie).values()
            if cookie != host and not any(
                e.ours or e.yielded or e.counts for e in mine
            ):
                self._ledger.forget(cookie)
                self._sysctls.forget(cookie)
                return

    def compare(
        self, entry: Entry, uid: int | None = None, comm: bytes = b""
    ) -> ValueChanged | None:
        """Read *entry*'s value; if another is in force, say so.

        It is said again until the tunable is handed over: none is ever lost.
        """
        cookie, tunable = entry.netns.cookie, entry.tunable
        now = self._sysctls.read(cookie, tunable.name)
        if entry.yielded:
            self._ledger.seen(entry, now)
            return None
        if self._ledger.resolve(entry, now):
            return None
        return ValueChanged(cookie, tunable, entry.expected, now, uid, comm)

    def after_write(
        self, tuners: list[Tuner], cookie: NetnsCookie, recheck: Recheck
    ) -> list[ValueChanged]:
        """Compare *recheck*'s sysctl in *cookie*, and wherever it is ours.

        In a namespace that was not known, what was there before the write is
        taken for what was found.
        """
        changed = []
        for tuner in tuners:
            for tunable in tuner.tunables:
                if tunable.name != recheck.name:
                    continue
                if self._ledger.get(cookie, tunable) is None:
                    entry = self.meet(tuner, cookie, tunable)
                    if entry is not None and len(recheck.old) == len(entry.found):
                        entry.found = entry.expected = entry.settled = recheck.old
                # Elsewhere only what is ours is worth a look at every write of
                # anybody's; the rest is compared before it is decided on.
                known = [
                    entry
                    for entry in self._ledger
                    if entry.tunable == tunable
                    and (entry.netns.cookie == cookie or entry.ours)
                ]
                changed += self._compare_all(known, recheck.uid, recheck.comm)
        return changed

    def some(self) -> list[ValueChanged]:
        """Compare the next few hundred entries; all get their turn."""
        known = [entry for entry in self._ledger if not entry.yielded]
        if self._next >= len(known):
            self._next = 0
        turn = known[self._next : self._next + REREAD_AT_ONCE]
        self._next += REREAD_AT_ONCE
        return self._compare_all(turn)

    def ours(self) -> list[ValueChanged]:
        """Compare all in which a value of ours should be, or may be, in force."""
        mine = [entry for entry in self._ledger if entry.ours or entry.is_open]
        return self._compare_all(mine)

    def _compare_all(
        self, entries: list[Entry], uid: int | None = None, comm: bytes = b""
    ) -> list[ValueChanged]:
        changed = []
        for entry in entries:
            try:
                event = self.compare(entry, uid, comm)
            except KernelError:
                continue  # a namespace that is gone is noticed elsewhere
            if event is not None:
                changed.append(event)
        return changed
