"""Congestion control per destination: applied to real connections, and added up."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bpftune.kernel.cgroup import cgroup2_root
from bpftune.tuners.congestion.maps import (
    ArmFailed,
    BrokenKey,
    DefaultChanged,
    PathKey,
    Refusal,
    padded,
    text,
)
from tests.kernel.congested import (
    AVAILABLE,
    DEFAULT,
    OTHER,
    Congested,
    congested,
    words,
)
from tests.kernel.senders import (
    OTHER_V4,
    OTHER_V6,
    V4,
    V6,
    Namespace,
    namespace,
    prefix_of,
)

pytestmark = pytest.mark.skipif(
    OTHER == DEFAULT, reason="this kernel has one congestion control only"
)


@pytest.fixture
def there(objects: Path) -> Iterator[Congested]:
    with congested(objects) as found:
        assert all(one.works for one in found.verdicts if one.program == "apply_arm")
        yield found


@pytest.fixture(scope="module")
def netns() -> Iterator[Namespace]:
    with namespace(f"bpftune-test-cc-{os.getpid()}") as made:
        yield made


def algorithm(one: socket.socket) -> str:
    return text(one.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16))


def both(netns: Namespace, address: str, family: int = 0) -> tuple[str, str]:
    """Return what both ends of a new connection to *address* use."""
    with netns.connection(address, family) as (client, server):
        return algorithm(client), algorithm(server)


# --- what is applied ---------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "elsewhere", "family"),
    [
        (V4, OTHER_V4, 0),
        (V6, OTHER_V6, 0),
        pytest.param(f"::ffff:{V4}", OTHER_V4, socket.AF_INET6, id="mapped"),
    ],
)
def test_new_connections_use_what_was_assigned_to_their_destination(
    there: Congested, netns: Namespace, address: str, elsewhere: str, family: int
) -> None:
    prefix = prefix_of(V4 if family else address)
    assert both(netns, address, family) == (DEFAULT, DEFAULT)
    there.assign(netns.cookie, prefix)
    # The peer of either end is in there: one connected, the other accepted.
    assert both(netns, address, family) == (OTHER, OTHER)
    assert both(netns, elsewhere) == (DEFAULT, DEFAULT)
    there.assignments.remove(PathKey(netns.cookie, prefix))
    assert both(netns, address, family) == (DEFAULT, DEFAULT)


def test_an_algorithm_that_users_may_not_choose_can_be_assigned(
    there: Congested, netns: Namespace
) -> None:
    allowed = words("tcp_allowed_congestion_control")
    barred = [one for one in AVAILABLE if one not in allowed and one != DEFAULT]
    if not barred:
        pytest.skip("users may choose any algorithm here")
    there.assign(netns.cookie, prefix_of(V4), arm=padded(barred[0]))
    assert both(netns, V4) == (barred[0], barred[0])


def test_namespaces_do_not_share_assignments(
    there: Congested, netns: Namespace
) -> None:
    there.assign(netns.cookie, prefix_of(V4))
    with namespace(f"bpftune-test-cc2-{os.getpid()}") as second:
        assert both(second, V4) == (DEFAULT, DEFAULT)
        assert both(netns, V4) == (OTHER, OTHER)


CONNECT = """
import socket, sys
server = socket.create_server((sys.argv[1], 0))
client = socket.create_connection(server.getsockname())
for one in client, server.accept()[0]:
    print(one.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
          .split(b"\\0")[0].decode())
"""


@contextmanager
def child_cgroup() -> Iterator[Path]:
    path = cgroup2_root() / f"bpftune-test-cc-{os.getpid()}"
    path.mkdir()
    try:
        yield path
    finally:
        path.rmdir()


def test_processes_in_child_cgroups_are_served(
    there: Congested, netns: Namespace
) -> None:
    there.assign(netns.cookie, prefix_of(V4))
    with child_cgroup() as cgroup:
        answer = subprocess.run(
            ["sh", "-c", f'echo $$ > {cgroup}/cgroup.procs; exec "$@"', "sh"]
            + ["ip", "netns", "exec", f"bpftune-test-cc-{os.getpid()}"]
            + [sys.executable, "-c", CONNECT, V4],
            capture_output=True,
            text=True,
            check=True,
        )
    assert answer.stdout.split() == [OTHER, OTHER]


# --- what is left alone ------------------------------------------------------


def test_the_applications_choice_stays(there: Congested, netns: Namespace) -> None:
    there.assign(netns.cookie, prefix_of(V4))

    def connect(chosen: str) -> tuple[str, str]:
        with (
            socket.create_server((V4, 0)) as server,
            socket.socket() as client,
        ):
            for one in client, server:
                one.setsockopt(
                    socket.IPPROTO_TCP, socket.TCP_CONGESTION, chosen.encode()
                )
            client.connect(server.getsockname())
            with server.accept()[0] as accepted:
                return algorithm(client), algorithm(accepted)

    for chosen in AVAILABLE:
        # Even one who chose the default chose.
        assert netns.call(lambda chosen=chosen: connect(chosen)) == (chosen, chosen)


@contextmanager
def route_of(netns: Namespace, address: str, *words: str) -> Iterator[None]:
    """Give the route to one of the namespace's own addresses attributes."""
    name = f"bpftune-test-cc-{os.getpid()}"
    route = ["table", "local", "local", address, "dev", "lo"]
    ip = ["ip", "-n", name, "-6" if ":" in address else "-4", "route"]
    subprocess.run([*ip, "replace", *route, *words], check=True)
    try:
        yield
    finally:
        subprocess.run([*ip, "replace", *route], check=True)


@pytest.mark.parametrize("lock", [["lock"], []], ids=["locked", "unlocked"])
def test_a_routes_choice_stays(
    there: Congested, netns: Namespace, lock: list[str]
) -> None:
    third = [one for one in AVAILABLE if one not in {DEFAULT, OTHER}]
    wanted = third[0] if third else OTHER
    there.assign(netns.cookie, prefix_of(V4))
    with route_of(netns, V4, "congctl", *lock, wanted):
        assert both(netns, V4) == (wanted, wanted)
    assert both(netns, V4) == (OTHER, OTHER)


def test_a_locked_choice_of_the_default_stays_too(
    there: Congested, netns: Namespace
) -> None:
    there.assign(netns.cookie, prefix_of(V4))
    with route_of(netns, V4, "congctl", "lock", DEFAULT):
        assert both(netns, V4) == (DEFAULT, DEFAULT)


def test_nothing_is_applied_where_the_default_is_another_by_now(
    there: Congested, netns: Namespace
) -> None:
    there.assign(netns.cookie, prefix_of(V4), found=padded("someelse"))
    assert both(netns, V4) == (DEFAULT, DEFAULT)
    (event,) = there.wait_told(DefaultChanged, netns.cookie)
    assert (text(event.now), str(event.prefix)) == (DEFAULT, "10.77.1.0/24")


# --- arms that fail ----------------------------------------------------------


def test_an_arm_that_vanished_is_told_of_once_and_not_tried_again(
    there: Congested, netns: Namespace
) -> None:
    gone = BrokenKey(netns.cookie, padded("nosuchthing"))
    for address in (V4, V6):
        there.assign(netns.cookie, prefix_of(address), arm=gone.arm)
    for _ in range(5):
        assert both(netns, V4) == (DEFAULT, DEFAULT)
        assert both(netns, V6) == (DEFAULT, DEFAULT)
    (event,) = there.wait_told(ArmFailed, netns.cookie)
    assert (text(event.arm), event.error) == ("nosuchthing", 2)
    assert there.broken.get(gone) == Refusal(2)
    there.broken.remove(gone)
    both(netns, V4)
    assert len(there.wait_told(ArmFailed, netns.cookie)) == 1
