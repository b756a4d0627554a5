"""Links between two namespaces: a plain veth pair, and an emulated path.

The emulated path is a pair of TUN devices with a process between them that
has a rate, a delay, a queue and losses. It needs neither netem nor any other
queueing discipline. Sizes are those of IP packets.
"""

from __future__ import annotations

import fcntl
import os
import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bpftune.lab.child import Child, Record
from bpftune.lab.errors import LabError, NotSupportedError
from bpftune.lab.queue import bandwidth_delay_bytes

if TYPE_CHECKING:
    from bpftune.lab.namespaces import Namespace

MTU_BYTES = 1500
TXQUEUELEN = 32_767
"""Packets that may wait for the emulator, which fetches them some thousand times a
second. It is as many as Linux 6.12.117 takes; 6.1 and 6.18 take more."""

TUN = "/dev/net/tun"
TUNSETIFF = 0x400454CA
TUNSETOFFLOAD = 0x400454D0
IFF_TUN = 0x0001
IFF_NO_PI = 0x1000
IFF_VNET_HDR = 0x4000
TUN_F_CSUM = 0x01
VNET_HEADER_BYTES = 10


@dataclass(frozen=True, slots=True)
class End:
    """One end of a link: namespace, device and addresses."""

    namespace: Namespace
    device: str
    ipv4: str
    ipv6: str

    def address(self, family: int) -> str:
        """Return the address of *family*, 4 or 6."""
        return self.ipv4 if family == 4 else self.ipv6


@dataclass(frozen=True, slots=True)
class PathSettings:
    """What an emulated path is like; both directions alike.

    *loss* is the share of packets lost at random in each direction. *queue_bytes*
    None is one bandwidth-delay product.
    """

    rate_bits_per_s: int
    rtt_ns: int
    queue_bytes: int | None = None
    loss: float = 0.0

    def as_record(self) -> Record:
        """Return what the emulator is told."""
        queue = self.queue_bytes
        if queue is None:
            queue = bandwidth_delay_bytes(self.rate_bits_per_s, self.rtt_ns)
            queue = max(queue, 2 * MTU_BYTES)
        return {
            "rate_bits_per_s": self.rate_bits_per_s,
            "rtt_ns": self.rtt_ns,
            "queue_bytes": queue,
            "loss": self.loss,
        }


class Link:
    """Two ends; the addresses' third number and /48 are the link's own."""

    def __init__(self, first: Namespace, second: Namespace, number: int) -> None:
        """Name the ends of link *number* of this laboratory."""
        if not 0 <= number < 250:
            raise LabError("a laboratory has at most 250 links")
        self.ends = tuple(
            End(
                namespace,
                f"link{number}",
                f"10.77.{number}.{host}",
                f"fd77:0:{number + 1:x}::{host}",
            )
            for host, namespace in ((1, first), (2, second))
        )

    @property
    def rtt_ns(self) -> int:
        """What a round trip takes at least, in ns; 0: no time worth telling."""
        return 0

    def _configure(self) -> None:
        for end in self.ends:
            end.namespace.ip(
                f"link set {end.device} txqueuelen {TXQUEUELEN} mtu {MTU_BYTES}",
                f"address add {end.ipv4}/24 dev {end.device}",
                f"address add {end.ipv6}/64 dev {end.device} nodad",
                f"link set {end.device} up",
            )

    def close(self) -> None:
        """End what carries the packets."""


@dataclass(frozen=True)
class Way:
    """A way over several links, from the first end of one to the last of another."""

    ends: tuple[End, End]


class VethLink(Link):
    """A veth pair: as fast as the machine, with no delay."""

    def __init__(self, first: Namespace, second: Namespace, number: int) -> None:
        """Make the pair and its addresses."""
        super().__init__(first, second, number)
        here, there = self.ends
        here.namespace.ip(
            f"link add {here.device} type veth peer name {there.device}"
            f" netns {there.namespace.name}"
        )
        for end in self.ends:
            end.namespace.ip(
                f"address add {end.ipv4}/24 dev {end.device}",
                f"address add {end.ipv6}/64 dev {end.device} nodad",
                f"link set {end.device} up",
            )


def open_tun(namespace: Namespace, device: str) -> int:
    """Make a TUN device inside *namespace*; it lives as long as the descriptor."""

    def make() -> int:
        try:
            tun = os.open(TUN, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise NotSupportedError(
                f"{TUN}: {error.strerror}: no emulated links; try modprobe tun"
            ) from error
        try:
            flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR
            request = struct.pack("16sH22x", device.encode(), flags)
            fcntl.ioctl(tun, TUNSETIFF, request)
            fcntl.ioctl(tun, TUNSETOFFLOAD, TUN_F_CSUM)
        except OSError:
            os.close(tun)
            raise
        return tun

    return namespace.inside(make)


class EmulatedLink(Link):
    """A path with a rate, a delay, a queue and losses."""

    def __init__(
        self,
        first: Namespace,
        second: Namespace,
        number: int,
        settings: PathSettings,
        seed: int = 0,
    ) -> None:
        """Make the devices, start the emulator and wait until it carries."""
        super().__init__(first, second, number)
        self.settings = settings
        tuns: list[int] = []
        try:
            tuns.extend(open_tun(end.namespace, end.device) for end in self.ends)
            self._configure()
            plan = {
                "tuns": tuns,
                "seed": seed,
                "tick_ns": min(400_000, max(100_000, settings.rtt_ns // 100)),
                "header_bytes": VNET_HEADER_BYTES,
                **settings.as_record(),
            }
            self.emulator = Child("emulator", plan, pass_fds=tuns)
        finally:
            for tun in tuns:
                os.close(tun)
        try:
            self.emulator.wait_for_kind("ready")
        except BaseException:
            self.emulator.stop()
            raise

    @property
    def rtt_ns(self) -> int:
        """What a round trip takes at least, in ns."""
        return self.settings.rtt_ns

    def change(self, **changes: float | None) -> None:
        """Change fields of ``PathSettings`` now, both directions alike.

        A queue that was not set by hand follows rate and RTT.
        """
        self.settings = replace(self.settings, **changes)  # type: ignore[arg-type]
        before = len(self.emulator.of_kind("changed"))
        self.emulator.order(self.settings.as_record())
        self.emulator.wait_for(
            lambda all_: sum(r["kind"] == "changed" for r in all_) > before
        )

    def close(self) -> None:
        """Stop the emulator; the devices go with it."""
        self.emulator.stop()

    def carried(self) -> list[Record]:
        """Return what became of the packets, there and back, after ``close``."""
        return self.emulator.of_kind("carried")
