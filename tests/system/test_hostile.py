"""Hostile clients of the control socket: others are answered, tuning goes on."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.pace import patient
from tests.system.conftest import Start
from tests.system.daemon import ROOT, environment, value
from tests.system.hostile import ROLES, SILENT
from tests.system.paths import SMALL, path
from tests.system.talk import call, slowest_s

from bpftune.lab.network import Lab
from bpftune.lab.traffic import Bulk

pytestmark = pytest.mark.real_machine("answers are to come within a tenth of a second")

ANSWER_S = 0.1
REFUSED = "io.bpftune.NotPermitted"

Happened = dict[str, dict[str, int]]


@contextmanager
def siege(run_dir: Path) -> Iterator[Happened]:
    """Be hostile in every way meanwhile; tell afterwards what happened to whom."""
    run_dir.chmod(0o755)
    happened: Happened = {}
    hostile = {
        role: subprocess.Popen(
            [sys.executable, "-m", "tests.system.hostile", role, run_dir / "control"],
            cwd=ROOT,
            env=environment(run_dir),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for role in ROLES
    }
    try:
        yield happened
        for role, process in hostile.items():
            happened[role] = json.loads(process.communicate(timeout=patient(20))[0])
    finally:
        for process in hostile.values():
            process.kill()
            process.communicate()


@pytest.mark.slow
def test_others_are_answered_and_tuning_goes_on(lab: Lab, start: Start) -> None:
    sender, link = path(lab)
    daemon = start()
    socket_path = daemon.run_dir / "control"
    with siege(daemon.run_dir) as happened:
        lab.traffic(link, Bulk())
        assert slowest_s(socket_path) < ANSWER_S
        daemon.wait_kind("change", sender, 40)
        daemon.wait_kind("kept", sender, 40)
        assert slowest_s(socket_path) < ANSWER_S
        assert value(sender)[2] > SMALL[2]

    assert happened["silent"]["connected"] > SILENT
    assert happened["silent"]["cut off"] >= SILENT / 2
    assert happened["crowding"]["full"] > 100, happened
    for role in ("large", "garbage"):
        assert set(happened[role]) == {"cut off"}, happened
    assert happened["rooted"].pop("uid") == 0
    for role in ("asking", "rooted"):
        assert happened[role][REFUSED] > 10, happened
        assert set(happened[role]) <= {REFUSED, "cut off"}, happened

    status = call(socket_path, "Status")["parameters"]
    assert status["mode"] == "tune"
    assert not status["paused"]
    for kind in ("rolled_back", "paused"):
        assert not daemon.of_kind(kind), daemon.heard()
    assert not daemon.degraded(), daemon.heard()
