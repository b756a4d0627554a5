"""How large a process is that holds BPF programs, and how often it wakes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple


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


def footprint(pid: int) -> Footprint:
    """Return what process *pid* takes now; OSError if it is gone."""
    proc = Path("/proc", str(pid))
    maps: dict[str, int] = {}
    programs: dict[str, int] = {}
    infos = list((proc / "fdinfo").iterdir())
    for path in infos:
        try:
            info = fields_of(path.read_text())
        except FileNotFoundError:
            continue  # closed since
        for key, found in (("map_id", maps), ("prog_id", programs)):
            # A link names its program too, but has no memory of its own.
            if key in info and "memlock" in info:
                found[info[key]] = int(info["memlock"])
    status = fields_of((proc / "status").read_text())
    words = (proc / "stat").read_text().rpartition(")")[2].split()
    return Footprint(
        rss_bytes=int(status["VmRSS"].split()[0]) * 1024,
        maps_bytes=sum(maps.values()),
        programs_bytes=sum(programs.values()),
        files=len(infos),
        cpu_s=(int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK"),
        wakeups=int(status["voluntary_ctxt_switches"]),
    )
