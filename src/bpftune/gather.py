"""What a tuner is told before it decides: all that is true now, read once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bpftune.kernel.netns import NetnsGoneError
from bpftune.kernel.sysctl import SysctlError
from bpftune.model import (
    Facts,
    Memory,
    Netns,
    NetnsCookie,
    Tunable,
    Tuner,
    ValueChanged,
)
from bpftune.records import Record

if TYPE_CHECKING:
    from collections.abc import Callable

    from bpftune.entry import Entry
    from bpftune.learned import Learned
    from bpftune.ledger import Ledger
    from bpftune.machine import Machine
    from bpftune.reconcile import Reconciler
    from bpftune.settings import Settings

MEMORY_S = 1.0  # as old as this memory may be: to read it takes 0.6 ms


class Gatherer:
    """Reads the facts, and finds what somebody else changed on the way."""

    def __init__(
        self,
        machine: Machine,
        ledger: Ledger,
        learned: Learned,
        reconciler: Reconciler,
        settings: Settings,
        tell: Callable[[Record], None],
        leave_to_file: Callable[[NetnsCookie, Tunable, str], None],
        clock: Callable[[], float],
    ) -> None:
        """Gather from all of these; *leave_to_file* what a file of the admin's sets."""
        self._machine = machine
        self._ledger = ledger
        self._learned = learned
        self._reconciler = reconciler
        self._settings = settings
        self._tell = tell
        self._leave_to_file = leave_to_file
        self._clock = clock
        self._memory = machine.memory()
        self._memory_s = clock()

    def facts(self, tuner: Tuner, cookie: NetnsCookie) -> Facts | list[ValueChanged]:
        """Read what is true now, or return what somebody else changed.

        Raises NetnsGoneError, and KernelError where a value cannot be read.
        """
        netns = self._machine.namespaces.find(cookie)
        if netns is None:
            raise NetnsGoneError(f"network namespace #{cookie} is gone")
        entries = [self._meet(tuner, cookie, tunable) for tunable in tuner.tunables]
        known = [entry for entry in entries if entry is not None]
        changed = [self._reconciler.compare(entry) for entry in known]
        if any(changed):
            return [event for event in changed if event is not None]
        return Facts(
            netns=netns,
            now_s=self._clock(),
            values={entry.tunable: entry.expected for entry in known},
            found={entry.tunable: entry.found for entry in known},
            yielded=frozenset(entry.tunable for entry in known if entry.yielded),
            memory=self._memory_now(),
            learned=self._learned.known(netns),
            trials=self._ledger.trials(cookie),
            admins=self._settings.admins(tuner, netns),
        )

    def nothing(self, netns: Netns) -> Facts:
        """Return the facts about a namespace in which nothing can be read any more."""
        return Facts(netns, self._clock(), {}, {}, frozenset(), self._memory)

    def _memory_now(self) -> Memory:
        now_s = self._clock()
        if now_s - self._memory_s >= MEMORY_S:
            self._memory, self._memory_s = self._machine.memory(), now_s
        return self._memory

    def _meet(
        self, tuner: Tuner, cookie: NetnsCookie, tunable: Tunable
    ) -> Entry | None:
        """Return the entry of *tunable*; the admin's files speak for the host."""
        is_new = self._ledger.get(cookie, tunable) is None
        try:
            entry = self._reconciler.meet(tuner, cookie, tunable)
        except SysctlError as error:  # the tuner's other tunables go on
            self._tell(Record("degraded", str(error), tuner.name, tunable.name))
            return None
        setting = self._machine.admins_values.get(tunable.name)
        host = self._machine.namespaces.host.cookie
        if is_new and entry is not None and setting is not None and cookie == host:
            why = f"{setting.file} line {setting.line} sets it"
            self._leave_to_file(cookie, tunable, why)
        return entry
