"""The laboratory leaves nothing behind, however it ends."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tests.pace import patient

from bpftune.lab.congestion import ALLOWED, AVAILABLE, repair, set_default
from bpftune.lab.errors import RUN
from bpftune.lab.namespaces import RUN_NETNS, Namespace, remove_stale
from bpftune.lab.network import Lab
from bpftune.lab.traffic import Bulk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bpftune.lab.child import Child

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

VICTIM = """
import sys
from bpftune.lab.network import Lab
from bpftune.lab.traffic import Bulk
with Lab() as lab:
    a, b = lab.namespace("a"), lab.namespace("b")
    link = lab.emulated_link(a, b, rate_bits_per_s=10**7, rtt_ns=10**7)
    flows = lab.traffic(link, Bulk(uid=int(sys.argv[1]) or None))
    children = [link.emulator, flows.sender, flows.receiver]
    print(*(child.process.pid for child in children), flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def allowed() -> Iterator[list[str]]:
    """Put the host's list back, whatever the test does to it."""
    found = ALLOWED.read_text()
    yield found.split()
    if ALLOWED.read_text() != found:
        ALLOWED.write_text(found)


def restricted() -> str:
    names = set(AVAILABLE.read_text().split()) - set(ALLOWED.read_text().split())
    if not names:
        pytest.skip("every algorithm is allowed here")
    return min(names)


def named_after(pid: int) -> list[Path]:
    return list(RUN_NETNS.glob(f"bpftune-lab-{pid}-*"))


def test_an_exception_takes_everything_along() -> None:
    children: list[Child | None] = []

    def fail() -> None:
        with Lab() as lab:
            a, b = lab.namespace("a"), lab.namespace("b")
            link = lab.emulated_link(a, b, rate_bits_per_s=10**7, rtt_ns=10**7)
            flows = lab.traffic(link, Bulk())
            children.extend((link.emulator, flows.sender, flows.receiver))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not named_after(os.getpid())
    assert len(children) == 3
    assert all(c is not None and c.process.poll() is not None for c in children)


@pytest.mark.parametrize("uid", [0, 65534])
def test_after_sigkill_processes_die_and_the_next_run_removes_the_rest(
    uid: int,
) -> None:
    victim = subprocess.Popen(
        [sys.executable, "-c", VICTIM, str(uid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with victim:
        assert victim.stdout is not None
        children = [int(word) for word in victim.stdout.readline().split()]
        handles = [os.pidfd_open(pid) for pid in children]
        assert len(named_after(victim.pid)) == 2
        remove_stale()
        assert len(named_after(victim.pid)) == 2, "the living keep theirs"
        victim.kill()
        victim.wait(patient(5))
        for handle in handles:
            assert select.select([handle], [], [], 5)[0], "a child outlived the lab"
            os.close(handle)
    assert len(named_after(victim.pid)) == 2
    with Lab():
        pass
    assert not named_after(victim.pid)
    assert not (RUN / f"{victim.pid}.lock").exists()


def test_sigterm_of_the_command_cleans_up() -> None:
    command = "import sys; from bpftune.cli.lab import lab_main; "
    command += "sys.exit(lab_main(sys.argv[1:]))"
    slow = "cmd:sh -c 'echo $PPID; exec sleep 60'"
    run = subprocess.Popen(
        [
            sys.executable,
            "-c",
            command,
            "run",
            "lan",
            "--seconds=60",
            f"--tuner={slow}",
        ],
        stderr=subprocess.PIPE,
    )
    with run:
        lock = RUN / f"{run.pid}.lock"
        handle = os.pidfd_open(run.pid)
        while not (lock.exists() and len(named_after(run.pid)) == 2):
            assert not select.select([handle], [], [], 0.02)[0]
        run.send_signal(signal.SIGTERM)
        assert run.wait(patient(10)) == 1
        os.close(handle)
        assert run.stderr is not None
        assert b"cleaned up" in run.stderr.read()
    assert not named_after(run.pid)
    assert not lock.exists()


@pytest.mark.host_sysctl
def test_a_restricted_default_leaves_the_hosts_list_as_it_was(
    allowed: list[str],
) -> None:
    algorithm = restricted()
    with Namespace("cc") as namespace:
        namespace.set_congestion_control(algorithm)
        assert namespace.sysctl("net.ipv4.tcp_congestion_control") == algorithm
    assert ALLOWED.read_text().split() == allowed


@pytest.mark.host_sysctl
def test_the_list_of_a_killed_lab_is_put_back(allowed: list[str]) -> None:
    longer = [a for a in AVAILABLE.read_text().split() if a in {*allowed, restricted()}]
    RUN.mkdir(exist_ok=True)
    note = RUN / "allowed.json"
    note.write_text(json.dumps({"found": allowed, "ours": longer}))
    ALLOWED.write_text(" ".join(longer))
    repair()
    assert ALLOWED.read_text().split() == allowed
    assert not note.exists()


@pytest.mark.host_sysctl
def test_a_list_that_the_admin_changed_since_is_left(allowed: list[str]) -> None:
    note = RUN / "allowed.json"
    RUN.mkdir(exist_ok=True)
    note.write_text(json.dumps({"found": ["reno"], "ours": ["reno", "other"]}))
    repair()
    assert ALLOWED.read_text().split() == allowed
    note.write_text("{torn")
    repair()
    assert ALLOWED.read_text().split() == allowed
    assert not note.exists()


@pytest.mark.host_sysctl
def test_a_failure_while_the_list_is_longer_puts_it_back(
    allowed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    algorithm = restricted()

    def fail(_self: Namespace, _name: str, _value: str) -> None:
        assert ALLOWED.read_text().split() != allowed
        raise KeyboardInterrupt

    monkeypatch.setattr(Namespace, "set_sysctl", fail)
    with Namespace("cc") as namespace, pytest.raises(KeyboardInterrupt):
        set_default(namespace, algorithm)
    assert ALLOWED.read_text().split() == allowed
    assert not (RUN / "allowed.json").exists()
