"""Which BPF programs work on this kernel, and why the others do not."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bpftune.kernel.bpf_error import BpfError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bpftune.kernel.bpf import BpfObject, Program

_ON_DEMAND = ("iter/", "iter.s/", "syscall")
_CGROUP = ("sockops", "cgroup")


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a BPF program works on this kernel, and if not why."""

    program: str
    works: bool
    reason: str = ""


def culprits(
    programs: Iterable[Program], error: BpfError, *, first: bool
) -> dict[str, str]:
    """Return which of *programs* made a load fail, and why; perhaps none."""
    programs = list(programs)
    if first:
        missing = _without_hook(programs)
        if missing:
            return missing
    names = {one.name for one in programs}
    for name in re.findall(r"^libbpf: prog '([^']+)':", error.log, re.MULTILINE):
        if name in names:
            return {name: str(error)}
    return {}


def _without_hook(programs: Iterable[Program]) -> dict[str, str]:
    """Return the programs for tracepoints that this kernel does not have."""
    # Reading the kernel's types costs 20 MB for a moment: only if need be.
    from bpftune.kernel.features import find_tracepoints  # noqa: PLC0415

    wanted = {
        one.name: one.section.partition("/")[2]
        for one in programs
        if one.section.startswith("tp_btf/")
    }
    if not wanted:
        return {}
    try:
        exists = find_tracepoints(wanted.values())
    except BpfError:
        return {}
    return {
        name: f"this kernel has no tracepoint {hook}"
        for name, hook in wanted.items()
        if not exists[hook]
    }


def attach(opened: BpfObject, program: Program, cgroup_fd: int) -> Verdict:
    """Attach *program* of *opened*, to the cgroup if it is for one; say if it works."""
    name, section = program
    if section.startswith(_ON_DEMAND):
        return Verdict(name, works=True)
    try:
        if not section.startswith(_CGROUP):
            opened.attach(name)
        elif cgroup_fd < 0:
            return Verdict(name, works=False, reason="there is no cgroup2 hierarchy")
        else:
            opened.attach(name, cgroup_fd)
    except BpfError as error:
        return Verdict(name, works=False, reason=str(error))
    return Verdict(name, works=True)
