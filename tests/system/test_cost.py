"""What the daemon costs a machine on which there is nothing to do."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.system.conftest import Start
from tests.system.daemon import Daemon, wait_until

pytestmark = pytest.mark.real_machine("memory and times are measured")

KIB_PER_MIB = 1024
MIB = 1 << 20
MINUTE_MS = 60_000
MOST_OF_A_MINUTE_MS = 35_000


def test_is_small_and_quick_to_start(start: Start) -> None:
    daemon = start()
    resident_kib = daemon.status("VmRSS")
    maps_bytes = sum(daemon.bpf()["map"].values())
    print(
        f"RSS {resident_kib} KiB, maps {maps_bytes} bytes,"
        f" started in {daemon.started_s:.2f} s"
    )
    assert resident_kib <= 20 * KIB_PER_MIB
    assert 0 < maps_bytes <= 2 * MIB
    # Other work on the machine delays a start; the quickest of three is its own.
    quickest_s = daemon.started_s
    for _ in range(2):
        if quickest_s <= 1.0:
            break
        daemon.stop()
        daemon = start()
        quickest_s = min(quickest_s, daemon.started_s)
    assert quickest_s <= 1.0


def sleeps_ms(daemon: Daemon) -> int:
    """Return how long it means to sleep; 0 if it is awake.

    ``epoll_wait(epfd, events, maxevents, timeout)``, as proc(5) shows the system
    call that a process is blocked in.
    """
    words = Path(f"/proc/{daemon.pid}/syscall").read_text().split()
    return int(words[4], 16) if len(words) > 4 else 0


def test_sleeps_until_the_minute_if_nothing_happens(start: Start) -> None:
    # To count wake-ups would count those that others on this machine cause.
    daemon = start()
    assert len(list(Path(f"/proc/{daemon.pid}/task").iterdir())) == 1
    assert wait_until(lambda: MOST_OF_A_MINUTE_MS < sleeps_ms(daemon) <= MINUTE_MS, 20)
