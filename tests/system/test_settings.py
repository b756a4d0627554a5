"""A sysctl that is a word is the admin's once they set it, until they give it back."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.system.admin import write
from tests.system.conftest import Start
from tests.system.daemon import Daemon, Told, value, wait_until
from tests.system.installed import installed
from tests.system.test_verbs import ask, told
from tests.system.wordy import MORE, SETTING, SOMAXCONN

from bpftune.lab.namespaces import Namespace
from bpftune.lab.network import Lab

WORDY = Path(__file__).with_name("wordy")
ALLOWED = Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control")
DEADLINE_S = 5.0


@pytest.fixture(scope="module")
def site() -> Iterator[Path]:
    """Return a directory in which the tuner is installed."""
    with installed(WORDY) as made:
        yield made


def another(netns: Namespace) -> str:
    """Return a congestion control that may be the default there, and is not."""
    now = netns.sysctl(SETTING)
    others = [one for one in ALLOWED.read_text().split() if one != now]
    if not others:
        pytest.skip("this kernel allows one congestion control only")
    return others[0]


def raised(netns: Namespace) -> bool:
    return value(netns, SOMAXCONN.name)[0] > MORE + 1


def started(start: Start, site: Path, *where: Namespace) -> Daemon:
    """Start a daemon that has found out that the setting is nobody's there."""
    for netns in where:
        netns.set_sysctl(SOMAXCONN.name, "1000")
    daemon = start({"PYTHONPATH": str(site)})
    for netns in where:
        daemon.wait_kind("kept", netns, DEADLINE_S)
        assert raised(netns)
    return daemon


def of_the_setting(daemon: Daemon, netns: Namespace) -> list[Told]:
    return [one for one in daemon.about(netns) if one["tunable"] == SETTING]


def test_a_real_change_is_the_admins_until_they_give_it_back(
    lab: Lab, start: Start, site: Path
) -> None:
    netns, other = lab.namespace("a"), lab.namespace("b")
    found, chosen = netns.sysctl(SETTING), another(netns)
    daemon = started(start, site, netns, other)
    assert write(netns, "banana", name=SETTING) == str(errno.ENOENT)
    assert write(netns, found, name=SETTING) == ""
    assert told(daemon, "status")["yielded"] == []
    assert write(netns, chosen, name=SETTING) == ""

    yielded = daemon.wait_kind("yielded", netns, DEADLINE_S)
    assert yielded["tunable"] == SETTING
    assert yielded["why"] == f"uid {os.getuid()} (admin) set it to {chosen}"
    assert yielded["evidence"] == {"old_text": found, "new_text": chosen}
    assert (yielded["by_uid"], yielded["by_comm"]) == (os.getuid(), "admin")
    daemon.wait_kind("taken_back", netns, DEADLINE_S)
    assert not raised(netns)
    assert raised(other)
    (one,) = told(daemon, "status")["yielded"]
    assert (one["tunable"], one["netns"]["name"]) == (SETTING, netns.name)
    text = " ".join(ask(daemon, "status").split())
    assert f"Left to the admin: tcp_congestion_control in netns {netns.name}" in text

    said = ask(daemon, "adopt", "tcp_congestion_control", "--netns", netns.name)
    assert said == f"{SETTING} ({netns.name}) is bpftune's to tune again.\n"
    adopted = daemon.wait_kind("adopted", netns, DEADLINE_S)
    assert adopted["evidence"] == {"text": chosen}
    assert wait_until(lambda: raised(netns), DEADLINE_S)
    told(daemon, "explain", SETTING)
    story = " ".join(ask(daemon, "explain", "tcp_congestion_control").split())
    for words in (yielded["why"], "the admin gave it back", f"new text {chosen}"):
        assert words in story
    assert told(daemon, "status")["yielded"] == []
    ask(daemon, "adopt", "tcp_congestion_control", code=1)
    daemon.stop()
    assert [one["record"] for one in of_the_setting(daemon, netns)] == [
        "yielded",
        "adopted",
    ]
    assert of_the_setting(daemon, other) == []
    assert netns.sysctl(SETTING) == chosen
    assert not daemon.degraded(), daemon.heard()


def test_a_write_where_nothing_was_met_is_the_admins(
    lab: Lab, start: Start, site: Path
) -> None:
    daemon = started(start, site)
    netns = lab.namespace("a")  # the tuner has looked around before it was there
    found, chosen = netns.sysctl(SETTING), another(netns)
    assert write(netns, found, name=SETTING) == ""
    assert write(netns, chosen, name=SETTING) == ""
    yielded = daemon.wait_kind("yielded", netns, DEADLINE_S)
    assert yielded["evidence"] == {"old_text": found, "new_text": chosen}


def test_a_write_from_another_namespace_counts_where_it_happened(
    lab: Lab, start: Start, site: Path
) -> None:
    netns, elsewhere = lab.namespace("a"), lab.namespace("b")
    daemon = started(start, site, netns, elsewhere)
    chosen = another(netns)
    write(netns, chosen, name=SETTING, from_netns=elsewhere)
    yielded = daemon.wait_kind("yielded", netns, DEADLINE_S)
    assert "(admin) set it to" in yielded["why"]
    daemon.stop()
    assert of_the_setting(daemon, elsewhere) == []


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_what_is_the_admins_stays_so_over_restarts(
    lab: Lab, start: Start, site: Path, how: int
) -> None:
    netns = lab.namespace("a")
    daemon = started(start, site, netns)
    write(netns, another(netns), name=SETTING)
    daemon.wait_kind("yielded", netns, DEADLINE_S)
    daemon.wait_kind("taken_back", netns, DEADLINE_S)
    daemon.stop(how)
    assert (daemon.run_dir / "settings").stat().st_mode & 0o777 == 0o600

    daemon = start({"PYTHONPATH": str(site)})
    (one,) = told(daemon, "status")["yielded"]
    assert (one["tunable"], one["netns"]["name"]) == (SETTING, netns.name)
    told(daemon, "adopt", SETTING)
    daemon.wait_kind("adopted", netns, DEADLINE_S)
    assert wait_until(lambda: raised(netns), DEADLINE_S)
    kinds = [one["record"] for one in daemon.about(netns)]
    assert kinds.index("adopted") < kinds.index("change")
    assert "yielded" not in kinds
    daemon.stop(how)

    daemon = start({"PYTHONPATH": str(site)})
    assert told(daemon, "status")["yielded"] == []
    daemon.stop()
    assert of_the_setting(daemon, netns) == []


def test_what_the_hosts_files_set_is_left_alone(
    lab: Lab, start: Start, site: Path, tmp_path: Path
) -> None:
    # A mount namespace in which /etc/sysctl.d is ours to fill.
    before = Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text()
    files = tmp_path / "sysctl.d"
    files.mkdir()
    (files / "10-ours.conf").write_text(f"{SETTING} = {before}")
    prefix = (
        *("unshare", "--mount", "--propagation", "slave", "sh", "-c"),
        f'mount --bind {files} /etc/sysctl.d && exec "$@"',
        "sh",
    )
    netns = lab.namespace("a")
    daemon = start({"PYTHONPATH": str(site)}, prefix=prefix)
    yielded = daemon.wait_for(lambda one: one["record"] == "yielded", 1)
    assert (yielded["netns"]["name"], yielded["tunable"]) == ("host", SETTING)
    assert yielded["why"] == "/etc/sysctl.d/10-ours.conf line 1 sets it"
    daemon.wait_kind("change", netns, DEADLINE_S)  # they speak for the host only
    daemon.stop()
    assert of_the_setting(daemon, netns) == []
    assert Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text() == before
