"""What holds a TCP sender back, and what it achieved, from one sample.

The time that counts is *busy* time (``TCP_CHRONO_BUSY`` in tcp_output.c), so an
application that pauses does not look slow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bpftune.policy.epoch import LimitedBy, Look

if TYPE_CHECKING:
    from bpftune.model import SocketSample

LEAST_RTT_US = 1000
SNDBUF_LOCK = 1  # SOCK_SNDBUF_LOCK: the application chose its own size
CA_OPEN, CA_RECOVERY, CA_LOSS = 0, 3, 4  # enum tcp_ca_state


def look_at(sample: SocketSample, limit: int) -> Look:
    """Return *sample* as a look, given ``tcp_wmem[2]`` = *limit*."""
    return Look(
        cookie=sample.cookie,
        now_ns=sample.now_ns,
        cause=limited_by(sample, limit),
        moved_bytes=sample.bytes_acked,
        ticks=sample.busy_jiffies,
        srtt_us=sample.srtt_us,
        min_rtt_us=sample.min_rtt_us,
        segments=sample.segments_out,
        retransmitted=sample.retransmitted_segments,
    )


def limited_by(sample: SocketSample, limit: int) -> LimitedBy:
    """Tell what holds *sample*'s socket back, given ``tcp_wmem[2]`` = *limit*.

    The queue tells: a sender short of buffer has a full buffer (a blocked
    writer wakes when a third is free), has sent nearly all of it, and its
    congestion window has room. tcp_chrono's own share of sndbuf-limited time
    misses unpaced senders.
    """
    if sample.ca_state in (CA_RECOVERY, CA_LOSS):
        return LimitedBy.LOSS
    in_flight = sample.in_flight_segments
    if (
        not sample.userlocks & SNDBUF_LOCK
        and sample.min_rtt_us >= LEAST_RTT_US
        and sample.ca_state == CA_OPEN
        and sample.sndbuf_bytes >= 0.98 * limit
        and sample.wmem_queued_bytes >= 0.6 * sample.sndbuf_bytes
        and sample.notsent_bytes <= 0.1 * sample.wmem_queued_bytes
        and in_flight < 0.9 * sample.cwnd_segments
    ):
        return LimitedBy.SNDBUF
    flight_bytes = in_flight * sample.mss_bytes
    if sample.notsent_bytes and flight_bytes + sample.mss_bytes > sample.snd_wnd_bytes:
        return LimitedBy.PEER_WINDOW
    if in_flight >= 0.9 * sample.cwnd_segments:
        return LimitedBy.PATH
    return LimitedBy.APPLICATION
