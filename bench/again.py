"""Does the daemon do better the second time? The same case before and after a restart.

A scenario runs twice in the same namespaces, each time from the same limit, with a
new daemon and new connections. Only what the first daemon learned is left to the
second. The table tells the writes of each, when the last of them was, and what the
connections carried.

    python -m bench.again [--scenario NAME] [--set KEY=VALUE]... [--out FILE]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bpftune.lab.contender import Bpftune
from bpftune.lab.network import Lab
from bpftune.lab.scenario import MIB, Scenario, override
from bpftune.lab.scenarios import find
from bpftune.lab.topology import set_up
from bpftune.lab.triples import RMEM, WMEM, Watched, set_triple

if TYPE_CHECKING:
    from bpftune.lab.child import Record
    from bpftune.lab.namespaces import Namespace
    from bpftune.lab.traffic import Joined

RESULTS = Path(__file__).parent / "results"
TIMES = 2
LOOK_S = 0.25


@dataclass(frozen=True)
class Settled:
    """How one run ended; *settled_s* is when the last write was, since the start.

    *writes* and *final_bytes* are those of the sender's and the receiver's limit.
    """

    writes: dict[str, int]
    settled_s: float
    final_bytes: dict[str, int]
    goodput_bits_per_s: float
    records: list[Record] = field(default_factory=list)


def settled(watched: list[Watched], began_s: float, goodput: float) -> Settled:
    """Return how a run ended whose values were *watched* since *began_s*."""
    last_s = max(one.values[-1][0] for one in watched)
    return Settled(
        writes={one.name: len(one.values) - 1 for one in watched},
        settled_s=round(max(0.0, last_s - began_s), 1),
        final_bytes={one.name: one.values[-1][1][2] for one in watched},
        goodput_bits_per_s=goodput,
    )


def once(
    lab: Lab, scenario: Scenario, ends: tuple[Namespace, Namespace, Joined], state: Path
) -> Settled:
    """Run *scenario* from its limits, with a daemon that knows what is in *state*."""
    sender, receiver, link = ends
    set_triple(sender, WMEM, scenario.wmem_initial_bytes, scenario.wmem_max_bytes)
    set_triple(receiver, RMEM, scenario.rmem_initial_bytes, scenario.rmem_max_bytes)
    watched = [Watched("sender", sender, WMEM), Watched("receiver", receiver, RMEM)]
    tested = Bpftune(state=state)
    try:
        tested.start(sender, receiver)
        flows = lab.traffic(link, scenario.make_traffic(), scenario.family)
        end_s = flows.started_s + scenario.seconds
        while time.monotonic() < end_s:
            for one in watched:
                one.look()
            tested.check()
            flows.wait_s(LOOK_S)
        found = settled(watched, flows.started_s, flows.goodput_bits_per_s(last_s=15))
        flows.stop()
    finally:
        tested.stop()
        for one in watched:
            one.close()
    return replace(found, records=tested.records)


def run(scenario: Scenario) -> list[Settled]:
    """Run *scenario* as often as ``TIMES`` says, one after the other."""
    found = []
    with (
        tempfile.TemporaryDirectory(prefix="bpftune-again-") as directory,
        Lab() as lab,
    ):
        net = set_up(lab, scenario)
        ends = net.sender, net.receiver, net.link
        for _ in range(TIMES):
            found.append(once(lab, scenario, ends, Path(directory)))
            print(line(len(found), found[-1]), flush=True)
        net.close()
    return found


def line(ordinal: int, one: Settled) -> str:
    """Return a line of the table."""
    sizes = ", ".join(
        f"{name.rpartition('.')[2]} {size / MIB:g} MiB"
        for name, size in one.final_bytes.items()
        if one.writes[name]
    )
    return (
        f"| {ordinal} | {sum(one.writes.values())} | {one.settled_s:.1f} "
        f"| {sizes or 'unchanged'} | {one.goodput_bits_per_s / 1e6:.0f} |"
    )


def main(argv: list[str] | None = None) -> int:
    """Run it, write the results; 1 unless the second run did better."""
    parser = argparse.ArgumentParser(prog="python -m bench.again", description=__doc__)
    parser.add_argument("--scenario", default="continent")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path, default=RESULTS / "again.json")
    options = parser.parse_args(argv)
    scenario = override(find(options.scenario), options.set)
    print("| run | writes | last after, s | limit | Mbit/s |")
    print("|---|---|---|---|---|")
    found = run(scenario)
    options.out.parent.mkdir(exist_ok=True)
    rows = [asdict(one) for one in found]
    result = {"schema": 1, "scenario": asdict(scenario), "runs": rows}
    options.out.write_text(json.dumps(result, indent=1))
    return int(not is_better(found[0], found[-1]))


def is_better(first: Settled, last: Settled) -> bool:
    """Tell whether *last* took fewer writes or less time, and carried as much."""
    less = sum(last.writes.values()) < sum(first.writes.values())
    sooner = last.settled_s < first.settled_s
    as_much = last.goodput_bits_per_s >= 0.9 * first.goodput_bits_per_s
    return as_much and (less or sooner)


if __name__ == "__main__":
    sys.exit(main())
