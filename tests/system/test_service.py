"""The systemd unit: what it allows suffices, and what it waits for is said."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.pace import patient
from tests.system.conftest import Start
from tests.system.daemon import ROOT, wait_until
from tests.system.paths import path
from tests.system.test_cost import MINUTE_MS, MOST_OF_A_MINUTE_MS, sleeps_ms
from tests.unit.receivers import Receiver

from bpftune.lab.network import Lab
from bpftune.lab.traffic import Bulk

UNIT = ROOT / "packaging" / "bpftune.service"

# prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN), which kernels before 6.3 lack.
_NO_WRITE_EXECUTE = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(65, 1, 0, 0, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""


@pytest.fixture(scope="module")
def service() -> dict[str, str]:
    """Return the section Service of the unit."""
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(UNIT)
    return dict(unit["Service"])


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Receiver]:
    with Receiver(tmp_path / "notify") as receiver:
        yield receiver


def test_it_tunes_with_no_more_than_the_unit_leaves_it(
    lab: Lab, start: Start, service: dict[str, str]
) -> None:
    names = service["CapabilityBoundingSet"].removeprefix("~").split()
    kept = ",".join("+" + name.removeprefix("CAP_").lower() for name in names)
    prefix = (
        *(sys.executable, "-c", _NO_WRITE_EXECUTE, "setpriv", "--no-new-privs"),
        *("--inh-caps=-all", "--bounding-set", f"-all,{kept}"),
    )
    sender, link = path(lab)
    lab.traffic(link, Bulk())
    daemon = start(prefix=prefix)
    daemon.wait_kind("change", sender, 30)
    daemon.stop()
    assert not daemon.degraded()
    assert (daemon.run_dir / "state" / "history.jsonl").exists()


def test_it_is_ready_when_it_says_so_and_tells_that_it_stops(
    start: Start, service: dict[str, str], manager: Receiver
) -> None:
    assert service["Type"] == "notify"
    daemon = start({"NOTIFY_SOCKET": str(manager.address)})
    assert wait_until(manager.waits, 5)
    (ready,) = manager.datagrams()
    assert ready.startswith(b"READY=1\nSTATUS=")
    daemon.stop()
    assert manager.datagrams() == [b"STOPPING=1\nSTATUS=stopping"]


def test_the_watchdog_costs_no_wake_up(
    start: Start, service: dict[str, str], manager: Receiver
) -> None:
    amount, unit = service["WatchdogSec"][:-3], service["WatchdogSec"][-3:]
    assert unit == "min"
    environment = {
        "NOTIFY_SOCKET": str(manager.address),
        "WATCHDOG_USEC": str(int(amount) * 60_000_000),
    }
    daemon = start(environment)
    assert wait_until(lambda: MOST_OF_A_MINUTE_MS < sleeps_ms(daemon) <= MINUTE_MS, 20)


def test_a_short_watchdog_is_heeded(start: Start, manager: Receiver) -> None:
    start({"NOTIFY_SOCKET": str(manager.address), "WATCHDOG_USEC": "200000"})
    heard: list[bytes] = []

    def often() -> bool:
        heard.extend(manager.datagrams())
        return heard.count(b"WATCHDOG=1") >= 5

    assert wait_until(often, 10), heard


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze here"
)
def test_systemd_understands_the_unit() -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", UNIT],
        capture_output=True,
        text=True,
        check=False,
        timeout=patient(30),
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
