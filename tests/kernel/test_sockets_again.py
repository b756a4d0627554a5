"""Cheap looks at the senders found before, beside full ones."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

import bpftune.kernel
from bpftune.compile import compile_one, find_clang
from bpftune.kernel import sockets as module
from bpftune.kernel.sockets import IN_VAIN, MIN_BYTES, NO_MARKS, Sockets
from bpftune.model import Prefix, SocketSample
from tests.kernel.senders import (
    OTHER_V4,
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

SOURCE = Path(bpftune.kernel.__file__).with_name("sockets.bpf.c")


@pytest.fixture(scope="module")
def netns() -> Iterator[Namespace]:
    with namespace(f"look-again-{os.getpid()}") as made:
        yield made


@pytest.fixture(scope="module")
def other(netns: Namespace) -> Iterator[Namespace]:
    """A namespace with the same addresses as *netns*."""
    with namespace(f"look-other-{os.getpid()}") as made:
        assert made.cookie != netns.cookie
        yield made


@pytest.fixture
def sockets(objects: Path, map_iterators: None, netns: Namespace) -> Iterator[Sockets]:
    del objects, map_iterators
    with Sockets() as loaded:
        assert loaded.refused == ""
        if not leaves_marks(netns):
            pytest.skip(NO_MARKS)
        yield loaded
        loaded.unmark()


@cache
def leaves_marks(netns: Namespace) -> bool:
    """Tell whether this kernel has a search leave marks."""
    with Sockets() as loaded, senders(netns, V4):
        search(netns, loaded)
        return loaded.marked


def search(
    netns: Namespace, sockets: Sockets, prefix: Prefix | None = None, least: int = 0
) -> tuple[SocketSample, ...]:
    return netns.call(lambda: sockets.sample(prefix, least, mark=True))


@contextmanager
def senders(
    netns: Namespace, *addresses: str
) -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    """Connect to each of the addresses, and get plenty of bytes across."""
    with ExitStack() as stack:
        ends = [stack.enter_context(netns.connection(one)) for one in addresses]
        for client, server in ends:
            transfer(client, server, PLENTY)
        yield ends


def without_clock(samples: tuple[SocketSample, ...]) -> dict[int, SocketSample]:
    """Return samples without the time, and when cwnd last changed for how long ago."""
    return by_cookie(
        tuple(
            replace(
                one,
                now_ns=0,
                now_jiffies=0,
                cwnd_age_jiffies=one.now_jiffies - one.cwnd_age_jiffies,
            )
            for one in samples
        )
    )


@pytest.mark.parametrize("prefix", [None, prefix_of(V4), prefix_of(V6)])
def test_a_cheap_look_equals_a_full_one(
    netns: Namespace, sockets: Sockets, prefix: Prefix | None
) -> None:
    with senders(netns, V4, V4, OTHER_V4, V6):
        full = search(netns, sockets, prefix)
        assert sockets.marked
        cheap = sockets.again(netns.cookie, prefix)
    assert without_clock(cheap) == without_clock(full) != {}
    assert max(s.now_ns for s in full) < min(s.now_ns for s in cheap)


def test_bytes_and_busy_times_go_on_from_a_full_look_to_a_cheap_one(
    netns: Namespace, sockets: Sockets
) -> None:
    """A receiver that does not read keeps the sender busy all the time."""
    with senders(netns, V4) as [(client, server)]:
        fill(client, server)
        wait_until(lambda: tcp_info(client).rwnd_limited_us > 0)
        looks = [*search(netns, sockets)]
        for _ in range(2):
            before = tcp_info(client).busy_us
            wait_until(lambda: tcp_info(client).busy_us > before + 20_000)  # noqa: B023
            looks += [*sockets.again(netns.cookie), *search(netns, sockets)]
    assert len(looks) == 5
    for old, new in pairwise(looks):
        ticks = new.now_jiffies - old.now_jiffies
        assert new.busy_jiffies - old.busy_jiffies == ticks
        assert new.rwnd_limited_jiffies - old.rwnd_limited_jiffies == ticks
        assert new.now_ns > old.now_ns
        assert new.bytes_acked >= old.bytes_acked
    assert looks[-1].busy_jiffies > looks[0].busy_jiffies


def test_only_marked_sockets_are_looked_at(netns: Namespace, sockets: Sockets) -> None:
    with senders(netns, V4):
        assert sockets.again(netns.cookie) == ()
        assert netns.call(sockets.sample)
        assert not sockets.marked
        assert sockets.again(netns.cookie) == ()
        assert search(netns, sockets)
        assert sockets.again(netns.cookie)


def test_a_new_socket_is_seen_after_the_next_full_look(
    netns: Namespace, sockets: Sockets
) -> None:
    with senders(netns, V4) as [(old, _)]:
        search(netns, sockets, prefix_of(V4))
        with senders(netns, V4) as [(new, _)]:
            first = by_cookie(sockets.again(netns.cookie, prefix_of(V4)))
            assert set(first) == {cookie_of(old)}
            search(netns, sockets, prefix_of(V4))
            second = by_cookie(sockets.again(netns.cookie, prefix_of(V4)))
            assert set(second) == {cookie_of(old), cookie_of(new)}
        wait_until(lambda: set(seen(netns, sockets)) == {cookie_of(old)})


def seen(netns: Namespace, sockets: Sockets) -> dict[int, SocketSample]:
    return by_cookie(sockets.again(netns.cookie))


def test_other_namespaces_are_not_seen(
    netns: Namespace, other: Namespace, sockets: Sockets
) -> None:
    with senders(netns, V4) as [(here, _)], senders(other, V4) as [(there, _)]:
        search(netns, sockets)
        search(other, sockets)
        assert set(seen(netns, sockets)) == {cookie_of(here)}
        assert set(seen(other, sockets)) == {cookie_of(there)}
        # Where it is called makes no difference.
        assert set(other.call(lambda: seen(netns, sockets))) == {cookie_of(here)}


def test_watches_of_two_destinations_do_not_disturb_each_other(
    netns: Namespace, sockets: Sockets
) -> None:
    with senders(netns, V4, OTHER_V4) as [(one, _), (two, _)]:
        for _ in range(2):
            search(netns, sockets, prefix_of(V4))
            search(netns, sockets, prefix_of(OTHER_V4))
            for address, client in ((V4, one), (OTHER_V4, two)):
                looked = sockets.again(netns.cookie, prefix_of(address))
                assert set(by_cookie(looked)) == {cookie_of(client)}
    assert sockets.count_marks() == 0


def test_a_marked_socket_that_no_longer_matches_is_not_seen(
    netns: Namespace, sockets: Sockets
) -> None:
    with senders(netns, V4) as [(client, server)]:
        (sample,) = search(netns, sockets)
        size = sample.sndbuf_bytes
        assert sockets.again(netns.cookie, None, size)
        assert not sockets.again(netns.cookie, None, size + 1)
        server.shutdown(socket.SHUT_WR)
        wait_until(lambda: tcp_info_state(client) == 8)  # CLOSE_WAIT: it may send
        assert sockets.again(netns.cookie)
        client.shutdown(socket.SHUT_WR)
        wait_until(lambda: tcp_info_state(client) == 7)
        assert sockets.again(netns.cookie) == ()


def test_marks_are_gone_with_their_sockets(netns: Namespace, sockets: Sockets) -> None:
    with senders(netns, V4, V6):
        search(netns, sockets)
        assert sockets.count_marks() == 2
    wait_until(lambda: sockets.count_marks() == 0)
    assert sockets.again(netns.cookie) == ()


def test_unmarking_leaves_nothing_on_sockets(
    netns: Namespace, other: Namespace, sockets: Sockets
) -> None:
    with senders(netns, V4, V6), senders(other, V4):
        search(netns, sockets)
        search(other, sockets)
        assert sockets.unmark() == 3
        assert sockets.count_marks() == sockets.unmark() == 0
        assert sockets.again(netns.cookie) == ()
        search(netns, sockets)
        assert sockets.count_marks() == 2


def test_marks_that_are_not_renewed_go_at_a_later_full_look(
    netns: Namespace, sockets: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    with senders(netns, V4, OTHER_V4) as [(one, _), (two, _)]:
        search(netns, sockets, prefix_of(V4))
        search(netns, sockets, prefix_of(OTHER_V4))
        assert set(seen(netns, sockets)) == {cookie_of(one), cookie_of(two)}
        monkeypatch.setattr(module, "MARKS_LAST_S", 0.0)
        search(netns, sockets, prefix_of(V4))
        assert set(seen(netns, sockets)) == {cookie_of(one)}


def test_marks_are_kept_right_after_the_machine_booted(
    netns: Namespace, sockets: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MARKS_LAST_S", 10.0**9)  # longer than it is up
    with senders(netns, V4) as [(one, _)]:
        search(netns, sockets)
        search(netns, sockets)
        assert set(seen(netns, sockets)) == {cookie_of(one)}


def test_of_many_senders_all_are_looked_at(netns: Namespace, sockets: Sockets) -> None:
    """More than fit into a page of the iterator's output."""
    with ExitStack() as stack:
        for _ in range(400):
            client, server = stack.enter_context(netns.connection(V6))
            transfer(client, server, MIN_BYTES)
        full = search(netns, sockets)
        assert sockets.marked
        assert sockets.count_marks() == len(full) == 400
        cheap = sockets.again(netns.cookie)
        assert len(cheap) == 400
        assert set(by_cookie(cheap)) == set(by_cookie(full))
        assert sockets.truncated == 0


def test_a_kernel_without_the_iterator_gets_full_looks_only(
    netns: Namespace, tmp_path: Path
) -> None:
    with build(tmp_path, "iter/bpf_sk_storage_map", "iter/no_such_thing") as sockets:
        assert "cannot be loaded" in sockets.refused
        with senders(netns, V4) as [(client, _)]:
            assert set(by_cookie(search(netns, sockets))) == {cookie_of(client)}
        assert not sockets.marked
        assert sockets.count_marks() == sockets.unmark() == 0


@pytest.mark.usefixtures("sockets")
def test_a_socket_for_which_there_is_no_mark_left_is_told(
    netns: Namespace, tmp_path: Path
) -> None:
    with (
        build(tmp_path, "define MAX_MARKS 4096", "define MAX_MARKS 1") as sockets,
        senders(netns, V4, V6),
    ):
        assert len(search(netns, sockets)) == 2
        assert not sockets.marked
        assert sockets.count_marks() == 1
        assert len(search(netns, sockets, prefix_of(V4))) == 1


@contextmanager
def build(directory: Path, old: str, new: str) -> Iterator[Sockets]:
    """Load the sampler with *old* in its source replaced."""
    text = SOURCE.read_text()
    assert old in text
    source = directory / "changed.bpf.c"
    source.write_text(text.replace(old, new))
    with Sockets(compile_one(find_clang(), source)) as sockets:
        yield sockets


@pytest.mark.usefixtures("map_iterators")
def test_a_kernel_that_leaves_no_mark_is_found_out(
    netns: Namespace, tmp_path: Path
) -> None:
    """Linux 6.19 is one without cmpxchg16b; here a limit of none does the same."""
    with build(tmp_path, "define MAX_MARKS 4096", "define MAX_MARKS 0") as sockets:
        for _ in range(IN_VAIN):
            assert search(netns, sockets) == ()
        assert sockets.refused == "", "there was nothing to leave a mark on"
        with senders(netns, V4):
            for _ in range(IN_VAIN):
                assert sockets.refused == ""
                assert len(search(netns, sockets)) == 1
            assert sockets.refused == NO_MARKS
            assert len(search(netns, sockets)) == 1
            assert not sockets.marked


def test_a_kernel_that_left_one_mark_is_not_blamed_for_others(
    netns: Namespace, sockets: Sockets
) -> None:
    room = Path("/proc/sys/net/core/optmem_max")  # of each namespace since 6.8
    if not netns.call(room.exists):
        pytest.skip("this kernel has one optmem_max for all namespaces")
    with senders(netns, V4):
        search(netns, sockets)
        assert sockets.unmark() == 1
        before = netns.call(room.read_text)
        netns.call(lambda: room.write_text("0"))
        try:
            for _ in range(IN_VAIN + 1):
                search(netns, sockets)
                assert not sockets.marked
        finally:
            netns.call(lambda: room.write_text(before))
    assert sockets.refused == ""
