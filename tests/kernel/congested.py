"""The congestion tuner's BPF program, attached, and its tables."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from bpftune.kernel.bpf_map import BpfMap
from bpftune.kernel.cgroup import cgroup2_root
from bpftune.kernel.loader import Loader
from bpftune.kernel.tick import tick_ns
from bpftune.kernel.verdict import Verdict
from bpftune.model import Event, NetnsCookie, Prefix
from bpftune.tuners.congestion import maps, tuner
from bpftune.tuners.congestion.maps import (
    Assignment,
    FlowSums,
    PathKey,
    SumsKey,
    padded,
    text,
)
from bpftune.tuners.tcp_buffer import TcpBuffer
from tests.kernel.senders import Namespace, tcp_info
from tests.pace import patient

E = TypeVar("E", bound=Event)

SYSCTLS = Path("/proc/sys/net/ipv4")
DEADLINE_S = patient(10)


def words(name: str) -> list[str]:
    return (SYSCTLS / name).read_text().split()


DEFAULT = words("tcp_congestion_control")[0]
AVAILABLE = words("tcp_available_congestion_control")
OTHER = next((one for one in AVAILABLE if one != DEFAULT), DEFAULT)
"""An algorithm that is not the default."""

PLAIN = Assignment(padded(OTHER), padded(DEFAULT), 1, 0, 0, 0)


class Congested:
    """The program and what belongs to it."""

    def __init__(
        self,
        objects: Path,
        loader: Loader,
        cgroup: Path,
        constants: Mapping[str, int],
        *,
        alone: bool,
    ) -> None:
        self.loader = loader
        self.cgroup = cgroup
        assert tuner.bpf_object is not None
        assert tuner.bpf_object.is_relative_to(objects)
        # Else nothing would be done, as all is near here.
        constants = {"tick_ns": tick_ns(), "least_rtt_us": 0, **constants}
        fd = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self.verdicts: list[Verdict] = []
            if not alone:
                buffers = TcpBuffer()
                assert buffers.bpf_object is not None
                self.verdicts += loader.add(
                    buffers, buffers.bpf_object, buffers.events, {}, fd
                )
            self.verdicts += loader.add(
                tuner, tuner.bpf_object, tuner.events, constants, fd
            )
        finally:
            os.close(fd)
        assert all(one.works for one in self.verdicts[-2:]), self.verdicts
        bpf = loader.object(tuner)
        self.bpf = bpf
        table = {
            one.name: BpfMap[Any, Any](bpf, one.name, one.key, one.value)
            for one in maps.TABLES
        }
        self.assignments: BpfMap[PathKey, Assignment] = table["assignments"]
        self.sums: BpfMap[SumsKey, FlowSums] = table["sums"]
        self.strangers: BpfMap[SumsKey, FlowSums] = table["strangers"]
        self.broken: BpfMap[maps.BrokenKey, maps.Refusal] = table["broken"]

    def assign(self, cookie: NetnsCookie, prefix: Prefix, **fields: Any) -> Assignment:
        made = replace(PLAIN, **fields)
        self.assignments.put(PathKey(cookie, prefix), made)
        return made

    def runs(self) -> tuple[int, int]:
        """Return how often all programs of this process ran, and for how many ns."""
        infos = fd_infos("run_cnt")
        return (
            sum(int(one["run_cnt"]) for one in infos),
            sum(int(one["run_time_ns"]) for one in infos),
        )

    def memory_bytes(self) -> int:
        """Return what all maps of this process take."""
        return sum(int(one["memlock"]) for one in fd_infos("map_type"))

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
        wanted: Callable[[dict[SumsKey, FlowSums]], bool],
        of: BpfMap[SumsKey, FlowSums] | None = None,
    ) -> dict[SumsKey, FlowSums]:
        """Return all sums as soon as they are as *wanted*; each key once."""
        found: dict[SumsKey, FlowSums] = {}
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
        if name not in {"windows", "min_rtt_us", "device"}
    }
    rtts = [rtt for rtt in (one.min_rtt_us, other.min_rtt_us) if rtt]
    windows = tuple(map(sum, zip(one.windows, other.windows, strict=True)))
    return FlowSums(
        **total,
        min_rtt_us=min(rtts, default=0),
        device=other.device or one.device,
        windows=windows,
    )


def fd_infos(field: str) -> list[dict[str, str]]:
    """Return what the kernel tells of this process's files with a *field*.

    One for each program (``run_cnt``) or map (``map_type``).
    """
    found: dict[str, dict[str, str]] = {}
    for path in Path("/proc/self/fdinfo").iterdir():
        try:
            lines = path.read_text().splitlines()
        except OSError:
            continue
        info = {
            name: value.strip()
            for name, _, value in (line.partition(":") for line in lines)
        }
        if field in info:
            found[info.get("prog_id") or info["map_id"]] = info
    return list(found.values())


@contextmanager
def congested(
    objects: Path,
    cgroup: Path | None = None,
    *,
    alone: bool = False,
    **constants: int,
) -> Iterator[Congested]:
    """Load it after tcp_buffer's program, as the daemon does, or *alone*."""
    with Loader() as loader:
        yield Congested(
            objects, loader, cgroup or cgroup2_root(), constants, alone=alone
        )


# --- what connections use ----------------------------------------------------


def algorithm(one: socket.socket) -> str:
    return text(one.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16))


def both(netns: Namespace, address: str, family: int = 0) -> tuple[str, str]:
    """Return what both ends of a new connection to *address* use."""
    with netns.connection(address, family) as (client, server):
        return algorithm(client), algorithm(server)


def windows(netns: Namespace, address: str) -> tuple[int, int]:
    """Return what windows both ends of a new connection to *address* begin with."""
    with netns.connection(address) as (client, server):
        return tcp_info(client).cwnd, tcp_info(server).cwnd


@contextmanager
def route_of(netns: Namespace, address: str, *words: str) -> Iterator[None]:
    """Give the route to one of the namespace's own addresses attributes."""
    ip = ["ip", "-n", netns.name, "-6" if ":" in address else "-4", "route"]
    route = ["table", "local", "local", address, "dev", "lo"]

    def put(*words: str) -> None:
        # IPv6's own has a metric that is not ours to give: it would stay beside ours.
        subprocess.run([*ip, "del", *route], check=True)
        subprocess.run([*ip, "add", *route, *words], check=True)

    put(*words)
    try:
        yield
    finally:
        put()
