"""The network of a scenario: namespaces, links and their limits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bpftune.lab.link import EmulatedLink, Way
from bpftune.lab.traffic import Transfers
from bpftune.lab.triples import RMEM, WMEM, set_triple
from bpftune.lab.turns import also, second, traffic

if TYPE_CHECKING:
    from bpftune.lab.namespaces import Namespace
    from bpftune.lab.network import Lab
    from bpftune.lab.scenario import Scenario
    from bpftune.lab.traffic import Joined

CONTENT_RATE_BITS_PER_S = 50_000_000
CONTENT_RTT_NS = 20_000_000


@dataclass(frozen=True)
class Net:
    """What was made. Traffic goes over *link* and, if there is one, *second*.

    *paths* are the links that have a rate and a delay, if any has, that of *link*
    first. *content* is the link to a destination beside.
    """

    sender: Namespace
    receiver: Namespace
    link: Joined
    paths: tuple[EmulatedLink, ...]
    content: Joined | None = None
    second: Joined | None = None

    def close(self) -> None:
        """End what carries the packets."""
        for path in self.paths:
            path.close()


def set_up(lab: Lab, scenario: Scenario) -> Net:
    """Make the namespaces and links of *scenario*, and set their limits."""
    sender, receiver = lab.namespace("sender"), lab.namespace("receiver")
    receivers = [receiver]
    other = second(scenario)
    net: Net
    if other is not None:
        receivers.append(lab.namespace("second"))
        net = _routed(lab, sender, receivers, (scenario, other))
    elif scenario.rate_bits_per_s is None:
        net = Net(sender, receiver, lab.veth(sender, receiver), ())
    else:
        path = lab.emulated_link(sender, receiver, **scenario.path())
        net = Net(sender, receiver, path, (path,))
    if scenario.content_flows:
        receivers.append(lab.namespace("content"))
        content = lab.emulated_link(
            sender,
            receivers[-1],
            rate_bits_per_s=CONTENT_RATE_BITS_PER_S,
            rtt_ns=CONTENT_RTT_NS,
        )
        net = replace(net, content=content)
    set_limits(scenario, sender, receivers)
    return net


def _routed(
    lab: Lab,
    sender: Namespace,
    receivers: list[Namespace],
    scenarios: tuple[Scenario, Scenario],
) -> Net:
    """Make a router, to which the sender has one link, and a path to each receiver."""
    router = lab.namespace("router")
    for name in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
        router.set_sysctl(name, "1")
    hop = lab.veth(sender, router)
    paths = tuple(
        lab.emulated_link(router, receiver, **scenario.path())
        for receiver, scenario in zip(receivers, scenarios, strict=True)
    )
    for gateway, namespace in (
        (hop.ends[1], sender),
        *((path.ends[0], path.ends[1].namespace) for path in paths),
    ):
        namespace.ip(
            f"route add default via {gateway.ipv4}",
            f"route add default via {gateway.ipv6}",
        )
    first, then = (Way((hop.ends[0], path.ends[1])) for path in paths)
    return Net(sender, receivers[0], first, paths, second=then)


def set_limits(
    scenario: Scenario, sender: Namespace, receivers: list[Namespace]
) -> None:
    """Set the sysctls of both ends."""
    wmem = scenario.wmem_initial_bytes, scenario.wmem_max_bytes
    rmem = scenario.rmem_initial_bytes, scenario.rmem_max_bytes
    set_triple(sender, WMEM, *wmem)
    for namespace in receivers:
        set_triple(namespace, RMEM, *rmem)
    if any(isinstance(one, Transfers) for one in (traffic(scenario), also(scenario))):
        # Else the ports that ended transfers hold for a minute run out.
        for namespace in (sender, *receivers):
            namespace.set_sysctl("net.ipv4.tcp_tw_reuse", "1")
    if scenario.congestion_control:
        for namespace in (sender, *receivers):
            namespace.set_congestion_control(scenario.congestion_control)
