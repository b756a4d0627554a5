"""What the daemon costs a machine that has no use for it.

First the BPF programs: how often they run and how long, per short connection,
per MB of bulk and per second of 10 Gbit/s over veth, from the kernel's own
statistics; beside them the daemon's own time, and how often it woke. Then a healthy
host: bulk and request/response over veth, with and without the daemon by turns, as
ratios of pairs.

    python -m bench.overhead [--repeat N] [--seconds S] [--out FILE]

The kernel's statistics are on while this holds a descriptor, and cost about as
much as a short program does; so they are off in the second part.
"""

from __future__ import annotations

import argparse
import json
import math
import operator
import os
import socket
import statistics
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.bpf_counts import bpf_statistics, program_counts
from bench.footprint import footprint
from bpftune.lab.contender import Bpftune
from bpftune.lab.network import Lab
from bpftune.lab.traffic import Bulk, Requests, Traffic

if TYPE_CHECKING:
    from collections.abc import Callable

    from bpftune.lab.link import Link

HERE = Path(__file__).parent
WMEM = "net.ipv4.tcp_wmem"
CONNECTIONS = 2000
PAYLOAD = bytes(1000)
REQUEST_BYTES = 4096
WARM_UP_S = 1.0
MB = 1_000_000
FAST_BYTES_PER_S = 10e9 / 8

Row = dict[str, Any]


def say(text: str) -> None:
    """Show progress."""
    print(text, file=sys.stderr, flush=True)


# --- BPF programs -------------------------------------------------------------


def measured(pid: int, what: str, unit: str, work: Callable[[], float]) -> list[Row]:
    """Do *work*, which returns how many units it did; return a row per program."""
    before, daemon, began_s = program_counts(pid), footprint(pid), time.monotonic()
    units = work()
    now = footprint(pid)
    took_s = time.monotonic() - began_s
    rows: list[Row] = []
    for name, after in sorted(program_counts(pid).items()):
        runs, ran_ns = map(operator.sub, after, before.get(name, (0, 0)))
        if runs:
            row = {
                "what": what,
                "unit": unit,
                "program": name,
                "units": round(units, 3),
                "runs": runs,
                "runs_per_unit": runs / units,
                "ns_per_run": ran_ns / runs,
                "ns_per_unit": ran_ns / units,
            }
            rows.append(row)
    rows.append(
        {
            "what": what,
            "unit": unit,
            "program": "(the daemon's own time)",
            "units": round(units, 3),
            "ns_per_unit": (now.cpu_s - daemon.cpu_s) * 1e9 / units,
            "seconds": round(took_s, 3),
            "wakeups_per_minute": (now.wakeups - daemon.wakeups) * 60 / took_s,
        }
    )
    for row in rows:
        say(f"  {table_row(row)}")
    return rows


def short_connections(link: Link) -> float:
    """Connect, send a little and close, CONNECTIONS times; return how many."""
    source, target = link.ends
    ready = threading.Event()
    port = 0

    def serve() -> None:
        nonlocal port
        with socket.create_server((target.ipv4, 0), backlog=1024) as listener:
            port = listener.getsockname()[1]
            ready.set()
            for _ in range(CONNECTIONS):
                accepted, _ = listener.accept()
                with accepted:
                    while accepted.recv(65536):
                        pass

    def connect() -> None:
        for _ in range(CONNECTIONS):
            with socket.create_connection((target.ipv4, port)) as one:
                one.sendall(PAYLOAD)

    server = threading.Thread(target=target.namespace.inside, args=(serve,))
    server.start()
    ready.wait()
    source.namespace.inside(connect)
    server.join()
    return float(CONNECTIONS)


def programs(lab: Lab, seconds: float) -> list[Row]:
    """Measure what the BPF programs cost."""
    first, second = lab.namespace("from"), lab.namespace("to")
    veth = lab.veth(first, second)
    far_first, far_second = lab.namespace("farfrom"), lab.namespace("farto")
    far = lab.emulated_link(
        far_first, far_second, rate_bits_per_s=20 * MB, rtt_ns=40 * MB
    )

    def megabytes(link: Link) -> float:
        flows = lab.traffic(link, Bulk())
        flows.wait_s(seconds)
        flows.stop()
        return sum(map(sum, (one["bytes"] for one in flows.received()))) / MB

    def fast_seconds(link: Link) -> float:
        return megabytes(link) * MB / FAST_BYTES_PER_S

    def flow_seconds(link: Link) -> float:
        flows = lab.traffic(link, Bulk())
        flows.wait_s(seconds)
        flows.stop()
        return seconds

    def requests(link: Link) -> float:
        flows = lab.traffic(link, Requests(request_bytes=REQUEST_BYTES))
        flows.wait_s(seconds)
        flows.stop()
        return sum(map(sum, (one["bytes"] for one in flows.received()))) / REQUEST_BYTES

    daemon = Bpftune()
    with bpf_statistics():
        try:
            daemon.start(first)
            pid = next(int(one["pid"]) for one in daemon.records if "pid" in one)
            work: list[tuple[str, str, Callable[[], float]]] = [
                ("nothing", "second", lambda: idle(seconds)),
                ("short connections", "connection", lambda: short_connections(veth)),
                ("requests over veth", "request", lambda: requests(veth)),
                ("bulk over veth", "MB", lambda: megabytes(veth)),
                ("bulk over veth", "second of 10 Gbit/s", lambda: fast_seconds(veth)),
                ("a flow over 40 ms", "second", lambda: flow_seconds(far)),
            ]
            return [row for one in work for row in measured(pid, *one)]
        finally:
            daemon.stop()


def idle(seconds: float) -> float:
    """Let others on the machine show what they cause."""
    time.sleep(seconds)
    return seconds


# --- a healthy host ----------------------------------------------------------


def rate(lab: Lab, link: Link, traffic: Traffic, seconds: float) -> float:
    """Return bits per second, without the beginning."""
    flows = lab.traffic(link, traffic)
    flows.wait_s(WARM_UP_S + seconds)
    flows.stop()
    return flows.goodput_bits_per_s(last_s=seconds)


def pairs(lab: Lab, repeat: int, seconds: float) -> tuple[list[Row], list[Row]]:
    """Measure with and without the daemon by turns; return rows and changes."""
    first, second = lab.namespace("a"), lab.namespace("b")
    link = lab.veth(first, second)
    kinds: dict[str, Traffic] = {
        "bulk": Bulk(),
        "request/response": Requests(request_bytes=REQUEST_BYTES),
    }
    ratios: dict[str, list[float]] = {kind: [] for kind in kinds}
    rates: dict[str, list[float]] = {kind: [] for kind in kinds}
    records: list[Row] = []
    found = first.sysctl(WMEM), second.sysctl(WMEM)
    for turn in range(repeat):
        for kind, traffic in kinds.items():
            rates_of: dict[bool, list[float]] = {True: [], False: []}
            # First and last, or twice between: what drifts is in both alike.
            outer = turn % 2 == 0
            for with_daemon in (outer, not outer, not outer, outer):
                daemon = Bpftune()
                try:
                    if with_daemon:
                        daemon.start(first)
                    rates_of[with_daemon].append(rate(lab, link, traffic, seconds))
                finally:
                    daemon.stop()
                records += daemon.records
            ratios[kind].append(math.prod(rates_of[True]) / math.prod(rates_of[False]))
            ratios[kind][-1] **= 0.5
            rates[kind] += rates_of[False]
            say(f"  {kind}: {ratios[kind][-1]:.3f}")
    if (first.sysctl(WMEM), second.sysctl(WMEM)) != found:
        raise SystemExit("the daemon changed a healthy host")
    changes = [one for one in records if one["record"] == "change"]
    return [ratio_row(kind, ratios[kind], rates[kind]) for kind in kinds], changes


def ratio_row(kind: str, ratios: list[float], rates: list[float]) -> Row:
    """Return the geometric mean of *ratios* with twice its standard error."""
    logs = [math.log(ratio) for ratio in ratios]
    mean = statistics.fmean(logs)
    spread = statistics.stdev(logs) if len(logs) > 1 else math.nan
    error = 2 * spread / math.sqrt(len(logs))
    return {
        "kind": kind,
        "pairs": len(ratios),
        "ratio": math.exp(mean),
        "low": math.exp(mean - error),
        "high": math.exp(mean + error),
        "least": min(ratios),
        "most": max(ratios),
        "median": statistics.median(ratios),
        "bits_per_s_without": statistics.fmean(rates),
    }


# --- the report --------------------------------------------------------------


def table_row(row: Row) -> str:
    """Return one line of the table of programs."""
    runs = ns = wakeups = ""
    if "runs" in row:
        runs, ns = f"{row['runs_per_unit']:.3g}", f"{row['ns_per_run']:.0f}"
    else:
        wakeups = f"{row['wakeups_per_minute']:.3g}"
    return (
        f"| {row['what']} | {row['program']} | {runs} | {ns} "
        f"| {row['ns_per_unit']:.4g} ns / {row['unit']} | {wakeups} |"
    )


def report(rows: list[Row], healthy: list[Row]) -> str:
    """Return both tables."""
    heads = ["traffic", "program", "runs", "ns a run", "cost", "wake-ups a minute"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    lines += map(table_row, rows)
    lines += ["", "| healthy host | with / without | ± 2 s.e. | turns: least, most |"]
    lines += ["|---|---|---|---|"]
    lines += [
        f"| {row['kind']} | {row['ratio']:.4f} | {row['low']:.4f} to {row['high']:.4f} "
        f"| {row['pairs']}: {row['least']:.3f}, {row['most']:.3f} |"
        for row in healthy
    ]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Measure both parts and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=20, help="turns of two pairs")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each run")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "overhead.json")
    options = parser.parse_args(argv)
    with Lab() as lab:
        say("BPF programs")
        rows = programs(lab, options.seconds)
    with Lab() as lab:
        say("a healthy host, with the daemon and without")
        healthy, changes = pairs(lab, options.repeat, options.seconds)
    options.out.parent.mkdir(exist_ok=True)
    result = {
        "schema": 1,
        "kernel": os.uname().release,
        "programs": rows,
        "healthy": healthy,
        "changes": changes,
    }
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(report(rows, healthy))
    return 1 if changes else 0


if __name__ == "__main__":
    sys.exit(main())
