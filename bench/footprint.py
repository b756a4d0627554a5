"""How large a process is that holds BPF programs, and how often it wakes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from bpftune.kernel.process import maps_bytes, open_files


class Footprint(NamedTuple):
    """What a daemon takes at one moment."""

    rss_bytes: int
    maps_bytes: int
    """Kernel memory of its BPF maps, as the kernel accounts for it."""
    programs_bytes: int
    """The same of its BPF programs."""
    files: int
    """Open descriptors."""
    cpu_s: float
    """Processor time so far."""
    wakeups: int
    """How often it slept and was woken so far (voluntary context switches)."""

    @property
    def all_bytes(self) -> int:
        """Resident set, maps and programs."""
        return self.rss_bytes + self.maps_bytes + self.programs_bytes


def fields_of(text: str) -> dict[str, str]:
    """Return the values of lines ``name: value``, as proc(5) has them."""
    pairs = (line.partition(":") for line in text.splitlines())
    return {name: value.strip() for name, _, value in pairs}


def cpu_s(pid: int) -> float:
    """Return the processor time of process *pid* so far."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def programs_bytes(proc: Path) -> int:
    """Return the memory of the BPF programs that are held."""
    found: dict[str, int] = {}
    for path in (proc / "fdinfo").iterdir():
        try:
            info = fields_of(path.read_text())
        except FileNotFoundError:
            continue  # closed since
        # A link names its program too, but has no memory of its own.
        if "prog_id" in info and "memlock" in info:
            found[info["prog_id"]] = int(info["memlock"])
    return sum(found.values())


def footprint(pid: int) -> Footprint:
    """Return what process *pid* takes now; OSError if it is gone."""
    proc = Path("/proc", str(pid))
    status = fields_of((proc / "status").read_text())
    return Footprint(
        rss_bytes=int(status["VmRSS"].split()[0]) * 1024,
        maps_bytes=maps_bytes(proc) or 0,
        programs_bytes=programs_bytes(proc),
        files=open_files(proc),
        cpu_s=cpu_s(pid),
        wakeups=int(status["voluntary_ctxt_switches"]),
    )
