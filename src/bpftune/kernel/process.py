"""What this process costs: memory, processor time, memory of its BPF maps."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import time
from pathlib import Path

from bpftune.kernel.files import read_text

SELF = Path("/proc/self")


def rss_bytes(proc: Path = SELF) -> int:
    """Return the resident memory, from ``/proc/self/statm``; see proc(5)."""
    pages = int(read_text(proc / "statm").split()[1])
    return pages * os.sysconf("SC_PAGESIZE")


def python_blocks() -> int:
    """Return how many small blocks, of 512 bytes at most, Python has given out.

    They follow what is known at a time. The resident memory does not: the allocator
    gives back little of what it once had.
    """
    return sys.getallocatedblocks()


def cpu_seconds() -> float:
    """Return the processor time, user and system, since the start."""
    return time.process_time()


def open_files(proc: Path = SELF) -> int:
    """Return how many descriptors are open."""
    return sum(1 for _ in (proc / "fd").iterdir())


def maps_bytes(proc: Path = SELF) -> int | None:
    """Return the memory of the BPF maps that are held; None if it is not told.

    ``memlock`` in the fdinfo of a map is ``bpf_map_memory_usage()`` since Linux
    6.4, and an estimate before.
    """
    found: dict[str, int] = {}
    for file in (proc / "fdinfo").iterdir():
        try:
            text = read_text(file)
        except OSError:
            continue  # it was closed meanwhile
        fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        if "map_id" in fields and "map_type" in fields and "memlock" in fields:
            found[fields["map_id"].strip()] = int(fields["memlock"])
    return sum(found.values()) if found else None


_libc = ctypes.CDLL(None)  # each one is a class, and garbage of 3.5 KB


def trim_heap() -> None:
    """Return to the system what was freed: 60 us."""
    trim = getattr(_libc, "malloc_trim", None)  # musl has none
    if trim:
        trim(0)


def spare_collections() -> None:
    """Take all that there is now for permanent: collections pass it by, at no cost."""
    gc.collect()
    gc.freeze()


def give_memory_back() -> None:
    """Return to the system what was freed, and what the interpreter kept of it.

    CPython keeps freed tuples for later, in 3.11 up to 2,000 of each length (see its
    ``Objects/tupleobject.c``), and the like. Only a full collection gives them up, and
    by itself hardly any comes. After ``spare_collections`` it took 0.1 to 0.4 ms here.
    """
    gc.collect()
    trim_heap()
