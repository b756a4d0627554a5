"""The arithmetic of one direction of an emulated link: pure, no clock, no I/O."""

from __future__ import annotations

import random

NS_PER_S = 1_000_000_000


def bandwidth_delay_bytes(rate_bits_per_s: int, rtt_ns: int) -> int:
    """Return what fits in flight on the path, in bytes."""
    return rate_bits_per_s * rtt_ns // (8 * NS_PER_S)


class DropTailQueue:
    """A queue in front of a wire of a fixed rate and delay, with random loss.

    A packet waits until those before it are sent, takes its length over the
    rate to send, and *delay_ns* to arrive. It is dropped if the queue holds no
    place for it; lost packets have used the wire. An idle wire takes any
    packet, however small the queue.
    """

    __slots__ = (
        "delay_ns", "dropped", "free_ns", "last_ns", "limit_ns", "loss", "lost",
        "offered", "offered_bytes", "queue_bytes", "random", "rate_bits_per_s",
    )  # fmt: skip

    def __init__(
        self,
        rate_bits_per_s: int,
        delay_ns: int,
        queue_bytes: int,
        loss: float = 0.0,
        seed: int = 0,
    ) -> None:
        """Begin empty; *loss* is the share of packets lost, *seed* its dice."""
        self.random = random.Random(seed).random  # noqa: S311 - not a secret
        self.free_ns = 0
        self.last_ns = 0
        self.offered = self.offered_bytes = self.dropped = self.lost = 0
        self.change(0, rate_bits_per_s, delay_ns, queue_bytes, loss)

    def change(
        self,
        now_ns: int,
        rate_bits_per_s: int,
        delay_ns: int,
        queue_bytes: int,
        loss: float,
    ) -> None:
        """Let the path be another from now on.

        What is queued leaves when it was going to; what comes later does not
        overtake it.
        """
        if rate_bits_per_s <= 0 or delay_ns < 0 or queue_bytes < 0:
            raise ValueError("a link needs a rate, and no negative delay or queue")
        if not 0 <= loss <= 1:
            raise ValueError("loss is a share between 0 and 1")
        self.rate_bits_per_s = rate_bits_per_s
        self.delay_ns = delay_ns
        self.queue_bytes = queue_bytes
        self.limit_ns = queue_bytes * 8 * NS_PER_S // rate_bits_per_s
        self.loss = loss
        self.free_ns = max(self.free_ns, now_ns)

    def backlog_bytes(self, now_ns: int) -> int:
        """Return how much waits at *now_ns*, at the present rate."""
        return max(0, self.free_ns - now_ns) * self.rate_bits_per_s // (8 * NS_PER_S)

    def admit(self, now_ns: int, size_bytes: int) -> int | None:
        """Offer a packet; return when it arrives, None if it never will."""
        self.offered += 1
        self.offered_bytes += size_bytes
        free_ns = self.free_ns
        send_ns = size_bytes * 8_000_000_000 // self.rate_bits_per_s
        if free_ns <= now_ns:
            free_ns = now_ns
        elif free_ns - now_ns + send_ns > self.limit_ns:
            self.dropped += 1
            return None
        self.free_ns = free_ns = free_ns + send_ns
        if self.loss and self.random() < self.loss:
            self.lost += 1
            return None
        at_ns = free_ns + self.delay_ns
        if at_ns < self.last_ns:
            return self.last_ns
        self.last_ns = at_ns
        return at_ns
