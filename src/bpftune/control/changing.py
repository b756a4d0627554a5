"""The methods that change something: for root and the group ``bpftune``."""

from __future__ import annotations

import json
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

from bpftune import pauses
from bpftune.control.errors import answered
from bpftune.control.framing import STANDARD, CallError
from bpftune.control.view import (
    is_called,
    rows_shape,
    rows_words,
    setting_shape,
    step_shape,
)
from bpftune.kernel.errors import KernelError
from bpftune.model import Change, Facts, Keep, Netns, Rejected, Tunable
from bpftune.records import Record, as_json
from bpftune.rollback import Selection
from bpftune.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from bpftune.advice import Advice
    from bpftune.control.about import About
    from bpftune.control.notes import Notes
    from bpftune.control.reading import Reading
    from bpftune.control.view import Shape
    from bpftune.daemon import Daemon
    from bpftune.ledger import Entry
    from bpftune.model import Tuner, Value


def words(value: Value) -> str:
    """Return a value as sysctl(8) shows it."""
    return " ".join(map(str, value))


def _back(moved: Mapping[str, int]) -> str:
    return f": {rows_words(moved)} back to the default" if moved else ""


class Changing:
    """Does what trusted clients ask of *daemon*."""

    def __init__(
        self,
        daemon: Daemon,
        about: About,
        notes: Notes,
        looks: Reading,
        ignored_path: Path,
    ) -> None:
        """Keep what is ignored at *ignored_path*."""
        self._daemon = daemon
        self._about = about
        self._notes = notes
        self._looks = looks
        self._ignored_path = ignored_path

    # --- advice ------------------------------------------------------------------

    def apply(self, id: str) -> Iterator[Shape | None]:  # noqa: A002 - the interface's
        """Answer Apply: do what was advised, if all is as it was then."""
        book = self._notes.book
        book.keep(self._looks.holds)
        advice = book.get(id)
        if advice is None:
            raise answered("NoSuch", f"advice {printable(id)}")
        entry = self._entry_for(advice)
        changed = self._daemon.reconciler.compare(entry)
        if changed is not None or entry.expected != advice.old:
            now = entry.expected if changed is None else changed.new
            raise answered(
                "Refused", f"{advice.tunable} is {words(now)} now, not as it was"
            )
        change = Change(
            entry.tunable,
            advice.new,
            f"the admin applied {advice.id}: {advice.why}",
            sockets=advice.sockets,
        )
        with self._notes.catching() as told:
            refused = self._daemon.carrier.change(
                change, self._facts(entry.netns), by_admin=True
            )
            if isinstance(refused, Rejected):
                raise answered("Refused", refused.reason)
            why = "the admin's decision, not measured"
            self._daemon.carrier.keep(
                Keep(entry.tunable, why, proved=False), entry.netns.cookie
            )
        book.drop(advice.id)
        record = next(one for one in told if one.record == "change")
        yield {"record": json.loads(as_json(record, time.time()))}

    def _entry_for(self, advice: Advice) -> Entry:
        """Return the ledger's entry; one that no tuner asked for is made."""
        daemon, cookie = self._daemon, advice.netns.cookie
        for known in daemon.ledger.of(cookie).values():
            if known.tunable.name == advice.tunable:
                return known
        owner = next((t for t in daemon.tuners if t.name == advice.tuner), None)
        entry = None
        if owner is not None:
            tunable = Tunable(advice.tunable)
            entry = daemon.reconciler.meet(owner, cookie, tunable)
        if entry is None:
            raise answered("Refused", f"{advice.tunable} is not there any more")
        return entry

    def _facts(self, netns: Netns) -> Facts:
        memory = self._daemon.machine.memory()
        return Facts(netns, self._daemon.clock(), {}, {}, frozenset(), memory)

    def ignore(self, id: str) -> Iterator[Shape | None]:  # noqa: A002 - the interface's
        """Answer Ignore: the advice is listed, and told no more."""
        if not self._notes.book.ignore(id):
            raise answered("NoSuch", f"advice {printable(id)}")
        try:
            self._notes.book.save(self._ignored_path)
        except OSError as error:
            where = self._ignored_path
            why = f"ignored until the daemon stops: {where}: {error.strerror}"
            self._daemon.tell(Record("degraded", why))
        yield {}

    # --- pauses ------------------------------------------------------------------

    def pause(self, what: str | None = None) -> Iterator[Shape | None]:
        """Answer Pause: trials under way are taken back, then nothing changes."""
        carrier, ledger = self._daemon.carrier, self._daemon.ledger
        name = pauses.EVERYTHING if what is None else self._name(what)
        try:
            carrier.pauses.pause(name)
        except pauses.TooManyError as error:
            raise answered("Refused", str(error)) from error
        on_trial = [
            (entry, entry.expected)
            for entry in ledger
            if entry.trial is not None
            and not entry.yielded
            and carrier.pauses.cover(entry)
        ]
        carrier.settle(None, pauses.WHY, carrier.pauses.cover)
        moved = self._daemon.review_tables()
        why = f"{name}, by the admin, until resumed"
        self._daemon.tell(Record("paused", why + _back(moved)))
        for entry, value in on_trial:  # the tuner must not go on measuring
            self._tell_owner(entry, value)
            yield None
        yield {"paused": carrier.pauses.names(), "rows": rows_shape(moved)}

    def _tell_owner(self, entry: Entry, value: Value) -> None:
        refused = Rejected(entry.netns.cookie, entry.tunable, value, pauses.WHY)
        owner = self._owner(entry)
        if owner is not None:
            self._daemon.handle(owner, refused)

    def _owner(self, entry: Entry) -> Tuner | None:
        return next((t for t in self._daemon.tuners if t.name == entry.tuner), None)

    def resume(self, what: str | None = None) -> Iterator[Shape | None]:
        """Answer Resume."""
        paused = self._daemon.carrier.pauses
        meant = paused.meant(what)
        if not meant and what is not None:
            meant = paused.meant(self._name(what))
            if not meant:
                raise answered("NoSuch", f"{printable(what)} is not paused")
        total: Counter[str] = Counter()
        for name in meant:
            paused.resume(name)
            moved = self._daemon.review_tables()
            again = f": {rows_words(moved)} in force again" if moved else ""
            self._daemon.tell(Record("resumed", f"{name}, by the admin{again}"))
            total += moved
        yield {"paused": paused.names(), "rows": rows_shape(total)}

    def _name(self, what: str) -> str:
        """Return the name under which *what* is paused. Raises NoSuch."""
        for tuner in self._about.tuners:
            if what == tuner.name or any(what == one.name for one in tuner.tunables):
                return what
        return printable(str(self._netns(what)))

    def _netns(self, name: str) -> Netns:
        """Return the namespace that *name* stands for. Raises NoSuch."""
        namespaces = self._daemon.machine.namespaces
        known = (entry.netns for entry in self._daemon.ledger)
        for netns in (namespaces.host, *known, *namespaces.everywhere()):
            if is_called(netns, name):
                return netns
        raise answered("NoSuch", f"tuner, tunable or namespace {printable(name)}")

    # --- the way back --------------------------------------------------------------

    def rollback(
        self,
        change: str | None = None,
        tunable: str | None = None,
        netns: str | None = None,
        all: bool | None = None,  # noqa: A002 - the interface's
        dry_run: bool | None = None,
    ) -> Iterator[Shape | None]:
        """Answer Rollback: put back what was found, or (*dry_run*) say what would be.

        What was rolled back is left alone until it is adopted. Rows of tables have no
        value that was found: they are taken out, of all or of one namespace, until
        they are resumed.
        """
        if not all and (change, tunable, netns) == (None, None, None):
            raise CallError(f"{STANDARD}.InvalidParameter", parameter="all")
        selection = Selection(change=change, tunable=tunable)
        wanted = [
            entry
            for entry in self._daemon.ledger
            if selection.has(entry) and (netns is None or is_called(entry.netns, netns))
        ]
        of_rows = self._with_rows(netns) if (change, tunable) == (None, None) else []
        if not wanted and not of_rows and not all:
            raise answered("NoSuch", "change, tunable or namespace of that name")
        moved = self._rows_back(of_rows, netns, dry_run=bool(dry_run))
        shapes: list[Shape] = []
        for entry in wanted:  # one at a time, as there may be thousands
            one = Selection(change, entry.tunable.name, f"#{entry.netns.cookie}")
            steps = self._daemon.rollback(one, dry_run=bool(dry_run))
            shapes += map(step_shape, steps)
            yield None
        yield {"steps": shapes, "rows": rows_shape(moved)}

    def _with_rows(self, netns: str | None) -> list[tuple[Tuner, Netns]]:
        """Return which tuners have rows in tables for *netns*, or for any."""
        return [
            (tuner, there)
            for tuner, there in self._daemon.tables.known()
            if netns is None or is_called(there, netns)
        ]

    def _rows_back(
        self, known: list[tuple[Tuner, Netns]], netns: str | None, *, dry_run: bool
    ) -> Counter[str]:
        """Take rows out, for all namespaces or for *netns*; return of how many keys."""
        daemon = self._daemon
        moved: Counter[str] = Counter()
        for tuner, there in known:
            moved[tuner.name] += daemon.tables.in_force(there.cookie)[tuner.name]
        if dry_run:
            return +moved
        paused, total = daemon.carrier.pauses, Counter[str]()
        for tuner, there in known:
            name = tuner.name
            try:
                if netns is None:
                    paused.pause(name)
                else:
                    name = paused.pause_rows(name, there)
            except pauses.TooManyError as error:
                raise answered("Refused", str(error)) from error
            back = daemon.review_tables()
            total += back
            if back:
                why = f"{name}, by a rollback, until resumed"
                daemon.tell(Record("paused", why + _back(back)))
        return total

    # --- back from the admin -------------------------------------------------------

    def adopt(self, tunable: str, netns: str | None = None) -> Iterator[Shape | None]:
        """Answer Adopt: what is the admin's, there or everywhere, is ours to tune."""
        daemon = self._daemon
        cookie = None if netns is None else self._netns(netns).cookie
        theirs = [
            entry
            for entry in daemon.ledger
            if entry.tunable.name == tunable
            and entry.yielded
            and cookie in (None, entry.netns.cookie)
        ]
        words_of_theirs = [
            setting
            for setting in daemon.settings.theirs()
            if setting.name == tunable and cookie in (None, setting.netns.cookie)
        ]
        if not theirs and not words_of_theirs:
            raise answered("NoSuch", f"{printable(tunable)} that is the admin's")
        adopted = []
        for entry in theirs:
            try:
                now = daemon.machine.sysctls.read(entry.netns.cookie, tunable)
            except KernelError:
                continue  # a namespace that is gone is noticed elsewhere
            daemon.carrier.adopt(entry, now)
            adopted.append(self._looks.shape(entry))
            yield None
        for setting in words_of_theirs:
            with suppress(KernelError):
                daemon.settings.adopt(setting)
                adopted.append(setting_shape(setting))
            yield None
        if not adopted:
            raise answered("NoSuch", f"{printable(tunable)} in a namespace that lives")
        yield {"tunables": adopted}
