"""Namespaces are found, entered, named and forgotten on the real kernel."""

from __future__ import annotations

import ctypes
import os
import selectors
import shlex
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bpftune.kernel.bpf import BpfObject
from bpftune.kernel.errors import KernelError
from bpftune.kernel.netns import MISS_S, SCANS_AT_ONCE, Namespaces, NetnsGoneError
from bpftune.kernel.setns import call_in, cookie_here
from bpftune.model import Netns, NetnsCookie

if TYPE_CHECKING:
    from tests.kernel.conftest import NamedNetns

    MakeNetns = Callable[..., NamedNetns]

NOWHERE = NetnsCookie(1 << 60)


class Clock:
    """A clock that moves when told to, and counts scans."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["bpf", "proc"])
def namespaces(
    request: pytest.FixtureRequest, objects: Path, clock: Clock
) -> Iterator[Namespaces]:
    """Namespaces that look for processes with BPF, and others that walk /proc."""
    if request.param == "proc":
        found = Namespaces(None, clock)
        yield found
        found.close()
        return
    with BpfObject(objects / "kernel/host.bpf.o") as host:
        host.set_constant("host_cookie", cookie_here())
        host.load()
        found = Namespaces(lambda: host.iterate("list_netns"), clock)
        yield found
        found.close()


@contextmanager
def process_elsewhere() -> Iterator[tuple[int, NetnsCookie]]:
    """Run a process in a namespace that has neither a name nor a socket."""
    child = subprocess.Popen(
        ["unshare", "-n", "sh", "-c", "echo; exec sleep 600"], stdout=subprocess.PIPE
    )
    assert child.stdout
    try:
        child.stdout.readline()
        path = f"/proc/{child.pid}/ns/net"
        yield child.pid, call_in(path, Path(path).stat().st_ino, cookie_here)
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def open_files() -> list[str]:
    with os.scandir("/proc/self/fd") as entries:
        return sorted(entry.name for entry in entries)


def test_the_host_is_where_we_are(namespaces: Namespaces) -> None:
    assert namespaces.host == Netns(cookie_here(), "host")
    assert namespaces.find(namespaces.host.cookie) is namespaces.host
    assert namespaces.inside(namespaces.host.cookie, threading.get_ident) == (
        threading.get_ident()
    )
    assert namespaces.undo_prefix(namespaces.host.cookie) == ""


def test_finds_a_named_namespace_without_a_process(
    namespaces: Namespaces, make_netns: MakeNetns
) -> None:
    web = make_netns()
    assert namespaces.find(web.cookie) == Netns(web.cookie, web.name)
    assert namespaces.undo_prefix(web.cookie) == f"ip netns exec {web.name} "


def test_finds_a_process_without_a_name(namespaces: Namespaces) -> None:
    with process_elsewhere() as (pid, cookie):
        assert namespaces.find(cookie) == Netns(cookie)
        prefix = namespaces.undo_prefix(cookie)
        assert prefix == f"nsenter --net=/proc/{pid}/ns/net "
        seen = subprocess.run(
            [*shlex.split(prefix), "readlink", "/proc/self/ns/net"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert seen.stdout.strip() == str(Path(f"/proc/{pid}/ns/net").readlink())
    assert cookie in namespaces.gone()
    assert namespaces.undo_prefix(cookie).startswith("# ")


def test_finds_a_namespace_bound_elsewhere(
    namespaces: Namespaces, tmp_path: Path
) -> None:
    target = tmp_path / "a b"
    target.touch()
    with process_elsewhere() as (pid, cookie):
        subprocess.run(["mount", "--bind", f"/proc/{pid}/ns/net", target], check=True)
    try:
        assert namespaces.find(cookie) == Netns(cookie)
        assert namespaces.undo_prefix(cookie) == f"nsenter --net='{target}' "
        assert namespaces.inside(cookie, cookie_here) == cookie
    finally:
        subprocess.run(["umount", target], check=True)
    assert cookie in namespaces.gone()


def test_follows_a_link_in_the_directory_of_names(clock: Clock, tmp_path: Path) -> None:
    with process_elsewhere() as (pid, cookie):
        (tmp_path / "box").symlink_to(f"/proc/{pid}/ns/net")
        (tmp_path / "mnt").symlink_to("/proc/1/ns/mnt")
        os.mkfifo(tmp_path / "pipe")
        namespaces = Namespaces(None, clock, tmp_path)
        assert namespaces.find(cookie) == Netns(cookie, "box")
        namespaces.close()


@contextmanager
def name_for(pid: int) -> Iterator[str]:
    """Give the namespace of a process a name."""
    name = f"bpftune-test-{os.getpid()}-attached"
    subprocess.run(["ip", "netns", "attach", name, str(pid)], check=True)
    try:
        yield name
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


def test_a_name_given_later_is_learned(namespaces: Namespaces) -> None:
    with process_elsewhere() as (pid, cookie):
        assert namespaces.find(cookie) == Netns(cookie)
        with name_for(pid) as name:
            namespaces.everywhere()
            assert namespaces.find(cookie) == Netns(cookie, name)
        # The name went, the process did not.
        assert cookie not in namespaces.gone()
        assert namespaces.find(cookie) == Netns(cookie)


def test_the_host_by_another_name_is_the_host(namespaces: Namespaces) -> None:
    with name_for(os.getpid()) as name:
        found = namespaces.everywhere()
    assert found.count(namespaces.host) == 1
    assert name not in {netns.name for netns in found}


def test_everywhere_is_the_host_and_all_others(
    namespaces: Namespaces, make_netns: MakeNetns
) -> None:
    webs = [make_netns() for _ in range(3)]
    with process_elsewhere() as (_, cookie):
        found = namespaces.everywhere()
    assert found[0] is namespaces.host
    expected = {Netns(web.cookie, web.name) for web in webs} | {Netns(cookie)}
    assert expected <= set(found[1:])
    assert len(found) == len({netns.cookie for netns in found})


def test_inside_is_inside_and_the_caller_stays(
    namespaces: Namespaces, make_netns: MakeNetns
) -> None:
    web = make_netns()
    assert namespaces.inside(web.cookie, cookie_here) == web.cookie
    assert cookie_here() == namespaces.host.cookie


def test_the_host_is_the_host_from_inside_another(
    namespaces: Namespaces, make_netns: MakeNetns
) -> None:
    web = make_netns()
    host = namespaces.host.cookie
    seen = namespaces.inside(web.cookie, lambda: namespaces.inside(host, cookie_here))
    assert seen == host


def test_what_is_raised_inside_is_raised_outside(
    namespaces: Namespaces, make_netns: MakeNetns
) -> None:
    web = make_netns()

    def fail() -> None:
        raise FileNotFoundError("no such thing")

    with pytest.raises(FileNotFoundError, match="no such thing"):
        namespaces.inside(web.cookie, fail)


def test_a_deleted_namespace_is_gone(
    namespaces: Namespaces, make_netns: MakeNetns
) -> None:
    web, other = make_netns(), make_netns()
    namespaces.everywhere()
    assert web.cookie not in namespaces.gone()
    web.delete()
    with pytest.raises(NetnsGoneError, match=str(web.cookie)):
        namespaces.inside(web.cookie, cookie_here)
    assert web.cookie in namespaces.gone()
    assert web.cookie not in namespaces.gone()
    assert namespaces.find(web.cookie) is None
    assert namespaces.find(other.cookie)


def test_a_name_made_again_is_another_namespace(
    namespaces: Namespaces, make_netns: MakeNetns
) -> None:
    web = make_netns()
    namespaces.everywhere()
    web.delete()
    again = make_netns(web.name)
    assert again.cookie != web.cookie
    with pytest.raises(NetnsGoneError):
        namespaces.inside(web.cookie, cookie_here)
    assert web.cookie in namespaces.gone()
    assert namespaces.inside(again.cookie, cookie_here) == again.cookie


def test_a_namespace_lives_on_through_another_process(namespaces: Namespaces) -> None:
    with process_elsewhere() as (pid, cookie):
        assert namespaces.find(cookie)
        heir = subprocess.Popen(
            ["nsenter", f"--net=/proc/{pid}/ns/net", "sh", "-c", "echo; exec cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert heir.stdin
        assert heir.stdout
        heir.stdout.readline()
    try:
        assert cookie not in namespaces.gone()
        assert namespaces.inside(cookie, cookie_here) == cookie
    finally:
        heir.communicate()
    assert cookie in namespaces.gone()


def test_a_cookie_found_in_vain_is_not_looked_for_again(
    objects: Path, clock: Clock
) -> None:
    del objects
    scans: list[None] = []

    def list_tasks() -> bytes:
        scans.append(None)
        return b""

    namespaces = Namespaces(list_tasks, clock)
    for _ in range(100):
        assert namespaces.find(NOWHERE) is None
    assert len(scans) == 1
    clock.now_s += MISS_S
    assert namespaces.find(NOWHERE) is None
    assert len(scans) == 2
    namespaces.close()


def test_a_flood_of_unknown_cookies_causes_few_scans(clock: Clock) -> None:
    scans: list[None] = []

    def list_tasks() -> bytes:
        scans.append(None)
        return b""

    namespaces = Namespaces(list_tasks, clock)
    for number in range(10_000):
        clock.now_s += 0.0001
        assert namespaces.find(NetnsCookie(NOWHERE + number)) is None
    assert len(scans) <= SCANS_AT_ONCE + 4 + 1
    assert len(namespaces._missed) <= 4096
    namespaces.close()


def test_what_was_looked_for_in_vain_is_forgotten_within_seconds(clock: Clock) -> None:
    namespaces = Namespaces(lambda: b"", clock)
    assert namespaces.find(NOWHERE) is None
    assert namespaces.has_ended(NOWHERE)
    for number in range(100):
        clock.now_s += 1.0
        namespaces.find(NetnsCookie(NOWHERE + 1 + number))
    assert len(namespaces._missed) <= MISS_S + 1
    # It may have been found since: nobody looked lately.
    assert not namespaces.has_ended(NOWHERE)
    namespaces.close()


def test_torn_and_foreign_output_of_the_iterator_does_no_harm(clock: Clock) -> None:
    outputs = iter([b"x" * 15, b"\xff" * 16, bytes(160), b"\1" * 33])
    namespaces = Namespaces(lambda: next(outputs), clock)
    for _ in range(4):
        assert namespaces.host in namespaces.everywhere()
    namespaces.close()


def test_where_the_iterator_fails_proc_is_walked(clock: Clock) -> None:
    def fail() -> bytes:
        raise KernelError("iterator list_netns cannot be started")

    namespaces = Namespaces(fail, clock)
    with process_elsewhere() as (_, cookie):
        assert namespaces.find(cookie) == Netns(cookie)
    namespaces.close()


def test_names_that_come_and_go_are_noticed(
    namespaces: Namespaces, make_netns: MakeNetns
) -> None:
    make_netns()  # /run/netns exists from now on
    namespaces.noticed()
    assert not namespaces.noticed()
    with selectors.DefaultSelector() as selector:
        selector.register(namespaces.fd, selectors.EVENT_READ)
        assert not selector.select(0)
        web = make_netns()
        assert selector.select(5)
        assert namespaces.noticed()
        assert not selector.select(0)
        web.delete()
        assert selector.select(5)
        assert namespaces.noticed()


def test_a_directory_of_names_made_later_is_noticed(
    clock: Clock, tmp_path: Path
) -> None:
    names = tmp_path / "netns"
    namespaces = Namespaces(None, clock, names)
    assert not namespaces.noticed()
    for _ in range(2):
        (tmp_path / "other").touch()
        assert not namespaces.noticed()
        (tmp_path / "other").unlink()
        names.mkdir()
        assert namespaces.noticed()
        (names / "web").touch()
        assert namespaces.noticed()
        (names / "web").unlink()
        names.rmdir()
        assert namespaces.noticed()
        assert not namespaces.noticed()
    namespaces.close()


def test_a_namespace_that_may_not_be_entered_says_what_is_needed(
    make_netns: MakeNetns, clock: Clock
) -> None:
    web = make_netns()
    namespaces = Namespaces(None, clock)
    assert namespaces.find(web.cookie)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:  # without CAP_SYS_ADMIN
        try:
            os.setuid(65534)
            namespaces.inside(web.cookie, cookie_here)
        except KernelError as error:
            os.write(write, f"{error}|{error.hint}".encode())
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    text = os.read(read, 4096).decode()
    os.close(read)
    namespaces.close()
    assert "cannot enter network namespace" in text
    assert "CAP_SYS_ADMIN" in text


def test_a_process_whose_main_thread_ended_is_no_trouble(
    namespaces: Namespaces,
) -> None:
    # pthread_exit in the main thread: a zombie leader without namespaces.
    libc = ctypes.CDLL(None)
    child = os.fork()
    if child == 0:
        threading.Thread(target=signal.pause).start()
        libc.syscall(60 if os.uname().machine == "x86_64" else 93, 0)  # SYS_exit
        os._exit(1)
    try:
        namespaces.everywhere()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_hundred_namespaces_leave_no_open_file_behind(
    namespaces: Namespaces, make_netns: MakeNetns
) -> None:
    make_netns()
    namespaces.everywhere()
    before = open_files()
    known: set[NetnsCookie] = set()
    for _ in range(100):
        web = make_netns()
        # It is new, so each is found by a scan of its own.
        namespaces._scans_left = SCANS_AT_ONCE
        assert namespaces.inside(web.cookie, cookie_here) == web.cookie
        known.add(web.cookie)
        web.delete()
        assert web.cookie in namespaces.gone()
        assert open_files() == before
    assert not known & set(namespaces._known)
    assert threading.active_count() == 1
