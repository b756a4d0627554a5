"""``make demo``: the same transfer twice at once, with and without bpftune.

Both run in namespaces of their own over a path of 100 Mbit/s and 100 ms, from
the same limit, with whatever congestion control is the default here. The host
is not touched.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from bpftune.lab.contender import Bpftune
from bpftune.lab.errors import LabError
from bpftune.lab.network import Lab
from bpftune.lab.traffic import Bulk
from bpftune.lab.triples import RMEM, WMEM, set_triple
from bpftune.records import Record, as_line

if TYPE_CHECKING:
    from bpftune.lab.link import Link
    from bpftune.lab.namespaces import Namespace
    from bpftune.lab.traffic import Flows

RATE_BITS_PER_S = 100_000_000
RTT_NS = 100_000_000
LIMIT_BYTES = 512 << 10
SECONDS = 30
STEADY_S = 8
BAR = 24
TOLD = {"change", "kept", "taken_back", "shrunk"}


def path(lab: Lab, role: str) -> tuple[Namespace, Link]:
    """Make a sender, a receiver and the path between them."""
    sender, receiver = lab.namespace(role), lab.namespace(f"{role}-peer")
    link = lab.emulated_link(
        sender, receiver, rate_bits_per_s=RATE_BITS_PER_S, rtt_ns=RTT_NS
    )
    set_triple(sender, WMEM, None, LIMIT_BYTES)
    set_triple(receiver, RMEM, None, 64 << 20)
    return sender, link


def bar(bits_per_s: float) -> str:
    """Draw a rate as a bar with its number."""
    full = round(BAR * min(1.0, bits_per_s / RATE_BITS_PER_S))
    return f"{'#' * full:.<{BAR}} {bits_per_s / 1e6:4.0f}"


def tell(tuner: Bpftune, told: int) -> int:
    """Print what the daemon's log would say; return how far it was told."""
    for record in tuner.records[told:]:
        if record["record"] in TOLD:
            line = as_line(
                Record(
                    record=record["record"],
                    why=record["why"],
                    tuner=record["tuner"],
                    tunable=record["tunable"],
                    old=tuple(record["old"]),
                    new=tuple(record["new"]),
                )
            )
            print(f"      | {line}")
    return len(tuner.records)


def watch(plain: Flows, tuned: Flows, tuner: Bpftune) -> None:
    """Show both transfers, second by second."""
    print(f"{'s':>4}  {'without, Mbit/s':<{BAR + 8}}with bpftune, Mbit/s")
    told = 0
    for second in range(2, SECONDS + 1, 2):
        plain.wait_s(max(0.0, plain.started_s + second - time.monotonic()))
        told = tell(tuner, told)
        left = bar(plain.goodput_bits_per_s(last_s=2))
        right = bar(tuned.goodput_bits_per_s(last_s=2))
        print(f"{second:>4}  {left:<{BAR + 8}}{right}", flush=True)


def main() -> int:
    """Run the demonstration; return the exit code."""
    try:
        with Lab() as lab:
            plain_sender, plain_link = path(lab, "without")
            tuned_sender, tuned_link = path(lab, "with")
            control = tuned_sender.sysctl("net.ipv4.tcp_congestion_control").strip()
            print(
                f"One transfer over 100 Mbit/s x 100 ms, {control}, tcp_wmem max "
                f"{LIMIT_BYTES >> 10} KiB; twice at once.\n"
            )
            tuner = Bpftune(only=tuned_sender.name)
            tuner.start(tuned_sender)
            try:
                plain = lab.traffic(plain_link, Bulk())
                tuned = lab.traffic(tuned_link, Bulk())
                watch(plain, tuned, tuner)
                before = plain.goodput_bits_per_s(last_s=STEADY_S) / 1e6
                after = tuned.goodput_bits_per_s(last_s=STEADY_S) / 1e6
            finally:
                tuner.stop()
            limit = int(tuned_sender.sysctl(WMEM).split()[2])
            untouched = int(plain_sender.sysctl(WMEM).split()[2])
    except LabError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    print(
        f"\nwithout bpftune  {before:5.1f} Mbit/s  tcp_wmem max {untouched >> 10} KiB"
    )
    print(f"with bpftune     {after:5.1f} Mbit/s  tcp_wmem max {limit >> 10} KiB")
    print(f"                 {after / before:5.1f} times (last {STEADY_S} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
