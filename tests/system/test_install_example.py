"""The tuner made out of tree, as its author and its users meet it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.pace import patient

pytestmark = pytest.mark.real_machine("a package is built and installed")

ROOT = Path(__file__).resolve().parents[2]
NETNS = f"bpftune-ports-{os.getpid()}"
RANGE = "net.ipv4.ip_local_port_range"

# Opens connections to one listener until it has COUNT; tells how many it got.
CONNECT = """
import socket, sys
listener = socket.create_server(("127.0.0.1", 9), backlog=64)
kept, failed = [], 0
for _ in range(int(sys.argv[1])):
    try:
        kept.append(socket.create_connection(("127.0.0.1", 9)))
    except OSError:
        failed += 1
print(len(kept), failed)
"""


def run(*command: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=patient(120),
    )


def inside(*command: object) -> str:
    answer = run("ip", "netns", "exec", NETNS, *command)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.strip()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory into which the example is installed by pip."""
    source = tmp_path_factory.mktemp("source") / "bpftune_ports"
    shutil.copytree(
        ROOT / "examples/bpftune_ports",
        source,
        ignore=shutil.ignore_patterns("*.bpf.o", "__pycache__"),
    )
    target = tmp_path_factory.mktemp("site")
    answer = run(
        *(sys.executable, "-m", "pip", "install", "--quiet", "--no-index"),
        *("--no-deps", "--no-build-isolation", "--target", target, source),
    )
    assert answer.returncode == 0, answer.stderr
    assert (target / "bpftune_ports/ports.bpf.o").exists()
    return target


@pytest.fixture
def netns() -> Iterator[str]:
    assert run("ip", "netns", "add", NETNS).returncode == 0
    try:
        inside("ip", "link", "set", "lo", "up")
        yield NETNS
    finally:
        run("ip", "netns", "del", NETNS)


def bpftune(site: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, "-m", "bpftune", *words, PYTHONPATH=str(site))


def test_it_is_listed_as_third_party(site: Path) -> None:
    parsed = json.loads(bpftune(site, "tuners", "--json").stdout)
    (ports,) = [tuner for tuner in parsed["tuners"] if tuner["name"] == "ports"]
    assert ports["built_in"] is False
    assert ports["tunables"] == [RANGE]
    assert parsed["problems"] == []


def test_its_program_works_here(site: Path) -> None:
    parsed = json.loads(bpftune(site, "check", "--json").stdout)
    (ports,) = [tuner for tuner in parsed["tuners"] if tuner["name"] == "ports"]
    assert [(one["name"], one["works"]) for one in ports["programs"]] == [
        ("see_no_port", True)
    ]


def test_it_is_refused_when_anybody_could_replace_it(site: Path) -> None:
    file = site / "bpftune_ports/__init__.py"
    file.chmod(0o666)
    try:
        answer = bpftune(site, "tuners", "--json")
    finally:
        file.chmod(0o644)
    (problem,) = json.loads(answer.stdout)["problems"]
    assert problem["name"] == "ports"
    assert "can be written by" in problem["reason"]


def records(daemon: subprocess.Popen[str], wanted: str, seconds: float = 20.0) -> dict:  # type: ignore[type-arg]
    """Return the next record *wanted*, or fail when *seconds* have passed."""
    assert daemon.stderr is not None
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail(f"no record {wanted}"))
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        for line in daemon.stderr:
            record: dict[str, object] = json.loads(line)
            if record["record"] == wanted:
                return record
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return pytest.fail(f"the daemon ended without a record {wanted}")


def test_it_widens_the_range_where_ports_ran_out(
    site: Path, netns: str, tmp_path: Path
) -> None:
    inside("sysctl", "-qw", f"{RANGE}=65000 65003")
    with subprocess.Popen(
        [sys.executable, "-m", "bpftune", "--json"],
        env={
            **os.environ,
            "PYTHONPATH": str(site),
            "BPFTUNE_RUN_DIR": str(tmp_path),
            "BPFTUNE_STATE_DIR": str(tmp_path),
        },
        stderr=subprocess.PIPE,
        text=True,
    ) as daemon:
        try:
            assert "ports" in str(records(daemon, "started")["why"])
            made, failed = map(int, inside(sys.executable, "-c", CONNECT, 6).split())
            assert made <= 4
            assert failed
            change = records(daemon, "change")
        finally:
            daemon.send_signal(signal.SIGTERM)
            began_s = time.monotonic()
            daemon.communicate(timeout=patient(20))
    assert time.monotonic() - began_s < 2
    assert change["tuner"] == "ports"
    assert change["tunable"] == RANGE
    assert change["netns"]["name"] == netns
    assert change["old"] == [65000, 65003]
    assert change["new"] == [32768, 65535]
    assert "127.0.0.0/24 found no port of 65000-65003 free" in change["why"]
    assert f"ip netns exec {netns} sysctl" in change["undo"]
