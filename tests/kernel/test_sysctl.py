"""Sysctls of namespaces are read, written, and read back."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bpftune.kernel import sysctl
from bpftune.kernel.netns import SCANS_AT_ONCE, Namespaces, NetnsGoneError
from bpftune.kernel.sysctl import SysctlError, Sysctls, dotted_name, relative_path
from bpftune.model import NetnsCookie

if TYPE_CHECKING:
    from tests.kernel.conftest import NamedNetns

    MakeNetns = Callable[..., NamedNetns]

WMEM = "net.ipv4.tcp_wmem"
SOMAXCONN = "net.core.somaxconn"
ADD_PAIR = ("ip", "link", "add", "pair0", "type", "veth", "peer", "name", "pair1")
DEL_PAIR = ("ip", "link", "del", "pair0")


@pytest.fixture
def namespaces() -> Iterator[Namespaces]:
    found = Namespaces()
    yield found
    found.close()


@pytest.fixture
def sysctls(namespaces: Namespaces) -> Iterator[Sysctls]:
    found = Sysctls(namespaces)
    yield found
    found.close()


def value_in(netns: NamedNetns, name: str) -> tuple[int, ...]:
    answer = netns.run("cat", f"/proc/sys/{relative_path(name)}")
    return tuple(map(int, answer.stdout.split()))


def open_files() -> int:
    with os.scandir("/proc/self/fd") as entries:
        return sum(1 for _ in entries)


def test_reads_whole_values_of_the_host(sysctls: Sysctls) -> None:
    host = sysctls._namespaces.host.cookie
    text = Path("/proc/sys/net/ipv4/tcp_wmem").read_text()
    assert sysctls.read(host, WMEM) == tuple(map(int, text.split()))
    assert len(sysctls.read(host, "vm.swappiness")) == 1


def test_what_is_no_number_is_read_as_text(
    sysctls: Sysctls, make_netns: MakeNetns
) -> None:
    netns = make_netns()
    default = "net.ipv4.tcp_congestion_control"
    text = Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text()
    host = sysctls._namespaces.host.cookie
    assert sysctls.read_text(host, default) == text.strip()
    netns.run("sysctl", "-w", f"{default}=reno")
    assert sysctls.read_text(netns.cookie, default) == "reno"
    available = sysctls.read_text(
        netns.cookie, "net.ipv4.tcp_available_congestion_control"
    )
    assert "reno" in available.split()
    with pytest.raises(SysctlError, match="No such file"):
        sysctls.read_text(netns.cookie, "net.ipv4.tcp_no_such_control")


def test_each_namespace_has_its_own_value(
    sysctls: Sysctls, make_netns: MakeNetns
) -> None:
    host = sysctls._namespaces.host.cookie
    before = sysctls.read(host, WMEM)
    one, other = make_netns(), make_netns()
    assert sysctls.write(one.cookie, WMEM, (4096, 16384, 1111111)) == (
        (4096, 16384, 1111111)
    )
    sysctls.write(other.cookie, WMEM, (4096, 16384, 2222222))
    assert value_in(one, WMEM) == (4096, 16384, 1111111)
    assert value_in(other, WMEM) == (4096, 16384, 2222222)
    assert sysctls.read(one.cookie, WMEM) == (4096, 16384, 1111111)
    assert sysctls.read(host, WMEM) == before


def test_sees_what_others_write(sysctls: Sysctls, make_netns: MakeNetns) -> None:
    web = make_netns()
    sysctls.read(web.cookie, SOMAXCONN)
    web.run("sysctl", "-w", f"{SOMAXCONN}=321")
    assert sysctls.read(web.cookie, SOMAXCONN) == (321,)


def test_a_refused_write_leaves_the_old_value(
    sysctls: Sysctls, make_netns: MakeNetns
) -> None:
    web = make_netns()
    before = sysctls.read(web.cookie, WMEM)
    # The kernel takes the first two numbers and then refuses the third.
    with pytest.raises(SysctlError, match="Invalid argument") as caught:
        sysctls.write(web.cookie, WMEM, (before[0] * 2, before[1] * 2, 0))
    assert caught.value.errno == errno.EINVAL
    assert "put back" not in str(caught.value)
    assert value_in(web, WMEM) == before


def test_a_value_that_reads_back_different_is_taken_back(
    sysctls: Sysctls, make_netns: MakeNetns
) -> None:
    web = make_netns()
    before = sysctls.read(web.cookie, WMEM)
    # One number for a triple: the kernel sets the first and is content.
    with pytest.raises(
        SysctlError, match=f"set to 8192 but reads back 8192 {before[1]}"
    ):
        sysctls.write(web.cookie, WMEM, (8192,))
    assert value_in(web, WMEM) == before


def test_a_missing_sysctl_says_so(sysctls: Sysctls, make_netns: MakeNetns) -> None:
    web = make_netns()
    for name in ("net.ipv4.no_such", "net.ipv4.conf.eth7.rp_filter"):
        assert not sysctls.exists(web.cookie, name)
        assert not sysctls.writable(web.cookie, name)
        with pytest.raises(SysctlError, match="No such file") as caught:
            sysctls.read(web.cookie, name)
        assert caught.value.errno == errno.ENOENT


def test_the_hosts_own_are_not_read_through_a_namespace(
    sysctls: Sysctls, make_netns: MakeNetns
) -> None:
    web = make_netns()
    host = sysctls._namespaces.host.cookie
    for name in ("vm.swappiness", "net.ipv4.tcp_mem", "net.core.netdev_max_backlog"):
        assert sysctls.exists(host, name)
        assert not sysctls.exists(web.cookie, name)
        with pytest.raises(SysctlError):
            sysctls.write(web.cookie, name, sysctls.read(host, name))


def test_a_read_only_sysctl_is_read_but_not_written(
    sysctls: Sysctls, make_netns: MakeNetns
) -> None:
    web = make_netns()
    name = "net.core.wmem_max"  # the host's, shown read-only in others
    if not sysctls.exists(web.cookie, name):
        pytest.skip("this kernel does not show wmem_max in namespaces")
    before = sysctls.read(web.cookie, name)
    if sysctls.writable(web.cookie, name):
        pytest.skip("this kernel has wmem_max per namespace")
    with pytest.raises(SysctlError, match="read-only") as caught:
        sysctls.write(web.cookie, name, (before[0] * 2,))
    assert caught.value.errno == errno.EACCES
    assert sysctls.read(web.cookie, name) == before


def test_text_is_no_number(sysctls: Sysctls, make_netns: MakeNetns) -> None:
    web = make_netns()
    with pytest.raises(SysctlError, match="not a number"):
        sysctls.read(web.cookie, "net.ipv4.tcp_congestion_control")


@pytest.mark.parametrize(
    "name",
    ["", ".", "net", "net..x", "net.ipv4", "../etc/passwd", "net/../../x", "a\0b"],
)
def test_a_name_that_is_none_is_refused(sysctls: Sysctls, name: str) -> None:
    with pytest.raises(SysctlError):
        sysctls.read(sysctls._namespaces.host.cookie, name)


def test_names_with_dots_in_words_are_told_apart() -> None:
    path = "net/ipv4/conf/eth0.100/rp_filter"
    assert relative_path("net.ipv4.conf.eth0/100.rp_filter") == path
    assert relative_path(path) == path
    assert dotted_name(path) == "net.ipv4.conf.eth0/100.rp_filter"


def test_a_namespace_that_ended_is_gone_not_the_sysctl(
    sysctls: Sysctls, make_netns: MakeNetns
) -> None:
    web = make_netns()
    value = sysctls.read(web.cookie, WMEM)
    web.delete()
    # The kernel takes a namespace down a little after its last user went.
    fd = sysctls._files[web.cookie, WMEM].fd
    wait_for_enoent(fd)
    for _ in range(2):
        with pytest.raises(NetnsGoneError):
            sysctls.read(web.cookie, WMEM)
        with pytest.raises(NetnsGoneError):
            sysctls.write(web.cookie, WMEM, value)
    assert not sysctls._files


def wait_for_enoent(fd: int) -> None:
    for _ in range(100_000):
        try:
            os.pread(fd, 64, 0)
        except FileNotFoundError:
            return
        os.sched_yield()
    pytest.fail("the namespace did not end")


def test_an_interface_that_went_is_no_end_of_a_namespace(
    sysctls: Sysctls, make_netns: MakeNetns
) -> None:
    web = make_netns()
    name = "net.ipv4.conf.pair0.rp_filter"
    for _ in range(2):
        web.run(*ADD_PAIR)
        assert sysctls.write(web.cookie, name, (1,)) == (1,)
        web.run(*DEL_PAIR)
        with pytest.raises(SysctlError, match="No such file"):
            sysctls.read(web.cookie, name)
    # Made again, it is opened again.
    web.run(*ADD_PAIR)
    sysctls.read(web.cookie, name)
    web.run(*DEL_PAIR)
    web.run(*ADD_PAIR)
    assert len(sysctls.read(web.cookie, name)) == 1


def test_open_files_do_not_keep_a_namespace_alive(
    sysctls: Sysctls, namespaces: Namespaces, make_netns: MakeNetns
) -> None:
    web = make_netns()
    sysctls.read(web.cookie, WMEM)
    web.delete()
    wait_for_enoent(sysctls._files[web.cookie, WMEM].fd)
    assert web.cookie in namespaces.gone()


def test_forgetting_closes_what_was_open(
    sysctls: Sysctls, make_netns: MakeNetns
) -> None:
    one, other = make_netns(), make_netns()
    before = open_files()
    for netns in (one, other):
        sysctls.read(netns.cookie, WMEM)
        sysctls.read(netns.cookie, SOMAXCONN)
    assert open_files() == before + 4
    sysctls.forget(one.cookie)
    sysctls.forget(one.cookie)
    assert open_files() == before + 2
    sysctls.close()
    assert open_files() == before


def test_few_files_are_open_at_once(
    sysctls: Sysctls, make_netns: MakeNetns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sysctl, "MOST_OPEN", 3)
    web = make_netns()
    before = open_files()
    names = [WMEM, SOMAXCONN, "net.ipv4.tcp_rmem", "net.ipv4.tcp_sack", WMEM]
    for name in names:
        assert sysctls.read(web.cookie, name)
        assert open_files() <= before + 3
    assert len(sysctls._files) == 3


def test_a_hundred_namespaces_leave_no_open_file_behind(
    sysctls: Sysctls, namespaces: Namespaces, make_netns: MakeNetns
) -> None:
    make_netns()
    before = open_files()
    ended: set[NetnsCookie] = set()
    made: set[NetnsCookie] = set()
    for _ in range(100):
        web = make_netns()
        namespaces._scans_left = SCANS_AT_ONCE  # all of them are new at once
        made.add(web.cookie)
        sysctls.write(web.cookie, WMEM, (4096, 16384, 1 << 22))
        web.delete()
        for cookie in namespaces.gone():
            sysctls.forget(cookie)
            ended.add(cookie)
        assert open_files() == before
    assert len(made) == 100
    assert made <= ended
