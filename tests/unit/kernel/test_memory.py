"""Memory facts from /proc, as text."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpftune.kernel.errors import KernelError
from bpftune.kernel.memory import (
    PAGE_BYTES,
    memory_facts,
    parse_meminfo,
    parse_sockstat,
    parse_tcp_mem,
)
from bpftune.model import Memory

MEMINFO = """\
MemTotal:       49367348 kB
MemFree:        40013324 kB
MemAvailable:   47250152 kB
Buffers:          112764 kB
HugePages_Total:       0
"""
SOCKSTAT = """\
sockets: used 31
TCP: inuse 3 orphan 0 tw 0 alloc 5 mem 7
UDP: inuse 0 mem 900
FRAG: inuse 0 memory 0
"""


def test_reads_total_and_available_in_bytes() -> None:
    assert parse_meminfo(MEMINFO) == (49367348 * 1024, 47250152 * 1024)


def test_takes_free_memory_where_available_is_missing() -> None:
    text = MEMINFO.replace("MemAvailable", "Other")
    assert parse_meminfo(text) == (49367348 * 1024, 40013324 * 1024)


def test_never_has_more_available_than_there_is() -> None:
    assert parse_meminfo("MemTotal: 10 kB\nMemAvailable: 99 kB\n") == (10240, 10240)


@pytest.mark.parametrize("text", ["", "MemTotal: 1 kB", "MemTotal:\nMemFree: x kB"])
def test_refuses_a_meminfo_without_the_facts(text: str) -> None:
    with pytest.raises(KernelError, match="meminfo"):
        parse_meminfo(text)


def test_reads_the_pages_of_tcp_not_of_udp() -> None:
    assert parse_sockstat(SOCKSTAT) == 7


def test_a_negative_count_of_pages_is_none() -> None:
    assert parse_sockstat("TCP: inuse 0 mem -3") == 0


def test_a_sockstat_without_memory_is_none_and_without_tcp_is_refused() -> None:
    assert parse_sockstat("TCP: inuse 3") == 0
    with pytest.raises(KernelError, match="TCP"):
        parse_sockstat("UDP: inuse 3 mem 1")


def test_pressure_is_the_middle_of_tcp_mem() -> None:
    assert parse_tcp_mem("577755\t770343\t1155510\n") == 770343
    with pytest.raises(KernelError, match="2 values"):
        parse_tcp_mem("1 2")


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    for parse in (parse_meminfo, parse_sockstat, parse_tcp_mem):
        try:
            parse(text)
        except (KernelError, ValueError):
            continue


def _proc(path: Path) -> Path:
    (path / "self/net").mkdir(parents=True)
    (path / "sys/net/ipv4").mkdir(parents=True)
    (path / "meminfo").write_text(MEMINFO)
    (path / "self/net/sockstat").write_text(SOCKSTAT)
    (path / "sys/net/ipv4/tcp_mem").write_text("1 20 300\n")
    return path


def test_gathers_the_facts_in_bytes(tmp_path: Path) -> None:
    assert memory_facts(_proc(tmp_path)) == Memory(
        total_bytes=49367348 * 1024,
        available_bytes=47250152 * 1024,
        tcp_used_bytes=7 * PAGE_BYTES,
        tcp_pressure_bytes=20 * PAGE_BYTES,
    )


@pytest.mark.parametrize("broken", ["meminfo", "self/net/sockstat"])
def test_a_missing_file_is_a_kernel_error(tmp_path: Path, broken: str) -> None:
    (_proc(tmp_path) / broken).unlink()
    with pytest.raises(KernelError, match="memory"):
        memory_facts(tmp_path)


def test_without_tcp_mem_a_sixteenth_of_memory_stands_in(tmp_path: Path) -> None:
    (_proc(tmp_path) / "sys/net/ipv4/tcp_mem").unlink()
    found = memory_facts(tmp_path)
    assert found.tcp_pressure_bytes == pytest.approx(found.total_bytes / 16, rel=1e-3)


def test_numbers_that_are_none_are_a_kernel_error(tmp_path: Path) -> None:
    (_proc(tmp_path) / "sys/net/ipv4/tcp_mem").write_text("a b c")
    with pytest.raises(KernelError, match="memory"):
        memory_facts(tmp_path)
