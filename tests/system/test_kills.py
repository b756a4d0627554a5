"""The daemon is killed at random instants; every original comes back."""

from __future__ import annotations

import random
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from tests.system.daemon import OURS, Daemon
from tests.system.installed import installed

from bpftune.lab.namespaces import Namespace
from bpftune.lab.network import Lab
from bpftune.lock import SecondDaemonError
from bpftune.rollback import FAIL, SET, SKIP, Selection, Step, rollback_offline

KILLS = 100
RESTLESS = Path(__file__).with_name("restless")
ORIGINALS = {
    "net.ipv4.tcp_wmem": "4096 16384 1048576",
    "net.ipv4.tcp_rmem": "4096 131072 2097152",
    "net.core.somaxconn": "1000",
    "net.ipv4.ip_local_port_range": "20000 30000",
}
ADMINS = "5000 20000 1500000"


@pytest.fixture(scope="module")
def site() -> Iterator[Path]:
    """Return a directory in which the restless tuner is installed."""
    with installed(RESTLESS) as made:
        yield made


class Place:
    """Namespaces with known values, and daemons that change them."""

    def __init__(self, lab: Lab, site: Path, chance: random.Random) -> None:
        self.namespaces = [lab.namespace(f"n{number}") for number in range(3)]
        self.site = site
        self.chance = chance

    def values(self) -> dict[tuple[str, str], str]:
        return {
            (netns.name, name): netns.sysctl(name)
            for netns in self.namespaces
            for name in ORIGINALS
        }

    def reset(self) -> None:
        for netns in self.namespaces:
            for name, value in ORIGINALS.items():
                netns.set_sysctl(name, value)

    def originals(self) -> dict[tuple[str, str], str]:
        return {
            (netns.name, name): value
            for netns in self.namespaces
            for name, value in ORIGINALS.items()
        }

    def run_and_kill(self, run_dir: Path) -> None:
        """Start a daemon and kill it at an instant that nobody chose."""
        daemon = Daemon(run_dir, {"PYTHONPATH": str(self.site)})
        try:
            if self.chance.random() < 0.5:
                daemon.wait_started()
                instant_s = self.chance.uniform(0, 0.6)
            else:
                instant_s = self.chance.uniform(0, 1.5)
            with pytest.raises(subprocess.TimeoutExpired):  # it lives until then
                daemon.process.wait(instant_s)
            daemon.stop(signal.SIGKILL)
        finally:
            daemon.end()
        assert not daemon.other, daemon.heard()


@pytest.fixture
def place(lab: Lab, site: Path) -> Place:
    return Place(lab, site, random.Random(4))


def undo(run_dir: Path) -> list[Step]:
    steps = rollback_offline(run_dir, Selection())
    assert not [step for step in steps if step.action == FAIL], steps
    return steps


@pytest.mark.slow
@pytest.mark.real_machine("a hundred daemons start")
def test_a_hundred_kills_at_random_instants_cost_no_original(place: Place) -> None:
    kills = restored = with_values = 0
    while kills < KILLS:
        place.reset()
        wanted = place.originals()
        with TemporaryDirectory(prefix="bpftune-") as made:
            run_dir = Path(made)
            place.run_and_kill(run_dir)
            kills += 1
            if kills % 4 == 0:  # the next one goes on from there
                netns = place.chance.choice(place.namespaces)
                netns.set_sysctl("net.ipv4.tcp_wmem", ADMINS)
                wanted[netns.name, "net.ipv4.tcp_wmem"] = ADMINS
                place.run_and_kill(run_dir)
            before = place.values()
            steps = undo(run_dir)
            after = place.values()
        changed = {where for where in wanted if before[where] != wanted[where]}
        set_back = {
            (step.netns.name, step.tunable.name) for step in steps if step.action == SET
        }
        assert set_back == changed
        assert after == wanted
        restored += after == wanted
        with_values += bool(changed)
    assert restored == kills == KILLS
    assert with_values > KILLS // 4


def wait_changed(daemon: Daemon, netns: Namespace) -> None:
    """Wait until something was changed there, and is in force at a kill."""
    daemon.wait_kind("kept", netns, 10)


def test_the_admins_value_outlives_a_kill_a_restart_and_a_rollback(
    place: Place, tmp_path: Path
) -> None:
    place.reset()
    admins, ours, _ = place.namespaces
    daemon = Daemon(tmp_path, {"PYTHONPATH": str(place.site)})
    try:
        for netns in (admins, ours):
            wait_changed(daemon, netns)
        with pytest.raises(SecondDaemonError):
            rollback_offline(tmp_path, Selection())
    finally:
        daemon.stop(signal.SIGKILL)
        daemon.end()
    for name in ORIGINALS:
        admins.set_sysctl(name, admins_value(name))

    again = Daemon(tmp_path, {"PYTHONPATH": str(place.site)})
    try:
        again.wait_kind("yielded", admins, 10)
        wait_changed(again, ours)
    finally:
        again.stop(signal.SIGKILL)
        again.end()

    steps = rollback_offline(tmp_path, Selection(), dry_run=True)
    theirs = [step for step in steps if step.netns.name == admins.name]
    assert theirs
    assert {step.action for step in theirs} == {SKIP}
    undo(tmp_path)
    assert {name: admins.sysctl(name) for name in ORIGINALS} == {
        name: admins_value(name) for name in ORIGINALS
    }
    assert {name: ours.sysctl(name) for name in ORIGINALS} == ORIGINALS


def admins_value(name: str) -> str:
    """Return what the admin sets: one more than the original, in all numbers."""
    return " ".join(str(int(number) + 1) for number in ORIGINALS[name].split())


def test_what_was_rolled_back_by_hand_is_left_so_by_the_next_daemon(
    place: Place, tmp_path: Path
) -> None:
    place.reset()
    netns = place.namespaces[0]
    assert netns.name.startswith(OURS)
    daemon = Daemon(tmp_path, {"PYTHONPATH": str(place.site)})
    try:
        for one in place.namespaces:
            wait_changed(daemon, one)
    finally:
        daemon.stop(signal.SIGKILL)
        daemon.end()
    undo(tmp_path)
    assert place.values() == place.originals()
    again = Daemon(tmp_path, {"PYTHONPATH": str(place.site)})
    try:
        again.wait_started()
        assert not again.of_kind("change"), again.heard()
        again.stop()
    finally:
        again.end()
    assert place.values() == place.originals()
