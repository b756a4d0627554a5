"""Several destinations behind one gateway: paths of their own, one device to all."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bpftune.lab.link import EmulatedLink, Link, VethLink

if TYPE_CHECKING:
    from bpftune.lab.namespaces import Namespace


class RoutedLink(Link):
    """The way from a sender over its gateway to the far end of *beyond*; IPv4 only."""

    def __init__(self, near: VethLink, beyond: EmulatedLink) -> None:
        """Add the routes: *near* leads from the sender to the gateway."""
        self.beyond = beyond
        source, target = near.ends[0], beyond.ends[1]
        self.ends = (replace(source, ipv6=""), replace(target, ipv6=""))
        near.ends[1].namespace.set_sysctl("net.ipv4.ip_forward", "1")
        _route(source.namespace, target.ipv4, near.ends[1].ipv4)
        _route(target.namespace, source.ipv4, beyond.ends[0].ipv4)

    @property
    def rtt_ns(self) -> int:
        """What a round trip takes at least, in ns."""
        return self.beyond.rtt_ns


def _route(inside: Namespace, address: str, gateway: str) -> None:
    inside.ip(f"route replace {address} via {gateway}")
