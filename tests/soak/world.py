"""The world that the daemon lives in, and what happens in it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from tests.soak.bout import Bout
from tests.soak.counted import EVENTS_PER_READ, SOURCE, WARD
from tests.soak.network import Server
from tests.soak.reader import READER
from tests.soak.wanted import Place, Wanted
from tests.system import churn
from tests.system.daemon import WMEM, Daemon

from bpftune.lab.errors import LabError
from bpftune.lab.namespaces import Namespace
from bpftune.lab.network import Lab

WARDS = 3
AT_ONCE = 5
CONNECTIONS = 10
STALLED_READS = 400
WORD = "net.ipv4.tcp_congestion_control"
RMEM = "net.ipv4.tcp_rmem"
NAMES = (WMEM, RMEM, "net.core.somaxconn", "net.ipv4.ip_local_port_range", WORD)


class World:
    """Namespaces and the traffic in them; use it with ``with``."""

    def __init__(self, run_dir: Path, fail: Callable[[str], None]) -> None:
        """Begin with nothing. A daemon is in *run_dir*; *fail* hears what is wrong."""
        self.run_dir = run_dir
        self.fail = fail
        self.daemon: Daemon | None = None
        self.wanted = Wanted()
        self.sent = 0
        self.wards: list[Namespace] = []
        self.bout: Bout | None = None
        self._churned = 0
        self._stack = ExitStack()

    def __enter__(self) -> World:
        with ExitStack() as stack:
            self.server = stack.enter_context(Server(stack.enter_context(Lab())))
            stack.callback(self.clear)
            for _ in range(WARDS):
                self._take_in()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def clear(self) -> None:
        """End all namespaces but those of the server."""
        self.end_bout()
        for ward in list(self.wards):
            self._end(ward)

    # --- namespaces --------------------------------------------------------------

    def namespaces(self) -> list[Namespace]:
        """Return those in which values are looked at."""
        return [*self.wards, *(self.bout.namespaces if self.bout else ())]

    def values(self) -> dict[Place, str]:
        """Return the values in force."""
        return {
            (netns.name, name): netns.sysctl(name)
            for netns in self.namespaces()
            for name in NAMES
        }

    def living(self) -> int:
        """Return how many namespaces there are, with those of the server."""
        return len(self.namespaces()) + 2

    def _take_in(self) -> None:
        ward = Namespace(WARD)
        self.wards.append(ward)
        ward.make()
        self._note(ward)

    def _note(self, netns: Namespace) -> None:
        self.wanted.found(netns.name, {name: netns.sysctl(name) for name in NAMES})

    def _end(self, netns: Namespace) -> None:
        self.wanted.ended(netns.name)
        if netns in self.wards:
            self.wards.remove(netns)
        netns.close()

    def renew(self) -> None:
        """Let the oldest ward end, and a new one take its place."""
        self._end(self.wards[0])
        self._take_in()

    def renew_all(self) -> None:
        """Let all wards end, and new ones take their places."""
        for ward in list(self.wards):
            self._end(ward)
            self._take_in()

    def end_bout(self) -> None:
        """End the bout, if there is one."""
        if self.bout is not None:
            bout, self.bout = self.bout, None
            for netns in bout.namespaces:
                self.wanted.ended(netns.name)
            bout.close()

    # --- what happens ------------------------------------------------------------

    def poke(self, reads: int) -> None:
        """Cause events in the wards, and with that changes."""
        for ward in self.wards:
            self.pour(ward, reads)

    def pour(self, netns: Namespace, reads: int) -> None:
        """Cause events in *netns*."""
        self._read(netns.inside, reads)
        self.sent += reads * EVENTS_PER_READ

    @staticmethod
    def _read(inside: Callable[[Callable[[], None]], None], reads: int) -> None:
        def read() -> None:
            Path("/proc/thread-self/comm").write_text(READER)
            with open("/proc/sys/" + SOURCE.replace(".", "/"), "rb", 0) as file:  # noqa: PTH123
                for _ in range(reads):
                    os.pread(file.fileno(), 64, 0)

        inside(read)

    def stall(self) -> None:
        """Cause more events than there is room for, while the daemon is stopped."""
        assert self.daemon is not None
        self.daemon.send(signal.SIGSTOP)
        try:
            self.pour(self.server.near, STALLED_READS)
        finally:
            self.daemon.send(signal.SIGCONT)

    def churn(self) -> None:
        """Let namespaces come, be met, cause events and go; others have no name."""
        names = range(self._churned, self._churned + AT_ONCE)
        self._churned += AT_ONCE
        same = churn.SYSCTL.read_text()
        churn.pass_by(AT_ONCE, same)
        try:
            churn.make(names)
            churn.set_in(names[:-1], same)
            churn.set_in(names[-1:], f"4096 16384 {100_000 + names[0]}")
            if self.daemon is not None:
                last = Namespace("churn")
                last.path = churn.churned(names[-1])
                self._read(last.inside, 1)
                self.sent += EVENTS_PER_READ
        finally:
            churn.unmake(names)

    def begin_bout(self, seed: int) -> None:
        """Begin a bout, unless there is one; it is ended when its time is over."""
        if self.bout is not None:
            return
        noted: list[str] = []

        def note(netns: Namespace) -> None:
            noted.append(netns.name)
            self._note(netns)
            # It was set when the daemon could have met the namespace already.
            self.wanted.admin_set(netns.name, WMEM, netns.sysctl(WMEM))

        try:
            self.bout = Bout(seed, note)
        except LabError:
            for name in noted:
                self.wanted.ended(name)
            raise
