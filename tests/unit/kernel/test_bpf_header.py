"""The numbers in kernel.bpf.h against the kernel's headers for programs."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from bpftune.compile import HEADERS, find_clang

# Newer than the oldest headers that we build with; 6.12 has it.
LATER = {"TCP_BPF_SOCK_OPS_CB_FLAGS"}
OURS = {"true", "false", "NULL"}
INCLUDED = ("bpf", "in", "rtnetlink", "socket", "tcp")


def numbers() -> dict[str, str]:
    text = (HEADERS / "kernel.bpf.h").read_text()
    enumerators = re.findall(r"\b([A-Z]\w+) = (-?\d+)[, ]", text)
    macros = re.findall(r"^#define (\w+) (\d+)$", text, re.MULTILINE)
    return {
        name: value
        for name, value in [*enumerators, *macros]
        if name not in LATER | OURS
    }


def complaints(found: dict[str, str]) -> str:
    """Return what the compiler says of numbers that differ."""
    states = r"TCP_(?=[A-Z_]+\d?$)(?!CA_|CONGESTION|BPF_)"
    source = "#include <sys/socket.h>\n#include <errno.h>\n"
    source += "".join(f"#include <linux/{header}.h>\n" for header in INCLUDED)
    source += "#define SOL_TCP IPPROTO_TCP\n"  # as linux/socket.h for the kernel
    for name, value in found.items():
        theirs = re.sub(f"^{states}", "BPF_TCP_", name)
        source += f'_Static_assert((int)({theirs}) == {value}, "{name}");\n'
    answer = subprocess.run(
        [find_clang(), "-x", "c", "-fsyntax-only", "-"],
        input=source,
        capture_output=True,
        text=True,
        check=False,
    )
    return answer.stderr


@pytest.mark.skipif(shutil.which("clang") is None, reason="there is no clang")
def test_numbers_are_those_of_the_kernels_headers() -> None:
    found = numbers()
    assert len(found) > 60
    assert complaints(found) == ""


@pytest.mark.skipif(shutil.which("clang") is None, reason="there is no clang")
def test_a_wrong_number_is_found() -> None:
    assert '"BPF_SOCK_OPS_RTT_CB"' in complaints({"BPF_SOCK_OPS_RTT_CB": "11"})
    assert '"TCP_CLOSE_WAIT"' in complaints({"TCP_CLOSE_WAIT": "9"})
