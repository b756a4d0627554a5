"""A transfer over a path on which the buffers are too small, for a while."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from tests.system.daemon import WMEM
from tests.system.paths import MBIT, MS, SMALL_TEXT

from bpftune.lab.namespaces import Namespace
from bpftune.lab.network import Lab
from bpftune.lab.traffic import Bulk, Traffic, Transfers

RATE_BITS_PER_S = 8 * MBIT
RTT_NS = 80 * MS
SECONDS = (12.0, 30.0)


class Bout:
    """Two namespaces of their own, a path between them and traffic; use ``close``.

    It is over at *until_s* (monotonic).
    """

    def __init__(self, seed: int, note: Callable[[Namespace], None]) -> None:
        """Begin; *seed* decides what is transferred, and how long.

        *note* hears of each namespace before there is any traffic.
        """
        chance = random.Random(seed)
        traffic: Traffic = chance.choice(
            (Bulk(), Bulk(reconnect_s=4.0), Transfers(transfer_bytes=400_000))
        )
        self._lab = Lab(seed).__enter__()
        try:
            self.sender = self._lab.namespace("from")
            self.receiver = self._lab.namespace("to")
            self.sender.set_sysctl(WMEM, SMALL_TEXT)
            for netns in self.namespaces:
                note(netns)
            link = self._lab.emulated_link(
                self.sender,
                self.receiver,
                rate_bits_per_s=RATE_BITS_PER_S,
                rtt_ns=RTT_NS,
            )
            self._flows = self._lab.traffic(link, traffic)
        except BaseException:
            self.close()
            raise
        self.until_s = time.monotonic() + chance.uniform(*SECONDS)

    @property
    def namespaces(self) -> tuple[Namespace, Namespace]:
        """The sender's and the receiver's."""
        return self.sender, self.receiver

    def close(self) -> None:
        """End the traffic, the path and the namespaces."""
        self._lab.__exit__(None, None, None)
