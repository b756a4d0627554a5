"""More destinations than there is room for: memory is flat, losses are counted."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from bpftune.kernel.bpf_error import BpfError
from bpftune.kernel.bpf_map import BpfMap
from bpftune.tuners.congestion.maps import COUNTED_BYTES, FlowSums, SumsKey
from tests.kernel.congested import Congested, congested
from tests.kernel.senders import (
    V4,
    V6,
    Namespace,
    namespace,
    prefix_of,
    wait_until,
)

pytestmark = pytest.mark.real_machine("thousands of connections are made")

ROOM = 1024
"""Entries that ``sums`` and ``strangers`` have room for, each."""

ASSIGNABLE = 8192


@pytest.fixture
def there(objects: Path) -> Iterator[Congested]:
    # On loopback: with a delay this would take a day.
    with congested(objects) as found:
        yield found


@pytest.fixture(scope="module")
def netns() -> Iterator[Namespace]:
    with namespace(f"bpftune-test-cc-many-{os.getpid()}") as made:
        for route in "11.0.0.0/8", "fd78::/16":
            subprocess.run(
                ["ip", "-n", made.name, "route", "add", "local", route, "dev", "lo"],
                check=True,
            )
        yield made


def destination(number: int) -> str:
    """Return an address in a /24 or /48 of its own, by turns."""
    if number % 2:
        return f"fd78:{number >> 16:x}:{number & 0xFFFF:x}::1"
    return str(ipaddress.IPv4Address("11.0.0.1") + (number // 2 << 8))


def send_to_each(destinations: Iterator[str], amount: int) -> None:
    """Send so much to each in a connection of its own."""
    with socket.create_server(
        ("::", 0), family=socket.AF_INET6, dualstack_ipv6=True
    ) as server:
        port = server.getsockname()[1]
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * COUNTED_BYTES)
        for address in destinations:
            with (
                socket.create_connection((address, port)) as client,
                server.accept()[0] as accepted,
            ):
                client.sendall(bytes(amount))
                client.shutdown(socket.SHUT_WR)
                while accepted.recv(1 << 20, socket.MSG_TRUNC):
                    pass


def check_the_books(
    there: Congested, name: str, made: int
) -> list[tuple[SumsKey, FlowSums]]:
    """Return what is left of so many entries made; the rest has to be counted."""
    table: BpfMap[SumsKey, FlowSums] = getattr(there, name)
    created = there.bpf.variable(f"{name}_created")
    wait_until(lambda: created.value >= made)
    kept = table.take()
    print(f"{name}: {created.value} made, {len(kept)} taken, {table.evicted} evicted")
    # Others on this machine may have made some strangers, also at this moment.
    others = created.value - made
    assert others >= 0 if name == "strangers" else others == 0
    assert 0 <= created.value - len(kept) - table.evicted <= others
    # The kernel drops some more at once than it has to.
    assert ROOM / 2 <= len(kept) <= ROOM
    return kept


@pytest.mark.parametrize("many", [3000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_many_strangers_take_no_more_memory_and_are_counted(
    there: Congested, netns: Namespace, many: int
) -> None:
    for address in V4, V6:
        there.assign(netns.cookie, prefix_of(address), arm=bytes(16))
    netns.call(partial(send_to_each, iter((V4, V6)), COUNTED_BYTES))
    memory = there.memory_bytes()
    netns.call(partial(send_to_each, map(destination, range(many)), COUNTED_BYTES))
    kept = check_the_books(there, "strangers", many)
    assert {sums.flows for key, sums in kept if key.netns_cookie == netns.cookie} == {1}
    print(f"{there.memory_bytes()} bytes of maps after, {memory} before")
    assert there.memory_bytes() == memory
    # They pushed out none of those for which something was decided.
    decided = {key.prefix: sums.flows for key, sums in there.sums.take()}
    assert decided == {prefix_of(V4): 1, prefix_of(V6): 1}
    assert there.sums.evicted == 0
    assert there.loader.lost() == {}


@pytest.mark.parametrize("on_trial", [1, 0])
def test_many_decided_on_take_no_more_memory_and_are_counted(
    there: Congested, netns: Namespace, on_trial: int
) -> None:
    many = ASSIGNABLE
    for number in range(many):
        there.assign(
            *(netns.cookie, prefix_of(destination(number))),
            arm=bytes(16),
            on_trial=on_trial,
        )
    memory = there.memory_bytes()
    # Also little makes an entry here.
    netns.call(partial(send_to_each, map(destination, range(many)), 5_000))
    kept = check_the_books(there, "sums", many)
    assert {key.netns_cookie for key, _ in kept} == {netns.cookie}
    wait_until(lambda: there.bpf.variable("remembered").value == 0)
    assert there.bpf.variable("not_remembered").value == 0
    print(f"{there.memory_bytes()} bytes of maps after, {memory} before")
    assert there.memory_bytes() == memory
    assert there.loader.lost() == {}


def test_more_destinations_than_can_be_assigned_are_refused(
    there: Congested, netns: Namespace
) -> None:
    memory = there.memory_bytes()

    def assign(how_many: int) -> None:
        for number in range(how_many):
            there.assign(netns.cookie, prefix_of(destination(number)))

    with pytest.raises(BpfError) as caught:
        assign(10_000)
    assert caught.value.number == errno.E2BIG
    print(f"{there.memory_bytes() - memory} bytes for {ASSIGNABLE} assignments")
    assert there.memory_bytes() - memory <= 2 << 20
    assert len(there.assignments.take()) == ASSIGNABLE
