"""Does the send-buffer tuner find what a path needs? Against a grid by hand.

What is measured and how, see ``bench.grid``. Cases without benefit run for 120 s.

    python -m bench.send_buffers [--quick] [--only WORD] [--out FILE]
"""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import product

from bench.grid import Case, run_cases
from bpftune.lab.scenario import Scenario, override
from bpftune.lab.scenarios import find
from bpftune.lab.triples import WMEM

PATHS = ("long-fat", "satellite", "continent")
NO_BENEFIT = ("peer-window", "app-limited", "path-limited", "lossy", "lan")
# The rule was found on the paths above; these are others.
VARIED = {
    "20 Mbit/s x 200 ms": "rate=20mbit rtt=200ms wmem=128KiB",
    "30 Mbit/s x 600 ms": "rate=30mbit rtt=600ms wmem=256KiB",
    "80 Mbit/s x 250 ms, queue 1/2 BDP": (
        "rate=80mbit rtt=250ms wmem=512KiB queue=1250KiB"
    ),
    "200 Mbit/s x 50 ms, queue 3 BDP": (
        "rate=200mbit rtt=50ms wmem=256KiB queue=3700KiB"
    ),
    "100 Mbit/s x 20 ms from 64 KiB": "rate=100mbit rtt=20ms wmem=64KiB",
    "100 Mbit/s x 80 ms, 2 flows": "rate=100mbit rtt=80ms wmem=256KiB flows=2",
    "60 Mbit/s x 120 ms, 0.01 % loss": "rate=60mbit rtt=120ms wmem=256KiB loss=0.01%",
    "80 Mbit/s x 100 ms, new flow each 15 s": (
        "rate=80mbit rtt=100ms wmem=256KiB reconnect=15s"
    ),
    "80 Mbit/s x 100 ms, flow before daemon": (
        "rate=80mbit rtt=100ms wmem=256KiB late=10s seconds=70s"
    ),
}


def _case(name: str, scenario: Scenario, *, has_benefit: bool = True) -> Case:
    return Case(name=name, scenario=scenario, tunables=(WMEM,), has_benefit=has_benefit)


def cases() -> list[Case]:
    """Return all cases, those with something to gain first."""
    found = []
    for path, flows, control in product(PATHS, (1, 4, 16), ("cubic", "bbr")):
        scenario = replace(find(path), flows=flows, congestion_control=control)
        found.append(_case(f"{path} {flows} {control}", scenario))
    found.append(_case("long-fat 1 cubic v6", replace(find("long-fat"), family=6)))
    found.append(_case("starved-beside-content", find("starved-beside-content")))
    for name, settings in VARIED.items():
        for control in ("cubic", "bbr"):
            setting = [*settings.split(), f"cc={control}"]
            scenario = override(find("long-fat"), setting)
            found.append(_case(f"varied: {name}, {control}", scenario))
    found += [_case(name, find(name), has_benefit=False) for name in NO_BENEFIT]
    for name in ("peer-window", "path-limited"):
        scenario = replace(find(name), congestion_control="bbr")
        found.append(_case(f"{name} bbr", scenario, has_benefit=False))
    return found


def main(argv: list[str] | None = None) -> int:
    """Measure all cases and write the table."""
    quick = {f"{path} 1 cubic" for path in PATHS}
    return run_cases(cases(), __doc__, "send", quick, argv)


if __name__ == "__main__":
    sys.exit(main())
