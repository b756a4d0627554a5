"""The congestion tuner's BPF program, attached, and its tables."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from bpftune.kernel.bpf_map import BpfMap
from bpftune.kernel.cgroup import cgroup2_root
from bpftune.kernel.loader import Loader
from bpftune.model import Event, NetnsCookie, Prefix, Tuner
from bpftune.tuners.congestion import maps
from bpftune.tuners.congestion.maps import (
    Assignment,
    BlockKey,
    FlowSums,
    PathKey,
    padded,
)
from bpftune.tuners.tcp_buffer import TcpBuffer

E = TypeVar("E", bound=Event)

SYSCTLS = Path("/proc/sys/net/ipv4")
DEADLINE_S = 10.0


def words(name: str) -> list[str]:
    return (SYSCTLS / name).read_text().split()


DEFAULT = words("tcp_congestion_control")[0]
AVAILABLE = words("tcp_available_congestion_control")
OTHER = next((one for one in AVAILABLE if one != DEFAULT), DEFAULT)
"""An algorithm that is not the default."""

PLAIN = Assignment(padded(OTHER), padded(DEFAULT), 1, 1, 0, 0, 0)


class Congested:
    """The program and what belongs to it."""

    def __init__(self, objects: Path, loader: Loader, cgroup: Path) -> None:
        self.loader = loader
        self.cgroup = cgroup
        self.tuner = Tuner("congestion", "applies what a test assigned")
        path = objects / "tuners" / "congestion" / "congestion.bpf.o"
        constants = {"tick_ns": tick_ns()}
        fd = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self.buffers = TcpBuffer()
            assert self.buffers.bpf_object is not None
            self.verdicts = loader.add(
                self.buffers, self.buffers.bpf_object, self.buffers.events, {}, fd
            )
            self.verdicts += loader.add(self.tuner, path, maps.EVENTS, constants, fd)
        finally:
            os.close(fd)
        bpf = loader.object(self.tuner)
        self.bpf = bpf
        table = {
            one.name: BpfMap[Any, Any](bpf, one.name, one.key, one.value)
            for one in maps.TABLES
        }
        self.assignments: BpfMap[PathKey, Assignment] = table["assignments"]
        self.sums: BpfMap[BlockKey, FlowSums] = table["sums"]
        self.strangers: BpfMap[BlockKey, FlowSums] = table["strangers"]
        self.broken: BpfMap[maps.BrokenKey, maps.Refusal] = table["broken"]

    def assign(
        self, cookie: NetnsCookie, prefix: Prefix, **fields: Any
    ) -> Assignment:
        made = replace(PLAIN, **fields)
        self.assignments.put(PathKey(cookie, prefix), made)
        return made

    def told(self, kind: type[E], cookie: NetnsCookie) -> list[E]:
        """Return the events of a kind since the last time."""
        return [
            event
            for _, event in self.loader.events()
            if isinstance(event, kind) and event.netns_cookie == cookie
        ]

    def wait_told(self, kind: type[E], cookie: NetnsCookie) -> list[E]:
        events: list[E] = []
        end_s = time.monotonic() + DEADLINE_S
        while not events:
            left_s = end_s - time.monotonic()
            assert left_s > 0, f"no {kind.__name__}"
            select.select([self.loader.fd], [], [], left_s)
            events += self.told(kind, cookie)
        return events

    def wait_sums(
        self,
        wanted: Callable[[dict[BlockKey, FlowSums]], bool],
        of: BpfMap[BlockKey, FlowSums] | None = None,
    ) -> dict[BlockKey, FlowSums]:
        """Return all sums as soon as they are as *wanted*; each key once."""
        found: dict[BlockKey, FlowSums] = {}
        end_s = time.monotonic() + DEADLINE_S
        while not wanted(found):
            assert time.monotonic() < end_s, found
            for key, value in (of or self.sums).take():
                found[key] = added(found.get(key), value)
            time.sleep(0.002)
        return found


def added(one: FlowSums | None, other: FlowSums) -> FlowSums:
    """Return two sums of the same together."""
    if one is None:
        return other
    total = {
        name: getattr(one, name) + getattr(other, name)
        for name in FlowSums.__dataclass_fields__
        if name not in {"windows", "min_rtt_us"}
    }
    rtts = [rtt for rtt in (one.min_rtt_us, other.min_rtt_us) if rtt]
    windows = tuple(map(sum, zip(one.windows, other.windows, strict=True)))
    return FlowSums(**total, min_rtt_us=min(rtts, default=0), windows=windows)


def tick_ns() -> int:
    """Return how long a jiffy is: CLOCK_MONOTONIC_COARSE has that grain."""
    return round(time.clock_getres(6) * 1e9)


@contextmanager
def congested(objects: Path, cgroup: Path | None = None) -> Iterator[Congested]:
    with Loader() as loader:
        yield Congested(objects, loader, cgroup or cgroup2_root())
