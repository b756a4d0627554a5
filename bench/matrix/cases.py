"""The rows of the matrix: lab scenarios, how long they run and what counts."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bench.matrix.measures import BULK, FOREIGN, GOODPUT, LATENCY, RTT, Measure
from bpftune.lab.scenario import KIB, MIB, Scenario, override
from bpftune.lab.scenarios import find

KERNELS_OWN = ("cc=cubic", "wmem=4MiB", "rmem=32MiB")
"""What Linux has by default on a machine with a few GB of memory: tcp_wmem at most 4
MiB, tcp_rmem 32 MiB since 6.16 (6 MiB before). Set, so that a host that was tuned
before measures the same."""

OLD_KERNELS_OWN = ("wmem=64MiB", "rmem=6MiB")


@dataclass(frozen=True, kw_only=True)
class Case:
    """One path, with the traffic on it.

    It is *scenario* of the lab with *settings*. A tuner that learns, and none, run
    for *seconds*; fixed values, with nothing to learn, for *fixed_s*. What counts are
    the last *steady_s* of either. The first of *measures* is the subject; the others
    say what that was paid with. The oracle tries *sizes_bytes*. *is_core* and
    *is_quick* are whether it is in the shorter matrices.
    """

    name: str
    title: str
    scenario: str
    settings: tuple[str, ...] = KERNELS_OWN
    seconds: float
    fixed_s: float
    steady_s: float
    measures: tuple[Measure, ...] = (GOODPUT,)
    sizes_bytes: tuple[int, ...] = (4 * MIB, 16 * MIB)
    is_core: bool = False
    is_quick: bool = False

    def at(self, seconds: float) -> Scenario:
        """Return the scenario as it is run for *seconds*."""
        return replace(override(find(self.scenario), [*self.settings]), seconds=seconds)


CASES = (
    Case(
        name="lan",
        title="LAN, below 0.1 ms",
        scenario="healthy-bulk",
        seconds=20,
        fixed_s=15,
        steady_s=10,
        is_core=True,
        is_quick=True,
    ),
    Case(
        name="long-fat",
        title="300 Mbit/s x 200 ms",
        scenario="long-fat",
        seconds=75,
        fixed_s=30,
        steady_s=15,
        sizes_bytes=(4 * MIB, 16 * MIB, 64 * MIB),
        is_core=True,
        is_quick=True,
    ),
    Case(
        name="receiver-limited",
        title="300 Mbit/s x 200 ms, limited by the receiver",
        scenario="receiver-short",
        settings=("rate=300mbit", "rtt=200ms", *OLD_KERNELS_OWN),
        seconds=75,
        fixed_s=30,
        steady_s=15,
        sizes_bytes=(6 * MIB, 16 * MIB, 64 * MIB),
        is_core=True,
    ),
    Case(
        name="lossy",
        title="100 Mbit/s x 40 ms, 0.1 % lost",
        scenario="lossy-long",
        settings=(*KERNELS_OWN, "transfer=10MB"),
        seconds=120,
        fixed_s=40,
        steady_s=30,
    ),
    Case(
        name="lossier",
        title="100 Mbit/s x 40 ms, 1 % lost",
        scenario="lossier",
        settings=(*KERNELS_OWN, "transfer=2500kB"),
        seconds=120,
        fixed_s=40,
        steady_s=30,
        is_core=True,
        is_quick=True,
    ),
    Case(
        name="bufferbloat",
        title="50 Mbit/s x 20 ms, buffer of 8 BDP",
        scenario="bufferbloat",
        seconds=120,
        fixed_s=30,
        steady_s=20,
        measures=(RTT, GOODPUT),
        is_core=True,
    ),
    Case(
        name="shallow",
        title="100 Mbit/s x 40 ms, buffer of 1/4 BDP, 4 flows",
        scenario="shallow-shared",
        seconds=120,
        fixed_s=40,
        steady_s=30,
    ),
    Case(
        name="shared",
        title="100 Mbit/s x 40 ms, 2 flows and 2 of others",
        scenario="one-bdp-foreign",
        seconds=180,
        fixed_s=65,
        steady_s=60,
        measures=(FOREIGN, GOODPUT),
        is_core=True,
    ),
    Case(
        name="changing",
        title="a path that is another every 60 s",
        scenario="path-changes",
        seconds=300,
        fixed_s=300,
        steady_s=300,
    ),
    Case(
        name="peer-window",
        title="100 Mbit/s x 100 ms, the peer's window limits",
        scenario="peer-window",
        settings=(),
        seconds=60,
        fixed_s=30,
        steady_s=15,
        sizes_bytes=(512 * KIB, 4 * MIB),
    ),
    Case(
        name="app-limited",
        title="200 Mbit/s x 50 ms, the application limits",
        scenario="app-limited",
        settings=(),
        seconds=60,
        fixed_s=30,
        steady_s=15,
        sizes_bytes=(1 * MIB, 4 * MIB),
    ),
    Case(
        name="short-objects",
        title="objects of 100 kB, 100 Mbit/s x 40 ms",
        scenario="short-objects",
        seconds=120,
        fixed_s=30,
        steady_s=20,
        measures=(LATENCY, GOODPUT),
    ),
    Case(
        name="requests-beside-bulk",
        title="requests beside bulk, 50 Mbit/s x 20 ms, buffer of 8 BDP",
        scenario="requests-beside-bulk",
        seconds=120,
        fixed_s=30,
        steady_s=20,
        measures=(LATENCY, BULK),
    ),
)
