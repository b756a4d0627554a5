"""Do, or put on the agenda, what tuners ask for and what changes no tunable."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from bpftune.kernel.errors import KernelError
from bpftune.kernel.netns import NetnsGoneError
from bpftune.kernel.sysctl import SysctlError
from bpftune.kinds import KINDS
from bpftune.model import (
    Drop,
    Event,
    NetnsCookie,
    Nudge,
    Put,
    ReadText,
    Recheck,
    Request,
    Survey,
    Take,
    Tell,
    TextRead,
    Tuner,
    Wake,
    Watch,
)
from bpftune.records import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bpftune.agenda import Agenda
    from bpftune.machine import Machine
    from bpftune.tables import Tables


_IN_FORCE = frozenset({"tries", "chosen"})  # these say what connections get


class Arranger:
    """Looks, timers, iterators and tables, for all tuners."""

    def __init__(
        self,
        machine: Machine,
        agenda: Agenda,
        tables: Tables,
        tell: Callable[[Record], None],
        is_outside: Callable[[NetnsCookie], bool],
        unreachable: Callable[[NetnsCookie], None],
    ) -> None:
        """Act through *machine*, later by *agenda*; *tell* what cannot be done.

        Namespaces that are *is_outside* are left alone; of one that cannot be
        entered any more *unreachable* is told.
        """
        self._machine = machine
        self._agenda = agenda
        self._tables = tables
        self._tell = tell
        self._is_outside = is_outside
        self._unreachable = unreachable

    def do(
        self, tuner: Tuner, cookie: NetnsCookie, request: Request, now_s: float
    ) -> Iterable[Event]:
        """Do what *tuner* asks for; return what it is to hear at once.

        Raises NetnsGoneError if the namespace of a request is gone.
        """
        match request:
            case Watch():
                self._agenda.watch(tuner, cookie, request, now_s)
            case Wake():
                self._agenda.wake(tuner, cookie, request, now_s)
            case Recheck():
                self._agenda.recheck(cookie, request, now_s)
            case Nudge():
                self._nudge(tuner, request, cookie)
            case Survey():
                self._survey(tuner, request, cookie)
            case Put() | Drop() | Take():
                return self._tables.do(tuner, cookie, request)
            case Tell():
                self._tell_of(tuner, cookie, request)
            case ReadText():
                return [self._read_text(request, cookie)]
        return ()

    def _tell_of(self, tuner: Tuner, cookie: NetnsCookie, told: Tell) -> None:
        """Tell of a decision, and whether connections go by it now."""
        if told.record not in KINDS:
            raise ValueError(f"there are no records of the kind {told.record!r}")
        netns = self._machine.namespaces.find(cookie)
        if netns is None:
            raise NetnsGoneError(f"network namespace #{cookie} is gone")
        facts: dict[str, object] = {"destination": str(told.destination)}
        why, undo = told.why, None
        if told.record in _IN_FORCE:
            why_not = self._tables.why_not(tuner, cookie)
            facts["in_force"] = not why_not
            if why_not:
                why = f"{why} (not in force: {why_not})"
            elif told.record == "chosen":
                undo = f"bpftune pause {tuner.name}"
        facts["evidence"] = told.evidence
        self._tell(
            Record(told.record, why, tuner.name, netns=netns, undo=undo, extra=facts)
        )

    def _read_text(self, request: ReadText, cookie: NetnsCookie) -> TextRead:
        sysctls, texts = self._machine.sysctls, {}
        for name in request.names:
            with suppress(SysctlError):
                texts[name] = sysctls.read_text(cookie, name)
        return TextRead(cookie, texts)

    def _nudge(self, tuner: Tuner, nudge: Nudge, cookie: NetnsCookie) -> None:
        """Let live receivers notice what is on trial."""
        sockets = self._machine.sockets
        try:
            self._machine.namespaces.inside(
                cookie, lambda: sockets.nudge(nudge.prefix, nudge.buffer_bytes)
            )
        except NetnsGoneError:
            raise
        except KernelError as error:  # new connections will tell if it pays
            self._tell(Record("degraded", str(error), tuner.name))

    def _survey(self, tuner: Tuner, survey: Survey, cookie: NetnsCookie) -> None:
        """Run an iterator of the tuner's; what it finds comes as events."""
        namespaces, loader = self._machine.namespaces, self._machine.loader
        if not self._machine.works(tuner, survey.program):
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
                self._unreachable(one)
            except KernelError as error:
                self._tell(Record("degraded", str(error), tuner.name))
