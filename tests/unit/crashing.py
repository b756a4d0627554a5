"""A kernel that outlives daemons, and fails or kills them at any one call.

``bpftune.kernel.sysctl`` and ``bpftune.journal`` make their system calls through
the module ``os``. Here it is a counter in between: sysctls are a dictionary that
takes the numbers of a value one by one, as the kernel does, and the journal is a
real file.
"""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest

import bpftune.journal
import bpftune.kernel.sysctl
from bpftune.daemon import Daemon
from bpftune.kernel.errors import KernelError
from bpftune.kernel.sysctl import Sysctls, dotted_name
from bpftune.ledger import Entry
from bpftune.model import Change, Event, Facts, Keep, Netns, Request, Tuner, Value
from bpftune.rollback import Selection
from tests.unit.fakes import (
    BLUE,
    FOUND,
    HOST,
    MIB,
    RED,
    TCP_RMEM,
    TCP_WMEM,
    FakeMachine,
    FakeNamespaces,
    FakeSysctls,
    wmem,
)

T = TypeVar("T")

TUNABLES = (TCP_WMEM, TCP_RMEM)
EVERYWHERE = (HOST, RED, BLUE)
WHOLE: Value = (8192, 32768, 6 * MIB)  # all three numbers differ from FOUND's


class KillNow(BaseException):
    """The daemon is gone, as by SIGKILL."""


@dataclass(frozen=True)
class Blow:
    """What happens at system call number *at*: an *errno*, or a kill (0).

    *after*: the call has done all its work, else, if it writes, a part of it.
    """

    at: int
    errno: int = 0
    after: bool = False

    def strike(self) -> None:
        """Fail or kill."""
        if self.errno:
            raise OSError(self.errno, os.strerror(self.errno))
        raise KillNow


@dataclass
class Kernel:
    """Sysctls, and the count of all calls; *blow* comes once."""

    namespaces: FakeNamespaces
    blow: Blow | None = None
    calls: int = 0
    values: dict[tuple[int, str], list[int]] = field(default_factory=dict)
    open_files: dict[int, tuple[int, str]] = field(default_factory=dict)

    def call(self, whole: Callable[[], T], part: Callable[[], object]) -> T:
        """Do *whole* of a call, unless it is the one that the blow hits."""
        self.calls += 1
        if self.blow is None or self.calls != self.blow.at:
            return whole()
        if self.blow.after and not self.blow.errno:
            whole()
        else:
            part()
        self.blow.strike()
        raise AssertionError

    def value(self, cookie: int, name: str) -> list[int]:
        return self.values.setdefault((cookie, name), list(FOUND))

    def set_by_admin(self, netns: Netns, name: str, value: Value) -> None:
        self.values[netns.cookie, name] = list(value)


class SysctlOs:
    """``os`` as ``kernel.sysctl`` sees it."""

    O_RDWR, O_RDONLY, O_CLOEXEC = os.O_RDWR, os.O_RDONLY, os.O_CLOEXEC

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def open(self, path: str, flags: int) -> int:
        del flags
        kernel = self._kernel

        def whole() -> int:
            fd = 1000 + len(kernel.open_files)
            name = dotted_name(path.removeprefix("/proc/sys/"))
            kernel.open_files[fd] = kernel.namespaces.current, name
            return fd

        return kernel.call(whole, lambda: None)

    def close(self, fd: int) -> None:
        del fd

    def _check(self, fd: int) -> tuple[int, str]:
        cookie, name = self._kernel.open_files[fd]
        if cookie not in self._kernel.namespaces.there:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        return cookie, name

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        del size, offset

        def whole() -> bytes:
            value = self._kernel.value(*self._check(fd))
            return ("\t".join(map(str, value)) + "\n").encode()

        return self._kernel.call(whole, lambda: None)

    def pwrite(self, fd: int, data: bytes, offset: int) -> int:
        del offset
        numbers = list(map(int, data.split()))

        def write(count: int) -> int:
            value = self._kernel.value(*self._check(fd))
            value[:count] = numbers[:count]
            return len(data)

        return self._kernel.call(
            lambda: write(len(numbers)), lambda: write(len(numbers) - 1)
        )


class JournalOs:
    """``os`` as ``journal`` sees it: real files, counted."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._fds: set[int] = set()

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if not callable(real):
            return real

        def counted(*arguments: Any) -> Any:
            return self._kernel.call(lambda: real(*arguments), lambda: None)

        return counted

    def open(self, path: Path, flags: int, mode: int) -> int:
        def whole() -> int:
            fd = os.open(path, flags, mode)
            self._fds.add(fd)
            return fd

        return self._kernel.call(whole, lambda: None)

    def close(self, fd: int) -> None:
        self._fds.discard(fd)
        os.close(fd)

    def close_all(self) -> None:
        """Close what the dead left open."""
        while self._fds:
            os.close(self._fds.pop())

    def write(self, fd: int, data: memoryview) -> int:
        half = data[: len(data) // 2]
        return self._kernel.call(lambda: os.write(fd, data), lambda: os.write(fd, half))


@contextmanager
def calls_to(kernel: Kernel) -> Iterator[None]:
    """Let the program make its calls to *kernel*."""
    journal_os = JournalOs(kernel)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bpftune.kernel.sysctl, "os", SysctlOs(kernel))
        patch.setattr(bpftune.journal, "os", journal_os)
        try:
            yield
        finally:
            journal_os.close_all()


class Namespaces(FakeNamespaces):
    """Namespaces that can be failed, too."""

    kernel: Kernel

    def everywhere(self) -> list[Netns]:
        try:
            return self.kernel.call(super().everywhere, lambda: None)
        except OSError as error:
            raise KernelError(str(error)) from error


# --- a daemon that changes much ------------------------------------------------


@dataclass(frozen=True, slots=True)
class Do(Event):
    """Have the puppet ask for this."""

    requests: tuple[Request, ...]


class Puppet(Tuner):
    """Asks for what it is told to."""

    def __init__(self) -> None:
        super().__init__("puppet", "do as told", TUNABLES, (Do,))

    def event_handler(self, event: Event, facts: Facts) -> tuple[Request, ...]:
        del facts
        return event.requests if isinstance(event, Do) else ()


class Story:
    """A machine, the daemons on it one after another, and the admin.

    The same *seed* tells the same story, until something fails. Or hypothesis
    chooses, with a Random of its own.
    """

    def __init__(self, seed: int | random.Random, journal: Path) -> None:
        self.random = seed if isinstance(seed, random.Random) else random.Random(seed)
        self.journal = journal
        self.machine = FakeMachine()
        namespaces = Namespaces(*EVERYWHERE[1:])
        self.kernel = namespaces.kernel = Kernel(namespaces)
        self.machine.namespaces = namespaces
        self.truth: dict[tuple[int, str], Value] = {}
        self._admins = 0

    def daemon(self) -> Daemon:
        """Start a daemon on what is there."""
        sysctls = Sysctls(cast("Any", self.machine.namespaces))
        self.machine.sysctls = cast("FakeSysctls", sysctls)
        self.puppet = Puppet()
        self.started = self.machine.daemon(self.puppet, journal=self.journal)
        self.started.start()
        return self.started

    def tell(self, steps: int) -> None:
        """Let a daemon live through so many random events."""
        daemon = self.daemon()
        for _ in range(steps):
            daemon = self._step(daemon)

    def _step(self, daemon: Daemon) -> Daemon:
        netns = self.random.choice(EVERYWHERE)
        tunable = self.random.choice(TUNABLES)
        what = self.random.choices(
            ["raise", "whole", "keep", "down", "admin", "minute", "restart"],
            [8, 2, 5, 4, 0.4, 1, 0.7],
        )[0]
        entry = daemon.ledger.get(netns.cookie, tunable)
        expected = entry.expected if entry else FOUND
        if what == "restart":
            daemon.stop()
            return self.daemon()
        if what == "minute":
            self.machine.let_pass(daemon, 60)
            return daemon
        if what == "admin":
            self.admin_sets(netns, tunable.name)
            return daemon
        self.machine.clock.now_s += 61
        request: Request = Keep(tunable, "it paid", proved=True)
        if what == "raise":
            value = (*expected[:2], min(2 * expected[2], 512 * MIB))
            request = Change(tunable, value, "it is short", trial="somewhere")
        elif what == "whole":
            value = tuple(map(max, WHOLE, expected))
            request = Change(tunable, value, "all of it", trial="somewhere")
        elif what == "down":
            value = entry.settled if entry else FOUND
            kind = self.random.choice(["taken_back", "shrunk"])
            if kind == "shrunk":
                value = entry.found if entry else FOUND
            request = Change(tunable, value, "did not pay", record=kind)
        daemon.handle(self.puppet, Do(netns.cookie, (request,)))
        return daemon

    def admin_sets(self, netns: Netns, name: str) -> None:
        """Have the admin set a value that nobody else ever sets."""
        self._admins += 1
        value = (4097, 16385, 5 * MIB + self._admins)
        self.kernel.set_by_admin(netns, name, value)
        self.truth[netns.cookie, name] = value

    def roll_back_all(self) -> None:
        """Start a daemon on what is there and have it undo everything."""
        self.daemon().rollback(Selection())

    def is_restored(self) -> bool:
        """Tell whether all is as it was found, or as the admin set it last."""
        return not self.differing()

    def differing(self) -> dict[tuple[int, str], tuple[Value, Value]]:
        """Return what is there and what should be, where they differ."""
        return {
            place: (tuple(now), self.truth.get(place, FOUND))
            for place, now in self.kernel.values.items()
            if tuple(now) != self.truth.get(place, FOUND)
        }

    def in_force(self) -> list[Entry]:
        """Return what is ours, as the last daemon saw it."""
        return self.started.ledger.in_force()


__all__ = ["BLUE", "HOST", "RED", "Blow", "Kernel", "KillNow", "Story", "wmem"]
