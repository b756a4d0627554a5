"""What the admin sets stays as it is, there and nowhere else."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

import pytest
from tests.system.admin import write
from tests.system.conftest import Start
from tests.system.daemon import WMEM, value
from tests.system.paths import SMALL, SMALL_TEXT, path

from bpftune.lab.network import Lab
from bpftune.lab.traffic import Bulk

CHOSEN = "4096 16384 100000"


@pytest.mark.slow
@pytest.mark.real_machine("two paths are filled at once")
def test_yields_in_mid_trial_where_the_admin_writes_and_goes_on_elsewhere(
    lab: Lab, start: Start
) -> None:
    theirs, first_link = path(lab, "a")
    ours, second_link = path(lab, "b")
    lab.traffic(first_link, Bulk())
    lab.traffic(second_link, Bulk())
    daemon = start()
    daemon.wait_kind("change", theirs, 30)
    subprocess.run(
        ["ip", "netns", "exec", theirs.name, "sysctl", "-qw", f"{WMEM}={CHOSEN}"],
        check=True,
    )
    yielded = daemon.wait_kind("yielded", theirs, 3)
    assert yielded["tunable"] == WMEM
    assert yielded["new"] == list(map(int, CHOSEN.split()))
    assert f"uid {os.getuid()} (sysctl)" in yielded["why"]
    after = len(daemon.records)
    daemon.wait_kind("kept", ours, 30)
    daemon.stop()
    assert theirs.sysctl(WMEM) == CHOSEN
    assert not [one for one in daemon.about(theirs) if one in daemon.records[after:]]
    assert not daemon.about(ours, "yielded")
    assert value(ours)[2] > SMALL[2]


def test_yields_to_a_change_only(lab: Lab, start: Start) -> None:
    netns = lab.namespace("a")
    found = value(netns)
    daemon = start()
    assert write(netns, "banana") == str(errno.EINVAL)
    assert write(netns, "0 0 0") == str(errno.EINVAL)
    assert write(netns, netns.sysctl(WMEM)) == ""
    assert write(netns, CHOSEN) == ""
    first = daemon.wait_kind("yielded", netns, 3)
    assert first["old"] == found
    assert first["new"] == list(map(int, CHOSEN.split()))


def test_yields_once(lab: Lab, start: Start) -> None:
    netns, other = lab.namespace("a"), lab.namespace("b")
    daemon = start()
    write(netns, CHOSEN)
    daemon.wait_kind("yielded", netns, 3)
    write(netns, SMALL_TEXT)
    write(other, CHOSEN)
    daemon.wait_kind("yielded", other, 3)
    daemon.stop()
    assert len(daemon.about(netns)) == 1
    assert netns.sysctl(WMEM) == SMALL_TEXT


def test_names_the_writer_without_what_a_terminal_obeys(lab: Lab, start: Start) -> None:
    netns = lab.namespace("a")
    daemon = start()
    write(netns, CHOSEN, comm=b'\x1b[2J\n\xff{"a"}')
    yielded = daemon.wait_kind("yielded", netns, 3)
    assert "\x1b" not in yielded["why"]
    assert "\n" not in yielded["why"]
    assert '\\x1b[2J\\x0a\\xff{"a"}' in yielded["why"]
    assert not daemon.other


def test_notices_a_write_from_another_namespace(lab: Lab, start: Start) -> None:
    netns, elsewhere = lab.namespace("a"), lab.namespace("b")
    daemon = start()
    # Only a namespace that the daemon has met has a value to compare.
    write(netns, netns.sysctl(WMEM))
    write(netns, CHOSEN, from_netns=elsewhere)
    daemon.wait_kind("yielded", netns, 3)
    assert not daemon.about(elsewhere)


def test_leaves_alone_what_the_hosts_files_set(
    lab: Lab, start: Start, tmp_path: Path
) -> None:
    # A mount namespace in which /etc/sysctl.d is ours to fill.
    files = tmp_path / "sysctl.d"
    files.mkdir()
    (files / "10-ours.conf").write_text(f"# buffers\n{WMEM} = {CHOSEN}\n")
    prefix = (
        *("unshare", "--mount", "--propagation", "slave", "sh", "-c"),
        f'mount --bind {files} /etc/sysctl.d && exec "$@"',
        "sh",
    )
    before = Path("/proc/sys/net/ipv4/tcp_wmem").read_text()
    daemon = start(prefix=prefix)
    yielded = daemon.wait_for(lambda one: one["record"] == "yielded", 1)
    assert yielded["netns"]["name"] == "host"
    assert yielded["tunable"] == WMEM
    assert "/etc/sysctl.d/10-ours.conf line 2" in yielded["why"]
    # They speak for the host only.
    netns = lab.namespace("a")
    write(netns, SMALL_TEXT)
    daemon.wait_kind("yielded", netns, 3)
    assert Path("/proc/sys/net/ipv4/tcp_wmem").read_text() == before
