"""What holds a TCP receiver back, and what it got, from a few samples.

A sender may have as much under way as the window that the receiver announces,
so a receiver is short of buffer if a whole window arrives in each round trip.
That takes a rate: it comes from the samples of the last slice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bpftune.policy.cohort import Seen
from bpftune.policy.epoch import LimitedBy, Look
from bpftune.policy.sender import LEAST_RTT_US

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bpftune.model import SocketSample

RCVBUF_LOCK = 2  # SOCK_RCVBUF_LOCK: the application chose its own size
LARGEST_WINDOW = 65535  # before the window scale (RFC 7323, 2.3)
FULL = 0.85
"""Share of the window per round trip: 0.9 to 1.2 was seen where the window is the
limit, since it arrives in bursts, and 0.28 on a path that had room for 0.3 of it."""


def least_rtt_us(samples: Sequence[SocketSample], known: int = 0) -> int:
    """Return the least round trip of *samples*, of a path, and that *known*; or 0.

    A connection's own may be that of a queue which another left behind: 217 ms
    were seen on a path of 151.
    """
    rtts = [rtt for one in samples for rtt in (one.rcv_rtt_us, one.min_rtt_us)]
    return min((rtt for rtt in (*rtts, known) if rtt), default=0)


def look_at(samples: Sequence[SocketSample], limit: int, rtt_us: int) -> Look:
    """Return the last of *samples* of a socket, oldest first, as a look.

    *limit* is ``tcp_rmem[2]``, *rtt_us* the least round trip of the path. A
    receiver has no busy time: all time counts.
    """
    last = samples[-1]
    return Look(
        cookie=last.cookie,
        now_ns=last.now_ns,
        cause=limited_by(samples, limit, rtt_us),
        moved_bytes=delivered_bytes(last),
        ticks=last.now_jiffies,
        srtt_us=last.rcv_rtt_us or last.min_rtt_us,
        min_rtt_us=last.min_rtt_us,
    )


def seen(sample: SocketSample, *, held: bool) -> Seen:
    """Return *sample* as a connection of a certain age, in jiffies.

    *held*: our receive buffer holds it back.

    The age is that of the congestion window, which does not change while a
    connection only receives (``tcp_init_transfer()``).
    """
    return Seen(
        cookie=sample.cookie,
        born=sample.now_jiffies - sample.cwnd_age_jiffies,
        age=sample.cwnd_age_jiffies,
        delivered=delivered_bytes(sample),
        held=held,
    )


def delivered_bytes(sample: SocketSample) -> int:
    """Return what the application got so far; what waits for it is no evidence."""
    return sample.bytes_received - sample.unread_bytes


def window_share(samples: Sequence[SocketSample], rtt_us: int) -> float:
    """Return which share of the window arrived per round trip; 0 if unknown.

    The least round trip of the path counts: where a queue makes it longer, more
    window would only make the queue longer.
    """
    first, last = samples[0], samples[-1]
    seconds = (last.now_ns - first.now_ns) / 1e9
    rtt_s = 1e-6 * rtt_us
    window = max(sample.rcv_wnd_bytes for sample in samples)
    if seconds < rtt_s or not rtt_us or not window:
        return 0.0
    moved = delivered_bytes(last) - delivered_bytes(first)
    return moved / seconds * rtt_s / window


def limited_by(samples: Sequence[SocketSample], limit: int, rtt_us: int) -> LimitedBy:
    """Tell what holds the socket of *samples* back, see ``look_at``."""
    last = samples[-1]
    if len(samples) > 1 and last.ooo_segments != samples[-2].ooo_segments:
        return LimitedBy.LOSS
    if last.unread_bytes > last.rcv_wnd_bytes // 2:
        return LimitedBy.APPLICATION
    if rtt_us < LEAST_RTT_US or window_share(samples, rtt_us) < FULL:
        return LimitedBy.SENDER
    return _window(last, limit)


def _window(sample: SocketSample, limit: int) -> LimitedBy:
    """Tell what holds back a window of which all is used."""
    if sample.userlocks & RCVBUF_LOCK or sample.rcvlowat_bytes != 1:
        return LimitedBy.APPLICATION
    if sample.rcv_wnd_bytes >= 0.98 * window_ceiling_bytes(sample):
        return LimitedBy.WINDOW_SCALE
    if sample.rcvbuf_bytes >= 0.98 * limit:
        return LimitedBy.RCVBUF
    return LimitedBy.SENDER  # the kernel enlarges the buffer as it sees fit


def window_ceiling_bytes(sample: SocketSample) -> int:
    """Return the largest window that the handshake left room for."""
    return LARGEST_WINDOW << sample.rcv_wscale
