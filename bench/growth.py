"""How the daemon grows with connections, destinations and network namespaces.

For each of these the daemon is started beside so many of them, and then it is told
what it takes: how long it was until it was ready, its resident set, its maps and
programs, its open files, and in a span of quiet its processor time and wake-ups.

    python -m bench.growth [--connections 10,1000,100000]
        [--destinations 10,1000,10000] [--namespaces 10,100,1000]
        [--quiet SECONDS] [--out FILE]

Connections are established over loopback and idle. Destinations are networks of /24
that were sent 120 kB each over a path of 2 ms, which takes the emulated path a second
for a hundred; that the maps are as flat beyond is tested with 100,000 in
tests/kernel/test_congestion_many.py, over loopback. Namespaces are empty.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import socket
import socketserver
import sys
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.footprint import Footprint, footprint
from bench.overhead import say
from bpftune.lab.contender import Bpftune
from bpftune.lab.namespaces import set_namespace
from bpftune.lab.network import Lab

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from multiprocessing.connection import Connection

    from bpftune.lab.link import Link

HERE = Path(__file__).parent
MIB = 1 << 20
MS = 1_000_000
MBIT = 1_000_000
SETTLED_S = 5.0
"""Until what the beginning caused is over."""
COUNTED_BYTES = 120_000
SENDERS = 16
PER_ADDRESS = 25_000
"""Connections to one address: as many as there are ports, and some left."""

OTHER_FILES = 64
"""That a process has open beside its connections."""

Row = dict[str, Any]


def numbers(text: str) -> list[int]:
    """Return the numbers of a list with commas."""
    return [int(number) for number in text.split(",") if number]


def row(
    kind: str,
    count: int,
    ready_s: float,
    first: Footprint,
    last: Footprint,
    span_s: float,
) -> Row:
    """Return the figures of a daemon looked at twice, *span_s* apart."""
    return {
        "kind": kind,
        "count": count,
        "ready_s": ready_s,
        "rss_bytes": last.rss_bytes,
        "maps_bytes": last.maps_bytes,
        "programs_bytes": last.programs_bytes,
        "all_bytes": last.all_bytes,
        "files": last.files,
        "cpu_share": (last.cpu_s - first.cpu_s) / span_s,
        "wakeups_per_minute": (last.wakeups - first.wakeups) / span_s * 60,
    }


def look(
    kind: str,
    count: int,
    quiet_s: float,
    there: AbstractContextManager[Callable[[], object]],
) -> Row:
    """Start the daemon beside what is *there*, do what it gives, and look."""
    with there as busy:
        daemon = Bpftune()
        began_s = time.monotonic()
        try:
            daemon.start()
            ready_s = time.monotonic() - began_s
            pid = next(int(one["pid"]) for one in daemon.records if "pid" in one)
            busy()
            time.sleep(SETTLED_S)
            first, first_s = footprint(pid), time.monotonic()
            time.sleep(quiet_s)
            span_s = time.monotonic() - first_s
            found = row(kind, count, ready_s, first, footprint(pid), span_s)
        finally:
            daemon.stop()
    say(f"  {table_row(found)}")
    return found


def nothing() -> None:
    """Leave it at what was there before."""


@contextmanager
def namespaces(count: int) -> Iterator[Callable[[], object]]:
    """Have so many of them."""
    with Lab() as lab:
        for number in range(count):
            lab.namespace(f"n{number}")
        yield nothing


def hold(path: Path, address: str, count: int, pipe: Connection) -> None:
    """Have *count* connections to *address* in the namespace at *path* until told."""
    set_namespace(path)
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server((address, 0)))
        for _ in range(count):
            at = listener.getsockname()
            stack.enter_context(socket.create_connection(at))
            stack.enter_context(listener.accept()[0])
        pipe.send(count)
        pipe.recv()


@contextmanager
def connections(count: int) -> Iterator[Callable[[], object]]:
    """Have so many of them, both ends on this machine.

    They belong to several processes, as one may not open that many files.
    """
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = min(PER_ADDRESS, (files - OTHER_FILES) // 2)
    processes = multiprocessing.get_context("spawn")
    with Lab() as lab, ExitStack() as stack:
        host = lab.namespace("host")
        host.ip("route add local 11.0.0.0/8 dev lo")
        host.set_sysctl("net.ipv4.ip_local_port_range", "1024 65535")
        for number, first in enumerate(range(0, count, most)):
            mine, its = processes.Pipe()
            of_child = host.path, f"11.0.{number}.1", min(most, count - first), its
            child = processes.Process(target=hold, args=of_child)
            child.start()
            stack.callback(child.join)
            stack.callback(mine.send, None)
            its.close()
            mine.recv()
        yield nothing


@contextmanager
def destinations(count: int) -> Iterator[Callable[[], object]]:
    """Have that many /24 to send to, and send to each when asked."""
    with Lab() as lab:
        host, peer = lab.namespace("host"), lab.namespace("peer")
        link = lab.emulated_link(host, peer, rate_bits_per_s=400 * MBIT, rtt_ns=2 * MS)
        peer.ip("route add local 11.0.0.0/8 dev lo")
        host.ip(f"route add 11.0.0.0/8 dev {link.ends[0].device}")
        yield lambda: send_to_each(link, count)


class Reader(socketserver.BaseRequestHandler):
    """Reads all that a connection brings."""

    request: socket.socket

    def handle(self) -> None:
        """Read, and close when the other end does."""
        while self.request.recv(1 << 20, socket.MSG_TRUNC):
            pass


class Server(socketserver.ThreadingTCPServer):
    """A reader in a thread for each connection."""

    daemon_threads = True
    request_queue_size = SENDERS


def send_to_each(link: Link, count: int) -> None:
    """Send to an address in each of so many /24 behind *link*."""
    host, peer = (end.namespace for end in link.ends)
    with (
        peer.inside(lambda: Server(("", 0), Reader)) as server,
        ThreadPoolExecutor(
            SENDERS, initializer=set_namespace, initargs=(host.path,)
        ) as senders,
    ):
        threading.Thread(target=server.serve_forever).start()

        def send(number: int) -> None:
            address = f"11.{number >> 8 & 255}.{number & 255}.1"
            at = address, server.server_address[1]
            with socket.create_connection(at, timeout=60) as client:
                client.sendall(bytes(COUNTED_BYTES))
                client.shutdown(socket.SHUT_WR)
                client.recv(1)

        try:
            deque(senders.map(send, range(count)), maxlen=0)
        finally:
            server.shutdown()


def table_row(row: Row) -> str:
    """Return one line of the table."""
    mib = (
        f"{row[name] / MIB:.1f}"
        for name in ("rss_bytes", "maps_bytes", "programs_bytes", "all_bytes")
    )
    return (
        f"| {row['count']:,} {row['kind']} | {row['ready_s']:.2f} "
        f"| {' | '.join(mib)} | {row['files']} "
        f"| {row['wakeups_per_minute']:.1f} | {row['cpu_share'] * 100:.2f} |"
    )


def report(rows: list[Row]) -> str:
    """Return the table."""
    head = (
        "| beside | ready, s | RSS, MiB | maps | programs | in all | files "
        "| wake-ups a minute | % of a processor |"
    )
    return "\n".join([head, "|---" * 9 + "|", *map(table_row, rows)])


def main(argv: list[str] | None = None) -> int:
    """Measure all of them, and tell."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.growth",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--connections", type=numbers, default=[10, 1000, 100_000])
    parser.add_argument("--destinations", type=numbers, default=[10, 1000, 10_000])
    parser.add_argument("--namespaces", type=numbers, default=[10, 100, 1000])
    parser.add_argument("--quiet", type=float, default=60.0, help="seconds")
    out = HERE / "results" / "growth.json"
    parser.add_argument("--out", type=Path, default=out)
    options = parser.parse_args(argv)
    rows = []
    for make, counts in (
        (connections, options.connections),
        (destinations, options.destinations),
        (namespaces, options.namespaces),
    ):
        rows += [look(make.__name__, n, options.quiet, make(n)) for n in counts]
    options.out.parent.mkdir(exist_ok=True)
    result = {"schema": 1, "kernel": os.uname().release, "rows": rows}
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(report(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
