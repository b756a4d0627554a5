"""Sampling TCP senders, beside what the sockets say of themselves."""

from __future__ import annotations

import os
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import bpftune.kernel
from bpftune.compile import compile_all
from bpftune.kernel.sockets import MIN_BYTES, Sockets
from bpftune.model import Prefix
from tests.kernel.senders import (
    OTHER_V4,
    OTHER_V6,
    PLENTY,
    V4,
    V6,
    Namespace,
    by_cookie,
    cookie_of,
    fill,
    namespace,
    prefix_of,
    tcp_info,
    tcp_info_state,
    transfer,
    wait_until,
)


@pytest.fixture(scope="module")
def netns() -> Iterator[Namespace]:
    with namespace(f"look-test-{os.getpid()}") as made:
        yield made


@pytest.fixture(scope="module")
def sockets() -> Iterator[Sockets]:
    compile_all(Path(bpftune.kernel.__file__).parent)
    with Sockets() as loaded:
        yield loaded


@pytest.mark.parametrize("address", [V4, V6])
def test_a_sample_says_what_the_socket_says(
    netns: Namespace, sockets: Sockets, address: str
) -> None:
    with netns.connection(address) as (client, server):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 200_000)
        transfer(client, server, PLENTY)
        before = tcp_info(client)
        (sample,) = netns.call(sockets.sample)
        now_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        assert before == tcp_info(client)
    assert sample.bytes_acked == before.bytes_acked == PLENTY + 1
    assert sample.segments_out == before.data_segs_out
    assert sample.retransmitted_segments == before.total_retrans
    assert sample.cwnd_segments == before.cwnd
    assert sample.min_rtt_us == before.min_rtt_us
    assert sample.srtt_us == before.rtt_us
    assert sample.mss_bytes == before.snd_mss
    assert sample.ca_state == before.ca_state == 0
    assert sample.notsent_bytes == sample.wmem_queued_bytes == 0
    assert sample.in_flight_segments == 0
    assert sample.snd_wnd_bytes > 0
    assert 0 <= now_ns - sample.now_ns < 1_000_000_000


def test_the_send_buffer_and_its_lock_are_those_of_the_socket(
    netns: Namespace, sockets: Sockets
) -> None:
    with netns.connection(V4) as (client, server):
        transfer(client, server, PLENTY)
        (unlocked,) = netns.call(sockets.sample)
        size = client.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        assert (unlocked.sndbuf_bytes, unlocked.userlocks & 1) == (size, 0)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 30_000)
        (locked,) = netns.call(sockets.sample)
    assert (locked.sndbuf_bytes, locked.userlocks & 1) == (60_000, 1)


def test_limited_times_count_the_running_span(
    netns: Namespace, sockets: Sockets
) -> None:
    """A receiver that does not read: busy, and limited by its window."""
    with netns.connection(V4) as (client, server):
        transfer(client, server, PLENTY)
        (idle,) = netns.call(sockets.sample)
        fill(client, server)
        wait_until(lambda: tcp_info(client).rwnd_limited_us > 100_000)
        before = tcp_info(client)
        (sample,) = netns.call(sockets.sample)
        after = tcp_info(client)
        notsent = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 148)[144:]
    # The length of a tick, by the kernel's own choice of them.
    exact = (sample.now_ns - idle.now_ns) / (sample.now_jiffies - idle.now_jiffies)
    tick_us = min((1000, 3333, 4000, 10000), key=lambda us: abs(us - exact / 1000))
    assert before.busy_us <= sample.busy_jiffies * tick_us <= after.busy_us
    assert (
        before.rwnd_limited_us
        <= sample.rwnd_limited_jiffies * tick_us
        <= after.rwnd_limited_us
    )
    assert (
        sample.sndbuf_limited_jiffies * tick_us
        == after.sndbuf_limited_us
        == before.sndbuf_limited_us
    )
    assert sample.rwnd_limited_jiffies <= sample.busy_jiffies
    assert sample.notsent_bytes == int.from_bytes(notsent, "little") > 0
    assert sample.wmem_queued_bytes >= sample.notsent_bytes


def test_only_sockets_to_the_prefix_are_sampled(
    netns: Namespace, sockets: Sockets
) -> None:
    with ExitStack() as stack:
        ends = {
            address: stack.enter_context(netns.connection(address))
            for address in (V4, OTHER_V4, V6, OTHER_V6)
        }
        mapped = stack.enter_context(
            netns.connection(f"::ffff:{V4}", family=socket.AF_INET6)
        )
        for client, server in (*ends.values(), mapped):
            transfer(client, server, PLENTY)

        def seen(prefix: Prefix | None) -> set[int]:
            return set(by_cookie(netns.call(lambda: sockets.sample(prefix))))

        cookies = {address: cookie_of(ends[address][0]) for address in ends}
        assert seen(prefix_of(V4)) == {cookies[V4], cookie_of(mapped[0])}
        assert seen(prefix_of(OTHER_V4)) == {cookies[OTHER_V4]}
        assert seen(prefix_of(V6)) == {cookies[V6]}
        assert seen(prefix_of(OTHER_V6)) == {cookies[OTHER_V6]}
        assert seen(prefix_of("10.77.3.1")) == set()
        assert seen(prefix_of("fd77:1:1:9999::1")) == {cookies[V6]}
        assert seen(prefix_of("fd77:1:3::9")) == set()
        assert seen(prefix_of("fd77:2:1::9")) == set()
        assert seen(None) == {*cookies.values(), cookie_of(mapped[0])}


def test_sockets_of_other_namespaces_are_not_seen(
    netns: Namespace, sockets: Sockets
) -> None:
    with netns.connection(V4) as (client, server):
        transfer(client, server, PLENTY)
        cookie = cookie_of(client)
        assert cookie in by_cookie(netns.call(sockets.sample))
        assert cookie not in by_cookie(sockets.sample())
        # Where an iterator was first run does not matter.
        assert cookie in by_cookie(netns.call(sockets.sample))


def test_sockets_that_sent_little_or_have_small_buffers_are_left_out(
    netns: Namespace, sockets: Sockets
) -> None:
    with netns.connection(V4) as (client, server):
        # The SYN counts as one byte.
        transfer(client, server, MIN_BYTES - 2)
        assert netns.call(sockets.sample) == ()
        transfer(client, server, 1)
        (sample,) = netns.call(sockets.sample)
        size = sample.sndbuf_bytes
        assert netns.call(lambda: sockets.sample(None, size))
        assert not netns.call(lambda: sockets.sample(None, size + 1))


def test_only_connections_that_can_still_send_are_sampled(
    netns: Namespace, sockets: Sockets
) -> None:
    with netns.connection(V4) as (client, server):
        transfer(client, server, PLENTY)
        server.shutdown(socket.SHUT_WR)  # the client is now in CLOSE_WAIT
        wait_until(lambda: tcp_info_state(client) == 8)
        assert cookie_of(client) in by_cookie(netns.call(sockets.sample))
        client.shutdown(socket.SHUT_WR)
        wait_until(lambda: tcp_info_state(client) == 7)
        assert netns.call(sockets.sample) == ()
    with netns.connection(V4) as (client, server):
        transfer(client, server, PLENTY)
        client.close()  # FIN_WAIT_2, then TIME_WAIT, which is no full socket
        assert netns.call(sockets.sample) == ()
        server.close()
        assert netns.call(sockets.sample) == ()


def test_of_too_many_sockets_the_rest_is_counted(
    netns: Namespace, sockets: Sockets
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4096), hard))
    try:
        with ExitStack() as stack:
            for _ in range(515):
                client, server = stack.enter_context(netns.connection(V6))
                transfer(client, server, MIN_BYTES)
            samples = netns.call(sockets.sample)
            assert len(by_cookie(samples)) == len(samples) == 512
            assert sockets.truncated == 3
        assert netns.call(sockets.sample) == ()
        assert sockets.truncated == 0
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
