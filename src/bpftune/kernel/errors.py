"""What can go wrong between the daemon and the kernel.

KernelError
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
