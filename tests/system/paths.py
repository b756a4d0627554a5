"""Small paths over which a sender is short of buffer for a few seconds."""

from __future__ import annotations

from tests.pace import is_emulated
from tests.system.daemon import WMEM, wait_until

from bpftune.lab.link import Link
from bpftune.lab.namespaces import Namespace
from bpftune.lab.network import Lab
from bpftune.lab.traffic import Flows

SMALL = (4096, 16384, 65536)
SMALL_TEXT = " ".join(map(str, SMALL))
MBIT = 1_000_000
MS = 1_000_000


def ends(lab: Lab, role: str = "") -> tuple[Namespace, Namespace]:
    """Return a sender's namespace, whose buffers are small, and a receiver's."""
    sender, receiver = lab.namespace(f"{role}from"), lab.namespace(f"{role}to")
    sender.set_sysctl(WMEM, SMALL_TEXT)
    receiver.set_sysctl("net.ipv4.tcp_rmem", "4096 131072 16777216")
    return sender, receiver


def path(
    lab: Lab,
    role: str = "",
    rate_bits_per_s: int = 20 * MBIT,
    rtt_ns: int = 40 * MS,
) -> tuple[Namespace, Link]:
    """Return the sender's namespace and a path on which 64 KiB is too little.

    An emulated machine cannot carry as many packets a second. There a path has a lower
    rate and is longer by more than that, as up to 6.12 a sender with that limit has
    twice as much under way: each write becomes one packet for the segmentation offload,
    which are smaller there for the same reason. And the queue holds more, lest it is
    a loss at the beginning that holds the sender back.
    """
    queue_bytes = None
    if is_emulated():
        rate_bits_per_s, rtt_ns = rate_bits_per_s * 2 // 5, rtt_ns * 15 // 4
        queue_bytes = 8 * SMALL[2]
    sender, receiver = ends(lab, role)
    link = lab.emulated_link(
        sender,
        receiver,
        rate_bits_per_s=rate_bits_per_s,
        rtt_ns=rtt_ns,
        queue_bytes=queue_bytes,
    )
    if is_emulated():
        sender.ip(f"link set {link.ends[0].device} gso_max_size {SMALL[2] // 4}")
    return sender, link


def wait_busy(flows: Flows, acked_bytes: int = 200_000) -> None:
    """Wait until each flow has moved so much."""

    def moved() -> bool:
        latest = flows.latest()
        return bool(latest) and all(one["bytes_acked"] > acked_bytes for one in latest)

    assert wait_until(moved, 10), "no traffic"
