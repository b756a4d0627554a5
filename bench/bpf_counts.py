"""The kernel's own count of how often BPF programs ran, and how long."""

from __future__ import annotations

import ctypes
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

STATS_RUN_TIME = 0  # enum bpf_stats_type
NAME_AT, INFO_BYTES = 64, 256  # struct bpf_prog_info

Counts = dict[str, tuple[int, int]]
"""Runs and nanoseconds, by the program's name."""


@contextmanager
def bpf_statistics() -> Iterator[None]:
    """Have the kernel count runs of BPF programs and their time."""
    fd = ctypes.CDLL("libbpf.so.1", use_errno=True).bpf_enable_stats(STATS_RUN_TIME)
    if fd < 0:
        raise OSError(ctypes.get_errno(), "bpf_enable_stats()")
    try:
        yield
    finally:
        os.close(fd)


def program_name(number: int) -> str:
    """Return the name of the BPF program of this id."""
    libbpf = ctypes.CDLL("libbpf.so.1", use_errno=True)
    fd = libbpf.bpf_prog_get_fd_by_id(number)
    info = ctypes.create_string_buffer(INFO_BYTES)
    size = ctypes.c_uint32(INFO_BYTES)
    try:
        failed = libbpf.bpf_obj_get_info_by_fd(fd, info, ctypes.byref(size))
    finally:
        os.close(fd)
    if failed:
        raise OSError(ctypes.get_errno(), "bpf_obj_get_info_by_fd()")
    return info.raw[NAME_AT : NAME_AT + 16].partition(b"\0")[0].decode()


def program_counts(pid: int) -> Counts:
    """Return runs and nanoseconds of each program that process *pid* holds."""
    counts = {}
    for path in Path(f"/proc/{pid}/fdinfo").iterdir():
        try:
            lines = path.read_text().splitlines()
        except OSError:
            continue
        fields = dict(line.split(":", 1) for line in lines if ":" in line)
        if "run_cnt" in fields:
            name = program_name(int(fields["prog_id"]))
            counts[name] = int(fields["run_cnt"]), int(fields["run_time_ns"])
    return counts
