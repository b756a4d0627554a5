"""Does the receive-buffer tuner find what a path needs? Against a grid by hand.

What is measured and how, see ``bench.grid``. In the cases with a new connection
every 5 s the table tells which connection, counted from the first change, was the
first to bring 0.95 of what those of the best run bring at the median. In both-short
the grid sets both limits alike. Cases without benefit run for 120 s.

One case sets ``net.core.rmem_max`` of the whole machine for its time, and puts
back what it found.

    python -m bench.receive_buffers [--quick] [--only WORD] [--out FILE]
"""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import product

from bench.grid import Case, run_cases
from bpftune.lab.scenario import KIB, Scenario
from bpftune.lab.scenarios import find
from bpftune.lab.triples import RMEM, WMEM

CONTROLS = ("cubic", "bbr")
LIVES = ("receiver-short", "receiver-anew")
NO_BENEFIT = (
    "receiver-path-limited",
    "unread-sockets",
    "sender-limited",
    "receiver-bursts",
    "stalled-reader",
    "receiver-lan",
    "receiver-pinned",
)
NO_BENEFIT_S = 120.0
HOST_RMEM_MAX = "net.core.rmem_max"
HOST_RMEM_MAX_BYTES = 212_992
"""What most distributions have."""

CEILING_START_BYTES = 256 * KIB
MAX_WINDOW = 65535
MAX_SCALE = 14


def window_scale(rmem_max_bytes: int, host_rmem_max_bytes: int) -> int:
    """Return by how many bits the kernel shifts the windows of a new connection.

    It is chosen once, when the connection is made, from the larger of the maximum
    of ``tcp_rmem`` and ``net.core.rmem_max`` at that time.
    """
    space = max(rmem_max_bytes, host_rmem_max_bytes)
    return min(max(space.bit_length() - 16, 0), MAX_SCALE)


def window_ceiling_bits_per_s(
    rmem_max_bytes: int, host_rmem_max_bytes: int, rtt_ns: int
) -> float:
    """Return the most that a live connection can carry, whatever its buffer."""
    scale = window_scale(rmem_max_bytes, host_rmem_max_bytes)
    return 8 * (MAX_WINDOW << scale) / (rtt_ns / 1e9)


def _case(name: str, flows: int, control: str) -> Case:
    scenario = replace(find(name), flows=flows, congestion_control=control)
    return Case(name=f"{name} {flows} {control}", scenario=scenario, tunables=(RMEM,))


def _like(name: str, scenario: Scenario) -> Case:
    return Case(name=name, scenario=scenario, tunables=(RMEM,))


def both_short(control: str) -> Case:
    """Return a case whose path needs more of both buffers."""
    return Case(
        name=f"both-short {control}",
        scenario=replace(find("both-short"), congestion_control=control),
        tunables=(RMEM, WMEM),
    )


def small_host_maximum() -> Case:
    """Return the case of a live flow whose windows cannot grow as far as its buffer."""
    scenario = replace(find("receiver-short"), rmem_max_bytes=CEILING_START_BYTES)
    return Case(
        name=f"receiver-short 1 cubic from 256 KiB, {HOST_RMEM_MAX} 212992",
        scenario=scenario,
        tunables=(RMEM,),
        most_bits_per_s=window_ceiling_bits_per_s(
            CEILING_START_BYTES, HOST_RMEM_MAX_BYTES, scenario.rtt_ns
        ),
        host={HOST_RMEM_MAX: HOST_RMEM_MAX_BYTES},
    )


def without_benefit(name: str) -> Case:
    """Return a case in which neither limit may change."""
    return Case(
        name=name,
        scenario=replace(find(name), seconds=NO_BENEFIT_S),
        tunables=(RMEM, WMEM),
        has_benefit=False,
    )


def cases() -> list[Case]:
    """Return all cases, the most telling first."""
    short = find("receiver-short")
    found = [_case(name, 1, "cubic") for name in LIVES]
    found += [both_short("cubic"), without_benefit(NO_BENEFIT[0])]
    found += [_case(name, 1, "bbr") for name in LIVES]
    found.append(small_host_maximum())
    found += [without_benefit(name) for name in NO_BENEFIT[1:]]
    before = replace(short, tuner_after_s=10.0, seconds=70.0)
    found.append(_like("receiver-short 1 cubic, flow before daemon", before))
    found.append(_like("receiver-short 1 cubic v6", replace(short, family=6)))
    for flows, control, name in product((4, 16), CONTROLS, LIVES):
        found.append(_case(name, flows, control))
    for flows, control in product((1, 4), CONTROLS):
        found.append(_case("receiver-satellite", flows, control))
    found.append(both_short("bbr"))
    return found


def main(argv: list[str] | None = None) -> int:
    """Measure all cases and write the table."""
    quick = {f"{name} 1 cubic" for name in LIVES}
    return run_cases(cases(), __doc__, "receive", quick, argv)


if __name__ == "__main__":
    sys.exit(main())
