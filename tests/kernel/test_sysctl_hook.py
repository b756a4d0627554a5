"""The hook sees who writes a tunable, in any namespace, and not ourselves."""

from __future__ import annotations

import contextlib
import os
import selectors
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bpftune.kernel.bpf import BpfObject, RingBuffer
from bpftune.kernel.cgroup import open_cgroup2_root
from bpftune.kernel.errors import KernelError
from bpftune.kernel.netns import Namespaces
from bpftune.kernel.setns import cookie_here
from bpftune.kernel.sysctl import Sysctls
from bpftune.machine import SelfTest
from bpftune.tuners.sysctl import SysctlWritten, dotted_name, hook_key, value_of
from tests.pace import patient

if TYPE_CHECKING:
    from tests.kernel.conftest import NamedNetns

    MakeNetns = Callable[..., NamedNetns]

WMEM = "net.ipv4.tcp_wmem"
SOMAXCONN = "net.core.somaxconn"
WATCHED = (WMEM, SOMAXCONN, "net.ipv4.tcp_rmem")
DEADLINE_S = patient(5)


class Hook:
    """The attached hook, and a way to wait for what it sees."""

    def __init__(self, loaded: BpfObject) -> None:
        self.object = loaded
        self.type_id, self._decode = loaded.btf.decoder(SysctlWritten)
        self._ring = RingBuffer(loaded.map_fd("events"))

    def events(self, mine: Callable[[SysctlWritten], bool]) -> list[SysctlWritten]:
        """Wait for the first of *mine*; others on this machine write as well."""
        found: list[SysctlWritten] = []
        deadline_s = time.monotonic() + DEADLINE_S
        with selectors.DefaultSelector() as selector:
            selector.register(self._ring.fd, selectors.EVENT_READ)
            while not found:
                left_s = deadline_s - time.monotonic()
                assert left_s > 0, "the hook saw nothing"
                selector.select(left_s)
                for record in self._ring.consume():
                    assert struct.unpack_from("=II", record)[1] == self.type_id
                    found.append(self._decode(record, 8))
                found = [event for event in found if mine(event)]
        return found

    def events_in(self, *places: NamedNetns) -> list[SysctlWritten]:
        cookies = {netns.cookie for netns in places}
        return self.events(lambda event: event.netns_cookie in cookies)

    def event_in(self, *places: NamedNetns) -> SysctlWritten:
        (event,) = self.events_in(*places)
        return event

    def close(self) -> None:
        self._ring.close()


@pytest.fixture(scope="session")
def own_tgid(objects: Path) -> int:
    with BpfObject(objects / "kernel/host.bpf.o") as host:
        host.load()
        assert host.run("who_am_i") == 0
        return host.variable("own_tgid").value


@pytest.fixture
def hook(objects: Path, own_tgid: int) -> Iterator[Hook]:
    with contextlib.ExitStack() as stack:
        loaded = stack.enter_context(BpfObject(objects / "tuners/sysctl/sysctl.bpf.o"))
        loaded.set_constant("own_tgid", own_tgid)
        loaded.load()
        for number, name in enumerate(WATCHED):
            key = hook_key(name)
            loaded.update("tunables", key, number.to_bytes(4, sys.byteorder))
        cgroup_fd = open_cgroup2_root()
        stack.callback(os.close, cgroup_fd)
        loaded.attach("see_write", cgroup_fd)
        found = Hook(loaded)
        stack.callback(found.close)
        yield found


def test_who_am_i_answers_and_proves_the_ring_buffer(objects: Path) -> None:
    with BpfObject(objects / "kernel/host.bpf.o") as host:
        type_id, decode = host.btf.decoder(SelfTest)
        host.load()
        ring = RingBuffer(host.map_fd("events"))
        host.run("who_am_i")
        (record,) = ring.consume()
        ring.close()
        assert struct.unpack_from("=II", record)[1] == type_id
        event = decode(record, 8)
        assert event.netns_cookie == cookie_here()
        assert event.tgid == host.variable("own_tgid").value > 0


def test_sees_sysctl_in_another_namespace(hook: Hook, make_netns: MakeNetns) -> None:
    web = make_netns()
    before = web.run("sysctl", "-n", WMEM).stdout.split()
    web.run("sysctl", "-qw", f"{WMEM}=4096 16384 7777777")
    event = hook.event_in(web)
    assert event.netns_cookie == web.cookie
    assert (event.uid, event.comm.rstrip(b"\0")) == (0, b"sysctl")
    assert dotted_name(event.name) == WMEM
    assert value_of(event.old_value) == tuple(map(int, before))
    assert value_of(event.new_value) == (4096, 16384, 7777777)


def test_sees_a_child_of_ours_and_its_user(hook: Hook, make_netns: MakeNetns) -> None:
    web = make_netns()
    script = f"echo 99 > /proc/sys/{SOMAXCONN.replace('.', '/')}"
    subprocess.run(["ip", "netns", "exec", web.name, "sh", "-c", script], check=True)
    event = hook.event_in(web)
    assert (event.comm.rstrip(b"\0"), event.uid) == (b"sh", 0)
    assert dotted_name(event.name) == SOMAXCONN


def test_sees_root_of_a_user_namespace_as_who_it_is(hook: Hook) -> None:
    command = ["setpriv", "--reuid", "65534", "--clear-groups", "unshare", "-Urn"]
    answer = subprocess.run(
        [*command, "sysctl", "-qw", f"{SOMAXCONN}=77"],
        capture_output=True,
        check=False,
    )
    if answer.returncode:
        pytest.skip(f"no user namespaces for users: {answer.stderr!r}")
    (event,) = hook.events(lambda event: event.uid == 65534)
    assert event.netns_cookie != cookie_here()


def test_does_not_see_us_in_any_thread(hook: Hook, make_netns: MakeNetns) -> None:
    web = make_netns()
    namespaces = Namespaces()
    sysctls = Sysctls(namespaces)
    sysctls.write(web.cookie, WMEM, (4096, 16384, 5555555))
    # The descriptor is open now: a write from outside, in a thread or not.
    value = (4096, 16384, 6666666)
    thread = threading.Thread(target=sysctls.write, args=(web.cookie, WMEM, value))
    thread.start()
    thread.join()
    file = Path("/proc/sys/net/core/somaxconn")
    namespaces.inside(web.cookie, lambda: file.write_text("55"))
    assert web.run("sysctl", "-n", SOMAXCONN).stdout == "55\n"
    # What somebody else writes afterwards is the first that comes.
    web.run("sysctl", "-qw", f"{WMEM}=4096 16384 7777777")
    event = hook.event_in(web)
    assert value_of(event.old_value) == value
    sysctls.close()
    namespaces.close()


def test_a_refused_write_is_seen_but_changes_nothing(
    hook: Hook, make_netns: MakeNetns
) -> None:
    web = make_netns()
    assert web.run("sysctl", "-qw", f"{SOMAXCONN}=banana").returncode != 0
    event = hook.event_in(web)
    assert event.new_value.rstrip(b"\0\n") == b"banana"
    namespaces = Namespaces()
    sysctls = Sysctls(namespaces)
    # This is what the daemon compares before it believes in a change.
    assert sysctls.read(web.cookie, SOMAXCONN) == value_of(event.old_value)
    sysctls.close()
    namespaces.close()


def test_reads_and_other_sysctls_make_no_event(
    hook: Hook, make_netns: MakeNetns
) -> None:
    web = make_netns()
    web.run("sysctl", "-a")
    web.run("sysctl", "-qw", "net.ipv4.tcp_sack=1")
    web.run("sysctl", "-qw", f"{SOMAXCONN}=88")
    assert dotted_name(hook.event_in(web).name) == SOMAXCONN


def test_a_flood_of_writes_makes_few_events_and_is_counted(
    hook: Hook, make_netns: MakeNetns
) -> None:
    web, other = make_netns(), make_netns()
    script = "i=0; while [ $i -lt 500 ]; do echo $((i + 10)) > {}; i=$((i + 1)); done"
    file = "/proc/sys/net/core/somaxconn"
    web.run("sh", "-c", script.format(file))
    # A flood in one namespace does not drown a write in another.
    other.run("sysctl", "-qw", f"{SOMAXCONN}=44")
    events = hook.events_in(web, other)
    suppressed = hook.object.variable("suppressed").value
    assert suppressed + len(events) >= 501
    assert len(events) < 100
    assert events[0].netns_cookie == web.cookie
    assert events[-1].netns_cookie == other.cookie
    # Others of the flooded namespace come through as well.
    web.run("sysctl", "-qw", f"{WMEM}=4096 16384 7777777")
    assert dotted_name(hook.event_in(web).name) == WMEM


def test_the_namespace_is_the_writers_not_the_files(
    hook: Hook, make_netns: MakeNetns
) -> None:
    # Why a Recheck reads wherever the sysctl is known.
    web, other = make_netns(), make_netns()
    elsewhere = f"ip netns exec {other.name} sh -c 'echo 66 >&3'"
    web.run("sh", "-c", f"exec 3>/proc/sys/net/core/somaxconn; {elsewhere}")
    assert hook.event_in(web, other).netns_cookie == other.cookie
    assert web.run("sysctl", "-n", SOMAXCONN).stdout == "66\n"


def test_a_full_ring_buffer_is_counted(objects: Path) -> None:
    with BpfObject(objects / "kernel/host.bpf.o") as host:
        host.load()
        size = 0
        while host.variable("lost_events").value == 0 and size < 100_000:
            host.run("who_am_i")
            size += 1
        assert host.variable("lost_events").value == 1


def test_attaching_says_why_it_cannot(objects: Path) -> None:
    with BpfObject(objects / "tuners/sysctl/sysctl.bpf.o") as loaded:
        loaded.load()
        with Path("/dev/null").open() as nothing, pytest.raises(KernelError):
            loaded.attach("see_write", nothing.fileno())
