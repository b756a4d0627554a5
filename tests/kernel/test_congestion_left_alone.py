"""Connections whose congestion control somebody else chose keep it."""

from __future__ import annotations

import os
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path

import pytest

from bpftune.tuners.congestion.maps import padded
from tests.kernel.congested import (
    AVAILABLE,
    DEFAULT,
    OTHER,
    Congested,
    algorithm,
    both,
    congested,
    route_of,
    windows,
)
from tests.kernel.senders import (
    V4,
    V6,
    Namespace,
    namespace,
    prefix_of,
    wait_until,
)

BESIDE = {V4: "10.77.1.10", V6: "fd77:1:1::10"}
"""Another address of the same destination, which nobody chose anything for."""

CHOICES = [one for one in AVAILABLE if one != OTHER]
AT_ONCE, BATCHES = 250, 4
PAYLOAD = bytes(5_000)

Pair = tuple[socket.socket, socket.socket]

pytestmark = pytest.mark.skipif(
    OTHER == DEFAULT, reason="this kernel has one congestion control only"
)


@pytest.fixture
def there(objects: Path) -> Iterator[Congested]:
    with congested(objects) as found:
        yield found


@pytest.fixture(scope="module")
def netns() -> Iterator[Namespace]:
    with namespace(f"bpftune-test-cc-alone-{os.getpid()}") as made:
        for address in BESIDE.values():
            flags = ["nodad"] if ":" in address else []
            subprocess.run(
                ["ip", "-n", made.name, "addr", "add", address, "dev", "lo", *flags],
                check=True,
            )
        yield made


def choose(one: socket.socket, chosen: str) -> None:
    if chosen:
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, chosen.encode())


@contextmanager
def held(netns: Namespace, address: str, chosen: str) -> Iterator[list[Pair]]:
    """Hold ``AT_ONCE`` connections open; give both ends of each.

    Their applications choose an algorithm, unless *chosen* is empty: the one that
    connects for the socket, the one that accepts for the listener.
    """
    kind = socket.AF_INET6 if ":" in address else socket.AF_INET
    with ExitStack() as stack:

        def connect() -> list[Pair]:
            server = stack.enter_context(
                socket.create_server((address, 0), family=kind, backlog=16)
            )
            choose(server, chosen)
            pairs = []
            for _ in range(AT_ONCE):
                client = stack.enter_context(socket.socket(kind))
                choose(client, chosen)
                client.connect(server.getsockname()[:2])
                accepted = stack.enter_context(server.accept()[0])
                for one, other in (client, accepted), (accepted, client):
                    one.sendall(PAYLOAD)
                    assert other.recv(len(PAYLOAD), socket.MSG_WAITALL) == PAYLOAD
                pairs.append((client, accepted))
            return pairs

        yield netns.call(connect)


def told_by_ss(netns: Namespace) -> Counter[str]:
    """Return how many sockets of established connections use what."""
    command = ["ss", "--tcp", "--info", "--no-header", "--oneline"]
    lines = subprocess.run(
        ["ip", "netns", "exec", netns.name, *command, "state", "established"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    return Counter(word for one in lines for word in one.split() if word in AVAILABLE)


@pytest.mark.parametrize("address", [V4, V6])
@pytest.mark.parametrize("who", ["application", "route", "locked route"])
def test_a_thousand_connections_keep_what_was_chosen_for_them(
    there: Congested, netns: Namespace, who: str, address: str
) -> None:
    there.assign(netns.cookie, prefix_of(address), on_trial=1, initial_window=24)
    for number in range(BATCHES):
        # Even who chose the default chose.
        chosen = CHOICES[number % len(CHOICES)]
        lock = ["lock"] if who == "locked route" else []
        by_route = (
            nullcontext()
            if who == "application"
            else route_of(netns, address, "congctl", *lock, chosen)
        )
        by_application = chosen if who == "application" else ""
        with by_route, held(netns, address, by_application) as pairs:
            assert {algorithm(one) for pair in pairs for one in pair} == {chosen}
            assert told_by_ss(netns) == {chosen: 2 * AT_ONCE}
            assert both(netns, BESIDE[address]) == (OTHER, OTHER)
    assert both(netns, address) == (OTHER, OTHER)
    refused = ("arms_refused", "windows_refused")
    assert [there.bpf.variable(one).value for one in refused] == [0, 0]


@pytest.mark.parametrize("on_trial", [1, 0])
def test_nothing_is_refused_of_a_thousand_connections_that_get_what_was_decided(
    there: Congested, netns: Namespace, on_trial: int
) -> None:
    for number in range(BATCHES):
        arm = AVAILABLE[number % len(AVAILABLE)]
        there.assign(
            *(netns.cookie, prefix_of(V4)),
            arm=padded(arm),
            run=number,
            on_trial=on_trial,
            initial_window=24,
        )
        with held(netns, V4, "") as pairs:
            assert {algorithm(one) for pair in pairs for one in pair} == {arm}
            assert told_by_ss(netns) == {arm: 2 * AT_ONCE}
    refused = ("arms_refused", "windows_refused", "not_remembered")
    assert [there.bpf.variable(one).value for one in refused] == [0, 0, 0]
    wait_until(lambda: there.bpf.variable("remembered").value == 0)
    rows = there.sums.take()
    assert {key.run for key, _ in rows} == set(range(BATCHES))
    assert {key.netns_cookie for key, _ in rows} == {netns.cookie}


@pytest.mark.parametrize("address", [V4, V6])
@pytest.mark.parametrize("window", [17, 10])
def test_a_routes_window_stays(
    there: Congested, netns: Namespace, address: str, window: int
) -> None:
    there.assign(netns.cookie, prefix_of(address), initial_window=24)
    # Also where it is the one that connections begin with anyway.
    with route_of(netns, address, "initcwnd", str(window)):
        assert windows(netns, address) == (window, window)
    assert windows(netns, address) == (24, 24)
