from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Any, cast

import pytest
from tests.leftovers import kept_blocks
from tests.unit.crashing import Blow, Kernel, calls_to
from tests.unit.fakes import FOUND, HOST, MIB, FakeNamespaces, wmem

from bpftune.kernel.sysctl import SysctlError, Sysctls

WMEM = "net.ipv4.tcp_wmem"
GROWN = wmem(8 * MIB)


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    made = Kernel(FakeNamespaces())
    with calls_to(made):
        yield made


def sysctls_of(kernel: Kernel) -> Sysctls:
    return Sysctls(cast("Any", kernel.namespaces))


def test_a_write_that_cannot_be_read_back_is_undone_at_once(kernel: Kernel) -> None:
    sysctls = sysctls_of(kernel)
    sysctls.read(HOST.cookie, WMEM)
    kernel.blow = Blow(kernel.calls + 3, errno.EIO)  # read, write, read back
    with pytest.raises(SysctlError, match="cannot be read"):
        sysctls.write(HOST.cookie, WMEM, GROWN)
    assert tuple(kernel.value(HOST.cookie, WMEM)) == FOUND


def test_a_write_that_was_done_in_part_is_undone_at_once(kernel: Kernel) -> None:
    sysctls = sysctls_of(kernel)
    sysctls.read(HOST.cookie, WMEM)
    kernel.blow = Blow(kernel.calls + 2, errno.EINVAL)
    with pytest.raises(SysctlError, match="cannot be set"):
        sysctls.write(HOST.cookie, WMEM, (8192, 32768, 8 * MIB))
    assert tuple(kernel.value(HOST.cookie, WMEM)) == FOUND


def test_a_file_that_was_read_only_for_a_moment_is_opened_anew(kernel: Kernel) -> None:
    sysctls = sysctls_of(kernel)
    kernel.blow = Blow(1, errno.EPERM)
    assert sysctls.read(HOST.cookie, WMEM) == FOUND
    assert not sysctls.writable(HOST.cookie, WMEM)
    assert sysctls.write(HOST.cookie, WMEM, GROWN, FOUND) == GROWN


def test_reading_leaves_nothing(kernel: Kernel) -> None:
    sysctls = sysctls_of(kernel)
    assert kept_blocks(lambda: sysctls.read(HOST.cookie, WMEM)) < 100
