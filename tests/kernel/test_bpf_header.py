"""The contexts in kernel.bpf.h have the running kernel's layout."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpftune.compile import compile_all
from bpftune.kernel.bpf import BpfObject
from bpftune.kernel.btf import Btf
from bpftune.kernel.features import KERNEL_BTF

HERE = Path(__file__).parent
CONTEXTS = ("bpf_sock_ops", "bpf_sysctl", "bpf_iter__tcp", "bpf_iter__task")


@pytest.fixture(scope="module")
def kernel() -> Btf:
    return Btf(KERNEL_BTF.read_bytes())


@pytest.mark.parametrize("name", CONTEXTS)
def test_contexts_begin_as_the_kernels_do(name: str, kernel: Btf) -> None:
    compile_all(HERE)
    with BpfObject(HERE / "header.bpf.o") as opened:
        ours = opened.btf.members_of(name)
    theirs = kernel.members_of(name)
    assert ours
    for mine, other in zip(ours, theirs, strict=False):
        assert mine.bit_offset == other.bit_offset, mine.name
        # The kernel puts each pointer into a union without a name.
        assert other.name in ("", mine.name)
    assert len(ours) <= len(theirs)
