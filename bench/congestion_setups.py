"""Which programs are there, and what they are to do, in ``bench.congestion_cost``."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from bpftune.kernel.bpf_map import BpfMap
from bpftune.kernel.cgroup import cgroup2_root
from bpftune.kernel.tick import tick_ns
from bpftune.model import NetnsCookie, Prefix
from bpftune.tuners.congestion import tuner as congestion
from bpftune.tuners.congestion.maps import ASSIGNMENTS, Assignment, PathKey, padded
from bpftune.tuners.tcp_buffer import tuner as tcp_buffer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bpftune.kernel.bpf import BpfObject
    from bpftune.kernel.loader import Loader
    from bpftune.lab.link import Link
    from bpftune.model import Tuner

FOUND, ARM = "reno", "cubic"


class Setup(NamedTuple):
    """Which programs are there, and what is decided for the destination."""

    name: str
    tuners: tuple[Tuner, ...] = (tcp_buffer, congestion)
    decided: Assignment | None = None
    by_route: str = ""
    """The algorithm that the routes give."""
    is_near: bool = False
    """The path is as short as it is: the tuner leaves its connections alone."""


NONE = Setup("no programs", ())
NONE_ARM = Setup(f"{ARM} by route", (), by_route=ARM)
BUFFER = Setup("tcp_buffer only", (tcp_buffer,))
BUFFER_ARM = Setup(f"tcp_buffer, {ARM} by route", (tcp_buffer,), by_route=ARM)
ON_TRIAL = Assignment(padded(ARM), padded(FOUND), 1, 1, 0, 0)
SETUPS = (
    NONE,
    BUFFER,
    Setup("near, nothing decided", is_near=True),
    Setup("near, on trial", decided=ON_TRIAL, is_near=True),
    Setup("nothing decided"),
    Setup("default stays", decided=Assignment(bytes(16), padded(FOUND), 1, 0, 0, 0)),
    NONE_ARM,
    BUFFER_ARM,
    Setup("settled", decided=Assignment(padded(ARM), padded(FOUND), 1, 0, 0, 0)),
    Setup("on trial", decided=ON_TRIAL),
)


def compared_with(setup: Setup) -> tuple[Setup, ...]:
    """Return those without the tuner to compare with: what is sent is sent alike."""
    if congestion not in setup.tuners:
        return {BUFFER: (NONE,), BUFFER_ARM: (NONE_ARM,)}.get(setup, ())
    is_another = setup.decided and setup.decided.arm.strip(b"\0") and not setup.is_near
    return (NONE_ARM, BUFFER_ARM) if is_another else (NONE, BUFFER)


@contextmanager
def own_cgroup() -> Iterator[int]:
    """Move this process to a control group of its own; give its descriptor."""
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    found = next(one[3:] for one in lines if one.startswith("0::"))
    root = cgroup2_root()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # it goes even so
    group = root / f"bpftune-bench-{os.getpid()}"
    group.mkdir()
    try:
        (group / "cgroup.procs").write_text("0")
        try:
            fd = os.open(group, os.O_RDONLY | os.O_DIRECTORY)
            try:
                yield fd
            finally:
                os.close(fd)
        finally:
            (root / found.lstrip("/") / "cgroup.procs").write_text("0")
    finally:
        group.rmdir()


class Programs:
    """The programs of some tuners, loaded, which come and go."""

    def __init__(self, loader: Loader, setup: Setup, fd: int) -> None:
        """Load those of *setup*; those for control groups for the one open at *fd*."""
        self._fd = fd
        self._attached: list[tuple[BpfObject, str, str]] = []
        tuners = setup.tuners
        for tuner in tuners:
            path, constants = tuner.bpf_object, {"tick_ns": tick_ns()}
            if tuner is congestion and not setup.is_near:
                constants["least_rtt_us"] = 0
            if path is None:
                raise SystemExit(f"{tuner.name} has no programs")
            for one in loader.add(tuner, path, tuner.events, constants, fd):
                if not one.works:
                    raise SystemExit(f"the kernel refused {one}")
            opened = loader.object(tuner)
            for name, section in opened.programs:
                # Of sockops, the first calls the others.
                chained = section == "sockops" and tuner is not tuners[0]
                if not chained and not section.startswith("iter/"):
                    self._attached.append((opened, name, section))
        if congestion in tuners:
            self._table = BpfMap[PathKey, Assignment](
                loader.object(congestion), ASSIGNMENTS.name, PathKey, Assignment
            )

    def detach(self) -> None:
        """Detach them; loading attached them."""
        for opened, name, _ in self._attached:
            opened.detach(name)

    def attach(self) -> None:
        """Attach them again."""
        for opened, name, section in self._attached:
            opened.attach(name, self._fd if section == "sockops" else -1)

    def decide(self, decided: Assignment | None, link: Link) -> None:
        """Have this in force for what goes over *link*, both ways, or nothing."""
        address = socket.inet_aton(link.ends[0].ipv4)[:3].ljust(16, b"\0")
        for end in link.ends:
            cookie = NetnsCookie(end.namespace.cookie)
            key = PathKey(cookie, Prefix(socket.AF_INET, 24, address))
            if decided:
                self._table.put(key, decided)
            else:
                self._table.remove(key)


Loaded: TypeAlias = "dict[tuple[tuple[Tuner, ...], bool], Programs]"


def key_of(setup: Setup) -> tuple[tuple[Tuner, ...], bool]:
    """Return what setups have in common that can do with the same programs."""
    return setup.tuners, setup.is_near


def give_routes(link: Link, algorithm: str) -> None:
    """Have the route over *link* choose an algorithm, both ways, or none."""
    for end in link.ends:
        network = end.ipv4.rpartition(".")[0] + ".0/24"
        chosen = f"congctl {algorithm}" if algorithm else ""
        end.namespace.ip(
            f"route replace {network} dev {end.device} proto kernel scope link"
            f" src {end.ipv4} {chosen}"
        )


@contextmanager
def in_force(setup: Setup, loaded: Loaded, link: Link) -> Iterator[None]:
    """Attach the programs of *setup*, with what it has decided."""
    give_routes(link, setup.by_route)
    programs = loaded.get(key_of(setup))
    if programs:
        programs.attach()
    try:
        if programs and setup.decided:
            programs.decide(setup.decided, link)
        yield
        if programs and setup.decided:
            programs.decide(None, link)
    finally:
        if programs:
            programs.detach()
