"""What is missing or broken costs no more than it must, and says so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import pytest
from tests.pace import patient
from tests.system.admin import write
from tests.system.conftest import Start
from tests.system.daemon import WMEM, Daemon, Told, command, environment, value
from tests.system.paths import MBIT, SMALL, path, wait_busy

from bpftune.lab.network import Lab
from bpftune.lab.traffic import Bulk

CHOSEN = "4096 16384 100000"
MOUNTS = ("unshare", "--mount", "--propagation", "slave", "sh", "-c")


def run(tmp_path: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command that is to fail soon."""
    return subprocess.run(
        words,
        env=environment(tmp_path, more),
        capture_output=True,
        text=True,
        check=False,
        timeout=patient(15),
    )


def with_mounts(script: str) -> tuple[str, ...]:
    """Return a prefix that runs a command after *script*, with its own mounts."""
    return (*MOUNTS, f'{script} && exec "$@"', "sh")


# --- it cannot start ---------------------------------------------------------


def test_a_second_daemon_says_who_is_first(start: Start) -> None:
    first = start()
    second = run(first.run_dir, *command("run"))
    assert second.returncode == 1
    assert "another bpftune daemon" in second.stderr
    assert f"process {first.pid}" in second.stderr
    assert len(second.stderr.splitlines()) == 1
    assert first.process.poll() is None


def test_the_lock_of_a_dead_daemon_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("1\n")
    daemon = Daemon(tmp_path)
    try:
        daemon.wait_started()
    finally:
        daemon.end()


def test_needs_root(tmp_path: Path) -> None:
    as_nobody = (
        "import os, sys; from bpftune.cli import main;"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534);"
        "sys.exit(main(['run', '--json']))"
    )
    done = run(tmp_path, sys.executable, "-c", as_nobody)
    assert done.returncode == 4
    assert "sudo bpftune run" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_needs_the_capabilities_of_root(tmp_path: Path) -> None:
    without = ("setpriv", "--bounding-set", "-sys_admin,-bpf", "--inh-caps=-all")
    done = run(tmp_path, *without, *command("run"))
    assert done.returncode == 4
    assert "CAP_" in done.stderr or "root" in done.stderr
    assert "Traceback" not in done.stderr


def test_names_a_directory_that_cannot_be_used(tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    done = run(in_the_way, *command("run"))
    assert done.returncode == 1
    assert str(in_the_way) in done.stderr
    assert "BPFTUNE_RUN_DIR" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_needs_libbpf(tmp_path: Path) -> None:
    (tmp_path / "libbpf.so.1").write_text("no library\n")
    done = run(tmp_path, *command("run"), LD_LIBRARY_PATH=str(tmp_path))
    assert done.returncode == 5
    assert "apt install libbpf1" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_needs_the_kernels_types(tmp_path: Path) -> None:
    hide = with_mounts("mount --bind /dev/null /sys/kernel/btf/vmlinux")
    done = run(tmp_path, *hide, *command("run"))
    assert done.returncode == 5
    assert "BTF" in done.stderr
    assert "Traceback" not in done.stderr


# --- it starts with less -----------------------------------------------------


@pytest.mark.slow
def test_tunes_older_connections_without_cgroup2(lab: Lab, start: Start) -> None:
    # It sees an instant only: several flows make it likely that one is starved.
    sender, link = path(lab, rate_bits_per_s=60 * MBIT)
    wait_busy(lab.traffic(link, Bulk(flows=3)), acked_bytes=1_000_000)
    daemon = start(
        prefix=with_mounts("umount -a -t cgroup2 && ! grep -q cgroup2 /proc/mounts")
    )
    degraded = {one["tuner"]: one["why"] for one in daemon.degraded()}
    assert degraded.keys() == {None, "sysctl", "tcp_buffer", "congestion"}
    assert all("cgroup2" in why for why in degraded.values())
    assert "within a minute" in degraded["sysctl"]
    kept = daemon.wait_kind("kept", sender, 30)
    assert kept["new"][2] > SMALL[2]
    daemon.stop()
    assert value(sender)[2] > SMALL[2]


BROKEN = {
    "at_import": "raise RuntimeError('no luck')\n",
    "no_tuner": "tuner = 1\n",
    "at_exit": "import sys; sys.exit(3)\n",
    "late": """
from bpftune.model import Tuner
class Late(Tuner):
    def init(self, facts):
        raise RuntimeError("late")
tuner = Late(name="late", summary="fails when it begins")
""",
    "deciding": """
from bpftune.model import Tunable, Tuner
class Deciding(Tuner):
    def event_handler(self, event, facts):
        raise ValueError("no idea")
mine = Tunable("net.ipv4.tcp_max_syn_backlog")
tuner = Deciding("deciding", "fails when it decides", tunables=(mine,))
""",
    "asking": """
from bpftune.model import Change, Tunable, Tuner
class Asking(Tuner):
    def event_handler(self, event, facts):
        return [Change(self.tunables[1], None, why="")]
both = Tunable("net.ipv4.tcp_notsent_lowat"), Tunable("net.ipv4.tcp_min_tso_segs")
tuner = Asking("asking", "asks for what is no value", tunables=both)
""",
    "reading": """
from bpftune.model import Tunable, Tuner
text = Tunable("net.ipv4.tcp_congestion_control")
tuner = Tuner("reading", "has a tunable that is no number", tunables=(text,))
""",
    "ending": """
from bpftune.model import Tuner
class Ending(Tuner):
    def fini(self):
        raise ValueError("no end")
tuner = Ending(name="ending", summary="fails when it ends")
""",
}


def degraded_is(tuner: str) -> Callable[[Told], bool]:
    return lambda one: one["record"] == "degraded" and one["tuner"] == tuner


def install(site: Path, name: str, source: str) -> None:
    """Make *site* hold a distribution with the tuner in *source*."""
    (site / f"{name}.py").write_text(source)
    metadata = site / f"{name}-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Name: {name}\nVersion: 1\n")
    entry = f"[bpftune.tuners]\n{name} = {name}:tuner\n"
    (metadata / "entry_points.txt").write_text(entry)


def test_goes_on_without_tuners_that_break(
    lab: Lab, start: Start, tmp_path: Path
) -> None:
    for name, source in BROKEN.items():
        install(tmp_path, name, source)
    netns = lab.namespace("a")
    daemon = start({"PYTHONPATH": str(tmp_path)})
    write(netns, "777", name="net.ipv4.tcp_max_syn_backlog")
    write(netns, "65536", name="net.ipv4.tcp_notsent_lowat")
    for tuner in ("deciding", "asking"):
        daemon.wait_for(degraded_is(tuner), 3)
    write(netns, CHOSEN)
    daemon.wait_for(lambda one: one["tunable"] == WMEM, 3)
    daemon.stop()
    assert daemon.process.returncode == 0
    degraded = {one["tuner"]: one["why"] for one in daemon.degraded()}
    assert degraded.keys() == BROKEN.keys()
    assert "RuntimeError: no luck" in degraded["at_import"]
    assert "switched off" in degraded["late"]
    assert "switched off" in degraded["asking"]
    assert "net.ipv4.tcp_congestion_control is not a number" in degraded["reading"]
    assert "ValueError: no idea" in degraded["deciding"]
    assert not daemon.other


REFUSED = """
from dataclasses import dataclass
from bpftune.model import Event, Tuner
from bpftune.tuners import beside
tuner = Tuner(
    "refused", "has a program that no kernel takes", events=(),
    bpf_object=beside(__file__, "refused.bpf.o"),
    losses={"bad": "nothing of worth"},
)
"""
REFUSED_C = """
// SPDX-License-Identifier: GPL-2.0
#include "bpftune.bpf.h"

SEC("sockops")
int bad(struct bpf_sock_ops *ctx)
{
	return *(volatile int *)8;	/* no kernel lets it read there */
}

SEC("sockops")
int good(struct bpf_sock_ops *ctx)
{
	return 1;
}
"""


def test_goes_on_without_a_program_that_the_kernel_refuses(
    lab: Lab, start: Start, tmp_path: Path
) -> None:
    install(tmp_path, "refused", REFUSED)
    source = tmp_path / "refused.bpf.c"
    source.write_text(REFUSED_C)
    compiled = [sys.executable, "-m", "bpftune.compile", str(tmp_path)]
    subprocess.run(compiled, check=True, env=environment(tmp_path), timeout=patient(60))
    netns = lab.namespace("a")
    daemon = start({"PYTHONPATH": str(tmp_path)})
    (degraded,) = daemon.degraded()
    assert degraded["tuner"] == "refused"
    assert degraded["why"].startswith("bad: ")
    assert degraded["why"].endswith("; nothing of worth")
    assert "refused" in daemon.of_kind("started")[0]["why"]
    write(netns, CHOSEN)
    daemon.wait_kind("yielded", netns, 3)


def wait_for_start(stream: TextIO) -> None:
    """Read records up to the one that it started; before it, what is missing."""
    while (told := json.loads(stream.readline()))["record"] != "started":
        assert told["record"] == "degraded"


def test_goes_on_when_nobody_reads_its_records(lab: Lab, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    process = subprocess.Popen(
        command("run", "--json"), env=environment(tmp_path), stderr=writer
    )
    try:
        os.close(writer)
        with os.fdopen(reader) as stream:
            wait_for_start(stream)
        # Now it writes into a pipe without a reader.
        write(lab.namespace("a"), CHOSEN)
        process.terminate()
        assert process.wait(patient(5)) == 0
    finally:
        process.kill()
        process.wait()


def fill(fd: int) -> None:
    """Write to a pipe until it is full, and close it."""
    try:
        while os.write(fd, bytes(512)):
            pass
    except BlockingIOError:
        os.close(fd)


def test_stops_in_time_though_its_reader_sleeps(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    process = subprocess.Popen(
        command("run", "--json"), env=environment(tmp_path), stderr=writer
    )
    try:
        with os.fdopen(reader) as stream:
            wait_for_start(stream)
            # The same pipe, opened anew: not to wait is our affair only.
            again = os.open(f"/proc/self/fd/{writer}", os.O_WRONLY | os.O_NONBLOCK)
            fill(again)
            process.terminate()
            assert process.wait(patient(2)) == 0
    finally:
        os.close(writer)
        process.kill()
        process.wait()
