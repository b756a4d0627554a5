"""A host with synthetic paths, whose congestion tuner is the real one.

The kernel's part is played: new flows of ``congestion_world`` get what the tuner's
table says, and are summed up by destination, run and size as BPF does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from bpftune.model import (
    Drop,
    Event,
    Facts,
    Memory,
    Netns,
    NetnsCookie,
    Prefix,
    Put,
    ReadText,
    Request,
    Table,
    Take,
    Taken,
    Tell,
    TextRead,
    Wake,
    Woken,
)
from bpftune.policy.reward import SizeClass, Sums
from bpftune.tuners.congestion import Congestion
from bpftune.tuners.congestion.maps import (
    ASSIGNMENTS,
    BROKEN,
    STRANGERS,
    SUMS,
    Assignment,
    FlowSums,
    PathKey,
    SumsBegun,
    SumsKey,
    TransfersSeen,
    text,
)
from bpftune.tuners.congestion.offer import ALLOWED, AVAILABLE, DEFAULT
from tests.unit.policy.congestion_world import CUBIC, Flow, Path, Users, World

COOKIE = NetnsCookie(4026531840)
HOST = Netns(COOKIE, "host")
MEMORY = Memory(1 << 34, 1 << 33, 0, 1 << 30)
TOLD_EVERY_S = 10.0


def row_of(sums: Sums, *, small_bytes: int = 0, device: int = 2) -> FlowSums:
    """Return what BPF would have added up."""
    return FlowSums(
        bytes_acked=sums.bytes_acked,
        busy_us=sums.busy_us,
        srtt_us_bytes=sums.srtt_us_bytes,
        life_us=sums.busy_us,
        small_bytes=small_bytes,
        early_segments=sums.early_segments,
        early_retransmitted=sums.early_retransmitted,
        late_segments=sums.late_segments,
        late_retransmitted=sums.late_retransmitted,
        ce_marked=0,
        flows=sums.flows,
        ended=sums.flows,
        ecn_flows=0,
        min_rtt_us=sums.min_rtt_us,
        device=device,
        windows=(0,) * 8,
    )


@dataclass
class Line:
    """A destination: flows to it ask the table, and are summed up."""

    host: Host
    prefix: Prefix
    device: int
    off_s: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def arm(self) -> tuple[str, int]:
        row = self.host.row(self.prefix)
        if row is None or text(row.found) != self.host.texts[DEFAULT]:
            return self.host.texts[DEFAULT], 0
        return text(row.arm) or self.host.texts[DEFAULT], row.run

    def look(
        self,
        now_s: float,  # noqa: ARG002 - the world's
        sums: Mapping[int, Mapping[SizeClass, Sums]],
    ) -> None:
        self.off_s[self.arm()[0]] += 1
        for run, of_run in sums.items():
            for size, one in of_run.items():
                self.host.sum_up(self.prefix, run, size, one, self.device)

    def closed(self, flow: Flow) -> None:
        pass


class Host:
    """One network namespace."""

    def __init__(self, tuner: Congestion | None = None, netns: Netns = HOST) -> None:
        self.tuner = tuner or Congestion()
        self.netns = netns
        self.now_s = 1000.0
        self.texts = {DEFAULT: CUBIC, AVAILABLE: "reno cubic bbr", ALLOWED: "reno"}
        self.trials: frozenset[str] = frozenset()
        self.admins: dict[str, str] = {}
        self.tables: dict[str, dict[object, object]] = defaultdict(dict)
        self.wakes: dict[str, float] = {}
        self.told: list[tuple[float, Tell]] = []
        self.puts = self.woken = 0
        self.worlds: list[World] = []
        self.seen_s = -TOLD_EVERY_S
        self.begun_s = -1.0
        self.devices: dict[Prefix, int] = {}

    def facts(self) -> Facts:
        return Facts(
            self.netns,
            self.now_s,
            {},
            {},
            frozenset(),
            MEMORY,
            trials=self.trials,
            admins=self.admins,
        )

    def begin(self) -> None:
        self.do(self.tuner.init(self.facts()))

    def add(
        self,
        number: int,
        path: Path,
        users: Iterable[Users],
        *,
        device: int = 2,
        seed: int = 1,
        changes: Iterable[tuple[float, Path]] = (),
    ) -> tuple[Line, World]:
        """Have *users* send to destination *number* over *path*."""
        line = Line(self, prefix(number), device)
        world = World(path, users, line, seed=seed, changes=changes)
        self.worlds.append(world)
        return line, world

    def row(self, to: Prefix) -> Assignment | None:
        row = self.tables[ASSIGNMENTS.name].get(PathKey(self.netns.cookie, to))
        assert row is None or isinstance(row, Assignment)
        return row

    def sum_up(
        self, to: Prefix, run: int, size: SizeClass, sums: Sums, device: int
    ) -> None:
        table = SUMS if run else STRANGERS
        rows = self.tables[table.name]
        key = SumsKey(self.netns.cookie, to, run, int(size))
        before = rows.get(key)
        total = sums
        if isinstance(before, Sums):
            total = before + sums
        rows[key] = total
        self.devices[to] = device
        if run and before is None and self.now_s - self.begun_s >= 0.5:
            self.begun_s = self.now_s
            self.hear(SumsBegun(self.netns.cookie, to))
        if not run and self.now_s - self.seen_s >= TOLD_EVERY_S:
            self.seen_s = self.now_s
            self.hear(TransfersSeen(self.netns.cookie, to, sums.bytes_acked))

    def hear(self, event: Event) -> None:
        self.do(self.tuner.event_handler(event, self.facts()))

    def do(self, requests: Iterable[Request]) -> None:
        """Do what the tuner asks for, as the daemon would."""
        answers: list[Event] = []
        for request in requests:
            match request:
                case Put(table=table, key=key, value=value):
                    assert key.netns_cookie == self.netns.cookie
                    self.tables[table.name][key] = value
                    self.puts += 1
                case Drop(table=table, key=key):
                    self.tables[table.name].pop(key, None)
                case Take(table=table):
                    answers += self.take(table)
                case ReadText():
                    answers.append(TextRead(self.netns.cookie, dict(self.texts)))
                case Wake(name=name, after_s=after_s):
                    self.wakes[name] = self.now_s + after_s
                case Tell():
                    self.told.append((self.now_s, request))
                case _:
                    raise AssertionError(request)
        for answer in answers:
            self.hear(answer)

    def take(self, table: Table) -> list[Event]:
        rows, self.tables[table.name] = self.tables[table.name], {}
        if not rows:
            return []
        taken = tuple(
            (key, row_of(sums, device=self.devices.get(key.prefix, 0)))
            for key, sums in rows.items()
            if isinstance(key, SumsKey) and isinstance(sums, Sums)
        )
        return [Taken(self.netns.cookie, table, taken)]

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            self.now_s += 1.0
            for world in self.worlds:
                world.run(world.now_s + 1.0)
            for name, due_s in list(self.wakes.items()):
                if due_s <= self.now_s:
                    del self.wakes[name]
                    self.woken += 1
                    self.hear(Woken(self.netns.cookie, name))

    def said(self, *kinds: str) -> list[str]:
        return [one.why for _, one in self.told if not kinds or one.record in kinds]

    def broken(self) -> list[object]:
        return list(self.tables[BROKEN.name])


def prefix(number: int) -> Prefix:
    """Return one of many destinations."""
    return Prefix.of(f"198.{18 + number // 256}.{number % 256}.0/24")
