"""The network of a scenario: namespaces, links and their limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bpftune.lab.triples import RMEM, WMEM, set_triple

if TYPE_CHECKING:
    from bpftune.lab.link import Link
    from bpftune.lab.namespaces import Namespace
    from bpftune.lab.network import Lab
    from bpftune.lab.scenario import Scenario

CONTENT_RATE_BITS_PER_S = 50_000_000
CONTENT_RTT_NS = 20_000_000


@dataclass(frozen=True)
class Net:
    """What was made. Traffic goes over *link*, and *path* is what is emulated of it.

    *content* is the link to another destination, if there is one.
    """

    sender: Namespace
    receiver: Namespace
    link: Link
    path: Link
    content: Link | None = None


def set_up(lab: Lab, scenario: Scenario) -> Net:
    """Make the namespaces and links of *scenario*, and set their limits."""
    sender, receiver = lab.namespace("sender"), lab.namespace("receiver")
    receivers = [receiver]
    link: Link
    if scenario.rate_bits_per_s is None:
        link = lab.veth(sender, receiver)
    else:
        link = lab.emulated_link(sender, receiver, **scenario.path())
    content = None
    if scenario.content_flows:
        receivers.append(lab.namespace("content"))
        content = lab.emulated_link(
            sender,
            receivers[-1],
            rate_bits_per_s=CONTENT_RATE_BITS_PER_S,
            rtt_ns=CONTENT_RTT_NS,
        )
    set_limits(scenario, sender, receivers)
    return Net(sender, receiver, link, link, content)


def set_limits(
    scenario: Scenario, sender: Namespace, receivers: list[Namespace]
) -> None:
    """Set the sysctls of both ends."""
    wmem = scenario.wmem_initial_bytes, scenario.wmem_max_bytes
    rmem = scenario.rmem_initial_bytes, scenario.rmem_max_bytes
    set_triple(sender, WMEM, *wmem)
    for namespace in receivers:
        set_triple(namespace, RMEM, *rmem)
    if scenario.traffic in {"transfers", "downloads"}:
        # Else the ports that ended transfers hold for a minute run out.
        for namespace in (sender, *receivers):
            namespace.set_sysctl("net.ipv4.tcp_tw_reuse", "1")
    if scenario.congestion_control:
        for namespace in (sender, *receivers):
            namespace.set_congestion_control(scenario.congestion_control)
