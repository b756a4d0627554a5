"""One run of a scenario under a tuner, and what came of it."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from bpftune.lab.contender import contender
from bpftune.lab.measured import emulated, measured
from bpftune.lab.network import Lab
from bpftune.lab.topology import set_up
from bpftune.lab.traffic import Bulk
from bpftune.lab.triples import RMEM, WMEM, Watched, in_order
from bpftune.lab.turns import also, second, traffic, turns

if TYPE_CHECKING:
    from collections.abc import Callable

    from bpftune.lab.child import Record
    from bpftune.lab.contender import Contender
    from bpftune.lab.scenario import Scenario
    from bpftune.lab.topology import Net
    from bpftune.lab.traffic import Flows
    from bpftune.lab.turns import Turn

    Progress = Callable[[float, float], None]

LOOK_S = 0.25
STEADY_S = 15.0
FOREIGN_CONTROL = "cubic"


@dataclass(frozen=True)
class Result:
    """What came of a run. Times in ``values`` are seconds since the traffic began.

    ``goodput_bits_per_s`` is the mean of the last 15 s (of the last half of a
    shorter run), of all measured flows together. A series has a number for each
    second; that of a round trip or a latency, medians both, None where nothing was
    told. ``values`` are those met of the
    sender's ``net.ipv4.tcp_wmem`` and of the receiver's ``net.ipv4.tcp_rmem``, four
    looks a second, and ``writes`` counts the changes of each. ``requests_per_s`` and
    the latencies are those of transfers where these are the traffic, and
    ``connections`` and ``transfers`` are those that ended, see ``Flows``. ``beside``
    has the same of other traffic, by what it is. ``began_s`` is when the traffic
    began, on the clock of ``lab_monotonic_s`` in the records, and ``destination`` where
    it goes as these have it. ``late_s`` is how late
    the emulator was at worst and ``emulator_busy`` its share of a CPU: not far below
    the RTT, or near 1, the machine was too slow for this scenario. ``waited_s`` is how
    long the receiver waited for a CPU in one of a hundred cases.
    """

    scenario: str
    tuner: str
    seed: int
    parameters: dict[str, Any]
    goodput_bits_per_s: float
    goodput_whole_bits_per_s: float
    per_flow_bits_per_s: list[float]
    series_bits_per_s: list[float]
    series_rtt_s: list[float | None]
    series_latency_s: list[float | None]
    retransmitted_share: float
    rtt_min_s: float | None
    rtt_median_s: float | None
    requests_per_s: float | None
    latency_median_s: float | None
    latency_p99_s: float | None
    content_bits_per_s: float | None
    values: list[Record]
    writes: dict[str, int]
    connections: list[Record]
    transfers: list[Record]
    destination: str
    beside: dict[str, Record]
    began_s: float
    dropped_share: float | None
    late_s: float | None
    waited_s: float
    emulator_busy: float | None
    tuner_cost: Record
    records: list[Record] = field(default_factory=list)

    @property
    def headline(self) -> float:
        """What two runs are compared by: requests a second, else goodput."""
        if self.requests_per_s is not None:
            return self.requests_per_s
        return self.goodput_bits_per_s

    def met(self, tunable: str) -> list[list[int]]:
        """Return the values met of *tunable*, the one found first."""
        return [one["value"] for one in self.values if one["tunable"] == tunable]

    def as_json(self) -> dict[str, Any]:
        """Return one object for machines."""
        return {"schema": 1, **asdict(self)}


def run_scenario(
    scenario: Scenario,
    tuner: str = "none",
    seed: int = 0,
    progress: Progress | None = None,
) -> Result:
    """Run *scenario* under *tuner* (see ``contender``) and measure.

    *progress* is called with the seconds passed and the goodput of the last one.
    Everything made is gone on return. Raises LabError where something fails,
    with what and why.
    """
    tested = contender(tuner, scenario.hurry)
    due, wanted = turns(scenario), traffic(scenario)
    with Lab(seed) as lab, ExitStack() as stack:
        net = set_up(lab, scenario)
        watched = [
            Watched("sender", net.sender, WMEM),
            Watched("receiver", net.receiver, RMEM),
        ]
        for one in watched:
            stack.callback(one.close)
            one.look()
        stack.callback(tested.stop)
        if not scenario.tuner_after_s:
            tested.start(net.sender, net.receiver)
        others = _others(lab, scenario, net)
        flows = lab.traffic(net.link, wanted, scenario.family)
        content = None
        if net.content is not None:
            beside = Bulk(flows=scenario.content_flows)
            content = lab.traffic(net.content, beside, scenario.family)
        running = _Running(net, tested, flows, watched, due, progress)
        end_s = flows.started_s + scenario.seconds
        if scenario.tuner_after_s:
            running.until(min(flows.started_s + scenario.tuner_after_s, end_s))
            tested.start(net.sender, net.receiver)
        running.until(end_s)
        cost = tested.cost()
        tested.stop()
        for one in watched:
            one.look()
        for ending in (flows, content, *others.values()):
            if ending is not None:
                ending.stop()
        net.close()
    steady_s = min(STEADY_S, scenario.seconds / 2)
    return Result(
        scenario=scenario.name,
        tuner=tuner,
        seed=seed,
        parameters=asdict(scenario),
        values=in_order(watched, flows.started_s),
        connections=flows.connections(),
        writes={one.name: len(one.values) - 1 for one in watched},
        content_bits_per_s=content.goodput_bits_per_s(steady_s) if content else None,
        beside={what: measured(other, steady_s) for what, other in others.items()},
        began_s=flows.started_s,
        tuner_cost=cost,
        records=tested.records,
        **measured(flows, steady_s),
        **emulated(net.paths),
    )


def _others(lab: Lab, scenario: Scenario, net: Net) -> dict[str, Flows]:
    """Start the traffic beside, by what it is."""
    others: dict[str, Flows] = {}
    if scenario.foreign_flows:
        foreign = replace(
            scenario.make_traffic(),
            flows=scenario.foreign_flows,
            congestion_control=FOREIGN_CONTROL,
        )
        others["foreign"] = lab.traffic(net.link, foreign, scenario.family)
    more = also(scenario)
    if more is not None:
        others["also"] = lab.traffic(net.link, more, scenario.family)
    other = second(scenario)
    if other is not None and net.second is not None:
        others["second"] = lab.traffic(
            net.second, other.make_traffic(), scenario.family
        )
    return others


@dataclass
class _Running:
    """What happens while traffic runs. *due* are the turns to come."""

    net: Net
    tested: Contender
    flows: Flows
    watched: list[Watched]
    due: list[Turn]
    progress: Progress | None
    told_s: float = -1.0

    def until(self, end_s: float) -> None:
        """Let the traffic run until *end_s* and look at everything now and then."""
        while (now_s := time.monotonic()) < end_s:
            passed_s = now_s - self.flows.started_s
            while self.due and self.due[0].at_s <= passed_s:
                self.net.paths[0].change(**self.due.pop(0).scenario.path())
            for one in self.watched:
                one.look()
            self.tested.check()
            if self.progress and passed_s >= self.told_s + 1:
                self.progress(passed_s, self.flows.goodput_bits_per_s(last_s=1))
                self.told_s = passed_s
            self.flows.wait_s(min(LOOK_S, end_s - now_s))
