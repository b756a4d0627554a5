"""Network namespaces come and go, by the thousand, and the daemon lives."""

from __future__ import annotations

import itertools
import os
import signal
from pathlib import Path

import pytest
from tests.system.admin import write
from tests.system.churn import churned, make, set_in, unmake
from tests.system.conftest import Start
from tests.system.daemon import WMEM, Daemon, name_in, value, wait_until
from tests.system.paths import SMALL, path
from tests.system.talk import call

from bpftune.lab.namespaces import Namespace
from bpftune.lab.network import Lab
from bpftune.lab.traffic import Bulk

CHOSEN = "4096 16384 100000"
KIB_PER_MIB = 1024


@pytest.mark.slow
def test_an_end_in_mid_trial_changes_nothing_else(lab: Lab, start: Start) -> None:
    climbing, link = path(lab)
    idle, other = lab.namespace("idle"), lab.namespace("other")
    flows = lab.traffic(link, Bulk())
    daemon = start()
    daemon.wait_kind("change", climbing, 30)
    host = Path("/proc/sys/net/ipv4/tcp_wmem")
    before = host.read_text()

    # Events wait in the ring buffer until the namespaces they tell of are gone.
    daemon.send(signal.SIGSTOP)
    write(idle, CHOSEN)
    write(other, CHOSEN)
    flows.stop()
    link.close()
    for end in link.ends:
        end.namespace.close()
    end_for_good(idle)
    daemon.send(signal.SIGCONT)

    daemon.wait_kind("yielded", other, 5)
    daemon.stop()
    assert daemon.process.returncode == 0
    assert not daemon.about(idle)
    assert len(daemon.about(other)) == 1
    assert host.read_text() == before
    assert other.sysctl(WMEM) == CHOSEN
    (lost,) = daemon.of_kind("lost")
    assert lost["lost"]["network namespace gone"] >= 1
    assert not daemon.degraded()


def end_for_good(netns: Namespace) -> None:
    """Delete it and wait until the kernel has ended it, which takes a while."""
    fd = netns.open_sysctl(WMEM)  # does not keep it alive

    def is_gone() -> bool:
        try:
            os.pread(fd, 1, 0)
        except FileNotFoundError:
            return True
        return False

    try:
        netns.close()
        assert wait_until(is_gone, 10)
    finally:
        os.close(fd)


@pytest.mark.slow
def test_climbs_in_a_namespace_younger_than_the_daemon(lab: Lab, start: Start) -> None:
    daemon = start()
    # Set from outside and before the daemon met it: as if it came like that.
    sender, link = path(lab)
    lab.traffic(link, Bulk())
    kept = daemon.wait_kind("kept", sender, 30)
    assert kept["new"][2] > SMALL[2]
    assert value(sender)[2] >= kept["new"][2]


def come_and_go(daemon: Daemon, names: range) -> None:
    """Let the daemon find a batch of namespaces and meet each; then end them."""
    same = Path("/proc/sys/net/ipv4/tcp_wmem").read_text()

    def yields(number: int) -> None:
        name = churned(number).name
        values = itertools.count(100_000)

        def is_told() -> bool:
            # Looking for new namespaces is rationed: what comes in a flood may
            # be found at a later write only.
            set_in(range(number, number + 1), f"4096 16384 {next(values)}")
            return daemon.heard_of(
                lambda one: one["record"] == "yielded" and name_in(one) == name, 0.5
            )

        assert wait_until(is_told, 10), daemon.heard()

    try:
        make(names)
        yields(names[0])  # to find it, it finds them all
        set_in(names[1:-1], same)
        yields(names[-1])
    finally:
        unmake(names)


@pytest.mark.slow
@pytest.mark.real_machine("a thousand namespaces are made")
def test_a_thousand_namespaces_leave_no_trace(start: Start) -> None:
    daemon = start()
    # It maps the globals of BPF objects when it first tells of losses.
    call(daemon.run_dir / "control", "Metrics")
    at_start = daemon.open_files()

    def is_clean() -> bool:
        return daemon.open_files() <= at_start + 4

    for first in range(0, 300, 100):
        come_and_go(daemon, range(first, first + 100))
    assert wait_until(is_clean, 20), f"{daemon.open_files()}, {at_start} at start"
    resident_kib = daemon.status("VmRSS")
    for first in range(300, 1300, 100):
        come_and_go(daemon, range(first, first + 100))
    assert wait_until(is_clean, 20), f"{daemon.open_files()}, {at_start} at start"
    grown_kib = daemon.status("VmRSS") - resident_kib
    print(f"RSS grew {grown_kib} KiB")
    assert grown_kib < KIB_PER_MIB
    daemon.stop()
    assert daemon.process.returncode == 0
    assert not daemon.degraded()
