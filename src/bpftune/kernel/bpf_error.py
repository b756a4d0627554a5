"""What libbpf, the verifier and the kernel say when they refuse."""

from __future__ import annotations

import errno
import re

from bpftune.kernel.errors import KernelError
from bpftune.kernel.libbpf import describe_error

UNPRIVILEGED = (
    "run as root, or with CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN; "
    "in a container these must be given to it"
)


class BpfError(KernelError):
    """libbpf, the verifier or the kernel said no.

    The text begins with what failed and why; *number* is the errno (0: none),
    *log* all that libbpf and the verifier said about it.
    """

    def __init__(self, message: str, number: int = 0, log: str = "") -> None:
        """Say *message*, the errno's name, and the heart of *log*."""
        self.number, self.log = number, log
        reason = summary_of(log)
        if number:
            message += f": {describe_error(number)}"
        if reason:
            message += f": {reason}"
        super().__init__(message, UNPRIVILEGED if number == errno.EPERM else "")


def summary_of(log: str) -> str:
    """Return the line of a verifier's or libbpf's log that says why."""
    _, begin, verifier = log.partition("-- BEGIN PROG LOAD LOG --\n")
    if begin:
        verifier = verifier.partition("-- END PROG LOAD LOG --")[0]
        # From 7.3 on, what says why is followed by a page that explains it.
        verifier = verifier.partition("\nVerification failed: ")[0]
        for line in verifier.splitlines():
            if "failed to resolve CO-RE relocation" in line:
                return f"this kernel lacks a type or field: {line}"
        lines = [
            line
            for line in verifier.splitlines()
            # The verifier ends with statistics and shows code and registers.
            if not re.match(
                r"(processed |verification time|stack depth|\d+: |; |mark_|from |\s*$)",
                line,
            )
        ]
        if lines:
            return lines[-1]
    lines = [
        line.removeprefix("libbpf: ")
        for line in log.splitlines()
        if line.startswith("libbpf: ") and "load failed" not in line
    ]
    # The first failure is the cause, the others are what followed from it.
    return next((line for line in lines if "failed" in line), "".join(lines[:1]))
