from __future__ import annotations

import os
from collections.abc import Iterator
from math import inf
from pathlib import Path

import pytest

from bpftune.notify import Notifier
from tests.unit.fakes import Clock
from tests.unit.receivers import Receiver


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Receiver]:
    """Return a service manager that listens."""
    address: Path | bytes = tmp_path / "notify"
    if request.param == "abstract":
        address = b"\0bpftune-test-" + os.urandom(8).hex().encode()
    with Receiver(address) as receiver:
        yield receiver


def variable(manager: Receiver) -> str:
    """Return what ``NOTIFY_SOCKET`` is for it."""
    if isinstance(manager.address, Path):
        return str(manager.address)
    return "@" + manager.address[1:].decode()


def test_readiness_and_the_end_are_told(manager: Receiver) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": variable(manager)})
    notifier.ready("tuning\x1b[1m; tuners:\nall")
    notifier.stopping()
    notifier.close()
    assert manager.datagrams() == [
        b"READY=1\nSTATUS=tuning\\x1b[1m; tuners:\\x0aall",
        b"STOPPING=1\nSTATUS=stopping",
    ]


def test_the_watchdog_hears_of_turns_now_and_then(manager: Receiver) -> None:
    clock = Clock(1000.0)
    notifier = Notifier(
        {"NOTIFY_SOCKET": variable(manager), "WATCHDOG_USEC": "180000000"}, clock
    )
    assert notifier.turned() == 1090.0
    assert manager.datagrams() == []
    clock.now_s = 1044.9
    assert notifier.turned() == 1090.0
    assert manager.datagrams() == []
    clock.now_s = 1060.0  # the turn that comes each minute is often enough
    assert notifier.turned() == 1150.0
    assert manager.datagrams() == [b"WATCHDOG=1"]
    notifier.close()


def test_a_loop_that_does_not_turn_is_not_alive(manager: Receiver) -> None:
    clock = Clock(0.0)
    notifier = Notifier(
        {"NOTIFY_SOCKET": variable(manager), "WATCHDOG_USEC": "1000000"}, clock
    )
    clock.now_s = 100.0
    notifier.ready("tuning")
    assert b"WATCHDOG" not in b"".join(manager.datagrams())
    notifier.close()


@pytest.mark.parametrize("n", ["0", "", "x", "-1", "1e6", "9" * 400, "٣" * 19])
def test_a_watchdog_that_is_none_is_never_due(manager: Receiver, n: str) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": variable(manager), "WATCHDOG_USEC": n})
    assert notifier.turned() == inf
    notifier.close()
    assert manager.datagrams() == []


@pytest.mark.parametrize(("pid", "is_ours"), [(os.getpid(), True), (1, False)])
def test_the_watchdog_may_be_meant_for_another(
    manager: Receiver, pid: int, is_ours: bool
) -> None:
    environment = {
        "NOTIFY_SOCKET": variable(manager),
        "WATCHDOG_USEC": "1000000",
        "WATCHDOG_PID": str(pid),
    }
    notifier = Notifier(environment)
    assert (notifier.watchdog_s == 1.0) == is_ours
    notifier.close()


@pytest.mark.parametrize("address", [None, "", "/", "@", "vsock:2:1234", "relative"])
def test_without_a_manager_nothing_is_told(address: str | None) -> None:
    environment = {"WATCHDOG_USEC": "1000000"}
    if address is not None:
        environment["NOTIFY_SOCKET"] = address
    notifier = Notifier(environment)
    notifier.ready("tuning")
    assert notifier.turned() == inf
    notifier.stopping()
    notifier.close()


def test_readiness_is_told_again_until_it_is_heard(tmp_path: Path) -> None:
    path = tmp_path / "notify"
    environment = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "1000000"}
    clock = Clock(0.0)
    notifier = Notifier(environment, clock)
    notifier.ready("tuning")
    clock.now_s = 10.0
    notifier.turned()
    with Receiver(path) as manager:
        notifier.turned()
        notifier.turned()
        assert manager.datagrams() == [b"READY=1\nSTATUS=tuning"]
    notifier.close()
