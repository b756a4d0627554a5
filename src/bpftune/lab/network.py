"""The laboratory itself: what it made goes when its ``with`` block ends."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

from bpftune.lab.congestion import repair
from bpftune.lab.errors import NotPermittedError
from bpftune.lab.link import EmulatedLink, PathSettings, VethLink
from bpftune.lab.namespaces import Namespace, remove_stale
from bpftune.lab.traffic import Flows, Joined, Traffic

if TYPE_CHECKING:
    from types import TracebackType


class Lab:
    """Namespaces, links and traffic of one experiment; a context manager."""

    def __init__(self, seed: int = 0) -> None:
        """Make nothing yet; *seed* decides what is random."""
        self.seed = seed
        self._stack = ExitStack()
        self._links = 0

    def __enter__(self) -> Lab:
        if os.geteuid():
            raise NotPermittedError("the lab makes network namespaces: run it as root")
        repair()
        remove_stale()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def namespace(self, role: str) -> Namespace:
        """Make a namespace; *role* is one word."""
        namespace = Namespace(role)
        self._stack.callback(namespace.close)  # first: a signal may come in between
        namespace.make()
        return namespace

    def veth(self, first: Namespace, second: Namespace) -> VethLink:
        """Join two namespaces by a veth pair."""
        return VethLink(first, second, self._number())

    def emulated_link(
        self,
        first: Namespace,
        second: Namespace,
        *,
        rate_bits_per_s: int,
        rtt_ns: int,
        queue_bytes: int | None = None,
        loss: float = 0.0,
    ) -> EmulatedLink:
        """Join two namespaces by an emulated path, see ``PathSettings``."""
        number = self._number()
        settings = PathSettings(rate_bits_per_s, rtt_ns, queue_bytes, loss)
        link = EmulatedLink(first, second, number, settings, self.seed * 1000 + number)
        self._stack.callback(link.close)
        return link

    def traffic(self, link: Joined, traffic: Traffic, family: int = 4) -> Flows:
        """Start *traffic* from the link's first end to its second."""
        flows = Flows(link, traffic, family)
        self._stack.callback(flows.stop)
        flows.start()
        return flows

    def _number(self) -> int:
        self._links += 1
        return self._links - 1
