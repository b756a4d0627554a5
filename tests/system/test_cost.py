"""What the daemon costs a machine on which there is nothing to do."""

from __future__ import annotations

import pytest
from tests.system.conftest import Start
from tests.system.daemon import Daemon

KIB_PER_MIB = 1024
MIB = 1 << 20
IDLE_S = 5.0
MOST_TRIES = 12


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
    assert daemon.started_s <= 1.0


def wakeups(daemon: Daemon) -> int:
    """Count how often it went to sleep in IDLE_S."""
    before = daemon.status("voluntary_ctxt_switches")
    # Nothing is to happen: there is no event to wait for.
    daemon.heard_of(lambda one: one["record"] == "stopped", IDLE_S)
    return daemon.status("voluntary_ctxt_switches") - before


@pytest.mark.slow
def test_sleeps_when_there_is_nothing_to_do(start: Start) -> None:
    daemon = start()
    counts: list[int] = []
    # Namespaces and senders of others on this machine do wake it, and so does
    # the turn of a minute: a window in which none of this was must be silent.
    while 0 not in counts and len(counts) < MOST_TRIES:
        counts.append(wakeups(daemon))
    print(f"wake-ups in {IDLE_S:g} s: {counts}")
    assert 0 in counts
