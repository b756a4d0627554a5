"""What can go wrong around an emulated machine.

VmError
├── CannotTryError   there is no such machine here: nothing is known of the kernel
└── GuestBrokeError  it did not come up, or vanished: worth another attempt
"""

from __future__ import annotations


class VmError(Exception):
    """Testing under another kernel failed; *hint* says what to do about it."""

    def __init__(self, message: str, hint: str = "") -> None:
        """Say what happened and, in *hint*, what helps."""
        super().__init__(f"{message}; {hint}" if hint else message)


class CannotTryError(VmError):
    """A kernel, or what boots it, cannot be had here."""


class GuestBrokeError(VmError):
    """The machine did not come up, or ended without an answer."""
