"""What the kernel tells of a TCP socket: ``struct tcp_info`` of linux/tcp.h."""

from __future__ import annotations

import socket
import struct

_FIELDS = (
    ("B", "state ca_state retransmits probes backoff options scales flags"),
    ("I", "rto_us ato_us snd_mss rcv_mss unacked sacked lost retrans fackets"),
    ("I", "last_data_sent_ms last_ack_sent_ms last_data_recv_ms last_ack_recv_ms"),
    ("I", "pmtu rcv_ssthresh rtt_us rttvar_us snd_ssthresh cwnd advmss reordering"),
    ("I", "rcv_rtt_us rcv_space retransmitted_segments"),
    ("Q", "pacing_rate max_pacing_rate bytes_acked bytes_received"),
    ("I", "segments_out segments_in notsent_bytes min_rtt_us"),
    ("I", "data_segments_in data_segments_out"),
    ("Q", "delivery_rate busy_us rwnd_limited_us sndbuf_limited_us"),
    ("I", "delivered delivered_ce"),
    ("Q", "bytes_sent bytes_retransmitted"),
    ("I", "dsack_dups reord_seen rcv_ooopack snd_wnd_bytes"),
)
NAMES = tuple(name for _, names in _FIELDS for name in names.split())
_LAYOUT = struct.Struct("=" + "".join(k * len(n.split()) for k, n in _FIELDS))


def tcp_info(connection: socket.socket) -> dict[str, int]:
    """Return the fields by name; those that an old kernel lacks are 0.

    Raises OSError if the socket is closed. Fields since snd_wnd: Linux 5.4.
    """
    raw = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAYOUT.size)
    return dict(zip(NAMES, _LAYOUT.unpack(raw.ljust(_LAYOUT.size, b"\0")), strict=True))
