"""What a congestion control learned per destination gains, and whom it harms.

Each case is run with the default, cubic, for all (the control), with bbr for all, and
with bpftune beginning with nothing known; one after the other, with the same seed.

    python -m bench.congestion [CASE ...] [--seeds 1,2,3] [--seconds S] [--out FILE]

A result is written as soon as it is there. Rates are of what was read, in the last
third of a run; round trips and what was sent again are of whole transfers, as the
sender's TCP knew at their end.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bpftune.lab.contender import Bpftune
from bpftune.lab.gateway import RoutedLink
from bpftune.lab.network import Lab
from bpftune.lab.traffic import Flows, Transfers
from bpftune.lab.triples import RMEM, WMEM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bpftune.lab.child import Record
    from bpftune.lab.link import EmulatedLink, Link
    from bpftune.lab.namespaces import Namespace

RESULTS = Path(__file__).parent / "results"
MBIT = 1_000_000
MB = 1_000_000
MS = 1_000_000
DEFAULT, OTHER = "cubic", "bbr"
ROOMY = 64 << 20
LOOK_S = 0.5
CONTROL, CONTROL_S = 3, 600.0
"""The controls take a third of the time, ten minutes at most: they learn nothing."""


@dataclass(frozen=True)
class Bottleneck:
    """A path and how long its queue is, in bandwidth-delay products."""

    rate_mbit: float
    rtt_ms: float
    queue_bdp: float = 1.0
    loss: float = 0.0

    def settings(self) -> dict[str, Any]:
        """Return it as the laboratory has it."""
        bdp = self.rate_mbit * MBIT * self.rtt_ms / 8000
        return {
            "rate_bits_per_s": int(self.rate_mbit * MBIT),
            "rtt_ns": int(self.rtt_ms * MS),
            "queue_bytes": int(self.queue_bdp * bdp),
            "loss": self.loss,
        }


@dataclass(frozen=True)
class Case:
    """*users* send transfers of *size* bytes, one after the other, over *path*.

    *foreign* users beside send the same; their program chose cubic. *second* is the
    path to another destination behind the same gateway. At each time of *turns*, as a
    share of the run, the path becomes another.
    """

    name: str
    path: Bottleneck
    size: int
    users: int = 1
    foreign: int = 0
    second: Bottleneck | None = None
    turns: tuple[tuple[float, Bottleneck], ...] = ()
    seconds: float = 900.0


LOSSY = Bottleneck(100, 40, 1, 0.001)
SHALLOW = Bottleneck(50, 40, 0.25)
CASES = (
    Case("lossy", LOSSY, 40 * MB),
    Case("lossier", replace(LOSSY, loss=0.01), 10 * MB),
    Case("lossy-short", LOSSY, 100_000, seconds=300),
    Case("bufferbloat", Bottleneck(50, 20, 8), 10 * MB, seconds=300),
    Case(
        "two-answers",
        Bottleneck(50, 40, 1, 0.01),
        10 * MB,
        users=2,
        second=replace(SHALLOW, rate_mbit=30),
        seconds=1200,
    ),
    Case("shallow", SHALLOW, 10 * MB, users=4, seconds=3600),
    Case("shallow-foreign", SHALLOW, 10 * MB, users=2, foreign=2, seconds=1800),
    Case(
        "one-bdp-foreign",
        replace(SHALLOW, queue_bdp=1),
        10 * MB,
        users=2,
        foreign=2,
        seconds=1800,
    ),
    Case(
        "turns",
        Bottleneck(50, 40, 1, 0.01),
        10 * MB,
        users=4,
        turns=((1 / 3, SHALLOW), (2 / 3, Bottleneck(50, 40, 1, 0.01))),
        seconds=2700,
    ),
)


def measured(flows: Flows, seconds: float) -> dict[str, Any]:
    """Return what came of one traffic."""
    series = flows.series()
    late = series[-max(1, len(series) // 3) :]
    ended = flows.transfers()
    later = [one for one in ended if one["began_s"] > seconds * 2 / 3]
    total_s = sum(one["took_s"] for one in ended)
    off_s = sum(one["took_s"] for one in ended if one["congestion_control"] != DEFAULT)
    return {
        "mbit_per_s": statistics.fmean(late) / MBIT if late else 0.0,
        "mbit_per_s_whole": flows.goodput_bits_per_s() / MBIT,
        "transfers": len(ended),
        "took_s": _median([one["took_s"] for one in later]),
        "rtt_ms": _median([one["rtt_us"] / 1000 for one in later]),
        "retransmitted": _retransmitted(ended),
        "retransmitted_late": _retransmitted(later),
        "off_share": off_s / total_s if total_s else 0.0,
        "off_transfers": sum(one["congestion_control"] != DEFAULT for one in ended),
        "minutes_mbit_per_s": [
            round(statistics.fmean(series[at : at + 60]) / MBIT, 1)
            for at in range(0, len(series), 60)
        ],
    }


def _median(numbers: list[float]) -> float | None:
    return round(statistics.median(numbers), 4) if numbers else None


def _retransmitted(transfers: list[Record]) -> float:
    sent = sum(one["segments"] for one in transfers)
    again = sum(one["retransmitted_segments"] for one in transfers)
    return round(again / sent, 5) if sent else 0.0


def told(records: list[Record], began_s: float) -> list[Record]:
    """Return what bpftune said of destinations, with seconds since the beginning."""
    return [
        {
            "at_s": round(one["lab_monotonic_s"] - began_s, 1),
            "record": one["record"],
            "destination": one.get("destination"),
            "why": one["why"],
            "evidence": one.get("evidence"),
        }
        for one in records
        if one["record"] in {"tries", "chosen", "ended"}
    ]


def set_up(lab: Lab, case: Case, default: str) -> tuple[list[Link], EmulatedLink]:
    """Make the sender and its destinations; return the ways, and the first path."""
    sender = lab.namespace("sender")
    receivers = [lab.namespace("receiver")]
    if case.second is None:
        path = lab.emulated_link(sender, receivers[0], **case.path.settings())
        ways: list[Link] = [path]
    else:
        gateway = lab.namespace("gateway")
        receivers.append(lab.namespace("receiver"))
        near = lab.veth(sender, gateway)
        path = lab.emulated_link(gateway, receivers[0], **case.path.settings())
        other = lab.emulated_link(gateway, receivers[1], **case.second.settings())
        ways = [RoutedLink(near, path), RoutedLink(near, other)]
    _roomy(sender, WMEM)
    for receiver in receivers:
        _roomy(receiver, RMEM)
    for namespace in (sender, *receivers):
        namespace.set_sysctl("net.ipv4.tcp_tw_reuse", "1")
        namespace.set_congestion_control(default)
    return ways, path


def _roomy(namespace: Namespace, name: str) -> None:
    low, initial, _ = namespace.sysctl(name).split()
    namespace.set_sysctl(name, f"{low} {initial} {ROOMY}")


def run(case: Case, arm: str, seed: int) -> dict[str, Any]:
    """Run *case* with *arm* for all, or ``bpftune``."""
    with Lab(seed) as lab:
        tuner = Bpftune()
        is_ours = arm == "bpftune"
        ways, path = set_up(lab, case, DEFAULT if is_ours else arm)
        try:
            if is_ours:
                tuner.start()
            traffic = Transfers(flows=case.users, transfer_bytes=case.size, think_s=0.1)
            all_flows = [lab.traffic(way, traffic) for way in ways]
            foreign = None
            if case.foreign:
                others = replace(
                    traffic, flows=case.foreign, congestion_control=DEFAULT
                )
                foreign = lab.traffic(ways[0], others)
            began_s = time.monotonic()
            _wait(case, path, all_flows, tuner, began_s)
            cost = tuner.cost()
        finally:
            tuner.stop()
        for flows in all_flows:
            flows.stop()
        result: dict[str, Any] = {
            "arm": arm,
            "seed": seed,
            "seconds": case.seconds,
            "ours": [measured(flows, case.seconds) for flows in all_flows],
        }
        if foreign is not None:
            foreign.stop()
            result["foreign"] = measured(foreign, case.seconds)
        path.close()
        there = path.carried()[0]
        result["emulator_busy"] = there["cpu_s"] / max(0.1, there["wall_s"])
        result["late_s"] = there["late_s"]
        if is_ours:
            result |= {"told": told(tuner.records, began_s), "cost": cost}
        return result


def _wait(
    case: Case,
    path: EmulatedLink,
    all_flows: list[Flows],
    tuner: Bpftune,
    began_s: float,
) -> None:
    """Let it run, and the path turn."""
    turns = list(case.turns)
    while (passed_s := time.monotonic() - began_s) < case.seconds:
        if turns and passed_s >= turns[0][0] * case.seconds:
            path.change(**turns.pop(0)[1].settings())
        if tuner.process is not None:
            tuner.check()
        all_flows[0].wait_s(LOOK_S)


def summary(runs: dict[str, dict[str, Any]]) -> list[str]:
    """Return the comparison with the control, a line each."""
    control, ours = runs[DEFAULT], runs["bpftune"]
    lines = []
    for number, mine in enumerate(ours["ours"]):
        base = control["ours"][number]
        best = runs[OTHER]["ours"][number]
        rate = mine["mbit_per_s"] / base["mbit_per_s"]
        whole = mine["mbit_per_s_whole"] / base["mbit_per_s_whole"]
        again = mine["retransmitted"] / max(1e-6, base["retransmitted"])
        lines += [
            f"destination {number + 1}: off the default {mine['off_share']:.1%}",
            (
                f"  Mbit/s {mine['mbit_per_s']:.1f}: {rate:.2f} of {DEFAULT}'s"
                f" (from the beginning {whole:.2f}), {OTHER} {best['mbit_per_s']:.1f}"
            ),
            f"  ms a round trip {mine['rtt_ms']}, {base['rtt_ms']}, {best['rtt_ms']}",
            (
                f"  sent again {mine['retransmitted']:.2%}: {again:.2f} of"
                f" {DEFAULT}'s, {OTHER} {best['retransmitted']:.2%}"
            ),
        ]
    if "foreign" in ours:
        kept = (
            ours["foreign"]["mbit_per_s_whole"] / control["foreign"]["mbit_per_s_whole"]
        )
        lines.append(f"foreign flows keep {kept:.2f} of what they have")
    lines += [
        f"{one['at_s']:6.0f} s {one['destination']} {one['record']}: {one['why']}"
        for one in ours["told"]
    ]
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the cases that are asked for; return 0."""
    parser = argparse.ArgumentParser(prog="python -m bench.congestion")
    parser.add_argument("cases", nargs="*", default=[case.name for case in CASES])
    parser.add_argument("--seeds", default="1")
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--out", type=Path, default=RESULTS / "congestion.jsonl")
    options = parser.parse_args(arguments)
    options.out.parent.mkdir(exist_ok=True)
    for case in CASES:
        if case.name not in options.cases:
            continue
        wanted = replace(case, seconds=options.seconds or case.seconds)
        control_s = min(CONTROL_S, wanted.seconds / CONTROL)
        shorter = replace(wanted, seconds=control_s)
        for seed in map(int, options.seeds.split(",")):
            runs = {
                arm: run(wanted if arm == "bpftune" else shorter, arm, seed)
                for arm in (DEFAULT, OTHER, "bpftune")
            }
            with options.out.open("a") as file:
                file.write(json.dumps({"case": asdict(wanted), "runs": runs}) + "\n")
            sys.stdout.write(f"{case.name}, seed {seed}:\n")
            for line in summary(runs):
                sys.stdout.write(f"  {line}\n")
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
