"""Probes, on a machine that has everything, and with parts taken away."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bpftune.kernel import features, libbpf
from bpftune.kernel.errors import KernelError
from bpftune.kernel.features import find_tracepoints, probe


def test_everything_needed_is_here() -> None:
    found = probe(["tcp_probe", "no_such_thing"])
    assert found.problems == ()
    assert found.kernel_release == os.uname().release
    assert found.has_btf
    assert found.libbpf_version >= "1.1"
    assert found.cgroup2
    assert (found.cgroup2 / "cgroup.procs").exists()
    assert found.tracepoints == {"tcp_probe": True, "no_such_thing": False}


def test_tracepoints_are_looked_up_by_name() -> None:
    names = ["inet_sock_set_state", "", "inet_sock_set_state ", "tcp_sock"]
    assert list(find_tracepoints(names).values()) == [True, False, False, False]


def test_without_privileges_the_problem_says_which() -> None:
    os.seteuid(65534)
    try:
        found = probe()
    finally:
        os.seteuid(0)
    assert found.bpf
    assert "EPERM" in found.bpf.what
    assert "CAP_BPF" in found.bpf.hint
    assert found.problems == (found.bpf,)


def test_each_missing_part_is_a_problem_with_a_hint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nowhere() -> Path:
        raise KernelError("no cgroup2 file system is mounted", "mount one")

    def too_old() -> libbpf.Libbpf:
        raise libbpf.LibbpfMissing("libbpf 0.8 is too old", "install libbpf1")

    monkeypatch.setattr(features, "cgroup2_root", nowhere)
    monkeypatch.setattr(features, "libbpf", too_old)
    monkeypatch.setattr(features, "KERNEL_BTF", Path("/nowhere"))
    found = probe(["tcp_probe"])
    assert [problem.what for problem in found.problems] == [
        "libbpf 0.8 is too old",
        "this kernel has no type information (/nowhere)",
        "no cgroup2 file system is mounted",
    ]
    assert all(problem.hint for problem in found.problems)
    assert found.tracepoints == {"tcp_probe": False}
