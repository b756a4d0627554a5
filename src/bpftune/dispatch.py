"""The life of an event: facts, a tuner's decision, what follows from it.

    event --> facts --> tuner.event_handler(event, facts) --> requests
      ^                                                          |
      +------------- follow-up events <---- carry, agenda <------+

What somebody else changed is decided on before the event that met it.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from bpftune.agenda import Agenda
from bpftune.arrange import Arranger
from bpftune.carry import Carrier
from bpftune.gather import Gatherer
from bpftune.inbox import Inbox
from bpftune.kernel.errors import KernelError
from bpftune.kernel.netns import NetnsGoneError
from bpftune.learned import Learned
from bpftune.ledger import Ledger
from bpftune.model import (
    Event,
    Facts,
    Netns,
    NetnsCookie,
    NetnsGone,
    Rejected,
    Request,
    Tunable,
    Tuner,
    ValueChanged,
    Yield,
    Yielded,
)
from bpftune.perform import Performer
from bpftune.reconcile import Reconciler
from bpftune.records import Record
from bpftune.settings import Settings
from bpftune.tables import Tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bpftune.entry import Entry
    from bpftune.journal import Journal
    from bpftune.machine import Machine
    from bpftune.settings_file import SettingsFile

T = TypeVar("T")

MOST_INSISTED = 100  # refusals of what a tuner asked for in answer to a refusal
GONE = "network namespace gone"
SYSCTL = "sysctl"  # the tuner that decides what belongs to the admin


class Dispatcher:
    """Brings events to tuners, and what they ask for to those who do it."""

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
        serial: int = 0,
        learned: Learned | None = None,
        settings_file: SettingsFile | None = None,
    ) -> None:
        """Wire *tuners*, whose BPF parts *machine* has loaded, to their requests.

        With *only_netns*, a laboratory's daemon, namespaces whose name does not
        begin with it are none of its business. *journal* and *serial*: see
        ``Ledger``; *settings_file*: see ``Settings``.
        """
        self.machine = machine
        self.tuners = tuners
        self.tell = tell
        self.clock = clock
        self._only_netns = only_netns
        self.ledger = Ledger(journal, serial)
        self.learned = learned if learned is not None else Learned(time.time())
        self.agenda = Agenda()
        self.lost: Counter[str] = Counter()
        self.inbox = Inbox(machine.loader, first=SYSCTL)
        self.off: dict[str, str] = {}  # tuners that failed, and why
        self.carrier = Carrier(
            self.ledger,
            machine.sysctls,
            tell,
            machine.namespaces.undo_prefix,
            observe=observe,
        )
        find = machine.namespaces.find
        self.tables = Tables(machine.loader, self.carrier.pauses, find, observe=observe)
        arranger = Arranger(
            machine, self.agenda, self.tables, tell, self._is_outside, self._unreachable
        )
        self._performer = Performer(
            self.ledger, self.learned, self.carrier, arranger, self._hand_over
        )
        self.reconciler = Reconciler(self.ledger, machine.sysctls, machine.namespaces)
        self.settings = Settings(
            machine,
            self.agenda,
            tell,
            self._is_outside,
            self._hear_writes,
            self._let_all_know,
            settings_file,
        )
        self._gatherer = Gatherer(
            machine,
            self.ledger,
            self.learned,
            self.reconciler,
            self.settings,
            tell,
            self._leave_to_file,
            clock,
        )
        self._insisted = 0
        self._pending: deque[tuple[Tuner, Event]] = deque()

    def handle(self, tuner: Tuner, event: Event) -> None:
        """Let *tuner* decide on *event*, and on what follows from it."""
        self._pending.append((tuner, event))
        self._handle_pending()

    def _handle_pending(self) -> None:
        while self._pending:
            tuner, event = self._pending.popleft()
            if not isinstance(event, Rejected):
                self._insisted = 0
            if tuner not in self.tuners:
                continue
            if not self._is_outside(event.netns_cookie):
                self._handle_one(tuner, event)
            elif self.machine.namespaces.find(event.netns_cookie) is None:
                self.lost[GONE] += 1  # nobody knows any more if it was inside

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
            self._unreachable(cookie)
        except KernelError as error:
            self.tell(Record("degraded", str(error), tuner.name))
        if isinstance(event, ValueChanged):  # the admin's, whatever was decided
            self._hand_over(Yield(event.tunable, "somebody set it"), cookie)

    def _facts(self, tuner: Tuner, cookie: NetnsCookie) -> Facts | list[ValueChanged]:
        """Read what is true now, or return what somebody else changed, and who."""
        found = self._gatherer.facts(tuner, cookie)
        return self._attributed(found) if isinstance(found, list) else found

    def _hear_writes(self) -> None:
        """Hear what the hook on writes has said by now, before other events.

        It speaks before the write, so it may have spoken, but not been heard.
        """
        for tuner, event in self.inbox.take_first():
            if not self._is_outside(event.netns_cookie):
                self._handle_one(tuner, event)
            else:
                self._pending.append((tuner, event))

    def _attributed(self, events: list[ValueChanged]) -> list[ValueChanged]:
        """Name who changed the values, where the hook saw it."""
        if events:
            self._hear_writes()
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

    def _handle_changes(self, changed: list[ValueChanged]) -> None:
        self._queue_changes(changed)
        self._handle_pending()

    def _ask(
        self, tuner: Tuner, decide: Callable[..., Iterable[T]], *about: object
    ) -> list[T]:
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
        self.tables.clear(tuner)
        self.carrier.settle(tuner.name, "its tuner failed")
        self.off[tuner.name] = why
        why = f"switched off, the other tuners go on: {why}"
        self.tell(Record("degraded", why, tuner.name))

    def _carry_out_all(
        self, tuner: Tuner, cookie: NetnsCookie, requests: list[Request], facts: Facts
    ) -> None:
        try:
            for request in requests:
                answers = self._performer.do(tuner, cookie, request, facts)
                self._pending.extend((tuner, answer) for answer in answers)
        except KernelError:
            raise
        except Exception as error:  # noqa: BLE001  a plugin may ask for anything
            self._switch_off(tuner, f"{type(error).__name__}: {error}")

    def _hand_over(
        self, request: Yield, cookie: NetnsCookie, *, by_file: bool = False
    ) -> None:
        entry = self.ledger.get(cookie, request.tunable)
        if entry is None:
            return
        try:
            now = self.machine.sysctls.read(cookie, request.tunable.name)
        except KernelError:
            now = entry.expected
        answer = self.carrier.hand_over(request, cookie, now, by_file=by_file)
        if answer is not None:
            self._let_know(entry, answer)

    def _leave_to_file(self, cookie: NetnsCookie, tunable: Tunable, why: str) -> None:
        self._hand_over(Yield(tunable, why), cookie, by_file=True)

    def _let_know(self, entry: Entry, event: Event) -> None:
        """Queue *event* for the tuner of *entry*."""
        owner = [tuner for tuner in self.tuners if tuner.name == entry.tuner]
        if owner:
            self._pending.append((owner[0], event))

    def _let_all_know(self, event: Yielded) -> None:
        """Queue *event* for the tuners that go by a setting, as the next one."""
        for tuner in self.tuners:
            if event.tunable.name in tuner.settings:
                self._pending.appendleft((tuner, event))

    def _unreachable(self, cookie: NetnsCookie) -> None:
        """Count an event that came too late, and forget its namespace if it ended."""
        self.lost[GONE] += 1
        if self.machine.namespaces.has_ended(cookie):
            self._forget(cookie)

    def _forget(self, cookie: NetnsCookie) -> None:
        """Drop all that is known of a namespace that ended."""
        self.agenda.forget(cookie)
        self.tables.forget(cookie)
        self.ledger.forget(cookie)
        self.settings.forget(cookie)
        self.machine.sysctls.forget(cookie)
        nothing = self._gatherer.nothing(Netns(cookie))
        gone = NetnsGone(cookie)
        for tuner in list(self.tuners):
            self._ask(tuner, tuner.event_handler, gone, nothing)
