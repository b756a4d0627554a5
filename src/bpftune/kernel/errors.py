"""What can go wrong between the daemon and the kernel.

KernelError
|- UnsupportedError    this machine cannot do it at all
|  `- LibbpfMissing    no libbpf, or too old            (kernel.libbpf)
|- NotPermittedError   we may not, even as root
|- BpfError            libbpf or the verifier said no    (kernel.bpf)
|- NetnsGoneError      the namespace ended or is out of reach (kernel.netns)
`- SysctlError         a sysctl is missing, refused or odd    (kernel.sysctl)
"""

from __future__ import annotations


class KernelError(Exception):
    """The kernel could not do what was asked.

    The text says what failed and why; *hint* says what to do, or is empty.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        """Keep *message* as the text and *hint* beside it."""
        super().__init__(message)
        self.hint = hint


class UnsupportedError(KernelError):
    """Something is missing without which nothing works here."""


class NotPermittedError(KernelError):
    """The kernel does not let this process do it."""
