"""What the congestion tuner's BPF programs cost: new connections, and bulk.

Connecting, sending 1 KB and closing over veth, again and again in one thread, so
that both ends and all that carries the segments are on one processor. By turns
there are no programs, those of tcp_buffer, and both, with nothing decided for the
destination, the decision to stay with the default, another algorithm in force, or
one on trial. Where the algorithm is another, connections are compared with such as
get it from their route, as it costs something by itself. A path as short as this is
left alone whatever was decided: "near" is that as it is, and the others are
loaded so that no path counts as too short. Each turn has all of them in an
order of chance, and back (first and last, second and last but one ...), so that what
drifts is in all alike, and what is told are ratios of pairs. Then the kernel's own
statistics of the programs: runs and time, per connection and per MB of bulk.

    python -m bench.congestion_cost [--rounds N] [--connections N] [--out FILE]

The programs are attached to a control group of this process only. That for the end
of connections runs for the whole machine, whoever else connects there.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import random
import socket
import statistics
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.bpf_counts import Counts, bpf_statistics, program_counts
from bench.congestion_setups import (
    FOUND,
    SETUPS,
    Loaded,
    Programs,
    compared_with,
    give_routes,
    in_force,
    key_of,
    own_cgroup,
)
from bench.overhead import MB, PAYLOAD, Row, ratio_row, say
from bpftune.kernel.loader import Loader
from bpftune.lab.network import Lab
from bpftune.lab.traffic import Bulk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bpftune.lab.link import Link

HERE = Path(__file__).parent
CHUNK = 50
"""Connections between two looks at the kernel's statistics."""

COUNTED = 4000
WARM_UP = 50
TURNS = 2
"""Of a round, which has a new link: finding a free port takes longer and longer."""


def fastest_quarter(took: list[float]) -> float:
    """Return the mean of the least quarter.

    What else goes on here disturbs many, and makes none of them faster.
    """
    return statistics.fmean(sorted(took)[: max(1, len(took) // 4)])


@contextmanager
def connector(link: Link) -> Iterator[Callable[[int], list[float]]]:
    """Give what makes so many connections and tells how long each took, in s."""
    source, target = link.ends
    with target.namespace.inside(
        lambda: socket.create_server((target.ipv4, 0), backlog=16)
    ) as listener:
        at = listener.getsockname()

        def connect(count: int) -> list[float]:
            took_s = []
            for _ in range(count):
                began_s = time.perf_counter()
                client = socket.socket()
                client.connect(at)
                accepted, _ = listener.accept()
                client.sendall(PAYLOAD)
                client.close()
                while accepted.recv(65536):
                    pass
                accepted.close()
                took_s.append(time.perf_counter() - began_s)
            return took_s

        yield lambda count: source.namespace.inside(lambda: connect(count))


def make_link(lab: Lab) -> Link:
    """Join two new namespaces."""
    first, second = lab.namespace("a"), lab.namespace("b")
    for one in first, second:
        one.set_congestion_control(FOUND)
        one.set_sysctl("net.ipv4.ip_local_port_range", "1024 65535")
    return lab.veth(first, second)


# --- how many connections a second -------------------------------------------


def one_round(
    loaded: Loaded,
    turns: int,
    count: int,
    chance: random.Random,
) -> list[dict[str, float]]:
    """Return connections per second with each setup, for each turn there and back."""
    found = []
    # Connections wait in TIME-WAIT for a minute: those of other rounds are gone.
    with Lab() as lab:
        link = make_link(lab)
        with connector(link) as connect:
            for _ in range(turns):
                logs: dict[str, list[float]] = {one.name: [] for one in SETUPS}
                there = chance.sample(SETUPS, len(SETUPS))
                for setup in (*there, *reversed(there)):
                    with in_force(setup, loaded, link):
                        took_s = fastest_quarter(connect(WARM_UP + count)[WARM_UP:])
                    logs[setup.name].append(-math.log(took_s))
                found.append(
                    {
                        name: math.exp(statistics.fmean(one))
                        for name, one in logs.items()
                    }
                )
    return found


def rates(cgroup_fd: int, rounds: int, count: int) -> list[Row]:
    """Return a row for each setup: how its rate compares with others in its turn."""
    turns: list[dict[str, float]] = []
    with ExitStack() as stack:
        loaded: Loaded = {}
        for setup in SETUPS:
            if setup.tuners and key_of(setup) not in loaded:
                programs = Programs(stack.enter_context(Loader()), setup, cgroup_fd)
                programs.detach()
                loaded[key_of(setup)] = programs
        chance = random.Random(1)  # noqa: S311 - not for secrets
        for number in range(rounds):
            turns += one_round(loaded, TURNS, count, chance)
            rows = compared(turns)
            seen = ", ".join(
                f"{row['kind']} {row['median']:.3f} of {row['than']}" for row in rows
            )
            say(f"  {number + 1} of {rounds}: {seen}")
    return rows


def compared(turns: list[dict[str, float]]) -> list[Row]:
    """Return how each setup's rates compare with those of the two to compare with."""
    rows = []
    for setup in SETUPS[1:]:
        mine = [one[setup.name] for one in turns]
        for base in compared_with(setup):
            ratios = [one[setup.name] / one[base.name] for one in turns]
            row = ratio_row(setup.name, ratios, mine)
            del row["bits_per_s_without"]
            row["than"] = base.name
            row["connections_per_s"] = statistics.median(mine)
            row["middle"] = statistics.quantiles(ratios, n=4)[::2]
            rows.append(row)
    return rows


# --- what the programs do ----------------------------------------------------


def difference(before: Counts, after: Counts) -> dict[str, Any]:
    """Return runs and time of each program, and of all."""
    programs = {
        name: (runs - before[name][0], took_ns - before[name][1])
        for name, (runs, took_ns) in after.items()
    }
    return {
        "programs": programs,
        "runs": sum(runs for runs, _ in programs.values()),
        "took_ns": sum(took_ns for _, took_ns in programs.values()),
    }


def bulk_bytes(lab: Lab, link: Link, seconds: float) -> int:
    """Send as fast as it goes; return how many bytes arrived."""
    flows = lab.traffic(link, Bulk())
    flows.wait_s(seconds)
    flows.stop()
    return sum(sum(one["bytes"]) for one in flows.received())


def counted_connections(link: Link, count: int) -> Row:
    """Make *count* connections; return what the programs did, and at their fastest."""
    looks = [program_counts(os.getpid())]
    with connector(link) as connect:
        for _ in range(count // CHUNK):
            connect(CHUNK)
            looks.append(program_counts(os.getpid()))
    parts = list(itertools.starmap(difference, itertools.pairwise(looks)))
    return {
        "unit": "connection",
        "units": count // CHUNK * CHUNK,
        "undisturbed_ns": fastest_quarter([one["took_ns"] for one in parts]) / CHUNK,
    } | difference(looks[0], looks[-1])


def programs(cgroup_fd: int, count: int, seconds: float) -> list[Row]:
    """Return what the kernel counts for each setup, of connections and of bulk."""
    rows: list[Row] = []
    for setup in SETUPS:
        if not setup.tuners:
            continue
        with Lab() as lab, ExitStack() as stack:
            link = make_link(lab)
            loader = stack.enter_context(Loader())
            loaded = Programs(loader, setup, cgroup_fd)
            give_routes(link, setup.by_route)
            if setup.decided:
                loaded.decide(setup.decided, link)
            stack.enter_context(bpf_statistics())
            rows.append({"setup": setup.name} | counted_connections(link, count))
            before = program_counts(os.getpid())
            sent = bulk_bytes(lab, link, seconds)
            after = program_counts(os.getpid())
            rows.append(
                {"setup": setup.name, "unit": "MB", "units": sent / MB}
                | difference(before, after)
            )
    return rows


# --- the report --------------------------------------------------------------


def report(ratios: list[Row], counted: list[Row]) -> str:
    """Return both tables."""
    lines = ["| setup | a second | to | ratio: median, middle half | mean ± 2 s.e. |"]
    lines += ["|---|---|---|---|---|"]
    lines += [
        f"| {row['kind']} | {row['connections_per_s']:.0f} | {row['than']} "
        f"| {row['median']:.3f}, {row['middle'][0]:.3f} to {row['middle'][1]:.3f} "
        f"| {row['ratio']:.3f}, {row['low']:.3f} to {row['high']:.3f} |"
        for row in ratios
    ]
    lines += [
        "",
        "| programs | runs | ns | undisturbed | of which |",
        "|---|---|---|---|---|",
    ]
    for row in counted:
        runs, units = row["runs"], row["units"]
        parts = ", ".join(
            f"{name} {its_runs / units:.3g} x {its_ns / its_runs:.0f} ns"
            for name, (its_runs, its_ns) in row["programs"].items()
            if its_runs
        )
        lines.append(
            f"| {row['setup']} | {runs / units:.3g} / {row['unit']} "
            f"| {row['took_ns'] / units:.0f} "
            f"| {row.get('undisturbed_ns', math.nan):.0f} "
            f"| {parts} |"
        )
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Measure both parts and write the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.congestion_cost",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=50, help=f"of {TURNS} turns")
    parser.add_argument("--connections", type=int, default=300, help="of each run")
    parser.add_argument("--seconds", type=float, default=3.0, help="of bulk")
    out = HERE / "results" / "congestion_cost.json"
    parser.add_argument("--out", type=Path, default=out)
    options = parser.parse_args(argv)
    loads = [os.getloadavg()]
    with own_cgroup() as cgroup_fd:
        say("what the programs do")
        counted = programs(cgroup_fd, COUNTED, options.seconds)
        say("connections per second")
        allowed = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {max(allowed)})
        try:
            ratios = rates(cgroup_fd, options.rounds, options.connections)
        finally:
            os.sched_setaffinity(0, allowed)
    loads.append(os.getloadavg())
    options.out.parent.mkdir(exist_ok=True)
    result = {
        "schema": 1,
        "kernel": os.uname().release,
        "processors": os.cpu_count(),
        "load_averages": loads,
        "rates": ratios,
        "programs": counted,
    }
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(report(ratios, counted))
    print(f"\nload average {loads[0][0]:.2f} before, {loads[1][0]:.2f} after")
    return 0


if __name__ == "__main__":
    sys.exit(main())
