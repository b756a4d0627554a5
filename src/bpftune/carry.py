"""Carry out what tuners decide: governor, ledger, write, read back, record.

The one place where a decision becomes a write, and where it is told.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from bpftune import governor, pauses
from bpftune.entry import IN_DOUBT
from bpftune.kernel.errors import KernelError
from bpftune.kernel.netns import NetnsGoneError
from bpftune.model import (
    Change,
    Event,
    Facts,
    Keep,
    NetnsCookie,
    Rejected,
    Value,
    Yield,
    Yielded,
)
from bpftune.telling import Teller, evidence_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from bpftune.entry import Entry
    from bpftune.ledger import Ledger
    from bpftune.records import Record

GIVEN_BACK = "the admin gave it back"


class Sysctls(Protocol):
    """What this program asks of the kernel's sysctls (``kernel.sysctl``)."""

    def exists(self, cookie: NetnsCookie, name: str) -> bool:
        """Tell whether the namespace has this sysctl."""

    def read(self, cookie: NetnsCookie, name: str) -> Value:
        """Return the value in force."""

    def write(
        self,
        cookie: NetnsCookie,
        name: str,
        value: Value,
        expected: Value | None = None,
    ) -> Value:
        """Write *value* if *expected* is there, read it back and return it."""

    def forget(self, cookie: NetnsCookie) -> None:
        """Close what is open of a namespace that is gone."""


class Carrier:
    """Carries out changes and tells of them."""

    def __init__(
        self,
        ledger: Ledger,
        sysctls: Sysctls,
        tell: Callable[[Record], None],
        undo_prefix: Callable[[NetnsCookie], str],
        *,
        observe: bool,
    ) -> None:
        """Write through *sysctls* unless *observe*; say what and why to *tell*."""
        self._ledger = ledger
        self._sysctls = sysctls
        self.teller = Teller(tell, undo_prefix)
        self._observe = observe
        self.pauses = pauses.Pauses()

    def change(
        self, change: Change, facts: Facts, *, by_admin: bool = False
    ) -> Event | None:
        """Make *change* if it may be made; return what its tuner is to hear.

        What is asked *by_admin* is done even by a daemon that only observes.
        """
        entry = self._ledger.get(facts.netns.cookie, change.tunable)
        if entry is None or change.value == entry.expected:
            return None
        reason = self._refusal(change, entry, facts)
        if reason is not None:
            return self._refused(entry, change, reason)
        old, extra = entry.expected, evidence_of(change)
        on_trial = change.record == "change"
        raised = not governor.goes_down(change.value, old, entry.tunable)
        granted = governor.grant_after(change, entry)
        if by_admin:
            extra["reason"] = "admin"
        elif self._observe:
            new = change.value
            extra["sockets"] = change.sockets
            self.teller.say("advice", entry, change.why, old, new, extra, by_hand=new)
            return Rejected(facts.netns.cookie, change.tunable, new, "observing")
        try:
            self._write(entry, change.value)
        except NetnsGoneError:
            raise
        except KernelError as error:
            if not raised and entry.intended is None:
                # It stays as it is; others must not wait for this trial's end.
                self._ledger.kept(entry)
            return self._refused(entry, change, str(error))
        self._ledger.applied(
            entry,
            change.value,
            trial=change.trial if on_trial else None,
            grant_bytes=granted,
            sockets=change.sockets,
        )
        if raised:
            entry.raises_s = [*entry.raises_s[-governor.BURST :], facts.now_s]
        self.teller.say(
            change.record,
            entry,
            change.why,
            old,
            change.value,
            extra,
            by_hand=entry.found,
        )
        return None

    def _refusal(self, change: Change, entry: Entry, facts: Facts) -> str | None:
        reason = governor.refusal(
            change, entry, facts.memory, self._ledger.granted_bytes(), facts.now_s
        )
        if reason is None and self.pauses.cover(entry):
            reason = pauses.WHY
        if reason is None and entry.intended is not None:
            reason = "nobody knows yet how the last write of it ended"
        return reason

    def _write(self, entry: Entry, value: Value) -> None:
        """Write *value* in place of what is expected, once that is on file.

        Raises KernelError. Unless the old value is known to be there, the end is
        in doubt: then *intended* stays, and the next look at the value tells.
        """
        cookie, name, old = entry.netns.cookie, entry.tunable.name, entry.expected
        self._ledger.intend(entry, value)
        try:
            self._sysctls.write(cookie, name, value, old)
        except KernelError:
            with suppress(KernelError):
                if self._sysctls.read(cookie, name) == old:
                    self._ledger.failed(entry)
            raise

    def _refused(self, entry: Entry, change: Change, reason: str) -> Event:
        refused = change.value, reason
        if entry.refused != refused:
            self.teller.say("rejected", entry, reason, entry.expected, change.value)
            entry.refused = refused
        return Rejected(entry.netns.cookie, change.tunable, change.value, reason)

    def keep(self, keep: Keep, cookie: NetnsCookie) -> None:
        """End a trial: its value stays."""
        entry = self._ledger.get(cookie, keep.tunable)
        if entry is None or entry.yielded or entry.trial in {None, IN_DOUBT}:
            return
        old = entry.settled
        self._ledger.kept(entry)
        extra = {"proved": keep.proved, **evidence_of(keep)}
        self.teller.say(
            "kept", entry, keep.why, old, entry.expected, extra, by_hand=entry.found
        )

    def hand_over(
        self, request: Yield, cookie: NetnsCookie, new: Value, *, by_file: bool = False
    ) -> Event | None:
        """Give a tunable to the admin; return what its tuner is to hear.

        *by_file*: see ``Ledger.yield_to_admin``.
        """
        entry = self._ledger.get(cookie, request.tunable)
        if entry is None or entry.yielded:
            return None
        old = request.old or entry.expected
        self._ledger.yield_to_admin(entry, new, by_file=by_file)
        by: dict[str, object] = {}
        if request.uid is not None:
            by = {"by_uid": request.uid, "by_comm": request.comm}
        self.teller.say("yielded", entry, request.why, old, new, by)
        return Yielded(cookie, request.tunable)

    def adopt(self, entry: Entry, value: Value) -> None:
        """Take a tunable back from the admin, who asked for it."""
        self._ledger.adopt(entry, value)
        self.teller.say("adopted", entry, GIVEN_BACK, value, value)

    def settle(
        self,
        tuner: str | None,
        why: str,
        only: Callable[[Entry], bool] = lambda _entry: True,
    ) -> None:
        """Take the trials under way (of *tuner*, or all) back to what paid."""
        for entry in self._ledger:
            if tuner in {None, entry.tuner} and only(entry):
                self._take_back(entry, why)

    def settle_doubts(self) -> None:
        """Take back what turned out to be in force though its write failed."""
        for entry in self._ledger:
            if entry.trial == IN_DOUBT:
                self._take_back(entry, IN_DOUBT)

    def _take_back(self, entry: Entry, why: str) -> None:
        if self._observe or entry.yielded or not entry.is_open:
            return
        cookie, name, old = entry.netns.cookie, entry.tunable.name, entry.expected
        try:
            # What the admin wrote a moment ago is not ours to take back.
            now = self._sysctls.read(cookie, name)
            if not self._ledger.resolve(entry, now):
                self.hand_over(Yield(entry.tunable, "somebody set it"), cookie, now)
                return
            if entry.trial is None:
                return
            old = entry.expected
            grant_bytes = governor.grant_left(entry.settled, entry)
            self._write(entry, entry.settled)
        except KernelError as error:
            self.teller.say("rejected", entry, str(error), old, entry.settled)
            return
        self._ledger.applied(entry, entry.settled, trial=None, grant_bytes=grant_bytes)
        self.teller.say(
            "taken_back",
            entry,
            f"{why}, back to the last value that paid",
            old,
            entry.settled,
            by_hand=entry.found,
        )

    def roll_back(self, entry: Entry, now: Value, why: str) -> None:
        """Put the value found in place of *now*, which is ours, for good.

        Raises KernelError if it is refused; then all is as before.
        """
        before = entry.yielded, entry.trial, entry.intended
        self._ledger.rolling_back(entry)
        try:
            self._sysctls.write(
                entry.netns.cookie, entry.tunable.name, entry.found, now
            )
        except KernelError:
            yielded, trial, intended = before
            self._ledger.not_rolled_back(
                entry, yielded=yielded, trial=trial, intended=intended
            )
            raise
        self._ledger.rolled_back(entry)
        self.teller.say("rolled_back", entry, why, now, entry.found, by_hand=now)

    def adopted(self, entry: Entry, why: str) -> None:
        """Tell that a value of ours from an earlier run is looked after again."""
        self.teller.say(
            "adopted", entry, why, entry.found, entry.expected, by_hand=entry.found
        )

    def sum_up(self) -> None:
        """Tell what stays in force, and how to undo it by hand."""
        for entry in self._ledger.in_force():
            why = f"set in {entry.changes} writes"
            self.teller.say(
                "stopped", entry, why, entry.found, entry.expected, by_hand=entry.found
            )
