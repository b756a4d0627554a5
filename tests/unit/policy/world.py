"""A synthetic world: connections on one path, looked at as the sampler would.

Each is held to the smaller of its share of the path and what its send buffer, or
with *receivers* its receive buffer, lets it keep in flight. All in plain
arithmetic, with seeded noise.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

from bpftune.model import SocketSample
from bpftune.policy.epoch import Look
from bpftune.policy.sender import look_at

MSS = 1448
HZ = 250
KEPT = 0.55  # share of sk_sndbuf that is payload; the rest is overhead of skbs


@dataclass
class World:
    """*rate* in bytes per second, *rtt_s* without queue, *noise* of log rate."""

    rate: float
    rtt_s: float
    limit: int
    flows: int = 1
    noise: float = 0.05
    seed: int = 1
    peer_window: int = 1 << 30
    app_rate: float = 1e12
    loss_share: float = 0.0
    false_hits: float = 0.0  # share of looks that look starved though they are not
    now_s: float = 0.0
    acked: dict[int, float] = field(default_factory=dict)
    first_cookie: int = 1
    receivers: bool = False
    unread: float = 0.0  # share of the window that waits for the application
    wscale: int = 14
    mood: float = 0.0  # deviation of the log of a rate that comes and goes slowly
    mood_s: float = 5.0  # how slowly

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.mood_now = self.random.gauss(0, self.mood)

    def cookies(self) -> range:
        return range(self.first_cookie, self.first_cookie + self.flows)

    def share(self) -> float:
        """Bytes per second that each sender gets from the path."""
        return self.rate / self.flows

    def goodput(self) -> float:
        held = min(self.limit * KEPT, self.peer_window) / self.rtt_s
        if self.receivers:
            held = self.window() / self.rtt_s
        return min(self.share(), held, self.app_rate)

    def starved(self) -> bool:
        held = self.limit * KEPT / self.rtt_s
        return held < min(self.share(), self.app_rate, self.peer_window / self.rtt_s)

    def look(self, after_s: float) -> tuple[SocketSample, ...]:
        """Let *after_s* pass and sample every sender."""
        self.now_s += after_s
        if self.mood:
            stays = math.exp(-after_s / self.mood_s)
            new = self.random.gauss(0, self.mood * math.sqrt(1 - stays * stays))
            self.mood_now = stays * self.mood_now + new
        for cookie in self.cookies():
            factor = self.random.lognormvariate(self.mood_now, self.noise)
            moved = self.goodput() * after_s * factor
            self.acked[cookie] = self.acked.get(cookie, 1e6) + moved
        return tuple(self.sample(cookie) for cookie in self.cookies())

    def looks(self, after_s: float) -> tuple[Look, ...]:
        """Do the same, and tell what holds each sender back."""
        return tuple(look_at(sample, self.limit) for sample in self.look(after_s))

    def sample(self, cookie: int) -> SocketSample:
        starved = self.starved() or self.random.random() < self.false_hits
        flight = int(self.goodput() * self.rtt_s / MSS) + 1
        lossy = self.random.random() < self.loss_share
        jiffies = int(self.now_s * HZ)
        queued = int(self.limit * (0.95 if starved else 0.3))
        rwnd = self.goodput() * self.rtt_s >= 0.99 * self.peer_window
        return SocketSample(
            cookie=cookie,
            now_ns=int(self.now_s * 1e9),
            now_jiffies=jiffies,
            bytes_acked=int(self.acked[cookie]),
            busy_jiffies=jiffies,
            rwnd_limited_jiffies=0,
            sndbuf_limited_jiffies=0,
            sndbuf_bytes=self.limit,
            wmem_queued_bytes=queued,
            notsent_bytes=queued if rwnd else 0,
            snd_wnd_bytes=self.peer_window,
            mss_bytes=MSS,
            in_flight_segments=flight,
            cwnd_segments=flight * (4 if starved or rwnd else 1),
            srtt_us=int(self.rtt_s * 1e6),
            min_rtt_us=int(self.rtt_s * 1e6),
            segments_out=0,
            retransmitted_segments=0,
            ca_state=3 if lossy else 0,
            userlocks=0,
            bytes_received=int(self.acked[cookie]) + self.unread_bytes(),
            unread_bytes=self.unread_bytes(),
            rcvbuf_bytes=self.limit,
            rcv_wnd_bytes=self.window(),
            rcv_wscale=self.wscale,
            rcv_rtt_us=int(self.rtt_s * 1e6),
            rcvlowat_bytes=1,
            ooo_segments=int(lossy and self.random.random() * 1e6),
            cwnd_age_jiffies=jiffies,
        )

    def window(self) -> int:
        """What a receiver announces."""
        return min(int(self.limit * KEPT), 65535 << self.wscale)

    def unread_bytes(self) -> int:
        return int(self.unread * self.window())
