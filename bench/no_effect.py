"""How often is a gain claimed where there is none? Real trials without an effect.

At the knee, where the send buffer is just as large as the path needs, looks find
senders held back now and then, and a larger buffer gains nothing. Several such
paths run at once, each at another size about the knee. Of each it is measured
first, by hand, that four times the buffer gains less than ``NO_EFFECT``; those
where it gains more get no traffic later. Then a daemon that knows nothing runs for
a while, and the findings of its trials are counted. Rounds follow with new
namespaces until there were enough trials.

    python -m bench.no_effect [--trials N] [--out FILE]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from bpftune.lab.contender import Bpftune
from bpftune.lab.network import Lab
from bpftune.lab.scenario import KIB
from bpftune.lab.traffic import Bulk
from bpftune.lab.triples import RMEM, WMEM

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bpftune.lab.child import Record
    from bpftune.lab.link import Link
    from bpftune.lab.namespaces import Namespace

RESULTS = Path(__file__).parent / "results"
RATE_BITS_PER_S = 4_000_000
RTT_NS = 100_000_000
SIZES_KIB = (108, 112, 116, 120, 124, 128, 136, 144)
ROOMY = 4
NO_EFFECT = 1.02
CALIBRATION_S = 15.0
ROUND_S = 100.0
LOOK_S = 0.5
MOST_ROUNDS = 40
MOST_PAID_SHARE = 0.05

Knee = tuple["Namespace", "Link", int]


def set_up(lab: Lab) -> list[Knee]:
    """Make a path for each size."""
    paths: list[Knee] = []
    for size_kib in SIZES_KIB:
        sender, receiver = lab.namespace("sender"), lab.namespace("receiver")
        sender.set_congestion_control("cubic")
        receiver.set_sysctl(RMEM, "4096 131072 16777216")
        link = lab.emulated_link(
            sender, receiver, rate_bits_per_s=RATE_BITS_PER_S, rtt_ns=RTT_NS
        )
        paths.append((sender, link, size_kib * KIB))
    return paths


def set_sizes(paths: Sequence[Knee], factor: int = 1) -> None:
    """Set the send buffers of all paths to *factor* times their size."""
    for sender, _, size in paths:
        sender.set_sysctl(WMEM, f"4096 16384 {size * factor}")


def goodputs(lab: Lab, paths: Sequence[Knee]) -> list[float]:
    """Return what each path carries now, in bits per second."""
    flows = [lab.traffic(link, Bulk()) for _, link, _ in paths]
    end_s = time.monotonic() + CALIBRATION_S
    while time.monotonic() < end_s:
        flows[0].wait_s(LOOK_S)
    found = [one.goodput_bits_per_s(last_s=CALIBRATION_S * 2 / 3) for one in flows]
    for one in flows:
        one.stop()
    return found


def without_effect(lab: Lab, paths: Sequence[Knee]) -> list[Knee]:
    """Return those of *paths* on which a larger buffer gains nothing."""
    set_sizes(paths, ROOMY)
    roomy = goodputs(lab, paths)
    set_sizes(paths)
    tight = goodputs(lab, paths)
    pairs = zip(paths, roomy, tight, strict=True)
    return [path for path, most, now in pairs if most <= NO_EFFECT * now]


def findings(records: Iterable[Record]) -> list[str]:
    """Return what the trials in *records* came to, ``proved`` where it was."""
    found = []
    for record in records:
        trial = record.get("trial")
        if trial and trial["finding"] and record["tunable"] == WMEM:
            found.append("proved" if trial["proved"] else str(trial["finding"]))
    return found


def one_round() -> list[str]:
    """Return the findings of one daemon on paths of its own."""
    with Lab() as lab, ExitStack() as stack:
        paths = without_effect(lab, set_up(lab))
        if not paths:
            return []
        tested = Bpftune()
        stack.callback(tested.stop)
        tested.start()
        flows = [lab.traffic(link, Bulk()) for _, link, _ in paths]
        end_s = time.monotonic() + ROUND_S
        while time.monotonic() < end_s:
            tested.check()
            flows[0].wait_s(LOOK_S)
        tested.stop()
    return findings(tested.records)


def passes(counts: Counter[str]) -> bool:
    """Tell whether no gain is proved and few are believed."""
    paid = counts["paid"] + counts["proved"]
    judged = counts.total() - counts["void"]
    return not counts["proved"] and paid <= MOST_PAID_SHARE * judged


def main(argv: list[str] | None = None) -> int:
    """Run rounds until there were enough trials; 1 if too much was claimed."""
    parser = argparse.ArgumentParser(prog="bench.no_effect", description=__doc__)
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--out", type=Path, default=RESULTS / "no_effect.json")
    options = parser.parse_args(argv)
    options.out.parent.mkdir(exist_ok=True)
    counts: Counter[str] = Counter()
    for number in range(MOST_ROUNDS):
        counts.update(one_round())
        said = ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))
        print(f"after {number + 1} rounds: {said or 'no trial yet'}", flush=True)
        options.out.write_text(json.dumps({"schema": 1, "findings": counts}, indent=1))
        if counts.total() - counts["void"] >= options.trials:
            return int(not passes(counts))
    print("too few trials")
    return 1


if __name__ == "__main__":
    sys.exit(main())
