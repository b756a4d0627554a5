"""What is told of transfers that begin with a small receive buffer."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpftune.kernel.cgroup import cgroup2_root
from bpftune.kernel.loader import Loader
from bpftune.lab.link import EmulatedLink
from bpftune.lab.network import Lab
from bpftune.lab.traffic import Downloads, Transfers
from bpftune.tuners.tcp_buffer import TcpBuffer
from bpftune.tuners.tcp_buffer.events import Transferred
from bpftune.tuners.tcp_buffer.initial import ENOUGH_BYTES
from tests.pace import patient

KIB = 1 << 10
SMALL_BYTES = 16 * KIB
RTT_S = 0.02
RMEM = "net.ipv4.tcp_rmem"
DEADLINE_S = patient(10)


def rmem(initial: int) -> str:
    return f"4096 {initial} {32 << 20}"


class Watching:
    """The tuner's programs, attached to everything, and two namespaces."""

    def __init__(self, lab: Lab, loader: Loader) -> None:
        self.lab = lab
        self.loader = loader
        self.sender, self.receiver = lab.namespace("a"), lab.namespace("b")
        self.link: EmulatedLink = lab.emulated_link(
            self.sender,
            self.receiver,
            rate_bits_per_s=100_000_000,
            rtt_ns=int(RTT_S * 1e9),
        )

    def told(self) -> list[Transferred]:
        """Return what was told of the receiver since the last time."""
        return [
            event
            for _, event in self.loader.events()
            if isinstance(event, Transferred)
            and event.netns_cookie == self.receiver.cookie
        ]

    def wait_for(self, count: int) -> list[Transferred]:
        """Return at least *count* events."""
        events: list[Transferred] = []
        end_s = time.monotonic() + DEADLINE_S
        while len(events) < count:
            left_s = end_s - time.monotonic()
            assert left_s > 0, f"{len(events)} of {count} transfers were told"
            select.select([self.loader.fd], [], [], left_s)
            events += self.told()
        return events


@pytest.fixture
def watching(objects: Path) -> Iterator[Watching]:
    del objects
    tuner = TcpBuffer()
    assert tuner.bpf_object is not None
    with Loader() as loader, Lab(0) as lab:
        cgroup_fd = os.open(cgroup2_root(), os.O_RDONLY | os.O_DIRECTORY)
        try:
            verdicts = loader.add(tuner, tuner.bpf_object, tuner.events, {}, cgroup_fd)
        finally:
            os.close(cgroup_fd)
        failed = [one for one in verdicts if one.program == "watch_senders"]
        assert [one.works for one in failed] == [True], failed
        yield Watching(lab, loader)


def test_downloads_are_told_with_what_they_began_with(watching: Watching) -> None:
    watching.receiver.set_sysctl(RMEM, rmem(SMALL_BYTES))
    watching.lab.traffic(watching.link, Downloads(flows=2, transfer_bytes=100_000))
    for event in watching.wait_for(3):
        assert event.initial_bytes == SMALL_BYTES
        assert event.bytes_received == 100_000
        assert 2 * RTT_S <= event.took_us / 1e6 <= 1
        assert str(event.prefix) == "10.77.0.0/24"
    # Then those are told too that begin with enough, to be compared.
    watching.receiver.set_sysctl(RMEM, rmem(ENOUGH_BYTES))
    told = [event.initial_bytes for event in watching.wait_for(6)]
    assert ENOUGH_BYTES in told
    assert told == sorted(told), "only those under way had begun with less"


def test_accepted_connections_begin_with_what_their_listener_had(
    watching: Watching,
) -> None:
    watching.receiver.set_sysctl(RMEM, rmem(SMALL_BYTES))
    watching.lab.traffic(watching.link, Transfers(flows=2, transfer_bytes=100_000))
    watching.wait_for(1)
    watching.receiver.set_sysctl(RMEM, rmem(ENOUGH_BYTES))
    told = [event.initial_bytes for event in watching.wait_for(6)]
    assert set(told) == {SMALL_BYTES}


@pytest.mark.parametrize(
    ("initial", "transfer_bytes", "rcvbuf_bytes", "moderate"),
    [
        pytest.param(ENOUGH_BYTES, 100_000, None, "1", id="enough to begin with"),
        pytest.param(SMALL_BYTES, 10_000, None, "1", id="hardly anything to transfer"),
        pytest.param(SMALL_BYTES, 600_000, None, "1", id="long enough to be measured"),
        pytest.param(SMALL_BYTES, 100_000, 8 * KIB, "1", id="the application's size"),
        pytest.param(SMALL_BYTES, 100_000, None, "0", id="not to be enlarged"),
    ],
)
def test_others_are_not_told(
    watching: Watching,
    initial: int,
    transfer_bytes: int,
    rcvbuf_bytes: int | None,
    moderate: str,
) -> None:
    watching.receiver.set_sysctl(RMEM, rmem(initial))
    watching.receiver.set_sysctl("net.ipv4.tcp_moderate_rcvbuf", moderate)
    flows = watching.lab.traffic(
        watching.link,
        Transfers(flows=2, transfer_bytes=transfer_bytes, rcvbuf_bytes=rcvbuf_bytes),
    )
    assert flows.receiver is not None
    flows.receiver.wait_for(
        lambda heard: sum(one["kind"] == "connection" for one in heard) >= 4
    )
    assert not watching.told()
