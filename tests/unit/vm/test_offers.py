"""Lists of what kernels offer, made from type information."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.vm import offers
from tests.vm.kernels import KERNELS

RUNNING = Path("/sys/kernel/btf/vmlinux")


@pytest.mark.slow
@pytest.mark.skipif(not RUNNING.exists(), reason="this kernel has no BTF")
def test_the_running_kernel_has_what_every_kernel_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offers, "LISTS", tmp_path)
    path = offers.write("this", "6.18.0-this", RUNNING.read_bytes())
    assert path.read_text().startswith("# Linux 6.18.0-this.")
    found = offers.read(path)
    assert found >= {
        "tracepoint tcp_destroy_sock",
        "iterator tcp",
        "helper skc_to_tcp_sock",
        "map RINGBUF",
        "program SOCK_OPS",
        "field sock_common.skc_net.net",  # of a typedef without a name
        "field sock_common.skc_daddr",  # of a union without a name
        "field tcp_sock.rcv_rtt_est.rtt_us",
        "field task_struct.comm",
    }
    assert "field task_struct.mm" not in found
    assert not any("__cacheline" in one for one in found)


@pytest.mark.parametrize("kernel", KERNELS)
def test_lists_are_sorted_and_small(kernel: str) -> None:
    text = (offers.LISTS / f"{kernel}.txt").read_text()
    first, *lines = text.splitlines()
    assert first.startswith("# Linux ")
    assert lines == sorted(set(lines))
    assert len(text) < 64 * 1024


def test_newer_kernels_have_kfuncs_and_hooks_that_older_lack() -> None:
    old, new = (offers.read(offers.LISTS / f"{one}.txt") for one in ("6.1", "6.18"))
    assert "tracepoint tcp_rcvbuf_grow" in new - old
    assert any(one.startswith("kfunc ") for one in new)
