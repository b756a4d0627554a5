"""Sampling TCP receivers, and letting them notice a raised limit."""

from __future__ import annotations

import array
import fcntl
import os
import socket
import struct
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

import bpftune.kernel
from bpftune.compile import compile_one, find_clang
from bpftune.kernel.sockets import Sockets
from bpftune.model import SocketSample
from tests.kernel.senders import (
    OTHER_V4,
    PLENTY,
    V4,
    V6,
    Namespace,
    by_cookie,
    cookie_of,
    namespace,
    prefix_of,
    transfer,
    wait_until,
)

RMEM = Path("/proc/sys/net/ipv4/tcp_rmem")
SMALL, LARGE = "4096 65536 65536", "4096 65536 4194304"


@pytest.fixture
def netns() -> Iterator[Namespace]:
    with namespace(f"receivers-{os.getpid()}") as made:
        yield made


@pytest.fixture
def sockets(objects: Path) -> Iterator[Sockets]:
    del objects
    with Sockets() as loaded:
        yield loaded


def look(netns: Namespace, sockets: Sockets) -> dict[int, SocketSample]:
    return by_cookie(netns.call(lambda: sockets.sample(receivers=True)))


def u32(one: socket.socket, offset: int) -> int:
    raw = one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
    return int(struct.unpack_from("=I", raw, offset)[0])


def waiting_bytes(one: socket.socket) -> int:
    found = array.array("i", [0])
    fcntl.ioctl(one, termios.FIONREAD, found)
    return found[0]


def rcvbuf(one: socket.socket) -> int:
    return one.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)


@pytest.mark.parametrize("address", [V4, V6])
def test_a_sample_says_what_the_receiver_says(
    netns: Namespace, sockets: Sockets, address: str
) -> None:
    with netns.connection(address) as (client, server):
        transfer(client, server, PLENTY)
        client.send(bytes(5000))
        wait_until(lambda: waiting_bytes(server) == 5000)
        samples = look(netns, sockets)
        sample = samples[cookie_of(server)]
        scales = server.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 7)[6]
        # Who only sent is no receiver.
        assert cookie_of(client) not in samples
        assert sample.bytes_received == PLENTY + 5000
        assert sample.unread_bytes == 5000
        assert sample.rcvbuf_bytes == rcvbuf(server)
        assert sample.rcv_wscale == scales >> 4
        assert sample.rcvlowat_bytes == 1
        assert sample.userlocks & 2 == 0
        assert sample.ooo_segments == 0
        assert sample.rcv_wnd_bytes > 0
        assert sample.rcv_rtt_us == u32(server, 92)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 30_000)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 7)
        sample = look(netns, sockets)[cookie_of(server)]
        assert sample.rcvbuf_bytes == 60_000
        assert sample.userlocks & 2 == 2
        assert sample.rcvlowat_bytes == 7


def test_the_age_of_a_receiver_is_that_of_its_connection(
    netns: Namespace, sockets: Sockets
) -> None:
    with (
        netns.connection(V4) as (old_client, old_server),
        netns.connection(V4) as (client, server),
    ):
        transfer(old_client, old_server, PLENTY)
        first = look(netns, sockets)[cookie_of(old_server)]
        born = first.now_jiffies - first.cwnd_age_jiffies
        wait_until(
            lambda: (
                look(netns, sockets)[cookie_of(old_server)].cwnd_age_jiffies
                > first.cwnd_age_jiffies + 20
            )
        )
        transfer(old_client, old_server, PLENTY)
        transfer(client, server, PLENTY)
        later = look(netns, sockets)
        old, new = later[cookie_of(old_server)], later[cookie_of(server)]
    assert old.now_jiffies - old.cwnd_age_jiffies == born
    assert new.cwnd_age_jiffies - old.cwnd_age_jiffies <= 1


def test_only_receive_buffers_of_a_size_are_shown(
    netns: Namespace, sockets: Sockets
) -> None:
    with netns.connection(V4) as (client, server):
        transfer(client, server, PLENTY)
        size = rcvbuf(server)

        def seen(least: int) -> int:
            return len(netns.call(lambda: sockets.sample(None, least, receivers=True)))

        assert (seen(size), seen(size + 1)) == (1, 0)


def nudged(
    netns: Namespace, sockets: Sockets, *ends: socket.socket, address: str = V4
) -> tuple[int, list[tuple[int, int, int]]]:
    """Raise the limit and nudge; return how many, and what the ends have then."""
    if not sockets.nudge_refused:
        netns.call(lambda: RMEM.write_text(LARGE))
        count = netns.call(lambda: sockets.nudge(prefix_of(address), 60_000))
        lowat = [s.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT) for s in ends]
        samples = look(netns, sockets)
        locks = [samples[cookie_of(s)].userlocks & 2 for s in ends]
        sizes = [rcvbuf(s) for s in ends]
        return count, list(zip(sizes, lowat, locks, strict=True))
    pytest.skip(f"this kernel refuses it: {sockets.nudge_refused}")


@pytest.mark.parametrize("address", [V4, V6])
def test_a_nudge_makes_room_and_leaves_no_trace(
    netns: Namespace, sockets: Sockets, address: str
) -> None:
    netns.call(lambda: RMEM.write_text(SMALL))
    with netns.connection(address) as (client, server):
        transfer(client, server, PLENTY)
        assert rcvbuf(server) <= 65536
        count, [(size, lowat, lock)] = nudged(netns, sockets, server, address=address)
        assert (count, lowat, lock) == (1, 1, 0)
        assert size > 1 << 20
        # The window follows, and the kernel goes on sizing it.
        transfer(client, server, PLENTY)
        assert look(netns, sockets)[cookie_of(server)].rcv_wnd_bytes > 65536


def test_what_applications_chose_and_other_destinations_are_not_nudged(
    netns: Namespace, sockets: Sockets
) -> None:
    netns.call(lambda: RMEM.write_text(SMALL))
    with (
        netns.connection(V4) as (client, pinned),
        netns.connection(V4) as (second, choosy),
        netns.connection(OTHER_V4) as (third, elsewhere),
    ):
        for ends in ((client, pinned), (second, choosy), (third, elsewhere)):
            transfer(*ends, PLENTY)
        pinned.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 40_000)
        choosy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 100)
        before = [rcvbuf(one) for one in (pinned, choosy, elsewhere)]
        count, after = nudged(netns, sockets, pinned, choosy, elsewhere)
        assert count == 0
        assert [size for size, _, _ in after] == before
        assert [lowat for _, lowat, _ in after] == [1, 100, 1]
        assert [lock for _, _, lock in after] == [2, 0, 0]


def test_a_kernel_without_nudges_looks_all_the_same(
    netns: Namespace, tmp_path: Path
) -> None:
    source = Path(bpftune.kernel.__file__).with_name("sockets.bpf.c")
    parts = source.read_text().rpartition('SEC("iter/tcp")')
    assert "int nudge_receivers" in parts[2]
    text = f'{parts[0]}SEC("iter/no_such_thing"){parts[2]}'
    changed = tmp_path / "changed.bpf.c"
    changed.write_text(text)
    with Sockets(compile_one(find_clang(), changed)) as sockets:
        assert "nudge_receivers" in sockets.nudge_refused
        assert sockets.nudge(prefix_of(V4), 0) == 0
        with netns.connection(V4) as (client, server):
            transfer(client, server, PLENTY)
            assert cookie_of(server) in look(netns, sockets)
