"""What this kernel and this machine can do: probed, never guessed."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bpftune.kernel.bpf_error import UNPRIVILEGED, BpfError
from bpftune.kernel.cgroup import cgroup2_root
from bpftune.kernel.errors import KernelError
from bpftune.kernel.libbpf import describe_error, last_error, libbpf

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

KERNEL_BTF = Path("/sys/kernel/btf/vmlinux")

_BTF_KIND_TYPEDEF = 8
# One needs CAP_PERFMON and the other CAP_NET_ADMIN, beside CAP_BPF.
_TRIED = {"raw tracepoint": 17, "sockops": 13}  # enum bpf_prog_type
_RETURN_0 = bytes.fromhex("b700000000000000 9500000000000000")


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is missing, what that means, and what to do about it."""

    what: str
    hint: str


@dataclass(frozen=True, slots=True)
class Features:
    """The answers to all probes.

    *libbpf*, *bpf* and *cgroup2_problem* are None if there is nothing wrong.
    *tracepoints* has those that were asked for.
    """

    kernel_release: str
    has_btf: bool
    libbpf_version: str
    cgroup2: Path | None
    libbpf: Problem | None
    bpf: Problem | None
    cgroup2_problem: Problem | None
    tracepoints: Mapping[str, bool]

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All that is missing, the most important first."""
        btf = Problem(
            f"this kernel has no type information ({KERNEL_BTF})",
            "use a kernel built with CONFIG_DEBUG_INFO_BTF=y",
        )
        found = (
            self.libbpf,
            self.bpf,
            None if self.has_btf else btf,
            self.cgroup2_problem,
        )
        return tuple(problem for problem in found if problem)


def probe(tracepoints: Iterable[str] = ()) -> Features:
    """Probe everything; *tracepoints* are names to look up. Never raises."""
    library = bpf = missing_cgroup2 = cgroup2 = None
    version = ""
    found: dict[str, bool] = dict.fromkeys(tracepoints, False)
    try:
        version = "{}.{}".format(*libbpf().version)
    except KernelError as error:
        library = Problem(str(error), error.hint)
    else:
        bpf = _try_to_load()
    try:
        cgroup2 = cgroup2_root()
    except KernelError as error:
        missing_cgroup2 = Problem(str(error), error.hint)
    has_btf = KERNEL_BTF.exists()
    if found and not library:
        with suppress(BpfError):
            found = find_tracepoints(found)
    return Features(
        os.uname().release,
        has_btf,
        version,
        cgroup2,
        library,
        bpf,
        missing_cgroup2,
        found,
    )


def find_tracepoints(names: Iterable[str]) -> dict[str, bool]:
    """Say which tracepoints the running kernel has.

    Each has a typedef ``btf_trace_NAME``. Reading the kernel's types takes
    some 20 MB and tens of milliseconds: ask once for all. Raises BpfError.
    """
    lib = libbpf()
    lib.log.take()
    handle = lib["btf__load_vmlinux_btf"]()
    if not handle:
        msg = "the kernel's type information (BTF) cannot be read"
        raise BpfError(msg, last_error(), lib.log.take())
    try:
        find = lib["btf__find_by_name_kind"]
        return {
            name: find(handle, f"btf_trace_{name}".encode(), _BTF_KIND_TYPEDEF) > 0
            for name in names
        }
    finally:
        lib["btf__free"](handle)


def _try_to_load() -> Problem | None:
    """Load programs that do nothing; None if the kernel takes them."""
    for kind, number in _TRIED.items():
        fd = libbpf()["bpf_prog_load"](
            number, b"probe", b"GPL", _RETURN_0, len(_RETURN_0) // 8, None
        )
        if fd < 0:
            why = describe_error(-fd)
            hint = {
                errno.EPERM: UNPRIVILEGED,
                errno.EACCES: UNPRIVILEGED,
                errno.ENOSYS: "use a kernel built with CONFIG_BPF_SYSCALL=y",
                errno.EINVAL: "use a kernel of version 5.15 or newer",
            }.get(-fd, "")
            return Problem(f"a {kind} program cannot be loaded: {why}", hint)
        os.close(fd)
    return None
