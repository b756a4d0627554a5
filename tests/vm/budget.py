"""What the verifier has to do for our programs: ``python -m tests.vm.budget``.

``budget.json`` has, for each kernel and program, how many instructions the verifier
went through (``verified_insns``; it gives up at a million) and how many bytes the
program has after that. ``make kernel-lists`` measures anew.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import bpftune
from bpftune.compile import find_clang
from bpftune.kernel.loader import Loader
from bpftune.model import Tuner
from tests.vm.kernels import version_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FILE = Path(__file__).with_name("budget.json")
PACKAGE = Path(bpftune.__file__).parent

# Growth that needs no word: patch releases of a kernel differ a little.
TOLERATED = 0.2
TOLERATED_INSTRUCTIONS = 50
# Each clang optimises in its own way, and each series verifies in its own.
TOLERATED_ELSEWHERE = 1.0

_INFO_BYTES = 232  # struct bpf_prog_info, up to attach_btf_id
_XLATED_LEN, _VERIFIED_INSNS = 20, 216  # offsets in it


class Cost(NamedTuple):
    """Instructions that the verifier went through, and bytes of the program."""

    verified_insns: int
    xlated_bytes: int


Costs = dict[str, Cost]


def cost_of(fd: int) -> Cost:
    """Return the cost of a loaded program."""
    info = ctypes.create_string_buffer(_INFO_BYTES)
    size = ctypes.c_uint32(_INFO_BYTES)
    library = ctypes.CDLL("libbpf.so.1")
    result = library.bpf_obj_get_info_by_fd(fd, info, ctypes.byref(size))
    if result < 0:
        raise OSError(-result, os.strerror(-result))
    return Cost(
        *struct.unpack_from("=I", info, _VERIFIED_INSNS),
        *struct.unpack_from("=I", info, _XLATED_LEN),
    )


def measure() -> Costs:
    """Load all our programs; return the costs of those that this kernel takes."""
    found: Costs = {}
    for path in sorted(PACKAGE.rglob("*.bpf.o")):
        name = path.name.partition(".")[0]
        tuner = Tuner(name, "is measured")
        with Loader() as loader:
            verdicts = loader.add(tuner, path, ())
            opened = loader.object(tuner)
            for verdict in verdicts:
                handle = opened._program(verdict.program)
                fd = opened._lib["bpf_program__fd"](handle)
                if fd >= 0:
                    found[f"{name}.{verdict.program}"] = cost_of(fd)
    return found


def clang_version() -> str:
    """Return the version of the compiler that builds our programs."""
    answer = subprocess.run(
        [find_clang(), "-dumpversion"], capture_output=True, text=True, check=True
    )
    return answer.stdout.strip()


def nearest(release: str, known: Mapping[str, str]) -> str:
    """Return the kernel, of those *known* with their releases, to compare with.

    That is the newest that is not newer than *release*; the oldest if all are.
    """
    running = version_of(release)[:2]
    by_age = sorted(known, key=lambda one: version_of(known[one])[:2])
    older = [one for one in by_age if version_of(known[one])[:2] <= running]
    return older[-1] if older else by_age[0]


def growth(now: Costs, then: Costs, tolerated: float) -> list[str]:
    """Tell which programs cost more than they did, or are not loaded any more.

    *tolerated* is a share of what they did; a few instructions are so always.
    """
    told = [f"{name} is refused now" for name in sorted(then.keys() - now.keys())]
    for name, cost in sorted(now.items()):
        if (before := then.get(name)) is None:
            told.append(f"{name} is new: {cost}")
            continue
        room = max(before.verified_insns * tolerated, TOLERATED_INSTRUCTIONS)
        if cost.verified_insns > before.verified_insns + room:
            told.append(
                f"{name}: the verifier goes through {cost.verified_insns} "
                f"instructions, not {before.verified_insns}"
            )
        room = max(before.xlated_bytes * tolerated, 8 * TOLERATED_INSTRUCTIONS)
        if cost.xlated_bytes > before.xlated_bytes + room:
            told.append(
                f"{name} has {cost.xlated_bytes} bytes, not {before.xlated_bytes}"
            )
    return told


def read(kernel: str, text: str) -> Costs:
    """Return what programs cost under *kernel*, from the text of ``budget.json``."""
    costs = json.loads(text)["kernels"][kernel]["programs"]
    return {name: Cost(*cost) for name, cost in costs.items()}


def releases(text: str) -> dict[str, str]:
    """Return the kernels in the text of ``budget.json``, with their releases."""
    kernels = json.loads(text)["kernels"]
    return {kernel: about["release"] for kernel, about in kernels.items()}


def tolerated(text: str, kernel: str, release: str, clang: str) -> float:
    """Return what share of growth over *kernel* is tolerated.

    That is with programs made by the compiler *clang*, under a kernel *release*.
    """
    known = json.loads(text)
    series = version_of(known["kernels"][kernel]["release"])[:2]
    is_series = version_of(release)[:2] == series
    is_clang = version_of(known["clang"])[:1] == version_of(clang)[:1]
    return TOLERATED if is_series and is_clang else TOLERATED_ELSEWHERE


def gather(directory: Path) -> dict[str, Any]:
    """Return what the guests measured: ``programs`` below *directory*, by kernel."""
    kernels = {}
    for path in directory.glob("*/programs"):
        release, *_ = (path.parent / "up").read_text().split()
        kernels[path.parent.name] = {
            "release": release,
            "programs": json.loads(path.read_text()),
        }
    by_age = sorted(kernels, key=lambda one: version_of(str(kernels[one]["release"])))
    return {
        "clang": clang_version(),
        "kernels": {kernel: kernels[kernel] for kernel in by_age},
    }


def main(words: Iterable[str]) -> int:
    """Print the costs under this kernel, or gather those in a directory."""
    match list(words):
        case []:
            print(json.dumps(measure()))
        case [directory]:
            text = json.dumps(gather(Path(directory)), indent=1)
            # One line for each program.
            text = re.sub(r"\[\s+(\d+),\s+(\d+)\s+\]", r"[\1, \2]", text)
            FILE.write_text(text + "\n")
            print(FILE)
        case _:
            print("usage: python -m tests.vm.budget [DIRECTORY]", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
