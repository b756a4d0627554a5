"""The daemon: wait, decide, carry out, tell. The only wiring.

ring buffer, timers, looks at sockets, /run/netns
    --> event --> tuner.event_handler(event, facts) --> requests
            ^                                              |
            +--- follow-up events <--- carry, agenda <-----+
"""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING

from bpftune.agenda import MINUTE_S, Agenda, Looking
from bpftune.carry import Carrier
from bpftune.kernel.errors import KernelError
from bpftune.kernel.memory import memory_facts
from bpftune.kernel.netns import NetnsGoneError
from bpftune.kernel.sysctl import SysctlError
from bpftune.ledger import Ledger
from bpftune.looks import Looks
from bpftune.model import (
    Change,
    Event,
    Facts,
    Keep,
    Memory,
    Netns,
    NetnsCookie,
    NetnsGone,
    Recheck,
    Rejected,
    Request,
    Sampled,
    Survey,
    Tunable,
    Tuner,
    ValueChanged,
    Wake,
    Watch,
    Woken,
    Yield,
)
from bpftune.reconcile import Reconciler
from bpftune.records import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bpftune.ledger import Entry
    from bpftune.machine import Machine

ENDED_S = 1.0  # names come and go in numbers: then one look is for all of them
MOST_INSISTED = 100  # refusals of what a tuner asked for in answer to a refusal
SYSCTL = "sysctl"  # the tuner that decides what belongs to the admin


class Daemon:
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
    ) -> None:
        """Wire *tuners*, whose BPF parts *machine* has loaded, to their requests.

        With *only_netns*, a laboratory's daemon, namespaces whose name does not
        begin with it are none of its business.
        """
        self.machine = machine
        self.tuners = tuners
        self.tell = tell
        self.clock = clock
        self._only_netns = only_netns
        self.ledger = Ledger()
        self.agenda = Agenda()
        self.looks = Looks(machine.sockets, machine.namespaces)
        self.lost: Counter[str] = Counter()
        self.carrier = Carrier(
            self.ledger,
            machine.sysctls,
            tell,
            machine.namespaces.undo_prefix,
            observe=observe,
        )
        self.reconciler = Reconciler(self.ledger, machine.sysctls, machine.namespaces)
        self._insisted = 0
        self._pending: deque[tuple[Tuner, Event]] = deque()
        self._told_lost: Counter[str] = Counter()
        self._next_minute_s = clock() + MINUTE_S
        self._next_gone_s = inf
        self._memory = memory_facts()
        self._memory_s = clock()

    # --- the life of an event ------------------------------------------------

    def handle(self, tuner: Tuner, event: Event) -> None:
        """Let *tuner* decide on *event*, and on what follows from it."""
        self._pending.append((tuner, event))
        self._handle_pending()

    def _handle_pending(self) -> None:
        while self._pending:
            tuner, event = self._pending.popleft()
            if not isinstance(event, Rejected):
                self._insisted = 0
            if tuner in self.tuners and not self._is_outside(event.netns_cookie):
                self._handle_one(tuner, event)

    def _is_outside(self, cookie: NetnsCookie) -> bool:
        if not self._only_netns:
            return False
        netns = self.machine.namespaces.find(cookie)
        return netns is None or not (netns.name or "").startswith(self._only_netns)

    def _handle_one(self, tuner: Tuner, event: Event) -> None:
        cookie = event.netns_cookie
        try:
            facts = self._facts(tuner, cookie)
            if isinstance(facts, list):  # the admin came first; then again
                self._pending.appendleft((tuner, event))
                self._queue_changes(facts)
                return
            waiting = len(self._pending)
            requests = self._ask(tuner, tuner.event_handler, event, facts)
            self._carry_out_all(tuner, cookie, requests, facts)
            if isinstance(event, Rejected) and len(self._pending) > waiting:
                self._insisted += 1
            if self._insisted > MOST_INSISTED:
                self._switch_off(tuner, "it insists on what is refused")
        except NetnsGoneError:
            # Never applied to another namespace, least of all to the host's.
            self.lost["network namespace gone"] += 1
            self._forget(cookie)
        except KernelError as error:
            self.tell(Record("degraded", str(error), tuner.name))
        if isinstance(event, ValueChanged):  # the admin's, whatever was decided
            self._hand_over(Yield(event.tunable, "somebody set it"), cookie)

    def _facts(self, tuner: Tuner, cookie: NetnsCookie) -> Facts | list[ValueChanged]:
        """Read what is true now, or return what somebody else changed."""
        netns = self.machine.namespaces.find(cookie)
        if netns is None:
            raise NetnsGoneError(f"network namespace #{cookie} is gone")
        entries = [self._meet(tuner, cookie, tunable) for tunable in tuner.tunables]
        known = [entry for entry in entries if entry is not None]
        changed = [self.reconciler.compare(entry) for entry in known]
        if any(changed):
            return self._attributed([event for event in changed if event is not None])
        return Facts(
            netns=netns,
            now_s=self.clock(),
            values={entry.tunable: entry.expected for entry in known},
            found={entry.tunable: entry.found for entry in known},
            yielded=frozenset(entry.tunable for entry in known if entry.yielded),
            memory=self._memory_now(),
        )

    def _memory_now(self) -> Memory:
        """Read what memory there is, at most once a second: it costs 0.6 ms."""
        now_s = self.clock()
        if now_s - self._memory_s >= 1.0:
            self._memory, self._memory_s = memory_facts(), now_s
        return self._memory

    def _attributed(self, events: list[ValueChanged]) -> list[ValueChanged]:
        """Name who changed the values, where the hook saw it.

        It speaks before the write, so it may have spoken, but not been heard.
        """
        if events:
            for tuner, event in self.machine.loader.events():
                if tuner.name == SYSCTL and not self._is_outside(event.netns_cookie):
                    self._handle_one(tuner, event)
                else:
                    self._pending.append((tuner, event))
        named = []
        for event in events:
            seen = self.agenda.write_of(event.netns_cookie, event.tunable.name)
            if seen is not None:
                event = replace(event, uid=seen.uid, comm=seen.comm)  # noqa: PLW2901
            named.append(event)
        return named

    def _queue_changes(self, events: list[ValueChanged]) -> None:
        """Decide on what others changed before anything else."""
        sysctl = [tuner for tuner in self.tuners if tuner.name == SYSCTL]
        for event in reversed(events):
            if sysctl:
                self._pending.appendleft((sysctl[0], event))
            else:
                why = "somebody set it"
                self._hand_over(
                    Yield(event.tunable, why, event.old), event.netns_cookie
                )

    def _ask(
        self, tuner: Tuner, decide: Callable[..., Iterable[Request]], *about: object
    ) -> list[Request]:
        try:
            return list(decide(*about))
        except Exception as error:  # noqa: BLE001  a plugin may fail in any way
            self._switch_off(tuner, f"{type(error).__name__}: {error}")
            return []

    def _switch_off(self, tuner: Tuner, why: str) -> None:
        """Go on without a tuner that failed; its trials are taken back."""
        if tuner in self.tuners:
            self.tuners.remove(tuner)
        self.agenda.drop(tuner)
        self.carrier.settle(tuner.name, "its tuner failed")
        why = f"switched off, the other tuners go on: {why}"
        self.tell(Record("degraded", why, tuner.name))

    def _carry_out_all(
        self, tuner: Tuner, cookie: NetnsCookie, requests: list[Request], facts: Facts
    ) -> None:
        try:
            for request in requests:
                self._carry_out(tuner, cookie, request, facts)
        except KernelError:
            raise
        except Exception as error:  # noqa: BLE001  a plugin may ask for anything
            self._switch_off(tuner, f"{type(error).__name__}: {error}")

    def _carry_out(
        self, tuner: Tuner, cookie: NetnsCookie, request: Request, facts: Facts
    ) -> None:
        match request:
            case Watch():
                self.agenda.watch(tuner, cookie, request, facts.now_s)
            case Wake():
                self.agenda.wake(tuner, cookie, request, facts.now_s)
            case Recheck():
                self.agenda.recheck(cookie, request, facts.now_s)
            case Change():
                answer = self.carrier.change(request, facts)
                if answer is not None:
                    self._pending.append((tuner, answer))
            case Keep():
                self.carrier.keep(request, cookie)
            case Survey():
                self._survey(tuner, request, cookie)
            case Yield():
                self._hand_over(request, cookie)

    def _survey(self, tuner: Tuner, survey: Survey, cookie: NetnsCookie) -> None:
        """Run an iterator of the tuner's; what it finds comes as events."""
        namespaces, loader = self.machine.namespaces, self.machine.loader
        if not self.machine.works(tuner, survey.program):
            return
        cookies = [cookie]
        if survey.everywhere:
            cookies = [netns.cookie for netns in namespaces.everywhere()]
        for one in cookies:
            if self._is_outside(one):
                continue
            try:
                namespaces.inside(one, lambda: loader.iterate(tuner, survey.program))
            except NetnsGoneError:
                self.lost["network namespace gone"] += 1
            except KernelError as error:
                self.tell(Record("degraded", str(error), tuner.name))

    def _hand_over(self, request: Yield, cookie: NetnsCookie) -> None:
        entry = self.ledger.get(cookie, request.tunable)
        if entry is None:
            return
        try:
            now = self.machine.sysctls.read(cookie, request.tunable.name)
        except KernelError:
            now = entry.expected
        answer = self.carrier.hand_over(request, cookie, now)
        owner = [tuner for tuner in self.tuners if tuner.name == entry.tuner]
        if answer is not None and owner:
            self._pending.append((owner[0], answer))

    def _forget(self, cookie: NetnsCookie) -> None:
        """Drop all that is known of a namespace that ended."""
        self.agenda.forget(cookie)
        self.ledger.forget(cookie)
        self.machine.sysctls.forget(cookie)
        nothing = Facts(Netns(cookie), self.clock(), {}, {}, frozenset(), self._memory)
        gone = NetnsGone(cookie)
        for tuner in list(self.tuners):
            self._ask(tuner, tuner.event_handler, gone, nothing)

    # --- start, turns of the loop, stop --------------------------------------

    def start(self) -> None:
        """Respect what the admin's files set, then let the tuners begin."""
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

    def _meet(
        self, tuner: Tuner, cookie: NetnsCookie, tunable: Tunable
    ) -> Entry | None:
        """Return the entry of *tunable*; the admin's files speak for the host."""
        is_new = self.ledger.get(cookie, tunable) is None
        try:
            entry = self.reconciler.meet(tuner, cookie, tunable)
        except SysctlError as error:  # the tuner's other tunables go on
            self.tell(Record("degraded", str(error), tuner.name, tunable.name))
            return None
        setting = self.machine.admins_values.get(tunable.name)
        host = self.machine.namespaces.host.cookie
        if is_new and entry is not None and setting is not None and cookie == host:
            why = f"{setting.file} line {setting.line} sets it"
            self._hand_over(Yield(tunable, why), cookie)
        return entry

    def drain(self) -> None:
        """Handle all events that wait in the ring buffer."""
        for tuner, event in self.machine.loader.events():
            self.handle(tuner, event)

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
        due_s = self.agenda.next_s()
        return min(
            inf if due_s is None else due_s, self._next_minute_s, self._next_gone_s
        )

    def names_changed(self) -> None:
        """Look soon which namespaces ended: their names came or went."""
        self._next_gone_s = min(self._next_gone_s, self.clock() + ENDED_S)

    def _recheck(self, cookie: NetnsCookie, recheck: Recheck) -> None:
        try:
            changed = self.reconciler.after_write(self.tuners, cookie, recheck)
        except NetnsGoneError:
            self.agenda.settled(cookie, recheck.name)
            self.lost["network namespace gone"] += 1
            return
        except KernelError as error:
            self.tell(Record("degraded", str(error), SYSCTL))
            return
        self._handle_changes(changed)

    def _handle_changes(self, changed: list[ValueChanged]) -> None:
        self._queue_changes(changed)
        self._handle_pending()

    def _look(self, look: Looking, now_s: float) -> None:
        """Sample the senders that a watch asked for."""
        tuner, cookie, watch, left = look.tuner, look.cookie, look.watch, look.left
        try:
            seen = self.looks.take(look, now_s)
        except NetnsGoneError:
            self.lost["network namespace gone"] += 1
            self._forget(cookie)
            return
        except KernelError as error:
            self.tell(Record("degraded", str(error), tuner.name))
            again = replace(watch, every_s=max(1.0, watch.every_s), count=left + 1)
            self.agenda.watch(tuner, cookie, again, self.clock())
            return
        self.handle(tuner, Sampled(cookie, watch.prefix, seen, left))

    def _each_minute(self) -> None:
        self._forget_ended()
        self._handle_changes(self._attributed(self.reconciler.some()))
        self.tell_losses()

    def _forget_ended(self) -> None:
        self._next_gone_s = inf
        for cookie in self.machine.namespaces.gone():
            self._forget(cookie)

    def tell_losses(self) -> None:
        """Say what was lost since it was said last, by cause."""
        lost = Counter(self.lost)
        for causes in self.machine.loader.lost().values():
            lost.update(causes)
        new = lost - self._told_lost
        if new:
            why = ", ".join(f"{count} events: {cause}" for cause, count in new.items())
            self.tell(Record("lost", why, extra={"lost": dict(new)}))
        self._told_lost = lost

    def stop(self) -> None:
        """Take back what is on trial, keep the rest and say how to undo it."""
        self._handle_changes(self.reconciler.ours())
        self.carrier.settle(None, "stopped in mid-trial")
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
