"""How much memory there is, and how much of it TCP holds."""

from __future__ import annotations

import os
from pathlib import Path

from bpftune.kernel.errors import KernelError
from bpftune.kernel.files import read_text
from bpftune.model import Memory

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def parse_meminfo(text: str) -> tuple[int, int]:
    """Return (MemTotal, MemAvailable) in bytes from ``/proc/meminfo``.

    MemFree stands in for MemAvailable where that is missing (before 3.14, or
    in containers whose meminfo is made up).
    """
    kibibytes: dict[str, int] = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        number = rest.split()[:1]
        if number and number[0].isdecimal():
            kibibytes[name] = int(number[0])
    total = kibibytes.get("MemTotal", 0)
    available = kibibytes.get("MemAvailable", kibibytes.get("MemFree"))
    if not total or available is None:
        raise KernelError("/proc/meminfo has no MemTotal or no MemAvailable")
    return total * 1024, min(available, total) * 1024


def parse_sockstat(text: str) -> int:
    """Return the pages TCP holds, from ``/proc/net/sockstat``.

    The kernel counts them for all namespaces together.
    """
    for line in text.splitlines():
        if line.startswith("TCP:"):
            words = line.split()[1:]
            facts = dict(zip(words[::2], words[1::2], strict=False))
            # Per-CPU parts may make the sum negative for a moment.
            return max(int(facts["mem"]), 0) if "mem" in facts else 0
    raise KernelError("/proc/net/sockstat has no TCP line")


def parse_tcp_mem(text: str) -> int:
    """Return ``tcp_mem[1]`` in pages: where TCP begins to save memory."""
    words = text.split()
    if len(words) != 3:
        raise KernelError(f"net.ipv4.tcp_mem has {len(words)} values, not 3")
    return int(words[1])


def memory_facts(proc: Path = Path("/proc")) -> Memory:
    """Read what memory there is now; about 0.1 ms.

    ``tcp_mem`` exists in the first network namespace only. Elsewhere (in a
    container) the kernel's default stands in: a sixteenth of memory.
    """
    try:
        total, available = parse_meminfo(read_text(proc / "meminfo"))
        used = parse_sockstat(read_text(proc / "self/net/sockstat"))
        try:
            tcp_mem = read_text(proc / "sys/net/ipv4/tcp_mem")
        except FileNotFoundError:
            pressure = total // PAGE_BYTES // 16
        else:
            pressure = parse_tcp_mem(tcp_mem)
    except (OSError, ValueError) as error:
        raise KernelError(f"cannot read the memory in use: {error}") from error
    return Memory(total, available, used * PAGE_BYTES, pressure * PAGE_BYTES)
