"""How it ends: what is kept, what is taken back, how a person undoes it."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from pathlib import Path

import pytest
from tests.pace import allowed
from tests.system.conftest import Start
from tests.system.daemon import WMEM, Daemon, value, wait_until
from tests.system.paths import MS, SMALL, path

from bpftune.lab.network import Lab
from bpftune.lab.traffic import Bulk

IN_TIME_S = 2.0


@pytest.mark.slow
def test_ctrl_c_in_the_first_trial_leaves_all_as_it_was(lab: Lab, start: Start) -> None:
    sender, link = path(lab)
    lab.traffic(link, Bulk())
    daemon = start()
    daemon.wait_kind("change", sender, 30)
    assert daemon.stop(signal.SIGINT) < allowed(IN_TIME_S)
    assert daemon.process.returncode == 0
    (back,) = daemon.about(sender, "taken_back")
    assert back["new"] == list(SMALL)
    assert back["change"] == daemon.about(sender, "change")[0]["change"]
    assert value(sender) == list(SMALL)
    assert not daemon.about(sender, "stopped")
    assert daemon.records[-1]["record"] == "stopped"


@pytest.mark.slow
def test_sigterm_keeps_what_paid_and_says_how_to_undo_it(
    lab: Lab, start: Start
) -> None:
    # 128 KiB pays, and is still too little.
    sender, link = path(lab, rtt_ns=80 * MS)
    lab.traffic(link, Bulk())
    daemon = start()
    kept = daemon.wait_kind("kept", sender, 30)
    after = daemon.records.index(kept)
    daemon.wait_kind("change", sender, 5, after)
    assert value(sender)[2] > kept["new"][2]
    assert daemon.stop(signal.SIGTERM) < allowed(IN_TIME_S)
    assert daemon.process.returncode == 0
    assert value(sender) == kept["new"]
    (summary,) = daemon.about(sender, "stopped")
    assert summary["old"] == list(SMALL)
    assert summary["new"] == kept["new"]
    assert daemon.records[-1]["why"] == "1 value stays in force"
    subprocess.run(["sh", "-c", summary["undo"]], check=True, capture_output=True)
    assert value(sender) == list(SMALL)


def test_sigterm_leaves_alone_what_the_admin_wrote_last(lab: Lab, start: Start) -> None:
    netns = lab.namespace("a")
    daemon = start()
    daemon.send(signal.SIGSTOP)
    chosen = "4096 16384 100000"
    netns.set_sysctl(WMEM, chosen)
    daemon.send(signal.SIGTERM)
    daemon.send(signal.SIGCONT)
    assert daemon.stop() < allowed(IN_TIME_S)
    assert netns.sysctl(WMEM) == chosen


def exists(kind: str, number: int) -> bool:
    """Tell whether the kernel has a BPF program, map or link of this number."""
    libbpf = ctypes.CDLL("libbpf.so.1", use_errno=True)
    fd: int = libbpf[f"bpf_{kind}_get_fd_by_id"](number)
    if fd >= 0:
        os.close(fd)
    return fd >= 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_leaves_no_bpf_behind(start: Start, number: int) -> None:
    daemon = start()
    ours = {kind: set(found) for kind, found in daemon.bpf().items()}
    assert all(ours.values())
    for kind, numbers in ours.items():
        assert all(exists(kind, one) for one in numbers)
    daemon.stop(number)

    def left() -> bool:
        return any(exists(kind, one) for kind in ours for one in ours[kind])

    assert wait_until(lambda: not left(), 5)


def test_a_signal_while_it_starts_ends_it(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path)
    try:
        lock = tmp_path / "lock"
        assert wait_until(lock.exists, 5, 0.001)
        daemon.stop(signal.SIGTERM)
        assert daemon.process.returncode in {0, -signal.SIGTERM}
        assert not daemon.other
    finally:
        daemon.end()
