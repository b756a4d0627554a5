"""The machine as the daemon sees it: everything of ``kernel/``, opened once.

The order matters: the program that tells who we are comes first, since the
hook on sysctl writes must know our own; tuners come last, one after another,
and what one of them lacks costs the others nothing.
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bpftune.kernel.cgroup import cgroup2_root
from bpftune.kernel.errors import (
    KernelError,
    NotPermittedError,
    UnsupportedError,
)
from bpftune.kernel.loader import Loader
from bpftune.kernel.memory import memory_facts
from bpftune.kernel.netns import Namespaces
from bpftune.kernel.setns import cookie_here
from bpftune.kernel.sock_diag import buffers_in_use
from bpftune.kernel.sockets import LOST_MARKS, LOST_NUDGE, Sockets
from bpftune.kernel.sysctl import Sysctls
from bpftune.kernel.sysctl_files import read_files
from bpftune.kernel.tick import tick_ns
from bpftune.kernel.verdict import Verdict
from bpftune.model import Event, Memory, Tuner
from bpftune.tuners.sysctl import hook_key

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

HOST_OBJECT = Path(__file__).parent / "kernel" / "host.bpf.o"
_WATCHED = "tunables"  # the map of sysctl names in an object that wants them


@dataclass(frozen=True, slots=True)
class SelfTest(Event):
    """The ring buffer works; we are *tgid* in the first pid namespace."""

    tgid: int


class Machine:
    """Kernel mechanism with the tuners' BPF parts loaded and attached."""

    def __init__(self, admins_root: Path = Path("/")) -> None:
        """Open what every tuner needs.

        Raises KernelError if BPF cannot be used at all, or no event gets
        through the ring buffer.
        """
        with ExitStack() as stack:
            self.cgroup_fd = -1
            self.problems: list[str] = []
            try:
                self.cgroup_fd = os.open(cgroup2_root(), os.O_RDONLY | os.O_DIRECTORY)
                stack.callback(os.close, self.cgroup_fd)
            except (KernelError, OSError) as error:
                self.problems.append(str(error))
            self.loader = stack.enter_context(Loader())
            self.own_tgid = self._test_ring()
            self.namespaces = Namespaces(self._list_tasks)
            stack.callback(self.namespaces.close)
            self.sysctls = Sysctls(self.namespaces)
            stack.callback(self.sysctls.close)
            self.in_use = buffers_in_use(self.namespaces)
            self.sockets = stack.enter_context(Sockets())
            if self.sockets.refused:
                self.problems.append(f"{self.sockets.refused}; {LOST_MARKS}")
            if self.sockets.nudge_refused:
                self.problems.append(f"{self.sockets.nudge_refused}; {LOST_NUDGE}")
            files = read_files(admins_root)
            self.admins_values = files.admins
            self.problems += map(str, files.problems)
            self.verdicts: dict[str, list[Verdict]] = {}
            self._stack = stack.pop_all()

    def _test_ring(self) -> int:
        """Send ourselves an event; return our number in it."""
        self._host = Tuner("host", "what the daemon itself asks the kernel")
        # Host processes are left out in BPF: most are.
        constants = {"host_cookie": cookie_here()}
        verdicts = self.loader.add(self._host, HOST_OBJECT, (SelfTest,), constants)
        if not any(verdict.works for verdict in verdicts):
            raise _unusable(verdicts[0].reason)
        self.loader.object(self._host).run("who_am_i")
        for _, event in self.loader.events():
            if isinstance(event, SelfTest):
                return event.tgid
        raise KernelError(
            "an event of our own did not come through the BPF ring buffer",
            "report this with the output of 'bpftune check --json'",
        )

    def _list_tasks(self) -> bytes:
        return self.loader.iterate(self._host, "list_netns")

    def __enter__(self) -> Machine:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Detach and unload everything."""
        self._stack.close()

    def memory(self) -> Memory:
        """Read what memory there is."""
        return memory_facts()

    def load(self, tuners: Iterable[Tuner]) -> list[Tuner]:
        """Load and attach the tuners' BPF parts; return those that can work.

        What goes wrong is kept in ``verdicts``, by the tuner's name.
        """
        tuners = list(tuners)
        names = [tunable.name for tuner in tuners for tunable in tuner.tunables]
        names += [name for tuner in tuners for name in tuner.settings]
        usable = []
        for tuner in tuners:
            if tuner.bpf_object is None:
                self.verdicts[tuner.name] = []
                usable.append(tuner)
                continue
            try:
                self.verdicts[tuner.name] = self.loader.add(
                    tuner,
                    tuner.bpf_object,
                    tuner.events,
                    {
                        "own_tgid": self.own_tgid,
                        "no_cgroup2": self.cgroup_fd < 0,
                        "tick_ns": tick_ns(),
                    },
                    self.cgroup_fd,
                )
                self._watch_sysctls(tuner, names)
            except KernelError as error:
                self.verdicts[tuner.name] = [
                    Verdict(tuner.bpf_object.name, works=False, reason=str(error))
                ]
                continue
            # Without its hooks the sysctl tuner still decides on what is re-read.
            if all(self.works(tuner, program) for program in tuner.needs):
                usable.append(tuner)
        return usable

    def _watch_sysctls(self, tuner: Tuner, names: list[str]) -> None:
        """Tell an object that has the map which sysctls matter to tuners."""
        if not any(verdict.works for verdict in self.verdicts[tuner.name]):
            return
        bpf = self.loader.object(tuner)
        if not bpf.has_map(_WATCHED):
            return
        for number, name in enumerate(dict.fromkeys(names)):
            try:
                bpf.update(_WATCHED, hook_key(name), number.to_bytes(4, sys.byteorder))
            except (KernelError, ValueError) as error:
                self.problems.append(
                    f"writes to {name} are noticed only when it is read again, "
                    f"within a minute: {error}"
                )

    def works(self, tuner: Tuner, program: str) -> bool:
        """Tell whether *program* of *tuner* could be loaded."""
        return any(
            verdict.works and verdict.program == program
            for verdict in self.verdicts.get(tuner.name, [])
        )


def _unusable(reason: str) -> KernelError:
    """Return what it means that not even our own programs can be loaded."""
    if "EPERM" in reason:
        return NotPermittedError(
            f"BPF programs may not be loaded: {reason}",
            "it takes root with CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN and "
            "CAP_SYS_ADMIN; in a container, those of the host",
        )
    return UnsupportedError(
        f"BPF programs cannot be loaded: {reason}",
        "run 'bpftune check' to see what is missing",
    )
