"""The process that carries packets between two TUN devices, late and few enough.

While packets flow it wakes every *tick_ns*, not for each of them: at 25,000
packets a second a wake-up costs more than a packet. Nothing is timed more
finely than a tick.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import time
from collections import deque
from typing import TYPE_CHECKING

from bpftune.lab.child import Record, begin, say
from bpftune.lab.queue import DropTailQueue

if TYPE_CHECKING:
    from types import FrameType

BATCH = 256
MAX_PACKET_BYTES = 65535 + 64


class Stopped(Exception):  # noqa: N818 - no error
    """The laboratory asked us to end."""


class Direction:
    """Packets on their way from *source* to *target*, both TUN devices."""

    def __init__(self, source: int, target: int, queue: DropTailQueue) -> None:
        """Begin with nothing on the way."""
        self.source = source
        self.target = target
        self.queue = queue
        self.line: deque[tuple[int, bytes]] = deque()
        self.undelivered = 0
        self.late_ns = 0

    def take(self, now_ns: int, header_bytes: int) -> int:
        """Take what waits at the source; return how many packets."""
        read, source, admit = os.read, self.source, self.queue.admit
        append = self.line.append
        taken = 0
        try:
            for taken in range(BATCH):  # noqa: B007 - the count is the answer
                packet = read(source, MAX_PACKET_BYTES)
                at_ns = admit(now_ns, len(packet) - header_bytes)
                if at_ns is not None:
                    append((at_ns, packet))
        except BlockingIOError:
            return taken
        return BATCH

    def deliver(self, now_ns: int) -> int:
        """Hand over what has arrived; return how many packets."""
        line, write, target = self.line, os.write, self.target
        delivered = 0
        if line:
            self.late_ns = max(self.late_ns, now_ns - line[0][0])
        while line and line[0][0] <= now_ns and delivered < BATCH:
            try:
                write(target, line.popleft()[1])
            except OSError:
                self.undelivered += 1
            delivered += 1
        return delivered


def carry(
    directions: tuple[Direction, Direction], tick_ns: int, header_bytes: int
) -> None:
    """Carry packets until a signal or the end of standard input."""
    there, back = directions
    sources = [there.source, back.source, 0]
    monotonic_ns, wait = time.monotonic_ns, select.select
    tick_s = tick_ns / 1e9
    left_s: float | None
    orders = b""
    while True:
        now_ns = monotonic_ns()
        moved = there.take(now_ns, header_bytes) + back.take(now_ns, header_bytes)
        now_ns = monotonic_ns()
        moved += there.deliver(now_ns) + back.deliver(now_ns)
        watched, left_s = [0], tick_s
        if not moved:
            watched = sources
            heads = [d.line[0][0] for d in directions if d.line]
            left_s = max(0, min(heads) - now_ns) / 1e9 if heads else None
        if 0 in wait(watched, (), (), left_s)[0]:
            received = os.read(0, 4096)
            if not received:
                return
            orders += received
            *lines, orders = orders.split(b"\n")
            for line in lines:
                obey(json.loads(line), directions)


def obey(order: Record, directions: tuple[Direction, Direction]) -> None:
    """Change the path as ordered, both directions alike."""
    now_ns = time.monotonic_ns()
    for direction in directions:
        direction.queue.change(
            now_ns,
            order["rate_bits_per_s"],
            order["rtt_ns"] // 2,
            order["queue_bytes"],
            order["loss"],
        )
    say("changed", monotonic_ns=now_ns)


def main() -> None:
    """Carry packets as planned; on the end say what became of them."""
    plan = begin()
    gc.disable()  # tuples of a number and bytes make no cycles
    # A path's delay must not depend on who else is busy: two CPU hogs make packets
    # 8 ms late with the best nice value, 2 ms in real time (measured on two CPUs).
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, -20)
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise Stopped

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    queues = [
        DropTailQueue(
            plan["rate_bits_per_s"],
            plan["rtt_ns"] // 2,
            plan["queue_bytes"],
            plan["loss"],
            plan["seed"] * 2 + number,
        )
        for number in range(2)
    ]
    first, second = plan["tuns"]
    for tun in (first, second):
        os.set_blocking(tun, False)
    directions = (
        Direction(first, second, queues[0]),
        Direction(second, first, queues[1]),
    )
    say("ready")
    start_s = time.monotonic()
    with contextlib.suppress(Stopped):
        carry(directions, plan["tick_ns"], plan["header_bytes"])
    for name, direction in zip(("there", "back"), directions, strict=True):
        queue = direction.queue
        say(
            "carried",
            direction=name,
            offered=queue.offered,
            offered_bytes=queue.offered_bytes,
            dropped=queue.dropped,
            lost=queue.lost,
            undelivered=direction.undelivered,
            late_s=direction.late_ns / 1e9,
            cpu_s=time.process_time(),
            wall_s=time.monotonic() - start_s,
        )


if __name__ == "__main__":
    main()
