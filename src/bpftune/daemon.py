"""The daemon: wait, look, let the dispatcher decide, stop in good order.

ring buffer, timers, looks at sockets, /run/netns --> events --> Dispatcher
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING

from bpftune import learned_file
from bpftune.adoption import Adoption
from bpftune.agenda import MINUTE_S, Looking
from bpftune.dispatch import SYSCTL, Dispatcher
from bpftune.journal import Replayed
from bpftune.kernel.errors import KernelError
from bpftune.kernel.netns import NetnsGoneError
from bpftune.kernel.process import give_memory_back
from bpftune.kernel.sockets import LOST_MARKS
from bpftune.looks import Looks
from bpftune.memories import Memories
from bpftune.model import (
    NetnsCookie,
    Recheck,
    Sampled,
    Survey,
    Tuner,
    Woken,
    Yielded,
)
from bpftune.records import Record
from bpftune.rollback import SET, Selection, Step, roll_back
from bpftune.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bpftune.journal import Journal
    from bpftune.learned import Learned
    from bpftune.machine import Machine
    from bpftune.settings_file import SettingsFile

DRAIN_S = 0.02  # so long at most a turn decides on events; others want an answer
ENDED_S = 1.0  # names come and go in numbers: then one look is for all of them


class Daemon(Dispatcher):
    """One run of the daemon on one machine."""

    def __init__(
        self,
        machine: Machine,
        tuners: list[Tuner],
        tell: Callable[[Record], None],
        *,
        observe: bool = False,
        only_netns: str = "",
        clock: Callable[[], float] = time.monotonic,
        journal: Journal | None = None,
        earlier: Replayed | None = None,
        serial: int = 0,
        learned: Learned | None = None,
        learned_path: Path | None = None,
        state_dir: Path | None = None,
        settings_file: SettingsFile | None = None,
    ) -> None:
        """Go on from what *earlier* runs left; see ``Dispatcher`` for the rest.

        What is learned is saved to *learned_path*, if any, and what tuners know by
        themselves in *state_dir*.
        """
        self._earlier = earlier or Replayed()
        super().__init__(
            machine,
            tuners,
            tell,
            observe=observe,
            only_netns=only_netns,
            clock=clock,
            journal=journal,
            serial=max(serial, self._earlier.serial),
            learned=learned,
            settings_file=settings_file,
        )
        self._learned_path = learned_path
        self._memories = Memories(
            state_dir, tell, self._switch_off, clock=clock, observe=observe
        )
        self.looks = Looks(machine.sockets, machine.namespaces)
        self._told_lost: Counter[str] = Counter()
        self._next_minute_s = clock() + MINUTE_S
        self._next_gone_s = inf

    def start(self) -> None:
        """Adopt what is in force, respect the admin's files, begin with the tuners."""
        adoption = Adoption(self.machine, self.ledger, self.carrier, self.tell)
        adoption.adopt(self._earlier, self.tuners)
        self._earlier = Replayed()
        self.settings.restore()
        for tuner in list(self.tuners):
            self._memories.restore(tuner)
        for tuner in list(self.tuners):
            self._begin(tuner, self.machine.namespaces.host.cookie)
        self._handle_pending()
        self.drain()

    def _begin(self, tuner: Tuner, cookie: NetnsCookie) -> None:
        try:
            while isinstance(facts := self._facts(tuner, cookie), list):
                self._handle_changes(facts)
            requests = [
                request
                for request in self._ask(tuner, tuner.init, facts)
                if isinstance(request, Survey) or not self._is_outside(cookie)
            ]
            self._carry_out_all(tuner, cookie, requests, facts)
        except KernelError as error:
            self.tell(Record("degraded", str(error), tuner.name))

    def drain(self) -> None:
        """Handle the events that wait in the ring buffer, for a while."""
        end_s = self.clock() + DRAIN_S
        while self.clock() <= end_s:
            found = self.inbox.take()
            if found is None:
                return
            self.handle(*found)

    def turn(self) -> float:
        """Do all that is due; return the time of what is due next."""
        self.drain()
        now_s = self.clock()
        for wake in self.agenda.due_wakes(now_s):
            self.handle(wake.tuner, Woken(wake.cookie, wake.name))
        for one in self.agenda.due_rechecks(now_s):
            self._recheck(one.cookie, one.recheck)
        for look in self.agenda.due_looks(now_s):
            self._look(look, now_s)
        if not self.agenda.is_looking:
            self.looks.rest()
        if now_s >= self._next_minute_s:
            self._next_minute_s = (now_s // MINUTE_S + 1) * MINUTE_S
            self._each_minute()
        if now_s >= self._next_gone_s:
            self._forget_ended()
        if self.inbox:
            return now_s
        due_s = self.agenda.next_s()
        return min(
            inf if due_s is None else due_s, self._next_minute_s, self._next_gone_s
        )

    def names_changed(self) -> None:
        """Look soon which namespaces ended: their names came or went."""
        self._next_gone_s = min(self._next_gone_s, self.clock() + ENDED_S)

    def _recheck(self, cookie: NetnsCookie, recheck: Recheck) -> None:
        try:
            self.settings.after_write(self.tuners, cookie, recheck)
            changed = self.reconciler.after_write(self.tuners, cookie, recheck)
        except NetnsGoneError:
            self.agenda.settled(cookie, recheck.name)
            self._unreachable(cookie)
            return
        except KernelError as error:
            self.tell(Record("degraded", str(error), SYSCTL))
            return
        self._handle_changes(changed)

    def _look(self, look: Looking, now_s: float) -> None:
        """Sample the sockets that a watch asked for."""
        tuner, cookie, watch, left = look.tuner, look.cookie, look.watch, look.left
        try:
            seen = self.looks.take(look, now_s)
        except NetnsGoneError:
            self._unreachable(cookie)
            return
        except KernelError as error:
            self.tell(Record("degraded", str(error), tuner.name))
            again = replace(watch, every_s=max(1.0, watch.every_s), count=left + 1)
            self.agenda.watch(tuner, cookie, again, self.clock())
            return
        if lost := self.looks.lost():
            self.tell(Record("degraded", f"{lost}; {LOST_MARKS}"))
        self.handle(tuner, Sampled(cookie, watch.prefix, seen, left, watch.receivers))

    def _each_minute(self) -> None:
        self._forget_ended()
        self.settings.each_minute()
        self._handle_changes(self._attributed(self.reconciler.some()))
        self.carrier.settle_doubts()
        self.tell_losses()
        if self.ledger.trouble:
            self.tell(Record("degraded", self.ledger.trouble))
        self.save()
        give_memory_back()

    def save(self) -> None:
        """Save what was learned, and what tuners know, since it was saved last."""
        for tuner in list(self.tuners):
            self._memories.save(tuner)
        self.learned.age(time.time())
        if not self.learned.changed or self._learned_path is None:
            return
        try:
            learned_file.save(self.learned, self._learned_path)
        except OSError as error:
            why = f"what was learned cannot be saved: {error.strerror}"
            self.tell(Record("degraded", why))

    def _forget_ended(self) -> None:
        self._next_gone_s = inf
        for cookie in self.machine.namespaces.gone():
            self._forget(cookie)

    def losses(self) -> Counter[str]:
        """Return what was lost since the start, by cause."""
        lost = Counter(self.lost)
        for causes in self.machine.loader.lost().values():
            lost.update(causes)
        return lost

    def tell_losses(self) -> None:
        """Say what was lost since it was said last, by cause."""
        lost = self.losses()
        new = lost - self._told_lost
        if new:
            why = ", ".join(f"{count} events: {cause}" for cause, count in new.items())
            self.tell(Record("lost", why, extra={"lost": dict(new)}))
        self._told_lost = lost

    def review_tables(self) -> Counter[str]:
        """Let tables follow what is paused; return what moved, by the tuner's name.

        As the number of keys, which mostly are destinations.
        """
        before = self.tables.in_force()
        for name, why in self.tables.review().items():
            self.tell(Record("degraded", why, name))
        after = self.tables.in_force()
        return (before - after) | (after - before)

    def explain(self, destination: str) -> list[tuple[str, str]]:
        """Return what each tuner knows of *destination*: its name, and a sentence."""
        told = []
        for tuner in list(self.tuners):
            known = self._ask(tuner, tuner.explain, destination, self.clock())
            sentences = list(map(str, known))
            if sentences:
                sentences += self.tables.held(tuner)
            told += [(tuner.name, one_line(one)) for one in sentences]
        return told

    def rollback(self, selection: Selection, *, dry_run: bool = False) -> list[Step]:
        """Go back to the values found, and leave them so until they are adopted.

        A daemon that observes does it too: the admin asked for it.
        """
        steps = roll_back(
            self.ledger,
            selection,
            self.machine.sysctls,
            self.carrier,
            self.machine.in_use,
            dry_run=dry_run,
        )
        if dry_run:
            return steps
        for step in steps:
            entry = self.ledger.get(step.netns.cookie, step.tunable)
            if step.action == SET and entry is not None:
                self._let_know(entry, Yielded(step.netns.cookie, step.tunable))
        self._handle_pending()
        return steps

    def stop(self) -> None:
        """Take back what is on trial, keep the rest and say how to undo it."""
        self._handle_changes(self.reconciler.ours())
        self.carrier.settle(None, "stopped in mid-trial")
        self.save()
        for tuner in self.tuners:
            try:
                tuner.fini()
            except Exception as error:  # noqa: BLE001  a plugin may fail in any way
                self.tell(Record("degraded", f"fini: {error}", tuner.name))
        self.tell_losses()
        self.carrier.sum_up()
        count = len(self.ledger.in_force())
        what = "1 value stays" if count == 1 else f"{count} values stay"
        self.tell(Record("stopped", f"{what} in force"))
