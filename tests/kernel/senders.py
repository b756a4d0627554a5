"""Connections in throw-away namespaces, and what the sockets say of themselves."""

from __future__ import annotations

import ipaddress
import select
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bpftune.kernel.setns import call_in, cookie_here
from bpftune.model import Prefix, SocketSample
from tests.pace import patient

T = TypeVar("T")

V4, OTHER_V4 = "10.77.1.9", "10.77.2.9"
V6, OTHER_V6 = "fd77:1:1::9", "fd77:1:2::9"
PLENTY = 100_000
SO_COOKIE = 57
DEADLINE_S = patient(10)


@dataclass(frozen=True)
class TcpInfo:
    """The part of ``struct tcp_info`` that is compared."""

    ca_state: int
    snd_mss: int
    rtt_us: int
    cwnd: int
    total_retrans: int
    bytes_acked: int
    notsent_bytes: int
    min_rtt_us: int
    data_segs_out: int
    busy_us: int
    rwnd_limited_us: int
    sndbuf_limited_us: int


def tcp_info(one: socket.socket) -> TcpInfo:
    raw = one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)

    def u32(offset: int) -> int:
        return int(struct.unpack_from("=I", raw, offset)[0])

    (bytes_acked,) = struct.unpack_from("=Q", raw, 120)
    busy, rwnd, sndbuf = struct.unpack_from("=3Q", raw, 168)
    return TcpInfo(
        *(raw[1], u32(16), u32(68), u32(80), u32(100), bytes_acked),
        *(u32(144), u32(148), u32(156), busy, rwnd, sndbuf),
    )


def cookie_of(one: socket.socket) -> int:
    raw = one.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8)
    return int.from_bytes(raw, "little")


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.001)


class Namespace:
    """A throw-away network namespace with a loopback device."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._path = f"/run/netns/{name}"
        self._inum = Path(self._path).stat().st_ino
        self.cookie = self.call(cookie_here)

    def call(self, do: Callable[[], T]) -> T:
        return call_in(self._path, self._inum, do)

    @contextmanager
    def connection(
        self, address: str, family: int = 0
    ) -> Iterator[tuple[socket.socket, socket.socket]]:
        """Give both ends of a connection to *address*, the sender first."""
        kind = family or (socket.AF_INET6 if ":" in address else socket.AF_INET)
        with ExitStack() as stack:

            def connect() -> tuple[socket.socket, socket.socket]:
                server = stack.enter_context(socket.socket(kind))
                server.bind((address, 0))
                server.listen()
                client = stack.enter_context(socket.socket(kind))
                client.connect(server.getsockname())
                return client, stack.enter_context(server.accept()[0])

            yield self.call(connect)


@contextmanager
def namespace(name: str) -> Iterator[Namespace]:
    """Make a namespace that has all the addresses above; delete it at the end."""
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        ip = ["ip", "-n", name]
        subprocess.run([*ip, "link", "set", "lo", "up"], check=True)
        for address in (V4, OTHER_V4, V6, OTHER_V6):
            flags = ["nodad"] if ":" in address else []
            subprocess.run(
                [*ip, "addr", "add", address, "dev", "lo", *flags], check=True
            )
        yield Namespace(name)
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


def transfer(client: socket.socket, server: socket.socket, amount: int) -> None:
    """Send *amount* bytes; wait until all of them are acknowledged and read."""
    before = tcp_info(client).bytes_acked
    left = unread = amount
    end_s = time.monotonic() + DEADLINE_S
    client.setblocking(False)
    server.setblocking(False)
    while unread > 0 or tcp_info(client).bytes_acked < before + amount:
        assert time.monotonic() < end_s, "it did not get across in time"
        if left:
            with suppress(BlockingIOError):
                left -= client.send(bytes(left))
        try:
            unread -= len(server.recv(1 << 20))
        except BlockingIOError:
            # Of what is acknowledged nobody tells: so look again soon in any case.
            select.select([server], [], [], 0.001)


def fill(client: socket.socket, server: socket.socket) -> None:
    """Send more than there is room for to *server*, which does not read.

    Its window is small: up to 6.12 packets of loopback, of 64 KiB, are dropped where
    the receive buffer has no room for them, and then congestion control is the limit.
    """
    server.setsockopt(socket.IPPROTO_TCP, socket.TCP_WINDOW_CLAMP, 8192)
    transfer(client, server, PLENTY)
    client.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            client.send(bytes(1 << 20))


def by_cookie(samples: tuple[SocketSample, ...]) -> dict[int, SocketSample]:
    return {sample.cookie: sample for sample in samples}


def prefix_of(address: str) -> Prefix:
    parsed = ipaddress.ip_address(address)
    family, length, kept = (
        (socket.AF_INET, 24, 3) if parsed.version == 4 else (socket.AF_INET6, 48, 6)
    )
    return Prefix(family, length, parsed.packed[:kept].ljust(16, b"\0"))


def tcp_info_state(one: socket.socket) -> int:
    return one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
