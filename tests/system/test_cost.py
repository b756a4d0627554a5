"""What the daemon costs a machine on which there is nothing to do."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.system.conftest import Start
from tests.system.daemon import WMEM, Daemon, wait_until
from tests.system.talk import call

from bpftune.history import History
from bpftune.records import Record

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


def test_telling_the_whole_history_takes_no_memory(
    start: Start, tmp_path: Path
) -> None:
    history = History(tmp_path)
    why = "the send buffer of 37 connections was full for 92 % of the time"
    extra = {"evidence": {"destination": "10.1.2.0/24", "samples": 37, "full": 0.92}}
    for number in range(20_000):
        record = Record("change", why, "tcp_buffer", WMEM, extra=extra)
        assert history.write(record, 1.7e9 + number)
    history.close()
    daemon = start({"BPFTUNE_STATE_DIR": str(tmp_path)})
    asked = ("History", {"limit": 1}), ("Explain", {"about": "net.ipv4.none"})
    for method, parameters in asked:  # what is imported only then is no record
        call(daemon.run_dir / "control", method, **parameters)
    before_kib = daemon.status("VmRSS")
    reply = call(daemon.run_dir / "control", "History", 60.0, limit=10_000)
    assert len(reply["parameters"]["records"]) == 10_000
    reply = call(daemon.run_dir / "control", "Explain", 60.0, about=WMEM)
    assert len(reply["parameters"]["records"]) == 1000
    grown_kib = daemon.status("VmRSS") - before_kib
    print(f"{grown_kib} KiB for 11,000 records")
    assert grown_kib <= KIB_PER_MIB


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
