"""A machine in memory: sysctls per namespace, sockets, events and a clock.

It keeps the promises that ``bpftune.kernel`` makes, and breaks when told to:
a namespace ends, a write is refused, a sampler fails.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from bpftune.daemon import Daemon
from bpftune.journal import Journal, replay
from bpftune.kernel.errors import KernelError
from bpftune.kernel.netns import NetnsGoneError
from bpftune.kernel.sysctl import SysctlError
from bpftune.kernel.sysctl_files import FileSetting
from bpftune.learned import Learned
from bpftune.model import (
    Event,
    Facts,
    Memory,
    Netns,
    NetnsCookie,
    Prefix,
    SocketSample,
    Tunable,
    Tuner,
    Value,
)
from bpftune.records import Record
from bpftune.settings_file import SettingsFile
from tests.unit.policy.world import World

if TYPE_CHECKING:
    from bpftune.machine import Machine

T = TypeVar("T")

MIB = 1 << 20
GIB = 1 << 30
TCP_WMEM = Tunable("net.ipv4.tcp_wmem")
TCP_RMEM = Tunable("net.ipv4.tcp_rmem")
FOUND: Value = (4096, 16384, 4 * MIB)
HOST = Netns(NetnsCookie(1), "host")
RED = Netns(NetnsCookie(2), "red")
BLUE = Netns(NetnsCookie(3), "blue")
MEMORY = Memory(64 * GIB, 32 * GIB, 0, 64 * GIB)


def wmem(largest: int) -> Value:
    """Return ``tcp_wmem`` with this maximum."""
    return (*FOUND[:2], largest)


def prefix(number: int) -> Prefix:
    """Return the destination 10.x.y.0/24 of that number."""
    address = bytes([10, number >> 8, number & 255, 0]) + bytes(12)
    return Prefix(socket.AF_INET, 24, address)


def facts(
    value: Value = FOUND,
    *,
    now_s: float = 1000.0,
    netns: Netns = HOST,
    found: Value = FOUND,
    yielded: Iterable[Tunable] = (),
    memory: Memory = MEMORY,
) -> Facts:
    """Return what is true where ``tcp_wmem`` has *value*."""
    return Facts(
        netns,
        now_s,
        {TCP_WMEM: value},
        {TCP_WMEM: found},
        frozenset(yielded),
        memory,
    )


@dataclass
class Clock:
    """Time passes when it is told to."""

    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s


class FakeNamespaces:
    """Namespaces that exist until they are ended."""

    def __init__(self, *there: Netns) -> None:
        self.host = HOST
        self.there = {netns.cookie: netns for netns in (HOST, *there)}
        self.ended: list[NetnsCookie] = []
        self.current = HOST.cookie
        self.entered: list[NetnsCookie] = []
        self.fd = -1

    def add(self, netns: Netns) -> None:
        self.there[netns.cookie] = netns

    def end(self, netns: Netns) -> None:
        del self.there[netns.cookie]
        self.ended.append(netns.cookie)

    def find(self, cookie: NetnsCookie) -> Netns | None:
        return self.there.get(cookie)

    def has_ended(self, cookie: NetnsCookie) -> bool:
        return cookie not in self.there

    def check(self, cookie: NetnsCookie) -> None:
        if cookie not in self.there:
            raise NetnsGoneError(f"network namespace #{cookie} ended")

    def everywhere(self) -> list[Netns]:
        return list(self.there.values())

    def inside(self, cookie: NetnsCookie, do: Callable[[], T]) -> T:
        self.check(cookie)
        self.entered.append(cookie)
        self.current, before = cookie, self.current
        try:
            return do()
        finally:
            self.current = before

    def gone(self) -> list[NetnsCookie]:
        ended, self.ended = self.ended, []
        return ended

    def noticed(self) -> bool:
        return False

    def undo_prefix(self, cookie: NetnsCookie) -> str:
        if cookie == HOST.cookie:
            return ""
        netns = self.there.get(cookie)
        return f"ip netns exec {netns.name} " if netns else f"# {cookie} is gone: "


class FakeSysctls:
    """Sysctls per namespace; ``tcp_wmem`` is in each unless it is taken out."""

    def __init__(self, namespaces: FakeNamespaces) -> None:
        self.namespaces = namespaces
        self.values: dict[tuple[NetnsCookie, str], Value] = {}
        self.missing: set[tuple[NetnsCookie, str]] = set()
        self.writes: list[tuple[NetnsCookie, str, Value]] = []
        self.refusing: KernelError | None = None
        self.unreadable: KernelError | None = None
        self.before_write: Callable[[], None] | None = None
        self.forgotten: list[NetnsCookie] = []
        self.texts: dict[tuple[NetnsCookie, str], str] = {}

    def exists(self, cookie: NetnsCookie, name: str) -> bool:
        self.namespaces.check(cookie)
        return (cookie, name) not in self.missing

    def read(self, cookie: NetnsCookie, name: str) -> Value:
        self.namespaces.check(cookie)
        if self.unreadable is not None:
            raise self.unreadable
        if (cookie, name) in self.missing:
            raise SysctlError(f"{name} cannot be opened: No such file or directory", 2)
        return self.values.get((cookie, name), FOUND)

    def read_text(self, cookie: NetnsCookie, name: str) -> str:
        self.namespaces.check(cookie)
        if (cookie, name) not in self.texts:
            raise SysctlError(f"{name} cannot be opened: No such file or directory", 2)
        return self.texts[cookie, name]

    def write(
        self,
        cookie: NetnsCookie,
        name: str,
        value: Value,
        expected: Value | None = None,
    ) -> Value:
        if self.before_write is not None:
            before_write, self.before_write = self.before_write, None
            before_write()
        self.namespaces.check(cookie)
        if self.refusing is not None:
            raise self.refusing
        if expected not in (None, self.read(cookie, name)):
            raise SysctlError(f"somebody set {name} meanwhile")
        self.writes.append((cookie, name, value))
        self.values[cookie, name] = value
        return value

    def forget(self, cookie: NetnsCookie) -> None:
        self.forgotten.append(cookie)

    def by_admin(self, netns: Netns, value: Value, name: str = TCP_WMEM.name) -> None:
        """Set *value* as anybody but the daemon would."""
        self.values[netns.cookie, name] = value

    def say(self, netns: Netns, name: str, text: str) -> None:
        """Set a sysctl that is words, as anybody but the daemon would."""
        self.texts[netns.cookie, name] = text

    def largest(self, netns: Netns) -> int:
        """Return the maximum of ``tcp_wmem`` as it is now."""
        return self.values.get((netns.cookie, TCP_WMEM.name), FOUND)[2]


class FakeMap:
    """A BPF map in a dict; one of an object that is gone fails."""

    def __init__(self, bpf: FakeObject, name: str, key: type, value: type) -> None:
        del key, value
        self.rows: dict[Any, Any] = bpf.setdefault(name, {})
        self.evicted = 0

    def put(self, key: Any, value: Any) -> None:
        self.rows[key] = value

    def remove(self, key: Any) -> None:
        if None in self.rows:
            raise KernelError("it is gone")
        self.rows.pop(key, None)

    def take(self) -> list[tuple[Any, Any]]:
        found = list(self.rows.items())
        self.rows.clear()
        return found


FakeObject = dict[str, dict[Any, Any]]
"""The rows of a BPF object's maps, by the map's name."""


class FakeLoader:
    """Events wait here until they are drained."""

    def __init__(self) -> None:
        self.waiting: deque[tuple[Tuner, Event]] = deque()
        self.sent: list[tuple[Tuner, Event]] = []
        self.losses: dict[str, dict[str, int]] = {}
        self.iterated: list[tuple[str, str, NetnsCookie]] = []
        self.namespaces: FakeNamespaces | None = None
        self.broken: dict[NetnsCookie, KernelError] = {}
        self.objects: dict[str, FakeObject] = {}
        self.fd = -1

    def object(self, tuner: Tuner) -> FakeObject:
        return self.objects.setdefault(tuner.name, {})

    def queue(self, tuner: Tuner, *events: Event) -> None:
        self.waiting.extend((tuner, event) for event in events)

    def take(self, most: int) -> list[bytes]:
        records = []
        for _ in range(min(most, len(self.waiting))):
            records.append(str(len(self.sent)).encode())
            self.sent.append(self.waiting.popleft())
        return records

    def tuner_of(self, record: bytes) -> Tuner:
        return self.sent[int(record)][0]

    def decode(self, record: bytes) -> tuple[Tuner, Event]:
        return self.sent[int(record)]

    def lost(self) -> dict[str, dict[str, int]]:
        return self.losses

    def maps(self) -> dict[str, tuple[int | None, int]]:
        return {"events": (None, 4096), "scripted.seen": (3, 1024)}

    def iterate(self, tuner: Tuner, program: str) -> bytes:
        cookie = self.namespaces.current if self.namespaces else HOST.cookie
        if cookie in self.broken:
            raise self.broken[cookie]
        self.iterated.append((tuner.name, program, cookie))
        return b""


@dataclass
class FakeSockets:
    """Senders of synthetic worlds, under the limit that is in force."""

    clock: Clock
    namespaces: FakeNamespaces
    sysctls: FakeSysctls
    worlds: dict[tuple[NetnsCookie, Prefix], World] = field(default_factory=dict)
    failing: KernelError | None = None
    can_mark: bool = True
    refused: str = ""
    marked: bool = False
    bear_marks: set[tuple[NetnsCookie, Prefix]] = field(default_factory=set)
    searches: int = 0
    nudges: list[tuple[NetnsCookie, Prefix, int]] = field(default_factory=list)

    def sample(
        self,
        wanted: Prefix | None = None,
        buffer_bytes: int = 0,
        *,
        receivers: bool = False,
        mark: bool = False,
    ) -> tuple[SocketSample, ...]:
        self.searches += 1
        here = self.namespaces.current
        found = {(c, to) for c, to in self.worlds if c == here and wanted in (None, to)}
        self.marked = mark and self.can_mark
        if self.marked:
            self.bear_marks |= found
        return self._look_at(found, buffer_bytes, receivers)

    def again(
        self,
        cookie: NetnsCookie,
        wanted: Prefix | None = None,
        buffer_bytes: int = 0,
        *,
        receivers: bool = False,
    ) -> tuple[SocketSample, ...]:
        known = {
            (c, to) for c, to in self.bear_marks if c == cookie and wanted in (None, to)
        }
        return self._look_at(known, buffer_bytes, receivers)

    def unmark(self) -> int:
        if self.failing is not None:
            raise self.failing
        count = len(self.bear_marks)
        self.bear_marks.clear()
        return count

    def _look_at(
        self,
        places: set[tuple[NetnsCookie, Prefix]],
        buffer_bytes: int,
        receivers: bool,
    ) -> tuple[SocketSample, ...]:
        if self.failing is not None:
            raise self.failing
        seen: list[SocketSample] = []
        for place, world in self.worlds.items():
            if place in places and world.receivers == receivers:
                name = TCP_RMEM.name if receivers else TCP_WMEM.name
                world.limit = self.sysctls.read(place[0], name)[2]
                seen += world.look(self.clock.now_s - world.now_s)
        return tuple(
            one for one in seen if world_buffer(one, receivers) >= buffer_bytes
        )

    def nudge(self, wanted: Prefix, buffer_bytes: int) -> int:
        self.nudges.append((self.namespaces.current, wanted, buffer_bytes))
        return 1


def world_buffer(sample: SocketSample, receivers: bool) -> int:
    """Return the size of the buffer of that side."""
    return sample.rcvbuf_bytes if receivers else sample.sndbuf_bytes


class FakeMachine:
    """All that the daemon knows of a machine."""

    def __init__(self, *namespaces: Netns) -> None:
        self.clock = Clock()
        self.namespaces = FakeNamespaces(*namespaces)
        self.sysctls = FakeSysctls(self.namespaces)
        self.loader = FakeLoader()
        self.loader.namespaces = self.namespaces
        self.sockets = FakeSockets(self.clock, self.namespaces, self.sysctls)
        self.admins_values: dict[str, FileSetting] = {}
        self.verdicts: dict[str, list[object]] = {}
        self.problems: list[str] = []
        self.records: list[Record] = []
        self.buffers: dict[tuple[NetnsCookie, str], int | None] = {}

    def memory(self) -> Memory:
        return MEMORY

    def works(self, tuner: Tuner, program: str) -> bool:
        del tuner, program
        return True

    def in_use(self, netns: Netns, tunable: Tunable) -> int | None:
        self.namespaces.check(netns.cookie)
        return self.buffers.get((netns.cookie, tunable.name), 0)

    def set_in_file(self, tunable: Tunable, value: str, file: str, line: int) -> None:
        """Let a line of the admin's sysctl files set *tunable*."""
        setting = FileSetting(tunable.name, value, Path(file), line)
        self.admins_values[tunable.name] = setting

    def daemon(
        self,
        *tuners: Tuner,
        observe: bool = False,
        only_netns: str = "",
        journal: Path | None = None,
        boot: str = "boot",
        learned: Learned | None = None,
        learned_path: Path | None = None,
        state_dir: Path | None = None,
    ) -> Daemon:
        """Return a daemon on this machine; its records go to ``records``.

        With *journal* it goes on from there, as ``run`` would.
        """
        return Daemon(
            cast("Machine", self),
            list(tuners),
            self.records.append,
            observe=observe,
            only_netns=only_netns,
            clock=self.clock,
            journal=Journal(journal, boot) if journal else None,
            earlier=replay(journal, boot) if journal else None,
            learned=learned,
            learned_path=learned_path,
            state_dir=state_dir,
            settings_file=(
                SettingsFile(journal.with_name("settings"), boot) if journal else None
            ),
        )

    def kinds(self) -> list[str]:
        """Return what kinds of records were told."""
        return [record.record for record in self.records]

    def told(self, kind: str) -> list[Record]:
        """Return the records of one kind."""
        return [record for record in self.records if record.record == kind]

    def let_pass(self, daemon: Daemon, seconds: float) -> None:
        """Let the daemon do for *seconds* whatever becomes due."""
        end_s = self.clock.now_s + seconds
        while True:
            due_s = daemon.turn()
            if due_s > end_s:
                self.clock.now_s = end_s
                return
            self.clock.now_s = max(self.clock.now_s, due_s)


def evidence_of(record: Record) -> Mapping[str, object]:
    """Return the evidence in *record*."""
    return cast("Mapping[str, object]", record.extra["evidence"])
