"""Compile BPF programs: every ``NAME.bpf.c`` to ``NAME.bpf.o`` beside it.

Used while building a package, ours or that of a tuner made elsewhere; the
daemon never imports it. As a command: ``python -m bpftune.compile DIR``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# What tuners include: bpftune.bpf.h and kernel.bpf.h.
HEADERS = Path(__file__).resolve().parent / "bpf"

# The instruction set is v3 (Linux 5.1); older clang lacks BTF type ids (CO-RE).
FLAGS = ("-O2", "-g", "-Wall", "-Werror", "-target", "bpf", "-mcpu=v3")
OLDEST_CLANG = 14
_CLANGS = ("clang", *(f"clang-{version}" for version in range(22, 13, -1)))

_INSTALL = {
    "clang": "Install clang (apt-get install clang, or dnf install clang), or name "
    "one in the environment variable CLANG.",
    "bpf/": "Install libbpf's headers: apt-get install libbpf-dev, or dnf install "
    "libbpf-devel.",
    "asm/": "Install the kernel's headers for programs: apt-get install "
    "linux-libc-dev, or dnf install kernel-headers.",
    "linux/": "Install the kernel's headers for programs: apt-get install "
    "linux-libc-dev, or dnf install kernel-headers.",
}


class CompileError(Exception):
    """A BPF program cannot be compiled; the message says what to do."""


def find_clang() -> str:
    """Return the path of a clang that is new enough: ``$CLANG`` or the newest."""
    wanted = os.environ.get("CLANG")
    for name in (wanted,) if wanted else _CLANGS:
        path = shutil.which(name)
        if path is None:
            continue
        answer = subprocess.run(
            [path, "-dumpversion"], capture_output=True, text=True, check=False
        )
        major = answer.stdout.partition(".")[0]
        if major.isdecimal() and int(major) >= OLDEST_CLANG:
            return path
    what = f"{wanted} (from CLANG)" if wanted else "clang"
    raise CompileError(
        f"{what}: none of version {OLDEST_CLANG} or newer found, and BPF programs "
        f"are compiled with it. {_INSTALL['clang']}"
    )


def includes(source: Path) -> list[Path]:
    """Return the directories in which the headers of *source* are looked for."""
    directories = [HEADERS, source.parent]
    # Debian keeps <asm/types.h>, which <linux/bpf.h> needs, where clang does
    # not look when it compiles for bpf.
    multiarch = sysconfig.get_config_var("MULTIARCH")
    if multiarch and (directory := Path("/usr/include", multiarch)).is_dir():
        directories.append(directory)
    return directories


def is_stale(source: Path) -> bool:
    """Tell whether the object of *source* is missing or older than its inputs."""
    target = source.with_suffix(".o")
    if not target.exists():
        return True
    inputs = [source, Path(__file__)]
    for directory in (HEADERS, source.parent):
        inputs += directory.glob("*.h")
    return max(path.stat().st_mtime_ns for path in inputs) > target.stat().st_mtime_ns


def compile_one(clang: str, source: Path) -> Path:
    """Compile *source* and return its object, replaced in one step."""
    target = source.with_suffix(".o")
    # A daemon may be loading the old one.
    fresh = target.with_suffix(".o.new")
    command = [clang, *FLAGS]
    command += [f"-I{directory}" for directory in includes(source)]
    command += ["-c", str(source), "-o", str(fresh)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode:
        fresh.unlink(missing_ok=True)
        hint = ""
        for start, advice in _INSTALL.items():
            if f"fatal error: '{start}" in answer.stderr:
                hint = f"\n{advice}"
        raise CompileError(
            f"{source}: {clang} refused it:\n{answer.stderr.strip()}{hint}"
        )
    fresh.replace(target)
    return target


def compile_all(directory: Path) -> list[Path]:
    """Compile every stale ``*.bpf.c`` under *directory*; return the new objects.

    Raises ``CompileError`` for the first that fails, after all were tried.
    """
    stale = [
        source for source in sorted(directory.rglob("*.bpf.c")) if is_stale(source)
    ]
    if not stale:
        return []
    clang = find_clang()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = [pool.submit(compile_one, clang, source) for source in stale]
    return [job.result() for job in jobs]


def main(arguments: list[str]) -> int:
    """Compile what is under the directories in *arguments*."""
    try:
        for argument in arguments:
            for made in compile_all(Path(argument)):
                print(made)
    except CompileError as error:
        print(f"bpftune: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
