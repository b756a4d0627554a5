"""Memory facts of this machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from bpftune.kernel.cgroup import cgroup2_root
from bpftune.kernel.memory import memory_facts
from bpftune.kernel.setns import call_in

if TYPE_CHECKING:
    from tests.kernel.conftest import NamedNetns


def test_this_machine_has_memory() -> None:
    found = memory_facts()
    assert 0 < found.available_bytes <= found.total_bytes
    assert 0 <= found.tcp_used_bytes < found.total_bytes
    assert 0 < found.tcp_pressure_bytes < found.total_bytes


def test_where_tcp_mem_is_missing_its_default_is_close(
    make_netns: Callable[..., NamedNetns],
) -> None:
    path = make_netns().path
    inside = call_in(str(path), path.stat().st_ino, memory_facts)
    assert 0 < inside.tcp_pressure_bytes <= inside.total_bytes / 8


def test_this_machine_has_cgroup2() -> None:
    assert (cgroup2_root() / "cgroup.controllers").exists()
